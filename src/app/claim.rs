//! Claiming: handing out the WireGuard config of a paid order, the same every time.
//!
//! The first claim binds a key, by compare-and-set; every later one answers from what is bound. A private key that was
//! made here goes only to the proof of the order that made it.

use serde_json::json;
use uuid::Uuid;

use super::wait_installed::wait_until_installed;
use super::{App, Error, NO_SUCH_ORDER, Unavailable, ask_node, secrets};
use crate::config::SecretText;
use crate::crash::crash_point;
use crate::domain::Invalid;
use crate::domain::event::{EventType, Subject};
use crate::domain::keys::{PresharedKey, PrivateKey, PublicKey};
use crate::domain::order::{ClaimBy, Order, OrderKind, OrderState, PublicName, Rail};
use crate::domain::peer::Binding;
use crate::domain::server::Server;
use crate::domain::subscription::{Standing, Subscription};
use crate::random;
use crate::store::{KeyOwner, SealedKey, StoredPeer, Tx};
use crate::wireguard::config_text::{ClientConfig, Options};

const KEY_MISMATCH: &str = "key mismatch: this order was claimed with another wgPublicKey";

/// What a client shows and asks for.
#[derive(Debug, Clone)]
pub struct Claim {
    pub order: PublicName,
    pub claim_token: Option<SecretText>,
    /// Whose credential came with it: an owner needs no token.
    pub owner: Option<Uuid>,
    /// None lets the server make the key pair.
    pub public_key: Option<PublicKey>,
    /// Used only by the claim that binds the key.
    pub preshared_key: Option<PresharedKey>,
    /// Of the text alone: what is bound does not depend on them.
    pub options: Options,
}

/// What a claim answers.
#[derive(Debug)]
pub struct Claimed {
    pub subscription: Subscription,
    pub server: Server,
    pub config: ClientConfig,
    pub private_key: PrivateKeyShown,
    /// Whether the server has the peer; until an agent can confirm it, whether it is recorded, which a claim sees to.
    pub provisioned: bool,
}

/// Whether the answer carries a private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrivateKeyShown {
    /// Made here, still kept, and asked for with the right proof.
    Yes,
    /// The customer has it; it never was here.
    CustomersOwn,
    /// Made here for this order, as far as is known, and not here any more: erased, or lost with an older database.
    Erased,
}

/// Answers a claim of a paid order.
///
/// # Errors
/// [`Error::NotFound`] for an unknown hash and for a wrong or missing token alike; [`Error::Unpaid`];
/// [`Error::Conflict`] for another key than the bound one, or one that another subscription has.
pub async fn claim(app: &App, claim: &Claim) -> Result<Claimed, Error> {
    let order = proven_order(app, claim).await?;
    claimable(order.kind)?;
    if let Some(key) = claim.public_key {
        app.check_customer_key(key)?;
    }
    let order = ask_node::refresh(app, order).await?;
    match (&order.state, order.subscription_id) {
        (OrderState::Paid { .. }, Some(subscription)) => deliver(app, claim, &order, subscription).await,
        (OrderState::Paid { .. }, None) => Err(Unavailable::RefundDue.into()),
        _ => Err(Error::Unpaid),
    }
}

/// The order, if the client may know of it and has shown what it requires.
async fn proven_order(app: &App, claim: &Claim) -> Result<Order, Error> {
    let found = app.store.order_named(claim.order).await?;
    let order = found.filter(|order| order.is_visible(app.clock.now())).ok_or(Error::NotFound(NO_SUCH_ORDER))?;
    // The id of an order is no secret: Stripe, its receipts and its events have it, too.
    let by_card = matches!(order.rail, Rail::Card { .. });
    let token_needed = by_card || order.claim_by == ClaimBy::ClaimToken || app.shop.orders.require_claim_token;
    let proven = match &claim.claim_token {
        Some(token) => app.keyring.get(order.key_id)?.claim_token(order.id).matches(token.expose()),
        None => !token_needed || (order.account.is_some() && order.account == claim.owner),
    };
    if proven { Ok(order) } else { Err(Error::NotFound(NO_SUCH_ORDER)) }
}

async fn deliver(app: &App, claim: &Claim, order: &Order, subscription: Uuid) -> Result<Claimed, Error> {
    let missing = || Error::NotFound(NO_SUCH_ORDER);
    let subscription = app.store.subscription(subscription).await?.ok_or_else(missing)?;
    if subscription.standing == Standing::Revoked {
        return Err(Error::Revoked);
    }
    // After the hold the slot is somebody else's.
    let peer = app.store.peer_of(subscription.id).await?.ok_or_else(missing)?;
    // Before anything is bound: what cannot be answered changes nothing.
    let server = app.shop.server(&peer.server_id).ok_or(Error::NotFound("this server is not configured any more"))?;
    check_options(server, claim.options)?;
    let binding = match &peer.binding {
        Some(sealed) => secrets::open_binding(app, sealed)?,
        // Only the founder's proof binds: an order that merely extended the subscription waits for that.
        None if subscription.founded_by != order.id => return Err(missing()),
        None => first_claim(app, claim, order, &subscription).await?,
    };
    if claim.public_key.is_some_and(|key| key != binding.public_key) {
        return Err(Error::Conflict(KEY_MISMATCH.into()));
    }
    // Bound before anybody knew the server's key: nothing would answer to this config.
    app.check_customer_key(binding.public_key)?;
    answer(app, claim, order, subscription, (server, &peer), binding).await
}

