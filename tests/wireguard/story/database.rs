//! The shop's database as another program meets it: for what only an operator or the passing of months would do.

use sqlx::any::install_default_drivers;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};
use wiretoll::domain::instance_key::Keyring;

use super::sales::sales;
use super::shop::Shop;

impl Shop {
    async fn database(&self) -> AnyConnection {
        install_default_drivers();
        AnyConnection::connect(&format!("sqlite://{}", self.path("wiretoll.db").display())).await.unwrap()
    }

    pub async fn run(&self, sql: &str) {
        let waiting = format!("PRAGMA busy_timeout = 10000; BEGIN IMMEDIATE; {sql}; COMMIT;");
        sqlx::raw_sql(AssertSqlSafe(waiting)).execute(&mut self.database().await).await.unwrap();
    }

    pub async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.database().await).await.unwrap()
    }

    /// Keys and slots.
    pub async fn rows(&self, sql: &str) -> Vec<(String, u16)> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as(AssertSqlSafe(sql.to_owned())).fetch_all(&mut self.database().await).await.unwrap();
        rows.into_iter().map(|(key, slot)| (key, u16::try_from(slot).unwrap())).collect()
    }

    /// Changes the subscription of a public port, and tells the server's agent as the store does: a peer that changed
    /// has the server's next revision.
    pub async fn change(&self, port: u16, assignment: &str) {
        let slot = port - super::shop::FIRST_PORT;
        self.run(&format!(
            "UPDATE subscriptions SET {assignment} WHERE id = (SELECT holder_id FROM peers WHERE slot = {slot}); \
             UPDATE servers SET peer_revision = peer_revision + 1; \
             UPDATE peers SET revision = (SELECT peer_revision FROM servers) WHERE slot = {slot}"
        ))
        .await;
    }

    /// Gives two customers each other's slot in one change.
    #[cfg(feature = "crash-points")]
    pub async fn exchange(&self, one: u16, other: u16) {
        const NOBODYS: u16 = 999;
        let [one, other] = [one, other].map(|port| port - super::shop::FIRST_PORT);
        let steps = [(one, NOBODYS), (other, one), (NOBODYS, other)];
        let moves = steps.map(|(from, to)| format!("UPDATE peers SET slot = {to} WHERE slot = {from}")).join("; ");
        self.run(&format!(
            "UPDATE slots SET peer_id = NULL WHERE n IN ({one}, {other}); {moves}; UPDATE servers SET peer_revision = peer_revision + 1; \
             UPDATE peers SET revision = (SELECT peer_revision FROM servers); \
             UPDATE slots SET peer_id = (SELECT id FROM peers WHERE slot = n) WHERE n IN ({one}, {other})"
        ))
        .await;
    }

    /// Rows as so many claims would have left them, in the slots from 100 on.
    pub async fn sell_to_many(&self, count: u16) {
        let keyring = Keyring::parse(&std::fs::read_to_string(self.path("instance.key")).unwrap()).unwrap();
        self.run(&sales("eu-de", 100..100 + count, &keyring)).await;
    }
}
