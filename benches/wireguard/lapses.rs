//! A thousand customers whose time ends at once, on a server with ten thousand and flows of each that ends; and what is read
//! of it each minute. By hand it is `conntrack` for each address, and `nft -j list`.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::time::Duration;

use wiretoll::netfilter::{self, Customer, CustomerChange};

use super::ROUNDS;
use super::figures::{Figures, Target, median, timed};
use super::lab::{firewall, remove_table};

const CUSTOMERS: u16 = 10_000;
const LAPSES: u16 = 1_000;
/// Of which each costs two processes by hand; so fewer of them, and times ten.
const BY_HAND: u16 = 100;
const FLOWS: &str = "/run/flows";
const REMOVALS: &str = "/run/removals.nft";

pub async fn measure(figures: &mut Figures) {
    let customers: Vec<Customer> = (0..CUSTOMERS).map(customer).collect();
    let (lapsing, _) = customers.split_at(usize::from(LAPSES));
    let removals: Vec<_> = lapsing.iter().cloned().map(CustomerChange::Remove).collect();
    let addresses = lapsing.iter().map(|customer| IpAddr::V4(customer.address)).collect();
    let (mut removed, mut removed_by_hand, mut flushed, mut flushed_by_hand) = (vec![], vec![], vec![], vec![]);
    std::fs::write(REMOVALS, removals_by_hand(lapsing)).expect("a file");
    let (mut counted, mut listed, mut listed_by_hand) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        netfilter::replace(&firewall(), &customers).await.expect("replaced");
        counted.push(timed(async { netfilter::list_counters().await.expect("listed") }).await.0);
        listed.push(timed(async { netfilter::list().await.expect("listed") }).await.0);
        listed_by_hand.push(timed(async { done("nft", &["-j", "list", "table", "inet", "wgsub"]) }).await.0);
        removed.push(timed(async { netfilter::change(&removals).await.expect("removed") }).await.0);
        netfilter::replace(&firewall(), &customers).await.expect("replaced");
        removed_by_hand.push(timed(async { done("nft", &["-f", REMOVALS]) }).await.0);
        make_flows(0..LAPSES);
        flushed.push(timed(async { netfilter::flush_flows(&addresses).await.expect("flushed") }).await.0);
        make_flows(0..BY_HAND);
        flushed_by_hand.push(timed(async { (0..BY_HAND).for_each(flush_by_hand) }).await.0 * 10);
    }
    remove_table();
    let (listed, by_hand) = (median(listed), median(listed_by_hand));
    figures.times("10,000 customers' counters read, beside `nft -j list`", median(counted), by_hand, &Target::None);
    figures.times("10,000 customers' firewall read, beside `nft -j list`", listed, by_hand, &Target::None);
    let by_hand = median(flushed_by_hand);
    figures.times("1,000 addresses' flows forgotten, beside `conntrack -D`", median(flushed), by_hand, &Target::None);
    let name = "1,000 of 10,000 customers taken out of the firewall, beside `nft -f`";
    figures.times(name, median(removed), median(removed_by_hand), &Target::None);
}

fn removals_by_hand(customers: &[Customer]) -> String {
    let list = |element: fn(&Customer) -> String| customers.iter().map(element).collect::<Vec<_>>().join(", ");
    let (addresses, ports) = (list(|one| one.address.to_string()), list(|one| format!("tcp . {}", one.public_port)));
    let sets = [("live4", &addresses), ("up4", &addresses), ("down4", &addresses), ("fwd4", &ports)];
    sets.map(|(set, elements)| format!("delete element inet wgsub {set} {{ {elements} }}\n")).concat()
}

fn customer(n: u16) -> Customer {
    Customer {
        address: address(n),
        address6: None,
        public_port: 20_000 + n,
        target_port: 9_735,
        lease: Some(Duration::from_hours(1)),
        throttled: false,
    }
}

fn address(n: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 64, 0, 2).to_bits() + u32::from(n))
}

/// Two of each.
fn make_flows(customers: std::ops::Range<u16>) {
    let mut text = String::new();
    for address in customers.map(address) {
        for port in [1_000, 2_000] {
            let _ = writeln!(
                text,
                "-I -p tcp -s {address} -d 203.0.113.254 --sport {port} --dport 80 --state ESTABLISHED -t 600 -u ASSURED"
            );
        }
    }
    std::fs::write(FLOWS, text).expect("a file");
    done("conntrack", &["-R", FLOWS]);
}

fn flush_by_hand(n: u16) {
    for end in ["--orig-src", "--reply-src"] {
        // That nothing was there counts as a failure.
        let arguments = ["-D", "-f", "ipv4", end, &address(n).to_string()];
        let _ = Command::new("conntrack").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn done(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("it starts");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
