//! Follows the node's stream of settlements, from a position that is proven to be of this node.
//!
//! The stream is fast, not complete: LND may drop an event, so the sweep is what makes it whole. The position moves
//! over contiguous indices, and over a gap only after a sweep that began later than the gap was seen.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::Instant;

use super::sweeper::{Sweeps, Swept};
use crate::app::apply_invoice::apply_settled;
use crate::app::settle::Progress;
use crate::app::{App, Error};
use crate::backoff::Backoff;
use crate::domain::lightning::{NodeId, PaymentHash};
use crate::domain::settle_progress::{Position, SettleProgress};
use crate::lnd::{self, Settled, SettledStream, WalletState};
use crate::stop::Stop;

/// The sentinel is replayed at once by a node that has it.
const SENTINEL_WITHIN: Duration = Duration::from_secs(10);
const SECOND_SWEEP_AFTER: Duration = Duration::from_secs(45);

/// Why following ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the node ended the stream")]
    Cleanly,
    #[error("the node is starting up ({0})")]
    NotReady(WalletState),
    #[error(transparent)]
    Node(#[from] lnd::Error),
    #[error(transparent)]
    App(#[from] Error),
    #[error("the node does not show the payment that it last settled: it was restored, swapped, or lost its database")]
    OtherDatabase,
}

/// The payment that proves, when it is replayed, that this is the database that the position was counted in.
#[derive(Debug, Clone, Copy)]
struct Sentinel {
    position: Position,
    /// Whether its absence proves the contrary.
    required: bool,
}

impl Ended {
    /// How far the node has started, where that is why.
    const fn wallet(&self) -> Option<WalletState> {
        match self {
            Self::NotReady(state) => Some(*state),
            _ => None,
        }
    }
}

/// One connection's view.
struct Follower {
    app: App,
    node: NodeId,
    stream: SettledStream,
    progress: SettleProgress,
    sentinel: Option<Sentinel>,
    gap: Option<Gap>,
    /// Settlements that could not be applied, by settle index.
    unapplied: BTreeMap<u64, PaymentHash>,
    sweeps: Sweeps,
    swept: watch::Receiver<Option<Swept>>,
}

/// Indices that were left out, and are not passed before a sweep has looked behind them.
#[derive(Debug, Clone, Copy)]
struct Gap {
    since: Instant,
    /// What settled up to here had done so by then.
    up_to: u64,
}

pub async fn run(app: App, sweeps: Sweeps, mut stop: Stop) {
    let mut backoff = Backoff::default();
    loop {
        backoff.begin();
        let Some(ended) = stop.or(follow(&app, &sweeps)).await else { return };
        app.health.set_stream_live(false);
        tracing::warn!(reason = %ended, "the stream of settlements ended");
        if stop.or(tokio::time::sleep(backoff.delay())).await.is_none() {
            return;
        }
    }
}

async fn follow(app: &App, sweeps: &Sweeps) -> Ended {
    let mut follower = match connect(app, sweeps).await {
        Ok(follower) => follower,
        Err(ended) => {
            // Nothing is sold until the next connection, and whoever looks at the service reads why.
            app.health.failed(&ended.to_string(), ended.wallet());
            return ended;
        }
    };
    sweeps.ask();
    match follower.run().await {
        Err(ended) => follower.ended(ended).await,
        Ok(never) => match never {},
    }
}

async fn connect(app: &App, sweeps: &Sweeps) -> Result<Follower, Ended> {
    match app.node.state().await? {
        WalletState::ServerActive => {}
        state => return Err(Ended::NotReady(state)),
    }
    let info = app.node.info().await?;
    app.health.saw(&info, app.shop.network);
    let position = app.store.cursor(info.id).await.map_err(Error::from)?;
    let (after, sentinel) = replay_from(position);
    app.health.stream_opened();
    Ok(Follower {
        app: app.clone(),
        node: info.id,
        stream: app.node.subscribe_settled(after),
        progress: SettleProgress::from(position),
        sentinel,
        gap: None,
        unapplied: BTreeMap::new(),
        sweeps: sweeps.clone(),
        swept: sweeps.ended(),
    })
}

/// Where to replay from, and what the replay must show: from the index seen before the position, its payment.
///
/// 0 would mean "no replay". Where no index before it was seen, the one below is tried; a bbolt node skips the payment
/// then if that index never was, so its absence proves nothing.
fn replay_from(position: Option<Position>) -> (u64, Option<Sentinel>) {
    match position {
        None => (0, None),
        Some(position) if position.previous_index > 0 => {
            (position.previous_index, Some(Sentinel { position, required: true }))
        }
        Some(position) if position.settle_index > 1 => {
            (position.settle_index - 1, Some(Sentinel { position, required: false }))
        }
        Some(position) => (position.settle_index, None),
    }
}

impl Follower {
    async fn run(&mut self) -> Result<std::convert::Infallible, Ended> {
        let sentinel_due = tokio::time::sleep(SENTINEL_WITHIN);
        let second_sweep = tokio::time::sleep(SECOND_SWEEP_AFTER);
        tokio::pin!(sentinel_due, second_sweep);
        let mut swept_twice = false;
        loop {
            tokio::select! {
                event = self.stream.next() => {
                    self.receive(event).await?;
                    // A replay in another order, or a slow database, may show it later: silence is what counts.
                    sentinel_due.as_mut().reset(Instant::now() + SENTINEL_WITHIN);
                }
                () = &mut sentinel_due, if self.needs_sentinel() => return Err(Ended::OtherDatabase),
                () = &mut second_sweep, if !swept_twice => {
                    swept_twice = true;
                    self.sweeps.ask();
                }
                Ok(()) = self.swept.changed() => self.after_sweep().await?,
            }
        }
    }

    async fn receive(&mut self, event: Option<Result<Settled, lnd::Error>>) -> Result<(), Ended> {
        let settled = match event {
            None => return Err(Ended::Cleanly),
            Some(Err(lnd::Error::Malformed(text))) => {
                // One event makes no sense; the sweep looks its invoice up.
                tracing::error!(text, "the node sent an event that cannot be read");
                self.sweeps.ask();
                return Ok(());
            }
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(settled)) => settled,
        };
        self.check_sentinel(&settled)?;
        self.app.health.set_stream_live(true);
        self.apply(&settled).await
    }

    fn needs_sentinel(&self) -> bool {
        self.sentinel.is_some_and(|sentinel| sentinel.required)
    }

    /// The replay must show the payment that we know at that index.
    fn check_sentinel(&mut self, settled: &Settled) -> Result<(), Ended> {
        let Some(sentinel) = self.sentinel else { return Ok(()) };
        if settled.settle_index() != sentinel.position.settle_index {
            return Ok(());
        }
        if settled.payment_hash() == Some(sentinel.position.payment_hash) {
            self.sentinel = None;
            return Ok(());
        }
        Err(Ended::OtherDatabase)
    }

    /// An event that cannot be applied now is kept apart: the position does not pass it, and it does not hold up others.
    async fn apply(&mut self, settled: &Settled) -> Result<(), Ended> {
        let next = match settled.payment_hash() {
            Some(hash) => self.progress.after(settled.settle_index(), hash),
            None => self.progress.clone(),
        };
        let moved = next.position().filter(|position| self.progress.position() != Some(*position));
        let progress = moved.map(|position| Progress::Node { node: self.node, position });
        match apply_settled(&self.app, settled, progress).await {
            Ok(()) => self.progress = next,
            Err(error) => {
                tracing::error!(error = %error, "a settlement could not be applied; it will be tried again");
                self.unapplied.extend(settled.payment_hash().map(|hash| (settled.settle_index(), hash)));
                self.sweeps.ask();
            }
        }
        self.note_gap();
        Ok(())
    }

    fn note_gap(&mut self) {
        self.app.metrics.unapplied(self.unapplied.len());
        if !self.progress.has_gap() {
            self.gap = None;
        } else if self.gap.is_none() {
            self.gap = Some(Gap { since: Instant::now(), up_to: self.progress.highest() });
            self.sweeps.ask();
        }
    }

    /// A whole sweep that began after the gap was seen has looked behind it; what opened later waits for another one.
    async fn after_sweep(&mut self) -> Result<(), Ended> {
        let swept = *self.swept.borrow_and_update();
        self.try_again().await;
        self.app.metrics.unapplied(self.unapplied.len());
        let (Some(gap), Some(swept)) = (self.gap, swept) else { return Ok(()) };
        if !swept.whole || swept.began < gap.since || !self.unapplied.is_empty() {
            return Ok(());
        }
        let next = self.progress.over_gaps(gap.up_to);
        let progress = next.position().map(|position| Progress::Node { node: self.node, position });
        crate::app::settle::pass_over(&self.app, progress).await?;
        self.progress = next;
        self.gap = None;
        self.note_gap();
        Ok(())
    }

    async fn try_again(&mut self) {
        for (settle_index, payment_hash) in std::mem::take(&mut self.unapplied) {
            let looked_up = Settled::Incomplete { payment_hash, settle_index };
            if let Err(error) = apply_settled(&self.app, &looked_up, None).await {
                tracing::error!(error = %error, payment_hash = payment_hash.prefix(), "a settlement still cannot be applied");
                self.unapplied.insert(settle_index, payment_hash);
            }
        }
    }

    /// A position that the node does not confirm would mute the stream: it is forgotten, and a sweep finds the rest.
    async fn ended(self, ended: Ended) -> Ended {
        if matches!(ended, Ended::OtherDatabase) {
            tracing::error!(node = %self.node, "{}", Ended::OtherDatabase);
            if let Err(error) = self.app.store.forget_cursor(self.node).await {
                return Ended::App(error.into());
            }
            self.sweeps.ask_beyond();
        }
        ended
    }
}
