//! The server as it stands: interface, peers, firewall, leases, brought to what they should be.
//!
//! The firewall comes first, so that no packet passes that it has not judged; then the flows of those who left are
//! forgotten, then the peers change. What was done is looked at before it is called done.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use uuid::Uuid;

use super::differences::{
    addresses_given_up, are_leased, configs, customer, customer_changes, inner_bytes, left_addresses, only_gives,
    peer_changes, stands, without_heirs, without_takers,
};
use super::parting::Parting;
use crate::config;
use crate::crash::crash_point;
use crate::domain::Invalid;
use crate::domain::desired::{DesiredPeer, Peers, Terms};
use crate::domain::impossible::leave_out_impossible;
use crate::domain::interface_name::InterfaceName;
use crate::domain::keys::{PrivateKey, PublicKey};
use crate::domain::peer_diff::{PeerStatus, diff};
use crate::domain::server::{GATEWAY_PINGED_BY_CLIENTS, gateway, gateway6};
use crate::domain::time::Timestamp;
use crate::netfilter::{self, Customer, CustomerChange, Firewall, Rules};
use crate::wireguard::interface::{self, Interface, Settings};

/// What the kernel takes under a link of 1,500 bytes.
const MTU: u32 = 1_420;
/// A device that somebody else changes at the same time is looked at again so often.
const ATTEMPTS: usize = 3;

/// This machine's WireGuard server.
#[derive(Debug)]
pub struct Server {
    settings: config::Agent,
    key: PrivateKey,
    interface: Interface,
    /// None before the first look, and after a failure: then everything is looked at.
    standing: Option<Standing>,
    /// What the firewall's rules were when they were made: of what others do to them nothing else tells.
    rules: Option<Rules>,
    /// Which life of the firewall's counters is running.
    counter_run: Uuid,
    /// Addresses whose flows are still to be forgotten.
    unflushed: BTreeSet<IpAddr>,
    parting: Parting,
    /// Peers that cannot be beside the others.
    left_out: usize,
}

#[derive(Debug, Clone)]
struct Standing {
    terms: Terms,
    peers: Peers,
}

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(transparent)]
    Interface(#[from] interface::Error),
    #[error(transparent)]
    Firewall(#[from] netfilter::Error),
    #[error("what this server is to have cannot be")]
    Impossible(#[from] Invalid),
    #[error(
        "the interface {0} has peers and another key: to take that server over, put its key in place with `wiretoll agent \
         key import`; otherwise choose another name with [agent] interface"
    )]
    Foreign(InterfaceName),
    #[error("the interface does not keep what it is given: does another program change it?")]
    Unsteady,
}

/// What a look at everything showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Right,
    /// Clocks drift apart over months; to mend that costs nobody the counters.
    LeasesOff,
    Wrong,
}

/// What a peer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    pub run: Uuid,
    pub bytes: u64,
    pub last_handshake: Option<Timestamp>,
}

impl Server {
    pub fn new(settings: config::Agent, key: PrivateKey, counter_run: Uuid, parting: Parting) -> Self {
        let interface = Interface::new(settings.interface.clone());
        Self {
            settings,
            key,
            interface,
            standing: None,
            rules: None,
            counter_run,
            unflushed: BTreeSet::new(),
            parting,
            left_out: 0,
        }
    }

    pub fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    pub const fn counter_run(&self) -> Uuid {
        self.counter_run
    }

    /// An interface that somebody else made for something else is not ours to take.
    pub async fn refuse_foreign_interface(&mut self) -> Result<(), ServerError> {
        if self.interface.is_somebody_elses(&self.key).await? {
            return Err(ServerError::Foreign(self.settings.interface.clone()));
        }
        Ok(())
    }

    /// Of the peers that it was last to have, those that no server could have beside the others.
    pub const fn left_out(&self) -> usize {
        self.left_out
    }

    /// Makes the server have exactly these peers, as far as they can be. After an error the next call looks at everything.
    ///
    /// An address that passes from one to another is nobody's in between, until the flows of the first are forgotten.
    pub async fn converge(&mut self, terms: &Terms, mut peers: Peers, now: Timestamp) -> Result<(), ServerError> {
        self.left_out = leave_out_impossible(&mut peers, &self.public_key());
        let undisputed = match self.standing.take() {
            Some(standing) if standing.terms == *terms => {
                let undisputed = without_heirs(&standing.peers, &peers);
                self.change(&standing.peers, &undisputed, now).await?;
                undisputed
            }
            _ => {
                let found = self.interface.dump_if_there().await?;
                let undisputed = without_takers(&found, &peers);
                // The interface alone tells of them, and no more once it was changed.
                self.unflushed.extend(addresses_given_up(&configs(&undisputed), &found));
                self.rebuild(terms, &undisputed, now).await?;
                undisputed
            }
        };
        if undisputed.len() < peers.len() {
            self.change(&undisputed, &peers, now).await?;
        }
        tracing::debug!(peers = peers.len(), "the server has what it is to have");
        self.standing = Some(Standing { terms: terms.clone(), peers });
        Ok(())
    }

