//! An event of Stripe's, applied once: its id is stored in the transaction of what it changes.

use super::apply_session::{apply_failed_session, apply_session};
use super::give_back::{apply_dispute, apply_refund};
use super::settle::Progress;
use super::{App, Error, Unavailable};
use crate::stripe::{About, Event, Session};

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    Now,
    Before,
    /// Of a type that nothing follows from.
    Ignored,
}

/// Does what follows from an event whose signature was verified.
pub async fn apply_stripe_event(app: &App, event: &Event) -> Result<Applied, Error> {
    if matches!(event.about, About::Other) {
        return Ok(Applied::Ignored);
    }
    if app.store.knows_stripe_event(&event.id).await? {
        return Ok(Applied::Before);
    }
    let progress = Some(Progress::StripeEvent(&event.id));
    match &event.about {
        About::Session(session) if event.event_type == "checkout.session.async_payment_failed" => {
            // It may be older than what happened since.
            let now = afresh(app, session).await?;
            apply_failed_session(app, &now, event.created, progress).await?;
        }
        About::Session(session) => apply_session(app, session, event.created, progress).await?,
        About::Refund(charge) => apply_refund(app, charge, progress).await?,
        About::Dispute(dispute) => apply_dispute(app, dispute, progress).await?,
        About::Other => {}
    }
    Ok(Applied::Now)
}

/// What Stripe says of a page now; where it does not know it, what its event said.
async fn afresh(app: &App, session: &Session) -> Result<Session, Error> {
    match super::request_checkout::account(app)?.session(&session.id).await {
        Ok(now) => Ok(now),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "Stripe could not be asked about a page");
            if error.is_retryable() { Err(Unavailable::StripeDown.into()) } else { Ok(session.clone()) }
        }
    }
}
