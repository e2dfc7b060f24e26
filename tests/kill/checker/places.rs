//! Slots, peers and keys, and what was told of them.

use std::collections::{HashMap, HashSet};

use wiretoll::domain::server::Slot;

use super::{group, orders, wrong};
use crate::books::{self, Books};

pub fn slots_have_one_peer(books: &Books) -> Vec<String> {
    let mut by_slot: HashMap<_, Vec<_>> = group(&books.peers, |peer| (peer.server_id.as_str(), peer.slot));
    let mut found = wrong(&books.slots, |slot| {
        let peers = by_slot.remove(&(slot.server_id.as_str(), slot.n)).unwrap_or_default();
        let one = matches!(peers.as_slice(), [peer] if peer.id == slot.peer_id);
        (!one).then(|| format!("{slot:?} has {peers:?}"))
    });
    found.extend(by_slot.into_values().map(|peers| format!("{peers:?} have no slot")));
    found.extend(wrong(&books.servers, |server| {
        let count = |reserved: bool| {
            let theirs = books.peers.iter().filter(|peer| peer.server_id == server.id);
            theirs.filter(|peer| peer.reserved_by_order.is_some() == reserved).count()
        };
        let counted = (i64::try_from(count(false)), i64::try_from(count(true)));
        (counted != (Ok(server.slots_held), Ok(server.slots_reserved))).then(|| format!("{server:?} has {counted:?}"))
    }));
    found
}

pub fn reservations_are_of_open_orders(books: &Books) -> Vec<String> {
    let reserving: HashSet<_> = books.peers.iter().filter_map(|peer| peer.reserved_by_order.as_deref()).collect();
    wrong(&books.orders, |order| {
        let open = matches!(order.state.as_str(), "creating" | "pending");
        let reserves = reserving.contains(order.id.as_str());
        // A renewal has the slot of its subscription.
        let right = if open && order.kind == "new" { reserves } else { open || !reserves };
        (!right).then(|| format!("{order:?} reserves: {reserves}"))
    })
}

pub fn subscriptions_have_one_peer(books: &Books) -> Vec<String> {
    let mut peers = group(books.peers.iter().filter(|peer| peer.holder_id.is_some()), |peer| peer.holder_id.clone());
    let mut found = wrong(&books.subscriptions, |one| {
        let peers = peers.remove(&Some(one.id.clone())).unwrap_or_default();
        let right = match (one.standing.as_str(), peers.as_slice()) {
            ("held", [peer]) => peer.server_id == one.server_id,
            ("released", []) => true,
            _ => false,
        };
        (!right).then(|| format!("{one:?} has {peers:?}"))
    });
    found.extend(peers.into_values().map(|peers| format!("{peers:?} are nobody's")));
    found
}

pub fn keys_have_one_owner(books: &Books) -> Vec<String> {
    let keys = group(&books.keys, |key| key.public_key.as_str());
    let mut found = wrong(&keys, |(key, owners)| (owners.len() != 1).then(|| format!("{key} belongs to {owners:?}")));
    found.extend(wrong(&books.peers, |peer| {
        let key = peer.public_key.as_deref()?;
        let owner = keys.get(key).map(|owners| &owners[0].subscription_id);
        (owner != peer.holder_id.as_ref()).then(|| format!("{peer:?} answers to a key of {owner:?}"))
    }));
    let orders = orders(books);
    found.extend(wrong(&books.private_keys, |made| {
        let owner = keys.get(made.public_key.as_str()).map(|owners| &owners[0].subscription_id);
        let wanted = orders.get(made.order_id.as_str()).and_then(|order| order.subscription_id.as_ref());
        (owner.is_none() || owner != wanted).then(|| format!("{made:?} was made for {wanted:?}, bound is {owner:?}"))
    }));
    found
}

/// Every config that was handed out: the same for whoever asks again, and its address and port for nobody else.
pub fn claims_are_stored(books: &Books) -> Vec<String> {
    let peers = group(books.peers.iter().filter(|peer| peer.holder_id.is_some()), |peer| peer.holder_id.clone());
    let mut found = wrong(&books.claimed, |config| {
        let peers = peers.get(&Some(config.subscription.clone())).map_or(&[][..], Vec::as_slice);
        let right = matches!(peers, [peer] if is_config_of(books, config, peer));
        (!right).then(|| format!("{config:?} is stored as {peers:?}"))
    });
    let places = group(&books.claimed, |config| (config.server.as_str(), config.port));
    found.extend(wrong(&places, |(place, configs)| {
        let alike = |one: &&crate::client::Config| {
            (one.subscription.clone(), one.address.clone(), one.public_key.clone(), one.preshared_key.clone())
        };
        let different: HashSet<_> = configs.iter().map(alike).collect();
        (different.len() != 1).then(|| format!("{place:?} was given to {configs:?}"))
    }));
    found
}

fn is_config_of(books: &Books, config: &crate::client::Config, peer: &books::Peer) -> bool {
    let (pool, slot) = (&books.pools[&peer.server_id], Slot(u32::try_from(peer.slot).unwrap()));
    config.server == peer.server_id
        && Some(&config.public_key) == peer.public_key.as_ref()
        && config.address == format!("{}/32", pool.address(slot).unwrap())
        && config.port == u64::from(pool.port(slot).unwrap())
}
