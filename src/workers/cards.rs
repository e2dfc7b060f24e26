//! Holds open orders by card against Stripe: those that are due every few seconds, and all of them every few minutes,
//! for the events that never came. After a start it looks for payments whose orders a restored database has forgotten.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::app::find_lost_payments::{find_lost_payments, last_known};
use crate::app::look_up_cards::{LookedUp, Which, look_up_cards};
use crate::app::{App, Error};
use crate::domain::time::Timestamp;
use crate::stop::Stop;

const EVERY: Duration = Duration::from_secs(10);
const ALL_EVERY: Duration = Duration::from_mins(5);

pub async fn run(app: App, mut stop: Stop) {
    // Once at the start: whatever came meanwhile may have been given up by Stripe.
    let mut all_looked_up: Option<Instant> = None;
    let mut search = Search::default();
    loop {
        let all_due = all_looked_up.is_none_or(|at| at.elapsed() >= ALL_EVERY);
        let which = if all_due { Which::All } else { Which::Due };
        let began = Instant::now();
        match stop.or(Box::pin(look_up_cards(&app, which))).await {
            None => return,
            Some(Ok(LookedUp::Everything)) if all_due => all_looked_up = Some(began),
            Some(Ok(LookedUp::Everything)) => {}
            Some(Ok(LookedUp::Some)) => {
                tracing::warn!("Stripe does not answer: orders by card are looked up again soon");
            }
            Some(Err(error)) => tracing::warn!(error = %error, "the orders by card could not all be looked up"),
        }
        match stop.or(Box::pin(search.go_on(&app))).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::warn!(error = %error, "payments of lost orders are looked for again soon"),
        }
        if stop.or(sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

/// The search for payments of lost orders, once after a start. Where it begins is settled then: what is sold from now on
/// was not forgotten.
#[derive(Debug, Default)]
struct Search {
    since: Option<Timestamp>,
    is_done: bool,
}

impl Search {
    async fn go_on(&mut self, app: &App) -> Result<(), Error> {
        if self.is_done {
            return Ok(());
        }
        let since = match self.since {
            Some(since) => since,
            None => *self.since.insert(last_known(app).await?),
        };
        find_lost_payments(app, since).await?;
        self.is_done = true;
        Ok(())
    }
}
