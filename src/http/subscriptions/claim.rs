//! `POST /subscription/claim`: the WireGuard config of a paid order, the same every time.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use qrcode::QrCode;
use qrcode::render::svg;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::fields;
use crate::app::claim::{self, Claim, Claimed, PrivateKeyShown};
use crate::config::SecretText;
use crate::domain::Invalid;
use crate::domain::keys::{PresharedKey, PrivateKey};
use crate::domain::time::Timestamp;
use crate::http::auth::{OptionalPermit, Subscriptions};
use crate::http::error::{Error, ErrorBody};
use crate::http::failures::Failures;
use crate::http::{Shared, body};
use crate::wireguard::config_text::Options;

const ERASED: &str = "the private key of this config is not kept here any more; if you have it, claim with its \
                      wgPublicKey, else ask the operator to rekey the subscription, with your payment hash and claim token";

/// Which variant of the text it is, and whom it suits.
const WITH_ROUTES: &str = "the config is ready, as wg-quick on a machine of its own, Umbrel and StartOS take it; for a container, \
                           claim with options.tableOff";
const WITHOUT_ROUTES: &str =
    "the config is ready; with Table = off it makes no routes, for containers and whoever makes their own";

/// `referralCode`, which clients also send, is ignored.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimRequest {
    #[schema(example = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925")]
    #[serde(default)]
    payment_hash: Option<String>,
    /// Of an order that is paid by card; beside a payment hash it is ignored.
    #[serde(default, deserialize_with = "fields::text")]
    order_id: Option<String>,
    /// From `create`; needed where the order, a card or the instance requires it, unless the order's owner asks.
    #[serde(default, deserialize_with = "fields::text")]
    claim_token: Option<String>,
    /// Your own public key; empty or missing lets the server make the key pair.
    #[serde(default, deserialize_with = "fields::text")]
    wg_public_key: Option<String>,
    /// Used only by the claim that binds the key.
    #[serde(default, deserialize_with = "fields::text")]
    wg_preshared_key: Option<String>,
    /// What the config text is to be like.
    #[serde(default)]
    options: ClaimOptions,
}

