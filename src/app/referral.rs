//! Referrals: an account has one code, and sees what purchases with it brought.

use super::authenticate::Authenticated;
use super::{App, Error};
use crate::domain::event::{EventType, Subject};
use crate::domain::referral::ReferralCode;
use crate::random;
use crate::store::{EarnedBonus, ReferralTotals};
use serde_json::json;

use super::operator::By;

/// So many of the newest are shown.
const HISTORY: u32 = 100;

/// An account's code with what it brought.
#[derive(Debug)]
pub struct Referral {
    pub code: ReferralCode,
    pub totals: ReferralTotals,
}

/// Gives an account its code: the wanted one, or one that nobody guesses. A repeat returns the same.
///
/// # Errors
/// [`Error::Conflict`] where the code is somebody else's, or the account has another one.
pub async fn create_code(app: &App, owner: &Authenticated, wanted: Option<ReferralCode>) -> Result<Referral, Error> {
    let code = match wanted.clone() {
        Some(code) => code,
        None => ReferralCode::from_random(random::bytes()?),
    };
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    tx.lock_account(owner.account).await?.ok_or(Error::NotFound("no such account"))?;
    let code = match tx.referral_code_of(owner.account).await? {
        Some(known) if wanted.is_none_or(|wanted| wanted == known) => known,
        Some(known) => return Err(Error::Conflict(format!("your referral code is {known}, and stays so"))),
        None if tx.insert_referral_code(&code, owner.account, now).await? => {
            let data = By::Account(owner).tells(&json!({ "code": code.as_str() }));
            let subject = Subject::Account(owner.account);
            tx.record(app.new_id(), EventType::ReferralCodeCreated, subject, &data, now).await?;
            code
        }
        None => return Err(Error::Conflict("this referral code is taken: choose another one".into())),
    };
    tx.commit().await?;
    Ok(Referral { code, totals: app.store.referral_totals(owner.account).await? })
}

/// The newest purchases that brought an account a bonus.
pub async fn history(app: &App, owner: &Authenticated) -> Result<Vec<EarnedBonus>, Error> {
    Ok(app.store.earned_bonuses(owner.account, HISTORY).await?)
}

/// The code that a buyer names, where it is somebody's. A mistake in it is no reason to lose a sale.
pub async fn known_code(app: &App, named: &str) -> Result<Option<ReferralCode>, Error> {
    let Ok(code) = ReferralCode::parse(named) else { return Ok(None) };
    let owner = app.store.referral_owner(&code).await?;
    Ok(owner.map(|_| code))
}
