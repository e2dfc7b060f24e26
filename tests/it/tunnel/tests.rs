//! The check itself: it takes what is right and refuses what is wrong, one thing at a time.

use std::net::{IpAddr, Ipv4Addr};

use uuid::Uuid;
use wiretoll::domain::desired::DesiredPeer;
use wiretoll::domain::keys::{PresharedKey, PrivateKey};
use wiretoll::domain::time::Timestamp;
use wiretoll::wireguard::config_text::ClientConfig;

use super::{ELSEWHERE6, Refusal, Server, connect};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 7);

fn customer() -> PrivateKey {
    PrivateKey::from_random([1; 32])
}

fn server() -> Server {
    let peer = DesiredPeer {
        id: Uuid::from_u128(1),
        public_key: customer().public_key(),
        preshared_key: PresharedKey::from_bytes([2; 32]),
        address: ADDRESS,
        address6: Some("fd66:9::7".parse().unwrap()),
        public_port: 35_825,
        target_port: 9_735,
        traffic_until: None,
        throttled: false,
    };
    Server { key: PrivateKey::from_random([3; 32]), endpoint: "de1.example.net:51820".into(), peers: vec![peer] }
}

/// Of that customer on that server, with both addresses.
fn config() -> String {
    let config = ClientConfig {
        private_key: Some(customer()),
        public_key: customer().public_key(),
        preshared_key: PresharedKey::from_bytes([2; 32]),
        address: ADDRESS,
        address6: server().peers[0].address6,
        table_off: true,
        port: 35_825,
        server_domain: "de1.example.net".into(),
        server_port: 51_820,
        server_key: server().key.public_key(),
        valid_until: Timestamp::from_seconds(1),
    };
    config.render().unwrap().to_string()
}

/// The refusal of a config in which this stands otherwise.
fn refusal(what: &str, instead: &str) -> Refusal {
    let changed = config().replace(what, instead);
    assert_ne!(changed, config(), "{what}");
    connect(&changed, &server()).unwrap_err()
}

#[test]
fn a_config_connects_with_each_of_its_addresses() {
    connect(&config(), &server()).unwrap();
}

#[test]
fn a_server_without_the_peer_gives_no_handshake() {
    let without = Server { peers: Vec::new(), ..server() };
    assert_eq!(connect(&config(), &without).unwrap_err(), Refusal::UnknownKey);
    let other = PrivateKey::from_random([9; 32]);
    assert_eq!(refusal(&customer().expose(), &other.expose()), Refusal::UnknownKey);
}

#[test]
fn a_wrong_key_of_the_server_or_between_both_gives_no_handshake() {
    let [key, other] = [server().key, PrivateKey::from_random([9; 32])].map(|key| key.public_key().to_string());
    assert_eq!(refusal(&key, &other), Refusal::NoHandshake);
    let [key, other] = [2, 9].map(|n| PresharedKey::from_bytes([n; 32]).expose());
    assert_eq!(refusal(&key, &other), Refusal::NoHandshake);
    assert_eq!(refusal(&format!("PresharedKey = {key}\n"), ""), Refusal::NoHandshake);
}

#[test]
fn an_address_of_somebody_else_gets_no_answer() {
    let other: IpAddr = Ipv4Addr::new(10, 9, 0, 8).into();
    assert_eq!(refusal("10.9.0.7/32", "10.9.0.8/32"), Refusal::ForeignAddress(other));
    assert_eq!(refusal("fd66:9::7", "fd66:9::8"), Refusal::ForeignAddress("fd66:9::8".parse().unwrap()));
}

#[test]
fn a_config_that_leads_elsewhere_or_nowhere_is_refused() {
    assert_eq!(refusal("net:51820", "net:51821"), Refusal::Endpoint("de1.example.net:51821".into()));
    assert_eq!(refusal(", ::/0", ""), Refusal::NotRouted(ELSEWHERE6.into()));
}

#[test]
fn what_wg_quick_would_not_take_is_refused() {
    for (what, instead) in [
        ("[Interface]\n", ""),
        ("[Peer]\n", "[Peer]\n[Peer]\n"),
        ("Endpoint = de1.example.net:51820\n", ""),
        ("10.9.0.7/32", "10.9.0.7/24"),
        ("Table = off", "Table = on"),
        ("MTU = 1420", "MTU = 65456"),
        ("PersistentKeepalive = 25\n", ""),
        ("MTU = 1420\n", "MTU = 1420\nMTU = 1420\n"),
        ("MTU = 1420\n", "MTU = 1420\nPostUp = id\n"),
        ("MTU = 1420\n", "MTU = \n"),
        ("0.0.0.0/0, ", "undefined, "),
    ] {
        let refused = refusal(what, instead);
        assert!(matches!(refused, Refusal::Config(_)), "{what} -> {instead}: {refused}");
    }
}