/// Variants of the config text; the peer is the same. Umbrel, StartOS and `wg-quick` on a machine of its own take the text
/// as it is without any.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimOptions {
    /// An IPv6 address and route besides; 400 where the server has none. Where IPv6 is switched off, `wg-quick up` fails with
    /// them.
    ipv6: bool,
    /// `Table = off`: wg-quick makes no routes. For containers, where it cannot set `src_valid_mark`, and for those who make
    /// their own routes.
    table_off: bool,
    /// The config as a QR code, too.
    qr: bool,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimResponse {
    /// False only where a key that was made here is not here any more: erased, or lost when an older database was restored.
    success: bool,
    /// `success` or `error`.
    #[schema(value_type = String, example = "success")]
    status: &'static str,
    /// Which variant of the text this is, and whom it suits; or why there is none.
    #[schema(value_type = String, example = "the config is ready; with Table = off it makes no routes, for containers and whoever makes their own")]
    message: &'static str,
    #[schema(value_type = String, format = DateTime, example = "2026-12-22T12:00:00.000Z")]
    subscription_end: Timestamp,
    subscription: ClaimedSubscription,
    server: ClaimedServer,
    peer: ClaimedPeer,
    /// The public port that is forwarded to you.
    #[schema(example = 35825)]
    vpn_port: u16,
    is_provisioned: bool,
    /// Text for wg-quick. With your own key its `PrivateKey` line is a comment for you to fill in.
    config: Option<String>,
    /// The same text, by the name that other clients read.
    full_config: Option<String>,
    /// The same text as a QR code in SVG, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    config_qr: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimedSubscription {
    id: String,
    #[schema(example = "eu-de")]
    server_id: String,
    #[schema(value_type = String, format = DateTime, example = "2026-12-22T12:00:00.000Z")]
    expires_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimedServer {
    #[schema(example = "eu-de")]
    id: String,
    #[schema(example = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=")]
    public_key: String,
    #[schema(example = "de2.example.net:51820")]
    endpoint: String,
    #[serde(rename = "allowedIPs")]
    #[schema(value_type = String, example = "0.0.0.0/0")]
    allowed_ips: &'static str,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimedPeer {
    #[schema(example = "10.9.0.7/32")]
    address: String,
    /// Where `ipv6` was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "fd66:9::7/128")]
    address6: Option<String>,
    public_key: String,
    preshared_key: String,
    /// Only of a key pair that was made here, and only while it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<String>,
}

/// Hands out the config of a paid order.
///
/// The first claim binds the key; every later claim with the same proof gets the same answer.
#[utoipa::path(
    post, path = "/api/public/v1/subscription/claim", tag = "subscriptions", operation_id = "claimSubscription",
    security((), ("apiKey" = []), ("nostr" = [])),
    request_body = ClaimRequest,
    responses(
        (status = 200, body = ClaimResponse),
        (status = 400, description = "`ERR_INVALID_INPUT`: not a hash or key, or the payment was for a renewal", body = ErrorBody),
        (status = 401, description = "`ERR_UNAUTHORIZED`: a credential was sent and is not good", body = ErrorBody),
        (status = 402, description = "`ERR_PAYMENT_REQUIRED`: not paid yet", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the subscription was revoked, or the credential lacks the scope `subscriptions`", body = ErrorBody),
        (status = 404, description = "`ERR_RESOURCE_NOT_FOUND`: no such order, or not yours", body = ErrorBody),
        (status = 409, description = "`ERR_CONFLICT`: claimed with another key, or the key belongs to another subscription", body = ErrorBody),
        (status = 503, description = "Cannot be delivered now; see `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn claim(
    shared: Data<Shared>,
    permit: OptionalPermit<Subscriptions>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    if permit.is_anonymous() {
        shared.limits.claim.admit(shared.client(&request))?;
    }
    let shown: ClaimRequest = body::read(&request, payload).await?;
    let wants_qr = shown.options.qr;
    let claimed = claim::claim(&shared.app, &shown.into_claim(permit.account())?).await?;
    let answer = ClaimResponse::new(&claimed)?;
    Ok(body::private(&if wants_qr { answer.with_qr()? } else { answer }))
}

impl ClaimRequest {
    /// What is shown, in the house's terms.
    pub fn into_claim(self, owner: Option<Uuid>) -> Result<Claim, Invalid> {
        let preshared_key = self.wg_preshared_key.as_deref().map(PresharedKey::parse).transpose();
        Ok(Claim {
            order: fields::public_name(self.payment_hash.as_deref(), self.order_id.as_deref())?,
            claim_token: self.claim_token.map(SecretText::new),
            owner,
            public_key: fields::public_key(self.wg_public_key.as_deref())?,
            preshared_key: preshared_key.map_err(|invalid| Invalid::new(format!("wgPresharedKey: {invalid}")))?,
            options: Options { ipv6: self.options.ipv6, table_off: self.options.table_off },
        })
    }
}

impl ClaimResponse {
    fn new(claimed: &Claimed) -> Result<Self, Error> {
        let erased = claimed.private_key == PrivateKeyShown::Erased;
        let subscription = &claimed.subscription;
        let text = if erased { None } else { Some(config_text(claimed)?) };
        Ok(Self {
            success: !erased,
            status: if erased { "error" } else { "success" },
            message: message(claimed),
            subscription_end: subscription.ends_at,
            subscription: ClaimedSubscription {
                id: subscription.id.to_string(),
                server_id: claimed.server.id.to_string(),
                expires_at: subscription.ends_at,
            },
            server: ClaimedServer {
                id: claimed.server.id.to_string(),
                public_key: claimed.config.server_key.to_string(),
                endpoint: claimed.config.endpoint(),
                allowed_ips: claimed.config.allowed_ips(),
            },
            peer: peer(claimed),
            vpn_port: claimed.config.port,
            is_provisioned: claimed.provisioned,
            config: text.clone(),
            full_config: text,
            config_qr: None,
        })
    }

    /// The config text as an image; one of our lengths always fits a QR code.
    fn with_qr(self) -> Result<Self, Error> {
        let Some(text) = &self.config else { return Ok(self) };
        let code = QrCode::new(text).map_err(|_| Error::internal())?;
        let svg = code.render::<svg::Color<'_>>().min_dimensions(256, 256).build();
        Ok(Self { config_qr: Some(svg), ..self })
    }
}

fn message(claimed: &Claimed) -> &'static str {
    match (&claimed.private_key, claimed.config.table_off) {
        (PrivateKeyShown::Erased, _) => ERASED,
        (_, false) => WITH_ROUTES,
        (_, true) => WITHOUT_ROUTES,
    }
}

fn config_text(claimed: &Claimed) -> Result<String, crate::app::Error> {
    Ok(claimed.config.render()?.to_string())
}

fn peer(claimed: &Claimed) -> ClaimedPeer {
    let config = &claimed.config;
    ClaimedPeer {
        address: format!("{}/32", config.address),
        address6: config.address6.map(|address| format!("{address}/128")),
        public_key: config.public_key.to_string(),
        preshared_key: config.preshared_key.expose(),
        private_key: config.private_key.as_ref().map(PrivateKey::expose),
    }
}
