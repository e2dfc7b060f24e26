//! The ledger: money that arrived, each payment once.

use sqlx::any::AnyRow;
use uuid::Uuid;

use super::row::{Record, to_bigint};
use super::{Result, Store, Tx};
use crate::domain::Invalid;
use crate::domain::money::Msats;
use crate::domain::payment::{Evidence, Outcome, Payment, Provider};

macro_rules! select_payments {
    ($rest:literal) => {
        concat!(
            "SELECT id, provider, external_id, order_id, amount, excess, settled_at, recorded_at, outcome ",
            "FROM payments ",
            $rest
        )
    };
}

impl Store {
    /// All money that arrived for an order.
    pub async fn payments_of(&self, order: Uuid) -> Result<Vec<Payment>> {
        let query = sqlx::query(select_payments!("WHERE order_id = $1 ORDER BY recorded_at")).bind(order.to_string());
        query.fetch_all(&self.reader).await?.iter().map(payment_from).collect()
    }

    /// The payment that a provider knows by this name.
    pub async fn payment(&self, provider: Provider, external_id: &str) -> Result<Option<Payment>> {
        let row = sqlx::query(select_payments!("WHERE provider = $1 AND external_id = $2"))
            .bind(provider.name())
            .bind(external_id)
            .fetch_optional(&self.reader)
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
            "INSERT INTO payments (id, provider, external_id, order_id, unit, amount, excess, settled_at, recorded_at, \
             outcome) VALUES ($1, $2, $3, $4, 'msat', $5, $6, $7, $8, $9) \
             ON CONFLICT (provider, external_id) DO NOTHING",
        )
        .bind(payment.id.to_string())
        .bind(payment.evidence.provider.name())
        .bind(payment.evidence.external_id.as_str())
        .bind(payment.order_id.map(|id| id.to_string()))
        .bind(to_bigint(payment.evidence.amount.get())?)
        .bind(to_bigint(payment.excess.get())?)
        .bind(payment.evidence.settled_at.millis())
        .bind(payment.recorded_at.millis())
        .bind(payment.outcome.name())
        .execute(&mut *self.inner)
        .await?;
        Ok(inserted.rows_affected() == 1)
    }
}

fn payment_from(row: &AnyRow) -> Result<Payment> {
    let record = Record::new("payments", row);
    let provider = match record.text("provider")?.as_str() {
        "lightning" => Provider::Lightning,
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
            amount: Msats::new(record.unsigned_u64("amount")?),
            settled_at: record.time("settled_at")?,
        },
        excess: Msats::new(record.unsigned_u64("excess")?),
        outcome: record.parsed("outcome", outcome.ok_or_else(|| Invalid::new("not an outcome")))?,
        recorded_at: record.time("recorded_at")?,
    })
}