    /// Whether nobody would lose anything of what stands, as far as that is known.
    pub fn would_only_give(&self, terms: &Terms, peers: &Peers) -> bool {
        self.standing.as_ref().is_some_and(|standing| standing.terms == *terms && only_gives(&standing.peers, peers))
    }

    /// Counts everybody's lease anew, from a time that is known better now.
    pub async fn renew_leases(&mut self, now: Timestamp) -> Result<(), ServerError> {
        let Some(standing) = self.standing.take() else { return Ok(()) };
        let same = |customer: Customer| CustomerChange::Update { from: customer.clone(), to: customer };
        let changes: Vec<_> = standing.peers.values().map(|peer| same(customer(peer, now))).collect();
        netfilter::change(&changes).await?;
        crash_point!("leases.renewed");
        self.standing = Some(standing);
        Ok(())
    }

    /// Looks at everything that it was to have.
    pub async fn look(&mut self, now: Timestamp) -> Result<Found, ServerError> {
        let Some(standing) = self.standing.take() else { return Ok(Found::Right) };
        let found = self.compare(&standing, now).await?;
        self.standing = Some(standing);
        Ok(found)
    }

    /// Puts right what is not as it should be. The counters begin anew.
    pub async fn mend(&mut self, now: Timestamp) -> Result<(), ServerError> {
        let Some(standing) = self.standing.take() else { return Ok(()) };
        self.converge(&standing.terms, standing.peers, now).await
    }

    async fn compare(&mut self, standing: &Standing, now: Timestamp) -> Result<Found, ServerError> {
        let changes = diff(&configs(&standing.peers), &self.interface.dump().await?, &self.public_key())?;
        let is_up = self.interface.is_as(&self.interface_settings(&standing.terms)).await?;
        let listing = netfilter::list().await?.unwrap_or_default();
        let has_rules = self.rules.is_some() && netfilter::rules().await? == self.rules;
        let is_whole = changes.is_empty() && is_up && has_rules && stands(&listing, &standing.peers);
        Ok(match (is_whole, are_leased(&listing, &standing.peers, now)) {
            (true, true) => Found::Right,
            (true, false) => Found::LeasesOff,
            (false, _) => Found::Wrong,
        })
    }

    /// What each peer used and when it was last heard. None of the addresses that it connects from.
    ///
    /// # Errors
    /// [`ServerError::Unsteady`] where somebody who stands is not there.
    pub async fn counted(&mut self) -> Result<BTreeMap<Uuid, Counted>, ServerError> {
        if self.standing.is_none() {
            return Ok(BTreeMap::new());
        }
        let listing = netfilter::list_counters().await?.unwrap_or_default();
        let devices: BTreeMap<PublicKey, PeerStatus> =
            self.found().await?.into_iter().map(|peer| (peer.public_key, peer)).collect();
        let counted = self.standing.iter().flat_map(|standing| standing.peers.values()).map(|peer| {
            let device = devices.get(&peer.public_key).ok_or(ServerError::Unsteady)?;
            let (run, bytes) = (self.counter_run, inner_bytes(&listing, peer));
            Ok((peer.id, Counted { run, bytes, last_handshake: device.last_handshake }))
        });
        counted.collect()
    }

    /// The peers of the interface as it was set up; that of a daemon that started again has nothing, its key neither.
    async fn found(&mut self) -> Result<Vec<PeerStatus>, ServerError> {
        let device = self.interface.read().await?;
        if device.has_private_key(&self.key) { Ok(device.peers) } else { Err(ServerError::Unsteady) }
    }

    /// Keeps what everybody has used until now, before their counters go.
    pub async fn part_from_all(&mut self) -> Result<(), ServerError> {
        let Some(standing) = self.standing.take() else { return Ok(()) };
        self.part_from(standing.peers.values()).await?;
        self.standing = Some(standing);
        Ok(())
    }

    /// Keeps what these have used until now, before their counters go.
    pub async fn part_from(&mut self, peers: impl Iterator<Item = &DesiredPeer>) -> Result<(), ServerError> {
        let Some(listing) = netfilter::list_counters().await? else { return Ok(()) };
        self.parting.add(self.counter_run, peers.map(|peer| (peer.id, inner_bytes(&listing, peer))));
        Ok(())
    }

    /// What was counted before its counters went.
    pub const fn parting(&self) -> &Parting {
        &self.parting
    }

    pub fn parting_was_told(&mut self) {
        self.parting.first_was_told();
    }

