//! Migrations are never changed once they were shipped, and a database of another program is refused.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use wiretoll::lifecycle::{self, Running, StartError};

use crate::database::{connect, run};
use crate::on_both_databases;
use crate::shop::{On, Shop};

on_both_databases!(
    scenario_50_a_database_of_a_newer_program_is_refused,
    scenario_50_a_database_of_a_changed_migration_is_refused,
    a_command_beside_the_service_waits_for_its_migrations,
);

/// The checksums as `sha256sum` prints them.
const SHIPPED: &str = include_str!("../../fixtures/migrations.sha256");

#[test]
fn scenario_50_no_migration_was_changed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        found.insert(name, hex::encode(Sha256::digest(std::fs::read(path).unwrap())));
    }
    let line = |line: &str| line.split_once("  ").map(|(sum, name)| (name.to_owned(), sum.to_owned()));
    let shipped: BTreeMap<_, _> = SHIPPED.lines().filter_map(line).collect();
    assert_eq!(
        found, shipped,
        "\nA migration that was shipped must stay as it is: every database that ran it would be refused.\n\
         Put the change into a new file, migrations/000N_what_it_does.sql, and add its line:\n\
         (cd migrations && sha256sum *.sql) > fixtures/migrations.sha256\n"
    );
}

async fn refusal(on: On, sql: &str) -> String {
    let mut shop = Shop::open(on).await;
    shop.stop().await;
    run(&mut connect(&shop).await, sql).await;
    match Running::start(&shop.config, shop.clock.clone(), None).await {
        Err(StartError::Store(error)) => error.to_string(),
        other => panic!("it was not refused: {other:?}"),
    }
}

async fn scenario_50_a_database_of_a_newer_program_is_refused(on: On) {
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 SELECT 9999, 'newer', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1";
    let said = refusal(on, newer).await;
    assert!(said.contains("9999") && said.contains("newer program"), "{said}");
}

async fn scenario_50_a_database_of_a_changed_migration_is_refused(on: On) {
    let other = match on {
        On::Sqlite => "UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1",
        On::Postgres => "UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 1",
    };
    let said = refusal(on, other).await;
    assert!(said.contains("migration 1") && said.contains("another version"), "{said}");
}

/// The program was replaced, and `serve` has not been started with it yet.
async fn a_command_beside_the_service_waits_for_its_migrations(on: On) {
    let shop = Shop::open(on).await;
    let inspect = async || {
        let inspected = lifecycle::inspect(&shop.config, shop.clock.clone()).await;
        inspected.map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(inspect().await, Ok(()));
    let mut database = connect(&shop).await;
    run(
        &mut database,
        "UPDATE _sqlx_migrations SET version = 9999 WHERE version = (SELECT max(version) FROM _sqlx_migrations)",
    )
    .await;
    assert!(inspect().await.unwrap_err().contains("by a newer program"));
    run(&mut database, "DELETE FROM _sqlx_migrations WHERE version = 9999").await;
    assert!(inspect().await.unwrap_err().contains("start `wiretoll serve`"));
}
