//! A database as it is after a million orders: a tenth is pending at the node, the others were paid over the years.
//!
//! The rows are those that the service itself would have left, written in bulk. Pending orders are real: their hashes
//! follow from the instance key, the node has their invoices, and each has its slot. Of the paid ones the newest hold
//! their slots; the hashes of paid orders follow from their numbers, and they share one invoice text, which nobody reads.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};
use uuid::{Builder, Uuid};
use wiretoll::app::App;
use wiretoll::clock::Clock;
use wiretoll::config::Config;
use wiretoll::domain::lightning::PaymentHash;
use wiretoll::domain::money::Msats;
use wiretoll::domain::time::{DAY, Timestamp};
use wiretoll::lifecycle;
use wiretoll::lnd::NewInvoice;
use wiretoll::store::Store;

use crate::shop::{FIRST_FOR_SALE, SERVERS, SLOTS_EACH, server_id};

/// One in so many is pending.
const PENDING_SHARE: u32 = 10;
/// The newest of the paid orders hold their slots.
const MOST_HELD: u32 = 30_000;
const PRICE_MSAT: u64 = 4_500_000;
/// As many as the client of the node asks for at a time.
const INVOICES_AT_A_TIME: usize = 8;
const ROWS_A_STATEMENT: usize = 400;
const STATEMENTS_A_TRANSACTION: usize = 100;

/// The payment hashes of what is in a database.
#[derive(Debug)]
pub struct Stock {
    pub pending: Vec<PaymentHash>,
    pub paid: Vec<PaymentHash>,
}

/// An order to be written.
struct Row {
    id: Uuid,
    hash: PaymentHash,
    created_at: Timestamp,
    state: State,
}

enum State {
    Pending {
        invoice: String,
        add_index: u64,
    },
    /// Paid, and its hold is over.
    Released,
    Held,
}

/// What follows from the orders, in one text for both engines. Ids differ from the order's in their first digit.
const DERIVED: [&str; 6] = [
    "INSERT INTO subscriptions (id, founded_by, server_id, ends_at, standing, created_at, revision) \
     SELECT 'f' || substr(id, 2), id, server_id, paid_at + 2592000000, \
     CASE WHEN EXISTS (SELECT 1 FROM peers WHERE holder_kind = 'subscription' \
     AND holder_id = 'f' || substr(orders.id, 2) AND superseded_at IS NULL) THEN 'held' ELSE 'released' END, \
     paid_at, 0 FROM orders WHERE state = 'paid'",
    "INSERT INTO grants (id, order_id, kind, subscription_id, sequence, months, granted_at) \
     SELECT 'e' || substr(id, 2), id, 'purchase', 'f' || substr(id, 2), 0, 1, paid_at FROM orders WHERE state = 'paid'",
    "INSERT INTO payments (id, provider, external_id, order_id, unit, amount, excess, settled_at, recorded_at, outcome) \
     SELECT 'd' || substr(id, 2), 'lightning', payment_hash, id, 'msat', amount_msat, 0, paid_at, paid_at, 'applied' \
     FROM orders WHERE state = 'paid'",
    "INSERT INTO events (id, type, subject_kind, subject_id, sequence, occurred_at, schema_version, data, fanned_out_at) \
     SELECT 'c' || substr(id, 2), 'order.created', 'order', id, 0, created_at, 1, '{}', created_at FROM orders",
    "UPDATE slots SET peer_id = (SELECT id FROM peers WHERE peers.server_id = slots.server_id AND peers.slot = slots.n) \
     WHERE server_id IN (SELECT server_id FROM peers)",
    "UPDATE servers SET slots_held = (SELECT count(*) FROM peers WHERE server_id = servers.id AND holder_id IS NOT NULL), \
     slots_reserved = (SELECT count(*) FROM peers WHERE server_id = servers.id AND reserved_by_order IS NOT NULL)",
];

