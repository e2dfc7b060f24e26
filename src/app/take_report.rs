//! What an agent says: who it is, what it has installed, what was used. Slots are given back on its word alone.

use std::collections::HashSet;
use std::time::Duration;

use uuid::Uuid;

use super::desired_peers::{begin_epoch, desired_peers, server_state};
use super::operator::By;
use super::{App, Error, Unavailable, secrets};
use crate::domain::Invalid;
use crate::domain::desired::{Applied, Change, DesiredPeer, PROTOCOL, Report, Usage};
use crate::domain::event::{EventType, Subject};
use crate::domain::keys::PublicKey;
use crate::domain::plan::BANDWIDTH_LIMIT_GB;
use crate::domain::server::{Server, ServerId};
use crate::domain::time::{DAY, MINUTE, Timestamp};
use crate::domain::trouble::Trouble;
use crate::store::{AgentWord, ServerState, Tx};

/// A second agent for one server is refused until the first one was silent for so long.
pub const AGENT_SILENCE: Duration = Duration::from_secs(90);
/// Peers whose usage is stored in one transaction, so that a long report does not hold up settlements.
const USAGES_AT_ONCE: usize = 100;
/// One for each thing that an agent may fail at.
const MOST_TROUBLES: usize = 20;
/// A private key that was made here, from the first handshake with it.
const KEPT_AFTER_HANDSHAKE: i64 = DAY;
/// Whoever is not at one with a new epoch is not helped by another one.
const NO_OTHER_EPOCH: i64 = 10 * MINUTE;
/// 10^9 bytes, inner, up and down together.
const BYTES_PER_GB: i64 = 1_000_000_000;

/// What the agent is to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    Fine,
    /// What stands there is not what should: the agent asks for everything again.
    AskForEverything,
}

/// Takes an agent's word for its server.
///
/// # Errors
/// [`Error::Conflict`] for another key than the server's; [`Unavailable::AnotherAgent`] while another one speaks for it.
pub async fn take_report(app: &App, id: &ServerId, report: &Report) -> Result<Heard, Error> {
    if report.protocol != PROTOCOL {
        return Err(Invalid::new(format!("this control plane speaks protocol {PROTOCOL} of agents")).into());
    }
    let server = app.shop.server(id).ok_or(Error::NotFound("no server has this id"))?;
    let state = server_state(app, id).await?;
    check_key(server, &state, report.public_key)?;
    check_alone(app, &state, report.agent_id)?;
    let troubles = troubles(app, id, report).await?;
    tell_news(id, &state.troubles, &troubles);
    hear(app, &state, report, troubles).await?;
    if report.applied.is_some() {
        // Nothing is sold on a server that cannot do what is asked of it.
        app.server_keys.learn(id.clone(), report.public_key);
    }
    app.server_changes.announce(id);
    bind_found(app, server, &report.withheld).await?;
    for usages in report.usage.chunks(USAGES_AT_ONCE) {
        store_usage(app, id, usages).await?;
    }
    compare(app, id, report.applied.as_ref()).await
}

/// What the agent says that it cannot do, and what it is not even asked to do.
async fn troubles(app: &App, id: &ServerId, report: &Report) -> Result<Vec<Trouble>, Error> {
    let with_own_key = app.store.with_own_key(id, report.public_key).await?;
    let ours = with_own_key.into_iter().map(|subscription| {
        Trouble::new(&format!(
            "the key of subscription {subscription} is the server's own, so it is left out: `wiretoll subscription rekey` \
             gives it another"
        ))
    });
    Ok(report.troubles.iter().cloned().chain(ours).take(MOST_TROUBLES).collect())
}

/// In the log once, when it begins; the metrics and `wiretoll server list` show it meanwhile.
fn tell_news(id: &ServerId, before: &[Trouble], now: &[Trouble]) {
    for trouble in now.iter().filter(|trouble| !before.contains(trouble)) {
        tracing::error!(server = %id, %trouble, "its agent is in trouble");
    }
    for trouble in before.iter().filter(|trouble| !now.contains(trouble)) {
        tracing::info!(server = %id, %trouble, "its agent is out of this trouble");
    }
}

