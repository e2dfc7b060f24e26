//! The older StartOS package: it only asks for the status of its key.
//!
//! Once a day, every 300 s after a failure. `expiry` is an ISO time; `vpn_port` is taken only as a JSON integer.
//! "No such key" is HTTP 404 with `error` exactly `ERR_RESOURCE_NOT_FOUND`; any other 4xx fails at once, 5xx is tried
//! five times.

use chrono::{DateTime, FixedOffset};
use serde_json::{Value, json};

use super::rules::{Checked, formed, integer, is_not_found, iso_time};
use crate::on_both_databases;
use crate::shop::{On, Shop, a_key};

on_both_databases!(the_older_startos_learns_expiry_and_port_of_its_key);

#[derive(Debug, PartialEq)]
enum Answer {
    Known { expiry: DateTime<FixedOffset>, port: u64 },
    NoSuchKey,
    TryAgain,
}

/// A port of another kind would be dropped without a word, so here it is an error.
fn answer(status: u16, body: &Value) -> Checked<Answer> {
    match status {
        200 => {
            let expiry = formed(body, "/expiry", iso_time)?;
            Ok(Answer::Known { expiry, port: integer(body, "/vpn_port", 1..=65_535)? })
        }
        500..=599 => Ok(Answer::TryAgain),
        _ if is_not_found(status, body) => Ok(Answer::NoSuchKey),
        _ => Err(format!("HTTP {status} is a failure: {body}")),
    }
}

async fn the_older_startos_learns_expiry_and_port_of_its_key(on: On) {
    let shop = Shop::open(on).await;
    let key = a_key();
    let unknown = shop.status(&key).await;
    assert_eq!(answer(unknown.status, &unknown.body), Ok(Answer::NoSuchKey));

    let order = shop.buy_with(json!({ "serverId": "eu-de", "duration": 1, "wgPublicKey": key })).await;
    let claim = shop.claim(json!({ "paymentHash": order.hash, "wgPublicKey": key })).await;

    let known = shop.status(&key).await;
    let expiry = iso_time(claim.body["subscriptionEnd"].as_str().unwrap()).unwrap();
    let port = claim.body["vpnPort"].as_u64().unwrap();
    assert_eq!(answer(known.status, &known.body), Ok(Answer::Known { expiry, port }));
}

#[test]
fn only_the_exact_404_means_that_there_is_no_such_key() {
    let error = |code: Value| json!({ "error": code, "message": "no" });
    assert_eq!(answer(404, &error(json!("ERR_RESOURCE_NOT_FOUND"))), Ok(Answer::NoSuchKey));
    assert_eq!(answer(503, &json!("<html>")), Ok(Answer::TryAgain));
    for (status, body) in [
        (404, error(json!("RESOURCE_NOT_FOUND"))),
        (404, error(json!("ERR_RESOURCE_NOT_FOUND "))),
        (404, error(json!(["ERR_RESOURCE_NOT_FOUND"]))),
        (404, json!("ERR_RESOURCE_NOT_FOUND")),
        (404, json!({})),
        (400, error(json!("ERR_RESOURCE_NOT_FOUND"))),
        (410, error(json!("ERR_RESOURCE_NOT_FOUND"))),
        (429, error(json!("ERR_RATE_LIMIT_EXCEEDED"))),
    ] {
        assert!(answer(status, &body).is_err(), "{status} {body}");
    }
}

#[test]
fn a_status_without_an_expiry_or_with_an_odd_port_is_refused() {
    let good = json!({ "expiry": "2026-12-22T12:00:00.000Z", "vpn_port": 35_825 });
    let changes = [
        ("/expiry", json!("2026-12-22T12:00:00.000")),
        ("/expiry", json!(1_798_027_200)),
        ("/vpn_port", json!("35825")),
        ("/vpn_port", json!(35_825.0)),
        ("/vpn_port", json!(true)),
        ("/vpn_port", json!(0)),
        ("/vpn_port", json!(65_536)),
    ];
    super::rules::assert_refuses(&good, |body| answer(200, body), &["/expiry"], &changes);
}
