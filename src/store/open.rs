//! Opening a database: connections, pragmas, migrations under a lock, backups.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use sqlx::any::AnyConnectOptions;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Executor as _, Row as _};

use super::check_batch::CheckBatch;
use super::check_cache::CheckCache;
use super::connections::{Ask as _, Connections};
use super::{Engine, Error, Result, Store};
use crate::config::Database;
use crate::metrics::Metrics;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

const SQLITE_READERS: u32 = 4;
const POSTGRES_CONNECTIONS: u32 = 12;

/// As long as SQLite's `busy_timeout`: somebody who holds one row must not hold up the settlements of all others.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '10s'";
/// A replica waits for another one's migrations, however long they take.
const NO_LOCK_TIMEOUT: &str = "SET lock_timeout = 0";

/// WAL lets readers run beside the writer; FULL makes a commit durable before it is answered; an erased key leaves no
/// trace in free pages.
const SQLITE_PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
     PRAGMA busy_timeout = 10000; PRAGMA temp_store = MEMORY; PRAGMA secure_delete = ON; PRAGMA journal_size_limit = 67108864";

impl Store {
    /// Connects and brings the schema up to date.
    ///
    /// # Errors
    /// When it does not answer, or holds a migration that this program does not know.
    pub async fn open(database: &Database) -> Result<Self> {
        let store = Self::connect(database).await?;
        store.migrate().await?;
        Ok(store)
    }

    /// Connects and leaves the schema as it is: a backup before an upgrade must hold what was there before.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn connect(database: &Database) -> Result<Self> {
        sqlx::any::install_default_drivers();
        match database {
            Database::Sqlite(path) => Self::open_sqlite(path).await,
            Database::Postgres(url) => Self::open_postgres(url.expose()).await,
        }
    }

    async fn open_sqlite(path: &Path) -> Result<Self> {
        // `?` and `#` would end the path of a URL.
        let path = path.to_str().filter(|path| !path.contains(['?', '#', '%']));
        let path = path.ok_or_else(|| Error::Refused("the database path must not contain ?, # or %".into()))?;
        make_private(Path::new(path))?;
        let url = format!("sqlite://{path}?mode=rwc");
        let connections = |name, most| Ok::<_, Error>(Connections::new(name, parse(&url)?, SQLITE_PRAGMAS, most));
        Self::reach(Engine::Sqlite, connections("writer", 1)?, connections("reader", SQLITE_READERS)?).await
    }

    async fn open_postgres(url: &str) -> Result<Self> {
        let all = Connections::new("all", parse(url)?, LOCK_TIMEOUT, POSTGRES_CONNECTIONS);
        Self::reach(Engine::Postgres, all.clone(), all).await
    }

    /// Connects once, so that a database that cannot be reached is told of now.
    async fn reach(engine: Engine, writer: Connections, reader: Connections) -> Result<Self> {
        writer.lease().await?.put_back();
        let (checks, batch) = (CheckCache::default(), CheckBatch::default());
        Ok(Self { writer, reader, engine, metrics: Metrics::default(), checks, batch })
    }

    /// Refuses a database that this program has not brought up to date yet.
    ///
    /// # Errors
    /// With the way out, for commands that run beside `serve` and migrate nothing.
    pub async fn check_schema(&self) -> Result<()> {
        let newest = MIGRATIONS.iter().map(|migration| migration.version).max();
        let found = sqlx::query("SELECT CAST(max(version) AS BIGINT) AS version FROM _sqlx_migrations")
            .one_from(&self.reader)
            .await
            .and_then(|row| row.try_get::<Option<i64>, _>("version"));
        match found {
            Ok(found) if found == newest => Ok(()),
            Ok(found) if found > newest => {
                Err(Error::Refused("this database was brought up to date by a newer program: run that one".into()))
            }
            Ok(_) => Err(Error::Refused(
                "this program has not brought the database up to date yet: start `wiretoll serve` with it first".into(),
            )),
            Err(error) if error.as_database_error().is_some() => {
                Err(Error::Refused("this database is not set up yet: start `wiretoll serve` with it first".into()))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn migrate(&self) -> Result<()> {
        let mut connection = self.writer.lease().await?;
        if self.engine == Engine::Postgres {
            connection.execute(NO_LOCK_TIMEOUT).await?;
        }
        MIGRATIONS.run(&mut *connection).await.map_err(migration_error)?;
        if self.engine == Engine::Postgres {
            connection.execute(LOCK_TIMEOUT).await?;
        }
        connection.put_back();
        Ok(())
    }

    /// Copies a SQLite database while it is in use.
    ///
    /// # Errors
    /// On Postgres, which has `pg_dump`, and where the file holds something already.
    pub async fn backup(&self, target: &Path) -> Result<()> {
        if self.engine == Engine::Postgres {
            return Err(Error::Refused("this database is Postgres: back it up with pg_dump".into()));
        }
        let target = target.to_str().ok_or_else(|| Error::Refused("the file name is not UTF-8".into()))?;
        make_private(Path::new(target))?;
        sqlx::query("VACUUM INTO $1").bind(target).all_from(&self.reader).await?;
        Ok(())
    }
}

/// The file is made with mode 0600: sealed keys and customers' orders are in it.
fn make_private(path: &Path) -> Result<()> {
    let made = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    let why = |error| Error::Refused(format!("the file {} cannot be opened: {error}", path.display()));
    made.map(drop).map_err(why)
}

fn parse(url: &str) -> Result<AnyConnectOptions> {
    // The error would show the URL, and with it the password.
    url.parse().map_err(|_| Error::Refused("the database URL is not valid".into()))
}

fn migration_error(error: MigrateError) -> Error {
    match error {
        MigrateError::VersionMismatch(version) => Error::Refused(format!(
            "migration {version} of this database is not the one of this program: it was made by another version"
        )),
        MigrateError::VersionMissing(version) => Error::Refused(format!(
            "this database has migration {version}, which this program does not know: run the newer program"
        )),
        other => Error::Database(Box::new(other)),
    }
}
