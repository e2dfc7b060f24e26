//! JSON bodies within bounds: 256 KiB, ten seconds, 32 levels, strings of 1 KiB.
//!
//! The content type is not asked for: clients leave it out, and `curl -d` names a wrong one.

use std::time::Duration;

use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::error::Error;
use crate::domain::Invalid;

pub const MAX_BODY: usize = 256 * 1024;
pub const MAX_DEPTH: usize = 32;
/// Bytes of UTF-8, after escapes.
pub const MAX_STRING: usize = 1024;
/// A client on the worst of links sends the largest body in this time; one that trickles is turned away.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a request's JSON object.
///
/// # Errors
/// 413 for a larger body, 408 for a slow one, 400 for anything that is not the object that `T` expects.
pub async fn read<T: DeserializeOwned>(request: &HttpRequest, payload: Payload) -> Result<T, Error> {
    let body = receive_within_bounds(request, payload).await?;
    Ok(parse(&body)?)
}

/// A whole body, whatever is in it.
///
/// # Errors
/// 413 for a larger one, 408 for a slow one.
pub async fn receive_within_bounds(request: &HttpRequest, payload: Payload) -> Result<Bytes, Error> {
    if announced_length(request).is_some_and(|length| length > MAX_BODY as u64) {
        return Err(Error::too_large(MAX_BODY));
    }
    receive(payload, BODY_TIMEOUT).await
}

async fn receive(payload: Payload, within: Duration) -> Result<Bytes, Error> {
    let received = timeout(within, payload.to_bytes_limited(MAX_BODY)).await.map_err(|_| Error::too_slow())?;
    let whole = received.map_err(|_| Error::too_large(MAX_BODY))?;
    whole.map_err(|_| Error::invalid("the body did not arrive whole"))
}

/// A 200 whose body is a secret, or belongs to one request only.
pub fn private(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(body)
}

fn announced_length(request: &HttpRequest) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The object in a whole body, within the bounds.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Invalid> {
    let value: Value = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    if !value.is_object() {
        return Err(Invalid::new("the body must be a JSON object"));
    }
    check_bounds(&value, 1)?;
    serde_json::from_value(value).map_err(|error| Invalid::new(format!("the body is not valid: {error}")))
}

fn not_json(error: &serde_json::Error) -> Invalid {
    Invalid::new(format!("the body is not JSON: {error}"))
}

fn check_bounds(value: &Value, depth: usize) -> Result<(), Invalid> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        Value::String(text) => check_text(text),
        _ if depth > MAX_DEPTH => Err(Invalid::new(format!("the body is nested deeper than {MAX_DEPTH} levels"))),
        Value::Array(items) => items.iter().try_for_each(|item| check_bounds(item, depth + 1)),
        Value::Object(members) => members.iter().try_for_each(|(name, member)| {
            check_text(name)?;
            check_bounds(member, depth + 1)
        }),
    }
}

/// Postgres stores no NUL in text, so it is refused here and not there.
fn check_text(text: &str) -> Result<(), Invalid> {
    if text.len() > MAX_STRING {
        return Err(Invalid::new(format!("a string in the body is longer than {MAX_STRING} bytes")));
    }
    if text.contains('\0') {
        return Err(Invalid::new("a string in the body contains a NUL character"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, FromRequest, ResponseError, dev, web};
    use futures_util::stream;
    use proptest::prelude::*;

    use super::*;

    /// A request type such as the endpoints have: unknown fields are no matter.
    #[derive(Debug, serde::Deserialize)]
    struct Wanted {
        duration: Option<u32>,
    }

    fn message(body: &str) -> String {
        parse::<Wanted>(body.as_bytes()).unwrap_err().to_string()
    }

    fn nested(levels: usize) -> String {
        format!(r#"{{"x":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1))
    }

    #[test]
    fn thirty_two_levels_are_accepted_and_one_more_is_not() {
        assert!(parse::<Wanted>(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(message(&nested(MAX_DEPTH + 1)), "the body is nested deeper than 32 levels");
        assert!(message(&nested(100_000)).starts_with("the body is not JSON: recursion limit"));
    }

    #[test]
    fn a_string_of_1_kib_is_accepted_and_one_byte_more_is_not() {
        let with = |length: usize| format!(r#"{{"x":"{}"}}"#, "a".repeat(length));
        assert!(parse::<Wanted>(with(MAX_STRING).as_bytes()).is_ok());
        assert_eq!(message(&with(MAX_STRING + 1)), "a string in the body is longer than 1024 bytes");
        let name = format!(r#"{{"{}":1}}"#, "a".repeat(MAX_STRING + 1));
        assert_eq!(message(&name), "a string in the body is longer than 1024 bytes");
    }

    #[test]
    fn scenario_44_odd_bodies_are_refused_with_a_reason() {
        for body in ["", "{", "[]", "null", "\"x\"", r#"{"x":"\u0000"}"#, r#"{"duration":1e999}"#] {
            assert!(!message(body).is_empty(), "{body}");
        }
        assert!(parse::<Wanted>(br#"{"duration":99999999999999999999999}"#).is_err());
        assert!(parse::<Wanted>(b"{\"x\":\"\xff\"}").is_err());
        assert_eq!(parse::<Wanted>(br#"{"duration":1,"more":true}"#).unwrap().duration, Some(1));
    }

    #[actix_web::test]
    async fn a_body_of_256_kib_is_accepted_and_one_byte_more_is_413() {
        async fn echo(request: HttpRequest, payload: Payload) -> Result<HttpResponse, Error> {
            read::<Value>(&request, payload).await.map(|_| HttpResponse::Ok().finish())
        }
        let app = init_service(App::new().route("/", web::post().to(echo))).await;
        let status = async |length: usize| {
            let body = format!("{{}}{}", " ".repeat(length - 2));
            let request = TestRequest::post().uri("/").set_payload(body).to_request();
            call_service(&app, request).await.status().as_u16()
        };
        assert_eq!(status(MAX_BODY).await, 200);
        assert_eq!(status(MAX_BODY + 1).await, 413);
        let announced = TestRequest::post().uri("/").insert_header((CONTENT_LENGTH, "1073741824")).to_request();
        assert_eq!(call_service(&app, announced).await.status(), 413);
    }

    #[actix_web::test]
    async fn scenario_44_a_body_that_does_not_come_is_408() {
        let (request, _) = TestRequest::default().to_http_parts();
        let mut never: dev::Payload = dev::Payload::Stream { payload: Box::pin(stream::pending()) };
        let payload = Payload::from_request(&request, &mut never).await.unwrap();
        let error = receive(payload, Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(error.status_code(), 408);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse::<Wanted>(&body);
        }

        /// Text that looks like JSON goes further into the parser than noise does.
        #[test]
        fn no_text_of_json_characters_makes_it_panic(body in r#"\{"[a-z\\u0-9"\[\]{},:.eE+ -]{0,200}"#) {
            let _ = parse::<Wanted>(body.as_bytes());
        }
    }
}
