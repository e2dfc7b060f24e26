//! `/account/api-keys`: an owner's own keys. The text of a key is in one answer only, that of the request that made it.

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::create_api_key::{KeyOwner, MadeApiKey, NewApiKey, create_api_key};
use crate::app::operator::By;
use crate::app::revoke_api_key::{NO_SUCH_KEY, revoke_api_key};
use crate::domain::Invalid;
use crate::domain::account::{KeyName, Scope, Scopes, StoredApiKey};
use crate::domain::time::Timestamp;
use crate::http::auth::{Keys, Permit};
use crate::http::error::{Error, ErrorBody};
use crate::http::failures::Failures;
use crate::http::{Shared, body};

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewKeyRequest {
    /// 1 to 100 characters, to tell it from others.
    #[schema(example = "the shop's server")]
    name: String,
    /// Some of `orders`, `subscriptions`, `referrals`, `webhooks`, `keys` and `admin` that the credential has, too.
    #[schema(example = json!(["orders", "subscriptions"]))]
    scopes: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewKeyResponse {
    /// The key itself: it is shown here and never again.
    #[schema(example = "sk_live_66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925")]
    key: String,
    #[serde(flatten)]
    api_key: ApiKeyItem,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeysResponse {
    api_keys: Vec<ApiKeyItem>,
}

/// A key without its secret.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyItem {
    #[schema(example = "019aa9c4-5a3e-7c41-9a70-0d1c52a6f5b1")]
    id: String,
    name: String,
    /// How the key begins.
    #[schema(example = "sk_live_66687aad")]
    beginning: String,
    #[schema(value_type = Vec<String>, example = json!(["orders", "subscriptions"]))]
    scopes: Vec<&'static str>,
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T12:00:00.000Z")]
    created_at: Timestamp,
    /// To the minute.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T12:00:00.000Z")]
    last_used_at: Option<Timestamp>,
}

/// Lists the account's good API keys, the oldest first.
#[utoipa::path(
    get, path = "/api/v1/account/api-keys", tag = "account", operation_id = "listApiKeys",
    security(("apiKey" = []), ("nostr" = [])),
    responses(
        (status = 200, body = ApiKeysResponse),
        (status = 401, description = "`ERR_UNAUTHORIZED`", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the credential lacks the scope `keys`", body = ErrorBody),
        (status = 503, description = "See `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn list(shared: Data<Shared>, permit: Permit<Keys>) -> Result<HttpResponse, Error> {
    let keys = shared.app.store.good_api_keys(permit.owner.account).await?;
    Ok(body::private(&ApiKeysResponse { api_keys: keys.into_iter().map(ApiKeyItem::from).collect() }))
}

/// Makes an API key.
///
/// Its text is in this answer and never shown again. It has the scopes of the credential that asks, or fewer.
#[utoipa::path(
    post, path = "/api/v1/account/api-keys", tag = "account", operation_id = "createApiKey",
    security(("apiKey" = []), ("nostr" = [])),
    request_body = NewKeyRequest,
    responses(
        (status = 200, body = NewKeyResponse),
        (status = 400, description = "`ERR_INVALID_INPUT`: the name or a scope is not valid", body = ErrorBody),
        (status = 401, description = "`ERR_UNAUTHORIZED`", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the credential lacks the scope `keys`, or one of those that are asked for", body = ErrorBody),
        (status = 409, description = "`ERR_CONFLICT`: the account has 100 keys already", body = ErrorBody),
        (status = 503, description = "See `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn create(
    shared: Data<Shared>,
    permit: Permit<Keys>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    let wanted: NewKeyRequest = body::read(&request, payload).await?;
    let new = wanted.into_new_key(permit.owner.account)?;
    let made = create_api_key(&shared.app, new, By::Account(&permit.owner)).await?;
    Ok(body::private(&NewKeyResponse::from(made)))
}

/// Revokes an API key.
///
/// It is good for nothing from the next request on. A key that is revoked already is no mistake.
#[utoipa::path(
    delete, path = "/api/v1/account/api-keys/{id}", tag = "account", operation_id = "revokeApiKey",
    security(("apiKey" = []), ("nostr" = [])),
    params(("id" = String, Path, description = "The key's id, which is not the key")),
    responses(
        (status = 204, description = "It is revoked"),
        (status = 401, description = "`ERR_UNAUTHORIZED`", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the credential lacks the scope `keys`, or a scope of that key", body = ErrorBody),
        (status = 404, description = "`ERR_RESOURCE_NOT_FOUND`: the account has no such key", body = ErrorBody),
        (status = 409, description = "`ERR_CONFLICT`: it is the last credential by which the account can make others", body = ErrorBody),
        (status = 503, description = "See `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn revoke(shared: Data<Shared>, permit: Permit<Keys>, id: Path<String>) -> Result<HttpResponse, Error> {
    let id = Uuid::try_parse(&id).map_err(|_| Error::not_found(NO_SUCH_KEY))?;
    revoke_api_key(&shared.app, id, By::Account(&permit.owner)).await?;
    Ok(HttpResponse::NoContent().finish())
}

impl NewKeyRequest {
    fn into_new_key(self, account: Uuid) -> Result<NewApiKey, Invalid> {
        let scopes = self.scopes.iter().map(|scope| Scope::parse(scope)).collect::<Result<Vec<_>, _>>()?;
        Ok(NewApiKey {
            account: KeyOwner::Account(account),
            name: KeyName::parse(&self.name)?,
            scopes: Scopes::new(scopes)?,
        })
    }
}

impl From<MadeApiKey> for NewKeyResponse {
    fn from(made: MadeApiKey) -> Self {
        Self { key: made.key.expose(), api_key: made.stored.into() }
    }
}

impl From<StoredApiKey> for ApiKeyItem {
    fn from(key: StoredApiKey) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name.as_str().to_owned(),
            beginning: key.beginning,
            scopes: key.scopes.names(),
            created_at: key.created_at,
            last_used_at: key.last_used_at,
        }
    }
}
