//! What a server is to have: its peers, counted by a revision, told whole or as what changed.
//!
//! An agent and its control plane tell each other these types as JSON; unknown fields are ignored. A list that is empty
//! or cut off can never mean "remove all": a snapshot names its kind, its count and its digest.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Invalid;
use super::keys::{PresharedKey, PublicKey};
use super::server::Server;
use super::time::Timestamp;
use super::trouble::Trouble;

/// The version of these types; raised when an older agent could not do what is asked of it.
pub const PROTOCOL: u32 = 1;

/// One customer's peer, with what is to be forwarded to it and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredPeer {
    pub id: Uuid,
    pub public_key: PublicKey,
    #[serde(with = "preshared_key_text")]
    pub preshared_key: PresharedKey,
    pub address: Ipv4Addr,
    pub address6: Option<Ipv6Addr>,
    /// Arrives here from outside, TCP.
    pub public_port: u16,
    /// Goes to this port of the customer.
    pub target_port: u16,
    /// Until when traffic passes; none at all while it is suspended.
    #[serde(with = "optional_millis")]
    pub traffic_until: Option<Timestamp>,
    /// Over its quota: slowed down.
    pub throttled: bool,
}

/// What holds for all peers of a server: from the control plane's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// UDP port of WireGuard.
    pub listen_port: u16,
    /// The pool; its first address is the server's own.
    pub network: Ipv4Net,
    pub network6: Option<Ipv6Net>,
}

impl Terms {
    pub fn of(server: &Server) -> Self {
        Self { listen_port: server.port, network: server.pool.network(), network6: server.network6 }
    }
}

/// All peers of a server at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// Which life of the control plane's database the revision belongs to.
    pub epoch: Uuid,
    pub revision: i64,
    pub terms: Terms,
    #[serde(with = "by_id")]
    pub peers: Peers,
}

/// Peers by their ids.
pub type Peers = BTreeMap<Uuid, DesiredPeer>;

/// What the control plane answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// The control plane's clock, milliseconds: leases count from here, so that a wrong clock moves none.
    #[serde(with = "millis")]
    pub now: Timestamp,
    /// Something that knows the time keeps that clock right.
    #[serde(default)]
    pub is_synchronised: bool,
    #[serde(flatten)]
    pub change: Change,
}

/// The two kinds of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Change {
    Snapshot(Snapshot),
    Delta(Delta),
}

/// Everything, with what proves that it is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    #[serde(flatten)]
    pub desired: Desired,
    pub count: usize,
    pub sha256: String,
    /// The operator said that many peers may go at once.
    pub removals_allowed: bool,
    #[serde(flatten)]
    pub taken_away: TakenAway,
}

/// Peers that the operator took away, or their key: these are kept in no case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenAway {
    #[serde(default, rename = "taken_away")]
    pub peers: BTreeSet<Uuid>,
    /// The keys that were taken from those that still have their place. With another one such a peer is of a later time,
    /// which a restored backup forgot.
    #[serde(default, rename = "taken_keys")]
    pub keys: BTreeMap<Uuid, BTreeSet<PublicKey>>,
}

impl TakenAway {
    pub fn has(&self, peer: &DesiredPeer) -> bool {
        let is_its_key = |keys: &BTreeSet<PublicKey>| keys.contains(&peer.public_key);
        self.peers.contains(&peer.id) && self.keys.get(&peer.id).is_none_or(is_its_key)
    }
}

/// What changed since `base`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    pub epoch: Uuid,
    pub base: i64,
    pub revision: i64,
    pub upsert: Vec<DesiredPeer>,
    pub remove: Vec<Uuid>,
}

impl Snapshot {
    pub fn new(desired: Desired, removals_allowed: bool, taken_away: TakenAway) -> Self {
        Self { count: desired.peers.len(), sha256: desired.digest(), desired, removals_allowed, taken_away }
    }

