//! Counting answers by route, cheaply: the route is told from the path without asking the router again.

use super::subscriptions;

/// The routes that are told apart, as the `OpenAPI` document spells them. Whatever else is asked for is `other`.
pub const ROUTES: [&str; 33] = [
    "other",
    "/api/public/v1/servers",
    "/api/public/v1/subscription/create",
    "/api/public/v1/subscription/claim",
    "/api/public/v1/subscription/renew",
    "/api/public/v1/subscription/status",
    "/api/public/v1/subscription/{paymentHash}",
    "/api/public/v1/subscription/{paymentHash}/events",
    "/api/public/v1/subscription/bandwidth-reset",
    "/health/live",
    "/health/ready",
    "/docs/",
    "/api/v1/account/adopt",
    "/api/public/v1/tools/node-lookup",
    "/api/v1/account",
    "/api/v1/account/api-keys",
    "/api/v1/account/api-keys/{id}",
    "/api/v1/account/nostr-keys",
    "/api/v1/account/nostr-keys/{publicKey}",
    "/api/public/v1/subscription/list",
    "/api/public/v1/subscription/{paymentHash}/sync",
    "/api/referral/create",
    "/api/referral/history",
    "/api/public/v1/ping/test",
    "/v1/webhooks/stripe",
    "/api/v1/account/webhooks",
    "/api/v1/account/webhooks/{id}",
    "/api/v1/account/webhooks/{id}/rotate",
    "/api/v1/account/webhooks/{id}/test",
    "/api/v1/account/webhooks/{id}/redeliver",
    "/api/v1/account/webhooks/{id}/deliveries",
    "/api/v1/account/webhooks/{id}/deliveries/{deliveryId}/redeliver",
    "/.well-known/security.txt",
];

/// The place of a path among [`ROUTES`].
pub fn route_of(path: &str) -> usize {
    if let Some(order) = path.strip_prefix(subscriptions::BASE).and_then(|path| path.strip_prefix("/subscription/")) {
        return match order {
            "create" => 2,
            "claim" => 3,
            "renew" => 4,
            "status" => 5,
            "bandwidth-reset" => 8,
            "list" => 19,
            order if !order.contains('/') => 6,
            order if order.strip_suffix("/events").is_some_and(|order| !order.contains('/')) => 7,
            order if order.strip_suffix("/sync").is_some_and(|order| !order.contains('/')) => 20,
            _ => 0,
        };
    }
    if let Some(webhook) = path.strip_prefix("/api/v1/account/webhooks/") {
        return route_of_webhook(webhook);
    }
    // Every other path is its own name, or the one of its kind; whatever is below the page's is the page's.
    let path = match path {
        path if path.starts_with("/docs/") => "/docs/",
        path if is_item(path, "/api/v1/account/api-keys/") => "/api/v1/account/api-keys/{id}",
        path if is_item(path, "/api/v1/account/nostr-keys/") => "/api/v1/account/nostr-keys/{publicKey}",
        path => path,
    };
    ROUTES.iter().position(|route| *route == path).unwrap_or_default()
}

/// The place of a path below the list of webhooks.
fn route_of_webhook(path: &str) -> usize {
    let parts: Vec<_> = path.splitn(5, '/').collect();
    match parts[..] {
        ["", ..] => 0,
        [_] => 26,
        [_, "rotate"] => 27,
        [_, "test"] => 28,
        [_, "redeliver"] => 29,
        [_, "deliveries"] => 30,
        [_, "deliveries", delivery, "redeliver"] if !delivery.is_empty() => 31,
        _ => 0,
    }
}

/// One of a list, and nothing below it.
fn is_item(path: &str, list: &str) -> bool {
    path.strip_prefix(list).is_some_and(|item| !item.is_empty() && !item.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::openapi;

    #[test]
    fn every_path_of_the_document_has_a_route_of_its_own() {
        let document: serde_json::Value = serde_json::from_str(&openapi::document().unwrap()).unwrap();
        for path in document["paths"].as_object().unwrap().keys() {
            let asked = path.replace("{paymentHash}", &"ab".repeat(32));
            let asked = asked.replace("{id}", "1").replace("{publicKey}", "1").replace("{deliveryId}", "1");
            assert_eq!(ROUTES[route_of(&asked)], path);
        }
    }

    #[test]
    fn what_strangers_ask_for_makes_no_route() {
        for path in ["", "/", "/wp-login.php", "/api/public/v1/subscription/", "/api/public/v1/subscription/a/b/events"]
        {
            let route = ROUTES[route_of(path)];
            assert!(["other", "/api/public/v1/subscription/{paymentHash}"].contains(&route), "{path}: {route}");
        }
        for below in
            ["", "a/", "a/b", "a/test/", "a/deliveries/b", "a/deliveries//redeliver", "a/deliveries/b/redeliver/"]
        {
            assert_eq!(route_of(&format!("/api/v1/account/webhooks/{below}")), 0, "{below}");
        }
    }
}