/// Fills an empty database with `orders` orders.
pub async fn fill(config: &Config, url: &str, orders: u32) -> anyhow::Result<Stock> {
    Store::open(&config.database).await?.close().await;
    let mut connection = AnyConnection::connect(url).await?;
    // Only while it is filled; the service sets its own.
    if url.starts_with("sqlite:") {
        run(&mut connection, "PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; PRAGMA cache_size = -500000")
            .await?;
    }
    enter_servers(&mut connection, config).await?;
    // As the service would start: it makes the instance key and finds its servers as they are configured.
    let app = lifecycle::open(config, Clock::System).await?;
    let rows = rows(&app, orders).await?;
    insert(&mut connection, &rows).await?;
    if orders > 0 {
        for sql in DERIVED {
            run(&mut connection, sql).await?;
        }
    }
    let settle = if url.starts_with("sqlite:") { "PRAGMA wal_checkpoint(TRUNCATE)" } else { "VACUUM ANALYZE" };
    run(&mut connection, settle).await?;
    connection.close().await?;
    app.store.close().await;
    let of =
        |wanted: fn(&State) -> bool| rows.iter().filter(move |row| wanted(&row.state)).map(|row| row.hash).collect();
    Ok(Stock {
        pending: of(|state| matches!(state, State::Pending { .. })),
        paid: of(|state| !matches!(state, State::Pending { .. })),
    })
}

/// The servers with their slots, as the first start enters them, but in bulk.
async fn enter_servers(connection: &mut AnyConnection, config: &Config) -> anyhow::Result<()> {
    let now = Clock::System.now().millis();
    for server in &config.servers {
        let (id, network, port) = (&server.id, server.pool.network(), server.pool.first_port());
        let sql = format!(
            "INSERT INTO servers (id, network, first_port, slots_total, slots_held, slots_reserved, peer_revision, created_at) \
             VALUES ('{id}', '{network}', {port}, {SLOTS_EACH}, 0, 0, 0, {now}); \
             INSERT INTO slots (server_id, n, released_at) WITH RECURSIVE numbers (n) AS \
             (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {SLOTS_EACH} - 1) SELECT '{id}', n, 0 FROM numbers"
        );
        run(connection, &sql).await?;
    }
    Ok(())
}

async fn rows(app: &App, orders: u32) -> anyhow::Result<Vec<Row>> {
    let (now, pending) = (app.clock.now(), orders / PENDING_SHARE);
    let held = MOST_HELD.min(orders / PENDING_SHARE);
    let paid = (0..orders - pending).map(|n| {
        let is_held = n >= orders - pending - held;
        // Ten days ago, or before that, a quarter of a minute apart.
        let age = if is_held { 10 * DAY } else { 100 * DAY + i64::from(orders - n) * 15_000 };
        let created_at = now.plus_millis(-age);
        let hash = PaymentHash::from_bytes(Sha256::digest(n.to_be_bytes()).into());
        Row { id: id(created_at, n), hash, created_at, state: if is_held { State::Held } else { State::Released } }
    });
    let mut rows: Vec<_> = paid.collect();
    let invoices = stream::iter(0..pending).map(|n| place(app, id(now, orders + n), now));
    rows.extend(invoices.buffered(INVOICES_AT_A_TIME).try_collect::<Vec<_>>().await?);
    Ok(rows)
}

/// A UUIDv7 of that time; the number makes it unique.
fn id(at: Timestamp, n: u32) -> Uuid {
    let mut rest = [0; 10];
    rest[6..].copy_from_slice(&n.to_be_bytes());
    Builder::from_unix_timestamp_millis(at.millis().unsigned_abs(), &rest).into_uuid()
}

/// A pending order, with its invoice at the node.
async fn place(app: &App, id: Uuid, created_at: Timestamp) -> anyhow::Result<Row> {
    let preimage = app.keyring.get(app.keyring.current())?.preimage(id);
    let hash = preimage.payment_hash();
    let expiry = Duration::from_hours(24);
    let amount = Msats::new(PRICE_MSAT);
    let new = NewInvoice { preimage, amount, memo: app.shop.memo(id), expiry, private_route_hints: false };
    let added = app.node.add_invoice(&new).await?;
    let state = State::Pending { invoice: added.payment_request, add_index: added.add_index };
    Ok(Row { id, hash, created_at, state })
}

