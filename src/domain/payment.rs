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
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    pub id: Uuid,
    pub order_id: Option<Uuid>,
    pub evidence: Evidence,
    /// What was paid beyond the price.
    pub excess: Amount,
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
    pub const ALL: [Self; 5] = [Self::Applied, Self::AppliedLate, Self::RefundDue, Self::Orphaned, Self::Underpaid];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::AppliedLate => "applied_late",
            Self::RefundDue => "refund_due",
            Self::Orphaned => "orphaned",
            Self::Underpaid => "underpaid",
        }
    }

    /// Whether the customer has nothing for the money.
    pub const fn gave_nothing(self) -> bool {
        match self {
            Self::Applied | Self::AppliedLate => false,
            Self::RefundDue | Self::Orphaned | Self::Underpaid => true,
        }
    }
}
