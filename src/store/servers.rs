//! Servers as the database knows them: the pool that sold addresses derive from, and how full it is.

use sqlx::AssertSqlSafe;

use super::connections::Ask as _;
use super::row::Record;
use super::{Error, Result, Store, Tx};
use crate::domain::desired::Terms;
use crate::domain::server::{Pool, Server, ServerId};
use crate::domain::subscription::Holds;
use crate::domain::time::Timestamp;

/// Rows of one statement: a large pool is entered in a moment.
const SLOTS_AT_ONCE: usize = 500;

/// How full a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupancy {
    pub server: ServerId,
    pub total: i64,
    /// By subscriptions, and by peers that were taken away and that the server's agent has not said to be gone.
    pub held: i64,
    pub reserved: i64,
    /// Whether any slot can be taken at this moment; one in quarantine cannot.
    pub has_free: bool,
    /// Nothing new is sold there, by the operator's word.
    pub is_drained: bool,
}

impl Occupancy {
    /// Whether one more slot may be reserved: unpaid orders hold at most half, rounded up, of what nobody has bought.
    pub const fn takes_orders(&self) -> bool {
        self.has_free && !self.is_drained && self.reserved < (self.total - self.held + 1) / 2
    }
}

impl Store {
    pub async fn occupancy(&self, now: Timestamp) -> Result<Vec<Occupancy>> {
        let rows = sqlx::query(
            "SELECT id, slots_total, slots_held, slots_reserved, drained_at, (SELECT min(n) FROM slots WHERE server_id = servers.id \
             AND peer_id IS NULL AND released_at <= $1) AS free FROM servers ORDER BY id",
        )
        .bind(now.millis())
        .all_from(&self.reader)
        .await?;
        let occupancy = rows.iter().map(|row| {
            let record = Record::new("servers", row);
            Ok(Occupancy {
                server: record.parsed("id", ServerId::parse(&record.text("id")?))?,
                total: record.integer("slots_total")?,
                held: record.integer("slots_held")?,
                reserved: record.integer("slots_reserved")?,
                has_free: record.optional_integer("free")?.is_some(),
                is_drained: record.optional_time("drained_at")?.is_some(),
            })
        });
        occupancy.collect()
    }
}

impl Tx {
    /// Enters a configured server with its slots, or checks that its pool is still the one that was sold from.
    ///
    /// # Errors
    /// [`Error::Refused`] when the network or first port changed, or the pool shrank: addresses would move under customers.
    pub async fn sync_server(&mut self, server: &Server, now: Timestamp) -> Result<()> {
        sqlx::query(
            "INSERT INTO servers (id, network, first_port, slots_total, slots_held, slots_reserved, peer_revision, created_at) \
             VALUES ($1, $2, $3, 0, 0, 0, 0, $4) ON CONFLICT (id) DO NOTHING",
        )
        .bind(server.id.as_str())
        .bind(server.pool.network().to_string())
        .bind(i64::from(server.pool.first_port()))
        .bind(now.millis())
        .execute(&mut *self.inner)
        .await?;
        let row = sqlx::query(
            "SELECT id, network, first_port, slots_total, slots_held + slots_reserved AS taken FROM servers WHERE id = $1",
        )
        .bind(server.id.as_str())
        .fetch_one(&mut *self.inner)
        .await?;
        let record = Record::new("servers", &row);
        if check_unmoved(&server.id, &server.pool, &record).is_ok() {
            return self.add_slots(server, record.integer("slots_total")?).await;
        }
        if record.integer("taken")? > 0 {
            return check_unmoved(&server.id, &server.pool, &record);
        }
        self.replace_pool(server).await
    }

    /// Terms that are not those that the server's agent was told last are a change of all of its peers: so it is told
    /// everything anew, and does not seem to have other peers than it should.
    pub async fn tell_terms(&mut self, server: &Server, holds: Holds) -> Result<()> {
        let terms = format!("{:?}, {:?}, grace {}", Terms::of(server), server.public_key, holds.grace_millis);
        sqlx::query(
            "UPDATE servers SET told_terms = $2, peer_revision = peer_revision + 1, pruned_revision = peer_revision + 1 \
             WHERE id = $1 AND (told_terms IS NULL OR told_terms <> $2)",
        )
        .bind(server.id.as_str())
        .bind(terms)
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Nothing was sold from the old pool, so no customer's address depends on it.
    async fn replace_pool(&mut self, server: &Server) -> Result<()> {
        sqlx::query("DELETE FROM slots WHERE server_id = $1")
            .bind(server.id.as_str())
            .execute(&mut *self.inner)
            .await?;
        sqlx::query("UPDATE servers SET network = $2, first_port = $3, slots_total = 0 WHERE id = $1")
            .bind(server.id.as_str())
            .bind(server.pool.network().to_string())
            .bind(i64::from(server.pool.first_port()))
            .execute(&mut *self.inner)
            .await?;
        self.add_slots(server, 0).await
    }

    /// Servers that a subscription or an open order has a slot on.
    pub async fn servers_in_use(&mut self) -> Result<Vec<ServerId>> {
        let rows = sqlx::query("SELECT id FROM servers WHERE slots_held + slots_reserved > 0 ORDER BY id")
            .fetch_all(&mut *self.inner)
            .await?;
        let ids = rows.iter().map(|row| {
            let record = Record::new("servers", row);
            record.parsed("id", ServerId::parse(&record.text("id")?))
        });
        ids.collect()
    }

    async fn add_slots(&mut self, server: &Server, known: i64) -> Result<()> {
        let all: Vec<_> = server.pool.slots().collect();
        let slots = i64::try_from(all.len()).unwrap_or(i64::MAX);
        if slots == known {
            return Ok(());
        }
        for some in all.chunks(SLOTS_AT_ONCE) {
            let rows: Vec<_> = some.iter().map(|slot| format!("($1, {}, 0)", slot.0)).collect();
            let sql = format!(
                "INSERT INTO slots (server_id, n, released_at) VALUES {} ON CONFLICT DO NOTHING",
                rows.join(", ")
            );
            // Only numbers were put into the text.
            let insert = sqlx::query(AssertSqlSafe(sql)).bind(server.id.as_str()).persistent(false);
            insert.execute(&mut *self.inner).await?;
        }
        sqlx::query("UPDATE servers SET slots_total = $2 WHERE id = $1")
            .bind(server.id.as_str())
            .bind(slots)
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }
}

fn check_unmoved(id: &ServerId, pool: &Pool, record: &Record<'_>) -> Result<()> {
    let (network, first_port) = (record.text("network")?, record.integer("first_port")?);
    if network != pool.network().to_string() || first_port != i64::from(pool.first_port()) {
        return Err(Error::Refused(format!(
            "server {id} was sold from {network} with ports from {first_port}: these cannot change, \
             because customers' addresses follow from them"
        )));
    }
    let known = record.integer("slots_total")?;
    if known > i64::try_from(pool.slots().count()).unwrap_or(i64::MAX) {
        return Err(Error::Refused(format!("server {id} has {known} slots already: its capacity can only grow")));
    }
    Ok(())
}
