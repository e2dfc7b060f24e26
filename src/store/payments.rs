//! The ledger: money that arrived, each payment once.

use sqlx::any::AnyRow;
use uuid::Uuid;

use super::connections::Ask as _;
use super::row::{Record, to_bigint};
use super::{Result, Store, Tx};
use crate::domain::Invalid;
use crate::domain::money::{Amount, Currency, Msats, UsdCents};
use crate::domain::note::Note;
use crate::domain::payment::{Evidence, Outcome, Payment, Provider, Resolution};
use crate::domain::time::Timestamp;

macro_rules! select_payments {
    ($rest:literal) => {
        concat!(
            "SELECT id, provider, external_id, order_id, unit, amount, excess, refunded, settled_at, recorded_at, outcome, ",
            "resolved_at, resolution ",
            "FROM payments ",
            $rest
        )
    };
}

/// Which payments to list.
#[derive(Debug, Clone, Default)]
pub struct PaymentFilter {
    pub outcome: Option<Outcome>,
    /// Only what waits for the operator.
    pub open_only: bool,
    /// The last payment of the page before.
    pub after: Option<Uuid>,
    pub at_most: u32,
}

impl Store {
    /// Payments that wait for the operator, then all others; within both the newest first.
    pub async fn payments(&self, filter: &PaymentFilter) -> Result<Vec<Payment>> {
        let last = match filter.after {
            Some(id) => self.payment_by_id(id).await?,
            None => None,
        };
        // After a payment that is dealt with, the open ones have all been shown.
        let mut page = match &last {
            Some(last) if !last.is_open() => Vec::new(),
            open => self.open_payments(filter, open.as_ref().map(|payment| payment.id), filter.at_most).await?,
        };
        let left = filter.at_most.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
        if left > 0 && !filter.open_only {
            let before = last.filter(|last| !last.is_open()).map(|last| last.id);
            page.extend(self.other_payments(filter, before, left).await?);
        }
        Ok(page)
    }

    async fn open_payments(&self, filter: &PaymentFilter, before: Option<Uuid>, at_most: u32) -> Result<Vec<Payment>> {
        let sql = select_payments!(
            "WHERE resolved_at IS NULL AND (excess > 0 OR outcome IN ('refund_due', 'orphaned', 'underpaid', 'mismatched')) \
             AND ($1 IS NULL OR outcome = $1) AND id < $2 ORDER BY id DESC LIMIT $3"
        );
        self.page(sql, filter.outcome, before, at_most).await
    }

    async fn other_payments(&self, filter: &PaymentFilter, before: Option<Uuid>, at_most: u32) -> Result<Vec<Payment>> {
        let sql = select_payments!(
            "WHERE (resolved_at IS NOT NULL \
             OR (excess = 0 AND outcome NOT IN ('refund_due', 'orphaned', 'underpaid', 'mismatched'))) \
             AND ($1 IS NULL OR outcome = $1) AND id < $2 ORDER BY id DESC LIMIT $3"
        );
        self.page(sql, filter.outcome, before, at_most).await
    }

    async fn page(
        &self,
        sql: &'static str,
        outcome: Option<Outcome>,
        before: Option<Uuid>,
        at_most: u32,
    ) -> Result<Vec<Payment>> {
        let rows = sqlx::query(sql)
            .bind(outcome.map(Outcome::name))
            .bind(before.unwrap_or(Uuid::max()).to_string())
            .bind(i64::from(at_most))
            .all_from(&self.reader)
            .await?;
        rows.iter().map(payment_from).collect()
    }

    pub async fn payment_by_id(&self, id: Uuid) -> Result<Option<Payment>> {
        let query = sqlx::query(select_payments!("WHERE id = $1")).bind(id.to_string());
        query.optional_from(&self.reader).await?.as_ref().map(payment_from).transpose()
    }

    /// All money that arrived for an order.
    pub async fn payments_of(&self, order: Uuid) -> Result<Vec<Payment>> {
        let query = sqlx::query(select_payments!("WHERE order_id = $1 ORDER BY recorded_at")).bind(order.to_string());
        query.all_from(&self.reader).await?.iter().map(payment_from).collect()
    }

    /// The payment that a provider knows by this name.
    pub async fn payment(&self, provider: Provider, external_id: &str) -> Result<Option<Payment>> {
        let row = sqlx::query(select_payments!("WHERE provider = $1 AND external_id = $2"))
            .bind(provider.name())
            .bind(external_id)
            .optional_from(&self.reader)
            .await?;
        row.as_ref().map(payment_from).transpose()
    }
}

impl Tx {
    pub async fn has_payment(&mut self, evidence: &Evidence) -> Result<bool> {
        let row = sqlx::query("SELECT id FROM payments WHERE provider = $1 AND external_id = $2")
            .bind(evidence.provider.name())
            .bind(evidence.external_id.as_str())
            .fetch_optional(&mut *self.inner)
            .await?;
        Ok(row.is_some())
    }

