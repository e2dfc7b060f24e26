//! What wiretoll does: one file a verb, and the only place where effects are ordered.
//!
//! A verb takes [`App`], does its few store transactions and calls to the node in an order from which every crash can
//! be recovered, and returns domain types. No transaction is open while the node is asked.

pub mod add_webhook;
pub mod adopt_order;
pub mod adopt_payment;
pub mod allow_removals;
pub mod apply_invoice;
pub mod apply_session;
pub mod apply_stripe_event;
pub mod ask_node;
pub mod authenticate;
pub mod bandwidth;
pub mod bind_found;
pub mod change_webhook;
pub mod changes;
pub mod check_order;
pub mod circuit_breaker;
pub mod claim;
pub mod close_checkout;
pub mod close_orders;
pub mod compare_digest;
pub mod configured_webhooks;
pub mod confirm_removals;
pub mod create_account;
pub mod create_api_key;
pub mod credit_referral;
pub mod deliver;
pub mod desired_peers;
pub mod drain;
pub mod explain;
pub mod explain_credential;
pub mod extend;
pub mod extension;
pub mod fan_out;
pub mod find_lost_payments;
pub mod find_subscription;
pub mod forget_webhooks;
pub mod give_back;
pub mod hear_troubles;
pub mod list_servers;
pub mod live_rate;
pub mod look_up_cards;
pub mod look_up_node;
pub mod measure;
pub mod node_health;
pub mod nostr_accounts;
pub mod open_order;
pub mod operator;
pub mod ping_node;
pub mod place_order;
pub mod port_holders;
pub mod price;
pub mod reconcile;
pub mod redeliver;
pub mod referral;
pub mod rekey;
pub mod release;
pub mod renew;
pub mod request_checkout;
pub mod request_invoice;
pub mod reset_bandwidth;
pub mod resolve_payment;
pub mod revoke;
pub mod revoke_api_key;
pub mod revoke_grants;
pub mod secrets;
pub mod send_webhooks;
pub mod server_keys;
pub mod settle;
pub mod show_account;
pub mod show_subscription;
pub mod silent_agents;
pub mod store_usage;
pub mod subscription_status;
pub mod suspend;
pub mod sync_subscription;
pub mod take_over;
pub mod take_report;
pub mod tell_ends;
pub mod tell_ready;
pub mod tell_usage;
pub mod unthrottle;
pub mod wait_installed;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::clock::Clock;
use crate::config::{Orders, RateSource};
use crate::domain::Invalid;
use crate::domain::instance_key::{Keyring, SecretError};
use crate::domain::lightning::Network;
use crate::domain::plan::{BandwidthResets, Plans};
use crate::domain::referral::Bonuses;
use crate::domain::server::{Server, ServerId};
use crate::domain::subscription::Holds;
use crate::egress::Egress;
use crate::metrics::Metrics;
use crate::store::{self, Store};
use crate::stripe::Stripe;
use crate::{lnd, wireguard};

/// One text for an order that is not there and for one that is not yours.
pub const NO_SUCH_ORDER: &str = "no order has this paymentHash";
/// One text for every key that has no subscription here.
pub const NO_SUCH_KEY: &str = "no subscription has this wgPublicKey";

/// Everything that a verb needs; shared by every request and worker.
#[derive(Debug, Clone)]
pub struct App {
    pub store: Store,
    pub node: lnd::Node,
    pub egress: Egress,
    /// Where cards are taken.
    pub stripe: Option<Stripe>,
    pub clock: Clock,
    pub keyring: Arc<Keyring>,
    pub shop: Arc<Shop>,
    pub health: node_health::NodeHealth,
    /// Wakes who waits for an order.
    pub changes: changes::Changes<Uuid>,
    /// Wakes who waits for a server: its agent for new peers, claims for its agent's word.
    pub server_changes: changes::Changes<ServerId>,
    pub server_keys: server_keys::ServerKeys,
    pub questions_to_node: ask_node::Questions,
    pub questions_to_stripe: ask_node::Questions,
    pub node_lookups: look_up_node::NodeLookups,
    pub pings: ping_node::Pings,
    pub metrics: Metrics,
    pub last_said: live_rate::LastSaid,
}

/// What is for sale, and on which terms.
#[derive(Debug)]
pub struct Shop {
    /// Begins every memo.
    pub name: String,
    pub network: Network,
    pub plans: Plans,
    /// None where none is sold.
    pub resets: Option<BandwidthResets>,
    pub bonuses: Bonuses,
    pub servers: Vec<Server>,
    pub rate: Option<RateSource>,
    pub orders: Orders,
    pub holds: Holds,
    /// Open orders that one address prefix may have.
    pub open_orders: u32,
}

