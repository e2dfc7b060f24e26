//! Peers of a real interface: added, changed in place, moved, removed.

use ipnet::IpNet;
use wiretoll::domain::interface_name::InterfaceName;
use wiretoll::domain::keys::{PresharedKey, PrivateKey, PublicKey};
use wiretoll::domain::peer_diff::{PeerConfig, PeerStatus, diff};
use wiretoll::wireguard::interface::{Error, Interface, Settings};

use crate::lab::{self, GATEWAY, Lab, Place};

async fn status(lab: &mut Lab, key: PublicKey) -> PeerStatus {
    lab.interface.dump().await.unwrap().into_iter().find(|peer| peer.public_key == key).unwrap()
}

#[test]
fn a_peer_is_changed_in_place_without_losing_its_session() {
    lab::run(async |mut lab: Lab| {
        let key = lab.a.private_key.public_key();
        lab.set_peers(&[lab.a.config()]).await;
        assert!(lab.a.pings(lab.a.address.into(), GATEWAY.into()));
        let before = status(&mut lab, key).await;
        let received = lab::received(&key);
        assert!(before.last_handshake.is_some() && received > 0);

        for preshared_key in [PresharedKey::as_listed([7; 32]), None] {
            let mut changed = PeerConfig { preshared_key, ..lab.a.config() };
            changed.allowed_ips.push("10.9.0.77/32".parse().unwrap());
            lab.set_peers(&[changed.clone(), lab.b.config()]).await;
            let after = status(&mut lab, key).await;
            assert_eq!(after.preshared_key, changed.preshared_key);
            assert_eq!(after.allowed_ips.len(), 3);
            assert_eq!(after.last_handshake, before.last_handshake);
            assert!(lab::received(&key) >= received);
        }
        assert!(lab.a.pings(lab.a.address.into(), GATEWAY.into()), "the session goes on");
        assert_eq!(status(&mut lab, key).await.last_handshake, before.last_handshake);
    });
}

#[test]
fn addresses_move_and_strangers_leave() {
    lab::run(async |mut lab: Lab| {
        let stranger = PeerConfig {
            public_key: PublicKey::as_listed([1; 32]),
            preshared_key: None,
            allowed_ips: vec!["10.9.0.0/24".parse().unwrap()],
        };
        lab.interface.apply(&[wiretoll::domain::peer_diff::PeerChange::Set(stranger)]).await.unwrap();
        lab.set_peers(&[lab.a.config(), lab.b.config()]).await;
        assert_eq!(lab.interface.dump().await.unwrap().len(), 2);
        assert!(lab.a.pings(lab.a.address.into(), GATEWAY.into()));

        // They exchange their addresses.
        let (a, b) = (lab.a.config(), lab.b.config());
        let exchanged = [
            PeerConfig { allowed_ips: b.allowed_ips.clone(), ..a.clone() },
            PeerConfig { allowed_ips: a.allowed_ips, ..b },
        ];
        lab.set_peers(&exchanged).await;

        let actual = lab.interface.dump().await.unwrap();
        assert_eq!(diff(&exchanged, &actual, &lab.private_key.public_key()), Ok(vec![]));
        lab.a.use_address(lab.b.address, lab.b.address6);
        assert!(lab.a.pings(lab.b.address.into(), GATEWAY.into()));
        assert!(!lab.a.pings(lab.a.address.into(), GATEWAY.into()), "no longer A's");
    });
}

