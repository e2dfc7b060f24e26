//! Ends what has run out: orders (by the node's word), holds, private keys kept long enough, idempotency keys.

use std::time::Duration;

use crate::app::{App, Error, close_orders, forget_webhooks, release, tell_ends};
use crate::clock::ClockWatch;
use crate::stop::Stop;

const EVERY: Duration = Duration::from_secs(5);

pub async fn run(app: App, mut stop: Stop) {
    let last_written = app.store.last_event_at().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "when anything was last written is not known");
        None
    });
    let mut watch = ClockWatch::new(app.clock.clone(), last_written);
    loop {
        if stop.or(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
        let round = async {
            // The node decides about these: our clock says only which are asked about.
            report("orders", close_orders::close_due_orders(&app).await);
            if watch.is_trusted() {
                end_for_good(&app).await;
            }
        };
        if stop.or(round).await.is_none() {
            return;
        }
    }
}

/// What time alone ends and nothing brings back. Each by itself: one that fails does not keep the others from their turn.
async fn end_for_good(app: &App) {
    report("ends", tell_ends::tell_ends(app).await);
    report("holds", release::release_ended_holds(app).await);
    report("private keys", release::erase_private_keys(app).await);
    report("events of Stripe", release::forget_stripe_events(app).await);
    report("idempotency keys", release::forget_idempotency_keys(app).await);
    report("signed requests", release::forget_nostr_requests(app).await);
    report("deliveries", forget_webhooks::forget_webhooks(app).await);
}

fn report<T>(what: &'static str, done: Result<T, Error>) {
    if let Err(error) = done {
        tracing::warn!(what, error = %error, "what has run out could not all be ended");
    }
}
