//! A few connections to one database, handed out in the order in which they are asked for.
//!
//! Not sqlx's pool, because that asks each connection before and after every use whether it lives. On SQLite either
//! question is a hand-over to the connection's thread and back, like the query itself: three instead of one. Here a
//! connection is asked only when it has rested, and is closed when a use ended badly or was given up half-way.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::any::{Any, AnyArguments, AnyConnectOptions, AnyRow};
use sqlx::error::DatabaseError;
use sqlx::query::Query;
use sqlx::{AnyConnection, ConnectOptions as _, Connection as _, Executor as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use super::transaction::Group;
use crate::metrics::readings::PoolUse;

/// How long somebody waits for a connection; as long as SQLite's `busy_timeout`.
const PATIENCE: Duration = Duration::from_secs(10);
/// A connection that rested longer may have been cut off.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// A firewall on the way may have forgotten it by then, so that a question would hang.
const KEPT_FOR: Duration = Duration::from_mins(10);
/// Between two attempts to reach a database that starts up or is full.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections to one database. Clones share them.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: &'static str,
    options: AnyConnectOptions,
    /// Statements for each new connection.
    setup: &'static str,
    most: u32,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// How many commits were made by this process, and how many are being made.
    commits: AtomicU64,
    committing: AtomicUsize,
    resting: Mutex<Vec<Resting>>,
}

#[derive(Debug)]
struct Resting {
    connection: AnyConnection,
    group: Group,
    data_version: Option<i64>,
    since: Instant,
}

/// A connection and its place. Dropped, it is closed; [`Self::put_back`] keeps it for the next one.
#[derive(Debug)]
pub struct Lease {
    connection: AnyConnection,
    /// The transactions that it is inside of.
    pub group: Group,
    /// What SQLite counts of the commits that were not made on this connection, as it was seen last.
    data_version: Option<i64>,
    home: Connections,
    // After the connection: whoever takes the place may open another one.
    _place: OwnedSemaphorePermit,
}

impl Connections {
    pub fn new(name: &'static str, options: AnyConnectOptions, setup: &'static str, most: u32) -> Self {
        let places = Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(1)));
        Self(Arc::new(Inner {
            name,
            options,
            setup,
            most,
            places,
            waiting: AtomicUsize::new(0),
            commits: AtomicU64::new(0),
            committing: AtomicUsize::new(0),
            resting: Mutex::default(),
        }))
    }

    /// A connection of one's own, once it is one's turn.
    pub async fn lease(&self) -> sqlx::Result<Lease> {
        let _waiting = Waiting::new(&self.0.waiting);
        timeout(PATIENCE, self.turn()).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    async fn turn(&self) -> sqlx::Result<Lease> {
        let place = Arc::clone(&self.0.places).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let rested = match self.rested().await {
            Some(rested) => rested,
            None => Resting::new(self.connect().await?),
        };
        let Resting { connection, group, data_version, .. } = rested;
        Ok(Lease { connection, group, data_version, home: self.clone(), _place: place })
    }

    /// One that was used before and still lives.
    async fn rested(&self) -> Option<Resting> {
        loop {
            let mut resting = self.resting().pop()?;
            let rest = resting.since.elapsed();
            if rest < TRUSTED_FOR || (rest < KEPT_FOR && resting.connection.ping().await.is_ok()) {
                return Some(resting);
            }
        }
    }

    async fn connect(&self) -> sqlx::Result<AnyConnection> {
        let mut connection = loop {
            match self.0.options.connect().await {
                Err(error) if may_pass(&error) => sleep(PAUSE).await,
                connection => break connection?,
            }
        };
        connection.execute(self.0.setup).await?;
        Ok(connection)
    }

    /// Closes them all, each once it is put back; afterwards there are none to be had.
    pub async fn close(&self) {
        // Whoever waited before has been served by then.
        let _places = self.0.places.acquire_many(self.0.most).await;
        self.0.places.close();
        let resting = std::mem::take(&mut *self.resting());
        for Resting { connection, .. } in resting {
            // It was not in use: there is nothing to be lost.
            let _ = connection.close().await;
        }
    }

    /// How many commits were made, or tried; none while one is being made, which some may see and others not yet.
    pub fn commits(&self) -> Option<u64> {
        // In this order: a commit counts before it is over.
        let is_committing = self.0.committing.load(Ordering::SeqCst) > 0;
        let commits = self.0.commits.load(Ordering::SeqCst);
        (!is_committing).then_some(commits)
    }

    /// What was read before may have changed.
    pub fn count_commit(&self) {
        self.0.commits.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether another connection committed since the last look with this connection; only SQLite tells.
    pub async fn others_committed(&self) -> sqlx::Result<bool> {
        let mut lease = self.lease().await?;
        let answer = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut *lease).await;
        let before = lease.data_version;
        lease.data_version = answer.as_ref().ok().copied();
        let changed = lease.data_version != before;
        lease.after(answer).map(|_| changed)
    }

    /// How many wait for one.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::SeqCst)
    }

    /// What they do now.
    pub fn usage(&self) -> PoolUse {
        let Inner { name, most, places, .. } = &*self.0;
        let all = usize::try_from(*most).unwrap_or(usize::MAX);
        let in_use = all.saturating_sub(places.available_permits());
        PoolUse { name, idle: self.resting().len(), in_use, most: *most }
    }

    fn resting(&self) -> MutexGuard<'_, Vec<Resting>> {
        // Nothing that holds the lock can panic half-way.
        self.0.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resting {
    fn new(connection: AnyConnection) -> Self {
        Self { connection, group: Group::default(), data_version: None, since: Instant::now() }
    }
}

