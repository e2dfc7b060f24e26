//! Customers as elements of the table's sets and maps.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use super::{Customer, CustomerChange};

/// What the kernel takes; nobody pays for 27 years.
pub const LONGEST_LEASE: Duration = Duration::from_hours(10_000 * 24);

/// Texts of elements by the set that they belong to; each once, as deleting one twice would fail.
#[derive(Debug, Default)]
pub struct Elements(BTreeMap<String, BTreeSet<String>>);

/// Changes elements only, in one transaction.
///
/// What goes is added first: deleting fails as a whole where a lease has run out meanwhile, and adding one that is
/// there still would not move its end on older kernels.
pub fn script(changes: &[CustomerChange]) -> String {
    let (mut gone, mut new) = (Elements::default(), Elements::default());
    for change in changes {
        match change {
            CustomerChange::Add(customer) => {
                gone.insert_each("live", customer, |address| address.to_string());
                new.add(customer);
            }
            CustomerChange::Remove(customer) => gone.remove(customer),
            CustomerChange::Update { from, to } => update(&mut gone, &mut new, from, to),
        }
    }
    format!("{}{}{}", gone.additions(), gone.deletions(), new.additions())
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
            self.insert_each("live", customer, |address| format!("{address} timeout {}", time(lease)));
        }
        self.add_lasting(customer);
    }

    /// The same, with a lease that has no end yet: whatever is there is to go.
    fn remove(&mut self, customer: &Customer) {
        self.insert_each("live", customer, |address| address.to_string());
        self.add_lasting(customer);
    }

    fn add_lasting(&mut self, customer: &Customer) {
        let Customer { public_port, target_port, throttled, .. } = customer;
        self.insert_each("fwd", customer, |address| format!("tcp . {public_port} : {address} . {target_port}"));
        let counted = ["up", "down"];
        let slow: &[&str] = if *throttled { &["slow_up", "slow_down"] } else { &[] };
        for set in counted.iter().chain(slow) {
            self.insert_each(set, customer, |address| address.to_string());
        }
    }

    fn insert_each(&mut self, set: &str, customer: &Customer, element: impl Fn(IpAddr) -> String) {
        let addresses = [Some(IpAddr::V4(customer.address)), customer.address6.map(IpAddr::V6)];
        for address in addresses.into_iter().flatten() {
            let version = if address.is_ipv4() { "4" } else { "6" };
            self.0.entry(format!("{set}{version}")).or_default().insert(element(address));
        }
    }

    /// What is in `one` and not in `other`.
    fn insert_difference(&mut self, one: &Self, other: &Self) {
        for (set, elements) in &one.0 {
            let kept = other.0.get(set);
            let differing = elements.iter().filter(|element| !kept.is_some_and(|kept| kept.contains(*element)));
            self.0.entry(set.clone()).or_default().extend(differing.cloned());
        }
    }

    pub fn additions(&self) -> String {
        self.commands("add")
    }

    fn deletions(&self) -> String {
        self.commands("delete")
    }

    fn commands(&self, verb: &str) -> String {
        let mut commands = String::new();
        for (set, elements) in self.0.iter().filter(|(_, elements)| !elements.is_empty()) {
            let elements = elements.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            // A String takes whatever it is given.
            let _ = writeln!(commands, "{verb} element inet wgsub {set} {{ {elements} }}");
        }
        commands
    }
}

/// In days first: `nft` 1.0.6 takes no part of a time with more than eight digits.
fn time(lease: Duration) -> String {
    const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;
    let lease = lease.min(LONGEST_LEASE);
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

    #[test]
    fn a_customer_is_a_lease_a_forward_and_two_counters() {
        insta::assert_snapshot!(script(&[CustomerChange::Add(customer(Some(86_400_250)))]), @"
        add element inet wgsub live4 { 10.9.0.2 }
        delete element inet wgsub live4 { 10.9.0.2 }
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
        let script = script(&[CustomerChange::Remove(leaving)]);
        let deleted: Vec<&str> =
            script.lines().filter_map(|line| line.strip_prefix("delete element inet wgsub ")).collect();
        let sets: Vec<&str> = deleted.iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(sets, ["down4", "down6", "fwd4", "fwd6", "live4", "live6", "up4", "up6"]);
    }

    #[test]
    fn an_address_that_changes_hands_is_deleted_once() {
        let changes = [CustomerChange::Remove(customer(Some(5))), CustomerChange::Add(customer(Some(9)))];
        assert!(script(&changes).contains("delete element inet wgsub live4 { 10.9.0.2 }\n"));
    }

    #[test]
    fn leases_end_within_what_the_kernel_takes() {
        assert_eq!(time(Duration::MAX), "10000d0s0ms");
        assert_eq!(time(Duration::from_micros(1_999)), "0d0s1ms");
        // Four renewals of a year: 100,000,000 seconds would be refused.
        assert_eq!(time(Duration::from_hours(24 * 365 * 4)), "1460d0s0ms");
        assert!(!script(&[CustomerChange::Add(customer(Some(0)))]).contains("timeout"));
    }
}
