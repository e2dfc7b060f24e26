//! From the `Authorization` header to an owner, within what one address and one account may ask.

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

use super::{nostr, signed};
use crate::app::authenticate::{Authenticated, authenticate_api_key};
use crate::domain::account::ApiKey;
use crate::http::Shared;
use crate::http::error::Error;

const NOT_A_CREDENTIAL: &str =
    "Authorization must be `Bearer` and an API key, or `Nostr` and a signed event (NIP-98), once";

/// The owner behind a request; none where it carries no credential at all.
///
/// # Errors
/// 401 for a credential that is not good; 429 for an account that asks too often, or an address with too many that are
/// not good.
pub async fn owner_of(shared: &Shared, request: &HttpRequest) -> Result<Option<Authenticated>, Error> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let Some(header) = headers.next() else { return Ok(None) };
    let header = header.to_str().ok().filter(|_| headers.next().is_none());
    let owner = authenticate(shared, request, header.unwrap_or_default()).await;
    if owner.as_ref().is_err_and(Error::is_unauthorized) {
        shared.limits.failed_authentication.admit(shared.client(request))?;
    }
    owner.map(Some)
}

async fn authenticate(shared: &Shared, request: &HttpRequest, header: &str) -> Result<Authenticated, Error> {
    match header.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => by_api_key(shared, key.trim()).await,
        _ => match signed::event_of(header) {
            Some(event) => nostr::owner_of(shared, request, event).await,
            None => Err(Error::unauthorized(NOT_A_CREDENTIAL)),
        },
    }
}

async fn by_api_key(shared: &Shared, key: &str) -> Result<Authenticated, Error> {
    let key = ApiKey::parse(key).map_err(|invalid| Error::unauthorized(invalid.0))?;
    let owner = authenticate_api_key(&shared.app, &key).await?;
    shared.limits.api_key.admit(owner.account)?;
    Ok(owner)
}
