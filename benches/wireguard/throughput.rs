//! One stream through a customer's public port: with our firewall, and with the few lines that somebody writes by hand.

use std::process::{Child, Stdio};
use std::time::Duration;

use super::agent::nft;
use super::figures::{Figures, Target};
use super::lab::{Lab, PUBLIC, Place, firewall};

const ROUNDS: usize = 3;
const SECONDS: &str = "3";
const BY_HAND: &str = "/run/by-hand.nft";

pub async fn measure(lab: &mut Lab, figures: &mut Figures) {
    lab.open().await;
    let address = lab.a.address.to_string();
    let server = lab.a.place.command(&["iperf3", "-s", "-B", &address, "-p", "9735"]).stdout(Stdio::null()).spawn();
    let mut server = server.expect("iperf3 (Debian package iperf3)");
    tokio::time::sleep(Duration::from_millis(500)).await;
    std::fs::write(BY_HAND, by_hand(&address, lab.a.public_port)).expect("a file");
    let (mut ours, mut floor) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        wiretoll::netfilter::replace(&firewall(), &[lab.a.customer(), lab.b.customer()]).await.expect("replaced");
        ours.push(megabits(lab.a.public_port));
        super::lab::remove_table();
        nft(&["-f", BY_HAND]);
        floor.push(megabits(lab.a.public_port));
        nft(&["delete", "table", "inet", "byhand"]);
    }
    end(&mut server);
    figures.rates(
        "one stream to a customer's public port",
        "Mbit/s",
        middle(ours),
        middle(floor),
        &Target::AtLeast(0.95),
    );
}

/// Forwards the port and nothing else.
fn by_hand(address: &str, port: u16) -> String {
    format!(
        "table inet byhand {{\n chain pre {{ type nat hook prerouting priority dstnat;\n  ip daddr {PUBLIC} tcp dport {port} \
         dnat ip to {address}:9735\n }}\n}}\n"
    )
}

fn megabits(port: u16) -> f64 {
    let port = port.to_string();
    let words = ["iperf3", "-c", &PUBLIC.to_string(), "-p", &port, "-t", SECONDS, "-J"];
    let output = Place::Visitor.command(&words).output().expect("iperf3");
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let bits = result["end"]["sum_received"]["bits_per_second"].as_f64();
    bits.unwrap_or_else(|| panic!("{result}")) / 1e6
}

fn middle(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
