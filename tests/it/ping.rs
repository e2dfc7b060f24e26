//! Calling Lightning nodes: one by LDK that answers, and far ends of every kind that do not. None of it touches the database.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lightning::ln::peer_handler::{IgnoringMessageHandler, PeerManager};
use lightning::sign::{KeysManager, NodeSigner as _, Recipient};
use lightning::util::logger::{Logger, Record};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use wiretoll::config::{Config, Pingable, Quota};
use wiretoll::domain::lightning::NodeId;
use wiretoll::lnd_simulator::gossip::{Announcement, NEIGHBOURS};

use crate::shop::{API, On, Reply, Shop};

const ONION: &str = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";

/// A Lightning node that takes every connection.
struct Peer {
    public_key: String,
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

struct Silent;

impl Logger for Silent {
    fn log(&self, _: Record) {}
}

impl Peer {
    async fn listening_on(address: &str) -> Self {
        let keys = Arc::new(KeysManager::new(&wiretoll::random::bytes().unwrap(), 0, 0, true));
        let public_key = keys.get_node_id(Recipient::Node).unwrap().to_string();
        let ephemeral = wiretoll::random::bytes().unwrap();
        let manager =
            Arc::new(PeerManager::new_routing_only(IgnoringMessageHandler {}, 0, &ephemeral, Arc::new(Silent), keys));
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(lightning_net_tokio::setup_inbound(Arc::clone(&manager), stream.into_std().unwrap()));
            }
        });
        Self { public_key, address, _tasks: tasks }
    }

    fn socket(&self) -> String {
        format!("{}@{}", self.public_key, self.address)
    }
}

/// Does something odd with each connection; counts none, but a test that expects none can ask.
async fn far_end<F>(odd: impl Fn(TcpStream) -> F + Send + 'static) -> (SocketAddr, JoinSet<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(odd(stream));
        }
    });
    (address, tasks)
}

/// As many as a test likes, and to this machine.
fn open_to_loopback(config: &mut Config) {
    let many = Quota { burst: 1_000, per_minute: 1_000 };
    (config.limits.ping, config.limits.ping_in_all) = (many, many);
    config.egress.allow_customers = vec!["127.0.0.1/32".parse().unwrap(), "::1/128".parse().unwrap()];
}

async fn ping(shop: &Shop, socket: &str) -> Reply {
    shop.post(&format!("{API}/ping/test"), json!({ "socket": socket })).await
}

