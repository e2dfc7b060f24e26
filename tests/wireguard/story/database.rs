//! The shop's database as another program meets it: for what only an operator or the passing of months would do.

use sha2::{Digest as _, Sha256};
use sqlx::any::install_default_drivers;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};
use uuid::Uuid;
use wiretoll::clock::Clock;
use wiretoll::domain::instance_key::Keyring;
use wiretoll::domain::keys::PrivateKey;

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
        let rows: Vec<String> = (100..100 + count).map(|slot| rows_of(slot, &keyring)).collect();
        self.run(&format!(
            "{}; UPDATE servers SET peer_revision = peer_revision + 1, slots_held = slots_held + {count}; \
             UPDATE peers SET revision = (SELECT peer_revision FROM servers) WHERE slot >= 100",
            rows.join("; ")
        ))
        .await;
    }
}

/// Its preshared key is sealed as the service does it.
fn rows_of(slot: u16, keyring: &Keyring) -> String {
    let id = Uuid::from_u128(slot.into());
    let secret = Sha256::digest(slot.to_be_bytes());
    let key = PrivateKey::from_random(secret.into()).public_key();
    let instance_key = keyring.get(keyring.current()).unwrap();
    let nonce = wiretoll::random::bytes().unwrap();
    let sealed = hex::encode(instance_key.seal(&format!("preshared key of {key}"), &secret, nonce).unwrap());
    let key_id = keyring.current().0;
    let end = Clock::System.now().millis() + 3_600_000;
    format!(
        "INSERT INTO orders (id, key_id, kind, rail, server_id, requires_claim_token, months, state, paid_at, \
         closed_at, created_at, revision) VALUES ('{id}', {key_id}, 'new', 'card', 'eu-de', 0, 1, 'paid', 1, 1, 1, 1); \
         INSERT INTO subscriptions (id, founded_by, server_id, ends_at, standing, created_at, revision) \
         VALUES ('{id}', '{id}', 'eu-de', {end}, 'held', 1, 1); \
         UPDATE orders SET subscription_id = '{id}' WHERE id = '{id}'; \
         INSERT INTO peers (id, server_id, slot, holder_kind, holder_id, public_key, key_id, sealed_preshared_key, \
         generation, created_at) VALUES ('{id}', 'eu-de', {slot}, 'subscription', '{id}', '{key}', {key_id}, \
         X'{sealed}', 1, 1); \
         UPDATE slots SET peer_id = '{id}' WHERE n = {slot}"
    )
}
