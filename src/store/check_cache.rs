//! What checks read, for the next ones: a customer who waits for a payment asks again and again.
//!
//! Only orders that wait for their payment are kept, so no answer of "paid" ever comes from here. What is kept counts
//! until the next commit of this process, whatever that changes: no writer can forget to tell, and a shop commits a few
//! times a second at most. What another process commits (a replica, a command of the operator) is seen at most
//! [`LIFETIME`] late.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::CheckedOrder;
use crate::domain::lightning::PaymentHash;
use crate::domain::order::OrderState;

/// What others commit may be overlooked for so long.
const LIFETIME: Duration = Duration::from_millis(200);
/// About a kilobyte each.
const MOST: usize = 20_000;
/// Looking through all of them takes as long as some checks.
const MAKE_ROOM_EVERY: Duration = Duration::from_secs(1);

/// Orders as checks saw them. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct CheckCache(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    orders: HashMap<PaymentHash, (CheckedOrder, Moment)>,
    /// When a look began that found no commit of others since the look before.
    looked: Option<Instant>,
    made_room: Option<Instant>,
}

/// When something is read: taken before the database is asked.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// So many commits of this process had been made; none where one was being made.
    pub commits: Option<u64>,
    pub at: Instant,
}

impl CheckCache {
    pub fn get(&self, hash: PaymentHash, now: Moment) -> Option<CheckedOrder> {
        let kept = self.lock();
        let (checked, read) = kept.orders.get(&hash)?;
        kept.holds(*read, now).then(|| checked.clone())
    }

    /// Keeps the order of this hash.
    pub fn keep(&self, hash: PaymentHash, checked: &CheckedOrder, read: Moment) {
        if read.commits.is_some() && matches!(checked.order.state, OrderState::Pending(_)) {
            self.lock().keep(hash, checked, read);
        }
    }

    /// Nobody else had committed anything since the last look when this one began.
    pub fn looked(&self, began: Instant) {
        self.lock().looked = Some(began);
    }

    pub fn is_empty(&self) -> bool {
        self.lock().orders.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing that holds the lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn holds(&self, read: Moment, now: Moment) -> bool {
        let is_recent = |at: Instant| now.at.saturating_duration_since(at) < LIFETIME;
        read.commits == now.commits && (is_recent(read.at) || self.looked.is_some_and(is_recent))
    }

    fn keep(&mut self, hash: PaymentHash, checked: &CheckedOrder, read: Moment) {
        if self.orders.len() >= MOST && !self.orders.contains_key(&hash) && !self.make_room(read) {
            return;
        }
        self.orders.insert(hash, (checked.clone(), read));
    }

    fn make_room(&mut self, now: Moment) -> bool {
        if self.made_room.is_some_and(|at| now.at.saturating_duration_since(at) < MAKE_ROOM_EVERY) {
            return false;
        }
        self.made_room = Some(now.at);
        // Also those that nobody asked about again: whoever still asks is entered anew.
        self.orders.retain(|_, (_, read)| now.at.saturating_duration_since(read.at) < LIFETIME);
        self.orders.len() < MOST
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::instance_key::KeyId;
    use crate::domain::money::{Quote, Sats};
    use crate::domain::order::{ClaimBy, Order, OrderKind, Rail, ShownInvoice};
    use crate::domain::server::ServerId;
    use crate::domain::time::Timestamp;

    fn hash(n: usize) -> PaymentHash {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        PaymentHash::from_bytes(bytes)
    }

    fn order(n: usize, state: OrderState) -> CheckedOrder {
        let order = Order {
            id: Uuid::nil(),
            key_id: KeyId(1),
            kind: OrderKind::New { months: 1 },
            server_id: ServerId::parse("eu-de").unwrap(),
            public_key: None,
            claim_by: ClaimBy::PaymentHash,
            rail: Rail::Lightning {
                payment_hash: hash(n),
                quote: Quote { amount: Sats::new(4_500), usd: None, rate: None },
            },
            created_at: Timestamp::EPOCH,
            state,
            account: None,
            subscription_id: None,
            revision: 1,
        };
        CheckedOrder { order, subscription: None, is_installed: false }
    }

    fn invoice() -> ShownInvoice {
        ShownInvoice { text: "lnbc1".into(), expires_at: Timestamp::EPOCH }
    }

    fn pending(n: usize) -> CheckedOrder {
        order(n, OrderState::Pending(invoice()))
    }

    fn now(commits: u64) -> Moment {
        Moment { commits: Some(commits), at: Instant::now() }
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_counts_until_the_next_commit() {
        let cache = CheckCache::default();
        cache.keep(hash(1), &pending(1), now(7));
        assert!(cache.get(hash(1), now(7)).is_some());
        assert!(cache.get(hash(1), now(8)).is_none());
        // Read before a commit and kept after it: it may be old.
        cache.keep(hash(1), &pending(1), now(7));
        assert!(cache.get(hash(1), now(8)).is_none());
        let while_committing = Moment { commits: None, at: Instant::now() };
        cache.keep(hash(2), &pending(2), while_committing);
        assert!(cache.get(hash(2), while_committing).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_counts_200_ms_or_as_long_as_nobody_else_writes() {
        let cache = CheckCache::default();
        cache.keep(hash(1), &pending(1), now(0));
        tokio::time::advance(Duration::from_millis(199)).await;
        assert!(cache.get(hash(1), now(0)).is_some());
        let looked = Instant::now();
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(cache.get(hash(1), now(0)).is_none());
        cache.looked(looked);
        tokio::time::advance(Duration::from_millis(198)).await;
        assert!(cache.get(hash(1), now(0)).is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(cache.get(hash(1), now(0)).is_none());
    }

    #[tokio::test]
    async fn only_what_waits_for_its_payment_is_kept() {
        let cache = CheckCache::default();
        let paid_at = Timestamp::EPOCH;
        cache.keep(hash(1), &order(1, OrderState::Creating), now(0));
        cache.keep(hash(2), &order(2, OrderState::Paid { invoice: invoice(), paid_at }), now(0));
        cache.keep(hash(3), &order(3, OrderState::Expired { invoice: invoice(), closed_at: paid_at }), now(0));
        assert!(cache.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn its_memory_is_bounded() {
        let cache = CheckCache::default();
        (0..MOST + 100).for_each(|n| cache.keep(hash(n), &pending(n), now(0)));
        assert_eq!(cache.lock().orders.len(), MOST);
        tokio::time::advance(Duration::from_secs(1)).await;
        cache.keep(hash(MOST), &pending(MOST), now(0));
        assert_eq!(cache.lock().orders.len(), 1);
    }
}
