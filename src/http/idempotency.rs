//! The `Idempotency-Key` header: the same request again gets the same answer.

use actix_web::HttpRequest;
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::error::Error;
use crate::store::IdempotencyKey;

const HEADER: &str = "idempotency-key";
const ANONYMOUS: &str = "anonymous";

/// The key of a request, if it has one; `body` is what the request asks for, without what does not matter.
///
/// # Errors
/// 400 where it is not a UUID: strangers share one scope, so a key must be one that nobody else would choose.
pub fn key_of(
    request: &HttpRequest,
    route: &'static str,
    body: &impl Serialize,
) -> Result<Option<IdempotencyKey>, Error> {
    let Some(header) = request.headers().get(HEADER) else { return Ok(None) };
    let key = header.to_str().ok().and_then(|text| Uuid::try_parse(text.trim()).ok());
    let key = key.ok_or_else(|| Error::invalid("Idempotency-Key must be a UUID, made afresh for each purchase"))?;
    Ok(Some(IdempotencyKey {
        scope: ANONYMOUS.to_owned(),
        route,
        key: key.hyphenated().to_string(),
        fingerprint: fingerprint(body)?,
    }))
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
        key_of(&request, "create", &"body")
    }

    #[test]
    fn a_uuid_is_taken_in_one_spelling() {
        let spelt = |text| key(HeaderValue::from_static(text)).unwrap().unwrap().key;
        assert_eq!(spelt("0190A8F2-0000-7000-8000-00000000000A"), "0190a8f2-0000-7000-8000-00000000000a");
        assert!(key_of(&TestRequest::default().to_http_request(), "create", &"body").unwrap().is_none());
    }

    #[test]
    fn scenario_44_any_other_key_is_refused() {
        for bad in [&b""[..], b"1", b"order-1", b"\xff\xfe"] {
            assert!(key(HeaderValue::from_bytes(bad).unwrap()).is_err(), "{bad:?}");
        }
    }
}
