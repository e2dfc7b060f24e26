//! `/account/nostr-keys`: the Nostr keys by which an owner signs requests.

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::nostr_accounts::{add_nostr_key, remove_nostr_key};
use crate::domain::account::StoredNostrKey;
use crate::domain::nip98::{BodyHash, NostrKey};
use crate::domain::time::Timestamp;
use crate::http::auth::{Admin, Keys, Permit, nostr};
use crate::http::error::{Error, ErrorBody};
use crate::http::failures::Failures;
use crate::http::{Shared, body};

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewNostrKeyRequest {
    /// A signed event of NIP-98 in base64, by the key that is to be added: its `u` is the URL of this request, its
    /// `method` is `POST`, and its `payload` is the SHA-256 of the account's id. So nobody adds a key that is not theirs.
    event: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NostrKeysResponse {
    nostr_keys: Vec<NostrKeyItem>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NostrKeyItem {
    /// 64 hexadecimal digits.
    #[schema(example = "63fe6318dc58583cfe16810f86dd09e18bfd76aabc24a0081ce2856f330504ed")]
    public_key: String,
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T12:00:00.000Z")]
    created_at: Timestamp,
    /// To the minute.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T12:00:00.000Z")]
    last_used_at: Option<Timestamp>,
}

/// Lists the account's Nostr keys.
#[utoipa::path(
    get, path = "/api/v1/account/nostr-keys", tag = "account", operation_id = "listNostrKeys",
    security(("apiKey" = []), ("nostr" = [])),
    responses(
        (status = 200, body = NostrKeysResponse),
        (status = 401, description = "`ERR_UNAUTHORIZED`", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the credential lacks the scope `keys`", body = ErrorBody),
        (status = 503, description = "See `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn list(shared: Data<Shared>, permit: Permit<Keys>) -> Result<HttpResponse, Error> {
    all(&shared, permit.owner.account).await
}

/// Adds a Nostr key.
///
/// Whoever has it may do everything that the account may, so that the credential that asks needs the scope `admin`.
#[utoipa::path(
    post, path = "/api/v1/account/nostr-keys", tag = "account", operation_id = "addNostrKey",
    security(("apiKey" = []), ("nostr" = [])),
    request_body = NewNostrKeyRequest,
    responses(
        (status = 200, body = NostrKeysResponse, description = "All of them, the new one among them"),
        (status = 400, description = "`ERR_INVALID_INPUT`: no event", body = ErrorBody),
        (status = 401, description = "`ERR_UNAUTHORIZED`: of the request, or of the event in it", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the credential lacks the scope `admin`", body = ErrorBody),
        (status = 409, description = "`ERR_CONFLICT`: the key is another account's, or the account has 20 already", body = ErrorBody),
        (status = 503, description = "See `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn add(
    shared: Data<Shared>,
    permit: Permit<Admin>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    let wanted: NewNostrKeyRequest = body::read(&request, payload).await?;
    let account = permit.owner.account.to_string();
    let key = nostr::prove(&shared, &request, &wanted.event, Some(BodyHash::of(account.as_bytes()))).await?;
    add_nostr_key(&shared.app, key, &permit.owner).await?;
    all(&shared, permit.owner.account).await
}

/// Removes a Nostr key.
///
/// A request that it signs is good for nothing from then on, except to found an account of its own.
#[utoipa::path(
    delete, path = "/api/v1/account/nostr-keys/{publicKey}", tag = "account", operation_id = "removeNostrKey",
    security(("apiKey" = []), ("nostr" = [])),
    params(("publicKey" = String, Path, description = "64 hexadecimal digits")),
    responses(
        (status = 204, description = "It is removed"),
        (status = 401, description = "`ERR_UNAUTHORIZED`", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the credential lacks the scope `admin`", body = ErrorBody),
        (status = 404, description = "`ERR_RESOURCE_NOT_FOUND`: the account has no such key", body = ErrorBody),
        (status = 409, description = "`ERR_CONFLICT`: it is the last credential by which the account can make others", body = ErrorBody),
        (status = 503, description = "See `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn remove(shared: Data<Shared>, permit: Permit<Admin>, key: Path<String>) -> Result<HttpResponse, Error> {
    let key = NostrKey::parse(&key).map_err(|invalid| Error::not_found(invalid.0))?;
    remove_nostr_key(&shared.app, key, &permit.owner).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn all(shared: &Shared, account: Uuid) -> Result<HttpResponse, Error> {
    let keys = shared.app.store.nostr_keys_of(account).await?;
    Ok(body::private(&NostrKeysResponse { nostr_keys: keys.into_iter().map(NostrKeyItem::from).collect() }))
}

impl From<StoredNostrKey> for NostrKeyItem {
    fn from(stored: StoredNostrKey) -> Self {
        Self { public_key: stored.key.to_string(), created_at: stored.created_at, last_used_at: stored.last_used_at }
    }
}
