//! What an owner asks for themselves: one file an endpoint. Every one of them needs a credential.
#![expect(missing_debug_implementations, reason = "requests and answers hold claim tokens and keys")]

pub mod adopt;
pub mod api_keys;
pub mod nostr_keys;
pub mod show;
pub mod webhook_deliveries;
pub mod webhooks;

use actix_web::web::{self, ServiceConfig, scope};

use super::routing::{delete, get, get_and_post, get_patch_and_delete, no_such_path, post};

/// Where its paths begin.
pub const BASE: &str = "/api/v1/account";

pub fn routes(config: &mut ServiceConfig) {
    let api = scope(BASE)
        .service(get("", show::show))
        .service(post("/adopt", adopt::adopt))
        .service(get_and_post("/api-keys", api_keys::list, api_keys::create))
        .service(delete("/api-keys/{id}", api_keys::revoke))
        .service(get_and_post("/nostr-keys", nostr_keys::list, nostr_keys::add))
        .service(delete("/nostr-keys/{publicKey}", nostr_keys::remove))
        .service(get_and_post("/webhooks", webhooks::list, webhooks::create))
        .service(get_patch_and_delete("/webhooks/{id}", webhooks::show, webhooks::change, webhooks::remove))
        .service(post("/webhooks/{id}/rotate", webhooks::rotate))
        .service(post("/webhooks/{id}/test", webhook_deliveries::test))
        .service(post("/webhooks/{id}/redeliver", webhook_deliveries::redeliver_all))
        .service(get("/webhooks/{id}/deliveries", webhook_deliveries::list))
        .service(post("/webhooks/{id}/deliveries/{deliveryId}/redeliver", webhook_deliveries::redeliver_one))
        .default_service(web::to(no_such_path));
    config.service(api);
}

/// Whether a path is an account's own.
pub fn is_below(path: &str) -> bool {
    path.strip_prefix(BASE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
