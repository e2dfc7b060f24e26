//! Customers as elements of the table's sets and maps.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use super::{Customer, CustomerChange, Forward};

/// What the kernel takes; nobody pays for 27 years.
pub const LONGEST_LEASE: Duration = Duration::from_hours(10_000 * 24);

/// Elements by the set that they belong to; each once, as deleting one twice would fail.
#[derive(Debug, Default)]
pub struct Elements(BTreeMap<String, BTreeSet<Element>>);

/// One of a set, or of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    Address {
        address: IpAddr,
        /// After which the kernel takes it away.
        timeout: Option<Duration>,
    },
    Forward(Forward),
}

/// What is done to the elements of one set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Add,
    Delete,
}

/// Changes elements only, in one transaction.
#[derive(Debug, Default)]
pub struct Change {
    gone: Elements,
    new: Elements,
}

impl Change {
    pub fn of(changes: &[CustomerChange]) -> Self {
        let (mut gone, mut new) = (Elements::default(), Elements::default());
        for change in changes {
            match change {
                // Has no lease yet. Were one deleted first, closing the socket would wait 20 ms until no packet looks at it.
                CustomerChange::Add(customer) => new.add(customer),
                CustomerChange::Remove(customer) => gone.remove(customer),
                CustomerChange::Update { from, to } => update(&mut gone, &mut new, from, to),
            }
        }
        Self { gone, new }
    }

    /// In this order. What goes is added first: deleting fails as a whole where a lease has run out meanwhile, and adding
    /// one that is there still would not move its end on older kernels.
    pub fn steps(&self) -> impl Iterator<Item = (Verb, &str, &BTreeSet<Element>)> {
        let (gone, new) = (&self.gone, &self.new);
        let ordered = [(Verb::Add, gone), (Verb::Delete, gone), (Verb::Add, new)];
        ordered.into_iter().flat_map(|(verb, elements)| elements.sets().map(move |(set, all)| (verb, set, all)))
    }
}

/// Leaves alone what is the same in both: counters above all.
fn update(gone: &mut Elements, new: &mut Elements, from: &Customer, to: &Customer) {
    let (mut before, mut after) = (Elements::default(), Elements::default());
    before.remove(from);
    after.add(to);
    gone.insert_difference(&before, &after);
    new.insert_difference(&after, &before);
}

impl Elements {
    pub fn add(&mut self, customer: &Customer) {
        if let Some(lease) = customer.lease.filter(|lease| *lease >= Duration::from_millis(1)) {
            self.insert_addresses("live", customer, Some(lease.min(LONGEST_LEASE)));
        }
        self.add_lasting(customer);
    }

    /// The same, with a lease that has no end yet: whatever is there is to go.
    fn remove(&mut self, customer: &Customer) {
        self.insert_addresses("live", customer, None);
        self.add_lasting(customer);
    }

    fn add_lasting(&mut self, customer: &Customer) {
        let Customer { public_port, target_port, throttled, .. } = *customer;
        for address in customer.addresses() {
            self.insert("fwd", address, Element::Forward(Forward { public_port, address, target_port }));
        }
        let counted = ["up", "down"];
        let slow: &[&str] = if throttled { &["slow_up", "slow_down"] } else { &[] };
        for set in counted.iter().chain(slow) {
            self.insert_addresses(set, customer, None);
        }
    }

    fn insert_addresses(&mut self, set: &str, customer: &Customer, timeout: Option<Duration>) {
        for address in customer.addresses() {
            self.insert(set, address, Element::Address { address, timeout });
        }
    }

    fn insert(&mut self, set: &str, address: IpAddr, element: Element) {
        let version = if address.is_ipv4() { "4" } else { "6" };
        self.0.entry(format!("{set}{version}")).or_default().insert(element);
    }

    /// What is in `one` and not in `other`.
    fn insert_difference(&mut self, one: &Self, other: &Self) {
        for (set, elements) in &one.0 {
            let kept = other.0.get(set);
            let differing = elements.iter().filter(|element| !kept.is_some_and(|kept| kept.contains(*element)));
            self.0.entry(set.clone()).or_default().extend(differing);
        }
    }

    fn sets(&self) -> impl Iterator<Item = (&str, &BTreeSet<Element>)> {
        self.0.iter().filter(|(_, elements)| !elements.is_empty()).map(|(set, elements)| (set.as_str(), elements))
    }

    /// As commands that `nft` reads.
    pub fn additions(&self) -> String {
        self.sets().map(|(set, elements)| command("add", set, elements)).collect()
    }
}

fn command(verb: &str, set: &str, elements: &BTreeSet<Element>) -> String {
    let mut text = format!("{verb} element inet wgsub {set} {{ ");
    for (n, element) in elements.iter().enumerate() {
        // A String takes whatever it is given.
        let _ = write!(text, "{}{element}", if n == 0 { "" } else { ", " });
    }
    text.push_str(" }\n");
    text
}

impl fmt::Display for Element {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { address, timeout: None } => write!(formatter, "{address}"),
            Self::Address { address, timeout: Some(lease) } => write!(formatter, "{address} timeout {}", time(*lease)),
            Self::Forward(Forward { public_port, address, target_port }) => {
                write!(formatter, "tcp . {public_port} : {address} . {target_port}")
            }
        }
    }
}