async fn insert(connection: &mut AnyConnection, rows: &[Row]) -> anyhow::Result<()> {
    let any_invoice = rows.iter().find_map(|row| match &row.state {
        State::Pending { invoice, .. } => Some(invoice.as_str()),
        _ => None,
    });
    let any_invoice = any_invoice.unwrap_or_default();
    let mut slots = (0..FIRST_FOR_SALE).cycle().zip((0..SLOTS_EACH).flat_map(|n| (0..FIRST_FOR_SALE).map(move |_| n)));
    for (batch, rows) in rows.chunks(ROWS_A_STATEMENT).enumerate() {
        if batch % STATEMENTS_A_TRANSACTION == 0 {
            run(connection, if batch == 0 { "BEGIN" } else { "COMMIT; BEGIN" }).await?;
        }
        let (mut orders, mut peers) = (String::new(), String::new());
        for row in rows {
            let slot = if matches!(row.state, State::Released) { None } else { slots.next() };
            let server = slot.map_or(u32::from(row.id.as_bytes()[15]) % SERVERS, |(server, _)| server);
            write_order(&mut orders, row, server, any_invoice)?;
            if let Some((server, n)) = slot {
                write_peer(&mut peers, row, server, n)?;
            }
        }
        run(connection, &format!("{ORDERS}{}", orders.trim_end_matches(','))).await?;
        if !peers.is_empty() {
            run(connection, &format!("{PEERS}{}", peers.trim_end_matches(','))).await?;
        }
    }
    if rows.is_empty() { Ok(()) } else { run(connection, "COMMIT").await }
}

const ORDERS: &str = "INSERT INTO orders (id, key_id, kind, rail, server_id, subscription_id, requires_claim_token, months, \
     amount_msat, origin, payment_hash, state, invoice, add_index, invoice_expires_at, paid_at, closed_at, created_at, revision) VALUES ";

const PEERS: &str = "INSERT INTO peers (id, server_id, slot, holder_kind, holder_id, reserved_by_order, generation, created_at) VALUES ";

fn write_order(sql: &mut String, row: &Row, server: u32, any_invoice: &str) -> std::fmt::Result {
    let (id, hash, created) = (row.id, row.hash, row.created_at.millis());
    let expires = created + DAY;
    let server = server_id(server);
    write!(sql, "('{id}',1,'new','lightning','{server}',")?;
    match &row.state {
        State::Pending { invoice, add_index } => write!(
            sql,
            "NULL,0,1,{PRICE_MSAT},'{}','{hash}','pending','{invoice}',{add_index},{expires},NULL,NULL,{created},1),",
            &hash.to_string()[..32],
        ),
        State::Released | State::Held => write!(
            sql,
            "'{}',0,1,{PRICE_MSAT},NULL,'{hash}','paid','{any_invoice}',NULL,{expires},{created},{created},{created},2),",
            beginning_with('f', row.id),
        ),
    }
}

fn write_peer(sql: &mut String, row: &Row, server: u32, n: u32) -> std::fmt::Result {
    let (id, server, created) = (beginning_with('b', row.id), server_id(server), row.created_at.millis());
    match row.state {
        State::Pending { .. } => write!(sql, "('{id}','{server}',{n},NULL,NULL,'{}',0,{created}),", row.id),
        State::Released | State::Held => {
            let holder = beginning_with('f', row.id);
            write!(sql, "('{id}','{server}',{n},'subscription','{holder}',NULL,0,{created}),")
        }
    }
}

fn beginning_with(digit: char, id: Uuid) -> String {
    format!("{digit}{}", &id.to_string()[1..])
}

async fn run(connection: &mut AnyConnection, sql: &str) -> anyhow::Result<()> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await;
    done.map(drop).with_context(|| format!("refused: {}", sql.chars().take(120).collect::<String>()))
}
