//! A signature covers the body, too, so that a signed request is read before its handler is asked.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Payload as RawPayload, ServiceRequest, ServiceResponse};
use actix_web::http::header::AUTHORIZATION;
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpMessage as _, HttpRequest, ResponseError as _};

use crate::domain::nip98::BodyHash;
use crate::http::body;
use crate::http::error::Error;

/// Reads the body of a signed request and leaves its hash beside it; every other one passes as it is.
pub async fn hash_body<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    if claims_to_be_signed(request.request()) {
        match read(&mut request).await {
            Ok(body) if body.is_empty() => {}
            Ok(body) => {
                request.extensions_mut().insert(BodyHash::of(&body));
                request.set_payload(RawPayload::from(body));
            }
            Err(error) => return Ok(request.into_response(error.error_response()).map_into_right_body()),
        }
    }
    Ok(next.call(request).await?.map_into_left_body())
}

/// The hash of the body that came with it, if one did.
pub fn body_hash(request: &HttpRequest) -> Option<BodyHash> {
    request.extensions().get::<BodyHash>().copied()
}

/// What follows the scheme `Nostr`.
pub fn event_of(header: &str) -> Option<&str> {
    let (scheme, event) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("nostr").then(|| event.trim())
}

fn claims_to_be_signed(request: &HttpRequest) -> bool {
    let header = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok());
    header.and_then(event_of).is_some()
}

async fn read(request: &mut ServiceRequest) -> Result<Bytes, Error> {
    let payload = request.extract::<Payload>().await.map_err(|_| Error::internal())?;
    body::receive_within_bounds(request.request(), payload).await
}
