//! The text of the table `inet wgsub`.
//!
//! It judges packets from and to the WireGuard interface, and no others: a host's own traffic passes as before.

use std::fmt::Write;
use std::net::IpAddr;

use super::elements::Elements;
use super::{Customer, Firewall};

/// Mail, which a shared address is blocked for.
const BLOCKED_PORTS: [u16; 4] = [25, 465, 587, 2_525];
/// The link of the provider's that the machine is on. Whoever asks there is answered as the machine: clouds tell it their
/// instances' secrets, some at addresses that are not link-local: Alibaba, Azure; Amazon, Google, Scaleway.
const BLOCKED_ADDRESSES: [(&str, &str); 2] = [
    ("ip", "{ 169.254.0.0/16, 100.100.100.200, 168.63.129.16 }"),
    ("ip6", "{ fe80::/10, fd00:ec2::254, fd20:ce::254, fd00:42::42 }"),
];
const BYTES_OF_KBIT: u32 = 125;
/// What one packet may be at most, when offloads have put several together; a smaller burst would drop it for ever.
const BURST_BYTES: u32 = 128 * 1_024;

/// Replaces the whole table, customers included, in one transaction.
pub fn replacement(firewall: &Firewall, customers: &[Customer]) -> String {
    let mut elements = Elements::default();
    for customer in customers {
        elements.add(customer);
    }
    format!("{}{}", definition(firewall), elements.additions())
}

/// The first line makes sure that there is something to delete.
fn definition(firewall: &Firewall) -> String {
    let sets = ["4", "6"].map(|version| sets(firewall, version)).concat();
    let Firewall { wireguard_interface: wg, wan_interface: wan, .. } = firewall;
    let (dnat, input, egress) = (dnat(firewall), input(firewall), egress(firewall));
    format!(
        r#"add table inet wgsub
delete table inet wgsub
table inet wgsub {{
{sets}
	# Every packet of a customer: only with a lease, as fast as they may, counted.
	chain from_customer {{
		ip saddr != @live4 drop
		ip6 saddr != @live6 drop
		ip saddr @slow_up4 drop
		ip6 saddr @slow_up6 drop
		ip saddr @up4
		ip6 saddr @up6
	}}
	chain to_customer {{
		ip daddr != @live4 drop
		ip6 daddr != @live6 drop
		ip daddr @slow_down4 drop
		ip6 daddr @slow_down6 drop
		ip daddr @down4
		ip6 daddr @down6
	}}

	chain pre {{
		type nat hook prerouting priority dstnat; policy accept;
{dnat}	}}
	chain output {{
		type nat hook output priority -100; policy accept;
{dnat}	}}

	chain forward {{
		type filter hook forward priority filter; policy accept;
		iifname "{wg}" goto through
		oifname "{wg}" goto through
	}}
	chain through {{
		tcp flags syn tcp option maxseg size set rt mtu
		ct state invalid drop
		iifname "{wg}" jump from_customer
		ct state established,related accept
		iifname "{wg}" oifname "{wg}" ct status dnat accept
		iifname "{wg}" oifname "{wg}" drop
		oifname "{wg}" ct status dnat accept
{egress}		drop
	}}

	chain input {{
		type filter hook input priority filter; policy accept;
		iifname "{wg}" goto to_host
	}}
	chain to_host {{
		jump from_customer
		ct state invalid drop
		ct state established,related accept
{input}		drop
	}}

	# Forwarded or the host's own; a chain of output would not see yet where DNAT leads.
	chain leaving {{
		type filter hook postrouting priority filter; policy accept;
		oifname "{wg}" goto to_customer
	}}
	chain post {{
		type nat hook postrouting priority srcnat; policy accept;
		iifname "{wg}" oifname "{wan}" masquerade
	}}
}}
"#
    )
}

fn sets(firewall: &Firewall, version: &str) -> String {
    let rate = firewall.egress.throttled_kbit_per_second * BYTES_OF_KBIT;
    let limit = format!("limit rate over {rate} bytes/second burst {BURST_BYTES} bytes;");
    format!(
        "	set live{version} {{ type ipv{version}_addr; flags timeout; }}
	map fwd{version} {{ type inet_proto . inet_service : ipv{version}_addr . inet_service; }}
	set up{version} {{ type ipv{version}_addr; counter; }}
	set down{version} {{ type ipv{version}_addr; counter; }}
	set slow_up{version} {{ type ipv{version}_addr; {limit} }}
	set slow_down{version} {{ type ipv{version}_addr; {limit} }}
	set flows{version} {{ type ipv{version}_addr; size 65535; flags dynamic; }}
"
    )
}

/// By the public address, not by the interface: customers dial each other, and the host its customers, that way, too.
fn dnat(firewall: &Firewall) -> String {
    let mut rules = format!("\t\tip daddr {} dnat ip to meta l4proto . th dport map @fwd4\n", firewall.public_address);
    if let Some(address) = firewall.public_address6 {
        push(&mut rules, format_args!("\t\tip6 daddr {address} dnat ip6 to meta l4proto . th dport map @fwd6\n"));
    }
    rules
}

/// Of the host itself, customers reach its tunnel addresses, by ping.
fn input(firewall: &Firewall) -> String {
    let mut rules = String::new();
    for gateway in &firewall.gateways {
        let (family, icmp) = match gateway {
            IpAddr::V4(_) => ("ip", "icmp"),
            IpAddr::V6(_) => ("ip6", "icmpv6"),
        };
        push(&mut rules, format_args!("\t\t{family} daddr {gateway} {icmp} type echo-request accept\n"));
    }
    rules
}

fn egress(firewall: &Firewall) -> String {
    let Firewall { wireguard_interface: wg, wan_interface: wan, egress, .. } = firewall;
    if !egress.allowed {
        return String::new();
    }
    let out = format!("\t\tiifname \"{wg}\" oifname \"{wan}\"");
    let ports = BLOCKED_PORTS.map(|port| port.to_string()).join(", ");
    let reject = "reject with icmpx type admin-prohibited";
    let mut rules = format!("{out} meta l4proto {{ tcp, udp }} th dport {{ {ports} }} {reject}\n");
    for (family, addresses) in BLOCKED_ADDRESSES {
        push(&mut rules, format_args!("{out} {family} daddr {addresses} {reject}\n"));
    }
    let most = egress.connections_per_customer;
    for (family, set) in [("ip", "flows4"), ("ip6", "flows6")] {
        push(&mut rules, format_args!("{out} add @{set} {{ {family} saddr ct count over {most} }} drop\n"));
    }
    push(&mut rules, format_args!("{out} accept\n"));
    rules
}

fn push(rules: &mut String, text: std::fmt::Arguments<'_>) {
    // A String takes whatever it is given.
    let _ = rules.write_fmt(text);
}
