//! A write transaction on a connection of its own, which is rolled back when it is dropped.
//!
//! SQLite has one writer, and its commit waits for the disk: as long as all the rest of a transaction, or longer. So
//! those that wait for the writer share one: each is a savepoint, ends by passing the connection on, and is told of the
//! COMMIT that the last of them makes. Savepoints have names of their own, so that none can undo another one's work;
//! one that is gone (a full disk makes SQLite roll back all of it) fails whoever comes next, and with them the group.
//! One that is rolled back on purpose waits, too: it saw what the others did. One that is dropped has refused something,
//! which promises nothing. What the connection holds when it is closed was not committed: who waits for it learns that, because the senders
//! are closed with it.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};

use sqlx::{AnyConnection, AssertSqlSafe, Executor as _};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::connections::{Connections, Lease};
use super::{Engine, Error, Result};

/// So many share a commit at most: the first of them waits for the last.
const MOST: usize = 32;

/// What was begun and not ended.
#[derive(Debug)]
pub struct Transaction {
    /// None once it ended.
    lease: Option<Lease>,
    engine: Engine,
}

/// Transactions that end with the same COMMIT; the connection carries them from one to the next.
#[derive(Debug, Default)]
pub struct Group {
    /// Those that joined since BEGIN, the present one included.
    joined: u32,
    /// Those that ended well and wait for the COMMIT.
    waiting: Vec<oneshot::Sender<()>>,
}

/// The commit that was shared failed, or never came.
#[derive(Debug, thiserror::Error)]
#[error("the transactions that were to be committed together were rolled back")]
struct NotCommitted;

impl Transaction {
    /// In a task of its own: a caller that goes away must not end it between two statements.
    pub async fn begin(connections: &Connections, engine: Engine) -> Result<Self> {
        let connections = connections.clone();
        let begin = async move {
            let mut begun = Self { lease: Some(connections.lease().await?), engine };
            let statement = begun.lease_mut().group.join(engine);
            begun.execute(AssertSqlSafe(statement)).await?;
            Ok(begun)
        };
        spawn(begin).await.map_err(|error| Error::Database(Box::new(error)))?
    }

    /// Returns once it is durable.
    pub async fn commit(mut self) -> Result<()> {
        let lease = self.take_lease();
        if self.engine == Engine::Sqlite && lease.is_waited_for() && lease.group.waiting.len() < MOST {
            return pass_on(lease).await;
        }
        // In a task of its own, because others may wait for it.
        spawn(commit_all(lease, self.engine)).await.map_err(|error| Error::Database(Box::new(error)))?
    }

    /// Returns once what it saw of the others in its group is durable.
    pub async fn rollback(mut self) -> Result<()> {
        // In a task of its own, because others may wait for the connection.
        let undone = spawn(undo(self.take_lease())).await.map_err(|error| Error::Database(Box::new(error)))?;
        match undone? {
            Some(committed) => committed.await.map_err(|_| Error::Database(Box::new(NotCommitted))),
            None => Ok(()),
        }
    }

    #[expect(clippy::expect_used, reason = "what takes the connection ends the transaction")]
    fn take_lease(&mut self) -> Lease {
        self.lease.take().expect("a transaction has its connection until it ends")
    }

    #[expect(clippy::expect_used, reason = "what takes the connection ends the transaction")]
    fn lease_mut(&mut self) -> &mut Lease {
        self.lease.as_mut().expect("a transaction has its connection until it ends")
    }
}

impl Drop for Transaction {
    /// Without a runtime the connection is closed, which rolls back, too.
    fn drop(&mut self) {
        if let (Some(lease), true) = (self.lease.take(), Handle::try_current().is_ok()) {
            spawn(undo(lease));
        }
    }
}

impl Deref for Transaction {
    type Target = AnyConnection;

    #[expect(clippy::expect_used, reason = "what takes the connection ends the transaction")]
    fn deref(&self) -> &AnyConnection {
        self.lease.as_ref().expect("a transaction has its connection until it ends")
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        self.lease_mut()
    }
}

