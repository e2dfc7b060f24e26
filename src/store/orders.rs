//! Orders: stored before anything is asked of the node, moved on by compare-and-set.

use std::collections::HashMap;

use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::connections::Ask as _;
use super::row::{Record, to_bigint};
use super::{Result, Store, Tx};
use crate::domain::Invalid;
use crate::domain::bolt11::Invoice;
use crate::domain::instance_key::KeyId;
use crate::domain::keys::PublicKey;
use crate::domain::lightning::PaymentHash;
use crate::domain::money::{Quote, Rate, Sats, UsdCents};
use crate::domain::order::{ClaimBy, Order, OrderKind, OrderState, PublicName, Purchase, Rail, ShownInvoice};
use crate::domain::referral::ReferralCode;
use crate::domain::server::ServerId;
use crate::domain::time::Timestamp;
use crate::domain::webhook::WebhookUrl;

/// Everything that [`order_from`] reads.
macro_rules! order_columns {
    () => {
        concat!(
            "id, key_id, kind, rail, server_id, target_id, subscription_id, public_key, requires_claim_token, months, ",
            "amount_msat, price_cents, rate_cents_per_btc, rate_source, rate_as_of, payment_hash, state, invoice, ",
            "invoice_expires_at, checkout_session, paid_at, closed_at, account_id, created_at, revision"
        )
    };
}

macro_rules! select_orders {
    ($rest:literal) => {
        concat!("SELECT ", $crate::store::orders::order_columns!(), " FROM orders ", $rest)
    };
}

pub(super) use {order_columns, select_orders};

/// An order as it is stored first: `creating`.
#[derive(Debug, Clone)]
pub struct NewOrder {
    pub id: Uuid,
    pub key_id: KeyId,
    pub purchase: Purchase,
    pub rail: Rail,
    /// The keyed hash of the customer's address prefix.
    pub origin: String,
    /// Whose credential it was made with.
    pub account: Option<Uuid>,
    pub created_at: Timestamp,
    /// Where its events are told to.
    pub callback: Option<WebhookUrl>,
}

/// A page to pay on by card, which was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// Stripe's id of it.
    pub session: String,
    pub url: String,
    pub expires_at: Timestamp,
}

/// Which orders to list.
#[derive(Debug, Clone, Default)]
pub struct OrderFilter {
    /// The name of a state.
    pub state: Option<String>,
    /// Ordered then or later.
    pub since: Option<Timestamp>,
    /// The last order of the page before.
    pub before: Option<Uuid>,
    pub at_most: u32,
}

impl Store {
    /// Orders, the newest first: ids grow with time.
    pub async fn orders(&self, filter: &OrderFilter) -> Result<Vec<Order>> {
        let rows = sqlx::query(select_orders!(
            "WHERE ($1 IS NULL OR state = $1) AND created_at >= $2 AND id < $3 ORDER BY id DESC LIMIT $4"
        ))
        .bind(filter.state.as_deref())
        .bind(filter.since.unwrap_or(Timestamp::EPOCH).millis())
        .bind(filter.before.unwrap_or(Uuid::max()).to_string())
        .bind(i64::from(filter.at_most))
        .all_from(&self.reader)
        .await?;
        rows.iter().map(order_from).collect()
    }

    pub async fn order(&self, id: Uuid) -> Result<Option<Order>> {
        let row = sqlx::query(select_orders!("WHERE id = $1")).bind(id.to_string()).optional_from(&self.reader).await?;
        row.as_ref().map(order_from).transpose()
    }

    /// The order that a customer names; an id is the name of one that is paid by card, and of no other.
    pub async fn order_named(&self, name: PublicName) -> Result<Option<Order>> {
        match name {
            PublicName::PaymentHash(hash) => self.order_by_payment_hash(hash).await,
            PublicName::CardOrder(id) => Ok(self.order(id).await?.filter(|order| order.payment_hash().is_none())),
        }
    }

    pub async fn order_by_payment_hash(&self, hash: PaymentHash) -> Result<Option<Order>> {
        let query = sqlx::query(select_orders!("WHERE payment_hash = $1")).bind(hash.to_string());
        query.optional_from(&self.reader).await?.as_ref().map(order_from).transpose()
    }

