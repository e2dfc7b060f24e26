//! Stripe's signature of an event: `Stripe-Signature: t=<seconds>,v1=<hex>,...` over the raw body.
//!
//! <https://docs.stripe.com/webhooks/signature>: HMAC-SHA-256 of `<t>.<body>` under the endpoint's secret. While a secret
//! is rotated Stripe sends a `v1` for each of the two.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::domain::time::{SECOND, Timestamp};

/// How far the time of a signature may be from ours, before or after.
pub const TOLERANCE: i64 = 300 * SECOND;
/// Stripe sends one entry a secret; so many are looked at.
const MOST_SIGNATURES: usize = 10;

/// Why a signature is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the header Stripe-Signature is missing or not of the form t=...,v1=...")]
    Malformed,
    #[error("no v1 of Stripe-Signature fits the body: is the webhook secret that of this endpoint?")]
    Wrong,
    #[error("Stripe-Signature is genuine, and made more than 300 s before or after the time here: check this clock")]
    WrongTime,
}

/// Whether one of the header's signatures was made for these bytes with one of the secrets, at about this time.
///
/// # Errors
/// The time is judged last, so that only who knows the secret learns anything of the clock.
pub fn verify(header: &str, body: &[u8], secrets: &[&str], now: Timestamp) -> Result<(), Refusal> {
    let Signed { at, at_text, signatures } = parse(header).ok_or(Refusal::Malformed)?;
    let is_genuine = secrets
        .iter()
        .flat_map(|secret| signatures.iter().map(move |signature| (secret, signature)))
        .any(|(secret, signature)| is_signed(secret, at_text, body, signature));
    if !is_genuine {
        return Err(Refusal::Wrong);
    }
    let difference = i128::from(now.millis()) - i128::from(at) * i128::from(SECOND);
    if difference.unsigned_abs() > TOLERANCE.unsigned_abs().into() {
        return Err(Refusal::WrongTime);
    }
    Ok(())
}

/// What the header says.
struct Signed<'h> {
    at: i64,
    /// As it is written, which is what was signed.
    at_text: &'h str,
    /// Every `v1`.
    signatures: Vec<[u8; 32]>,
}

fn parse(header: &str) -> Option<Signed<'_>> {
    let mut signed_at = None;
    let mut signatures = Vec::new();
    for (name, value) in header.split(',').filter_map(|part| part.trim().split_once('=')) {
        match name {
            "t" => signed_at = Some((value.parse().ok()?, value)),
            "v1" if signatures.len() < MOST_SIGNATURES => {
                let mut bytes = [0; 32];
                if hex::decode_to_slice(value, &mut bytes).is_ok() {
                    signatures.push(bytes);
                }
            }
            // `v0` is made with a secret that everybody knows.
            _ => {}
        }
    }
    let (at, at_text) = signed_at.filter(|_| !signatures.is_empty())?;
    Some(Signed { at, at_text, signatures })
}

/// Compares in constant time.
fn is_signed(secret: &str, signed_at: &str, body: &[u8], signature: &[u8; 32]) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
    mac.update(signed_at.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.verify_slice(signature).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BODY: &[u8] = br#"{"id":"evt_1"}"#;
    const SIGNED_AT: i64 = 1_795_000_000;

    fn sign(secret: &str, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{SIGNED_AT}.").as_bytes());
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    }

    fn header(secret: &str) -> String {
        format!("t={SIGNED_AT},v1={},v0=00", sign(secret, BODY))
    }

    fn seconds_later(seconds: i64) -> Timestamp {
        Timestamp::from_millis((SIGNED_AT + seconds) * SECOND)
    }

    #[test]
    fn what_was_signed_with_either_secret_is_believed_wherever_its_entry_stands() {
        let now = seconds_later(0);
        assert_eq!(verify(&header("whsec_a"), BODY, &["whsec_a"], now), Ok(()));
        assert_eq!(verify(&header("whsec_a"), BODY, &["whsec_b", "whsec_a"], now), Ok(()));
        let during_rotation = format!("t={SIGNED_AT},v1={},v1={}", sign("whsec_a", BODY), sign("whsec_b", BODY));
        for secret in ["whsec_a", "whsec_b"] {
            assert_eq!(verify(&during_rotation, BODY, &[secret], now), Ok(()));
        }
        assert_eq!(verify(&header("whsec_a"), BODY, &["whsec_b"], now), Err(Refusal::Wrong));
        assert_eq!(verify(&header("whsec_a"), BODY, &[], now), Err(Refusal::Wrong));
    }

    #[test]
    fn scenario_51_a_signature_counts_300_s_both_ways_and_no_longer() {
        for (seconds, expected) in
            [(300, Ok(())), (-300, Ok(())), (301, Err(Refusal::WrongTime)), (-301, Err(Refusal::WrongTime))]
        {
            assert_eq!(verify(&header("s"), BODY, &["s"], seconds_later(seconds)), expected, "{seconds}");
        }
        // Whoever does not know the secret learns nothing of the clock.
        assert_eq!(verify(&header("s"), BODY, &["t"], seconds_later(301)), Err(Refusal::Wrong));
    }

    #[test]
    fn a_header_of_another_form_is_refused() {
        let v1 = sign("s", BODY);
        for bad in
            ["", "t=", &format!("v1={v1}"), &format!("t={SIGNED_AT},v0={v1}"), &format!("t=x,v1={v1}"), "t=1,v1=zz"]
        {
            assert_eq!(verify(bad, BODY, &["s"], seconds_later(0)), Err(Refusal::Malformed), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_header_and_body_have_an_answer(header in "[tv10=,a-f]{0,80}|\\PC{0,40}", body: Vec<u8>) {
            let _ = verify(&header, &body, &["s"], seconds_later(0));
        }

        /// One bit more or less in the body, and it is another body.
        #[test]
        fn a_changed_body_is_refused(at in 0..BODY.len(), bit in 0..8_u8) {
            let mut body = BODY.to_vec();
            body[at] ^= 1 << bit;
            prop_assert_eq!(verify(&header("s"), &body, &["s"], seconds_later(0)), Err(Refusal::Wrong));
        }
    }
}