impl Group {
    /// The statements that begin one more.
    fn join(&mut self, engine: Engine) -> Cow<'static, str> {
        self.joined += 1;
        match (engine, self.joined) {
            (Engine::Postgres, _) => "BEGIN".into(),
            // IMMEDIATE, because SQLite's default BEGIN fails later, when a read becomes a write.
            (Engine::Sqlite, 1) => "BEGIN IMMEDIATE; SAVEPOINT member_1".into(),
            (Engine::Sqlite, n) => format!("RELEASE member_{}; SAVEPOINT member_{n}", n - 1).into(),
        }
    }

    fn commit(&self, engine: Engine) -> Cow<'static, str> {
        match engine {
            Engine::Postgres => "COMMIT".into(),
            Engine::Sqlite => format!("RELEASE member_{}; COMMIT", self.joined).into(),
        }
    }

    /// Takes back what the present one did, and nothing of those that wait.
    fn undo(&self) -> Cow<'static, str> {
        if self.waiting.is_empty() { "ROLLBACK".into() } else { format!("ROLLBACK TO member_{}", self.joined).into() }
    }

    /// For one that was rolled back: nothing is open where it was alone.
    fn await_others(&mut self) -> Option<oneshot::Receiver<()>> {
        if self.waiting.is_empty() {
            *self = Self::default();
            return None;
        }
        let (sender, committed) = oneshot::channel();
        self.waiting.push(sender);
        Some(committed)
    }
}

/// Leaves the COMMIT to those who wait for the connection, or, where they all go away, to a task that queues behind.
async fn pass_on(mut lease: Lease) -> Result<()> {
    let (sender, committed) = oneshot::channel();
    if lease.group.waiting.is_empty() {
        let next = lease.next_turn();
        spawn(async move {
            if let Ok(lease) = next.await {
                // Whoever waits for it is told.
                let _ = commit_all(lease, Engine::Sqlite).await;
            }
        });
    }
    lease.group.waiting.push(sender);
    lease.put_back();
    committed.await.map_err(|_| Error::Database(Box::new(NotCommitted)))
}

/// Commits what the connection holds, if anything, and tells those who wait.
async fn commit_all(mut lease: Lease, engine: Engine) -> Result<()> {
    if lease.group.joined > 0 {
        let statement = lease.group.commit(engine);
        let committing = lease.committing();
        let committed = lease.execute(AssertSqlSafe(statement)).await;
        drop(committing);
        if let Err(error) = committed {
            lease.give_up();
            return Err(error.into());
        }
    }
    let group = std::mem::take(&mut lease.group);
    lease.put_back();
    for waiting in group.waiting {
        // One whose caller went away need not be told.
        let _ = waiting.send(());
    }
    Ok(())
}

/// Rolls back the present transaction. The others in its group, if there are any, are yet to be committed.
///
/// A connection on which it fails is closed, and with it what others did in the same group: they are told.
async fn undo(mut lease: Lease) -> sqlx::Result<Option<oneshot::Receiver<()>>> {
    let statement = lease.group.undo();
    if let Err(error) = lease.execute(AssertSqlSafe(statement)).await {
        lease.give_up();
        return Err(error);
    }
    let committed = lease.group.await_others();
    lease.put_back();
    Ok(committed)
}