    /// Orders that the node may still settle, oldest first, after `(created_at, id)`; the sweep's page.
    pub async fn open_orders(&self, after: (Timestamp, Uuid), at_most: u32) -> Result<Vec<Order>> {
        let page = select_orders!(
            "WHERE state IN ('creating', 'pending') AND rail = 'lightning' AND (created_at > $1 OR (created_at = $1 AND id > $2)) \
             ORDER BY created_at, id LIMIT $3"
        );
        self.open_page(page, after, at_most).await
    }

    /// Pending orders on Lightning whose invoice expired before `deadline`, oldest first, after `(expiry, id)`.
    pub async fn due_orders(&self, deadline: Timestamp, after: (Timestamp, Uuid), at_most: u32) -> Result<Vec<Order>> {
        let rows = sqlx::query(select_orders!(
            "WHERE state = 'pending' AND rail = 'lightning' AND invoice_expires_at < $1 \
             AND (invoice_expires_at > $2 OR (invoice_expires_at = $2 AND id > $3)) \
             ORDER BY invoice_expires_at, id LIMIT $4"
        ))
        .bind(deadline.millis())
        .bind(after.0.millis())
        .bind(after.1.to_string())
        .bind(i64::from(at_most))
        .all_from(&self.reader)
        .await?;
        rows.iter().map(order_from).collect()
    }

    /// Orders by card that may still be paid, oldest first, after `(created_at, id)`.
    pub async fn open_card_orders(&self, after: (Timestamp, Uuid), at_most: u32) -> Result<Vec<Order>> {
        let page = select_orders!(
            "WHERE state IN ('creating', 'pending') AND rail = 'card' AND (created_at > $1 OR (created_at = $1 AND id > $2)) \
             ORDER BY created_at, id LIMIT $3"
        );
        self.open_page(page, after, at_most).await
    }

    /// When the newest of the orders with a page was made that are older than `than`.
    pub async fn newest_card_order(&self, than: Timestamp) -> Result<Option<Timestamp>> {
        let row = sqlx::query(
            "SELECT id, created_at FROM orders WHERE checkout_session IS NOT NULL AND created_at < $1 \
             ORDER BY created_at DESC LIMIT 1",
        )
        .bind(than.millis())
        .optional_from(&self.reader)
        .await?;
        row.map(|row| Record::new("orders", &row).time("created_at")).transpose()
    }

    /// A text for each rail, because each has an index of its own.
    async fn open_page(&self, page: &'static str, after: (Timestamp, Uuid), at_most: u32) -> Result<Vec<Order>> {
        let rows = sqlx::query(page)
            .bind(after.0.millis())
            .bind(after.1.to_string())
            .bind(i64::from(at_most))
            .all_from(&self.reader)
            .await?;
        rows.iter().map(order_from).collect()
    }

    /// Orders on Lightning left in `creating` since before `deadline`.
    pub async fn abandoned_orders(&self, deadline: Timestamp, at_most: u32) -> Result<Vec<Order>> {
        let rows = sqlx::query(select_orders!(
            "WHERE state IN ('creating', 'pending') AND state = 'creating' AND rail = 'lightning' AND created_at < $1 ORDER BY created_at LIMIT $2"
        ))
        .bind(deadline.millis())
        .bind(i64::from(at_most))
        .all_from(&self.reader)
        .await?;
        rows.iter().map(order_from).collect()
    }

    /// A few orders besides one whose invoices a node that lost nothing still knows: paid ones, and ones still payable.
    pub async fn lasting_payment_hashes(&self, besides: Uuid, now: Timestamp) -> Result<Vec<PaymentHash>> {
        let rows = sqlx::query(
            "SELECT id, payment_hash FROM orders WHERE id <> $1 AND rail = 'lightning' \
             AND (state = 'paid' OR (state = 'pending' AND invoice_expires_at > $2)) ORDER BY created_at DESC LIMIT 5",
        )
        .bind(besides.to_string())
        .bind(now.millis())
        .all_from(&self.reader)
        .await?;
        let hashes = rows.iter().map(|row| {
            let record = Record::new("orders", row);
            record.parsed("payment_hash", PaymentHash::parse(&record.text("payment_hash")?))
        });
        hashes.collect()
    }

