//! All that node, Stripe and database hold, read and left as it is.

use std::collections::{BTreeSet, HashMap};

use sqlx::{AnyConnection, FromRow};
use wiretoll::config;
use wiretoll::domain::referral::Bonuses;
use wiretoll::domain::server::Pool;
use wiretoll::lnd::{InvoiceState, Node, NodeInvoice, Settlement};

use crate::client::Config;
use crate::stripe::{Page, Stripe};

const PAGE: u32 = 500;

pub struct Books {
    /// The service's name begins the memo of what is ours.
    pub shop: String,
    /// By public key.
    pub node: String,
    pub pools: HashMap<String, Pool>,
    pub bonuses: Bonuses,
    /// Whoever they belong to.
    pub invoices: Vec<NodeInvoice>,
    pub pages: Vec<Page>,
    /// Stripe's events that were answered with 200 before the database was read.
    pub taken: BTreeSet<String>,
    pub orders: Vec<Order>,
    pub payments: Vec<Payment>,
    pub disputes: Vec<Dispute>,
    pub applied_events: Vec<AppliedEvent>,
    pub codes: Vec<Code>,
    /// By subscription, in their order.
    pub grants: Vec<Grant>,
    pub subscriptions: Vec<Subscription>,
    /// By subscription: the resets of all its months.
    pub resets: Vec<Resets>,
    pub servers: Vec<Server>,
    /// That are taken.
    pub slots: Vec<Slot>,
    pub peers: Vec<Peer>,
    pub keys: Vec<Key>,
    pub private_keys: Vec<PrivateKey>,
    /// By subject, in their order.
    pub events: Vec<Event>,
    pub remembered: Vec<Remembered>,
    pub positions: Vec<Position>,
    /// What customers were given.
    pub claimed: Vec<Config>,
}

#[derive(Debug, FromRow)]
pub struct Order {
    pub id: String,
    pub kind: String,
    pub target_id: Option<String>,
    pub subscription_id: Option<String>,
    pub public_key: Option<String>,
    pub account_id: Option<String>,
    pub referral_code: Option<String>,
    /// None of a bandwidth reset.
    pub months: Option<i64>,
    /// On Lightning.
    pub amount_msat: Option<i64>,
    pub payment_hash: Option<String>,
    /// By card.
    pub price_cents: Option<i64>,
    pub checkout_session: Option<String>,
    pub state: String,
    pub invoice: Option<String>,
    pub add_index: Option<i64>,
    pub invoice_expires_at: Option<i64>,
    pub paid_at: Option<i64>,
    pub created_at: i64,
}

#[derive(Debug, FromRow)]
pub struct Payment {
    pub id: String,
    pub provider: String,
    pub external_id: String,
    pub order_id: Option<String>,
    pub unit: String,
    pub amount: i64,
    pub excess: i64,
    pub refunded: i64,
    pub settled_at: i64,
    pub recorded_at: i64,
    pub outcome: String,
}

/// A bank that asks for the money of an order.
#[derive(Debug, FromRow)]
pub struct Dispute {
    pub id: String,
    pub order_id: String,
    pub outcome: Option<String>,
}

#[derive(Debug, FromRow)]
pub struct AppliedEvent {
    pub id: String,
}

#[derive(Debug, FromRow)]
pub struct Code {
    pub code: String,
    pub account_id: String,
}

#[derive(Debug, FromRow)]
pub struct Grant {
    /// None of the operator's.
    pub order_id: Option<String>,
    pub kind: String,
    /// None of what is banked.
    pub subscription_id: Option<String>,
    pub sequence: Option<i64>,
    /// Who earned a bonus.
    pub account_id: Option<String>,
    pub months: Option<i64>,
    /// The operator's.
    pub days: Option<i64>,
    pub granted_at: i64,
    pub revoked_at: Option<i64>,
}

#[derive(Debug, FromRow)]
pub struct Subscription {
    pub id: String,
    pub founded_by: String,
    pub account_id: Option<String>,
    pub server_id: String,
    pub ends_at: i64,
    pub standing: String,
}

#[derive(Debug, FromRow)]
pub struct Resets {
    pub subscription_id: String,
    pub resets: i64,
}

#[derive(Debug, FromRow)]
pub struct Server {
    pub id: String,
    pub slots_held: i64,
    pub slots_reserved: i64,
}

#[derive(Debug, FromRow)]
pub struct Slot {
    pub server_id: String,
    pub n: i64,
    pub peer_id: String,
}

#[derive(Debug, FromRow)]
pub struct Peer {
    pub id: String,
    pub server_id: String,
    pub slot: i64,
    pub holder_id: Option<String>,
    pub reserved_by_order: Option<String>,
    pub public_key: Option<String>,
}

#[derive(Debug, FromRow)]
pub struct Key {
    pub public_key: String,
    pub subscription_id: String,
}

#[derive(Debug, FromRow)]
pub struct PrivateKey {
    pub public_key: String,
    pub order_id: String,
}