fn claimable(kind: OrderKind) -> Result<(), Invalid> {
    match kind {
        OrderKind::New { .. } => Ok(()),
        OrderKind::Renewal { .. } => {
            Err(Invalid::new("this payment renewed a subscription; there is nothing to claim"))
        }
        OrderKind::BandwidthReset(_) => {
            Err(Invalid::new("this payment reset a month's bandwidth; there is nothing to claim"))
        }
    }
}

/// Binds the claim's key, or one made here; whoever comes second gets what the first one bound.
async fn first_claim(app: &App, claim: &Claim, order: &Order, subscription: &Subscription) -> Result<Binding, Error> {
    let made = match claim.public_key {
        Some(_) => None,
        None => Some(PrivateKey::from_random(random::bytes()?)),
    };
    let public_key = match (claim.public_key, &made) {
        (Some(key), _) => key,
        (None, Some(private)) => private.public_key(),
        (None, None) => return Err(Error::NotFound(NO_SUCH_ORDER)),
    };
    let preshared_key = match &claim.preshared_key {
        Some(key) => key.clone(),
        None => secrets::new_preshared_key()?,
    };
    let binding = Binding { public_key, preshared_key };
    let private = made.map(|private| secrets::seal_private_key(app, order.id, &private)).transpose()?;
    let mut tx = app.store.begin().await?;
    if bind(app, &mut tx, subscription.id, &binding, private).await? {
        crash_point!("claim.before_commit");
        tx.commit().await?;
        crash_point!("claim.committed");
        tracing::info!(order.id = %order.id, "a claim bound its key");
        app.changes.announce(&order.id);
        app.server_changes.announce(&subscription.server_id);
        return Ok(binding);
    }
    tx.rollback().await?;
    bound_by_another(app, subscription.id).await
}

/// One transaction: the key is this subscription's, the peer answers to it, and a key made here is kept.
async fn bind(
    app: &App,
    tx: &mut Tx,
    subscription: Uuid,
    binding: &Binding,
    private: Option<SealedKey>,
) -> Result<bool, Error> {
    let now = app.clock.now();
    tx.lock_subscription(subscription).await?;
    if let Some(KeyOwner::Held(owner)) = tx.key_owner(binding.public_key).await?
        && owner != subscription
    {
        return Err(Error::Conflict("this wgPublicKey belongs to another subscription; use another key".into()));
    }
    let sealed = secrets::seal_binding(app, subscription, binding.public_key, &binding.preshared_key)?;
    if !tx.bind_peer(&sealed).await? || !tx.own_key(binding.public_key, subscription, now).await? {
        return Ok(false);
    }
    let made_here = private.is_some();
    if let Some(private) = private {
        let erase_at = now.plus_millis(app.shop.holds.private_key_millis);
        tx.insert_private_key(binding.public_key, &private, now, erase_at).await?;
    }
    let data = json!({ "publicKey": binding.public_key.to_string(), "madeHere": made_here });
    let subject = Subject::Subscription(subscription);
    tx.record(app.new_id(), EventType::ClaimBound, subject, &data, now).await?;
    Ok(true)
}

async fn bound_by_another(app: &App, subscription: Uuid) -> Result<Binding, Error> {
    let peer: Option<StoredPeer> = app.store.peer_of(subscription).await?;
    let sealed = peer.and_then(|peer| peer.binding);
    let sealed = sealed.ok_or_else(|| Error::Conflict("this wgPublicKey belongs to another subscription".into()))?;
    secrets::open_binding(app, &sealed)
}

async fn answer(
    app: &App,
    claim: &Claim,
    order: &Order,
    subscription: Subscription,
    (server, peer): (&Server, &StoredPeer),
    binding: Binding,
) -> Result<Claimed, Error> {
    let options = claim.options;
    let server_key = app.server_key(server).ok_or_else(|| Unavailable::NoKey(server.id.clone()))?;
    let (private_key, shown) = private_key_for(app, claim, order, binding.public_key).await?;
    let config = ClientConfig {
        private_key,
        public_key: binding.public_key,
        preshared_key: binding.preshared_key,
        address: server.pool.address(peer.slot).map_err(Error::Broken)?,
        address6: server.address6(peer.slot).map_err(Error::Broken)?.filter(|_| options.ipv6),
        table_off: options.table_off,
        port: server.pool.port(peer.slot).map_err(Error::Broken)?,
        server_domain: server.domain.clone(),
        server_port: server.port,
        server_key,
        valid_until: subscription.ends_at,
    };
    let provisioned = wait_until_installed(app, &server.id, subscription.id).await?;
    Ok(Claimed { subscription, server: server.clone(), config, private_key: shown, provisioned })
}

fn check_options(server: &Server, options: Options) -> Result<(), Invalid> {
    if options.ipv6 && server.network6.is_none() {
        return Err(Invalid::new(format!("server {} has no IPv6; claim without ipv6", server.id)));
    }
    Ok(())
}

/// The private key, only for the order that made it. Whoever names the key has what belongs to it, also where we do not.
async fn private_key_for(
    app: &App,
    claim: &Claim,
    order: &Order,
    key: PublicKey,
) -> Result<(Option<PrivateKey>, PrivateKeyShown), Error> {
    let Some(stored) = app.store.private_key(key).await? else { return Ok((None, PrivateKeyShown::CustomersOwn)) };
    if stored.order_id != order.id {
        return Ok((None, PrivateKeyShown::CustomersOwn));
    }
    match secrets::open_private_key(app, key, &stored)? {
        Some(private) => {
            tracing::info!(order.id = %order.id, "a private key that was made here was shown");
            Ok((Some(private), PrivateKeyShown::Yes))
        }
        None if claim.public_key.is_some() => Ok((None, PrivateKeyShown::CustomersOwn)),
        None => Ok((None, PrivateKeyShown::Erased)),
    }
}
