//! The body of a webhook: `{"type", "timestamp", "data": {"sequence", "order" | "subscription" | ...: {...}}}`.
//!
//! It follows from the event and from ids that never change, so every attempt has the same one, and nothing secret can
//! be in it that is not in the event.

use serde_json::{Map, Value, json};

use super::audience::owner_fields;
use super::event::Event;
use super::webhook::Owner;

/// Bodies are small; whatever would be larger is told without its data.
pub const MOST_BYTES: usize = 20 * 1024;

/// What it happened to, with the ids that a receiver may know it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldSubject {
    /// `order`, `subscription`, ...
    pub kind: String,
    pub id: String,
    /// Of an order.
    pub payment_hash: Option<String>,
    /// The order that founded a subscription.
    pub founded_by: Option<String>,
}

/// The same for the same event, subject and kind of reader.
pub fn body(event: &Event, subject: &ToldSubject, reader: Owner) -> String {
    let whole = render(event, subject, told_data(event, reader));
    if whole.len() <= MOST_BYTES { whole } else { render(event, subject, Map::new()) }
}

fn render(event: &Event, subject: &ToldSubject, data: Map<String, Value>) -> String {
    let mut told = Map::new();
    told.insert("id".into(), json!(subject.id));
    for (name, id) in [("paymentHash", &subject.payment_hash), ("foundedBy", &subject.founded_by)] {
        if let Some(id) = id {
            told.insert(name.into(), json!(id));
        }
    }
    for (name, value) in data {
        told.entry(name).or_insert(value);
    }
    let data = json!({ "sequence": event.sequence, &subject.kind: told });
    json!({ "type": event.event_type, "timestamp": event.occurred_at, "data": data }).to_string()
}

fn told_data(event: &Event, reader: Owner) -> Map<String, Value> {
    let mut data = event.data.as_object().cloned().unwrap_or_default();
    if !reader.is_operator() {
        data.retain(|field, _| owner_fields(&event.event_type).contains(&field.as_str()));
    }
    data
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::time::Timestamp;

    fn event(event_type: &str, data: Value) -> Event {
        let occurred_at = Timestamp::parse("2026-11-22T12:00:00Z").unwrap();
        Event { id: Uuid::nil(), event_type: event_type.to_owned(), sequence: 1, occurred_at, data }
    }

    fn order() -> ToldSubject {
        let payment_hash = Some("ab".repeat(2));
        ToldSubject { kind: "order".into(), id: "o1".into(), payment_hash, founded_by: None }
    }

    #[test]
    fn it_has_the_shape_that_receivers_are_promised() {
        let paid = event("order.paid", json!({ "paymentHash": "abab", "amountMsat": 3_000_000, "excessMsat": 0 }));
        assert_eq!(
            body(&paid, &order(), Owner::Account(Uuid::nil())),
            r#"{"type":"order.paid","timestamp":"2026-11-22T12:00:00.000Z","data":{"sequence":1,"order":{"id":"o1","paymentHash":"abab","amountMsat":3000000,"excessMsat":0}}}"#
        );
    }

    #[test]
    fn an_operators_note_is_for_operators() {
        let subject = ToldSubject {
            kind: "subscription".into(),
            id: "s1".into(),
            payment_hash: None,
            founded_by: Some("o1".into()),
        };
        let suspended = event("subscription.suspended", json!({ "by": "operator", "note": "spam" }));
        let told = body(&suspended, &subject, Owner::Account(Uuid::nil()));
        assert!(told.ends_with(r#""subscription":{"id":"s1","foundedBy":"o1"}}}"#), "{told}");
        assert!(body(&suspended, &subject, Owner::Configuration).contains("spam"));
    }

    #[test]
    fn a_field_of_the_data_takes_no_ids_place() {
        let odd = event("order.paid", json!({ "id": "other", "paymentHash": "other" }));
        assert!(!body(&odd, &order(), Owner::Operator).contains("other"));
    }

    #[test]
    fn it_has_at_most_20_kilobytes() {
        let with = |length: usize| body(&event("a.b", json!({ "t": "x".repeat(length) })), &order(), Owner::Operator);
        let rest = with(0).len();
        assert_eq!(with(MOST_BYTES - rest).len(), MOST_BYTES);
        let larger = with(MOST_BYTES - rest + 1);
        assert!(larger.len() < 200 && larger.contains(r#""id":"o1""#));
    }
}