    /// The add index of the last invoice that was stored: what the node added later is not known here.
    pub async fn highest_add_index(&self) -> Result<Option<u64>> {
        let row = sqlx::query(
            "SELECT id, add_index FROM orders WHERE add_index IS NOT NULL ORDER BY created_at DESC LIMIT 1",
        )
        .optional_from(&self.reader)
        .await?;
        row.map(|row| Record::new("orders", &row).unsigned_u64("add_index")).transpose()
    }

    /// How many orders are open, and the lowest add index among them: where a listing of the node must start.
    pub async fn open_order_span(&self) -> Result<(u64, Option<u64>)> {
        let row = sqlx::query(
            "SELECT CAST(count(*) AS BIGINT) AS n, CAST(min(add_index) AS BIGINT) AS lowest FROM orders \
             WHERE state IN ('creating', 'pending') AND rail = 'lightning'",
        )
        .one_from(&self.reader)
        .await?;
        let record = Record::new("orders", &row);
        let lowest = record.optional_integer("lowest")?.map(|_| record.unsigned_u64("lowest")).transpose()?;
        Ok((record.unsigned_u64("n")?, lowest))
    }

    /// A number for each order that moves with everything a client can see of it, its subscription included.
    pub async fn revisions(&self, orders: &[Uuid]) -> Result<HashMap<Uuid, i64>> {
        let places: Vec<_> = (1..=orders.len()).map(|n| format!("${n}")).collect();
        let sql = format!(
            "SELECT o.id AS id, o.revision + coalesce(s.revision, 0) AS revision FROM orders o \
             LEFT JOIN subscriptions s ON s.id = coalesce(o.subscription_id, o.target_id) WHERE o.id IN ({})",
            places.join(", ")
        );
        // Only `$1, $2, ...` was put into the text.
        let query = orders.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, id| query.bind(id.to_string()));
        let rows = query.persistent(false).all_from(&self.reader).await?;
        let revisions = rows.iter().map(|row| {
            let record = Record::new("orders", row);
            Ok((record.id("id")?, record.integer("revision")?))
        });
        revisions.collect()
    }
}

impl Tx {
    /// Orders of one address prefix that hold an open invoice or are about to.
    pub async fn count_open_orders(&mut self, origin: &str) -> Result<i64> {
        let row = sqlx::query(
            "SELECT CAST(count(*) AS BIGINT) AS n FROM orders WHERE origin = $1 AND state IN ('creating', 'pending')",
        )
        .bind(origin)
        .fetch_one(&mut *self.inner)
        .await?;
        Record::new("orders", &row).integer("n")
    }

    /// Resets of a subscription that could still be paid.
    pub async fn count_open_resets(&mut self, subscription: Uuid) -> Result<i64> {
        let row = sqlx::query(
            "SELECT CAST(count(*) AS BIGINT) AS n FROM orders WHERE target_id = $1 \
             AND state IN ('creating', 'pending') AND kind = 'bandwidth_reset'",
        )
        .bind(subscription.to_string())
        .fetch_one(&mut *self.inner)
        .await?;
        Record::new("orders", &row).integer("n")
    }

    pub async fn insert_order(&mut self, order: &NewOrder) -> Result<Order> {
        let purchase = &order.purchase;
        let (quote, cents) = match &order.rail {
            Rail::Lightning { quote, .. } => (Some(quote), quote.usd),
            Rail::Card { price, .. } => (None, Some(*price)),
        };
        let rate = quote.and_then(|quote| quote.rate.as_ref());
        let row = sqlx::query(concat!(
            "INSERT INTO orders (id, key_id, kind, rail, server_id, target_id, public_key, requires_claim_token, \
             referral_code, months, amount_msat, price_cents, rate_cents_per_btc, rate_source, rate_as_of, origin, \
             payment_hash, state, created_at, account_id, revision) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, 'creating', $18, $19, 0) RETURNING ",
            order_columns!()
        ))
        .bind(order.id.to_string())
        .bind(order.key_id.0)
        .bind(purchase.kind.name())
        .bind(order.rail.name())
        .bind(purchase.server_id.as_str())
        .bind(purchase.kind.target().map(|subscription| subscription.to_string()))
        .bind(purchase.public_key.map(|key| key.to_string()))
        .bind(i64::from(purchase.claim_by == ClaimBy::ClaimToken))
        .bind(purchase.referral_code.as_ref().map(ReferralCode::as_str))
        .bind(purchase.kind.months().map(i64::from))
        .bind(quote.map(|quote| to_bigint(quote.amount.to_msats().get())).transpose()?)
        .bind(cents.map(|cents| to_bigint(cents.get())).transpose()?)
        .bind(rate.map(|rate| to_bigint(rate.cents_per_btc)).transpose()?)
        .bind(rate.map(|rate| rate.source.as_str()))
        .bind(rate.map(|rate| rate.as_of.millis()))
        .bind(order.origin.as_str())
        .bind(order.rail.payment_hash().map(|hash| hash.to_string()))
        .bind(order.created_at.millis())
        .bind(order.account.map(|id| id.to_string()))
        .fetch_one(&mut *self.inner)
        .await?;
        order_from(&row)
    }

