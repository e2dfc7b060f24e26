//! NIP-98: a request that is signed with a Nostr key, in `Authorization: Nostr <base64 of the event>`.
//!
//! The event names the method, the exact URL and the hash of the body, so that it is good for this request alone, and for
//! a minute. Whether it was seen before, and whose key it is, others have to ask.

use std::fmt;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bitcoin::secp256k1::schnorr::Signature;
use bitcoin::secp256k1::{Message, Secp256k1, VerifyOnly, XOnlyPublicKey};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Invalid;
use super::time::{MINUTE, Timestamp};

/// Of the header's text: a long URL fits, and not much more.
pub const MAX_TEXT: usize = 8 * 1024;
/// How far the signer's clock may be from ours, either way.
pub const WINDOW: i64 = MINUTE;
const KIND: u64 = 27_235;

static VERIFIER: LazyLock<Secp256k1<VerifyOnly>> = LazyLock::new(Secp256k1::verification_only);

/// A public key of Nostr (BIP 340), shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NostrKey(XOnlyPublicKey);

/// The hash of an event: its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId([u8; 32]);

/// An event as it was sent, with nothing checked but its form.
#[derive(Clone)]
pub struct SignedRequest {
    id: EventId,
    pub key: NostrKey,
    created_at: i64,
    event: Event,
    signature: Signature,
}

/// What an event must be about.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub method: &'a str,
    /// The scheme and authority of each of our own names, such as `https://shop.example`.
    pub origins: &'a [String],
    /// The path with its query, as it was sent.
    pub target: &'a str,
    /// None where there is no body.
    pub body: Option<BodyHash>,
    pub now: Timestamp,
}

/// SHA-256 of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyHash([u8; 32]);

/// As it stands in the JSON.
#[derive(Clone, Deserialize)]
struct Event {
    id: String,
    pubkey: String,
    created_at: i64,
    kind: u64,
    tags: Vec<Vec<String>>,
    content: String,
    sig: String,
}

impl NostrKey {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new("a Nostr public key is 64 lowercase hexadecimal digits (not npub1...)");
        let key = XOnlyPublicKey::from_slice(&lowercase_hex::<32>(text).ok_or_else(invalid)?);
        key.map(Self).map_err(|_| invalid())
    }
}

impl fmt::Display for NostrKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0.serialize()))
    }
}

impl fmt::Debug for NostrKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NostrKey({self})")
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Whoever reads it could send it again within its minute.
impl fmt::Debug for SignedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedRequest(hidden)")
    }
}

impl BodyHash {
    pub fn of(body: &[u8]) -> Self {
        Self(Sha256::digest(body).into())
    }
}

