//! Somebody with a Nostr key, who signs requests as NIP-98 says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bitcoin::secp256k1::{Keypair, Message, Secp256k1, SecretKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use wiretoll::domain::nip98::NostrKey;
use wiretoll::domain::time::Timestamp;

/// By this name the shops of these tests are reached, whatever they listen on.
pub const ORIGIN: &str = "https://shop.example";

pub struct Signer(Keypair);

impl Signer {
    pub fn new() -> Self {
        let secret = SecretKey::from_slice(&wiretoll::random::bytes::<32>().unwrap()).unwrap();
        Self(Keypair::from_secret_key(&Secp256k1::new(), &secret))
    }

    pub fn public_key(&self) -> NostrKey {
        NostrKey::parse(&hex::encode(self.0.x_only_public_key().0.serialize())).unwrap()
    }

    /// The base64 of an event for a request; `payload` is what its hash is of.
    pub fn event(&self, method: &str, target: &str, payload: Option<&[u8]>, at: Timestamp) -> String {
        let mut tags = vec![json!(["u", format!("{ORIGIN}{target}")]), json!(["method", method])];
        tags.extend(payload.map(|payload| json!(["payload", hex::encode(Sha256::digest(payload))])));
        self.sign(&json!(tags), at)
    }

    fn sign(&self, tags: &Value, at: Timestamp) -> String {
        let (key, at) = (self.public_key().to_string(), at.millis() / 1000);
        // Of two events of one second, which are the same otherwise.
        let content = hex::encode(wiretoll::random::bytes::<8>().unwrap());
        let id: [u8; 32] = Sha256::digest(json!([0, key, at, 27_235, tags, content]).to_string()).into();
        let signature = Secp256k1::new().sign_schnorr_no_aux_rand(&Message::from_digest(id), &self.0);
        let event = json!({
            "id": hex::encode(id), "pubkey": key, "created_at": at, "kind": 27_235, "tags": tags, "content": content,
            "sig": hex::encode(signature.as_ref()),
        });
        STANDARD.encode(event.to_string())
    }

    /// The whole header.
    pub fn header(&self, method: &str, target: &str, payload: Option<&[u8]>, at: Timestamp) -> String {
        format!("Nostr {}", self.event(method, target, payload, at))
    }
}
