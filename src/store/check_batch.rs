//! Checks that ask at the same time are read with one query: handing it to the database, and waking up for its answer,
//! costs more than what it does there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::checked::read_checked;
use super::connections::Connections;
use super::transaction::spawn;
use super::{CheckedOrder, Result};
use crate::domain::lightning::PaymentHash;

/// Hashes in one query; its text names as many.
pub const AT_ONCE: usize = 16;
/// Queries at a time: while one is answered the next ones gather.
const READERS: usize = 2;

/// Those who wait for the next query. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct CheckBatch(Arc<Mutex<Gathered>>);

#[derive(Debug, Default)]
struct Gathered {
    waiting: Vec<Question>,
    readers: usize,
}

#[derive(Debug)]
struct Question {
    hash: PaymentHash,
    answer: oneshot::Sender<Option<CheckedOrder>>,
}

/// A task that reads for all; counted until it ends.
struct Reader {
    batch: CheckBatch,
    is_counted: bool,
}

impl CheckBatch {
    /// The order as it is now.
    pub async fn read(&self, hash: PaymentHash, connections: &Connections) -> Result<Option<CheckedOrder>> {
        let (answer, answered) = oneshot::channel();
        if let Some(reader) = self.enter(Question { hash, answer }) {
            let connections = connections.clone();
            spawn(async move { reader.run(&connections).await });
        }
        match answered.await {
            Ok(checked) => Ok(checked),
            // The query failed for all: this one's own fails with its reason, or does not.
            Err(_) => Ok(read_checked(connections, &[hash]).await?.pop()),
        }
    }

    /// A reader where there are too few.
    fn enter(&self, question: Question) -> Option<Reader> {
        let mut gathered = self.lock();
        gathered.waiting.push(question);
        let is_needed = gathered.readers < READERS;
        is_needed.then(|| {
            gathered.readers += 1;
            Reader { batch: self.clone(), is_counted: true }
        })
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        // Nothing that holds the lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    async fn run(mut self, connections: &Connections) {
        while let Some(questions) = self.next() {
            let hashes: Vec<_> = questions.iter().map(|question| question.hash).collect();
            // Where it fails the questions are dropped, and those who asked try by themselves.
            let Ok(found) = read_checked(connections, &hashes).await else { continue };
            let found: HashMap<_, _> =
                found.into_iter().filter_map(|checked| Some((checked.order.payment_hash()?, checked))).collect();
            for Question { hash, answer } in questions {
                // Whoever went away needs no answer.
                let _ = answer.send(found.get(&hash).cloned());
            }
        }
    }

    /// What waits now; where nothing does, this one ends.
    fn next(&mut self) -> Option<Vec<Question>> {
        let mut gathered = self.batch.lock();
        let count = gathered.waiting.len().min(AT_ONCE);
        if count == 0 {
            gathered.readers -= 1;
            self.is_counted = false;
            return None;
        }
        Some(gathered.waiting.drain(..count).collect())
    }
}

impl Drop for Reader {
    /// Also a task that is cut off in the middle makes room for another one.
    fn drop(&mut self) {
        if self.is_counted {
            self.batch.lock().readers -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::config::Database;
    use crate::domain::order::PublicName;
    use crate::store::Store;

    #[tokio::test(flavor = "multi_thread")]
    async fn everybody_is_answered_also_where_some_go_away() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Database::Sqlite(folder.path().join("test.db"))).await.unwrap();
        let ask = |n: u8| {
            let store = store.clone();
            spawn(async move {
                store.checked_order(PublicName::PaymentHash(PaymentHash::from_bytes([n; 32]))).await.unwrap().is_none()
            })
        };
        let asking: Vec<_> = (0..200).map(ask).collect();
        asking.iter().step_by(3).for_each(tokio::task::JoinHandle::abort);
        let answers = join_all(asking).await;
        assert!(answers.into_iter().all(|answer| answer.unwrap_or_else(|error| error.is_cancelled())));
        while store.batch.lock().readers > 0 {
            tokio::task::yield_now().await;
        }
        assert!(store.batch.lock().waiting.is_empty());
    }
}
