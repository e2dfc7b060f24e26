//! The macaroon is judged before anything is sold: it must be able to sell, and unable to spend. Stripe's key must be of
//! the right mode, and its webhook's secret be there.

use super::StartError;
use crate::config::{Lnd, StripeSettings, webhook_secrets};
use crate::lnd::macaroon::{BAKE, Macaroon};
use crate::stripe;

/// Refuses a macaroon that could spend, or one that could not follow what it sells.
pub async fn check(settings: &Lnd) -> Result<(), StartError> {
    let refuse = |why: String| StartError::Macaroon(format!("{why}; make the right one with:\n    {BAKE}"));
    let macaroon = Macaroon::read(&settings.macaroon).await.map_err(|error| refuse(error.to_string()))?;
    let permissions = macaroon.permissions().map_err(|error| refuse(error.to_string()))?;
    if permissions.can_spend() {
        let beyond = permissions.beyond_selling().join(", ");
        return Err(refuse(format!("this macaroon can do more than sell ({beyond}), so a thief of it could spend")));
    }
    let missing = permissions.missing();
    if missing.is_empty() {
        return Ok(());
    }
    Err(refuse(format!("this macaroon does not permit {}", missing.join(", "))))
}

/// Refuses a key of the other mode than the network's, and secrets that are none.
pub async fn check_stripe(settings: Option<&StripeSettings>) -> Result<(), StartError> {
    let Some(settings) = settings else { return Ok(()) };
    let refuse = |what: &str, why: String| StartError::Stripe(format!("[stripe] {what}: {why}"));
    let key = stripe::read(&settings.key).await.map_err(|error| refuse("key_file", error.to_string()))?;
    settings.mode.check_key(key.expose()).map_err(|wrong| refuse("key_file", wrong.to_string()))?;
    let file = "webhook_secret_file";
    let secrets = stripe::read(&settings.webhook_secret).await.map_err(|error| refuse(file, error.to_string()))?;
    webhook_secrets(secrets.expose()).map(drop).map_err(|wrong| refuse(file, wrong.to_string()))
}
