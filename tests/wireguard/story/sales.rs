//! Many subscriptions as so many claims would have left them in the database, where buying each would take minutes.

use std::ops::Range;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use wiretoll::clock::Clock;
use wiretoll::domain::instance_key::Keyring;
use wiretoll::domain::keys::PrivateKey;

/// The SQL of it, and of the server's next revision, which its agent is told of.
pub fn sales(server: &str, slots: Range<u16>, keyring: &Keyring) -> String {
    let (first, count) = (slots.start, slots.len());
    let rows: Vec<String> = slots.map(|slot| sale(server, slot, keyring)).collect();
    format!(
        "{}; UPDATE servers SET peer_revision = peer_revision + 1, slots_held = slots_held + {count} WHERE id = '{server}'; \
         UPDATE peers SET revision = (SELECT peer_revision FROM servers WHERE id = '{server}') \
         WHERE server_id = '{server}' AND slot >= {first}",
        rows.join("; ")
    )
}

/// Its preshared key is sealed as the service does it.
fn sale(server: &str, slot: u16, keyring: &Keyring) -> String {
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
         closed_at, created_at, revision) VALUES ('{id}', {key_id}, 'new', 'card', '{server}', 0, 1, 'paid', 1, 1, 1, 1); \
         INSERT INTO subscriptions (id, founded_by, server_id, ends_at, standing, created_at, revision) \
         VALUES ('{id}', '{id}', '{server}', {end}, 'held', 1, 1); \
         UPDATE orders SET subscription_id = '{id}' WHERE id = '{id}'; \
         INSERT INTO peers (id, server_id, slot, holder_kind, holder_id, public_key, key_id, sealed_preshared_key, \
         generation, created_at) VALUES ('{id}', '{server}', {slot}, 'subscription', '{id}', '{key}', {key_id}, \
         X'{sealed}', 1, 1); \
         UPDATE slots SET peer_id = '{id}' WHERE server_id = '{server}' AND n = {slot}"
    )
}
