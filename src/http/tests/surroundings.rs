//! What surrounds the endpoints: errors in JSON, CORS, limits, panics, health, documents.

use std::net::TcpListener;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::HeaderValue;
use actix_web::test::TestRequest;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{HASH, Instance, tight};
use crate::http::server;

#[actix_web::test]
async fn an_unknown_path_and_a_wrong_method_are_json() {
    let instance = Instance::start().await;
    for path in ["/", "/api/public/v1/nothing", "/api/public/v1/servers/", "/docs/nothing.js"] {
        let answer = instance.get(path).await;
        assert_eq!((answer.status, answer.error().as_str()), (404, "ERR_RESOURCE_NOT_FOUND"), "{path}");
    }
    let post = instance.post("/servers", "{}").await;
    assert_eq!(
        (post.status, post.error().as_str(), post.header("allow")),
        (405, "ERR_METHOD_NOT_ALLOWED", "GET, HEAD")
    );
    let delete = instance.send(TestRequest::delete().uri("/api/public/v1/subscription/claim")).await;
    assert_eq!((delete.status, delete.header("allow")), (405, "POST"));
}

#[actix_web::test]
async fn a_test_key_is_refused_on_mainnet() {
    let instance = Instance::start().await;
    let key = format!("Bearer sk_test_{}", "0a".repeat(32));
    let request = TestRequest::post().uri("/api/public/v1/subscription/create").insert_header(("Authorization", key));
    let answer = instance.send(request.set_payload(r#"{"serverId":"eu-de","duration":1}"#)).await;
    assert_eq!((answer.status, answer.error().as_str()), (401, "ERR_UNAUTHORIZED"));
    assert!(answer.body.contains("test keys (sk_test_) are refused on mainnet"), "{}", answer.body);
}

#[actix_web::test]
async fn a_panic_is_a_json_500_that_browsers_may_read() {
    let instance = Instance::start().await;
    let answer = instance.send(TestRequest::get().uri("/panic").insert_header(("Origin", "https://a.example"))).await;
    assert_eq!((answer.status, answer.error().as_str()), (500, "ERR_INTERNAL_ERROR"));
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(!answer.body.contains("on purpose"));
}

#[actix_web::test]
async fn a_browser_s_preflight_is_answered_on_every_public_path() {
    let instance = Instance::start().await;
    let of_orders = [
        ("create", "POST"),
        ("claim", "POST"),
        ("renew", "POST"),
        ("status", "POST"),
        ("bandwidth-reset", "POST"),
        (HASH, "GET"),
    ];
    let paths = of_orders.map(|(path, method)| (format!("subscription/{path}"), method));
    for (path, method) in
        paths.into_iter().chain(["ping/test", "tools/node-lookup"].map(|path| (path.to_owned(), "POST")))
    {
        let request = TestRequest::with_uri(&format!("/api/public/v1/{path}"))
            .method(Method::OPTIONS)
            .insert_header(("Origin", "https://a.example"))
            .insert_header(("Access-Control-Request-Method", method))
            .insert_header((
                "Access-Control-Request-Headers",
                "content-type, idempotency-key, if-none-match, authorization",
            ));
        let answer = instance.send(request).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, "*"), "{path}");
        assert!(answer.header("access-control-allow-methods").contains(method), "{path}");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
    }
}

#[actix_web::test]
async fn a_browser_may_read_errors_and_their_headers() {
    let instance = Instance::start().await;
    let request =
        TestRequest::get().uri("/api/public/v1/subscription/x").insert_header(("Origin", "https://a.example"));
    let answer = instance.send(request).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (400, "*"));
    let exposed = answer.header("access-control-expose-headers").to_lowercase();
    assert!(exposed.contains("retry-after") && exposed.contains("etag"), "{exposed}");
}

#[actix_web::test]
async fn a_refused_preflight_is_json_too() {
    let instance = Instance::start().await;
    let request = TestRequest::with_uri("/api/public/v1/servers")
        .method(Method::OPTIONS)
        .insert_header(("Origin", "https://a.example"))
        .insert_header(("Access-Control-Request-Method", "PUT"));
    let answer = instance.send(request).await;
    assert_eq!((answer.status, answer.error().as_str()), (400, "ERR_INVALID_INPUT"));
}

#[actix_web::test]
async fn each_kind_of_request_has_its_own_limit_with_a_time_to_come_back() {
    let instance = Instance::with_limits(tight()).await;
    for path in ["/subscription/create", "/subscription/claim", "/subscription/status", "/tools/node-lookup"] {
        for _ in 0..2 {
            assert_eq!(instance.post(path, "{").await.status, 400, "{path}");
        }
        let answer = instance.post(path, "{").await;
        assert_eq!((answer.status, answer.error().as_str()), (429, "ERR_RATE_LIMIT_EXCEEDED"), "{path}");
        assert_eq!(answer.header("retry-after"), "60", "{path}");
    }
    assert_eq!(instance.post("/subscription/renew", "{").await.status, 429, "it shares the limit of create");
}

#[actix_web::test]
async fn checks_are_counted_for_a_hash_and_for_the_network() {
    let instance = Instance::with_limits(tight()).await;
    let check = |hash: &str| format!("/api/public/v1/subscription/{hash}");
    let other = "ab".repeat(32);
    for expected in [404, 404, 429] {
        assert_eq!(instance.get(&check(HASH)).await.status, expected);
    }
    assert_eq!(instance.get(&check(&other)).await.status, 404, "another hash has its own count");
    assert_eq!(instance.get(&check(&other)).await.status, 429, "but the network's is used up");
    let elsewhere = TestRequest::get().uri(&check(HASH)).insert_header(("X-Forwarded-For", "203.0.113.7"));
    assert_eq!(instance.send(elsewhere).await.status, 404, "and another network has its own");
}

