//! Holds open orders by card against Stripe: those that are due every few seconds, and all of them every few minutes,
//! for the events that never came.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::app::App;
use crate::app::look_up_cards::{LookedUp, Which, look_up_cards};
use crate::stop::Stop;

const EVERY: Duration = Duration::from_secs(10);
const ALL_EVERY: Duration = Duration::from_mins(5);

pub async fn run(app: App, mut stop: Stop) {
    // Once at the start: whatever came meanwhile may have been given up by Stripe.
    let mut all_looked_up: Option<Instant> = None;
    loop {
        let all_due = all_looked_up.is_none_or(|at| at.elapsed() >= ALL_EVERY);
        let which = if all_due { Which::All } else { Which::Due };
        let began = Instant::now();
        match stop.or(look_up_cards(&app, which)).await {
            None => return,
            Some(Ok(LookedUp::Everything)) if all_due => all_looked_up = Some(began),
            Some(Ok(LookedUp::Everything)) => {}
            Some(Ok(LookedUp::Some)) => {
                tracing::warn!("Stripe does not answer: orders by card are looked up again soon");
            }
            Some(Err(error)) => tracing::warn!(error = %error, "the orders by card could not all be looked up"),
        }
        if stop.or(sleep(EVERY)).await.is_none() {
            return;
        }
    }
}
