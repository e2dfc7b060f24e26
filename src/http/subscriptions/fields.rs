//! Fields that several requests share, and what is odd about how clients send them.

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use uuid::Uuid;

use crate::domain::Invalid;
use crate::domain::keys::PublicKey;
use crate::domain::lightning::PaymentHash;
use crate::domain::order::{PayBy, PublicName};
use crate::domain::webhook::WebhookUrl;

/// Optional text; an empty string means absent (Umbrel sends `""` for a key that it does not have).
pub fn text<'de, D: Deserializer<'de>>(field: D) -> Result<Option<String>, D::Error> {
    let text: Option<String> = Option::deserialize(field)?;
    Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// Whole months: a JSON integer, or its digits as text, as a Bash client's `jq --arg` sends them.
pub fn months<'de, D: Deserializer<'de>>(field: D) -> Result<u32, D::Error> {
    let months = match Value::deserialize(field)? {
        Value::Number(number) => number.as_u64(),
        Value::String(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok(),
        _ => None,
    };
    let months = months.and_then(|months| u32::try_from(months).ok());
    months.ok_or_else(|| de::Error::custom("duration must be a whole number of months"))
}

/// The rail that is asked for.
pub fn pay_by(text: Option<&str>) -> Result<PayBy, Invalid> {
    match text {
        None | Some("lightning") => Ok(PayBy::Lightning),
        Some("card") => Ok(PayBy::Card),
        Some(_) => Err(Invalid::new("paymentMethod is \"lightning\" or \"card\"")),
    }
}

/// A public key that the request may leave out.
pub fn public_key(text: Option<&str>) -> Result<Option<PublicKey>, Invalid> {
    text.map(PublicKey::parse).transpose().map_err(|invalid| Invalid::new(format!("wgPublicKey: {invalid}")))
}

/// The payment hash, which goes before the id; a client may send both.
pub fn public_name(payment_hash: Option<&str>, order_id: Option<&str>) -> Result<PublicName, Invalid> {
    match (payment_hash, order_id) {
        (Some(hash), _) => PaymentHash::parse(hash).map(PublicName::PaymentHash),
        (None, Some(id)) => {
            let id = Uuid::try_parse(id).map_err(|_| Invalid::new("orderId is not the id of an order"))?;
            Ok(PublicName::CardOrder(id))
        }
        (None, None) => Err(Invalid::new("paymentHash is missing; for an order that is paid by card send orderId")),
    }
}

/// Where the customer wants the order's events to be told to.
pub fn callback_url(text: Option<&str>) -> Result<Option<WebhookUrl>, Invalid> {
    text.map(WebhookUrl::parse).transpose().map_err(|invalid| Invalid::new(format!("callbackUrl: {invalid}")))
}

/// A public key that the request is about.
pub fn required_public_key(text: Option<&str>) -> Result<PublicKey, Invalid> {
    public_key(text)?.ok_or_else(|| Invalid::new("wgPublicKey is missing: send your WireGuard public key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Request {
        #[serde(default, deserialize_with = "text")]
        key: Option<String>,
        #[serde(deserialize_with = "months")]
        duration: u32,
    }

    fn parse(body: &str) -> Result<Request, serde_json::Error> {
        serde_json::from_str(body)
    }

    #[test]
    fn empty_null_and_missing_text_are_the_same() {
        for body in [r#"{"duration":1}"#, r#"{"duration":1,"key":null}"#, r#"{"duration":1,"key":""}"#] {
            assert_eq!(parse(body).unwrap().key, None, "{body}");
        }
        assert_eq!(parse(r#"{"duration":1,"key":" a\n"}"#).unwrap().key.as_deref(), Some("a"));
    }

    #[test]
    fn scenario_44_a_duration_is_a_whole_number_of_months() {
        assert_eq!(parse(r#"{"duration":12}"#).unwrap().duration, 12);
        assert_eq!(parse(r#"{"duration":"3"}"#).unwrap().duration, 3);
        for bad in
            ["1.5", "-1", "null", "true", "\"\"", "\"+1\"", "\"1 \"", "4294967296", "99999999999999999999999", "[]"]
        {
            assert!(parse(&format!(r#"{{"duration":{bad}}}"#)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bad_key_is_named() {
        assert!(public_key(Some("x")).unwrap_err().to_string().starts_with("wgPublicKey: "));
        assert!(required_public_key(None).is_err());
    }
}
