//! `GET /account`: who one is.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::authenticate::Credential;
use crate::app::show_account::{AccountSummary, account_summary};
use crate::domain::time::Timestamp;
use crate::http::auth::{AnyScope, Permit};
use crate::http::error::{Error, ErrorBody};
use crate::http::failures::Failures;
use crate::http::{Shared, body};

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountResponse {
    #[schema(example = "019aa9c4-5a3e-7c41-9a70-0d1c52a6f5b1")]
    id: String,
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T12:00:00.000Z")]
    created_at: Timestamp,
    /// By what this request was known: `apiKey` or `nostrKey`.
    #[schema(value_type = String, example = "apiKey")]
    credential: &'static str,
    /// The id of that API key, or the Nostr key.
    credential_id: String,
    /// What that credential may be used for; `admin` is everything.
    #[schema(value_type = Vec<String>, example = json!(["orders", "subscriptions"]))]
    scopes: Vec<&'static str>,
    /// How many good API keys the account has.
    api_keys: usize,
    nostr_keys: usize,
}

/// Shows the account.
///
/// Any good credential may ask. A signed request (NIP-98) with a key that is unknown makes an account, here and on every
/// other path below `/api/v1/account`.
#[utoipa::path(
    get, path = "/api/v1/account", tag = "account", operation_id = "showAccount",
    security(("apiKey" = []), ("nostr" = [])),
    responses(
        (status = 200, body = AccountResponse),
        (status = 401, description = "`ERR_UNAUTHORIZED`", body = ErrorBody),
        (status = 503, description = "See `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn show(shared: Data<Shared>, permit: Permit<AnyScope>) -> Result<HttpResponse, Error> {
    let summary = account_summary(&shared.app, permit.owner.account).await?;
    Ok(body::private(&AccountResponse::new(&summary, &permit)))
}

impl AccountResponse {
    fn new(summary: &AccountSummary, permit: &Permit<AnyScope>) -> Self {
        let (credential, credential_id) = match permit.owner.credential {
            Credential::ApiKey(id) => ("apiKey", id.to_string()),
            Credential::NostrKey(key) => ("nostrKey", key.to_string()),
        };
        Self {
            id: summary.account.id.to_string(),
            created_at: summary.account.created_at,
            credential,
            credential_id,
            scopes: permit.owner.scopes.names(),
            api_keys: summary.api_keys,
            nostr_keys: summary.nostr_keys,
        }
    }
}
