//! An order: one intent to buy, and the states it goes through.
//!
//! `creating -> pending -> paid`, `creating -> failed`, `pending -> expired`, and `expired -> paid` when a payment
//! settles late. `paid` is final. The transitions themselves are compare-and-set statements of the store.

use uuid::Uuid;

use super::Invalid;
use super::instance_key::KeyId;
use super::keys::PublicKey;
use super::lightning::PaymentHash;
use super::money::{Amount, Msats, Quote, UsdCents};
use super::referral::ReferralCode;
use super::server::ServerId;
use super::time::{DAY, Timestamp};

/// How long an expired order is still shown as unpaid before it is 404.
const EXPIRED_SHOWN: i64 = DAY;

/// An order with everything that is known about it.
#[derive(Debug, Clone)]
pub struct Order {
    pub id: Uuid,
    /// The instance key that preimage, claim token and preshared key derive from.
    pub key_id: KeyId,
    pub kind: OrderKind,
    /// Where a new subscription was ordered; otherwise, where the subscription lived when this was ordered.
    pub server_id: ServerId,
    /// The customer's own key, named when the order was created.
    pub public_key: Option<PublicKey>,
    pub claim_by: ClaimBy,
    pub rail: Rail,
    pub created_at: Timestamp,
    pub state: OrderState,
    /// Whose it is; nobody's where it was made without a credential and not adopted since.
    pub account: Option<Uuid>,
    /// What the order brought: the subscription that it founded or extended, once it is paid and delivered.
    pub subscription_id: Option<Uuid>,
    /// Counts the changes that a client can see.
    pub revision: i64,
}

/// How an order is paid, and what is asked for it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rail {
    /// Its public name is the payment hash.
    Lightning { payment_hash: PaymentHash, quote: Quote },
    /// Its public name is the order's id.
    /// The session is the page to pay on, from the moment that it is stored.
    Card { price: UsdCents, session: Option<String> },
}

/// Which rail a customer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayBy {
    Lightning,
    Card,
}

/// What a customer knows an order by: the payment hash, or for a card the order's id. Neither proves anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublicName {
    PaymentHash(PaymentHash),
    CardOrder(Uuid),
}

/// The invoice that the customer was shown; it was checked before it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownInvoice {
    /// BOLT 11 text; for a card, the address of the page to pay on.
    pub text: String,
    pub expires_at: Timestamp,
}

/// What a customer asked for, before it has a price or an invoice.
#[derive(Debug, Clone)]
pub struct Purchase {
    pub kind: OrderKind,
    pub server_id: ServerId,
    pub public_key: Option<PublicKey>,
    pub claim_by: ClaimBy,
    /// One that is somebody's.
    pub referral_code: Option<ReferralCode>,
}

/// What is bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderKind {
    New {
        months: u32,
    },
    /// Extends this subscription.
    Renewal {
        subscription: Uuid,
        months: u32,
    },
    /// A month's amount of bandwidth more for this subscription.
    BandwidthReset(Uuid),
}

/// What a claim must show: today's clients know only the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimBy {
    PaymentHash,
    ClaimToken,
}

/// Where an order stands, with what is known there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderState {
    /// Stored before LND is asked; resumed or failed by whoever finds it.
    Creating,
    /// Shown to the customer and open at the node.
    Pending(ShownInvoice),
    /// Settled; `paid_at` is the node's settle date.
    Paid { invoice: ShownInvoice, paid_at: Timestamp },
    /// Closed by the node's word that the invoice can never settle.
    Expired { invoice: ShownInvoice, closed_at: Timestamp },
    /// No invoice was ever shown.
    Failed { closed_at: Timestamp },
}

impl Order {
    /// None of one that is paid by card.
    pub const fn payment_hash(&self) -> Option<PaymentHash> {
        self.rail.payment_hash()
    }

    /// Payment hash and price, where Lightning is its rail.
    pub const fn lightning(&self) -> Option<(PaymentHash, Msats)> {
        match &self.rail {
            Rail::Lightning { payment_hash, quote } => Some((*payment_hash, quote.amount.to_msats())),
            Rail::Card { .. } => None,
        }
    }

    /// As much of the payment hash as a log may hold.
    pub fn payment_hash_prefix(&self) -> Option<String> {
        self.payment_hash().map(|hash| hash.prefix())
    }

    /// What was asked for.
    pub const fn price(&self) -> Amount {
        self.rail.price()
    }

    /// The invoice, from the moment that it is stored.
    pub const fn invoice(&self) -> Option<&ShownInvoice> {
        match &self.state {
            OrderState::Pending(invoice) | OrderState::Paid { invoice, .. } | OrderState::Expired { invoice, .. } => {
                Some(invoice)
            }
            OrderState::Creating | OrderState::Failed { .. } => None,
        }
    }

    pub const fn is_paid(&self) -> bool {
        matches!(self.state, OrderState::Paid { .. })
    }

    /// Whether a customer may still ask about it; an order that never had an invoice is nobody's business.
    pub fn is_visible(&self, now: Timestamp) -> bool {
        match &self.state {
            OrderState::Pending(_) | OrderState::Paid { .. } => true,
            OrderState::Expired { closed_at, .. } => now.since(*closed_at) < EXPIRED_SHOWN,
            OrderState::Creating | OrderState::Failed { .. } => false,
        }
    }
}

impl PublicName {
    /// Parses 64 lowercase hexadecimal digits, or a UUID with its hyphens.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let is_hyphenated = text.len() == 36;
        match Uuid::try_parse(text).ok().filter(|_| is_hyphenated) {
            Some(id) => Ok(Self::CardOrder(id)),
            None => PaymentHash::parse(text).map(Self::PaymentHash),
        }
    }
}

impl Rail {
    pub const fn payment_hash(&self) -> Option<PaymentHash> {
        match self {
            Self::Lightning { payment_hash, .. } => Some(*payment_hash),
            Self::Card { .. } => None,
        }
    }

    pub const fn price(&self) -> Amount {
        match self {
            Self::Lightning { quote, .. } => Amount::Msats(quote.amount.to_msats()),
            Self::Card { price, .. } => Amount::UsdCents(*price),
        }
    }

    /// What was asked for, as people read it.
    pub fn asked(&self) -> String {
        match self {
            Self::Lightning { quote, .. } => quote.amount.to_string(),
            Self::Card { price, .. } => Amount::UsdCents(*price).to_string(),
        }
    }

    /// The word in the database and in lists.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Lightning { .. } => "lightning",
            Self::Card { .. } => "card",
        }
    }
}

impl OrderKind {
    /// What a subscription lasts longer.
    pub const fn months(self) -> Option<u32> {
        match self {
            Self::New { months } | Self::Renewal { months, .. } => Some(months),
            Self::BandwidthReset(_) => None,
        }
    }

    /// The subscription that it is for; none of a new one.
    pub const fn target(self) -> Option<Uuid> {
        match self {
            Self::New { .. } => None,
            Self::Renewal { subscription, .. } | Self::BandwidthReset(subscription) => Some(subscription),
        }
    }

    /// The word in the database and in `explain`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New { .. } => "new",
            Self::Renewal { .. } => "renewal",
            Self::BandwidthReset(_) => "bandwidth_reset",
        }
    }
}

impl OrderState {
    /// The word in the database and in `explain`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Pending(_) => "pending",
            Self::Paid { .. } => "paid",
            Self::Expired { .. } => "expired",
            Self::Failed { .. } => "failed",
        }
    }
}
