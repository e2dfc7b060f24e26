//! What a check shows, in one look: an order with the subscription that it is about.

use sqlx::any::AnyRow;
use tokio::time::Instant;

use super::check_batch::AT_ONCE;
use super::check_cache::Moment;
use super::connections::{Ask as _, Connections};
use super::installed::installation_from;
use super::orders::order_from;
use super::row::Record;
use super::subscriptions::standing_from;
use super::{Engine, Result, Store};
use crate::domain::lightning::PaymentHash;
use crate::domain::order::{Order, PublicName};
use crate::domain::server::ServerId;
use crate::domain::subscription::Subscription;

/// An order, and what it founded, extended or is to extend.
#[derive(Debug, Clone)]
pub struct CheckedOrder {
    pub order: Order,
    pub subscription: Option<Subscription>,
    /// Whether the subscription's peer has its key and stands on its server.
    pub is_installed: bool,
}

macro_rules! select_checked {
    ($which:literal) => {
        concat!(
            "SELECT orders.id AS id, orders.key_id AS key_id, kind, rail, orders.server_id AS server_id, target_id, ",
            "subscription_id, orders.public_key AS public_key, requires_claim_token, months, amount_msat, price_cents, ",
            "rate_cents_per_btc, rate_source, rate_as_of, payment_hash, state, invoice, invoice_expires_at, ",
            "checkout_session, paid_at, closed_at, orders.account_id AS account_id, orders.created_at AS created_at, ",
            "orders.revision AS revision, subscriptions.id AS about_id, founded_by, ",
            "subscriptions.account_id AS about_account_id, subscriptions.server_id AS about_server_id, ends_at, standing, suspended_at, ",
            "subscriptions.created_at AS about_created_at, subscriptions.revision AS about_revision, ",
            "peers.public_key AS bound_key, bound_revision, applied_revision, agent_seen_at FROM orders ",
            "LEFT JOIN subscriptions ON subscriptions.id = coalesce(subscription_id, target_id) ",
            "LEFT JOIN peers ON holder_kind = 'subscription' AND holder_id = subscriptions.id AND superseded_at IS NULL ",
            "LEFT JOIN servers ON servers.id = peers.server_id ",
            "WHERE ",
            $which
        )
    };
}

const ONE: &str = select_checked!("payment_hash = $1");
/// Other orders go by their payment hash alone.
const CARD: &str = select_checked!("orders.id = $1 AND rail = 'card'");
/// [`AT_ONCE`] places.
const MANY: &str =
    select_checked!("payment_hash IN ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)");

impl Store {
    /// The order as it is, or as it was a moment ago before somebody else than this process changed it.
    pub async fn checked_order(&self, name: PublicName) -> Result<Option<CheckedOrder>> {
        let PublicName::PaymentHash(hash) = name else { return self.checked_order_afresh(name).await };
        match self.checks.get(hash, self.moment()) {
            Some(checked) => Ok(Some(checked)),
            None => self.checked_order_afresh(name).await,
        }
    }

    /// The order as it is.
    pub async fn checked_order_afresh(&self, name: PublicName) -> Result<Option<CheckedOrder>> {
        match name {
            PublicName::PaymentHash(hash) => self.read_by_hash(hash).await,
            PublicName::CardOrder(id) => {
                let query = sqlx::query(CARD).bind(id.to_string());
                query.optional_from(&self.reader).await?.as_ref().map(checked_from).transpose()
            }
        }
    }

    async fn read_by_hash(&self, hash: PaymentHash) -> Result<Option<CheckedOrder>> {
        let read = self.moment();
        let checked = self.batch.read(hash, &self.reader).await?;
        if let Some(checked) = &checked {
            self.checks.keep(hash, checked, read);
        }
        Ok(checked)
    }

    /// To be called more often than five times a second, so that what checks read need not be read again.
    ///
    /// Only SQLite tells whether another process wrote; on Postgres what was read is read again after its time.
    pub async fn look_for_others(&self) -> Result<()> {
        if self.engine == Engine::Postgres || self.checks.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        if self.writer.others_committed().await? {
            self.writer.count_commit();
        }
        self.checks.looked(began);
        Ok(())
    }

    /// Somebody else is known to have changed something.
    pub fn others_changed_something(&self) {
        self.writer.count_commit();
    }

    fn moment(&self) -> Moment {
        Moment { commits: self.writer.commits(), at: Instant::now() }
    }
}

/// Those of at most [`AT_ONCE`] orders that are there, in no order.
pub async fn read_checked(connections: &Connections, hashes: &[PaymentHash]) -> Result<Vec<CheckedOrder>> {
    let rows = match hashes {
        [one] => sqlx::query(ONE).bind(one.to_string()).all_from(connections).await?,
        many => {
            // One text for any number, so that it is prepared once: the places that are left name the last one again.
            let last = many.last().into_iter().cycle();
            let padded = many.iter().chain(last).take(AT_ONCE);
            let query = padded.fold(sqlx::query(MANY), |query, hash| query.bind(hash.to_string()));
            query.all_from(connections).await?
        }
    };
    rows.iter().map(checked_from).collect()
}

fn checked_from(row: &AnyRow) -> Result<CheckedOrder> {
    let record = Record::new("orders", row);
    Ok(CheckedOrder {
        order: order_from(row)?,
        subscription: subscription_from(&record)?,
        is_installed: record.optional_text("bound_key")?.is_some() && installation_from(&record)?.is_installed(),
    })
}

fn subscription_from(record: &Record<'_>) -> Result<Option<Subscription>> {
    let Some(id) = record.optional_id("about_id")? else { return Ok(None) };
    Ok(Some(Subscription {
        id,
        founded_by: record.id("founded_by")?,
        account: record.optional_id("about_account_id")?,
        server_id: record.parsed("about_server_id", ServerId::parse(&record.text("about_server_id")?))?,
        ends_at: record.time("ends_at")?,
        standing: standing_from(record)?,
        suspended_at: record.optional_time("suspended_at")?,
        created_at: record.time("about_created_at")?,
        revision: record.integer("about_revision")?,
    }))
}
