//! `POST /subscription/bandwidth-reset`: a month's bandwidth once more for the subscription of a public key.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::how_to_pay::HowToPay;
use super::{fields, purchase};
use crate::app::reset_bandwidth::{OrderedReset, reset_bandwidth};
use crate::domain::order::Rail;
use crate::http::auth::{OptionalPermit, Orders};
use crate::http::error::{Error, ErrorBody};
use crate::http::failures::Failures;
use crate::http::{Shared, body};

/// `serverId` is not here, as for a renewal: whatever clients send in it is ignored.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BandwidthResetRequest {
    /// The public key of the subscription.
    #[serde(default, deserialize_with = "fields::text")]
    #[schema(required = true, value_type = String, example = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=")]
    wg_public_key: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BandwidthResetResponse {
    success: bool,
    /// The order of this reset.
    #[schema(example = "019aa9c4-5a3e-7c41-9a70-0d1c52a6f5b1")]
    reset_id: String,
    #[serde(flatten)]
    pay: HowToPay,
    /// Where the price is set in dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "1.00")]
    amount_usd: Option<String>,
    #[schema(example = 85)]
    current_usage_percent: u64,
    /// Paid ones.
    resets_this_month: u32,
    #[schema(example = 2)]
    max_resets_per_month: u32,
}

/// Orders a bandwidth reset.
///
/// It counts for the calendar month (UTC) in which it is paid. Anybody who knows the public key may pay for it; a
/// `serverId` is ignored. An unpaid one counts among those of the month until its invoice has expired.
#[utoipa::path(
    post, path = "/api/public/v1/subscription/bandwidth-reset", tag = "subscriptions", operation_id = "resetBandwidth",
    security((), ("apiKey" = []), ("nostr" = [])),
    request_body = BandwidthResetRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "A UUID, made afresh for each purchase, or with a credential any text of 1 to 255 characters; kept for 24 hours")),
    responses(
        (status = 200, body = BandwidthResetResponse),
        (status = 400, description = "`ERR_INVALID_INPUT`: the key is not valid, too little was used, the subscription has ended, or none is sold", body = ErrorBody),
        (status = 401, description = "`ERR_UNAUTHORIZED`: a credential was sent and is not good", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: revoked or suspended", body = ErrorBody),
        (status = 404, description = "`ERR_RESOURCE_NOT_FOUND`: no subscription has this key", body = ErrorBody),
        (status = 409, description = "`ERR_CONFLICT`: the Idempotency-Key was used with another body", body = ErrorBody),
        (status = 503, description = "No invoice can be made now; see `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn bandwidth_reset(
    shared: Data<Shared>,
    permit: OptionalPermit<Orders>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    let (wanted, customer): (BandwidthResetRequest, _) =
        purchase::read(&shared, &permit, "bandwidth-reset", &request, payload).await?;
    let key = fields::required_public_key(wanted.wg_public_key.as_deref())?;
    let ordered = reset_bandwidth(&shared.app, key, &customer).await?;
    Ok(body::private(&BandwidthResetResponse::new(&ordered)?))
}

impl BandwidthResetResponse {
    fn new(ordered: &OrderedReset) -> Result<Self, Error> {
        let order = &ordered.placed.order;
        let usd = match &order.rail {
            Rail::Lightning { quote, .. } => quote.usd,
            Rail::Card { price, .. } => Some(*price),
        };
        Ok(Self {
            success: true,
            reset_id: order.id.to_string(),
            pay: HowToPay::of(order)?,
            amount_usd: usd.map(|usd| usd.to_string()),
            current_usage_percent: ordered.used_percent,
            resets_this_month: ordered.resets,
            max_resets_per_month: ordered.resets_per_month,
        })
    }
}
