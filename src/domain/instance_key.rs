//! The instance key, the root of every derived secret.
//!
//! Each use has its own HKDF label. An order remembers the id of the key that it was made under,
//! so that adding a key never changes what was derived before.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Invalid;
use super::keys::{PresharedKey, PublicKey};
use super::lightning::Preimage;
use super::webhook_secret::WebhookSecret;

const NONCE_LENGTH: usize = 24;

/// Names one instance key on every row that depends on it; counts from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub i64);

/// 32 secret bytes.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct InstanceKey([u8; 32]);

/// All instance keys of an installation; the one with the highest id makes new secrets.
#[derive(Debug, Clone)]
pub struct Keyring {
    keys: Vec<(KeyId, InstanceKey)>,
    current: KeyId,
}

/// Proof of having created an order: 256 bits, URL-safe. The payment hash proves nothing, every hop sees it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ClaimToken([u8; 32]);

/// A row depends on an instance key that was not given, or its ciphertext is not what was stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("instance key {} is missing", .0.0)]
    MissingKey(KeyId),
    #[error("a sealed secret does not open")]
    Sealed,
}

impl InstanceKey {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A value that tells whether this is the same key, and nothing else about it; stored in the database.
    pub fn check_value(&self) -> [u8; 32] {
        self.derive("check value")
    }

    pub fn preimage(&self, order: Uuid) -> Preimage {
        Preimage::from_bytes(self.derive_for("preimage", order))
    }

    pub fn claim_token(&self, order: Uuid) -> ClaimToken {
        ClaimToken(self.derive_for("claim token", order))
    }

    /// What a settlement gives a key that its order binds: the same however often it settles, as after a restored backup.
    pub fn preshared_key(&self, order: Uuid, key: PublicKey) -> PresharedKey {
        let message = [order.as_bytes().as_slice(), key.as_bytes()].concat();
        PresharedKey::from_bytes(keyed_hash(&self.derive("preshared key"), &message))
    }

    /// What the callback of an order is signed with.
    pub fn callback_secret(&self, order: Uuid) -> WebhookSecret {
        WebhookSecret::from_key(self.derive_for("callback secret", order))
    }

    /// A keyed hash of an address prefix: counts a customer's open orders without storing the address.
    pub fn origin(&self, address_prefix: &str) -> String {
        let mac = keyed_hash(&self.derive("origin"), address_prefix.as_bytes());
        hex::encode(mac.get(..16).unwrap_or_default())
    }

    /// Encrypts `secret` so that it opens only with this key and for the same `purpose`.
    pub fn seal(&self, purpose: &str, secret: &[u8], nonce: [u8; NONCE_LENGTH]) -> Result<Vec<u8>, SecretError> {
        let payload = Payload { msg: secret, aad: purpose.as_bytes() };
        let sealed = self.cipher().encrypt(&XNonce::from(nonce), payload).map_err(|_| SecretError::Sealed)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, SecretError> {
        let (nonce, message) = sealed.split_at_checked(NONCE_LENGTH).ok_or(SecretError::Sealed)?;
        let nonce: [u8; NONCE_LENGTH] = nonce.try_into().map_err(|_| SecretError::Sealed)?;
        let payload = Payload { msg: message, aad: purpose.as_bytes() };
        self.cipher().decrypt(&XNonce::from(nonce), payload).map_err(|_| SecretError::Sealed)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.derive("seal").into())
    }

    fn derive_for(&self, label: &str, order: Uuid) -> [u8; 32] {
        keyed_hash(&self.derive(label), order.as_bytes())
    }

    #[expect(clippy::expect_used, reason = "HKDF fails only beyond 8,160 bytes")]
    fn derive(&self, label: &str) -> [u8; 32] {
        let mut derived = [0; 32];
        Hkdf::<Sha256>::new(Some(b"wiretoll"), &self.0)
            .expand(label.as_bytes(), &mut derived)
            .expect("32 bytes are within HKDF-SHA256's limit of 8,160");
        derived
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn keyed_hash(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

impl Keyring {
    /// At least one key, each id once.
    pub fn new(mut keys: Vec<(KeyId, InstanceKey)>) -> Result<Self, Invalid> {
        keys.sort_by_key(|(id, _)| *id);
        let current = keys.last().map(|(id, _)| *id).ok_or_else(|| Invalid::new("no instance key"))?;
        if keys.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
            return Err(Invalid::new("an instance key id is given twice"));
        }
        Ok(Self { keys, current })
    }

    /// Parses the key file: one key a line, `ID:64 hexadecimal digits`, `#` begins a comment.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self::new(lines.map(parse_line).collect::<Result<_, _>>()?)
    }

    /// The text that [`Keyring::parse`] reads, for a new key file.
    pub fn file_text(id: KeyId, key: &InstanceKey) -> String {
        format!(
            "# wiretoll's instance key: every claim token, preimage, preshared key and sealed key depends on it.\n\
             # Back it up apart from the database. To rotate, add a line with the next number.\n\
             {}:{}\n",
            id.0,
            hex::encode(key.0)
        )
    }

    pub const fn current(&self) -> KeyId {
        self.current
    }

    pub fn get(&self, id: KeyId) -> Result<&InstanceKey, SecretError> {
        let found = self.keys.iter().find(|(key_id, _)| *key_id == id);
        found.map(|(_, key)| key).ok_or(SecretError::MissingKey(id))
    }

    pub fn iter(&self) -> impl Iterator<Item = (KeyId, &InstanceKey)> {
        self.keys.iter().map(|(id, key)| (*id, key))
    }
}

fn parse_line(line: &str) -> Result<(KeyId, InstanceKey), Invalid> {
    let invalid = || Invalid::new("an instance key is a line such as 1:<64 hexadecimal digits>");
    let (id, key) = line.split_once(':').ok_or_else(invalid)?;
    let id = id.trim().parse::<i64>().ok().filter(|id| *id > 0).ok_or_else(invalid)?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(key.trim(), &mut bytes).map_err(|_| invalid())?;
    Ok((KeyId(id), InstanceKey(bytes)))
}

impl ClaimToken {
    /// Constant-time comparison with what a client sent.
    pub fn matches(&self, text: &str) -> bool {
        let expected = self.expose();
        expected.as_bytes().ct_eq(text.as_bytes()).into()
    }