/// Why a verb was not done. `http` maps each to a status and a code, once.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The customer's mistake.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Ours: what is stored, or what the node said, does not fit together.
    #[error("a rule does not hold")]
    Broken(#[source] Invalid),
    #[error("{0}")]
    NotFound(&'static str),
    /// The credential is none, or not one of now; the text never tells which of them.
    #[error("{0}")]
    Unauthorized(Cow<'static, str>),
    /// The credential is good, and not for this.
    #[error("{0}")]
    Forbidden(String),
    #[error("this order has not been paid yet; pay its invoice, wait until its status is paid, then claim")]
    Unpaid,
    #[error("{0}")]
    Conflict(String),
    #[error("renewals of this server have ended: move to {to} first")]
    MigrationRequired { to: ServerId },
    #[error("this subscription was revoked by the operator")]
    Revoked,
    #[error("this subscription was suspended by the operator: write to them before you pay for more of it")]
    Suspended,
    #[error("there are {0} unpaid invoices from your network already; pay one or wait until they expire")]
    TooManyOpen(u32),
    #[error("all bandwidth resets that this subscription may have in a month were made, or wait for their payment")]
    TooManyResets { wait: Duration },
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("a stored secret cannot be read")]
    Secret(#[from] SecretError),
    #[error("the system has no randomness")]
    Random(#[from] std::io::Error),
    #[error("the config text could not be rendered")]
    Config(#[from] wireguard::config_text::Unrenderable),
}

/// What is missing for a sale, or for a delivery, now; later it may be there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("server {0} is sold out")]
    SoldOut(ServerId),
    #[error("server {0} is not ready to be sold: its key is not known")]
    NoKey(ServerId),
    #[error("there is no current exchange rate, so no price: {0}")]
    NoRate(String),
    #[error("the Lightning node has no active channel to be paid over")]
    NoChannel,
    #[error("the Lightning node does not answer: {0}")]
    NodeDown(String),
    #[error("the Lightning node takes no new invoices, though it answers otherwise: it has to be restarted")]
    NodeHangs,
    #[error("Stripe makes no page to pay on by card now; pay on Lightning, or try again")]
    StripeDown,
    #[error(
        "another agent speaks for server {0}; stop that one, then wait for 90 s or run `wiretoll server takeover {0}`"
    )]
    AnotherAgent(ServerId),
    #[error("server {0} has not reported what was used within the last minute")]
    NoReport(ServerId),
    #[error("too many nodes are being called at the moment; try again")]
    Busy,
    #[error("this payment could not be delivered: a refund is due; write to the operator with your payment hash")]
    RefundDue,
}

impl Unavailable {
    /// When to try again.
    pub const fn retry_after(&self) -> Duration {
        match self {
            Self::SoldOut(_) | Self::NoKey(_) => Duration::from_mins(5),
            Self::NoRate(_) | Self::NoChannel | Self::NoReport(_) => Duration::from_mins(1),
            Self::NodeDown(_) | Self::NodeHangs | Self::StripeDown | Self::AnotherAgent(_) | Self::Busy => {
                Duration::from_secs(10)
            }
            Self::RefundDue => Duration::from_hours(1),
        }
    }
}

impl App {
    /// Why nothing at all can be sold now, if so: the node, every server, or every price.
    pub fn obstacle(&self) -> Option<Unavailable> {
        if let Err(missing) = self.health.payee() {
            return Some(missing);
        }
        // Also while a customer may try whether it still does.
        if self.health.adding.is_open() {
            return Some(Unavailable::NodeHangs);
        }
        let no_key = |server: &Server| self.server_key(server).is_none();
        if let Some(server) = self.shop.servers.first().filter(|_| self.shop.servers.iter().all(no_key)) {
            return Some(Unavailable::NoKey(server.id.clone()));
        }
        let prices = self.shop.plans.iter().map(|plan| price::price(self, plan));
        match prices.collect::<Result<Vec<_>, _>>() {
            Err(Error::Unavailable(missing)) => Some(missing),
            _ => None,
        }
    }

    pub fn new_id(&self) -> Uuid {
        self.clock.new_id()
    }
}

impl Shop {
    /// The server of that name.
    pub fn server(&self, id: &ServerId) -> Option<&Server> {
        self.servers.iter().find(|server| server.id == *id)
    }

    /// The memo of an invoice: no server, no customer.
    pub fn memo(&self, order: Uuid) -> String {
        format!("{} subscription {order}", self.name)
    }
}
