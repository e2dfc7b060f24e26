//! `POST /subscription/create`: an order with an invoice to be paid.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::how_to_pay::HowToPay;
use super::{fields, purchase};
use crate::app::place_order::{Customer, PlaceOrder, PlacedOrder, place_order};
use crate::app::referral::known_code;
use crate::domain::Invalid;
use crate::domain::order::{ClaimBy, Order};
use crate::domain::server::ServerId;
use crate::domain::subscription::Span;
use crate::http::auth::{OptionalPermit, Orders};
use crate::http::error::{Error, ErrorBody};
use crate::http::failures::Failures;
use crate::http::{Shared, body};

/// Serialized, it is what a repeated request is compared with.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateRequest {
    /// One of the ids of `GET /servers`.
    #[schema(example = "eu-de")]
    server_id: String,
    /// Months.
    #[serde(deserialize_with = "fields::months")]
    #[schema(example = 1)]
    duration: u32,
    /// Of who brought you; one that is nobody's loses no sale, see `referralAccepted`.
    #[serde(default, deserialize_with = "fields::text")]
    referral_code: Option<String>,
    /// Your own WireGuard public key. Without it the server makes the key pair at the first claim.
    #[serde(default, deserialize_with = "fields::text")]
    wg_public_key: Option<String>,
    /// `lightning`, which is the default, or `card` where the shop takes cards.
    // Left out as before, so that requests from before it was known are still the same.
    #[serde(default, deserialize_with = "fields::text", skip_serializing_if = "Option::is_none")]
    #[schema(example = "lightning")]
    payment_method: Option<String>,
    /// Refuses claims that show only the payment hash: every hop of a payment sees that.
    #[serde(default)]
    require_claim_token: Option<bool>,
    /// Called for the order's events once it is paid: `https://`, at most 1 KiB. See `callbackSecret`.
    #[serde(default, deserialize_with = "fields::text", skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://example.com/hooks")]
    callback_url: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateResponse {
    success: bool,
    #[schema(example = "019aa9c4-5a3e-7c41-9a70-0d1c52a6f5b1")]
    order_id: String,
    #[serde(flatten)]
    pay: HowToPay,
    #[schema(example = "wiretoll VPN - 1 month (eu-de)")]
    description: String,
    /// Proves at a claim that the order is yours. Keep it: it is shown only until the order is paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    claim_token: Option<String>,
    /// Whether the `referralCode` that was sent is somebody's; left out where none was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    referral_accepted: Option<bool>,
    /// What calls of the `callbackUrl` are signed with (Standard Webhooks). Keep it: it is shown only until the order is
    /// paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_secret: Option<String>,
}

/// Creates an order.
///
/// Pay the invoice (or on the page of `checkoutUrl`), wait until the order is paid, then claim it. With an `Idempotency-Key` a repeated request returns
/// the same order instead of a second one.
#[utoipa::path(
    post, path = "/api/public/v1/subscription/create", tag = "subscriptions", operation_id = "createSubscription",
    security((), ("apiKey" = []), ("nostr" = [])),
    request_body = CreateRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "A UUID, made afresh for each purchase, or with a credential any text of 1 to 255 characters; kept for 24 hours")),
    responses(
        (status = 200, body = CreateResponse),
        (status = 400, description = "`ERR_INVALID_INPUT`: serverId, duration or key is not valid", body = ErrorBody),
        (status = 401, description = "`ERR_UNAUTHORIZED`: a credential was sent and is not good", body = ErrorBody),
        (status = 403, description = "`ERR_MIGRATION_REQUIRED` or `ERR_FORBIDDEN`", body = ErrorBody),
        (status = 409, description = "`ERR_CONFLICT`: the key has a subscription elsewhere, or the Idempotency-Key was used with another body", body = ErrorBody),
        (status = 503, description = "Sold out, or no invoice can be made now; see `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn create(
    shared: Data<Shared>,
    permit: OptionalPermit<Orders>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    let (wanted, mut customer): (CreateRequest, Customer) =
        purchase::read(&shared, &permit, "create", &request, payload).await?;
    customer.callback = fields::callback_url(wanted.callback_url.as_deref())?;
    let named = wanted.referral_code.clone();
    let referral_code = match &named {
        Some(named) => known_code(&shared.app, named).await?,
        None => None,
    };
    let accepted = named.map(|_| referral_code.is_some());
    let order = PlaceOrder { referral_code, ..wanted.into_order(customer)? };
    let placed = place_order(&shared.app, order).await?;
    Ok(body::private(&CreateResponse::new(&shared.app.shop.name, placed, accepted)?))
}

impl CreateRequest {
    /// What is asked for, in the house's terms; whose the referral code is, only the database knows.
    pub fn into_order(self, customer: Customer) -> Result<PlaceOrder, Invalid> {
        let claim_by = if self.require_claim_token == Some(true) { ClaimBy::ClaimToken } else { ClaimBy::PaymentHash };
        Ok(PlaceOrder {
            server_id: ServerId::parse(&self.server_id)?,
            months: self.duration,
            public_key: fields::public_key(self.wg_public_key.as_deref())?,
            referral_code: None,
            claim_by,
            pay_by: fields::pay_by(self.payment_method.as_deref())?,
            customer,
        })
    }
}

impl CreateResponse {
    fn new(shop: &str, placed: PlacedOrder, referral_accepted: Option<bool>) -> Result<Self, Error> {
        let order = placed.order;
        Ok(Self {
            success: true,
            order_id: order.id.to_string(),
            pay: HowToPay::of(&order)?,
            description: description(shop, &order)?,
            claim_token: placed.claim_token.map(|token| token.expose()),
            referral_accepted,
            callback_secret: placed.callback_secret.map(|secret| secret.expose()),
        })
    }
}

fn description(shop: &str, order: &Order) -> Result<String, Error> {
    let months = order.kind.months().ok_or_else(Error::internal)?;
    Ok(format!("{shop} VPN - {} ({})", Span::Months(months), order.server_id))
}
