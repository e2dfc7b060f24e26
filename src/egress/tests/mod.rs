//! Real sockets on this machine, which the operator allows or does not.

mod far_end;
mod onion;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use ipnet::IpNet;
use tokio::io::AsyncWriteExt as _;

use super::connect::Lookup;
use super::{Egress, Error, Method, Purpose, Request};
use crate::config::EgressRules;
use far_end::{FarEnd, hear};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";

/// Whoever named them.
fn allowing(networks: &[&str]) -> EgressRules {
    let allow: Vec<IpNet> = networks.iter().map(|net| net.parse().unwrap()).collect();
    EgressRules { allow_customers: allow.clone(), allow, ..EgressRules::default() }
}

fn open() -> Egress {
    Egress::new(&allowing(&["127.0.0.1/32"])).unwrap()
}

fn closed() -> Egress {
    Egress::new(&EgressRules::default()).unwrap()
}

fn get(purpose: Purpose, url: impl Into<String>) -> Request {
    Request { purpose, method: Method::Get, url: url.into(), headers: Vec::new(), body: Vec::new() }
}

/// Answers each question with the next of `answers`, and counts the questions.
fn answering(answers: Vec<Vec<SocketAddr>>) -> (Lookup, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let lookup: Lookup = Arc::new(move |_, _| {
        let found = answers.get(count.fetch_add(1, Ordering::Relaxed)).cloned();
        async move { found.ok_or(io::Error::other("asked too often")) }.boxed()
    });
    (lookup, asked)
}

#[tokio::test]
async fn who_complained_is_never_asked_whatever_name_leads_there() {
    let far = FarEnd::that_says(OK).await;
    let refuse = vec!["127.0.0.0/29".parse().unwrap()];
    let rules = EgressRules { refuse, ..allowing(&["127.0.0.1/32"]) };
    let (lookup, _) = answering(vec![vec![far.address]]);
    let egress = Egress::with_lookup(&rules, lookup).unwrap();
    for host in ["127.0.0.1", "::ffff:127.0.0.1", "complained.example"] {
        let asked = egress.connect(Purpose::Probe, host, far.address.port()).await;
        assert_eq!(asked.unwrap_err(), Error::Address, "{host}");
    }
    let url = format!("http://127.0.0.1:{}/", far.address.port());
    assert_eq!(egress.send(get(Purpose::Webhook, url)).await.map(drop), Err(Error::Address));
}

#[tokio::test]
async fn scenario_43_what_the_operator_may_ask_no_stranger_reaches() {
    let far = FarEnd::that_says(OK).await;
    let (url, port) = (format!("http://{}/", far.address), far.address.port());
    let net: IpNet = "127.0.0.1/32".parse().unwrap();
    let operators = Egress::new(&EgressRules { allow: vec![net], ..EgressRules::default() }).unwrap();
    assert_eq!(operators.send(get(Purpose::CustomersWebhook, &url)).await.map(drop), Err(Error::Address));
    assert_eq!(operators.check(Purpose::CustomersWebhook, &url), Err(Error::Address));
    assert_eq!(operators.connect(Purpose::Probe, "127.0.0.1", port).await.map(drop), Err(Error::Address));
    assert_eq!(operators.send(get(Purpose::Webhook, &url)).await.unwrap().status, 200);
    let customers = Egress::new(&EgressRules { allow_customers: vec![net], ..EgressRules::default() }).unwrap();
    assert_eq!(customers.send(get(Purpose::Webhook, &url)).await.map(drop), Err(Error::Address));
    assert_eq!(customers.send(get(Purpose::CustomersWebhook, &url)).await.unwrap().status, 200);
    assert!(customers.connect(Purpose::Probe, "127.0.0.1", port).await.is_ok());
}

#[tokio::test]
async fn an_allowed_target_is_asked_what_was_said_and_as_whom() {
    let mut far = FarEnd::that_says("HTTP/1.1 202 Yes\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nok").await;
    let url = format!("http://127.0.0.1:{}/a?b=c", far.address.port());
    let headers = vec![("webhook-id", "msg_1".to_owned())];
    let request = Request { method: Method::Post, headers, body: b"{}".to_vec(), ..get(Purpose::Price, url) };
    let answer = open().send(request).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice(), answer.header("Retry-After")), (202, &b"ok"[..], Some("7")));
    assert!(answer.is_success() && answer.header("x").is_none());
    let (port, version) = (far.address.port(), env!("CARGO_PKG_VERSION"));
    let expected = format!(
        "POST /a?b=c HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nuser-agent: wiretoll/{version}\r\nwebhook-id: msg_1\r\n\
         content-length: 2\r\n\r\n{{}}"
    );
    assert_eq!(far.heard().await, expected);
}

