//! Asks one exchange what a bitcoin costs, as long as the service runs. Each exchange has a worker of its own, so that none
//! waits for another; every replica asks for itself.

use std::time::Duration;

use crate::app::App;
use crate::app::live_rate::{Failure, ask_exchange};
use crate::backoff::{Backoff, spread};
use crate::config::{LiveRates, LiveSource, RateSource};
use crate::stop::Stop;

/// Half of it is chance, so that replicas and shops do not ask all at once.
const BETWEEN: Duration = Duration::from_mins(1);

/// Asks all of them at once, each again and again.
pub async fn run(app: App, stop: Stop) {
    match &app.shop.rate {
        Some(RateSource::Live(live)) => {
            let follow = |source| follow(&app, live, source, stop.clone());
            futures_util::future::join_all(live.sources.iter().map(follow)).await;
        }
        Some(RateSource::Pinned(_)) | None => {
            let mut stop = stop;
            stop.stopped().await;
        }
    }
}

async fn follow(app: &App, live: &LiveRates, source: &LiveSource, mut stop: Stop) {
    let (mut backoff, mut last_failure) = (Backoff::default(), None);
    loop {
        backoff.begin();
        let Some(asked) = stop.or(ask_exchange(app, live, source)).await else { return };
        let failure = asked.err();
        if failure != last_failure {
            report(source, failure.as_ref());
        }
        let pause = if failure.is_some() { backoff.delay() } else { spread(BETWEEN) };
        if failure.is_none() {
            backoff.succeeded();
        }
        last_failure = failure;
        if stop.or(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

fn report(source: &LiveSource, failure: Option<&Failure>) {
    let exchange = source.exchange.name();
    if let Some(problem) = failure {
        tracing::warn!(exchange, %problem, "an exchange tells no price that counts");
    } else {
        tracing::info!(exchange, "an exchange tells its price again");
    }
}
