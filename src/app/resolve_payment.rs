//! The operator's word that a payment which waited for them is dealt with.

use serde_json::json;
use uuid::Uuid;

use super::operator::By;
use super::{App, Error};
use crate::domain::Invalid;
use crate::domain::event::{EventType, Subject};
use crate::domain::lightning::PaymentHash;
use crate::domain::note::Note;
use crate::domain::payment::{Outcome, Payment, Provider};

const NO_SUCH_PAYMENT: &str = "the ledger has no payment of this id or payment hash: see `wiretoll payment list`";

/// How a person names a payment.
#[derive(Debug, Clone, Copy)]
pub enum PaymentName {
    Id(Uuid),
    PaymentHash(PaymentHash),
}

/// What became of it.
#[derive(Debug)]
pub enum Resolved {
    Now(Payment),
    /// Somebody said so earlier; their note stands.
    Before(Payment),
}

/// The payment of that name.
pub async fn find_payment(app: &App, name: PaymentName) -> Result<Option<Payment>, Error> {
    Ok(match name {
        PaymentName::Id(id) => app.store.payment_by_id(id).await?,
        PaymentName::PaymentHash(hash) => app.store.payment(Provider::Lightning, &hash.to_string()).await?,
    })
}

/// Marks a refund that was due, an orphan or an excess as dealt with; moves no money. A repeat changes nothing.
///
/// # Errors
/// [`Error::Invalid`] for a payment that waits for nobody.
pub async fn resolve_payment(app: &App, name: PaymentName, note: &Note) -> Result<Resolved, Error> {
    let id = find_payment(app, name).await?.ok_or(Error::NotFound(NO_SUCH_PAYMENT))?.id;
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let payment = tx.lock_payment(id).await?.ok_or(Error::NotFound(NO_SUCH_PAYMENT))?;
    if payment.resolution.is_some() {
        return Ok(Resolved::Before(payment));
    }
    if !payment.is_open() {
        return Err(Invalid::new(format!("payment {id} waits for nothing: {}", why_not_open(&payment))).into());
    }
    tx.resolve_payment(id, note, now).await?;
    let data = By::Operator(Some(note)).tells(&json!({ "outcome": payment.outcome.name() }));
    tx.record(app.new_id(), EventType::PaymentResolved, Subject::Payment(id), &data, now).await?;
    let payment = tx.lock_payment(id).await?.ok_or(Error::NotFound(NO_SUCH_PAYMENT))?;
    tx.commit().await?;
    Ok(Resolved::Now(payment))
}

/// What became of a payment that waits for nobody.
const fn why_not_open(payment: &Payment) -> &'static str {
    match payment.outcome {
        Outcome::Refunded => "it was given back, and what it had granted, if anything, was taken back",
        Outcome::ChargedBack => "the cardholder's bank took it back, and with it what it had granted, if anything",
        Outcome::Disputed => "the cardholder's bank asks for it: answer the dispute at Stripe, which ends it here, too",
        Outcome::Applied
        | Outcome::AppliedLate
        | Outcome::RefundDue
        | Outcome::Orphaned
        | Outcome::Underpaid
        | Outcome::Mismatched => "it paid exactly for its order, which was delivered",
    }
}