    /// The desired state, if all of it arrived.
    ///
    /// # Errors
    /// When count or digest are of another list.
    pub fn checked(self) -> Result<Desired, Invalid> {
        if self.count != self.desired.peers.len() || self.sha256 != self.desired.digest() {
            return Err(Invalid::new("a snapshot that does not fit its own count and digest"));
        }
        Ok(self.desired)
    }
}

impl Desired {
    /// Applies what changed.
    ///
    /// # Errors
    /// When it starts from another revision than this one: then a snapshot is needed.
    pub fn apply(&mut self, delta: Delta) -> Result<(), Invalid> {
        if delta.epoch != self.epoch || delta.base != self.revision || delta.revision < delta.base {
            return Err(Invalid::new("a delta that starts from another revision"));
        }
        for id in &delta.remove {
            self.peers.remove(id);
        }
        self.yield_to_others(&delta.upsert);
        self.peers.extend(delta.upsert.into_iter().map(|peer| (peer.id, peer)));
        self.revision = delta.revision;
        Ok(())
    }

    /// Who has what somebody else gets now, and is not taken away by name, is not known there any more: another history
    /// of the control plane's database sold it.
    fn yield_to_others(&mut self, upsert: &[DesiredPeer]) {
        let ids: HashSet<_> = upsert.iter().map(|peer| peer.id).collect();
        let keys: HashSet<_> = upsert.iter().map(|peer| peer.public_key).collect();
        let addresses: HashSet<_> = upsert.iter().map(|peer| peer.address).collect();
        let is_taken = |peer: &DesiredPeer| keys.contains(&peer.public_key) || addresses.contains(&peer.address);
        self.peers.retain(|id, peer| ids.contains(id) || !is_taken(peer));
    }

    /// SHA-256 over the terms and the peers as JSON in the order of their ids, in hexadecimal; revision and time are
    /// left out.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        hasher.update(serde_json::to_vec(&self.terms).unwrap_or_default());
        for peer in self.peers.values() {
            // These types have a JSON form always: no map with keys that are no text, no number that is none.
            hasher.update(serde_json::to_vec(peer).unwrap_or_default());
            hasher.update(b"\n");
        }
        hex::encode(hasher.finalize())
    }
}

/// More peers than this, and more than this share of all, do not go at once without the operator's word.
pub const GUARDED_REMOVALS: usize = 20;
const GUARDED_SHARE: usize = 5;

/// The peers that stay although `next` does not name them, or not for so long, until their time is over.
///
/// Where the control plane's database begins a new epoch these are all of them: a restored backup forgot who paid since.
/// Otherwise a snapshot that would remove more than 20 peers that still have time, and more than a fifth of all, waits
/// for the operator. What somebody else has by now is never kept. A suspended peer has no time that ends: it passes
/// nothing and keeps its place, until the operator lets it go.
pub fn withhold_removals(before: &Desired, next: &Desired, now: Timestamp) -> Peers {
    let is_restored = before.epoch != next.epoch;
    let has_time = |peer: &&DesiredPeer| peer.has_time(now);
    let is_missed = |peer: &&DesiredPeer| is_restored || !next.peers.contains_key(&peer.id);
    let missed: Vec<&DesiredPeer> = before.peers.values().filter(has_time).filter(is_missed).collect();
    let is_many = missed.len() > GUARDED_REMOVALS && missed.len() * GUARDED_SHARE > before.peers.len();
    if !is_restored && !is_many {
        return Peers::new();
    }
    let mut kept: Peers = missed.into_iter().map(|peer| (peer.id, peer.clone())).collect();
    yield_to(&mut kept, next.peers.values());
    kept
}

