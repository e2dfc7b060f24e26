//! Things that fall due on the node's clock, earliest first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::clock::SimulatorClock;

pub(super) struct DueQueue<T> {
    heap: Mutex<BinaryHeap<Reverse<(i64, T)>>>,
    grown: Notify,
}

impl<T: Ord + Copy> DueQueue<T> {
    pub(super) fn new() -> Self {
        Self { heap: Mutex::new(BinaryHeap::new()), grown: Notify::new() }
    }

    pub(super) fn push(&self, due_ms: i64, item: T) {
        self.lock().push(Reverse((due_ms, item)));
        self.grown.notify_one();
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// What is overdue at `now_ms`; what is due in this very millisecond is not yet.
    pub(super) fn overdue(&self, now_ms: i64) -> Option<T> {
        let heap = self.lock();
        let Reverse((due_ms, item)) = heap.peek()?;
        (*due_ms < now_ms).then_some(*item)
    }

    /// Removes the earliest entry, if it still is `item`.
    pub(super) fn done(&self, item: T) {
        let mut heap = self.lock();
        if heap.peek().is_some_and(|Reverse((_, earliest))| *earliest == item) {
            heap.pop();
        }
    }

    /// Returns when something is overdue.
    pub(super) async fn wait(&self, clock: &SimulatorClock) {
        loop {
            let due_ms = self.lock().peek().map(|Reverse((due_ms, _))| *due_ms);
            let Some(due_ms) = due_ms else {
                self.grown.notified().await;
                continue;
            };
            tokio::select! {
                () = clock.passed(due_ms) => return,
                () = self.grown.notified() => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BinaryHeap<Reverse<(i64, T)>>> {
        self.heap.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
