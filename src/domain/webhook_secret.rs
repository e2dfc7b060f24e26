//! The secret of a webhook endpoint, and its signatures as Standard Webhooks has them: HMAC-SHA256 over the message's
//! id, the time of the attempt and the body.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::Invalid;
use super::time::{SECOND, Timestamp};

const PREFIX: &str = "whsec_";
/// As the specification bounds them.
const SHORTEST: usize = 24;
const LONGEST: usize = 64;

/// 24 to 64 bytes that only the receiver and we know.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    /// One that was made here.
    pub fn from_key(key: [u8; 32]) -> Self {
        Self(key.to_vec())
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Invalid> {
        if (SHORTEST..=LONGEST).contains(&bytes.len()) {
            return Ok(Self(bytes.to_vec()));
        }
        Err(Invalid::new(format!("a webhook's secret has {SHORTEST} to {LONGEST} bytes")))
    }

    /// From the text that a receiver has, `whsec_` and base64.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let encoded = text.strip_prefix(PREFIX).and_then(|encoded| STANDARD.decode(encoded).ok()).map(Zeroizing::new);
        let expected = || format!("{PREFIX} and base64 of {SHORTEST} to {LONGEST} random bytes are expected");
        encoded.and_then(|bytes| Self::from_bytes(&bytes).ok()).ok_or_else(|| Invalid::new(expected()))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text that the receiver gets, once.
    pub fn expose(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }

    /// One signature, as it stands in `webhook-signature`.
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    pub fn sign(&self, id: &str, at: Timestamp, body: &str) -> String {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.0).expect("any length");
        mac.update(format!("{id}.{}.{body}", seconds(at)).as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// As it stands in `webhook-timestamp`.
pub const fn seconds(at: Timestamp) -> i64 {
    at.millis().div_euclid(SECOND)
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_signs_as_the_specification_does() {
        // The example of the specification's own libraries.
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = secret.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            Timestamp::from_seconds(1_614_265_330),
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn it_has_24_to_64_bytes() {
        for (length, is_one) in [(23, false), (24, true), (64, true), (65, false)] {
            assert_eq!(WebhookSecret::from_bytes(&vec![7; length]).is_ok(), is_one, "{length}");
            let text = format!("whsec_{}", STANDARD.encode(vec![7; length]));
            assert_eq!(WebhookSecret::parse(&text).is_ok(), is_one, "{length}");
        }
        for bad in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_ MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert!(WebhookSecret::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn its_text_round_trips_and_nothing_shows_it_by_accident() {
        let secret = WebhookSecret::from_bytes(&[9; 32]).unwrap();
        assert_eq!(WebhookSecret::parse(&secret.expose()), Ok(secret.clone()));
        assert_eq!(format!("{secret:?}"), "WebhookSecret(hidden)");
    }

    #[test]
    fn a_receiver_with_the_public_library_accepts_it_and_nothing_changed() {
        use standardwebhooks::Webhook;
        let secret = WebhookSecret::from_bytes(&[3; 48]).unwrap();
        let receiver = Webhook::new(&secret.expose()).unwrap();
        let (at, body) = (Timestamp::from_seconds(1_700_000_000), r#"{"type":"order.paid"}"#);
        let signature = secret.sign("0190a8f2", at, body);
        let signed = receiver.sign("0190a8f2", seconds(at), body.as_bytes()).unwrap();
        assert_eq!(signature, signed);
        for (id, at, body) in
            [("0190a8f3", at, body), ("0190a8f2", at.plus_millis(1_000), body), ("0190a8f2", at, "{}")]
        {
            assert_ne!(secret.sign(id, at, body), signed);
        }
    }
}