    /// The text that a client gets: 64 hexadecimal digits.
    pub fn expose(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Debug for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InstanceKey(hidden)")
    }
}

impl fmt::Debug for ClaimToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimToken(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::keys::PrivateKey;

    const ORDER: Uuid = Uuid::from_u128(7);

    fn customer(n: u8) -> PublicKey {
        PrivateKey::from_random([n; 32]).public_key()
    }

    #[test]
    fn what_is_derived_never_changes() {
        // These values are promises: a changed derivation would orphan every order in the field.
        let key = InstanceKey::from_bytes([1; 32]);
        assert_eq!(
            hex::encode(key.preimage(ORDER).as_bytes()),
            "f5b3e04ded9fa136237b677405616598eaae7d80089e4468a1265ebd13065ede"
        );
        assert_eq!(key.claim_token(ORDER).expose(), "b7afb2296e4fc5e43cf099e51dda18f741b3eaef7dce5e7d4d9287b08f6b8d24");
        assert_eq!(key.callback_secret(ORDER).expose(), "whsec_xXKl+31uQsX5/IscBk0BFh5JsqzxTw9D5yEdmx0ySms=");
        assert_eq!(key.preshared_key(ORDER, customer(7)).expose(), "VMu2YKs4z3eu5DOBWuOm7yVeF4oSNUmf/w+ktqH/YgU=");
        assert_eq!(hex::encode(key.check_value()), "4f3b6afdf5cc53c4024c12d4c5ab468c716a86f57958eaf130a8aacbef6ffaf1");
    }

    #[test]
    fn each_order_and_each_use_has_its_own_secret() {
        let key = InstanceKey::from_bytes([1; 32]);
        assert_ne!(key.preimage(ORDER).as_bytes(), key.preimage(Uuid::from_u128(8)).as_bytes());
        assert_ne!(hex::encode(key.preimage(ORDER).as_bytes()), key.claim_token(ORDER).expose());
        let preshared = key.preshared_key(ORDER, customer(7));
        assert_ne!(preshared, key.preshared_key(Uuid::from_u128(8), customer(7)));
        assert_ne!(preshared, key.preshared_key(ORDER, customer(8)));
        assert_ne!(preshared, InstanceKey::from_bytes([2; 32]).preshared_key(ORDER, customer(7)));
    }

    #[test]
    fn a_token_matches_itself_only() {
        let key = InstanceKey::from_bytes([1; 32]);
        let token = key.claim_token(ORDER);
        assert!(token.matches(&token.expose()));
        for other in ["", "0", &key.claim_token(Uuid::from_u128(8)).expose()] {
            assert!(!token.matches(other));
        }
    }

    #[test]
    fn a_sealed_secret_opens_for_its_purpose_with_its_key_only() {
        let key = InstanceKey::from_bytes([1; 32]);
        let sealed = key.seal("private key of A", b"secret", [5; 24]).unwrap();
        assert_eq!(key.open("private key of A", &sealed).unwrap(), b"secret");
        assert_eq!(key.open("private key of B", &sealed), Err(SecretError::Sealed));
        assert_eq!(InstanceKey::from_bytes([2; 32]).open("private key of A", &sealed), Err(SecretError::Sealed));
        assert_eq!(key.open("private key of A", &sealed[..20]), Err(SecretError::Sealed));
    }

    #[test]
    fn the_key_file_round_trips_and_the_newest_key_is_current() {
        let text = Keyring::file_text(KeyId(1), &InstanceKey::from_bytes([1; 32]));
        let ring = Keyring::parse(&format!("{text}2:{}\n", "ab".repeat(32))).unwrap();
        assert_eq!(ring.current(), KeyId(2));
        assert_eq!(ring.get(KeyId(1)).unwrap().check_value(), InstanceKey::from_bytes([1; 32]).check_value());
        assert_eq!(ring.get(KeyId(3)).unwrap_err(), SecretError::MissingKey(KeyId(3)));
        let twice = format!("{text}{text}");
        for bad in ["", "1", "1:zz", "0:00", twice.as_str()] {
            assert!(Keyring::parse(bad).is_err(), "{bad}");
        }
    }
}
