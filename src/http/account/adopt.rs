//! `POST /account/adopt`: an order that was bought without a credential becomes the account's.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::adopt_order::{Adopted, adopt_order};
use crate::config::SecretText;
use crate::domain::Invalid;
use crate::domain::order::PublicName;
use crate::domain::time::Timestamp;
use crate::http::auth::{Permit, Subscriptions};
use crate::http::error::{Error, ErrorBody};
use crate::http::failures::Failures;
use crate::http::subscriptions::fields;
use crate::http::{Shared, body};

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdoptRequest {
    #[schema(example = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925")]
    #[serde(default, deserialize_with = "fields::text")]
    payment_hash: Option<String>,
    /// Of an order that is paid by card; beside a payment hash it is ignored.
    #[serde(default, deserialize_with = "fields::text")]
    order_id: Option<String>,
    /// From `create`: who has it has bought the order.
    claim_token: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdoptResponse {
    #[schema(example = "019aa9c4-5a3e-7c41-9a70-0d1c52a6f5b1")]
    order_id: String,
    /// Null until the order is paid; what it founds then is the account's at once.
    subscription_id: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-12-22T12:00:00.000Z")]
    subscription_end: Option<Timestamp>,
}

/// Adopts an order.
///
/// It and the subscription that it founded belong to the account from now on. A payment that extended a subscription
/// cannot be adopted.
#[utoipa::path(
    post, path = "/api/v1/account/adopt", tag = "account", operation_id = "adoptOrder",
    security(("apiKey" = []), ("nostr" = [])),
    request_body = AdoptRequest,
    responses(
        (status = 200, body = AdoptResponse),
        (status = 400, description = "`ERR_INVALID_INPUT`: not a hash, or the payment extended a subscription", body = ErrorBody),
        (status = 401, description = "`ERR_UNAUTHORIZED`", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the credential lacks the scope `subscriptions`", body = ErrorBody),
        (status = 404, description = "`ERR_RESOURCE_NOT_FOUND`: no such order, or not its claim token", body = ErrorBody),
        (status = 409, description = "`ERR_CONFLICT`: it belongs to another account", body = ErrorBody),
        (status = 503, description = "See `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn adopt(
    shared: Data<Shared>,
    permit: Permit<Subscriptions>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    let shown: AdoptRequest = body::read(&request, payload).await?;
    let (name, token) = shown.into_proof()?;
    let adopted = adopt_order(&shared.app, name, &token, &permit.owner).await?;
    Ok(body::private(&AdoptResponse::new(&adopted)))
}

impl AdoptRequest {
    /// What is shown, in the house's terms.
    pub fn into_proof(self) -> Result<(PublicName, SecretText), Invalid> {
        let name = fields::public_name(self.payment_hash.as_deref(), self.order_id.as_deref())?;
        Ok((name, SecretText::new(self.claim_token)))
    }
}

impl AdoptResponse {
    fn new(adopted: &Adopted) -> Self {
        let subscription = adopted.subscription.as_ref();
        Self {
            order_id: adopted.order.id.to_string(),
            subscription_id: subscription.map(|subscription| subscription.id.to_string()),
            subscription_end: subscription.map(|subscription| subscription.ends_at),
        }
    }
}