impl SignedRequest {
    /// The event in the text that follows `Nostr`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > MAX_TEXT {
            return Err(Invalid::new(format!("the Nostr event is longer than {MAX_TEXT} characters of base64")));
        }
        let json = STANDARD.decode(text).map_err(|_| Invalid::new("the Nostr event must be in standard base64"))?;
        let not_an_event = |_| Invalid::new("the base64 after `Nostr` must hold the JSON of one signed event (NIP-98)");
        let event: Event = serde_json::from_slice(&json).map_err(not_an_event)?;
        let id = lowercase_hex(&event.id).ok_or_else(|| Invalid::new("the event's id is not 64 hexadecimal digits"))?;
        let not_signed = || Invalid::new("the event's sig is not 128 hexadecimal digits");
        let signature = lowercase_hex::<64>(&event.sig).ok_or_else(not_signed)?;
        let signature = Signature::from_slice(&signature).map_err(|_| not_signed())?;
        let key = NostrKey::parse(&event.pubkey)?;
        Ok(Self { id: EventId(id), key, created_at: event.created_at, event, signature })
    }

    pub const fn id(&self) -> EventId {
        self.id
    }

    /// When it is too old for everybody, with as much again for replicas whose clocks differ.
    pub const fn forget_at(&self) -> Timestamp {
        Timestamp::from_seconds(self.created_at).plus_millis(10 * WINDOW)
    }

    /// Whether the event is signed by its key, about this request, and of now.
    ///
    /// # Errors
    /// What is wrong, so that an honest client can mend it.
    pub fn verify(&self, asked: &Asked<'_>) -> Result<(), Invalid> {
        if self.event.kind != KIND {
            return Err(Invalid::new(format!("the event's kind must be {KIND} (NIP-98)")));
        }
        self.check_time(asked.now)?;
        self.check_method(asked.method)?;
        self.check_url(asked)?;
        self.check_payload(asked.body)?;
        self.check_signature()
    }

    fn check_time(&self, now: Timestamp) -> Result<(), Invalid> {
        let age = now.since(Timestamp::from_seconds(self.created_at));
        let (seconds, side) = match age {
            _ if age > WINDOW => (age / 1000, "behind"),
            _ if age < -WINDOW => (age.saturating_neg() / 1000, "ahead of"),
            _ => return Ok(()),
        };
        Err(Invalid::new(format!(
            "the event's created_at is {seconds} s {side} this server's clock ({now}), and 60 s are allowed: sign each \
             request afresh, and set your clock"
        )))
    }

    fn check_method(&self, method: &str) -> Result<(), Invalid> {
        if self.tag("method")? == Some(method) {
            return Ok(());
        }
        Err(Invalid::new(format!("the event's `method` must be {method}")))
    }

    /// Never against what the request says of its own host: a proxy, or anybody, may have written that.
    fn check_url(&self, asked: &Asked<'_>) -> Result<(), Invalid> {
        let url = self.tag("u")?.unwrap_or_default();
        if asked.origins.iter().any(|origin| url.strip_prefix(origin.as_str()) == Some(asked.target)) {
            return Ok(());
        }
        let origins = asked.origins.join(" or ");
        Err(Invalid::new(format!(
            "the event's `u` must be exactly the URL that was asked: {origins}, then its path and query"
        )))
    }

    fn check_payload(&self, body: Option<BodyHash>) -> Result<(), Invalid> {
        let payload = self.tag("payload")?;
        let right = hex::encode(body.unwrap_or_else(|| BodyHash::of(b"")).0);
        match payload {
            None if body.is_none() => Ok(()),
            Some(payload) if payload == right => Ok(()),
            _ => Err(Invalid::new(
                "the event's `payload` must be the SHA-256 of the body that was sent, in hexadecimal digits",
            )),
        }
    }

    /// NIP-01: the id is the hash of what was signed, without white space.
    fn check_signature(&self) -> Result<(), Invalid> {
        let Event { pubkey, created_at, kind, tags, content, .. } = &self.event;
        let signed = json!([0, pubkey, created_at, kind, tags, content]).to_string();
        if <[u8; 32]>::from(Sha256::digest(signed)) != self.id.0 {
            return Err(Invalid::new("the event's id is not the hash of its content (NIP-01)"));
        }
        let message = Message::from_digest(self.id.0);
        let verified = VERIFIER.verify_schnorr(&self.signature, &message, &self.key.0);
        verified.map_err(|_| Invalid::new("the event's signature is not one of its pubkey"))
    }

    /// The value of a tag, which stands there once at most: of two, nobody knows which was meant.
    fn tag(&self, name: &str) -> Result<Option<&str>, Invalid> {
        let mut tags = self.event.tags.iter().filter(|tag| tag.first().is_some_and(|first| first == name));
        let value = tags.next().map(|tag| tag.get(1).map_or("", String::as_str));
        match tags.next() {
            None => Ok(value),
            Some(_) => Err(Invalid::new(format!("the event has more than one tag `{name}`"))),
        }
    }
}