    /// The order with its row locked until the transaction ends.
    pub async fn lock_order(&mut self, id: Uuid) -> Result<Option<Order>> {
        // An update that changes nothing locks the row on both engines; SQLite has no FOR UPDATE.
        let lock = concat!("UPDATE orders SET revision = revision WHERE id = $1 RETURNING ", order_columns!());
        let row = sqlx::query(lock).bind(id.to_string()).fetch_optional(&mut *self.inner).await?;
        row.as_ref().map(order_from).transpose()
    }

    /// `creating -> pending`; none where the order is somewhere else already.
    pub async fn mark_pending(&mut self, id: Uuid, invoice: &Invoice, add_index: u64) -> Result<Option<Order>> {
        let row = sqlx::query(concat!(
            "UPDATE orders SET state = 'pending', invoice = $2, invoice_expires_at = $3, add_index = $4, ",
            "revision = revision + 1 WHERE id = $1 AND state = 'creating' RETURNING ",
            order_columns!()
        ))
        .bind(id.to_string())
        .bind(invoice.text())
        .bind(invoice.expires_at().millis())
        .bind(to_bigint(add_index)?)
        .fetch_optional(&mut *self.inner)
        .await?;
        row.as_ref().map(order_from).transpose()
    }

    /// The same with the page of a card.
    pub async fn mark_shown_checkout(&mut self, id: Uuid, checkout: &Checkout) -> Result<Option<Order>> {
        let row = sqlx::query(concat!(
            "UPDATE orders SET state = 'pending', invoice = $2, invoice_expires_at = $3, checkout_session = $4, ",
            "revision = revision + 1 WHERE id = $1 AND state = 'creating' RETURNING ",
            order_columns!()
        ))
        .bind(id.to_string())
        .bind(checkout.url.as_str())
        .bind(checkout.expires_at.millis())
        .bind(checkout.session.as_str())
        .fetch_optional(&mut *self.inner)
        .await?;
        row.as_ref().map(order_from).transpose()
    }

    /// `pending | expired -> paid`, the compare-and-set on which "settled once" rests.
    pub async fn mark_paid(
        &mut self,
        id: Uuid,
        subscription: Option<Uuid>,
        paid_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE orders SET state = 'paid', paid_at = $2, closed_at = $3, subscription_id = $4, origin = NULL, \
             revision = revision + 1 WHERE id = $1 AND state IN ('pending', 'expired')",
        )
        .bind(id.to_string())
        .bind(paid_at.millis())
        .bind(now.millis())
        .bind(subscription.map(|id| id.to_string()))
        .execute(&mut *self.inner)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// `pending -> expired`.
    pub async fn mark_expired(&mut self, id: Uuid, now: Timestamp) -> Result<bool> {
        self.close(
            id,
            "UPDATE orders SET state = 'expired', closed_at = $2, origin = NULL, revision = revision + 1 \
             WHERE id = $1 AND state = 'pending'",
            now,
        )
        .await
    }

    /// `creating -> failed`.
    pub async fn mark_failed(&mut self, id: Uuid, now: Timestamp) -> Result<bool> {
        self.close(
            id,
            "UPDATE orders SET state = 'failed', closed_at = $2, origin = NULL, revision = revision + 1 \
             WHERE id = $1 AND state = 'creating'",
            now,
        )
        .await
    }

    async fn close(&mut self, id: Uuid, sql: &'static str, now: Timestamp) -> Result<bool> {
        let done = sqlx::query(sql).bind(id.to_string()).bind(now.millis()).execute(&mut *self.inner).await?;
        Ok(done.rows_affected() == 1)
    }

