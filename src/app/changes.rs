//! Who waits for an order or a server to change is woken here: long polls, event streams, claims and agents.
//!
//! Within one process a change is announced. Among replicas on Postgres `workers::replicas` looks at the orders that
//! somebody waits for, and announces what moved.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// What somebody waits for.
#[derive(Debug, Clone)]
pub struct Changes<K: Clone + Eq + Hash> {
    waiting: Arc<Mutex<HashMap<K, watch::Sender<u64>>>>,
}

/// A wait for one thing; dropping the last one forgets it.
#[derive(Debug)]
pub struct Waiter<K: Clone + Eq + Hash> {
    changes: Changes<K>,
    key: K,
    receiver: Option<watch::Receiver<u64>>,
}

impl<K: Clone + Eq + Hash> Default for Changes<K> {
    fn default() -> Self {
        Self { waiting: Arc::default() }
    }
}

impl<K: Clone + Eq + Hash> Changes<K> {
    /// Starts to wait. Read what it is about after this, so that no change falls between.
    pub fn wait_for(&self, key: K) -> Waiter<K> {
        let mut waiting = self.lock();
        let sender = waiting.entry(key.clone()).or_insert_with(|| watch::channel(0).0);
        Waiter { changes: self.clone(), receiver: Some(sender.subscribe()), key }
    }

    /// Wakes everyone who waits for this.
    pub fn announce(&self, key: &K) {
        if let Some(sender) = self.lock().get(key) {
            sender.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// What somebody waits for now.
    pub fn waited_for(&self) -> Vec<K> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<K, watch::Sender<u64>>> {
        // Nothing that holds the lock can panic half-way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> Waiter<K> {
    /// Returns at the next announcement since the wait began or since the last call.
    pub async fn changed(&mut self) {
        if let Some(receiver) = &mut self.receiver {
            // The sender lives in the map for as long as this waiter does.
            let _ = receiver.changed().await;
        }
    }
}

impl<K: Clone + Eq + Hash> Drop for Waiter<K> {
    fn drop(&mut self) {
        self.receiver = None;
        let mut waiting = self.changes.lock();
        if waiting.get(&self.key).is_some_and(|sender| sender.receiver_count() == 0) {
            waiting.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn an_announcement_wakes_who_waits_for_that_order_only() {
        let changes = Changes::default();
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut waiter = changes.wait_for(one);
        changes.announce(&other);
        let asleep = tokio::time::timeout(std::time::Duration::from_millis(20), waiter.changed()).await;
        assert!(asleep.is_err());
        changes.announce(&one);
        waiter.changed().await;
    }

    #[test]
    fn an_order_is_forgotten_with_its_last_waiter() {
        let changes = Changes::default();
        let order = Uuid::from_u128(1);
        let (first, second) = (changes.wait_for(order), changes.wait_for(order));
        drop(first);
        assert_eq!(changes.waited_for(), [order]);
        drop(second);
        assert!(changes.waited_for().is_empty());
    }
}
