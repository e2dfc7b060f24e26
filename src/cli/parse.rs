//! From the words of a command line to domain types, with an error that says what is expected.

use std::ops::RangeInclusive;

use uuid::Uuid;

use crate::app::find_subscription::SubscriptionName;
use crate::app::resolve_payment::PaymentName;
use crate::domain::Invalid;
use crate::domain::account::{Scope, Scopes};
use crate::domain::keys::PublicKey;
use crate::domain::lightning::PaymentHash;
use crate::domain::note::Note;
use crate::domain::server::ServerId;
use crate::domain::time::{DAY, Timestamp};

/// A day of UTC from its first moment to its last, or a time with its zone.
pub fn time_or_day(text: &str) -> Result<RangeInclusive<Timestamp>, Invalid> {
    let start = time(text)?;
    let last = if Timestamp::parse(text).is_ok() { start } else { start.plus_millis(DAY - 1) };
    Ok(start..=last)
}

/// Scopes that are separated by commas.
pub fn scopes(text: &str) -> Result<Scopes, Invalid> {
    Scopes::new(text.split(',').map(|scope| Scope::parse(scope.trim())).collect::<Result<Vec<_>, _>>()?)
}

/// A time with its zone, or the beginning of a day of UTC.
pub fn time(text: &str) -> Result<Timestamp, Invalid> {
    Timestamp::parse(text)
        .or_else(|_| Timestamp::parse(&format!("{text}T00:00:00Z")))
        .map_err(|_| Invalid::new("expected a day such as 2026-11-22, or a time such as 2026-11-22T12:00:00Z"))
}

pub fn server_id(text: &str) -> Result<ServerId, Invalid> {
    ServerId::parse(text)
}

pub fn public_key(text: &str) -> Result<PublicKey, Invalid> {
    PublicKey::parse(text)
}

pub fn note(text: &str) -> Result<Note, Invalid> {
    Note::parse(text)
}

pub fn subscription_name(text: &str) -> Result<SubscriptionName, Invalid> {
    if let Ok(id) = Uuid::parse_str(text) {
        return Ok(SubscriptionName::Id(id));
    }
    let key = PublicKey::parse(text).map(SubscriptionName::PublicKey);
    key.or_else(|_| PaymentHash::parse(text).map(SubscriptionName::PaymentHash)).map_err(|_| {
        Invalid::new(
            "expected a subscription id (a UUID, see `wiretoll subscription list`), a WireGuard public key, or the \
             payment hash of an order",
        )
    })
}

pub fn payment_name(text: &str) -> anyhow::Result<PaymentName> {
    if let Ok(id) = Uuid::parse_str(text) {
        return Ok(PaymentName::Id(id));
    }
    match PaymentHash::parse(text) {
        Ok(hash) => Ok(PaymentName::PaymentHash(hash)),
        Err(_) => anyhow::bail!(
            "expected a payment id (a UUID, see `wiretoll payment list`) or a payment hash (64 lowercase hexadecimal \
             digits), not {text:?}"
        ),
    }
}
