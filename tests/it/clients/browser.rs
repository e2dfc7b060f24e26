//! A page in a browser: one StartOS page called the API from another origin, and the Umbrel app passes our headers on
//! to its own page. Errors are JSON whoever makes them (ts-umbrel-app #107).

use reqwest::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::rules::{Checked, api_error};
use crate::on_both_databases;
use crate::shop::{API, On, Shop};

on_both_databases!(
    a_page_of_any_origin_may_use_the_public_paths,
    a_page_may_read_answers_and_errors,
    every_error_is_json_whoever_makes_it,
);

const PAGE: &str = "https://start9.example";

/// What an app may hand to its own page unread; a cookie, or a statement about a connection, is not ours to make there.
const PASSABLE: [&str; 8] =
    ["content-type", "content-length", "date", "cache-control", "etag", "retry-after", "allow", "vary"];

pub fn headers_can_be_passed_on(headers: &HeaderMap) -> Checked<()> {
    let is_passable = |name: &str| PASSABLE.contains(&name) || name.starts_with("access-control-");
    if let Some(name) = headers.keys().map(HeaderName::as_str).find(|name| !is_passable(name)) {
        return Err(format!("the header {name} cannot be passed on"));
    }
    match headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes) {
        Some(b"application/json") => Ok(()),
        other => Err(format!("the content type is {other:?}")),
    }
}

/// The rules of a browser for a JSON post from another origin (Fetch, CORS preflight).
fn preflight_allows(status: u16, headers: &HeaderMap, method: &str, wanted: &[&str]) -> Checked<()> {
    if !(200..300).contains(&status) {
        return Err(format!("the preflight is answered with {status}"));
    }
    readable_by_a_page(headers)?;
    let listed = |name: &str| {
        let list = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        list.split(',').map(|one| one.trim().to_ascii_lowercase()).collect::<Vec<_>>()
    };
    if !listed("access-control-allow-methods").contains(&method.to_ascii_lowercase()) {
        return Err(format!("{method} is not allowed"));
    }
    let allowed = listed("access-control-allow-headers");
    let refused = wanted.iter().find(|header| !allowed.contains(&header.to_ascii_lowercase()));
    refused.map_or(Ok(()), |header| Err(format!("the header {header} is not allowed")))
}

/// Any origin, and no credentials of the browser's.
fn readable_by_a_page(headers: &HeaderMap) -> Checked<()> {
    if headers.get("access-control-allow-origin") != Some(&HeaderValue::from_static("*")) {
        return Err("not every origin is allowed".into());
    }
    if headers.contains_key("access-control-allow-credentials") {
        return Err("credentials are allowed".into());
    }
    Ok(())
}

fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

async fn a_page_of_any_origin_may_use_the_public_paths(on: On) {
    let shop = Shop::open(on).await;
    let gets = ["/servers".to_owned(), format!("/subscription/{}", "ab".repeat(32))];
    let posts = ["create", "claim", "renew", "status"].map(|verb| format!("/subscription/{verb}"));
    let paths = gets.iter().map(|path| ("GET", path)).chain(posts.iter().map(|path| ("POST", path)));
    for (method, path) in paths {
        for origin in [PAGE, "http://umbrel.local", "null"] {
            let preflight = client()
                .request(Method::OPTIONS, shop.url(&format!("{API}{path}")))
                .header(ORIGIN, origin)
                .header("Access-Control-Request-Method", method)
                .header("Access-Control-Request-Headers", "content-type,idempotency-key,if-none-match");
            let response = preflight.send().await.unwrap();
            let wanted = ["Content-Type", "Idempotency-Key", "If-None-Match", "Authorization"];
            preflight_allows(response.status().as_u16(), response.headers(), method, &wanted).unwrap();
        }
    }
}

