//! Payments by card whose orders a restored database has forgotten: Stripe told of them once, and does not again.
//!
//! Every page that was made since the last order that is known, and that was paid, is held against the database. What
//! nobody knows becomes an orphan in the ledger.

use super::apply_session::{apply_session, paid_by};
use super::{App, Error, Unavailable};
use crate::domain::time::{MINUTE, Timestamp};
use crate::stripe::{Listed, Session, Stripe};

/// Stripe's clock and ours may differ by this.
const BEFORE: i64 = 10 * MINUTE;
/// Orders of now are not what was known when the database was restored.
const NOW: i64 = MINUTE;

/// Where a search must begin, seen from a start; none is known where no order by card is.
pub async fn last_known(app: &App) -> Result<Timestamp, Error> {
    let known = app.store.newest_card_order(app.clock.now().plus_millis(-NOW)).await?;
    Ok(known.map_or(Timestamp::EPOCH, |known| known.plus_millis(-BEFORE)))
}

/// Applies every paid page that was made since then; what is known already changes nothing.
///
/// # Errors
/// Where Stripe does not answer: it has to be done again.
pub async fn find_lost_payments(app: &App, since: Timestamp) -> Result<(), Error> {
    let Some(stripe) = &app.stripe else { return Ok(()) };
    let mut after = None;
    loop {
        let page = ask(stripe, since, after.as_deref()).await?;
        for session in &page.data {
            apply(app, session).await?;
        }
        after = page.data.last().map(|session| session.id.clone());
        if !page.has_more || after.is_none() {
            return Ok(());
        }
    }
}

async fn apply(app: &App, session: &Session) -> Result<(), Error> {
    match apply_session(app, session, paid_by(app, session), None).await {
        Err(Error::Store(error)) => Err(error.into()),
        // One page that cannot be applied does not hold up the others.
        Err(error) => {
            tracing::error!(session = session.id, error = %error, "a paid page could not be applied");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

async fn ask(stripe: &Stripe, since: Timestamp, after: Option<&str>) -> Result<Listed, Error> {
    stripe.completed_since(since, after).await.map_err(|error| {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "Stripe could not be asked for payments of lost orders"
        );
        Unavailable::StripeDown.into()
    })
}