    async fn rebuild(&mut self, terms: &Terms, peers: &Peers, now: Timestamp) -> Result<(), ServerError> {
        let firewall = self.firewall(terms);
        if netfilter::rules().await?.is_none() {
            // Before any packet can come, something has to judge it; then all else may be done at the same time.
            netfilter::replace(&firewall, &[]).await?;
            crash_point!("rebuild.guarded");
        }
        self.part_from(peers.values()).await?;
        let settings = self.interface_settings(terms);
        let customers: Vec<Customer> = peers.values().map(|peer| customer(peer, now)).collect();
        if self.unflushed.is_empty() {
            let (replaced, standing) = tokio::join!(replace(&firewall, &customers), self.stand(&settings, peers));
            replaced?;
            self.begin_to_count().await?;
            standing?;
        } else {
            replace(&firewall, &customers).await?;
            self.begin_to_count().await?;
            self.flush().await?;
            crash_point!("rebuild.forgotten");
            self.stand(&settings, peers).await?;
        }
        self.interface.bring_up(&settings).await?;
        crash_point!("rebuild.peers");
        self.flush().await?;
        crash_point!("rebuild.flows");
        Ok(())
    }

    /// A firewall that was just made has counters that start at zero.
    async fn begin_to_count(&mut self) -> Result<(), ServerError> {
        self.counter_run = new_run()?;
        self.rules = netfilter::rules().await?;
        Ok(())
    }

    async fn stand(&mut self, settings: &Settings, peers: &Peers) -> Result<(), ServerError> {
        self.interface.prepare(settings).await?;
        crash_point!("rebuild.interface");
        self.set_peers(peers).await
    }

    /// Forgets the flows of those who left, also where an earlier attempt got no further.
    async fn flush(&mut self) -> Result<(), ServerError> {
        netfilter::flush_flows(&self.unflushed).await?;
        self.unflushed.clear();
        Ok(())
    }

    async fn change(&mut self, before: &Peers, after: &Peers, now: Timestamp) -> Result<(), ServerError> {
        let mut leaving = before.values().filter(|peer| !after.contains_key(&peer.id)).peekable();
        if leaving.peek().is_some() {
            self.part_from(leaving).await?;
        }
        let changes = customer_changes(before, after, now);
        self.unflushed.extend(left_addresses(before, after));
        netfilter::change(&changes).await?;
        crash_point!("change.firewall");
        self.flush().await?;
        crash_point!("change.flows");
        let changes = peer_changes(before, after);
        if changes.is_empty() {
            return Ok(());
        }
        self.interface.apply(&changes).await?;
        crash_point!("change.peers");
        if !diff(&configs(after), &self.found().await?, &self.public_key())?.is_empty() {
            // Somebody else was here: then more than peers may be gone, and everything is looked at.
            return Err(ServerError::Unsteady);
        }
        crash_point!("change.verified");
        Ok(())
    }

    /// Until a look shows that they stand.
    async fn set_peers(&mut self, peers: &Peers) -> Result<(), ServerError> {
        let configs = configs(peers);
        for _ in 0..ATTEMPTS {
            let found = self.found().await?;
            let changes = diff(&configs, &found, &self.public_key())?;
            if changes.is_empty() {
                return Ok(());
            }
            self.unflushed.extend(addresses_given_up(&configs, &found));
            self.interface.apply(&changes).await?;
        }
        Err(ServerError::Unsteady)
    }

    fn interface_settings(&self, terms: &Terms) -> Settings {
        let mut addresses = vec![IpNet::V4(own_net(terms.network))];
        if gateway(terms.network) != GATEWAY_PINGED_BY_CLIENTS {
            addresses.push(IpNet::V4(Ipv4Net::from(GATEWAY_PINGED_BY_CLIENTS)));
        }
        addresses.extend(terms.network6.map(own_net6).map(IpNet::V6));
        Settings { private_key: self.key.clone(), listen_port: terms.listen_port, addresses, mtu: MTU }
    }

    fn firewall(&self, terms: &Terms) -> Firewall {
        let addresses = self.interface_settings(terms).addresses;
        Firewall {
            wireguard_interface: self.settings.interface.clone(),
            wan_interface: self.settings.wan_interface.clone(),
            public_address: self.settings.public_address,
            public_address6: self.settings.public_address6,
            gateways: addresses.iter().map(IpNet::addr).collect(),
            egress: self.settings.egress,
        }
    }
}

async fn replace(firewall: &Firewall, customers: &[Customer]) -> Result<(), ServerError> {
    netfilter::replace(firewall, customers).await?;
    crash_point!("rebuild.firewall");
    Ok(())
}

/// A name for a life of the counters.
pub fn new_run() -> Result<Uuid, Invalid> {
    let bytes = crate::random::bytes().map_err(|_| Invalid::new("the system has no randomness"))?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

fn own_net(network: Ipv4Net) -> Ipv4Net {
    let address = gateway(network);
    Ipv4Net::new(address, network.prefix_len()).unwrap_or_else(|_| Ipv4Net::from(address))
}

fn own_net6(network: Ipv6Net) -> Ipv6Net {
    let address = gateway6(network);
    Ipv6Net::new(address, network.prefix_len()).unwrap_or_else(|_| Ipv6Net::from(address))
}
