//! What is known of the Lightning node now: whether it may be sold over, and who it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Unavailable;
use super::circuit_breaker::CircuitBreaker;
use crate::domain::lightning::{Network, NodeId};
use crate::lnd::{self, WalletState};

/// Without a good answer for this long the node counts as down.
const STALE: Duration = Duration::from_secs(90);

/// How long the first customer after a start waits for the first look.
const FIRST_LOOK: Duration = Duration::from_secs(3);

/// The last answers of the node, shared by everyone who asks.
#[derive(Debug, Clone)]
pub struct NodeHealth {
    view: Arc<watch::Sender<View>>,
    /// Whether it may be asked for an invoice.
    pub adding: CircuitBreaker,
    started: Instant,
}

/// What the last look at the node showed.
#[derive(Debug, Clone, Default)]
struct View {
    known: Option<Known>,
    /// Why the last look failed, if it did.
    problem: Option<String>,
    /// How far it had started by then; none where it did not say.
    wallet: Option<WalletState>,
    stream: Stream,
}

/// The stream of settlements.
#[derive(Debug, Clone, Copy, Default)]
struct Stream {
    /// Whether it was asked for and has not ended; its pings end one whose node is gone.
    open: bool,
    /// Whether it is proven to be live, since it was opened, by an event.
    live: bool,
    /// The last event of all.
    last_event: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Known {
    identity: NodeId,
    active_channels: u32,
    seen: Instant,
}

impl Default for NodeHealth {
    fn default() -> Self {
        Self {
            view: Arc::new(watch::channel(View::default()).0),
            adding: CircuitBreaker::default(),
            started: Instant::now(),
        }
    }
}

impl NodeHealth {
    /// Records a good answer of a node that has started; a node of another network is no node for us.
    pub fn saw(&self, info: &lnd::NodeInfo, expected: Network) {
        let wrong = (info.network != expected.name())
            .then(|| format!("it is on {}, and {expected} is configured", info.network));
        let known = Known { identity: info.id, active_channels: info.active_channels, seen: Instant::now() };
        self.view.send_modify(|view| {
            view.known = wrong.is_none().then_some(known);
            view.problem = wrong;
            view.wallet = Some(WalletState::ServerActive);
        });
    }

    /// How far the node had started at the last look; none where it did not say.
    pub fn wallet(&self) -> Option<WalletState> {
        self.view.borrow().wallet
    }

    /// Records that the node did not answer as it should, and how far it has started, if it said so.
    pub fn failed(&self, problem: &str, wallet: Option<WalletState>) {
        self.view.send_modify(|view| {
            view.problem = Some(problem.to_owned());
            view.wallet = wallet;
        });
        self.adding.node_went_away();
    }

    /// Returns once the node was looked at since the start, or could have been.
    pub async fn looked(&self) {
        let mut view = self.view.subscribe();
        let looked = view.wait_for(|view| view.known.is_some() || view.problem.is_some());
        let _ = tokio::time::timeout(FIRST_LOOK, looked).await;
    }

    /// Returns once the node cannot be sold over, whoever saw it.
    pub async fn lost(&self) {
        let mut view = self.view.subscribe();
        // The sender lives as long as `self`.
        let _ = view.wait_for(|view| view.payee().is_err()).await;
    }

    /// The stream was opened; only an event proves that it is live.
    pub fn stream_opened(&self) {
        self.view.send_modify(|view| view.stream.open = true);
    }

    /// An event came, or the stream ended.
    pub fn set_stream_live(&self, live: bool) {
        self.view.send_modify(|view| {
            let last_event = if live { Some(Instant::now()) } else { view.stream.last_event };
            view.stream = Stream { open: live, live, last_event };
        });
    }

    pub fn is_stream_open(&self) -> bool {
        self.view.borrow().stream.open
    }

    pub fn is_stream_live(&self) -> bool {
        self.view.borrow().stream.live
    }

    /// Since the last event of the stream, or since the start.
    pub fn stream_age(&self) -> Duration {
        self.view.borrow().stream.last_event.unwrap_or(self.started).elapsed()
    }

    /// Who the node is, as far as it was ever seen.
    pub fn identity(&self) -> Option<NodeId> {
        self.view.borrow().known.as_ref().map(|known| known.identity)
    }

    /// Who will be paid: only of a node that answers, does not hang, and has a channel to be paid over.
    pub fn payee(&self) -> Result<NodeId, Unavailable> {
        let payee = self.view.borrow().payee()?;
        self.adding.check().map(|()| payee)
    }
}

impl View {
    fn payee(&self) -> Result<NodeId, Unavailable> {
        if let Some(problem) = &self.problem {
            return Err(Unavailable::NodeDown(problem.clone()));
        }
        match &self.known {
            None => Err(Unavailable::NodeDown("it has not answered yet".into())),
            Some(known) if known.seen.elapsed() > STALE => Err(Unavailable::NodeDown("it stopped answering".into())),
            Some(known) if known.active_channels == 0 => Err(Unavailable::NoChannel),
            Some(known) => Ok(known.identity),
        }
    }
}