#[derive(Debug, FromRow)]
pub struct Event {
    #[sqlx(rename = "type")]
    pub name: String,
    pub subject_id: String,
    pub sequence: i64,
}

#[derive(Debug, FromRow)]
pub struct Remembered {
    pub order_id: String,
}

#[derive(Debug, FromRow)]
pub struct Position {
    pub node_id: String,
    pub settle_index: i64,
    pub payment_hash: String,
}

macro_rules! rows {
    ($connection:expr, $sql:literal) => {
        sqlx::query_as($sql).fetch_all(&mut *$connection).await.unwrap()
    };
}

impl Books {
    /// The database first: what settles meanwhile is then missing in it, and a second reading finds it there.
    pub async fn read(
        (node, stripe): (&Node, &Stripe),
        taken: BTreeSet<String>,
        database: &mut AnyConnection,
        config: &config::Config,
        claimed: &[Config],
    ) -> Self {
        let pools = config.servers.iter().map(|server| (server.id.to_string(), server.pool.clone()));
        let mut books = Self {
            shop: config.service.name.clone(),
            node: String::new(),
            pools: pools.collect(),
            bonuses: config.bonuses.clone(),
            invoices: Vec::new(),
            pages: Vec::new(),
            taken,
            orders: rows!(
                database,
                "SELECT id, kind, target_id, subscription_id, public_key, account_id, referral_code, months, amount_msat, \
                 payment_hash, price_cents, checkout_session, state, invoice, add_index, invoice_expires_at, paid_at, \
                 created_at FROM orders ORDER BY id"
            ),
            payments: rows!(
                database,
                "SELECT id, provider, external_id, order_id, unit, amount, excess, refunded, settled_at, recorded_at, \
                 outcome FROM payments ORDER BY id"
            ),
            disputes: rows!(database, "SELECT id, order_id, outcome FROM disputes ORDER BY id"),
            applied_events: rows!(database, "SELECT id FROM stripe_events"),
            codes: rows!(database, "SELECT code, account_id FROM referral_codes"),
            grants: rows!(
                database,
                "SELECT order_id, kind, subscription_id, sequence, account_id, months, days, granted_at, revoked_at \
                 FROM grants ORDER BY subscription_id, sequence"
            ),
            subscriptions: rows!(
                database,
                "SELECT id, founded_by, account_id, server_id, ends_at, standing FROM subscriptions ORDER BY id"
            ),
            resets: rows!(
                database,
                "SELECT subscription_id, CAST(sum(resets) AS BIGINT) AS resets FROM monthly_usage GROUP BY subscription_id"
            ),
            servers: rows!(database, "SELECT id, slots_held, slots_reserved FROM servers ORDER BY id"),
            slots: rows!(database, "SELECT server_id, n, peer_id FROM slots WHERE peer_id IS NOT NULL"),
            peers: rows!(
                database,
                "SELECT id, server_id, slot, holder_id, reserved_by_order, public_key FROM peers ORDER BY id"
            ),
            keys: rows!(
                database,
                "SELECT public_key, subscription_id FROM subscription_keys WHERE released_at IS NULL"
            ),
            private_keys: rows!(database, "SELECT public_key, order_id FROM private_keys"),
            events: rows!(database, "SELECT type, subject_id, sequence FROM events ORDER BY subject_id, sequence"),
            remembered: rows!(database, "SELECT order_id FROM idempotency_keys"),
            positions: rows!(database, "SELECT node_id, settle_index, payment_hash FROM settlement_cursor"),
            claimed: claimed.to_vec(),
        };
        books.ask(node).await;
        books.pages = stripe.pages();
        books
    }

    async fn ask(&mut self, node: &Node) {
        self.node = node.info().await.unwrap().id.to_string();
        let mut after = 0;
        loop {
            let page = node.list_invoices(after, PAGE).await.unwrap();
            assert_eq!(page.left_out, 0, "an invoice that cannot be read");
            self.invoices.extend(page.invoices);
            if page.last_index <= after {
                return;
            }
            after = page.last_index;
        }
    }

    pub fn orders_in(&self, state: &str) -> usize {
        self.orders.iter().filter(|order| order.state == state).count()
    }

    /// The invoices that the shop made.
    pub fn ours(&self) -> impl Iterator<Item = &NodeInvoice> {
        self.invoices.iter().filter(|invoice| self.named_order(invoice).is_some())
    }

    /// The order that the memo of an invoice of ours names.
    pub fn named_order<'i>(&self, invoice: &'i NodeInvoice) -> Option<&'i str> {
        invoice.memo.strip_prefix(&self.shop)?.strip_prefix(" subscription ")
    }

    /// Those that were paid.
    pub fn settled(&self) -> impl Iterator<Item = (&NodeInvoice, Settlement)> {
        self.ours().filter_map(|invoice| Some((invoice, settlement(invoice)?)))
    }
}

pub fn settlement(invoice: &NodeInvoice) -> Option<Settlement> {
    match invoice.state {
        InvoiceState::Settled(settlement) => Some(settlement),
        _ => None,
    }
}
