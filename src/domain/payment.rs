//! Money that arrived, and what became of it.

use uuid::Uuid;

use super::money::Amount;
use super::note::Note;
use super::time::Timestamp;

/// What a provider says about a settled payment: all that `settle` needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    pub provider: Provider,
    /// Unique with the provider: the payment hash on Lightning, the payment intent at Stripe.
    pub external_id: String,
    pub amount: Amount,
    /// The provider's own time of settlement.
    pub settled_at: Timestamp,
}

/// Who took the money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    Lightning,
    Stripe,
}

/// The one automatic answer to a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// In time: the order was delivered.
    Applied,
    /// After the deadline, and honoured in full.
    AppliedLate,
    /// Nothing could be given for it: the operator owes a refund.
    RefundDue,
    /// Names an order that this database does not know (a restored backup).
    Orphaned,
    /// Less than the price, which LND never settles: recorded, not honoured.
    Underpaid,
    /// By card, and of another amount, currency or mode than its order's: recorded, not honoured.
    Mismatched,
    /// Delivered, and asked back by the cardholder's bank: what it granted does not count meanwhile.
    Disputed,
    /// All of it was given back, and what it had granted was taken back.
    Refunded,
    /// Lost to the cardholder's bank, and what it had granted was taken back.
    ChargedBack,
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    pub id: Uuid,
    pub order_id: Option<Uuid>,
    pub evidence: Evidence,
    /// What was paid beyond the price.
    pub excess: Amount,
    /// What was given back of it, as the provider says.
    pub refunded: Amount,
    pub outcome: Outcome,
    pub recorded_at: Timestamp,
    /// What the operator did about it, once they did.
    pub resolution: Option<Resolution>,
}

/// The operator's word that a payment is dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    pub at: Timestamp,
    pub note: Note,
}

impl Payment {
    /// Whether it waits for the operator: nothing was given for it, or less than was paid.
    pub const fn is_open(&self) -> bool {
        self.resolution.is_none() && (self.outcome.gave_nothing() || self.excess.get() > 0)
    }
}

impl Provider {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lightning => "lightning",
            Self::Stripe => "stripe",
        }
    }
}

impl Outcome {
    pub const ALL: [Self; 9] = [
        Self::Applied,
        Self::AppliedLate,
        Self::RefundDue,
        Self::Orphaned,
        Self::Underpaid,
        Self::Mismatched,
        Self::Disputed,
        Self::Refunded,
        Self::ChargedBack,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::AppliedLate => "applied_late",
            Self::RefundDue => "refund_due",
            Self::Orphaned => "orphaned",
            Self::Underpaid => "underpaid",
            Self::Mismatched => "mismatched",
            Self::Disputed => "disputed",
            Self::Refunded => "refunded",
            Self::ChargedBack => "charged_back",
        }
    }

    /// Whether something was given for it that counts, or may count again.
    pub const fn gave_something(self) -> bool {
        matches!(self, Self::Applied | Self::AppliedLate | Self::Disputed)
    }

    /// Whether the customer has nothing for money that is here.
    pub const fn gave_nothing(self) -> bool {
        match self {
            Self::Applied | Self::AppliedLate | Self::Disputed | Self::Refunded | Self::ChargedBack => false,
            Self::RefundDue | Self::Orphaned | Self::Underpaid | Self::Mismatched => true,
        }
    }
}