    /// Records a payment; false where it is recorded already.
    pub async fn insert_payment(&mut self, payment: &Payment) -> Result<bool> {
        let inserted = sqlx::query(
            "INSERT INTO payments (id, provider, external_id, order_id, unit, amount, excess, refunded, settled_at, \
             recorded_at, outcome) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
             ON CONFLICT (provider, external_id) DO NOTHING",
        )
        .bind(payment.id.to_string())
        .bind(payment.evidence.provider.name())
        .bind(payment.evidence.external_id.as_str())
        .bind(payment.order_id.map(|id| id.to_string()))
        .bind(unit_name(&payment.evidence.amount))
        .bind(to_bigint(payment.evidence.amount.get())?)
        .bind(to_bigint(payment.excess.get())?)
        .bind(to_bigint(payment.refunded.get())?)
        .bind(payment.evidence.settled_at.millis())
        .bind(payment.recorded_at.millis())
        .bind(payment.outcome.name())
        .execute(&mut *self.inner)
        .await?;
        Ok(inserted.rows_affected() == 1)
    }

    /// The payment with its row locked until the transaction ends.
    pub async fn lock_payment(&mut self, id: Uuid) -> Result<Option<Payment>> {
        sqlx::query("UPDATE payments SET recorded_at = recorded_at WHERE id = $1")
            .bind(id.to_string())
            .execute(&mut *self.inner)
            .await?;
        let query = sqlx::query(select_payments!("WHERE id = $1")).bind(id.to_string());
        query.fetch_optional(&mut *self.inner).await?.as_ref().map(payment_from).transpose()
    }

    /// Whether something was given to an order for another payment than this one; the order's row must be locked.
    pub async fn is_bought_by_another(&mut self, order: Uuid, payment: Uuid) -> Result<bool> {
        let row = sqlx::query(
            "SELECT id FROM payments WHERE order_id = $1 AND id <> $2 \
             AND outcome IN ('applied', 'applied_late', 'disputed') LIMIT 1",
        )
        .bind(order.to_string())
        .bind(payment.to_string())
        .fetch_optional(&mut *self.inner)
        .await?;
        Ok(row.is_some())
    }

    /// Makes an orphan the payment of an order; false where somebody else dealt with it.
    pub async fn give_payment_to(&mut self, id: Uuid, order: Uuid, excess: Amount, outcome: Outcome) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE payments SET order_id = $2, excess = $3, outcome = $4 \
             WHERE id = $1 AND outcome = 'orphaned' AND resolved_at IS NULL",
        )
        .bind(id.to_string())
        .bind(order.to_string())
        .bind(to_bigint(excess.get())?)
        .bind(outcome.name())
        .execute(&mut *self.inner)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// What was given back in all; false where no more was than is known.
    pub async fn raise_refunded(&mut self, id: Uuid, refunded: u64) -> Result<bool> {
        let done = sqlx::query("UPDATE payments SET refunded = $2 WHERE id = $1 AND refunded < $2")
            .bind(id.to_string())
            .bind(to_bigint(refunded)?)
            .execute(&mut *self.inner)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Another outcome, for money that went back or came again.
    pub async fn set_outcome(&mut self, id: Uuid, outcome: Outcome) -> Result<()> {
        sqlx::query("UPDATE payments SET outcome = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(outcome.name())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Marks a payment as dealt with; false where it was already.
    pub async fn resolve_payment(&mut self, id: Uuid, note: &Note, now: Timestamp) -> Result<bool> {
        let done =
            sqlx::query("UPDATE payments SET resolved_at = $2, resolution = $3 WHERE id = $1 AND resolved_at IS NULL")
                .bind(id.to_string())
                .bind(now.millis())
                .bind(note.as_str())
                .execute(&mut *self.inner)
                .await?;
        Ok(done.rows_affected() == 1)
    }
}

fn payment_from(row: &AnyRow) -> Result<Payment> {
    let record = Record::new("payments", row);
    let provider = match record.text("provider")?.as_str() {
        "lightning" => Provider::Lightning,
        "stripe" => Provider::Stripe,
        other => return Err(record.corrupt("provider", Invalid::new(format!("{other} is not a provider")))),
    };
    let outcome = record.text("outcome")?;
    let outcome = Outcome::ALL.into_iter().find(|known| known.name() == outcome);
    Ok(Payment {
        id: record.id("id")?,
        order_id: record.optional_id("order_id")?,
        evidence: Evidence {
            provider,
            external_id: record.text("external_id")?,
            amount: amount_from(&record, "amount")?,
            settled_at: record.time("settled_at")?,
        },
        excess: amount_from(&record, "excess")?,
        refunded: amount_from(&record, "refunded")?,
        outcome: record.parsed("outcome", outcome.ok_or_else(|| Invalid::new("not an outcome")))?,
        recorded_at: record.time("recorded_at")?,
        resolution: resolution_from(&record)?,
    })
}

fn amount_from(record: &Record<'_>, column: &'static str) -> Result<Amount> {
    let number = record.unsigned_u64(column)?;
    match record.text("unit")?.as_str() {
        "msat" => Ok(Amount::Msats(Msats::new(number))),
        "usd_cent" => Ok(Amount::UsdCents(UsdCents::new(number))),
        other => Ok(Amount::Foreign(number, record.parsed("unit", Currency::parse(other))?)),
    }
}

fn unit_name(amount: &Amount) -> &str {
    match amount {
        Amount::Msats(_) => "msat",
        Amount::UsdCents(_) => "usd_cent",
        Amount::Foreign(_, currency) => currency.code(),
    }
}

fn resolution_from(record: &Record<'_>) -> Result<Option<Resolution>> {
    let (Some(at), Some(note)) = (record.optional_time("resolved_at")?, record.optional_text("resolution")?) else {
        return Ok(None);
    };
    Ok(Some(Resolution { at, note: record.parsed("resolution", Note::parse(&note))? }))
}
