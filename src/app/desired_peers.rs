//! What a server is to have, for its agent: everything, or what changed since it last asked.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use serde_json::json;
use uuid::Uuid;

use super::operator::By;
use super::{App, Error, secrets};
use crate::domain::Invalid;
use crate::domain::desired::{Change, Delta, Desired, DesiredPeer, Snapshot, Terms, Update};
use crate::domain::event::{EventType, Subject};
use crate::domain::server::{Server, ServerId};
use crate::store::{InstalledPeer, ServerState};

const NO_SUCH_SERVER: &str = "no server has this id";
/// Before every revision: all peers.
const FROM_THE_START: i64 = -1;

/// Where an agent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    pub epoch: Uuid,
    pub revision: i64,
}

/// What a server is to have, unless the agent knows that already.
///
/// An agent that is ahead of this database has seen a future that a restored backup forgot: then a new epoch begins.
pub async fn desired_peers(app: &App, id: &ServerId, known: Option<Known>) -> Result<Option<Update>, Error> {
    let server = app.shop.server(id).ok_or(Error::NotFound(NO_SUCH_SERVER))?;
    let mut state = server_state(app, id).await?;
    let known = known.filter(|known| known.epoch == state.epoch);
    if known.is_some_and(|known| known.revision > state.revision) {
        tracing::error!(server = %id, "its agent is ahead of this database: an older backup was restored");
        begin_epoch(app, By::Agent).await?;
        state = server_state(app, id).await?;
        return Ok(Some(snapshot(app, server, &state).await?));
    }
    match known {
        Some(known) if known.revision == state.revision => Ok(None),
        Some(known) if known.revision >= state.pruned_revision => Ok(Some(delta(app, server, &state, known).await?)),
        _ => Ok(Some(snapshot(app, server, &state).await?)),
    }
}

pub async fn server_state(app: &App, id: &ServerId) -> Result<ServerState, Error> {
    let states = app.store.server_states().await?;
    states.into_iter().find(|state| state.id == *id).ok_or(Error::NotFound(NO_SUCH_SERVER))
}

/// From here on no agent's revision counts as known: all of them are compared anew. `wiretoll db restored` says it by hand.
pub async fn begin_epoch(app: &App, by: By<'_>) -> Result<(), Error> {
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    tx.renew_epoch(app.new_id(), now).await?;
    for server in &app.shop.servers {
        let data = by.tells(&json!({}));
        tx.record(app.new_id(), EventType::ServerEpochBegan, Subject::Server(&server.id), &data, now).await?;
    }
    tx.commit().await?;
    for server in &app.shop.servers {
        app.server_changes.announce(&server.id);
    }
    Ok(())
}

async fn snapshot(app: &App, server: &Server, state: &ServerState) -> Result<Update, Error> {
    let peers = peers_after(app, server, state, FROM_THE_START).await?;
    let desired = Desired {
        epoch: state.epoch,
        revision: state.revision,
        terms: Terms::of(server),
        peers: peers.into_iter().map(|peer| (peer.id, peer)).collect::<BTreeMap<_, _>>(),
    };
    let now = app.clock.now();
    let removals_allowed = state.removals_allowed_until.is_some_and(|until| until > now);
    let taken_away = app.store.taken_away(&server.id, now.plus_millis(-app.shop.holds.hold_millis)).await?;
    Ok(update(app, Change::Snapshot(Snapshot::new(desired, removals_allowed, taken_away))))
}

async fn delta(app: &App, server: &Server, state: &ServerState, known: Known) -> Result<Update, Error> {
    let upsert = peers_after(app, server, state, known.revision).await?;
    let remove = app.store.removed_peers(&server.id, known.revision, state.key_of(server)).await?;
    let delta = Delta { epoch: state.epoch, base: known.revision, revision: state.revision, upsert, remove };
    Ok(update(app, Change::Delta(delta)))
}

fn update(app: &App, change: Change) -> Update {
    Update { now: app.clock.now(), is_synchronised: app.clock.is_synchronised(), change }
}

async fn peers_after(
    app: &App,
    server: &Server,
    state: &ServerState,
    revision: i64,
) -> Result<Vec<DesiredPeer>, Error> {
    let peers = app.store.installed_peers(&server.id, revision, state.key_of(server)).await?;
    peers.into_iter().filter_map(|peer| desired_peer(app, server, peer).transpose()).collect()
}

fn desired_peer(app: &App, server: &Server, installed: InstalledPeer) -> Result<Option<DesiredPeer>, Error> {
    let InstalledPeer { peer, ends_at, suspended, target_port, throttled } = installed;
    let Some(sealed) = &peer.binding else { return Ok(None) };
    let binding = secrets::open_binding(app, sealed)?;
    let target_port = u16::try_from(target_port).map_err(|_| Error::Broken(Invalid::new("a port beyond 65535")))?;
    let traffic_until = ends_at.plus_millis(app.shop.holds.grace_millis);
    Ok(Some(DesiredPeer {
        id: peer.id,
        public_key: binding.public_key,
        preshared_key: binding.preshared_key,
        address: server.pool.address(peer.slot).map_err(Error::Broken)?,
        address6: address6(server, &peer)?,
        public_port: server.pool.port(peer.slot).map_err(Error::Broken)?,
        target_port,
        traffic_until: (!suspended).then_some(traffic_until),
        throttled,
    }))
}

fn address6(server: &Server, peer: &crate::store::StoredPeer) -> Result<Option<Ipv6Addr>, Error> {
    server.address6(peer.slot).map_err(Error::Broken)
}
