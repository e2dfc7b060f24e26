//! Facts, committed with what caused them: the audit trail, and what webhooks tell. Never a secret in them.

use serde_json::Value;
use uuid::Uuid;

use super::server::ServerId;
use super::time::Timestamp;

/// The version of the data of every event type; raised when a field changes its meaning.
pub const SCHEMA_VERSION: i64 = 1;

/// What happened. The name on the wire is fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    OrderCreated,
    OrderPaid,
    OrderPaidLate,
    OrderExpired,
    OrderFailed,
    OrderRefundDue,
    PaymentOrphaned,
    PaymentUnderpaid,
    /// More arrived than the price: the order is delivered, the rest waits for the operator.
    PaymentExcess,
    /// The operator made an order of an orphan.
    PaymentAdopted,
    /// The operator dealt with what waited for them.
    PaymentResolved,
    /// By card, and not what its order asked for.
    PaymentMismatched,
    PaymentRefunded,
    PaymentPartlyRefunded,
    PaymentDisputed,
    PaymentDisputeWon,
    PaymentDisputeLost,
    SubscriptionCreated,
    SubscriptionRenewed,
    SubscriptionReleased,
    /// A month's amount of bandwidth more.
    SubscriptionBandwidthReset,
    /// The operator's present.
    SubscriptionExtended,
    /// What an order had granted counts no more, or again.
    SubscriptionRecounted,
    SubscriptionSuspended,
    SubscriptionResumed,
    SubscriptionRevoked,
    SubscriptionRekeyed,
    ServerDrained,
    ServerUndrained,
    ServerRemovalsAllowed,
    /// Its agent was forgotten: another one speaks for it, or none.
    ServerTakenOver,
    /// What its agent has is compared anew, because the database was restored.
    ServerEpochBegan,
    ClaimBound,
    ClaimKeyErased,
    ReferralCodeCreated,
    /// A purchase that named an account's code brought it months.
    ReferralCredited,
    AccountCreated,
    AccountApiKeyCreated,
    AccountApiKeyRevoked,
    AccountNostrKeyAdded,
    AccountNostrKeyRemoved,
    /// An owner showed the claim token of an order that was nobody's.
    OrderAdopted,
    /// With its founding order.
    SubscriptionAdopted,
    /// Its server's agent confirmed the peer.
    ClaimReady,
    /// A week and a day before its end.
    SubscriptionExpiring,
    /// Its end has come.
    SubscriptionLapsed,
    /// Of its month's bandwidth, in a hundred.
    Usage70,
    Usage100,
    WebhookAdded,
    /// Another URL, or other events.
    WebhookChanged,
    WebhookRemoved,
    WebhookRotated,
    /// Some of what it was told, or should have been, is told again.
    WebhookRedelivered,
    WebhookEnabled,
    WebhookDisabled,
    /// Asked for by its owner, and told to nobody else.
    WebhookTest,
}

/// What it happened to; events of one subject are numbered without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    Order(Uuid),
    Subscription(Uuid),
    Payment(Uuid),
    Server(&'a ServerId),
    Account(Uuid),
    /// An endpoint.
    Webhook(Uuid),
}

/// An event as it is read back.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: Uuid,
    pub event_type: String,
    pub sequence: i64,
    pub occurred_at: Timestamp,
    pub data: Value,
}

/// An event that somebody caused by hand, with who it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Act {
    pub event: Event,
    pub subject_kind: String,
    pub subject_id: String,
    /// `operator`, `agent` or `account`.
    pub actor: String,
    /// Whose credential it was done with.
    pub account: Option<Uuid>,
}

