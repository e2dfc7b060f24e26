//! `/api/referral`: an account's code, and what purchases with it brought.

use actix_web::web::{self, Data, Payload, ServiceConfig, scope};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Permit, Referrals};
use super::error::{Error, ErrorBody};
use super::failures::Failures;
use super::routing::{get, no_such_path, post};
use super::subscriptions::fields;
use super::{Shared, body};
use crate::app::referral::{self, Referral};
use crate::domain::referral::ReferralCode;
use crate::domain::time::Timestamp;
use crate::store::EarnedBonus;

/// Where its paths begin.
pub const BASE: &str = "/api/referral";

#[derive(Debug, Deserialize, ToSchema)]
pub struct CreateCodeRequest {
    /// 4 to 32 characters of A-Z, 0-9, - and _; without it you get one that nobody guesses.
    #[serde(default, deserialize_with = "fields::text")]
    #[schema(example = "TUNNELS2026")]
    code: Option<String>,
}

/// In two spellings, as it is documented.
#[derive(Debug, Serialize, ToSchema)]
pub struct CodeResponse {
    #[schema(example = "TUNNELS2026")]
    code: String,
    /// Purchases that brought a bonus.
    usage_count: u32,
    /// All that they brought.
    #[serde(rename = "bonusMonths")]
    bonus_months: u32,
    /// Of the buyer: none.
    discount: u32,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct HistoryResponse {
    /// The newest 100, the newest first.
    history: Vec<Purchase>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Purchase {
    /// When the purchase was paid.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T12:00:00.000Z")]
    date: Timestamp,
    /// Months.
    #[schema(example = 12)]
    duration_purchased: u32,
    /// Months.
    #[schema(example = 3)]
    bonus_earned: u32,
}

pub fn routes(config: &mut ServiceConfig) {
    let api = scope(BASE)
        .service(post("/create", create))
        .service(get("/history", history))
        .default_service(web::to(no_such_path));
    config.service(api);
}

/// Gives the account its referral code.
///
/// A repeat returns the same. Upper and lower case are the same; a code never changes.
#[utoipa::path(
    post, path = "/api/referral/create", tag = "referrals", operation_id = "createReferralCode",
    security(("apiKey" = []), ("nostr" = [])),
    request_body = CreateCodeRequest,
    responses(
        (status = 200, body = CodeResponse),
        (status = 400, description = "`ERR_INVALID_INPUT`: not a code", body = ErrorBody),
        (status = 401, description = "`ERR_UNAUTHORIZED`", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the credential lacks the scope `referrals`", body = ErrorBody),
        (status = 409, description = "`ERR_CONFLICT`: the code is taken, or the account has another one", body = ErrorBody),
        (status = 503, description = "See `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn create(
    shared: Data<Shared>,
    permit: Permit<Referrals>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    let asked: CreateCodeRequest = body::read(&request, payload).await?;
    let wanted = asked.code.as_deref().map(ReferralCode::parse).transpose()?;
    let referral = referral::create_code(&shared.app, &permit.owner, wanted).await?;
    Ok(body::private(&CodeResponse::from(referral)))
}

/// Lists the purchases that brought the account a bonus.
#[utoipa::path(
    get, path = "/api/referral/history", tag = "referrals", operation_id = "referralHistory",
    security(("apiKey" = []), ("nostr" = [])),
    responses(
        (status = 200, body = HistoryResponse),
        (status = 401, description = "`ERR_UNAUTHORIZED`", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the credential lacks the scope `referrals`", body = ErrorBody),
        (status = 429, description = "`ERR_RATE_LIMIT_EXCEEDED`; see `Retry-After`", body = ErrorBody),
        (status = 500, description = "`ERR_INTERNAL_ERROR`: our mistake", body = ErrorBody),
        (status = 503, description = "See `Retry-After`", body = ErrorBody),
    ),
)]
pub async fn history(shared: Data<Shared>, permit: Permit<Referrals>) -> Result<HttpResponse, Error> {
    let bonuses = referral::history(&shared.app, &permit.owner).await?;
    Ok(body::private(&HistoryResponse { history: bonuses.into_iter().map(Purchase::from).collect() }))
}

impl From<Referral> for CodeResponse {
    fn from(referral: Referral) -> Self {
        Self {
            code: referral.code.to_string(),
            usage_count: referral.totals.purchases,
            bonus_months: referral.totals.months,
            discount: 0,
        }
    }
}

impl From<EarnedBonus> for Purchase {
    fn from(bonus: EarnedBonus) -> Self {
        Self { date: bonus.paid_at, duration_purchased: bonus.months_bought, bonus_earned: bonus.months }
    }
}
