//! What a run handled and no log may hold, in every form in which a program might write it down.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use wiretoll::domain::webhook_secret::WebhookSecret;
use wiretoll::random;

use crate::place::text;

/// All that a run handled and no log may hold.
#[derive(Default)]
pub struct Secrets(Vec<(String, String)>);

impl Secrets {
    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn text(&mut self, what: &str, secret: &str) {
        assert!(secret.len() >= 12, "too short to be looked for: {what}");
        self.0.push((what.to_owned(), secret.to_owned()));
    }

    /// In every form in which a program might write bytes down.
    pub fn bytes(&mut self, what: &str, secret: &[u8]) {
        let numbers = secret.iter().take(8).map(u8::to_string).collect::<Vec<_>>();
        self.text(what, &hex::encode(secret));
        self.text(what, &hex::encode_upper(secret));
        self.text(what, &STANDARD.encode(secret));
        self.text(what, &URL_SAFE_NO_PAD.encode(secret));
        self.text(what, &numbers.join(", "));
        self.text(what, &numbers.join(","));
    }

    /// An order as its customer knows it.
    pub fn order(&mut self, order: &Value) {
        self.bytes("payment hash", &hex::decode(text(order, "paymentHash")).unwrap());
        self.text("invoice", text(order, "invoice"));
        self.text("invoice in capitals", &text(order, "invoice").to_uppercase());
        // A renewal has none: it gives nothing to claim.
        order["claimToken"].as_str().into_iter().for_each(|token| self.text("claim token", token));
    }

    /// The secret keys of a config that was sold.
    pub fn config(&mut self, config: &str) {
        for name in ["PrivateKey = ", "PresharedKey = "] {
            let key = config.lines().find_map(|line| line.strip_prefix(name));
            if let Some(key) = key {
                self.bytes(name, &STANDARD.decode(key).unwrap());
            }
        }
    }

    /// What signs the messages of a webhook.
    pub fn webhook(&mut self, what: &str, secret: &str) {
        self.text(what, secret);
        self.bytes(what, WebhookSecret::parse(secret).unwrap().as_bytes());
    }

    /// What stands in the query of a URL, where some receivers have a secret of theirs.
    pub fn token(&mut self) -> String {
        let token = hex::encode(random::bytes::<16>().unwrap());
        self.text("a token in a URL", &token);
        token
    }

    /// What lies in the operator's folder: the node's preimages, the instance key, the macaroon.
    pub fn folder(&mut self, folder: &Path) {
        let journal = std::fs::read_to_string(folder.join("node/journal.jsonl")).unwrap();
        let preimages = journal.split(r#""preimage":""#).skip(1).map(|rest| &rest[..64]);
        preimages.for_each(|preimage| self.bytes("preimage", &hex::decode(preimage).unwrap()));
        let instance_key = std::fs::read_to_string(folder.join("instance.key")).unwrap();
        let instance_key = instance_key.lines().find_map(|line| line.strip_prefix("1:")).unwrap();
        self.bytes("instance key", &hex::decode(instance_key).unwrap());
    }

    pub fn macaroon(&mut self, file: &Path) {
        let macaroon = std::fs::read(file).unwrap();
        // Its end is the signature, the part that nobody can guess.
        self.bytes("signature of the macaroon", &macaroon[macaroon.len() - 32..]);
        self.bytes("macaroon", &macaroon);
    }

    /// Which of them a text holds.
    pub fn found_in(&self, text: &str) -> Vec<&str> {
        self.0.iter().filter(|(_, secret)| text.contains(secret)).map(|(what, _)| what.as_str()).collect()
    }
}

/// Fails where the log holds a secret, or where it would not be noticed.
pub fn assert_keeps(secrets: &Secrets, log: &str, known: &[&str]) {
    for (what, secret) in &secrets.0 {
        assert!(secrets.found_in(&format!("said={secret}\n")).contains(&what.as_str()), "{what} would not be found");
    }
    for said in known {
        assert!(log.contains(said), "the log was not collected: it lacks {said}\n{log}");
    }
    let told: Vec<_> = secrets.0.iter().filter(|(_, secret)| log.contains(secret)).collect();
    let lines: Vec<_> = log.lines().filter(|line| told.iter().any(|(_, secret)| line.contains(secret))).collect();
    assert!(told.is_empty(), "{told:#?} in {lines:#?}");
}