#[expect(clippy::disallowed_methods, reason = "short tasks that end by themselves")]
pub fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(task)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sqlx::Row as _;
    use tempfile::TempDir;
    use tokio::time::timeout;

    use crate::config::Database;
    use crate::store::connections::Ask as _;
    use crate::store::{Error, Store, Tx};

    /// A database with notes, and with notes that must have a topic when they are committed.
    async fn notes() -> (Store, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Database::Sqlite(folder.path().join("test.db"))).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        for table in [
            "CREATE TABLE notes (id TEXT PRIMARY KEY)",
            "CREATE TABLE topics (id TEXT PRIMARY KEY)",
            "CREATE TABLE sorted (topic TEXT NOT NULL REFERENCES topics (id) DEFERRABLE INITIALLY DEFERRED)",
        ] {
            sqlx::query(table).execute(&mut *tx.inner).await.unwrap();
        }
        tx.commit().await.unwrap();
        (store, folder)
    }

    async fn note(tx: &mut Tx, id: &str) {
        sqlx::query("INSERT INTO notes (id) VALUES ($1)").bind(id).execute(&mut *tx.inner).await.unwrap();
    }

    async fn found(store: &Store) -> String {
        let rows = sqlx::query("SELECT id FROM notes ORDER BY id").all_from(&store.reader).await.unwrap();
        rows.iter().map(|row| row.get::<String, _>("id")).collect::<Vec<_>>().join(" ")
    }

    /// A transaction of one note that is about to be committed, and one that waits for its turn.
    async fn first_and_waiting(store: &Store) -> (Tx, tokio::task::JoinHandle<Tx>) {
        let mut first = store.begin().await.unwrap();
        note(&mut first, "first").await;
        (first, waiting(store).await)
    }

    async fn waiting(store: &Store) -> tokio::task::JoinHandle<Tx> {
        let beginning = store.clone();
        let task = super::spawn(async move { beginning.begin().await.unwrap() });
        let waits = async {
            while store.writer.waiting() == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), waits).await.unwrap();
        task
    }

    /// Its commit, left to those who wait.
    fn passed_on(tx: Tx) -> tokio::task::JoinHandle<Result<(), Error>> {
        super::spawn(tx.commit())
    }

    #[tokio::test]
    async fn those_who_wait_share_a_commit_and_are_told_after_it() {
        let (store, _folder) = notes().await;
        let (first, second) = first_and_waiting(&store).await;
        let first = passed_on(first);
        let mut second = second.await.unwrap();
        assert!(!first.is_finished());
        assert_eq!(found(&store).await, "");
        note(&mut second, "second").await;
        second.commit().await.unwrap();
        first.await.unwrap().unwrap();
        assert_eq!(found(&store).await, "first second");
    }

    #[tokio::test]
    async fn one_that_is_rolled_back_or_dropped_takes_nothing_else_with_it() {
        let (store, _folder) = notes().await;
        let (first, second) = first_and_waiting(&store).await;
        let first = passed_on(first);
        let mut second = second.await.unwrap();
        note(&mut second, "second").await;
        let third = waiting(&store).await;
        let second = super::spawn(second.rollback());
        let mut third = third.await.unwrap();
        note(&mut third, "third").await;
        let fourth = waiting(&store).await;
        drop(third);
        let mut fourth = fourth.await.unwrap();
        note(&mut fourth, "fourth").await;
        fourth.commit().await.unwrap();
        first.await.unwrap().unwrap();
        second.await.unwrap().unwrap();
        assert_eq!(found(&store).await, "first fourth");
    }

    #[tokio::test]
    async fn the_first_is_committed_though_all_who_waited_went_away() {
        let (store, _folder) = notes().await;
        let (first, second) = first_and_waiting(&store).await;
        let first = passed_on(first);
        drop(second.await.unwrap());
        timeout(Duration::from_secs(10), first).await.unwrap().unwrap().unwrap();
        assert_eq!(found(&store).await, "first");
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_while_it_waits_has_committed() {
        let (store, _folder) = notes().await;
        let (first, second) = first_and_waiting(&store).await;
        let first = passed_on(first);
        let second = second.await.unwrap();
        first.abort();
        second.commit().await.unwrap();
        assert_eq!(found(&store).await, "first");
    }

    #[tokio::test]
    async fn where_the_commit_fails_all_are_told_and_the_next_begins_afresh() {
        let (store, _folder) = notes().await;
        let (first, second) = first_and_waiting(&store).await;
        let first = passed_on(first);
        let mut second = second.await.unwrap();
        sqlx::query("INSERT INTO sorted (topic) VALUES ('none')").execute(&mut *second.inner).await.unwrap();
        assert!(matches!(second.commit().await, Err(Error::Constraint(_))));
        assert!(matches!(first.await.unwrap(), Err(Error::Database(_))));
        assert_works(&store).await;
    }

    #[tokio::test]
    async fn where_the_disk_is_full_all_are_told_and_the_next_begins_afresh() {
        let (store, _folder) = notes().await;
        let (mut first, second) = first_and_waiting(&store).await;
        let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *first.inner).await.unwrap();
        let full = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + 2));
        sqlx::query(full).fetch_all(&mut *first.inner).await.unwrap();
        let first = passed_on(first);
        let mut second = second.await.unwrap();
        let large = "n".repeat(100_000);
        let refused = sqlx::query("INSERT INTO notes (id) VALUES ($1)")
            .bind(large)
            .execute(&mut *second.inner)
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("full"), "{refused}");
        // Not even where somebody overlooks it.
        let third = waiting(&store).await;
        assert!(super::spawn(second.commit()).await.unwrap().is_err());
        assert!(first.await.unwrap().is_err());
        drop(third);
        assert_works(&store).await;
    }

    /// Nothing of the failed group is there, and a note can be stored.
    async fn assert_works(store: &Store) {
        assert_eq!(found(store).await, "");
        let mut tx = store.begin().await.unwrap();
        note(&mut tx, "afterwards").await;
        tx.commit().await.unwrap();
        assert_eq!(found(store).await, "afterwards");
    }

    #[tokio::test]
    async fn many_at_a_time_all_get_through_whatever_becomes_of_some() {
        let (store, _folder) = notes().await;
        let one = |n: usize| {
            let store = store.clone();
            super::spawn(async move {
                let mut tx = store.begin().await.unwrap();
                note(&mut tx, &format!("{n:03}")).await;
                if n.is_multiple_of(3) {
                    return false;
                }
                tx.commit().await.unwrap();
                true
            })
        };
        let mut kept = Vec::new();
        for (n, task) in (0..200).map(one).collect::<Vec<_>>().into_iter().enumerate() {
            if task.await.unwrap() {
                kept.push(format!("{n:03}"));
            }
        }
        assert_eq!(found(&store).await, kept.join(" "));
    }
}
