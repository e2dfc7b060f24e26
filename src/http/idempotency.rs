//! The `Idempotency-Key` header: the same request again gets the same answer.
//!
//! Strangers share one scope, so that their key must be one that nobody else would choose. An account has its own.

use actix_web::HttpRequest;
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::error::Error;
use crate::store::IdempotencyKey;

const HEADER: &str = "idempotency-key";
const ANONYMOUS: &str = "anonymous";
/// Of an account's own key, in bytes.
const MAX_KEY: usize = 255;

/// The key of a request, if it has one; `body` is what the request asks for, without what does not matter.
///
/// # Errors
/// 400 where it is not a UUID, or for an account, not 1 to 255 visible characters.
pub fn key_of(
    request: &HttpRequest,
    account: Option<Uuid>,
    route: &'static str,
    body: &impl Serialize,
) -> Result<Option<IdempotencyKey>, Error> {
    let Some(header) = request.headers().get(HEADER) else { return Ok(None) };
    let text = header.to_str().unwrap_or_default().trim();
    let (scope, key) = match account {
        Some(account) => (account.to_string(), own_key(text)?),
        None => (ANONYMOUS.to_owned(), strangers_key(text)?),
    };
    Ok(Some(IdempotencyKey { scope, route, key, fingerprint: fingerprint(body)? }))
}

fn own_key(text: &str) -> Result<String, Error> {
    let is_key = (1..=MAX_KEY).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    is_key.then(|| text.to_owned()).ok_or_else(|| Error::invalid("Idempotency-Key must be 1 to 255 visible characters"))
}

fn strangers_key(text: &str) -> Result<String, Error> {
    let key = Uuid::try_parse(text).map(|key| key.hyphenated().to_string());
    key.map_err(|_| Error::invalid("Idempotency-Key must be a UUID, made afresh for each purchase"))
}

fn fingerprint(body: &impl Serialize) -> Result<String, Error> {
    let canonical = serde_json::to_vec(body).map_err(|_| Error::internal())?;
    Ok(hex::encode(Sha256::digest(canonical)))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use actix_web::test::TestRequest;

    use super::*;

    fn key(header: HeaderValue) -> Result<Option<IdempotencyKey>, Error> {
        let request = TestRequest::default().insert_header((HEADER, header)).to_http_request();
        key_of(&request, None, "create", &"body")
    }

    #[test]
    fn a_uuid_is_taken_in_one_spelling() {
        let spelt = |text| key(HeaderValue::from_static(text)).unwrap().unwrap().key;
        assert_eq!(spelt("0190A8F2-0000-7000-8000-00000000000A"), "0190a8f2-0000-7000-8000-00000000000a");
        assert!(key_of(&TestRequest::default().to_http_request(), None, "create", &"body").unwrap().is_none());
    }

    #[test]
    fn an_account_s_key_is_any_text_within_its_bound() {
        let key = |text: &str| {
            let request = TestRequest::default().insert_header((HEADER, text)).to_http_request();
            key_of(&request, Some(Uuid::nil()), "create", &"body")
        };
        let taken = key("order 1").unwrap().unwrap();
        assert_eq!((taken.scope, taken.key), (Uuid::nil().to_string(), "order 1".to_owned()));
        assert!(key(&"a".repeat(255)).is_ok());
        for bad in ["", " ", &"a".repeat(256)] {
            assert!(key(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn scenario_44_any_other_key_is_refused() {
        for bad in [&b""[..], b"1", b"order-1", b"\xff\xfe"] {
            assert!(key(HeaderValue::from_bytes(bad).unwrap()).is_err(), "{bad:?}");
        }
    }
}
