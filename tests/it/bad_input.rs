//! Bad input over a real connection: refused in the API's own shape, and the shop goes on selling.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::on_both_databases;
use crate::shop::{API, On, Shop};

on_both_databases!(scenario_44_bad_input_is_refused_and_the_shop_goes_on_selling);

async fn scenario_44_bad_input_is_refused_and_the_shop_goes_on_selling(on: On) {
    let shop = Shop::open(on).await;
    let path = format!("{API}/subscription/create");
    let refused: [(&str, Vec<u8>, u16); 5] = [
        ("a header that is not UTF-8", post(&path, b"Idempotency-Key: \xff\xfe\r\n", b"{}"), 400),
        ("a huge integer", post(&path, b"", br#"{"serverId":"eu-de","duration":99999999999999999999999999}"#), 400),
        ("a huge body, announced", announced(&path, 1 << 30), 413),
        ("a NUL in a string", post(&path, b"", br#"{"serverId":"eu-de","duration":1,"referralCode":"a\u0000b"}"#), 400),
        ("what is not JSON", post(&path, b"", b"\x00\xff{"), 400),
    ];
    for (what, request, status) in refused {
        let answer = exchange(&shop, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
        assert!(answer.contains(r#"{"error":"ERR_INVALID_INPUT","message":"#), "{what}: {answer}");
    }
    assert_eq!(shop.create(json!({ "serverId": "eu-de", "duration": 1 })).await.status, 200);
    assert_eq!(shop.app().store.open_order_span().await.unwrap().0, 1, "none of the others made an order");
}

fn post(path: &str, header: &[u8], body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    [head.as_bytes(), header, b"\r\n", body].concat()
}

fn announced(path: &str, length: u64) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: shop\r\nContent-Length: {length}\r\n\r\n{{").into_bytes()
}

async fn exchange(shop: &Shop, request: &[u8]) -> String {
    let address = shop.url("").trim_start_matches("http://").to_owned();
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let read = connection.read_to_end(&mut answer);
    // The end of the connection may wait for a body that never comes; the answer does not.
    let _ = tokio::time::timeout(Duration::from_secs(2), read).await;
    String::from_utf8_lossy(&answer).into_owned()
}
