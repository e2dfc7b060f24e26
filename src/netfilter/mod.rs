//! The firewall of a VPN server: the nftables table `inet wgsub`, and the flows that conntrack remembers.
//!
//! The kernel ends a customer's traffic by itself: an address passes only while its lease, an element with a timeout,
//! is there, and packets of established flows are asked for it, too. So nobody has to be alive for a lease to end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::domain::interface_name::InterfaceName;

use child::{Ended, Program};
pub use elements::LONGEST_LEASE;
pub use error::Error;
pub use listing::{Forward, Listing, Traffic};

mod child;
mod elements;
mod error;
mod listing;
mod neighbours;
mod table;

/// 1 Mbit/s each way.
pub const THROTTLE_BYTES_PER_SECOND: u32 = 125_000;

/// How nft says that there is none.
const NO_TABLE: &str = "No such file or directory";

const NFT: Program = Program { name: "nft", package: "nftables" };
const CONNTRACK: Program = Program { name: "conntrack", package: "conntrack" };

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
    /// Each way, for a customer who is throttled.
    pub throttle_bytes_per_second: u32,
}

/// What customers may start towards the internet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Egress {
    Off,
    On { blocked_ports: Vec<u16>, flows_per_address: u32 },
}

impl Default for Egress {
    /// No mail, and no scans.
    fn default() -> Self {
        Self::On { blocked_ports: vec![25, 465, 587, 2_525], flows_per_address: 1_000 }
    }
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
    nft(&elements::script(changes)).await
}

/// What the table holds; none where there is no table.
pub async fn list() -> Result<Option<Listing>, Error> {
    let ended = NFT.run(&["-j", "list", "table", "inet", "wgsub"], "").await?;
    if ended.success {
        return Ok(Some(Listing::parse(&ended.output)?));
    }
    if ended.complaint.contains(NO_TABLE) { Ok(None) } else { Err(ended.refusal(NFT)) }
}

/// Whether there is a table; what it holds is not looked at.
pub async fn is_there() -> Result<bool, Error> {
    let ended = NFT.run(&["-t", "list", "table", "inet", "wgsub"], "").await?;
    match ended.success {
        false if !ended.complaint.contains(NO_TABLE) => Err(ended.refusal(NFT)),
        is_there => Ok(is_there),
    }
}

/// Base chains of others through which customers' packets go, too, and that drop what they do not know.
pub async fn dropping_neighbours() -> Result<Vec<String>, Error> {
    let ended = NFT.run(&["-j", "list", "chains"], "").await?;
    if ended.success { Ok(neighbours::that_drop(&ended.output)?) } else { Err(ended.refusal(NFT)) }
}

/// Ends the table, and with it every rule of ours.
pub async fn remove() -> Result<(), Error> {
    nft("add table inet wgsub\ndelete table inet wgsub\n").await
}

/// Forgets the flows from and to these addresses, forwarded or the host's own. Without it the next customer of an
/// address gets packets of the one before.
pub async fn flush_flows(addresses: &[IpAddr]) -> Result<(), Error> {
    for address in addresses {
        let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
        // Who started a flow is its original source; who was dialled, through DNAT or not, is who replies.
        for end in ["--orig-src", "--reply-src"] {
            let ended = CONNTRACK.run(&["-D", "-f", family, end, &address.to_string()], "").await?;
            if !ended.success && !found_nothing(&ended) {
                return Err(ended.refusal(CONNTRACK));
            }
        }
    }
    Ok(())
}

/// `conntrack -D` calls that a failure.
fn found_nothing(ended: &Ended) -> bool {
    ended.complaint.contains(" 0 flow entries have been deleted")
}

async fn nft(script: &str) -> Result<(), Error> {
    if script.is_empty() {
        return Ok(());
    }
    let ended = NFT.run(&["-f", "-"], script).await?;
    if ended.success { Ok(()) } else { Err(ended.refusal(NFT)) }
}