impl EventType {
    /// Every type, for those who choose among them.
    pub const ALL: &[Self] = &[
        Self::OrderCreated,
        Self::OrderPaid,
        Self::OrderPaidLate,
        Self::OrderExpired,
        Self::OrderFailed,
        Self::OrderRefundDue,
        Self::PaymentOrphaned,
        Self::PaymentUnderpaid,
        Self::PaymentExcess,
        Self::PaymentAdopted,
        Self::PaymentResolved,
        Self::PaymentMismatched,
        Self::PaymentRefunded,
        Self::PaymentPartlyRefunded,
        Self::PaymentDisputed,
        Self::PaymentDisputeWon,
        Self::PaymentDisputeLost,
        Self::SubscriptionCreated,
        Self::SubscriptionRenewed,
        Self::SubscriptionReleased,
        Self::SubscriptionBandwidthReset,
        Self::SubscriptionExtended,
        Self::SubscriptionRecounted,
        Self::SubscriptionSuspended,
        Self::SubscriptionResumed,
        Self::SubscriptionRevoked,
        Self::SubscriptionRekeyed,
        Self::ServerDrained,
        Self::ServerUndrained,
        Self::ServerRemovalsAllowed,
        Self::ServerEpochBegan,
        Self::ServerTakenOver,
        Self::ClaimBound,
        Self::ClaimKeyErased,
        Self::ReferralCodeCreated,
        Self::ReferralCredited,
        Self::AccountCreated,
        Self::AccountApiKeyCreated,
        Self::AccountApiKeyRevoked,
        Self::AccountNostrKeyAdded,
        Self::AccountNostrKeyRemoved,
        Self::OrderAdopted,
        Self::SubscriptionAdopted,
        Self::ClaimReady,
        Self::SubscriptionExpiring,
        Self::SubscriptionLapsed,
        Self::Usage70,
        Self::Usage100,
        Self::WebhookAdded,
        Self::WebhookChanged,
        Self::WebhookRemoved,
        Self::WebhookRotated,
        Self::WebhookRedelivered,
        Self::WebhookEnabled,
        Self::WebhookDisabled,
        Self::WebhookTest,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::OrderCreated => "order.created",
            Self::OrderPaid => "order.paid",
            Self::OrderPaidLate => "order.paid_late",
            Self::OrderExpired => "order.expired",
            Self::OrderFailed => "order.failed",
            Self::OrderRefundDue => "order.refund_due",
            Self::PaymentOrphaned => "payment.orphaned",
            Self::PaymentUnderpaid => "payment.underpaid",
            Self::PaymentExcess => "payment.excess",
            Self::PaymentAdopted => "payment.adopted",
            Self::PaymentResolved => "payment.resolved",
            Self::PaymentMismatched => "payment.mismatched",
            Self::PaymentRefunded => "payment.refunded",
            Self::PaymentPartlyRefunded => "payment.partly_refunded",
            Self::PaymentDisputed => "payment.disputed",
            Self::PaymentDisputeWon => "payment.dispute_won",
            Self::PaymentDisputeLost => "payment.dispute_lost",
            Self::SubscriptionCreated => "subscription.created",
            Self::SubscriptionRenewed => "subscription.renewed",
            Self::SubscriptionReleased => "subscription.released",
            Self::SubscriptionBandwidthReset => "subscription.bandwidth_reset",
            Self::SubscriptionExtended => "subscription.extended",
            Self::SubscriptionRecounted => "subscription.recounted",
            Self::SubscriptionSuspended => "subscription.suspended",
            Self::SubscriptionResumed => "subscription.resumed",
            Self::SubscriptionRevoked => "subscription.revoked",
            Self::SubscriptionRekeyed => "subscription.rekeyed",
            Self::ServerDrained => "server.drained",
            Self::ServerUndrained => "server.undrained",
            Self::ServerRemovalsAllowed => "server.removals_allowed",
            Self::ServerEpochBegan => "server.epoch_began",
            Self::ServerTakenOver => "server.taken_over",
            Self::ClaimBound => "claim.bound",
            Self::ClaimKeyErased => "claim.key_erased",
            Self::ReferralCodeCreated => "referral.code_created",
            Self::ReferralCredited => "referral.credited",
            Self::AccountCreated => "account.created",
            Self::AccountApiKeyCreated => "account.api_key_created",
            Self::AccountApiKeyRevoked => "account.api_key_revoked",
            Self::AccountNostrKeyAdded => "account.nostr_key_added",
            Self::AccountNostrKeyRemoved => "account.nostr_key_removed",
            Self::OrderAdopted => "order.adopted",
            Self::SubscriptionAdopted => "subscription.adopted",
            Self::ClaimReady => "claim.ready",
            Self::SubscriptionExpiring => "subscription.expiring",
            Self::SubscriptionLapsed => "subscription.lapsed",
            Self::Usage70 => "usage.70",
            Self::Usage100 => "usage.100",
            Self::WebhookAdded => "webhook.added",
            Self::WebhookChanged => "webhook.changed",
            Self::WebhookRemoved => "webhook.removed",
            Self::WebhookRotated => "webhook.rotated",
            Self::WebhookRedelivered => "webhook.redelivered",
            Self::WebhookEnabled => "webhook.enabled",
            Self::WebhookDisabled => "webhook.disabled",
            Self::WebhookTest => "webhook.test",
        }
    }
}

impl Subject<'_> {
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Order(_) => "order",
            Self::Subscription(_) => "subscription",
            Self::Payment(_) => "payment",
            Self::Server(_) => "server",
            Self::Account(_) => "account",
            Self::Webhook(_) => "webhook",
        }
    }

    pub fn id(self) -> String {
        match self {
            Self::Order(id) | Self::Subscription(id) | Self::Payment(id) | Self::Account(id) | Self::Webhook(id) => {
                id.to_string()
            }
            Self::Server(id) => id.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_has_a_name_can_be_chosen() {
        let source = include_str!("event.rs");
        let in_source = source.lines().filter(|line| line.contains("=> \"") && line.contains('.')).count();
        assert_eq!(EventType::ALL.len(), in_source);
        let mut names: Vec<_> = EventType::ALL.iter().map(|event| event.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), EventType::ALL.len());
    }
}
