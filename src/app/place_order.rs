//! Buying a new subscription: intent before effect.

use uuid::Uuid;

use super::add_webhook::check_url;
use super::open_order::{open_order, replay};
use super::price::Asked;
use super::request_checkout::request_checkout;
use super::request_invoice::request_invoice;
use super::{App, Error, Unavailable, price};
use crate::domain::Invalid;
use crate::domain::instance_key::ClaimToken;
use crate::domain::keys::PublicKey;
use crate::domain::order::{ClaimBy, Order, OrderKind, PayBy, Purchase, Rail};
use crate::domain::referral::ReferralCode;
use crate::domain::server::{Server, ServerId};
use crate::domain::subscription::Standing;
use crate::domain::webhook::WebhookUrl;
use crate::domain::webhook_secret::WebhookSecret;
use crate::egress::Purpose;
use crate::store::{IdempotencyKey, KeyOwner, NewOrder};

/// What a customer asks for.
#[derive(Debug, Clone)]
pub struct PlaceOrder {
    pub server_id: ServerId,
    pub months: u32,
    pub public_key: Option<PublicKey>,
    pub referral_code: Option<ReferralCode>,
    pub claim_by: ClaimBy,
    pub pay_by: PayBy,
    pub customer: Customer,
}

/// Who asks: as little as is needed to bound and to repeat.
#[derive(Debug, Clone)]
pub struct Customer {
    /// The address prefix; only its keyed hash is kept, and only while the order is open.
    pub address_prefix: String,
    /// Whose credential came with the request.
    pub account: Option<Uuid>,
    pub idempotency_key: Option<IdempotencyKey>,
    /// Where the order's events are told to, once it is paid.
    pub callback: Option<WebhookUrl>,
}

/// An order with an invoice to be shown.
#[derive(Debug)]
pub struct PlacedOrder {
    pub order: Order,
    /// Not with a repeated answer once the order is paid.
    pub claim_token: Option<ClaimToken>,
    /// What its callback is signed with, where it has one; not with a repeated answer once the order is paid.
    pub callback_secret: Option<WebhookSecret>,
}

/// Stores the order, asks the node for its invoice, stores that, and returns it.
///
/// A repeat with the same idempotency key returns the same order, or starts a new one where the first came to nothing.
pub async fn place_order(app: &App, request: PlaceOrder) -> Result<PlacedOrder, Error> {
    if let Some(placed) = repeat(app, &request.customer).await? {
        return Ok(placed);
    }
    let plan = app.shop.plans.find(request.months)?;
    let server = app.shop.server(&request.server_id).ok_or_else(|| unknown_server(app))?;
    sellable(app, server)?;
    check_key(app, request.public_key, server).await?;
    let price = price::price_on(app, plan.price, request.pay_by)?;
    let purchase = Purchase {
        kind: OrderKind::New { months: request.months },
        server_id: request.server_id,
        public_key: request.public_key,
        claim_by: request.claim_by,
        referral_code: request.referral_code,
    };
    place(app, purchase, price, &request.customer).await
}

/// The answer of an earlier request with the same key.
pub async fn repeat(app: &App, customer: &Customer) -> Result<Option<PlacedOrder>, Error> {
    let Some(key) = &customer.idempotency_key else { return Ok(None) };
    let Some(order) = replay(app, key).await? else { return Ok(None) };
    tracing::info!(order.id = %order.id, "a request was repeated");
    placed(app, order, customer).map(Some)
}

/// The common way of every order.
pub async fn place(app: &App, purchase: Purchase, price: Asked, customer: &Customer) -> Result<PlacedOrder, Error> {
    if let Some(url) = &customer.callback {
        check_url(app, Purpose::CustomersWebhook, url)?;
    }
    if let Asked::OnLightning(_) = price {
        app.health.looked().await;
    }
    let id = app.new_id();
    let key_id = app.keyring.current();
    let key = app.keyring.get(key_id)?;
    let new = NewOrder {
        id,
        key_id,
        purchase,
        rail: match price {
            Asked::OnLightning(quote) => Rail::Lightning { payment_hash: key.preimage(id).payment_hash(), quote },
            Asked::ByCard(price) => Rail::Card { price, session: None },
        },
        origin: key.origin(&customer.address_prefix),
        account: customer.account,
        callback: customer.callback.clone(),
        created_at: app.clock.now(),
    };
    let order = open_order(app, &new, customer.idempotency_key.as_ref()).await?;
    let order = match order.rail {
        Rail::Lightning { .. } => request_invoice(app, order).await?,
        Rail::Card { .. } => request_checkout(app, order).await?,
    };
    tracing::info!(order.id = %order.id, payment_hash = order.payment_hash_prefix(), "an order was placed");
    placed(app, order, customer)
}

/// With the secrets only while the order is unpaid. A repeated request is the same in all, so its callback is, too.
fn placed(app: &App, order: Order, customer: &Customer) -> Result<PlacedOrder, Error> {
    if order.is_paid() {
        return Ok(PlacedOrder { order, claim_token: None, callback_secret: None });
    }
    let key = app.keyring.get(order.key_id)?;
    let claim_token = Some(key.claim_token(order.id));
    let callback_secret = customer.callback.as_ref().map(|_| key.callback_secret(order.id));
    Ok(PlacedOrder { order, claim_token, callback_secret })
}

fn unknown_server(app: &App) -> Invalid {
    let known: Vec<_> = app.shop.servers.iter().map(|server| server.id.as_str()).collect();
    Invalid::new(format!("unknown serverId; the servers are {}", known.join(", ")))
}

/// Nothing new is sold where the config could not be written, or where customers are asked to leave.
fn sellable(app: &App, server: &Server) -> Result<(), Error> {
    match (app.server_key(server), &server.migrate_to) {
        (_, Some(to)) => Err(Error::MigrationRequired { to: to.clone() }),
        (None, None) => Err(Unavailable::NoKey(server.id.clone()).into()),
        (Some(_), None) => Ok(()),
    }
}

/// A key that is held on this server is welcome (the payment will extend its subscription); elsewhere it is in the way.
async fn check_key(app: &App, key: Option<PublicKey>, server: &Server) -> Result<(), Error> {
    let Some(key) = key else { return Ok(()) };
    app.check_customer_key(key)?;
    let Some(owner) = app.store.key_owner(key).await? else { return Ok(()) };
    let (KeyOwner::Held(id) | KeyOwner::Released(id)) = owner;
    let Some(subscription) = app.store.subscription(id).await? else { return Ok(()) };
    if subscription.standing == Standing::Revoked {
        return Err(Error::Revoked);
    }
    if subscription.suspended_at.is_some() {
        return Err(Error::Suspended);
    }
    if subscription.server_id == server.id || owner == KeyOwner::Released(id) {
        return Ok(());
    }
    let theirs = subscription.server_id;
    Err(Error::Conflict(format!("this wgPublicKey has a subscription on {theirs}: renew it, or use another key")))
}