fn check_key(server: &Server, state: &ServerState, key: PublicKey) -> Result<(), Error> {
    match state.key_of(server) {
        Some(known) if known != key => Err(Error::Conflict(format!(
            "the agent has another WireGuard key than server {} is sold with: give it the server's key with \
             `wiretoll agent key import`; customers' configs name that key",
            server.id
        ))),
        _ => Ok(()),
    }
}

fn check_alone(app: &App, state: &ServerState, agent: Uuid) -> Result<(), Error> {
    let silence = i64::try_from(AGENT_SILENCE.as_millis()).unwrap_or(i64::MAX);
    let speaks = state.agent_seen_at.is_some_and(|at| app.clock.now().since(at) < silence);
    if speaks && state.agent_id.is_some_and(|known| known != agent) {
        return Err(Unavailable::AnotherAgent(state.id.clone()).into());
    }
    Ok(())
}

async fn hear(app: &App, state: &ServerState, report: &Report, troubles: Vec<Trouble>) -> Result<(), Error> {
    let now = app.clock.now();
    let applied = report.applied.as_ref().filter(|applied| applied.epoch == state.epoch);
    let applied_revision = applied.map_or(-1, |applied| applied.revision.min(state.revision));
    let word = AgentWord {
        agent_id: report.agent_id,
        public_key: report.public_key,
        applied_revision,
        withheld_peers: i64::try_from(report.withheld.len()).unwrap_or(i64::MAX),
        troubles,
        at: now,
    };
    let mut tx = app.store.begin().await?;
    tx.hear_agent(&state.id, &word).await?;
    let freed = confirm_removals(app, &mut tx, state, report, applied_revision).await?;
    keep_slots(app, &mut tx, state, report).await?;
    tx.commit().await?;
    if freed > 0 {
        tracing::info!(server = %state.id, freed, "its agent took peers away; their slots rest now");
    }
    Ok(())
}

/// Gives back the slots of peers that the agent has taken away; those that it keeps for now stay taken.
async fn confirm_removals(
    app: &App,
    tx: &mut Tx,
    state: &ServerState,
    report: &Report,
    applied: i64,
) -> Result<usize, Error> {
    let now = app.clock.now();
    let kept: HashSet<Uuid> = report.withheld.iter().map(|peer| peer.id).collect();
    let mut gone = tx.awaited_removals(&state.id, applied).await?;
    gone.retain(|peer| !kept.contains(peer));
    for peer in &gone {
        tx.confirm_removal(&state.id, *peer, now.plus_millis(app.shop.holds.quarantine_millis), now).await?;
    }
    if !gone.is_empty() {
        tx.prune(&state.id, applied).await?;
    }
    Ok(gone.len())
}

/// The slots of peers that the agent keeps are sold to nobody before their time and a quarantine are over.
async fn keep_slots(app: &App, tx: &mut Tx, state: &ServerState, report: &Report) -> Result<(), Error> {
    let Some(server) = app.shop.server(&state.id) else { return Ok(()) };
    for peer in &report.withheld {
        let Some(slot) = server.pool.slot_of(peer.address) else { continue };
        // A suspended one has no end: its slot rests from each word of it anew.
        let until = peer.traffic_until.unwrap_or_else(|| app.clock.now());
        tx.rest_slot(&state.id, slot, until.plus_millis(app.shop.holds.quarantine_millis)).await?;
    }
    Ok(())
}

/// Peers that the agent has and this database forgot, because a backup was restored: the key of one whose slot was paid
/// for and not claimed is bound again, so that the customer's config goes on.
async fn bind_found(app: &App, server: &Server, found: &[DesiredPeer]) -> Result<(), Error> {
    for peer in found {
        let Some(slot) = server.pool.slot_of(peer.address) else { continue };
        // By the peer's own id: a slot that was sold anew since belongs to somebody else.
        let Some(subscription) = app.store.keyless_holder(&server.id, slot, peer.id).await? else { continue };
        let mut tx = app.store.begin().await?;
        if bind_again(app, &mut tx, subscription, peer).await? {
            tx.commit().await?;
            tracing::warn!(server = %server.id, slot = slot.0, "a key was bound again as the server's agent had it");
        } else {
            tx.rollback().await?;
        }
    }
    Ok(())
}

