//! Orders and all that follows from them, on SQLite or Postgres with one SQL text.
//!
//! [`Store`] reads; [`Tx`] writes, one method a statement or a few that belong together, and nothing is true before
//! [`Tx::commit`]. Rows become domain types or an error that names table, column and row.

mod accounts;
mod agents;
mod check_batch;
mod check_cache;
mod checked;
mod connections;
mod counts;
mod cursor;
mod deliveries;
mod end_notices;
mod events;
mod fan_out;
mod holders;
mod idempotency;
mod installed;
mod instance_keys;
mod nostr_keys;
mod open;
mod operator;
mod orders;
mod owned;
mod payments;
mod peers;
mod referrals;
mod row;
mod servers;
mod slots;
mod stripe_events;
mod subscription_list;
mod subscriptions;
mod transaction;
mod webhooks;

use tokio::time::Instant;

use crate::metrics::Metrics;
use check_batch::CheckBatch;
use check_cache::CheckCache;
use connections::{Ask as _, Connections};
use transaction::Transaction;

pub use accounts::ApiKeyFilter;
pub use agents::{AgentWord, MonthUsed, ServerState, Used};
pub use checked::CheckedOrder;
pub use counts::{OpenOrders, WaitingPayments};
pub use deliveries::{Attempted, Delivery, DeliveryFilter, DueEndpoint, Next, WaitingDeliveries};
pub use end_notices::End;
pub use events::ActFilter;
pub use fan_out::UntoldEvent;
pub use holders::Holder;
pub use idempotency::{IdempotencyKey, Remembered};
pub use installed::{ChangesTold, Installation, InstalledPeer, ReadyPeer};
pub use orders::{Checkout, NewOrder, OrderFilter};
pub use owned::OwnedSubscription;
pub use payments::PaymentFilter;
pub use peers::{KeyOwner, NewBinding, SealedBinding, SealedKey, StoredPeer};
pub use referrals::{EarnedBonus, ReferralTotals};
pub use row::Corrupt;
pub use servers::Occupancy;
pub use slots::Reservation;
pub use stripe_events::DisputeEnd;
pub use subscription_list::{KeyHeld, SubscriptionFilter};
pub use webhooks::{EndpointCount, SealedSecret, SealedSecrets};

/// The database: cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    writer: Connections,
    reader: Connections,
    engine: Engine,
    metrics: Metrics,
    checks: CheckCache,
    batch: CheckBatch,
}

/// Which database it is; they differ in how a write begins and in who else may be writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// A write transaction; rolled back when dropped.
#[derive(Debug)]
pub struct Tx {
    inner: Transaction,
}

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Told with its reason, because most of those who log it show no causes: a full disk has to be read there.
    #[error("the database does not answer: {0}")]
    Database(Box<dyn std::error::Error + Send + Sync>),
    /// A constraint stopped what our own checks should have: the last guard.
    #[error("a rule of the database would be broken: {0}")]
    Constraint(Box<dyn std::error::Error + Send + Sync>),
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    #[error("{0}")]
    Refused(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::error::ErrorKind;
        match error.as_database_error().map(sqlx::error::DatabaseError::kind) {
            Some(
                ErrorKind::UniqueViolation
                | ErrorKind::ForeignKeyViolation
                | ErrorKind::NotNullViolation
                | ErrorKind::CheckViolation,
            ) => Self::Constraint(Box::new(error)),
            _ => Self::Database(Box::new(error)),
        }
    }
}

impl Store {
    pub const fn engine(&self) -> Engine {
        self.engine
    }

    /// Tells what it does to these.
    #[must_use]
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// Starts a write, once it is its turn.
    pub async fn begin(&self) -> Result<Tx> {
        let asked = Instant::now();
        let begun = Transaction::begin(&self.writer, self.engine).await;
        self.metrics.write_waited(asked.elapsed());
        Ok(Tx { inner: begun? })
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").one_from(&self.reader).await?;
        Ok(())
    }

    /// Ends every connection, after the queries that run.
    pub async fn close(&self) {
        self.writer.close().await;
        self.reader.close().await;
    }
}

impl Tx {
    pub async fn commit(self) -> Result<()> {
        self.inner.commit().await
    }

    pub async fn rollback(self) -> Result<()> {
        self.inner.rollback().await
    }

    /// Where nothing was changed nothing is made durable, and what checks read before still counts.
    pub async fn commit_if(self, changed: bool) -> Result<()> {
        if changed { self.commit().await } else { self.rollback().await }
    }
}