#[tokio::test]
async fn scenario_42_a_blocked_url_is_not_called() {
    let mut far = FarEnd::that_says(OK).await;
    let port = far.address.port();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0",
        "0.0.0.0",
        "localhost",
        "LOCALHOST.",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "[::127.0.0.1]",
        "[::1]",
    ] {
        for purpose in [Purpose::Webhook, Purpose::Price, Purpose::Stripe] {
            let refused = closed().send(get(purpose, format!("https://{host}:{port}/"))).await;
            assert_eq!(refused.map(drop), Err(Error::Address), "{host}");
            assert!(closed().send(get(purpose, format!("http://{host}:{port}/"))).await.is_err(), "{host}");
        }
        assert_eq!(closed().connect(Purpose::Probe, host, port).await.map(drop), Err(Error::Address), "{host}");
    }
    for url in [format!("https://user@127.0.0.1:{port}/"), format!("https://example.com@127.0.0.1:{port}/")] {
        assert!(matches!(open().send(get(Purpose::Webhook, url)).await, Err(Error::Url(_))));
    }
    assert_eq!(far.connections().await, 0);
}

#[tokio::test]
async fn scenario_43_a_name_is_asked_for_once_so_a_second_answer_cannot_matter() {
    let mut far = FarEnd::that_says(OK).await;
    let port = far.address.port();
    let elsewhere: SocketAddr = format!("127.0.0.2:{port}").parse().unwrap();
    let rules = allowing(&["127.0.0.1/32"]);
    for (answers, expected) in [
        (vec![vec![far.address], vec![elsewhere]], Ok(200)),
        (vec![vec![elsewhere], vec![far.address]], Err(Error::Address)),
        (vec![vec![far.address, elsewhere], vec![far.address]], Err(Error::Address)),
        (vec![vec![far.address, "8.8.8.8:80".parse().unwrap()]], Err(Error::PlainText)),
    ] {
        let (lookup, asked) = answering(answers);
        let egress = Egress::with_lookup(&rules, lookup).unwrap();
        let answer = egress.send(get(Purpose::Webhook, format!("http://rebind.example:{port}/"))).await;
        assert_eq!(answer.map(|answer| answer.status), expected);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }
    assert_eq!(far.connections().await, 1);
}

#[tokio::test]
async fn scenario_43_a_probe_s_name_is_asked_for_once_too() {
    let mut far = FarEnd::that_says("").await;
    let elsewhere: SocketAddr = format!("127.0.0.2:{}", far.address.port()).parse().unwrap();
    let (lookup, asked) = answering(vec![vec![far.address], vec![elsewhere]]);
    let egress = Egress::with_lookup(&allowing(&["127.0.0.1/32"]), lookup).unwrap();
    let stream = egress.connect(Purpose::Probe, "node.example", far.address.port()).await.unwrap();
    assert_eq!((stream.peer_addr().unwrap(), asked.load(Ordering::Relaxed)), (far.address, 1));
    drop(stream);
    assert_eq!(far.connections().await, 1);
}

#[tokio::test]
async fn scenario_43_a_redirect_is_an_answer_and_is_not_followed() {
    let mut second = FarEnd::that_says(OK).await;
    for location in [format!("http://{}/", second.address), "http://169.254.169.254/latest/meta-data/".to_owned()] {
        for status in [301, 302, 303, 307, 308] {
            let answer = format!("HTTP/1.1 {status} Elsewhere\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
            let first = FarEnd::that_says(answer).await;
            let answer = open().send(get(Purpose::Webhook, format!("http://{}/", first.address))).await.unwrap();
            assert_eq!(answer.status, status);
            assert!(!answer.is_success());
        }
    }
    assert_eq!(second.connections().await, 0);
}

#[tokio::test]
async fn the_second_address_is_tried_where_nobody_answers_at_the_first() {
    let far = FarEnd::that_says(OK).await;
    let nobody = "127.0.0.1:1".parse().unwrap();
    let (lookup, _) = answering(vec![vec![nobody, far.address], vec![nobody]]);
    let egress = Egress::with_lookup(&allowing(&["127.0.0.1/32"]), lookup).unwrap();
    assert_eq!(egress.send(get(Purpose::Price, "http://two.example/")).await.unwrap().body, b"fine");
    assert_eq!(egress.send(get(Purpose::Price, "http://one.example/")).await.unwrap_err(), Error::Unreachable);
    assert_eq!(egress.send(get(Purpose::Price, "http://none.example/")).await.unwrap_err(), Error::Unresolved);
}

#[tokio::test]
async fn a_body_is_taken_up_to_its_bound_however_it_is_sent() {
    let limit = Purpose::Price.bounds().body;
    for (length, whole) in [(limit, true), (limit + 1, false)] {
        let body = "x".repeat(length);
        let counted = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        let chunked = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n");
        let to_the_end = format!("HTTP/1.0 200 OK\r\n\r\n{body}");
        for answer in [counted, chunked, to_the_end] {
            let far = FarEnd::that_says(answer).await;
            let answer = open().send(get(Purpose::Price, format!("http://{}/", far.address))).await;
            let expected = if whole { Ok(length) } else { Err(Error::TooLarge) };
            assert_eq!(answer.map(|answer| answer.body.len()), expected);
        }
    }
}

#[tokio::test]
async fn what_a_webhook_s_receiver_says_is_not_read() {
    let far = FarEnd::that_says("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\nsecret").await;
    let answer = open().send(get(Purpose::Webhook, format!("http://{}/", far.address))).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 0));
}