/// In days first: `nft` 1.0.6 takes no part of a time with more than eight digits.
fn time(lease: Duration) -> String {
    const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;
    let (days, seconds) = (lease.as_secs() / SECONDS_OF_A_DAY, lease.as_secs() % SECONDS_OF_A_DAY);
    format!("{days}d{seconds}s{}ms", lease.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn customer(lease_ms: Option<u64>) -> Customer {
        Customer {
            address: "10.9.0.2".parse().unwrap(),
            address6: None,
            public_port: 35_825,
            target_port: 9_735,
            lease: lease_ms.map(Duration::from_millis),
            throttled: false,
        }
    }

    /// As if `nft` were told.
    fn script(changes: &[CustomerChange]) -> String {
        let verb = |verb| if verb == Verb::Add { "add" } else { "delete" };
        Change::of(changes).steps().map(|(what, set, elements)| command(verb(what), set, elements)).collect()
    }

    #[test]
    fn a_customer_is_a_lease_a_forward_and_two_counters() {
        insta::assert_snapshot!(script(&[CustomerChange::Add(customer(Some(86_400_250)))]), @"
        add element inet wgsub down4 { 10.9.0.2 }
        add element inet wgsub fwd4 { tcp . 35825 : 10.9.0.2 . 9735 }
        add element inet wgsub live4 { 10.9.0.2 timeout 1d0s250ms }
        add element inet wgsub up4 { 10.9.0.2 }
        ");
    }

    #[test]
    fn a_renewal_touches_the_lease_only_and_suspending_ends_it() {
        let renewal = CustomerChange::Update { from: customer(Some(5)), to: customer(Some(2_000)) };
        insta::assert_snapshot!(script(&[renewal]), @"
        add element inet wgsub live4 { 10.9.0.2 }
        delete element inet wgsub live4 { 10.9.0.2 }
        add element inet wgsub live4 { 10.9.0.2 timeout 0d2s0ms }
        ");
        let suspension = CustomerChange::Update { from: customer(Some(5)), to: customer(None) };
        insta::assert_snapshot!(script(&[suspension]), @"
        add element inet wgsub live4 { 10.9.0.2 }
        delete element inet wgsub live4 { 10.9.0.2 }
        ");
    }

    #[test]
    fn another_target_and_a_throttle_leave_the_counters_alone() {
        let to = Customer { target_port: 9_736, throttled: true, ..customer(Some(2_000)) };
        insta::assert_snapshot!(script(&[CustomerChange::Update { from: customer(None), to }]), @"
        add element inet wgsub fwd4 { tcp . 35825 : 10.9.0.2 . 9735 }
        add element inet wgsub live4 { 10.9.0.2 }
        delete element inet wgsub fwd4 { tcp . 35825 : 10.9.0.2 . 9735 }
        delete element inet wgsub live4 { 10.9.0.2 }
        add element inet wgsub fwd4 { tcp . 35825 : 10.9.0.2 . 9736 }
        add element inet wgsub live4 { 10.9.0.2 timeout 0d2s0ms }
        add element inet wgsub slow_down4 { 10.9.0.2 }
        add element inet wgsub slow_up4 { 10.9.0.2 }
        ");
    }

    #[test]
    fn who_leaves_leaves_nothing_in_either_family() {
        let leaving = Customer { address6: Some("fd66::2".parse().unwrap()), ..customer(Some(1)) };
        let change = Change::of(&[CustomerChange::Remove(leaving)]);
        let deleted = change.steps().filter(|(verb, ..)| *verb == Verb::Delete).map(|(_, set, _)| set);
        let sets: Vec<&str> = deleted.collect();
        assert_eq!(sets, ["down4", "down6", "fwd4", "fwd6", "live4", "live6", "up4", "up6"]);
    }

    #[test]
    fn an_address_that_changes_hands_is_deleted_once() {
        let changes = [CustomerChange::Remove(customer(Some(5))), CustomerChange::Add(customer(Some(9)))];
        assert!(script(&changes).contains("delete element inet wgsub live4 { 10.9.0.2 }\n"));
    }

    #[test]
    fn leases_end_within_what_the_kernel_takes() {
        let added = |lease| {
            let mut elements = Elements::default();
            elements.add(&Customer { lease: Some(lease), ..customer(None) });
            elements.additions().lines().find(|line| line.contains("live4")).map(str::to_owned)
        };
        let timeout = |text: &str| Some(format!("add element inet wgsub live4 {{ 10.9.0.2 timeout {text} }}"));
        assert_eq!(added(Duration::MAX), timeout("10000d0s0ms"));
        assert_eq!(added(Duration::from_micros(1_999)), timeout("0d0s1ms"));
        // Four renewals of a year: 100,000,000 seconds would be refused.
        assert_eq!(added(Duration::from_hours(24 * 365 * 4)), timeout("1460d0s0ms"));
        assert_eq!(added(Duration::ZERO), None);
    }
}