/// A daemon is told of 5,000 at once.
#[test]
fn as_many_peers_as_one_exchange_takes_come_and_go_and_one_more() {
    lab::run(async |mut lab: Lab| {
        let config = |n: u16, [high, low]: [u8; 2]| PeerConfig {
            public_key: PrivateKey::from_random([n.to_be_bytes(); 16].concat().try_into().unwrap()).public_key(),
            preshared_key: PresharedKey::as_listed([n.to_be_bytes(); 16].concat().try_into().unwrap()),
            allowed_ips: vec![
                IpNet::from(std::net::IpAddr::from([10, 9, 4 + high, low])),
                format!("fd66::{n:x}/128").parse().unwrap(),
            ],
        };
        for count in [5_000, 5_001] {
            // Clamping takes three bits: every eighth number has a key of its own.
            let peers: Vec<PeerConfig> = (1..=count).map(|n: u16| config(n * 8, n.to_be_bytes())).collect();
            lab.set_peers(&peers).await;
            let actual = lab.interface.dump().await.unwrap();
            assert_eq!(actual.len(), usize::from(count));
            assert_eq!(diff(&peers, &actual, &lab.private_key.public_key()), Ok(vec![]));
            lab.set_peers(&peers[..1]).await;
            assert_eq!(lab.interface.dump().await.unwrap().len(), 1);
        }
    });
}

fn listed(place: Place, what: &[&str]) -> String {
    String::from_utf8(place.command(what).output().unwrap().stdout).unwrap()
}

#[test]
fn raising_it_twice_changes_nothing_and_other_settings_are_taken_over() {
    lab::run(async |mut lab: Lab| {
        lab.set_peers(&[lab.a.config()]).await;
        assert!(lab.a.pings(lab.a.address.into(), GATEWAY.into()));
        let before = lab.interface.dump().await.unwrap();
        let settings = lab.settings();
        lab::raise(&mut lab.interface, &settings).await.unwrap();
        assert_eq!(lab.interface.dump().await.unwrap()[0].last_handshake, before[0].last_handshake);

        let addresses = ["10.9.0.1/24", "10.9.1.1/32", "fd67::1/64"].map(|net| net.parse().unwrap()).to_vec();
        let settings = Settings { addresses, mtu: 1_380, listen_port: 51_821, ..settings };
        lab::raise(&mut lab.interface, &settings).await.unwrap();

        let shown = listed(Place::Server, &["ip", "-o", "addr", "show", "dev", "wg0", "scope", "global"]);
        let mut nets: Vec<&str> = shown.lines().filter_map(|line| line.split_whitespace().nth(3)).collect();
        nets.sort_unstable();
        assert_eq!(nets, ["10.9.0.1/24", "10.9.1.1/32", "fd67::1/64"]);
        assert!(listed(Place::Server, &["ip", "link", "show", "wg0"]).contains("mtu 1380"));
        assert_eq!(listed(Place::Server, &["wg", "show", "wg0", "listen-port"]).trim(), "51821");
        let key = listed(Place::Server, &["wg", "show", "wg0", "public-key"]);
        assert_eq!(key.trim(), lab.private_key.public_key().to_string());
        assert_eq!(lab.interface.dump().await.unwrap().len(), 1, "peers stay");
    });
}

#[test]
fn a_taken_port_a_dead_daemon_and_a_wrong_interface_are_told() {
    lab::run(async |mut lab: Lab| {
        let _other = std::net::UdpSocket::bind("0.0.0.0:51900").unwrap();
        let settings = lab.settings();
        let taken = Settings { listen_port: 51_900, ..settings.clone() };
        let error = lab::raise(&mut lab.interface, &taken).await.unwrap_err();
        assert!(matches!(error, Error::PortTaken(51_900)), "{error}");
        lab::raise(&mut lab.interface, &settings).await.unwrap();

        let mut veth = Interface::new(InterfaceName::parse("wan0").unwrap());
        let error = veth.prepare(&settings).await.unwrap_err();
        assert!(matches!(error, Error::NotWireguard(_) | Error::NoWireguard { .. }), "{error}");
        if !lab::kernel_has_wireguard() {
            lab.stop_daemon();
            for error in [lab.interface.dump().await.err(), lab::raise(&mut lab.interface, &settings).await.err()] {
                let said = error.unwrap().to_string();
                assert!(said.contains("wireguard-go wg0") && said.contains("/var/run/wireguard/wg0.sock"), "{said}");
            }
        }
    });
}