async fn bind_again(app: &App, tx: &mut Tx, subscription: Uuid, peer: &DesiredPeer) -> Result<bool, Error> {
    let now = app.clock.now();
    tx.lock_subscription(subscription).await?;
    let sealed = secrets::seal_binding(app, subscription, peer.public_key, &peer.preshared_key)?;
    if !tx.bind_peer(&sealed).await? || !tx.own_key(peer.public_key, subscription, now).await? {
        return Ok(false);
    }
    let data = serde_json::json!({ "publicKey": peer.public_key.to_string(), "foundOnServer": true });
    tx.record(app.new_id(), EventType::ClaimBound, Subject::Subscription(subscription), &data, now).await?;
    Ok(true)
}

async fn store_usage(app: &App, server: &ServerId, usages: &[Usage]) -> Result<(), Error> {
    let month = month_of(app.clock.now());
    let mut tx = app.store.begin().await?;
    tx.lock_server(server).await?;
    for usage in usages {
        let Some(used) = tx.add_usage(server, usage, &month).await? else { continue };
        if let Some(seen_at) = usage.handshake_at.filter(|_| used.is_first_handshake) {
            keep_key_no_longer(app, &mut tx, used.subscription, seen_at).await?;
        }
        if used.bytes >= bandwidth_limit() && tx.set_throttled(used.subscription, true).await? {
            tracing::info!(subscription = %used.subscription, "over its bandwidth for this month: slowed down");
        }
    }
    tx.commit().await?;
    Ok(())
}

/// The key is in use, so its customer has it: what was made here need not be kept.
async fn keep_key_no_longer(app: &App, tx: &mut Tx, subscription: Uuid, seen_at: Timestamp) -> Result<(), Error> {
    let Some(binding) = tx.peer_of(subscription).await?.and_then(|peer| peer.binding) else { return Ok(()) };
    let erase_at = seen_at.min(app.clock.now()).plus_millis(KEPT_AFTER_HANDSHAKE);
    Ok(tx.erase_private_key_at(binding.public_key, erase_at).await?)
}

/// Bytes that a subscription may use in a month before it is slowed down.
pub fn bandwidth_limit() -> i64 {
    i64::from(BANDWIDTH_LIMIT_GB) * BYTES_PER_GB
}

/// A calendar month in UTC, such as 2026-11.
pub fn month_of(now: Timestamp) -> String {
    now.to_string().chars().take(7).collect()
}

/// Whether what the agent has applied is what this database calls by the same revision.
///
/// If not, there are two histories of it: a backup was restored and changed since, as often as what it forgot. As where
/// an agent is ahead, a new epoch begins, so that nobody is taken away whom only the other history knows.
async fn compare(app: &App, id: &ServerId, applied: Option<&Applied>) -> Result<Heard, Error> {
    let state = server_state(app, id).await?;
    let Some(applied) = applied.filter(|applied| applied.epoch == state.epoch) else { return Ok(Heard::Fine) };
    let Some(digest) = applied.digest.as_ref().filter(|_| applied.revision == state.revision) else {
        return Ok(Heard::Fine);
    };
    let Some(update) = desired_peers(app, id, None).await? else { return Ok(Heard::Fine) };
    let Change::Snapshot(snapshot) = update.change else { return Ok(Heard::Fine) };
    let after = server_state(app, id).await?;
    let has_moved_on = (after.epoch, after.revision) != (applied.epoch, applied.revision);
    if has_moved_on || snapshot.sha256 == *digest {
        return Ok(Heard::Fine);
    }
    if app.clock.now().since(state.epoch_began_at) < NO_OTHER_EPOCH {
        tracing::error!(server = %id, "its agent has other peers than it should: everything is told again");
    } else {
        tracing::error!(server = %id, "its agent has another history of this database: a backup was restored");
        begin_epoch(app, By::Agent).await?;
    }
    Ok(Heard::AskForEverything)
}