impl Lease {
    /// Keeps the connection after a use that ended well, or with the database's own refusal.
    fn after<T>(self, answer: sqlx::Result<T>) -> sqlx::Result<T> {
        match &answer {
            Ok(_) => self.put_back(),
            Err(sqlx::Error::Database(error)) if !is_farewell(error.as_ref()) => self.put_back(),
            Err(_) => self.give_up(),
        }
        answer
    }

    /// For the next one; only a connection whose last answer was read to its end.
    pub fn put_back(self) {
        let Self { connection, group, data_version, home, _place } = self;
        home.resting().push(Resting { connection, group, data_version, since: Instant::now() });
    }

    /// Whether somebody waits for a connection.
    pub fn is_waited_for(&self) -> bool {
        self.home.waiting() > 0
    }

    /// To be held while a commit is made, and no longer when the first one is told of it.
    pub fn committing(&self) -> Committing {
        self.home.0.committing.fetch_add(1, Ordering::SeqCst);
        Committing(self.home.clone())
    }

    /// Another turn, behind those who wait now, however long that takes.
    pub fn next_turn(&self) -> impl Future<Output = sqlx::Result<Self>> + use<> {
        let home = self.home.clone();
        async move { home.turn().await }
    }

    /// It is broken. Those that rest were opened to the same server: where that is gone, they are broken, too.
    pub fn give_up(self) {
        self.home.resting().clear();
    }
}

impl Deref for Lease {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.connection
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.connection
    }
}

/// A commit that is being made, counted.
#[derive(Debug)]
pub struct Committing(Connections);

impl Drop for Committing {
    /// Also one that failed: where the connection broke, nobody knows.
    fn drop(&mut self) {
        self.0.count_commit();
        self.0.0.committing.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Somebody who waits, counted.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Refused, because it is starting up or has no room for another client (`cannot_connect_now`, `too_many_connections`).
fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        sqlx::Error::Database(error) => matches!(error.code().as_deref(), Some("57P03" | "53300")),
        _ => false,
    }
}

/// Postgres shuts down, or an operator ended the connection.
fn is_farewell(error: &dyn DatabaseError) -> bool {
    error.code().is_some_and(|code| code.starts_with("57P"))
}

/// A query on whichever connection is free; its answer is read to the end before the connection is anybody else's.
pub trait Ask<'q>: Sized {
    async fn all_from(self, connections: &Connections) -> sqlx::Result<Vec<AnyRow>>;
    async fn optional_from(self, connections: &Connections) -> sqlx::Result<Option<AnyRow>>;
    /// For a query that always answers with a row.
    async fn one_from(self, connections: &Connections) -> sqlx::Result<AnyRow>;
}

impl<'q> Ask<'q> for Query<'q, Any, AnyArguments> {
    async fn all_from(self, connections: &Connections) -> sqlx::Result<Vec<AnyRow>> {
        let mut lease = connections.lease().await?;
        let answer = self.fetch_all(&mut *lease).await;
        lease.after(answer)
    }

    async fn optional_from(self, connections: &Connections) -> sqlx::Result<Option<AnyRow>> {
        let mut lease = connections.lease().await?;
        let answer = self.fetch_optional(&mut *lease).await;
        lease.after(answer)
    }

    async fn one_from(self, connections: &Connections) -> sqlx::Result<AnyRow> {
        self.optional_from(connections).await?.ok_or(sqlx::Error::RowNotFound)
    }
}