#[tokio::test]
async fn what_is_no_whole_answer_is_none() {
    let endless_head = format!("HTTP/1.1 200 OK\r\n{}", "a: b\r\n".repeat(20_000));
    for bad in ["", "SSH-2.0-OpenSSH\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\ncut", &endless_head] {
        let far = FarEnd::that_says(bad).await;
        let answer = open().send(get(Purpose::Price, format!("http://{}/", far.address))).await;
        assert_eq!(answer.map(drop), Err(Error::Broken), "{bad:.40}");
    }
}

/// Says `head`, and then `more` every second for as long as it is heard.
async fn slow(head: &'static str, more: &'static str) -> FarEnd {
    FarEnd::that(move |mut stream| async move {
        hear(&mut stream).await;
        let _ = stream.write_all(head.as_bytes()).await;
        while stream.write_all(more.as_bytes()).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        String::new()
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_or_body_ends_at_the_deadline_of_all_of_it() {
    for (head, more) in [
        ("HTTP/1.1 200 OK\r\n", "x"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", "x"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        let far = slow(head, more).await;
        let began = tokio::time::Instant::now();
        let answer = open().send(get(Purpose::Price, format!("http://{}/", far.address))).await;
        assert_eq!(answer.map(drop), Err(Error::TimedOut), "{head}");
        let took = began.elapsed();
        assert!((Duration::from_secs(10)..Duration::from_secs(11)).contains(&took), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lookup_or_handshake_that_never_ends_is_ended() {
    let lookup: Lookup = Arc::new(|_, _| std::future::pending().boxed());
    let egress = Egress::with_lookup(&EgressRules::default(), lookup).unwrap();
    assert_eq!(egress.send(get(Purpose::Stripe, "https://slow.example/")).await.unwrap_err(), Error::TimedOut);
    assert_eq!(egress.connect(Purpose::Probe, "slow.example", 9735).await.unwrap_err(), Error::TimedOut);
    let silent = FarEnd::that(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
        String::new()
    })
    .await;
    let answer = open().send(get(Purpose::Webhook, format!("https://{}/", silent.address))).await;
    assert_eq!(answer.unwrap_err(), Error::TimedOut);
}

#[tokio::test]
async fn plain_text_and_ports_are_judged_before_anything_is_looked_up() {
    for (url, expected) in [
        ("https://example.com/", Ok(())),
        ("https://example.com:8443/", Ok(())),
        ("http://example.com/", Err(Error::PlainText)),
        ("http://8.8.8.8/", Err(Error::PlainText)),
        ("https://10.0.0.1/", Err(Error::Address)),
        ("https://example.com:22/", Err(Error::Port)),
        ("https://abc.onion/", Err(Error::Onion)),
    ] {
        assert_eq!(closed().check(Purpose::Webhook, url), expected, "{url}");
    }
    assert_eq!(open().check(Purpose::Webhook, "http://127.0.0.1:8080/"), Ok(()));
    assert_eq!(open().check(Purpose::Webhook, "http://127.0.0.2:8080/"), Err(Error::Address));
    assert_eq!(open().check(Purpose::Webhook, "http://8.8.8.8/"), Err(Error::PlainText));
    assert_eq!(open().connect(Purpose::Probe, "127.0.0.1", 22).await.unwrap_err(), Error::Port);
}

#[test]
fn what_may_be_secret_is_not_shown() {
    let headers = vec![("authorization", "Bearer sk_live_1".to_owned())];
    let request =
        Request { headers, body: b"whsec_1".to_vec(), ..get(Purpose::Stripe, "https://a.example/?key=s3cret") };
    let shown = format!("{request:?} {:?}", closed());
    assert!(!["sk_live", "119", "whsec", "s3cret"].iter().any(|secret| shown.contains(secret)), "{shown}");
}

#[test]
fn what_a_name_stands_for_inside_is_not_told() {
    assert_eq!(Error::Address.to_string(), Error::Unresolved.to_string());
}

#[test]
fn a_file_of_authorities_must_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let with = |ca_file: PathBuf| Egress::new(&EgressRules { ca_file: Some(ca_file), ..EgressRules::default() });
    assert!(with(file.clone()).unwrap_err().to_string().contains("cannot be read"));
    std::fs::write(&file, "no certificate").unwrap();
    assert!(with(file.clone()).unwrap_err().to_string().contains("holds no certificate"));
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(with(file).unwrap_err().to_string().contains("holds no certificate"));
}