    /// Whether a renewal ordered before `hold_until` could still be paid: it keeps the slot until it is closed.
    pub async fn has_open_renewal(&mut self, subscription: Uuid, hold_until: Timestamp) -> Result<bool> {
        let row = sqlx::query(
            "SELECT id FROM orders WHERE target_id = $1 AND state IN ('creating', 'pending') AND kind = 'renewal' AND created_at < $2 LIMIT 1",
        )
        .bind(subscription.to_string())
        .bind(hold_until.millis())
        .fetch_optional(&mut *self.inner)
        .await?;
        Ok(row.is_some())
    }
}

pub(super) fn order_from(row: &AnyRow) -> Result<Order> {
    let record = Record::new("orders", row);
    let claim_by =
        if record.integer("requires_claim_token")? == 1 { ClaimBy::ClaimToken } else { ClaimBy::PaymentHash };
    let public_key = record.optional_text("public_key")?.map(|text| PublicKey::parse(&text)).transpose();
    Ok(Order {
        id: record.id("id")?,
        key_id: KeyId(record.integer("key_id")?),
        kind: kind_from(&record)?,
        server_id: record.parsed("server_id", ServerId::parse(&record.text("server_id")?))?,
        public_key: record.parsed("public_key", public_key)?,
        claim_by,
        rail: rail_from(&record)?,
        created_at: record.time("created_at")?,
        state: state_from(&record)?,
        account: record.optional_id("account_id")?,
        subscription_id: record.optional_id("subscription_id")?,
        revision: record.integer("revision")?,
    })
}

fn rail_from(record: &Record<'_>) -> Result<Rail> {
    match record.text("rail")?.as_str() {
        "lightning" => Ok(Rail::Lightning {
            payment_hash: record.parsed("payment_hash", PaymentHash::parse(&record.text("payment_hash")?))?,
            quote: quote_from(record)?,
        }),
        "card" => Ok(Rail::Card {
            price: UsdCents::new(record.unsigned_u64("price_cents")?),
            session: record.optional_text("checkout_session")?,
        }),
        other => Err(record.corrupt("rail", Invalid::new(format!("{other} is not a rail")))),
    }
}

fn kind_from(record: &Record<'_>) -> Result<OrderKind> {
    let months = || record.unsigned_u32("months");
    Ok(match (record.text("kind")?.as_str(), record.optional_id("target_id")?) {
        ("new", None) => OrderKind::New { months: months()? },
        ("renewal", Some(subscription)) => OrderKind::Renewal { subscription, months: months()? },
        ("bandwidth_reset", Some(subscription)) => OrderKind::BandwidthReset(subscription),
        (other, _) => return Err(record.corrupt("kind", Invalid::new(format!("{other} is not known here")))),
    })
}

fn quote_from(record: &Record<'_>) -> Result<Quote> {
    let rate = record.optional_text("rate_source")?.map(|source| {
        Ok::<_, super::Error>(Rate {
            cents_per_btc: record.unsigned_u64("rate_cents_per_btc")?,
            source,
            as_of: record.time("rate_as_of")?,
        })
    });
    let msat = record.unsigned_u64("amount_msat")?;
    let usd = record.optional_integer("price_cents")?.map(|_| record.unsigned_u64("price_cents").map(UsdCents::new));
    Ok(Quote { amount: Sats::new(msat / 1000), usd: usd.transpose()?, rate: rate.transpose()? })
}

fn state_from(record: &Record<'_>) -> Result<OrderState> {
    let invoice = || {
        Ok::<_, super::Error>(ShownInvoice {
            text: record.text("invoice")?,
            expires_at: record.time("invoice_expires_at")?,
        })
    };
    Ok(match record.text("state")?.as_str() {
        "creating" => OrderState::Creating,
        "pending" => OrderState::Pending(invoice()?),
        "paid" => OrderState::Paid { invoice: invoice()?, paid_at: record.time("paid_at")? },
        "expired" => OrderState::Expired { invoice: invoice()?, closed_at: record.time("closed_at")? },
        "failed" => OrderState::Failed { closed_at: record.time("closed_at")? },
        other => return Err(record.corrupt("state", Invalid::new(format!("{other} is not a state")))),
    })
}
