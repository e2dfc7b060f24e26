//! The macaroon is judged before anything is sold: it must be able to sell, and unable to spend.

use super::StartError;
use crate::config::Lnd;
use crate::lnd::macaroon::{BAKE, Macaroon};

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
