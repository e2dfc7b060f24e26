//! What exchanges say a bitcoin costs: each is asked now and then, and what it said last is kept in memory.
//!
//! After a start there is no live rate until enough exchanges have answered; nothing of it outlives the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::App;
use crate::config::{LiveRates, LiveSource};
use crate::domain::money::Rate;
use crate::domain::rate::Exchange;
use crate::domain::time::Timestamp;
use crate::rates;

/// The last good word of each exchange; clones share it.
#[derive(Debug, Clone)]
pub struct LastSaid {
    rates: Arc<Mutex<BTreeMap<Exchange, Rate>>>,
    started: Instant,
}

/// Why what an exchange said does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Unsaid(#[from] rates::Error),
    #[error("its price is below floor or above ceiling of [rate.live]")]
    Implausible,
    #[error("its price is from {0}, which is too old")]
    Stale(Timestamp),
}

impl Failure {
    /// One word, for counting.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unsaid(error) => error.kind(),
            Self::Implausible => "implausible",
            Self::Stale(_) => "stale",
        }
    }
}

impl Default for LastSaid {
    fn default() -> Self {
        Self { rates: Arc::default(), started: Instant::now() }
    }
}

impl LastSaid {
    /// None where it never said anything that counts.
    pub fn of(&self, exchange: Exchange) -> Option<Rate> {
        self.lock().get(&exchange).cloned()
    }

    /// Of what it said last; where it never did, since the start.
    pub fn age(&self, exchange: Exchange, now: Timestamp) -> Duration {
        let millis = |rate: Rate| u64::try_from(now.since(rate.as_of)).unwrap_or(0);
        self.of(exchange).map_or_else(|| self.started.elapsed(), |rate| Duration::from_millis(millis(rate)))
    }

    /// What one said before a failure stays until it is too old.
    fn keep(&self, exchange: Exchange, rate: Rate) {
        self.lock().insert(exchange, rate);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Exchange, Rate>> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks one exchange, and keeps what it says where that can be believed.
///
/// # Errors
/// Says why it does not count; it is counted, too.
pub async fn ask_exchange(app: &App, live: &LiveRates, source: &LiveSource) -> Result<(), Failure> {
    let name = source.exchange.name();
    let asked = said(app, live, source).await;
    let rate = asked.inspect_err(|failure| app.metrics.rate_failed(name, failure.kind()))?;
    app.last_said.keep(source.exchange, rate);
    Ok(())
}

async fn said(app: &App, live: &LiveRates, source: &LiveSource) -> Result<Rate, Failure> {
    let asked = app.clock.now();
    let said = rates::ask(&app.egress, source.exchange, &source.url).await?;
    // An exchange whose clock is ahead of ours has no word from the future.
    let as_of = said.at.map_or(asked, |at| at.min(asked));
    if !live.rules.is_fresh(as_of, asked) {
        return Err(Failure::Stale(as_of));
    }
    if !live.rules.is_plausible(said.price) {
        return Err(Failure::Implausible);
    }
    Ok(Rate { cents_per_btc: said.price.get(), source: source.exchange.name().to_owned(), as_of })
}

/// The rate that the sources agree on now, the pinned one among them.
///
/// # Errors
/// Says why there is none.
pub fn live_rate(app: &App, live: &LiveRates) -> Result<Rate, String> {
    let now = app.clock.now();
    let said = live.sources.iter().filter_map(|source| app.last_said.of(source.exchange));
    let fresh = said.filter(|rate| live.rules.is_fresh(rate.as_of, now));
    let pinned = live.pinned.iter().filter_map(|pinned| pinned.usable(now).ok().cloned());
    live.rules.agree(&fresh.chain(pinned).collect::<Vec<_>>()).map_err(|doubt| doubt.to_string())
}