/// Drops the withheld peers that share an id, a key, an address or a port with one that is named. The same peer stays
/// where it had paid for longer than it is named for, and is in everything else as it is named.
pub fn yield_to<'a>(withheld: &mut Peers, named: impl Iterator<Item = &'a DesiredPeer>) {
    for named in named {
        withheld.retain(|_, kept| {
            let outlasts = kept.outlasts(named);
            if outlasts {
                *kept = DesiredPeer { traffic_until: kept.traffic_until, ..named.clone() };
            }
            outlasts || !kept.conflicts_with(named)
        });
        if withheld.is_empty() {
            return;
        }
    }
}

impl DesiredPeer {
    fn conflicts_with(&self, other: &Self) -> bool {
        self.id == other.id
            || self.public_key == other.public_key
            || self.address == other.address
            || self.address6.is_some_and(|address| other.address6 == Some(address))
            || self.public_port == other.public_port
    }

    /// The same peer with more time, where the other one is not suspended.
    fn outlasts(&self, other: &Self) -> bool {
        let is_same = self.id == other.id && self.public_key == other.public_key && self.address == other.address;
        is_same && other.traffic_until.is_some_and(|until| self.traffic_until.is_some_and(|own| own > until))
    }

    /// Whether its traffic may pass, now or once it is no longer suspended.
    pub fn has_time(&self, now: Timestamp) -> bool {
        self.traffic_until.is_none_or(|until| until > now)
    }
}

/// What an agent says about its server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub protocol: u32,
    /// The same for one agent on one boot of one machine: two at once for one server are noticed.
    pub agent_id: Uuid,
    /// The server's WireGuard key, which the agent made.
    pub public_key: PublicKey,
    /// None before anything was applied.
    pub applied: Option<Applied>,
    #[serde(default)]
    pub usage: Vec<Usage>,
    /// Peers that it keeps although the control plane does not name them; see [`withhold_removals`].
    #[serde(default)]
    pub withheld: Vec<DesiredPeer>,
    /// What could not be done.
    #[serde(default)]
    pub troubles: Vec<Trouble>,
}

/// What stands on the server now, and was looked at after it was made so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    pub epoch: Uuid,
    pub revision: i64,
    /// [`Desired::digest`] of what stands; given from time to time.
    pub digest: Option<String>,
}

/// A peer's traffic, counted since `run` began: totals, so that a report that is sent twice counts once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub peer: Uuid,
    pub run: Uuid,
    /// Inner bytes, both ways.
    pub bytes: u64,
    /// Rounded down to the minute.
    #[serde(with = "optional_millis")]
    pub handshake_at: Option<Timestamp>,
}

mod preshared_key_text {
    use serde::{Deserialize, Deserializer, Serializer};
    use zeroize::Zeroizing;

    use crate::domain::keys::PresharedKey;

    pub fn serialize<S: Serializer>(key: &PresharedKey, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(key.expose()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PresharedKey, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        PresharedKey::parse(&text).map_err(serde::de::Error::custom)
    }
}

pub mod millis {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::domain::time::Timestamp;

    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(time.millis())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp::from_millis)
    }
}

mod optional_millis {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::domain::time::Timestamp;

    #[expect(clippy::ref_option, reason = "serde passes the field by reference")]
    pub fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(Timestamp::millis).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<i64>::deserialize(deserializer)?.map(Timestamp::from_millis))
    }
}

/// A list in JSON, each peer under its own id.
pub mod by_id {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{DesiredPeer, Peers};

