//! Counts for whoever watches the shop.
//!
//! They are asked for every few seconds, so each is bounded by what is open or unsettled now, never by all that was ever
//! sold: every one reads a partial index.

use std::collections::HashMap;

use sqlx::any::AnyRow;

use super::connections::Ask as _;
use super::row::Record;
use super::{Result, Store};
use crate::domain::payment::Outcome;
use crate::domain::time::Timestamp;
use crate::metrics::readings::PoolUse;

/// Index `orders_open`.
const OPEN: &str = "SELECT CAST(count(*) AS BIGINT) AS n FROM orders WHERE state IN ('creating', 'pending')";
/// Index `orders_due`.
const PENDING: &str = "SELECT CAST(count(*) AS BIGINT) AS n FROM orders WHERE state = 'pending'";
/// Index `orders_due`, a part of it.
const OVERDUE: &str =
    "SELECT CAST(count(*) AS BIGINT) AS n FROM orders WHERE state = 'pending' AND invoice_expires_at < $1";
/// Index `payments_open`: what waits for the operator, overpaid ones that were delivered among it.
const WAITING: &str = "SELECT outcome AS id, CAST(count(*) AS BIGINT) AS n FROM payments \
     WHERE resolved_at IS NULL AND (excess > 0 OR outcome IN ('refund_due', 'orphaned', 'underpaid', 'mismatched')) GROUP BY outcome";

/// Payments that wait for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingPayments {
    /// Those that brought their payer nothing, by outcome.
    pub gave_nothing: Vec<(Outcome, u64)>,
    /// Those that were delivered, and were more than the price.
    pub overpaid: u64,
}

/// Orders that are neither paid nor closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenOrders {
    pub creating: u64,
    /// With an invoice, those that are overdue included.
    pub pending: u64,
    /// Whose invoice had run out by the deadline.
    pub overdue: u64,
}

impl Store {
    /// How many orders are open, and of how many the invoice ran out before `deadline`.
    pub async fn count_open_orders(&self, deadline: Timestamp) -> Result<OpenOrders> {
        let open = number(&sqlx::query(OPEN).one_from(&self.reader).await?)?;
        let pending = number(&sqlx::query(PENDING).one_from(&self.reader).await?)?;
        let overdue = sqlx::query(OVERDUE).bind(deadline.millis()).one_from(&self.reader).await?;
        // Three looks, not one: an order may have moved on between them.
        Ok(OpenOrders { creating: open.saturating_sub(pending), pending, overdue: number(&overdue)?.min(pending) })
    }

    /// How many payments wait for the operator.
    pub async fn count_waiting_payments(&self) -> Result<WaitingPayments> {
        let rows = sqlx::query(WAITING).all_from(&self.reader).await?;
        let read = |row: &AnyRow| Ok((Record::new("payments", row).text("id")?, number(row)?));
        let found = rows.iter().map(read).collect::<Result<HashMap<_, _>>>()?;
        let of = |outcome: Outcome| found.get(outcome.name()).copied().unwrap_or(0);
        let gave_nothing = [Outcome::RefundDue, Outcome::Orphaned, Outcome::Underpaid, Outcome::Mismatched];
        Ok(WaitingPayments {
            gave_nothing: gave_nothing.map(|outcome| (outcome, of(outcome))).to_vec(),
            overpaid: of(Outcome::Applied) + of(Outcome::AppliedLate),
        })
    }

    /// What its connections do now.
    pub fn pools(&self) -> Vec<PoolUse> {
        match self.engine {
            super::Engine::Sqlite => vec![self.writer.usage(), self.reader.usage()],
            super::Engine::Postgres => vec![self.writer.usage()],
        }
    }
}

fn number(row: &AnyRow) -> Result<u64> {
    Record::new("counts", row).unsigned_u64("n")
}

#[cfg(test)]
mod tests {
    use sqlx::Row as _;

    use super::*;
    use crate::config::Database;

    /// How SQLite would go about it.
    async fn plan(store: &Store, query: &str) -> String {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", query.replace("$1", "1")));
        let rows = sqlx::query(explain).all_from(&store.reader).await.unwrap();
        rows.iter().map(|row| row.get::<String, _>("detail")).collect::<Vec<_>>().join("; ")
    }

    #[tokio::test]
    async fn no_count_reads_more_than_a_partial_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Database::Sqlite(folder.path().join("test.db"))).await.unwrap();
        for query in [OPEN, PENDING, OVERDUE, WAITING] {
            let plan = plan(&store, query).await;
            let partial = ["orders_open", "orders_due", "payments_open"];
            assert!(partial.iter().any(|index| plan.contains(index)), "{query}: {plan}");
        }
        let whole = plan(&store, "SELECT count(*) FROM orders WHERE state = 'paid'").await;
        assert!(!whole.contains("orders_open") && !whole.contains("orders_due"), "{whole}");
    }
}