/// The class of a failure, after checking that nothing else is told.
async fn failure(shop: &Shop, socket: &str) -> String {
    let reply = ping(shop, socket).await;
    assert_eq!((reply.status, &reply.body["success"]), (200, &json!(false)), "{}", reply.body);
    let keys: Vec<_> = reply.body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["success", "latencyMs", "error", "nodeAlias", "channelCount"]);
    assert!(reply.body["latencyMs"].is_u64(), "{}", reply.body);
    reply.body["error"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_reached_over_ipv4_and_ipv6_and_by_name_and_named_by_our_own_node() {
    let shop = Shop::open_with(On::Sqlite, open_to_loopback).await;
    let (over_ipv4, over_ipv6) = (Peer::listening_on("127.0.0.1:0").await, Peer::listening_on("[::1]:0").await);
    let announced = Announcement { public_key: &over_ipv4.public_key, alias: "carol", addresses: &[], channels: 5 };
    shop.node.announce_node(&announced);
    let reached = ping(&shop, &over_ipv4.socket()).await;
    let latency = reached.body["latencyMs"].as_u64().unwrap();
    let expected = json!({ "success": true, "latencyMs": latency, "nodeAlias": "carol", "channelCount": 5 });
    assert_eq!((reached.status, reached.body), (200, expected));
    let reached = ping(&shop, &over_ipv6.socket()).await.body;
    assert_eq!((&reached["success"], &reached["nodeAlias"]), (&json!(true), &Value::Null), "{reached}");
    let by_name = format!("{}@localhost:{}", over_ipv4.public_key, over_ipv4.address.port());
    assert_eq!(ping(&shop, &by_name).await.body["success"], true);
    // Again, at once and by many: no call leaves anything behind at the node or here.
    let socket = over_ipv4.socket();
    let all = futures_util::future::join_all((0..10).map(|_| ping(&shop, &socket))).await;
    assert!(all.iter().all(|reply| reply.body["success"] == true));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_the_node_is_told_by_class_and_never_quoted() {
    let shop = Shop::open_with(On::Sqlite, open_to_loopback).await;
    let peer = Peer::listening_on("127.0.0.1:0").await;
    let another_key = format!("{}@{}", NEIGHBOURS[0].public_key, peer.address);
    assert_eq!(
        failure(&shop, &another_key).await,
        "the connection was closed: another node, or none, is at this address"
    );
    let (talks, _talking) = far_end(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nServer: internal-admin\r\n\r\nroot:x:0:0 secret").await;
        let _ = stream.read(&mut [0; 1]).await;
    })
    .await;
    let odd = failure(&shop, &format!("{}@{talks}", peer.public_key)).await;
    assert_eq!(odd, "what is at this address does not speak as this Lightning node");
    let (closes, _closing) = far_end(|stream| async move { drop(stream) }).await;
    let told = failure(&shop, &format!("{}@{closes}", peer.public_key)).await;
    assert_eq!(told, "the connection was closed: another node, or none, is at this address");
    let (resets, _resetting) = far_end(|stream| async move { stream.set_zero_linger().unwrap() }).await;
    // A reset that is fast enough comes before the connection stands here.
    let reset = failure(&shop, &format!("{}@{resets}", peer.public_key)).await;
    assert!([told.as_str(), "nobody takes connections there"].contains(&reset.as_str()), "{reset}");
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(failure(&shop, &format!("{}@{nobody}", peer.public_key)).await, "nobody takes connections there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_node_is_reached_and_its_time_is_told() {
    let shop = Shop::open_with(On::Sqlite, open_to_loopback).await;
    let peer = Peer::listening_on("127.0.0.1:0").await;
    let node = peer.address;
    let (slow, _delaying) = far_end(move |mut stream| async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut inner = TcpStream::connect(node).await.unwrap();
        let _ = copy_bidirectional(&mut stream, &mut inner).await;
    })
    .await;
    let reached = ping(&shop, &format!("{}@{slow}", peer.public_key)).await.body;
    assert_eq!(reached["success"], true, "{reached}");
    assert!(reached["latencyMs"].as_u64().unwrap() >= 300, "{reached}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_43_nothing_inside_is_called() {
    let shop = Shop::open_with(On::Sqlite, |config| {
        open_to_loopback(config);
        config.egress.allow_customers.clear();
    })
    .await;
    let peer = Peer::listening_on("127.0.0.1:0").await;
    let port = peer.address.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "10.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "100.64.0.1",
        "[fd00::1]",
        "[fe80::1]",
        "0.0.0.0",
        "224.0.0.1",
    ] {
        let told = failure(&shop, &format!("{}@{host}:{port}", peer.public_key)).await;
        assert_eq!(told, "the host has no public address", "{host}");
    }
    let mail = failure(&shop, &format!("{}@203.0.114.1:25", peer.public_key)).await;
    assert_eq!(mail, "this port is not connected to");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_onion_service_is_called_through_the_operators_proxy_and_otherwise_not_at_all() {
    let peer = Peer::listening_on("127.0.0.1:0").await;
    let node = peer.address;
    // SOCKS5 (RFC 1928), which leads to the node whatever onion service is asked for.
    let (proxy, _proxying) = far_end(move |mut stream| async move {
        let mut greeting = [0; 3];
        stream.read_exact(&mut greeting).await.unwrap();
        stream.write_all(&[5, 0]).await.unwrap();
        let mut request = [0; 5 + ONION.len() + 2];
        stream.read_exact(&mut request).await.unwrap();
        assert_eq!(&request[5..5 + ONION.len()], ONION.as_bytes(), "the proxy looks it up");
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        let mut inner = TcpStream::connect(node).await.unwrap();
        let _ = copy_bidirectional(&mut stream, &mut inner).await;
    })
    .await;
    let socket = format!("{}@{ONION}:9735", peer.public_key);
    let shop = Shop::open_with(On::Sqlite, |config| config.egress.onion_proxy = Some(proxy)).await;
    assert_eq!(ping(&shop, &socket).await.body["success"], true);
    let without = Shop::open(On::Sqlite).await;
    assert_eq!(failure(&without, &socket).await, "onion hosts cannot be reached from here");
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_45_pings_are_limited_and_the_refusal_is_the_sentence_that_clients_show() {
    let shop = Shop::open_with(On::Sqlite, |config| {
        config.service.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        config.limits.ping_in_all = Quota { burst: 4, per_minute: 1 };
    })
    .await;
    let body = json!({ "socket": format!("{}@127.0.0.1:9735", NEIGHBOURS[0].public_key) });
    let from = async |address: &str| shop.post_from(address, "ping/test", body.clone()).await;
    for _ in 0..3 {
        assert_eq!(from("198.51.100.1").await.status, 200);
    }
    let refused = from("198.51.100.77").await;
    assert_eq!((refused.status, refused.error()), (429, "Rate limited. Please wait a minute."));
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(from("203.0.113.1").await.status, 200);
    let in_all = from("192.0.2.1").await;
    assert_eq!((in_all.status, in_all.error()), (429, "Rate limited. Please wait a minute."), "four in all");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_says_whom_may_be_called() {
    let peer = Peer::listening_on("127.0.0.1:0").await;
    let opted_out = NodeId::parse(&peer.public_key).unwrap();
    let shop = Shop::open_with(On::Sqlite, |config| {
        open_to_loopback(config);
        config.tools.never_ping = vec![opted_out];
    })
    .await;
    assert_eq!(failure(&shop, &peer.socket()).await, "this node does not want to be called");
    let shop = Shop::open_with(On::Sqlite, |config| {
        open_to_loopback(config);
        config.tools.ping = Pingable::OwnServers;
        config.servers[0].domain = "LocalHost".into();
    })
    .await;
    assert_eq!(failure(&shop, &peer.socket()).await, "only nodes behind our own servers are called from here");
    let ours = format!("{}@localhost:{}", peer.public_key, peer.address.port());
    assert_eq!(ping(&shop, &ours).await.body["success"], true);
    let shop = Shop::open_with(On::Sqlite, |config| {
        open_to_loopback(config);
        config.tools.ping = Pingable::Nobody;
    })
    .await;
    assert_eq!(failure(&shop, &ours).await, "nobody is called from here");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_socket_is_400_and_our_own_node_s_silence_is_no_failure() {
    let shop = Shop::open_with(On::Sqlite, open_to_loopback).await;
    let peer = Peer::listening_on("127.0.0.1:0").await;
    let not_on_the_curve = format!("02{}@127.0.0.1:9735", "ff".repeat(32));
    for bad in [
        "",
        "127.0.0.1:9735",
        &peer.public_key,
        &format!("{}@2130706433:9735", peer.public_key),
        not_on_the_curve.as_str(),
    ] {
        let refused = ping(&shop, bad).await;
        assert_eq!((refused.status, refused.error()), (400, "ERR_INVALID_INPUT"), "{bad}");
    }
    shop.node.go_down().await.unwrap();
    let reached = ping(&shop, &peer.socket()).await.body;
    assert_eq!((&reached["success"], &reached["nodeAlias"]), (&json!(true), &Value::Null), "{reached}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_no_call() {
    let mut shop = Shop::open_with(On::Sqlite, open_to_loopback).await;
    let (silent, _waiting) = far_end(|mut stream| async move { while stream.read_u8().await.is_ok() {} }).await;
    let url = shop.url(&format!("{API}/ping/test"));
    let body = json!({ "socket": format!("{}@{silent}", NEIGHBOURS[0].public_key) });
    let mut calls = JoinSet::new();
    calls.spawn(async move { reqwest::Client::new().post(url).json(&body).send().await.unwrap().status().as_u16() });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = Instant::now();
    shop.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(calls.join_next().await.unwrap().unwrap(), 503);
}
