//! `demo --wireguard` tells its story with real packets.

use std::process::Command;

use crate::lab::{possible, skip};

#[test]
fn the_demo_connects_a_customer_and_lets_a_visitor_through() {
    if let Err(missing) = possible() {
        return skip("demo::the_demo_connects_a_customer_and_lets_a_visitor_through", &missing);
    }
    let output =
        Command::new(env!("CARGO_BIN_EXE_wiretoll")).args(["demo", "--wireguard", "--no-qr"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    // The visitor's own address, from the other side of the internet.
    assert!(said.contains("hello from the node at 10.9.0.2:9735, you are 203.0.113.254"), "{said}");
    assert!(said.contains("10.9.0.2 timeout 3"), "{said}");
}