fn lowercase_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let is_lowercase = !text.bytes().any(|digit| digit.is_ascii_uppercase());
    (is_lowercase && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Keypair, Secp256k1, SecretKey};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const NOW: i64 = 1_800_000_000;
    const TARGET: &str = "/api/v1/account?x=1&y=%20";

    fn origins() -> Vec<String> {
        vec!["https://shop.example".into(), "http://abcdef.onion".into()]
    }

    fn asked<'a>(origins: &'a [String], method: &'a str, body: Option<&[u8]>) -> Asked<'a> {
        Asked { method, origins, target: TARGET, body: body.map(BodyHash::of), now: Timestamp::from_seconds(NOW) }
    }

    /// An event that is changed before it is signed.
    fn signed(change: impl FnOnce(&mut Value)) -> SignedRequest {
        let secp = Secp256k1::new();
        let keys = Keypair::from_secret_key(&secp, &SecretKey::from_slice(&[3; 32]).unwrap());
        let mut event = json!({
            "pubkey": hex::encode(keys.x_only_public_key().0.serialize()),
            "created_at": NOW, "kind": 27_235, "content": "",
            "tags": [["u", format!("https://shop.example{TARGET}")], ["method", "GET"]],
        });
        change(&mut event);
        let text = json!([0, event["pubkey"], event["created_at"], event["kind"], event["tags"], event["content"]]);
        let id: [u8; 32] = Sha256::digest(text.to_string()).into();
        let signature = secp.sign_schnorr_no_aux_rand(&Message::from_digest(id), &keys);
        if event["id"].is_null() {
            event["id"] = json!(hex::encode(id));
        }
        event["sig"] = json!(hex::encode(signature.as_ref()));
        SignedRequest::parse(&STANDARD.encode(event.to_string())).unwrap()
    }

    fn refusal(event: &SignedRequest, method: &str, body: Option<&[u8]>) -> String {
        event.verify(&asked(&origins(), method, body)).unwrap_err().to_string()
    }

    #[test]
    fn an_event_is_good_for_its_own_request() {
        let origins = origins();
        signed(|_| {}).verify(&asked(&origins, "GET", None)).unwrap();
        let onion = signed(|event| event["tags"][0][1] = json!(format!("http://abcdef.onion{TARGET}")));
        onion.verify(&asked(&origins, "GET", None)).unwrap();
        let with_text = signed(|event| event["content"] = json!("a \"quote\", \\ and\nü\u{1f}"));
        with_text.verify(&asked(&origins, "GET", None)).unwrap();
    }

    #[test]
    fn scenario_51_a_clock_that_is_wrong_is_told_the_server_s_time() {
        let at = |seconds: i64| signed(|event| event["created_at"] = json!(NOW + seconds));
        for seconds in [-60, 0, 60] {
            at(seconds).verify(&asked(&origins(), "GET", None)).unwrap();
        }
        assert!(refusal(&at(-61), "GET", None).starts_with(
            "the event's created_at is 61 s behind this server's clock (2027-01-15T08:00:00.000Z), and 60 s are allowed"
        ));
        assert!(refusal(&at(61), "GET", None).contains("is 61 s ahead of this server's clock"));
        for created_at in [i64::MIN, i64::MAX] {
            let event = signed(|event| event["created_at"] = json!(created_at));
            assert!(refusal(&event, "GET", None).contains("this server's clock"));
        }
    }

    #[test]
    fn another_url_method_or_kind_is_refused() {
        for url in [
            "https://shop.example/api/v1/account",
            "https://shop.example/api/v1/account?y=%20&x=1",
            "https://shop.example/api/v1/account?x=1&y= ",
            "https://shop.example//api/v1/account?x=1&y=%20",
            "https://shop.example.evil.example/api/v1/account?x=1&y=%20",
            "HTTPS://shop.example/api/v1/account?x=1&y=%20",
            "http://shop.example/api/v1/account?x=1&y=%20",
            "/api/v1/account?x=1&y=%20",
            "",
        ] {
            let event = signed(|event| event["tags"][0][1] = json!(url));
            assert!(refusal(&event, "GET", None).starts_with("the event's `u` must be exactly"), "{url}");
        }
        assert_eq!(refusal(&signed(|_| {}), "DELETE", None), "the event's `method` must be DELETE");
        assert!(refusal(&signed(|event| event["tags"][1][1] = json!("get")), "GET", None).contains("`method`"));
        assert!(refusal(&signed(|event| event["kind"] = json!(1)), "GET", None).contains("kind must be 27235"));
        let twice = signed(|event| event["tags"] = json!([["u", "a"], ["u", "b"], ["method", "GET"]]));
        assert_eq!(refusal(&twice, "GET", None), "the event has more than one tag `u`");
        for tags in [json!([]), json!([["u"], ["method"]]), json!([[], ["method", "GET"]])] {
            assert!(signed(|event| event["tags"] = tags).verify(&asked(&origins(), "GET", None)).is_err());
        }
    }

    #[test]
    fn a_body_must_be_the_one_that_was_signed() {
        let with = |hash: &str| {
            let hash = hash.to_owned();
            signed(move |event| event["tags"].as_array_mut().unwrap().push(json!(["payload", hash])))
        };
        let right = hex::encode(Sha256::digest(b"{}"));
        with(&right).verify(&asked(&origins(), "GET", Some(b"{}"))).unwrap();
        for (event, body) in [
            (signed(|_| {}), Some(&b"{}"[..])),
            (with(&right), Some(b"{ }")),
            (with(&right), None),
            (with(&right.to_uppercase()), Some(b"{}")),
            (with(""), Some(b"{}")),
        ] {
            assert!(refusal(&event, "GET", body).starts_with("the event's `payload`"));
        }
        with(&hex::encode(Sha256::digest(b""))).verify(&asked(&origins(), "GET", None)).unwrap();
    }

    #[test]
    fn what_was_not_signed_by_its_key_is_refused() {
        let other_id = signed(|event| event["id"] = json!("ab".repeat(32)));
        assert!(refusal(&other_id, "GET", None).starts_with("the event's id is not the hash"));
        let mut other_key = signed(|_| {});
        let mut forged = signed(|event| event["content"] = json!("another"));
        std::mem::swap(&mut other_key.signature, &mut forged.signature);
        assert!(refusal(&other_key, "GET", None).starts_with("the event's signature"));
    }

    #[test]
    fn an_event_is_read_up_to_its_bound() {
        let message = |text: &str| SignedRequest::parse(text).unwrap_err().to_string();
        assert!(message(&"A".repeat(MAX_TEXT)).contains("JSON of one signed event"));
        assert!(message(&"A".repeat(MAX_TEXT + 4)).contains("longer than 8192"));
        for bad in ["", "{}", "e30=", "%%%", "e30"] {
            assert!(!message(bad).is_empty());
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}", json in r#"\{"[a-z0-9"\[\]{},:]{0,100}"#) {
            let _ = SignedRequest::parse(&text);
            let _ = SignedRequest::parse(&STANDARD.encode(json));
        }
    }
}
