//! Slots and reservations: an address and port are set aside before an invoice is shown, and given back when it is dead.
//!
//! Whoever takes or gives back a slot changes the server's counts first, which locks that row: so two takers of one
//! server follow each other, and the counts are exact.

use uuid::Uuid;

use super::peers::{StoredPeer, stored_peer_from};
use super::row::Record;
use super::{Result, Tx};
use crate::domain::server::{ServerId, Slot};
use crate::domain::time::Timestamp;

/// What became of a wish for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reservation {
    Taken(Slot),
    /// No free slot, or unpaid reservations hold half of what no subscription has, or nothing new is sold there.
    SoldOut,
}

/// Who is to have a slot.
enum Taker {
    Order(Uuid),
    Subscription(Uuid),
}

impl Tx {
    /// Counts a slot for an unpaid order, and locks the server's counts: at most half (rounded up) of the slots that no
    /// subscription holds. False where there are so many already.
    pub async fn promise_slot(&mut self, server: &ServerId) -> Result<bool> {
        let within = sqlx::query(
            "UPDATE servers SET slots_reserved = slots_reserved + 1 \
             WHERE id = $1 AND drained_at IS NULL AND slots_reserved < (slots_total - slots_held + 1) / 2",
        )
        .bind(server.as_str())
        .execute(&mut *self.inner)
        .await?;
        Ok(within.rows_affected() == 1)
    }

    /// Takes the slot that was promised to an order.
    pub async fn reserve_slot(
        &mut self,
        server: &ServerId,
        order: Uuid,
        peer: Uuid,
        now: Timestamp,
    ) -> Result<Reservation> {
        self.take(server, peer, &Taker::Order(order), now).await
    }

    /// A slot for a subscription that is paid for already: a late payment or renewal whose own slot is gone.
    pub async fn take_slot(
        &mut self,
        server: &ServerId,
        subscription: Uuid,
        peer: Uuid,
        now: Timestamp,
    ) -> Result<Reservation> {
        let within = sqlx::query(
            "UPDATE servers SET slots_held = slots_held + 1 WHERE id = $1 AND slots_held + slots_reserved < slots_total",
        )
        .bind(server.as_str())
        .execute(&mut *self.inner)
        .await?;
        if within.rows_affected() == 0 {
            return Ok(Reservation::SoldOut);
        }
        self.take(server, peer, &Taker::Subscription(subscription), now).await
    }

    /// Takes the slot that was released the longest ago. When none is free the counts are put back as they were.
    async fn take(&mut self, server: &ServerId, peer: Uuid, taker: &Taker, now: Timestamp) -> Result<Reservation> {
        let slot_row = sqlx::query(
            "UPDATE slots SET peer_id = $1 WHERE server_id = $2 AND peer_id IS NULL AND n = (SELECT n FROM slots \
             WHERE server_id = $2 AND peer_id IS NULL AND released_at <= $3 ORDER BY released_at, n LIMIT 1) \
             RETURNING n",
        )
        .bind(peer.to_string())
        .bind(server.as_str())
        .bind(now.millis())
        .fetch_optional(&mut *self.inner)
        .await?;
        let Some(row) = slot_row else {
            self.uncount(server, taker).await?;
            return Ok(Reservation::SoldOut);
        };
        let slot = Slot(Record::new("slots", &row).unsigned_u32("n")?);
        self.insert_peer(server, slot, peer, taker, now).await?;
        Ok(Reservation::Taken(slot))
    }

