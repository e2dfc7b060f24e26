//! Requests that are signed with a Nostr key (NIP-98).

use actix_web::HttpRequest;
use actix_web::http::Method;

use super::signed::body_hash;
use crate::app::authenticate::{Authenticated, authenticate_nostr_key};
use crate::app::nostr_accounts::{found_account, take_once};
use crate::domain::nip98::{Asked, BodyHash, NostrKey, SignedRequest};
use crate::http::error::Error;
use crate::http::{Shared, account};

const NO_ORIGINS: &str = "signed requests (NIP-98) are not taken here: the operator has not said by which names this \
                          service is reached ([service] origins)";
const NO_ACCOUNT: &str = "this Nostr key has no account here: a signed GET of /api/v1/account makes one";

/// The owner who signed a request. On a path of `/account`, whoever is unknown becomes one.
///
/// # Errors
/// 401 for an event that is not about this very request, is not of now, or was taken before; 429 for whoever asks too
/// often.
pub async fn owner_of(shared: &Shared, request: &HttpRequest, event: &str) -> Result<Authenticated, Error> {
    let signed = verified(shared, request, event, body_hash(request))?;
    let known = authenticate_nostr_key(&shared.app, signed.key).await?;
    // Before a row is written: keys cost nothing, so that anybody has as many as they like.
    match &known {
        Some(owner) => shared.limits.nostr.admit(owner.account)?,
        None if account::is_below(request.path()) => shared.limits.new_account.admit(shared.client(request))?,
        None => return Err(Error::unauthorized(NO_ACCOUNT)),
    }
    // Two honest requests of one second that only read are the same event.
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        take_once(&shared.app, &signed).await?;
    }
    match known {
        Some(owner) => Ok(owner),
        None => Ok(found_account(&shared.app, signed.key).await?),
    }
}

/// The key of an event that was signed for this request's URL and method, and for these bytes; it is taken once.
///
/// # Errors
/// 401 for an event that is not about that, is not of now, or was taken before.
pub async fn prove(
    shared: &Shared,
    request: &HttpRequest,
    event: &str,
    about: Option<BodyHash>,
) -> Result<NostrKey, Error> {
    let signed = verified(shared, request, event, about)?;
    take_once(&shared.app, &signed).await?;
    Ok(signed.key)
}

fn verified(
    shared: &Shared,
    request: &HttpRequest,
    event: &str,
    body: Option<BodyHash>,
) -> Result<SignedRequest, Error> {
    if shared.origins.is_empty() {
        return Err(Error::unauthorized(NO_ORIGINS));
    }
    let refused = |invalid: crate::domain::Invalid| Error::unauthorized(invalid.0);
    let signed = SignedRequest::parse(event).map_err(refused)?;
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let (method, now) = (request.method().as_str(), shared.app.clock.now());
    signed.verify(&Asked { method, origins: &shared.origins, target, body, now }).map_err(refused)?;
    Ok(signed)
}
