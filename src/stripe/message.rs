//! What Stripe says, as much of it as is needed here; unknown fields and values never make a message unreadable.

use std::collections::HashMap;

use serde::Deserialize;
use uuid::Uuid;

use crate::domain::instance_key::KeyId;
use crate::domain::time::{SECOND, Timestamp};

/// The field of an object's metadata that holds the id of its order; other programs may use the account, too.
const ORDER_ID: &str = "wiretoll_order";
/// And the one with the instance key of its claim token, for a database that has forgotten the order.
const KEY_ID: &str = "wiretoll_key";

/// A Checkout Session: a page on which one card payment can be made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Session {
    pub id: String,
    /// The page, while it is open.
    #[serde(default)]
    pub url: Option<String>,
    #[serde(default)]
    pub status: SessionStatus,
    #[serde(default)]
    pub payment_status: PaymentStatus,
    #[serde(default)]
    pub amount_total: Option<u64>,
    #[serde(default)]
    pub currency: Option<String>,
    pub livemode: bool,
    /// From the first attempt to pay.
    #[serde(default)]
    pub payment_intent: Option<String>,
    #[serde(default)]
    pub client_reference_id: Option<String>,
    #[serde(default)]
    pub metadata: Option<HashMap<String, String>>,
    /// Seconds since 1970, as the end is.
    pub created: i64,
    pub expires_at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    Open,
    /// Somebody finished it; whether it is paid, [`PaymentStatus`] tells.
    Complete,
    Expired,
    #[default]
    #[serde(other)]
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    Paid,
    Unpaid,
    #[default]
    #[serde(other)]
    Other,
}

/// What was charged, with what was given back.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Charge {
    pub id: String,
    #[serde(default)]
    pub payment_intent: Option<String>,
    pub amount: u64,
    /// In all.
    pub amount_refunded: u64,
    pub livemode: bool,
}

/// The cardholder's bank asks for the money.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Dispute {
    pub id: String,
    #[serde(default)]
    pub payment_intent: Option<String>,
    pub status: DisputeStatus,
    #[serde(default)]
    pub reason: Option<String>,
    pub livemode: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisputeStatus {
    Won,
    Lost,
    /// An inquiry that never became a dispute.
    WarningClosed,
    #[serde(other)]
    Open,
}

/// Something that happened, and to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    pub event_type: String,
    pub created: Timestamp,
    pub about: About,
}

/// The object of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// `completed`, `async_payment_succeeded`, `async_payment_failed`, `expired`.
    Session(Session),
    /// `charge.refunded`
    Refund(Charge),
    /// `charge.dispute.created`, `.closed` and what lies between.
    Dispute(Dispute),
    /// Of a type that nothing follows from here.
    Other,
}

#[derive(Deserialize)]
struct RawEvent {
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    created: i64,
    data: RawData,
}

#[derive(Deserialize)]
struct RawData {
    object: serde_json::Value,
}

impl Event {
    /// Parses the body of a webhook.
    pub fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        let RawEvent { id, event_type, created, data } = serde_json::from_slice(body)?;
        let about = match event_type.as_str() {
            "checkout.session.completed"
            | "checkout.session.async_payment_succeeded"
            | "checkout.session.async_payment_failed"
            | "checkout.session.expired" => About::Session(serde_json::from_value(data.object)?),
            "charge.refunded" => About::Refund(serde_json::from_value(data.object)?),
            "charge.dispute.created" | "charge.dispute.closed" => About::Dispute(serde_json::from_value(data.object)?),
            _ => About::Other,
        };
        Ok(Self { id, event_type, created: seconds(created), about })
    }
}

impl Session {
    /// The order that it was made for: named twice, as only our own calls do.
    pub fn order(&self) -> Option<Uuid> {
        let id = self.metadata.as_ref()?.get(ORDER_ID)?;
        Uuid::parse_str(id).ok().filter(|_| self.client_reference_id.as_ref() == Some(id))
    }

    /// The instance key that the order's claim token derives from.
    pub fn key(&self) -> Option<KeyId> {
        self.metadata.as_ref()?.get(KEY_ID)?.parse().ok().map(KeyId)
    }

    pub const fn created(&self) -> Timestamp {
        seconds(self.created)
    }

    pub const fn expires_at(&self) -> Timestamp {
        seconds(self.expires_at)
    }
}

/// A number that no time can have stays at the edge of what can be.
const fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(SECOND))
}
