//! The node script: it asks nothing of the API and reads the config text.
//!
//! The forwarded port stands in `# Port Forwarding: NNNNN`, at column 0, with 4 or 5 digits. What wg-quick reads
//! must be whole: issue #26 of the original is a tunnel whose `AllowedIPs` was cut to `::/`.

use serde_json::json;

use super::rules::{Checked, endpoint, networks};
use crate::on_both_databases;
use crate::shop::{On, Shop};

on_both_databases!(the_node_script_finds_the_port_of_every_customer);

/// The forwarded port of a config.
pub fn forwarded_port(config: &str) -> Checked<u16> {
    let mut marks = config.lines().filter_map(|line| line.strip_prefix("# Port Forwarding: "));
    let digits = marks.next().ok_or("no line begins with \"# Port Forwarding: \"")?;
    if marks.next().is_some() {
        return Err("the port is written twice".into());
    }
    if !(4..=5).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("{digits:?} is not 4 or 5 digits"));
    }
    tunnel(config)?;
    digits.parse().map_err(|_| format!("{digits} is not a port"))
}

fn tunnel(config: &str) -> Checked<()> {
    let value = |name: &str| {
        let line = config.lines().filter_map(|line| line.split_once(" = ")).find(|(key, _)| *key == name);
        line.map(|(_, value)| value).ok_or_else(|| format!("no {name}"))
    };
    endpoint(value("Endpoint")?)?;
    networks(value("AllowedIPs")?)
}

async fn the_node_script_finds_the_port_of_every_customer(on: On) {
    let shop = Shop::open(on).await;
    let mut ports = Vec::new();
    for server in ["eu-de", "eu-de", "us-east"] {
        let order = shop.buy_with(json!({ "serverId": server, "duration": 1 })).await;
        let claim = shop.claim(json!({ "paymentHash": order.hash })).await;
        let port = forwarded_port(claim.body["config"].as_str().unwrap()).unwrap();
        assert_eq!(claim.body["vpnPort"], port);
        ports.push((server, port));
    }
    assert_ne!(ports[0], ports[1], "one port is one customer's");
}

const CONFIG: &str = "\
# Server: de2.tunnelsats.com
# Port Forwarding: 35825

[Interface]
PrivateKey = AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=
Address = 10.9.0.7/32

[Peer]
PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
Endpoint = de2.tunnelsats.com:51820
AllowedIPs = 0.0.0.0/0, ::/0
";

#[test]
fn the_parser_refuses_a_port_that_the_script_would_not_find() {
    assert_eq!(forwarded_port(CONFIG), Ok(35_825));
    for (good, bad) in [
        ("# Port Forwarding: 35825", ""),
        ("# Port Forwarding: 35825", " # Port Forwarding: 35825"),
        ("# Port Forwarding: 35825", "#Port Forwarding: 35825"),
        ("# Port Forwarding: 35825", "# Port Forwarding = 35825"),
        ("35825\n", "358\n"),
        ("35825\n", "358255\n"),
        ("35825\n", "99999\n"),
        ("35825\n", "35825 \n"),
        ("35825\n", "undefined\n"),
        ("35825\n", "35825\n# Port Forwarding: 35826\n"),
        ("0.0.0.0/0, ::/0", "::/"),
        ("AllowedIPs", "allowed"),
        (":51820", ""),
    ] {
        let config = CONFIG.replace(good, bad);
        assert_ne!(config, CONFIG);
        assert!(forwarded_port(&config).is_err(), "{config}");
    }
}