    pub fn serialize<S: Serializer>(peers: &Peers, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(peers.values())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Peers, D::Error> {
        let peers = Vec::<DesiredPeer>::deserialize(deserializer)?;
        Ok(peers.into_iter().map(|peer| (peer.id, peer)).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::keys::PrivateKey;

    fn peer(n: u8, traffic_until: Option<i64>) -> DesiredPeer {
        DesiredPeer {
            id: Uuid::from_u128(u128::from(n)),
            public_key: PrivateKey::from_random([n; 32]).public_key(),
            preshared_key: PresharedKey::from_bytes([n.max(1); 32]),
            address: Ipv4Addr::new(10, 9, 0, n),
            address6: None,
            public_port: 35_000 + u16::from(n),
            target_port: 9_735,
            traffic_until: traffic_until.map(Timestamp::from_millis),
            throttled: false,
        }
    }

    fn desired(revision: i64, peers: impl IntoIterator<Item = DesiredPeer>) -> Desired {
        let network = "10.9.0.0/24".parse().unwrap();
        Desired {
            epoch: Uuid::from_u128(7),
            revision,
            terms: Terms { listen_port: 51_820, network, network6: None },
            peers: peers.into_iter().map(|peer| (peer.id, peer)).collect(),
        }
    }

    #[test]
    fn a_peer_whose_key_was_taken_is_known_by_that_key() {
        let with = |n, key| DesiredPeer { public_key: peer(key, None).public_key, ..peer(n, None) };
        let taken_away = TakenAway {
            peers: [4, 5].map(Uuid::from_u128).into(),
            keys: [(Uuid::from_u128(5), [with(5, 5).public_key].into())].into(),
        };
        assert_eq!(
            [with(4, 4), with(5, 5), with(5, 6), with(6, 5)].map(|peer| taken_away.has(&peer)),
            [true, true, false, false]
        );
        // Somebody who speaks of peers alone means each of them, whatever its key.
        let by_id: TakenAway = serde_json::from_value(serde_json::json!({ "taken_away": taken_away.peers })).unwrap();
        assert!(by_id.has(&with(5, 6)));
    }

    #[test]
    fn a_snapshot_survives_its_json_and_a_cut_one_is_refused() {
        let taken_away = TakenAway {
            peers: [4, 5].map(Uuid::from_u128).into(),
            keys: [(Uuid::from_u128(5), [peer(5, None).public_key].into())].into(),
        };
        let snapshot = Snapshot::new(desired(3, [peer(2, Some(5)), peer(3, None)]), false, taken_away);
        let now = Timestamp::from_millis(9);
        let update = Update { now, is_synchronised: true, change: Change::Snapshot(snapshot) };
        let text = serde_json::to_string(&update).unwrap();
        assert!(text.starts_with(r#"{"now":9,"is_synchronised":true,"kind":"snapshot","#), "{text}");
        let read: Update = serde_json::from_str(&text).unwrap();
        assert_eq!(read, update);
        let Change::Snapshot(mut cut) = read.change else { panic!("not a snapshot") };
        cut.desired.peers.pop_last();
        assert!(cut.checked().is_err());
    }

    #[test]
    fn a_torn_or_foreign_delta_is_refused() {
        let delta = |epoch: u128, base| Delta {
            epoch: Uuid::from_u128(epoch),
            base,
            revision: base + 1,
            upsert: vec![],
            remove: vec![],
        };
        for (epoch, base) in [(7, 2), (7, 4), (8, 3)] {
            assert!(desired(3, []).apply(delta(epoch, base)).is_err(), "{epoch} {base}");
        }
        let mut state = desired(3, []);
        state.apply(delta(7, 3)).unwrap();
        assert_eq!(state.revision, 4);
    }

    #[test]
    fn a_delta_gives_an_address_to_its_new_owner_alone() {
        let mut state = desired(1, [peer(1, None), peer(2, None), peer(3, None)]);
        let heir = DesiredPeer { id: Uuid::from_u128(9), ..peer(1, None) };
        // These two exchange their addresses.
        let (two, three) = (peer(2, None), peer(3, None));
        let exchanged = [
            DesiredPeer { address: three.address, public_port: three.public_port, ..two.clone() },
            DesiredPeer { address: two.address, public_port: two.public_port, ..three },
        ];
        let upsert: Vec<_> = exchanged.into_iter().chain([heir]).collect();
        let delta = Delta { epoch: state.epoch, base: 1, revision: 2, upsert: upsert.clone(), remove: vec![] };
        state.apply(delta).unwrap();
        assert_eq!(state.peers.into_values().collect::<Vec<_>>(), upsert);
    }

    #[test]
    fn scenario_35_a_list_that_would_remove_many_waits_for_the_operator() {
        let now = Timestamp::from_millis(100);
        let before = desired(1, (0..105).map(|n| peer(n, Some(1_000))));
        let left = |count: u8| desired(2, (0..count).map(|n| peer(n, Some(1_000))));
        // A fifth of 105 is 21.
        assert!(withhold_removals(&before, &left(84), now).is_empty());
        assert_eq!(withhold_removals(&before, &left(83), now).len(), 22);
    }

    #[test]
    fn peers_whose_time_is_over_go_and_what_was_given_away_is_not_kept() {
        let now = Timestamp::from_millis(2_000);
        let before = desired(1, (0..100).map(|n| peer(n, Some(1_000))));
        assert!(withhold_removals(&before, &desired(2, []), now).is_empty());
        let before = desired(1, (0..100).map(|n| peer(n, Some(9_000))));
        let given_away = DesiredPeer { id: Uuid::from_u128(500), ..peer(4, Some(9_000)) };
        let kept = withhold_removals(&before, &desired(2, [given_away]), now);
        assert!(kept.len() == 99 && !kept.contains_key(&Uuid::from_u128(4)));
    }

    #[test]
    fn scenario_52_a_restored_backup_takes_nobody_away() {
        let now = Timestamp::from_millis(2_000);
        let before = desired(9, [peer(1, Some(9_000)), peer(2, Some(1_000)), peer(3, None), peer(4, Some(9_000))]);
        // One whose renewal was forgotten is named for a shorter time, and keeps what was paid for.
        let next = Desired { epoch: Uuid::from_u128(8), ..desired(2, [peer(4, Some(3_000))]) };
        let kept = withhold_removals(&before, &next, now);
        let ids: Vec<Uuid> = kept.keys().copied().collect();
        assert_eq!(ids, [Uuid::from_u128(1), Uuid::from_u128(3), Uuid::from_u128(4)]);
        // All else is as it is named, now and later.
        let changed = DesiredPeer {
            preshared_key: PresharedKey::from_bytes([99; 32]),
            target_port: 1,
            throttled: true,
            ..peer(4, Some(4_000))
        };
        let mut kept_then = kept.clone();
        yield_to(&mut kept_then, [changed.clone()].iter());
        assert_eq!(
            kept_then[&Uuid::from_u128(4)],
            DesiredPeer { traffic_until: peer(4, Some(9_000)).traffic_until, ..changed }
        );
        // A renewal that is known after all ends that, and so does somebody else's address.
        let mut kept_then = kept.clone();
        yield_to(&mut kept_then, [peer(4, Some(9_000))].iter());
        assert_eq!(kept_then.len(), 2);
        let mut kept_then = kept;
        yield_to(&mut kept_then, [DesiredPeer { id: Uuid::from_u128(9), ..peer(4, Some(99_000)) }].iter());
        assert_eq!(kept_then.len(), 2);
    }

    proptest! {
        /// Told as a delta or as a snapshot, the state is the same.
        #[test]
        fn a_delta_leads_to_the_snapshot(
            old in proptest::collection::btree_set(0_u8..40, 0..20),
            new in proptest::collection::btree_set(0_u8..40, 0..20),
        ) {
            let mut state = desired(1, old.iter().map(|n| peer(*n, Some(1))));
            let goal = desired(2, new.iter().map(|n| peer(*n, Some(2))));
            let remove = old.difference(&new).map(|n| Uuid::from_u128(u128::from(*n))).collect();
            let delta = Delta { epoch: state.epoch, base: 1, revision: 2, upsert: goal.peers.values().cloned().collect(), remove };
            state.apply(delta).unwrap();
            prop_assert_eq!(state.digest(), goal.digest());
            prop_assert_eq!(state, goal);
        }
    }
}
