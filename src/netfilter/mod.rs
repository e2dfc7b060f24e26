//! The firewall of a VPN server: the nftables table `inet wgsub`, and the flows that conntrack remembers.
//!
//! The kernel ends a customer's traffic by itself: an address passes only while its lease, an element with a timeout,
//! is there, and packets of established flows are asked for it, too. So nobody has to be alive for a lease to end.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::config::Egress;
use crate::domain::interface_name::InterfaceName;

use child::Program;
pub use dump::{Listed, Page};
use elements::Change;
pub use elements::LONGEST_LEASE;
pub use error::Error;
pub use listing::{Forward, Listing, Traffic};
pub use rules::Rules;

mod child;
mod dump;
mod elements;
mod error;
mod flows;
mod listing;
mod neighbours;
mod rules;
mod table;
mod transaction;

const TABLE: &str = "wgsub";

const NFT: Program = Program { name: "nft", package: "nftables" };

/// What holds for all customers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firewall {
    pub wireguard_interface: InterfaceName,
    /// Where the internet is.
    pub wan_interface: InterfaceName,
    /// The addresses that packets for the public ports arrive with.
    pub public_address: Ipv4Addr,
    pub public_address6: Option<Ipv6Addr>,
    /// The host's addresses in the tunnel that answer ping.
    pub gateways: Vec<IpAddr>,
    pub egress: Egress,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    pub address: Ipv4Addr,
    pub address6: Option<Ipv6Addr>,
    /// TCP, on the public addresses, forwarded to `target_port` of the customer's.
    pub public_port: u16,
    pub target_port: u16,
    /// From now on; none for one who is suspended or over, who has no traffic. At most 10,000 days.
    pub lease: Option<Duration>,
    pub throttled: bool,
}

impl Customer {
    fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        std::iter::once(IpAddr::V4(self.address)).chain(self.address6.map(IpAddr::V6))
    }
}

/// A difference to what was applied before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomerChange {
    Add(Customer),
    /// The lease starts anew, however much of it was left.
    Update {
        from: Customer,
        to: Customer,
    },
    /// With their counters: read these before.
    Remove(Customer),
}

/// Replaces the table and all customers in one transaction; flows that still may pass go on without loss.
/// Counters start at zero.
pub async fn replace(firewall: &Firewall, customers: &[Customer]) -> Result<(), Error> {
    nft(&table::replacement(firewall, customers)).await
}

/// Changes customers in one transaction.
///
/// # Errors
/// When the table is not there, or does not hold what the changes start from. Nothing is changed then, and
/// [`replace`] puts it right.
pub async fn change(changes: &[CustomerChange]) -> Result<(), Error> {
    transaction::apply(&Change::of(changes)).await
}

/// What the table holds; none where there is no table.
pub async fn list() -> Result<Option<Listing>, Error> {
    Listing::read().await
}

/// What was counted, and nothing else of it; none where there is no table.
pub async fn list_counters() -> Result<Option<Listing>, Error> {
    Listing::read_counters().await
}

/// What the table's rules are; none where there is no table.
pub async fn rules() -> Result<Option<Rules>, Error> {
    Rules::read().await
}

/// Base chains of others through which customers' packets go, too, and that drop what they do not know.
pub async fn dropping_neighbours() -> Result<Vec<String>, Error> {
    neighbours::that_drop().await
}

/// Forgets the flows from and to these addresses, forwarded or the host's own. Without it the next customer of an
/// address gets packets of the one before.
pub async fn flush_flows(addresses: &BTreeSet<IpAddr>) -> Result<(), Error> {
    flows::forget(addresses).await
}

async fn nft(script: &str) -> Result<(), Error> {
    let ended = NFT.run(&["-f", "-"], script).await?;
    if ended.success { Ok(()) } else { Err(ended.refusal(NFT)) }
}
