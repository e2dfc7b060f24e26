//! The database as another program meets it: to hold it, to read it, and to make it refuse.

use std::time::Duration;

use sqlx::any::install_default_drivers;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};
use wiretoll::config::{Database, SecretText};

use crate::shop::Shop;

/// A connection of its own.
pub async fn connect(shop: &Shop) -> AnyConnection {
    connect_to(&url_of(&shop.config.database)).await
}

pub fn url_of(database: &Database) -> String {
    match database {
        Database::Sqlite(path) => format!("sqlite://{}", path.display()),
        Database::Postgres(url) => url.expose().to_owned(),
    }
}

pub async fn connect_to(url: &str) -> AnyConnection {
    install_default_drivers();
    AnyConnection::connect(url).await.unwrap()
}

pub async fn run(connection: &mut AnyConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}

pub async fn number(connection: &mut AnyConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

/// Subscriptions that have a slot.
pub async fn subscriptions_held(shop: &Shop) -> i64 {
    number(&mut connect(shop).await, "SELECT CAST(count(*) AS BIGINT) FROM subscriptions WHERE standing = 'held'").await
}

/// A backup: a database like this one, which nobody has open.
pub async fn copy(database: &Database) -> Database {
    let name = format!("copy_{}", hex::encode(wiretoll::random::bytes::<16>().unwrap()));
    match database {
        Database::Sqlite(path) => {
            let copy = path.with_file_name(name);
            // A busy machine may leave what was written last in the `-wal` file, which a copy of the file alone forgets.
            run(&mut connect_to(&url_of(database)).await, &format!("VACUUM INTO '{}'", copy.display())).await;
            Database::Sqlite(copy)
        }
        Database::Postgres(url) => {
            let (server, original) = url.expose().rsplit_once('/').unwrap();
            let mut connection = connect_to(&format!("{server}/postgres")).await;
            run(&mut connection, &format!("CREATE DATABASE {name} TEMPLATE {original}")).await;
            connection.close().await.unwrap();
            Database::Postgres(SecretText::new(format!("{server}/{name}")))
        }
    }
}

/// Every insertion into `table` fails where the condition over `NEW` holds, as on a disk that is full.
pub async fn refuse(shop: &Shop, table: &str, condition: &str) {
    let sql = match &shop.config.database {
        Database::Sqlite(_) => format!(
            "CREATE TRIGGER refused_{table} BEFORE INSERT ON {table} WHEN {condition} \
             BEGIN SELECT RAISE(ABORT, 'refused by a test'); END"
        ),
        Database::Postgres(_) => format!(
            "CREATE FUNCTION refuse_{table}() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'refused by a test'; END $$ \
             LANGUAGE plpgsql; CREATE TRIGGER refused_{table} BEFORE INSERT ON {table} FOR EACH ROW \
             WHEN ({condition}) EXECUTE FUNCTION refuse_{table}()"
        ),
    };
    run(&mut connect(shop).await, &sql).await;
}

/// Ends what [`refuse`] began.
pub async fn allow(shop: &Shop, table: &str) {
    let sql = match &shop.config.database {
        Database::Sqlite(_) => format!("DROP TRIGGER refused_{table}"),
        Database::Postgres(_) => format!("DROP TRIGGER refused_{table} ON {table}; DROP FUNCTION refuse_{table}()"),
    };
    run(&mut connect(shop).await, &sql).await;
}

/// Until so many wait for a row that somebody else holds; on Postgres.
pub async fn until_waiting(shop: &Shop, many: i64) {
    let mut looking = connect(shop).await;
    let waiting = "SELECT CAST(count(*) AS BIGINT) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while number(&mut looking, waiting).await < many {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
