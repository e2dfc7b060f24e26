//! Who is told of which event: the one place that decides what leaves the house.
//!
//! The operator sees every event whole. An owner sees the types in this table, of what is their own, and of each only the
//! fields that stand here: an operator's note, for one, is not for them. A type that is not in the table is the
//! operator's alone, so a new one is told to nobody by accident.

use super::event::EventType;

/// A type that an owner is told of.
struct Row {
    event: EventType,
    /// Of its data; ids are told besides.
    fields: &'static [&'static str],
    /// Whether the callback of its order is called for it, which is for what follows a payment only: an order that nobody
    /// paid must not make us call anybody.
    callback: bool,
}

const fn row(event: EventType, fields: &'static [&'static str]) -> Row {
    Row { event, fields, callback: false }
}

const fn with_callback(event: EventType, fields: &'static [&'static str]) -> Row {
    Row { event, fields, callback: true }
}

/// In the unit in which it was paid.
const AMOUNTS: &[&str] = &["amountMsat", "excessMsat", "amountCents", "excessCents"];

const OWNERS: [Row; 21] = [
    with_callback(EventType::OrderPaid, AMOUNTS),
    with_callback(EventType::OrderPaidLate, AMOUNTS),
    with_callback(EventType::OrderRefundDue, AMOUNTS),
    row(EventType::OrderExpired, &[]),
    with_callback(EventType::ClaimReady, &["subscriptionId", "serverId"]),
    row(EventType::SubscriptionCreated, &["serverId", "endsAt"]),
    row(EventType::SubscriptionRenewed, &["oldEnd", "endsAt", "orderId"]),
    row(EventType::SubscriptionExtended, &["oldEnd", "endsAt", "granted"]),
    row(EventType::SubscriptionExpiring, &["endsAt", "daysLeft"]),
    row(EventType::SubscriptionLapsed, &["endedAt"]),
    row(EventType::SubscriptionReleased, &[]),
    row(EventType::SubscriptionSuspended, &[]),
    row(EventType::SubscriptionResumed, &[]),
    row(EventType::SubscriptionRevoked, &[]),
    row(EventType::SubscriptionRekeyed, &[]),
    row(EventType::Usage70, &["month", "usedBytes", "limitBytes"]),
    row(EventType::Usage100, &["month", "usedBytes", "limitBytes"]),
    row(EventType::ClaimBound, &[]),
    row(EventType::ReferralCredited, &["months", "durationPurchased", "subscriptionId"]),
    row(EventType::WebhookDisabled, &["host", "because"]),
    with_callback(EventType::WebhookTest, &[]),
];

fn find(event_type: &str) -> Option<&'static Row> {
    OWNERS.iter().find(|row| row.event.name() == event_type)
}

/// Whether the owner of an order, a subscription or a webhook is told of such an event of it.
pub fn owner_sees(event_type: &str) -> bool {
    find(event_type).is_some()
}

/// Whether an order's callback is called for such an event of it.
pub fn callback_sees(event_type: &str) -> bool {
    find(event_type).is_some_and(|row| row.callback)
}

/// The fields of such an event's data that its owner sees.
pub fn owner_fields(event_type: &str) -> &'static [&'static str] {
    find(event_type).map_or(&[], |row| row.fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_operator_may_see_is_not_told_to_owners() {
        for event in EventType::ALL {
            let kind = event.name().split('.').next().unwrap();
            let is_the_operators = ["server", "payment", "account", "api_key", "nostr_key"].contains(&kind);
            assert!(!is_the_operators || !owner_sees(event.name()), "{}", event.name());
            for field in owner_fields(event.name()) {
                assert!(!["note", "by", "publicKey", "madeHere"].contains(field), "{}: {field}", event.name());
            }
        }
        assert!(!owner_sees("order.created") && !owner_sees("something.new"));
    }

    #[test]
    fn a_callback_is_called_for_what_follows_a_payment() {
        let called: Vec<_> =
            EventType::ALL.iter().map(|event| event.name()).filter(|name| callback_sees(name)).collect();
        assert_eq!(called, ["order.paid", "order.paid_late", "order.refund_due", "claim.ready", "webhook.test"]);
    }
}
