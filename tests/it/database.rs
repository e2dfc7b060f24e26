//! The database as another program meets it: to hold it, to read it, and to make it refuse.

use sqlx::any::install_default_drivers;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};
use wiretoll::config::Database;

use crate::shop::Shop;

/// A connection of its own.
pub async fn connect(shop: &Shop) -> AnyConnection {
    install_default_drivers();
    let url = match &shop.config.database {
        Database::Sqlite(path) => format!("sqlite://{}", path.display()),
        Database::Postgres(url) => url.expose().to_owned(),
    };
    AnyConnection::connect(&url).await.unwrap()
}

pub async fn run(connection: &mut AnyConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}

pub async fn number(connection: &mut AnyConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

/// Every insertion into `table` fails where the condition over `NEW` holds, as on a disk that is full.
pub async fn refuse(shop: &Shop, table: &str, condition: &str) {
    let sql = match &shop.config.database {
        Database::Sqlite(_) => format!(
            "CREATE TRIGGER refused BEFORE INSERT ON {table} WHEN {condition} \
             BEGIN SELECT RAISE(ABORT, 'refused by a test'); END"
        ),
        Database::Postgres(_) => format!(
            "CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'refused by a test'; END $$ \
             LANGUAGE plpgsql; \
             CREATE TRIGGER refused BEFORE INSERT ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse()"
        ),
    };
    run(&mut connect(shop).await, &sql).await;
}

/// Ends what [`refuse`] began.
pub async fn allow(shop: &Shop, table: &str) {
    let sql = match &shop.config.database {
        Database::Sqlite(_) => "DROP TRIGGER refused".to_owned(),
        Database::Postgres(_) => format!("DROP TRIGGER refused ON {table}; DROP FUNCTION refuse()"),
    };
    run(&mut connect(shop).await, &sql).await;
}