    async fn insert_peer(
        &mut self,
        server: &ServerId,
        slot: Slot,
        peer: Uuid,
        taker: &Taker,
        now: Timestamp,
    ) -> Result<()> {
        let (order, kind, holder) = match taker {
            Taker::Order(order) => (Some(order.to_string()), None, None),
            Taker::Subscription(holder) => (None, Some("subscription"), Some(holder.to_string())),
        };
        sqlx::query(
            "INSERT INTO peers (id, server_id, slot, holder_kind, holder_id, reserved_by_order, generation, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, 0, $7)",
        )
        .bind(peer.to_string())
        .bind(server.as_str())
        .bind(i64::from(slot.0))
        .bind(kind)
        .bind(holder)
        .bind(order)
        .bind(now.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    async fn uncount(&mut self, server: &ServerId, taker: &Taker) -> Result<()> {
        let sql = match taker {
            Taker::Order(_) => "UPDATE servers SET slots_reserved = slots_reserved - 1 WHERE id = $1",
            Taker::Subscription(_) => "UPDATE servers SET slots_held = slots_held - 1 WHERE id = $1",
        };
        sqlx::query(sql).bind(server.as_str()).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Gives an order's reservation to the subscription that it paid for.
    pub async fn hold_reserved_slot(&mut self, order: Uuid, subscription: Uuid) -> Result<Option<StoredPeer>> {
        let row = sqlx::query(
            "UPDATE peers SET holder_kind = 'subscription', holder_id = $2, reserved_by_order = NULL \
             WHERE reserved_by_order = $1 \
             RETURNING id, server_id, slot, public_key, key_id, sealed_preshared_key",
        )
        .bind(order.to_string())
        .bind(subscription.to_string())
        .fetch_optional(&mut *self.inner)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let peer = stored_peer_from(&row)?;
        sqlx::query(
            "UPDATE servers SET slots_reserved = slots_reserved - 1, slots_held = slots_held + 1 WHERE id = $1",
        )
        .bind(peer.server_id.as_str())
        .execute(&mut *self.inner)
        .await?;
        Ok(Some(peer))
    }

    /// Gives back what an order had reserved. Never installed, so it needs no quarantine.
    pub async fn release_reservation(&mut self, order: Uuid, now: Timestamp) -> Result<()> {
        let row = sqlx::query("DELETE FROM peers WHERE reserved_by_order = $1 RETURNING id, server_id")
            .bind(order.to_string())
            .fetch_optional(&mut *self.inner)
            .await?;
        let Some(row) = row else { return Ok(()) };
        let record = Record::new("peers", &row);
        let server = record.text("server_id")?;
        sqlx::query("UPDATE servers SET slots_reserved = slots_reserved - 1 WHERE id = $1")
            .bind(server.as_str())
            .execute(&mut *self.inner)
            .await?;
        self.free(record.id("id")?, now).await
    }

    /// Takes a subscription's peer away. Its slot rests until `free_from`; where the server has an agent, it stays taken,
    /// and counts as held, until that says that the peer is gone.
    pub async fn release_held_slot(&mut self, subscription: Uuid, free_from: Timestamp, now: Timestamp) -> Result<()> {
        let row = sqlx::query(
            "UPDATE servers SET peer_revision = peer_revision + 1 WHERE id = (SELECT server_id FROM peers WHERE \
             holder_kind = 'subscription' AND holder_id = $1 AND superseded_at IS NULL) \
             RETURNING id, peer_revision, agent_seen_at",
        )
        .bind(subscription.to_string())
        .fetch_optional(&mut *self.inner)
        .await?;
        let Some(row) = row else { return Ok(()) };
        let server = Record::new("servers", &row);
        let gone = sqlx::query(
            "DELETE FROM peers WHERE holder_kind = 'subscription' AND holder_id = $1 AND superseded_at IS NULL \
             RETURNING id, slot, generation, created_at",
        )
        .bind(subscription.to_string())
        .fetch_one(&mut *self.inner)
        .await?;
        let peer = Record::new("peers", &gone);
        // One that never had a key is on no server; one whose key was taken away may still be.
        let is_gone = server.optional_time("agent_seen_at")?.is_none() || peer.integer("generation")? == 0;
        sqlx::query(
            "INSERT INTO removed_peers (peer_id, server_id, slot, subscription_id, revision, held_from, removed_at, gone_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(peer.text("id")?)
        .bind(server.text("id")?)
        .bind(peer.integer("slot")?)
        .bind(subscription.to_string())
        .bind(server.integer("peer_revision")?)
        .bind(peer.integer("created_at")?)
        .bind(now.millis())
        .bind(is_gone.then_some(now.millis()))
        .execute(&mut *self.inner)
        .await?;
        if is_gone { self.free_held(&server.text("id")?, peer.id("id")?, free_from).await } else { Ok(()) }
    }

    /// Gives back the slot of a peer that is gone from its server.
    pub(super) async fn free_held(&mut self, server: &str, peer: Uuid, free_from: Timestamp) -> Result<()> {
        sqlx::query("UPDATE servers SET slots_held = slots_held - 1 WHERE id = $1")
            .bind(server.to_owned())
            .execute(&mut *self.inner)
            .await?;
        self.free(peer, free_from).await
    }

    async fn free(&mut self, peer: Uuid, free_from: Timestamp) -> Result<()> {
        sqlx::query("UPDATE slots SET peer_id = NULL, released_at = $2 WHERE peer_id = $1")
            .bind(peer.to_string())
            .bind(free_from.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }
}