#[actix_web::test]
async fn scenario_44_hostile_input_is_answered_with_a_4xx() {
    let instance = Instance::start().await;
    let bytes = HeaderValue::from_bytes(b"\xff\xfe").unwrap();
    let create =
        |body: &str| TestRequest::post().uri("/api/public/v1/subscription/create").set_payload(body.to_owned());
    let good = r#"{"serverId":"eu-de","duration":1}"#;
    let not_text = instance.send(create(good).insert_header(("Idempotency-Key", bytes.clone()))).await;
    let huge_number = instance.send(create(r#"{"serverId":"eu-de","duration":1e400}"#)).await;
    let large = instance.send(create(&" ".repeat(1_000_000))).await;
    assert_eq!((not_text.status, huge_number.status, large.status), (400, 400, 413));
    for answer in [not_text, huge_number, large] {
        assert_eq!(answer.error(), "ERR_INVALID_INPUT");
    }
    let uri = format!("/api/public/v1/subscription/{HASH}");
    let header = instance.send(TestRequest::get().uri(&uri).insert_header(("If-None-Match", bytes))).await;
    assert_eq!(header.status, 404);
    assert_eq!(instance.get("/health/live").await.status, 200);
}

#[actix_web::test]
async fn health_tells_of_a_silent_node_and_stays_in_service() {
    let instance = Instance::start().await;
    assert_eq!(instance.get("/health/live").await.json(), serde_json::json!({"status": "ok"}));
    let ready = instance.get("/health/ready").await;
    let node = serde_json::json!({
        "state": null, "silentSeconds": null, "settlements": "closed", "lastSettlementSeconds": 0,
    });
    let problem = "the Lightning node does not answer";
    let expected = serde_json::json!({"status": "degraded", "problem": problem, "node": node});
    assert_eq!((ready.status, ready.json()), (200, expected));
    instance.shared.app.store.close().await;
    let down = instance.get("/health/ready").await;
    assert_eq!((down.status, down.error().as_str(), down.header("retry-after")), (503, "ERR_INTERNAL_ERROR", "10"));
}

#[actix_web::test]
async fn the_document_describes_every_path_and_the_page_needs_no_internet() {
    let instance = Instance::start().await;
    let document = instance.get("/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    insta::assert_json_snapshot!(paths, @r#"
    [
      "/.well-known/security.txt",
      "/api/public/v1/ping/test",
      "/api/public/v1/servers",
      "/api/public/v1/subscription/bandwidth-reset",
      "/api/public/v1/subscription/claim",
      "/api/public/v1/subscription/create",
      "/api/public/v1/subscription/list",
      "/api/public/v1/subscription/renew",
      "/api/public/v1/subscription/status",
      "/api/public/v1/subscription/{paymentHash}",
      "/api/public/v1/subscription/{paymentHash}/events",
      "/api/public/v1/subscription/{paymentHash}/sync",
      "/api/public/v1/tools/node-lookup",
      "/api/referral/create",
      "/api/referral/history",
      "/api/v1/account",
      "/api/v1/account/adopt",
      "/api/v1/account/api-keys",
      "/api/v1/account/api-keys/{id}",
      "/api/v1/account/nostr-keys",
      "/api/v1/account/nostr-keys/{publicKey}",
      "/api/v1/account/webhooks",
      "/api/v1/account/webhooks/{id}",
      "/api/v1/account/webhooks/{id}/deliveries",
      "/api/v1/account/webhooks/{id}/deliveries/{deliveryId}/redeliver",
      "/api/v1/account/webhooks/{id}/redeliver",
      "/api/v1/account/webhooks/{id}/rotate",
      "/api/v1/account/webhooks/{id}/test",
      "/health/live",
      "/health/ready",
      "/v1/webhooks/stripe"
    ]
    "#);
    assert_eq!(instance.get("/docs").await.header("location"), "/docs/");
    let page = instance.get("/docs/").await;
    let script = instance.get("/docs/swagger-initializer.js").await;
    assert!(page.status == 200 && !page.body.contains("//"), "{}", page.body);
    assert!(script.body.contains(r#""validatorUrl": "none""#), "{}", script.body);
    for (path, status) in [("/docs", 308), ("/docs/", 200), ("/docs/nothing.js", 404)] {
        let head = instance.send(TestRequest::default().method(Method::HEAD).uri(path)).await;
        assert_eq!(head.status, status, "{path}");
    }
}

#[actix_web::test]
async fn a_stop_waits_for_no_open_stream() {
    let instance = Instance::start().await;
    instance.order().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = server(listener, instance.shared.clone(), |_| {}).unwrap();
    let handle = server.handle();
    let client = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /api/public/v1/subscription/{HASH}/events HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut first = [0; 2_048];
        let read = stream.read(&mut first).await.unwrap();
        assert!(first[..read].starts_with(b"HTTP/1.1 200 OK"));
        instance.stop.send(true).unwrap();
        handle.stop(true).await;
    };
    let (served, ()) = timeout(Duration::from_secs(5), async { tokio::join!(server, client) }).await.unwrap();
    served.unwrap();
}