async fn a_page_may_read_answers_and_errors(on: On) {
    let shop = Shop::open(on).await;
    let create = shop.url(&format!("{API}/subscription/create"));
    let post = |body: Value| client().post(&create).header(ORIGIN, PAGE).json(&body).send();
    let order = post(json!({ "serverId": "eu-de", "duration": 1 })).await.unwrap();
    let refusal = post(json!({ "serverId": "nowhere", "duration": 1 })).await.unwrap();
    let nothing = client().get(shop.url("/nothing")).header(ORIGIN, PAGE).send().await.unwrap();
    for (response, status) in [(order, 200), (refusal, 400), (nothing, 404)] {
        assert_eq!(response.status(), status);
        readable_by_a_page(response.headers()).unwrap();
        headers_can_be_passed_on(response.headers()).unwrap();
        let exposed = response.headers()["access-control-expose-headers"].to_str().unwrap().to_ascii_lowercase();
        assert!(exposed.contains(RETRY_AFTER.as_str()) && exposed.contains("etag"), "{exposed}");
    }
}

async fn every_error_is_json_whoever_makes_it(on: On) {
    let shop = Shop::open(on).await;
    let claim = format!("{API}/subscription/claim");
    let hash = format!("{API}/subscription/{}", "ab".repeat(32));
    let large = format!(r#"{{"paymentHash":"{}"}}"#, "a".repeat(300 * 1024));
    let none = String::new;
    for (method, path, body, status, code) in [
        (Method::GET, "/", none(), 404, "ERR_RESOURCE_NOT_FOUND"),
        (Method::GET, "/api/public/v1", none(), 404, "ERR_RESOURCE_NOT_FOUND"),
        (Method::POST, "/api/public/v1/subscription", none(), 404, "ERR_RESOURCE_NOT_FOUND"),
        (Method::GET, &hash, none(), 404, "ERR_RESOURCE_NOT_FOUND"),
        (Method::GET, &claim, none(), 405, "ERR_METHOD_NOT_ALLOWED"),
        (Method::PUT, &claim, none(), 405, "ERR_METHOD_NOT_ALLOWED"),
        (Method::DELETE, &hash, none(), 405, "ERR_METHOD_NOT_ALLOWED"),
        (Method::POST, &claim, large, 413, "ERR_INVALID_INPUT"),
        (Method::POST, &claim, none(), 400, "ERR_INVALID_INPUT"),
        (Method::POST, &claim, "<html>".into(), 400, "ERR_INVALID_INPUT"),
        (Method::POST, &claim, "paymentHash=ab".into(), 400, "ERR_INVALID_INPUT"),
    ] {
        let response = client().request(method.clone(), shop.url(path)).body(body).send().await.unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
        let mut headers = response.headers().clone();
        if status == 413 {
            // A body that is left unread ends its connection, and the answer says so; no app sends such a body.
            headers.remove(CONNECTION);
        }
        headers_can_be_passed_on(&headers).unwrap();
        assert_eq!(response.headers().contains_key("allow"), status == 405, "{method} {path}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(api_error(&body), Ok(code), "{method} {path}");
    }
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair =
        |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    pairs.iter().map(pair).collect()
}

#[test]
fn a_header_that_would_speak_for_the_app_is_refused() {
    let json = ("content-type", "application/json");
    assert_eq!(headers_can_be_passed_on(&headers(&[json, ("retry-after", "3")])), Ok(()));
    for other in ["set-cookie", "server", "connection", "transfer-encoding", "content-encoding", "location", "x-debug"]
    {
        assert!(headers_can_be_passed_on(&headers(&[json, (other, "x")])).is_err(), "{other}");
    }
    assert!(headers_can_be_passed_on(&headers(&[("content-type", "text/html")])).is_err());
    assert!(headers_can_be_passed_on(&headers(&[])).is_err());
}

#[test]
fn a_preflight_is_refused_without_each_of_its_headers() {
    let good = [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET, POST"),
        ("access-control-allow-headers", "content-type, authorization"),
    ];
    let allows = |pairs: &[_]| preflight_allows(200, &headers(pairs), "POST", &["Content-Type"]);
    assert_eq!(allows(&good), Ok(()));
    assert!(preflight_allows(404, &headers(&good), "POST", &[]).is_err());
    for missing in 0..good.len() {
        let without: Vec<_> = good.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, pair)| *pair).collect();
        assert!(allows(&without).is_err(), "{:?}", good[missing]);
    }
    let with = |pair| [good[0], good[1], good[2], pair];
    assert!(allows(&with(("access-control-allow-credentials", "true"))).is_err());
    assert!(preflight_allows(200, &headers(&good), "PUT", &[]).is_err());
    assert!(preflight_allows(200, &headers(&good), "POST", &["x-custom"]).is_err());
}
