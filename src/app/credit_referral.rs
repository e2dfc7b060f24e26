//! What a purchase brings to whose code it named: months on their main active subscription, or banked until they have one.
//!
//! All of it is part of the settling transaction. What it needs of other customers' rows is locked before the order is
//! delivered: accounts, then subscriptions, then servers, each in the order of their ids.

use serde_json::json;
use uuid::Uuid;

use super::{App, Error};
use crate::domain::event::{EventType, Subject};
use crate::domain::order::{Order, OrderKind};
use crate::domain::referral::WINDOW;
use crate::domain::subscription::{Cause, Grant, Span, Standing, Subscription, ends_at};
use crate::domain::time::Timestamp;
use crate::store::{KeyOwner, Tx};

/// More wait for the settlement after this one.
const MOST_BANKED_AT_ONCE: usize = 100;

/// Who is to have a bonus, locked.
#[derive(Debug)]
pub struct Referrer {
    account: Uuid,
    /// The active subscription that ends last.
    main: Option<Subscription>,
    months: u32,
}

/// Who is to have a bonus for this order; nobody for their own purchase, nor twice for one buyer who is known, nor beyond
/// what an account may earn.
pub async fn lock_referrer(app: &App, tx: &mut Tx, order: &Order, now: Timestamp) -> Result<Option<Referrer>, Error> {
    let bought = if let OrderKind::New { months } = order.kind { months } else { 0 };
    let named = if app.shop.bonuses.of(bought, 0).is_some() { tx.referrer_of(order.id).await? } else { None };
    // The buyer's, too: else a bonus of theirs might be banked meanwhile, past the subscription that they get now.
    lock_accounts(tx, [named, order.account]).await?;
    let Some(account) = named.filter(|named| order.account != Some(*named)) else { return Ok(None) };
    if let Some(buyer) = order.account
        && tx.has_brought_a_bonus(buyer).await?
    {
        return Ok(None);
    }
    let earned = tx.months_earned(account, now.plus_millis(-WINDOW)).await?;
    let Some(months) = app.shop.bonuses.of(bought, earned) else { return Ok(None) };
    let main = tx.main_subscription(account, now).await?;
    let extended = match order.public_key {
        Some(key) => tx.key_owner(key).await?,
        None => None,
    };
    let extended = match extended {
        Some(KeyOwner::Held(id)) => Some(id),
        Some(KeyOwner::Released(_)) | None => None,
    };
    let locked = lock_subscriptions(tx, order, [main, extended]).await?;
    let find = |id: Option<Uuid>| locked.iter().find(|one| Some(one.id) == id);
    if find(extended).is_some_and(|extended| extended.account == Some(account)) {
        return Ok(None);
    }
    // It may have ended, or moved to another owner, before it was locked.
    let is_theirs = |one: &&Subscription| one.is_active(now) && one.account == Some(account);
    Ok(Some(Referrer { account, main: find(main).filter(is_theirs).cloned(), months }))
}

async fn lock_accounts(tx: &mut Tx, accounts: [Option<Uuid>; 2]) -> Result<(), Error> {
    let mut accounts: Vec<_> = accounts.into_iter().flatten().collect();
    accounts.sort_unstable();
    for account in accounts {
        tx.lock_account(account).await?;
    }
    Ok(())
}

/// With their servers, and the order's.
async fn lock_subscriptions(tx: &mut Tx, order: &Order, ids: [Option<Uuid>; 2]) -> Result<Vec<Subscription>, Error> {
    let mut ids: Vec<_> = ids.into_iter().flatten().collect();
    ids.sort_unstable();
    ids.dedup();
    let mut locked = Vec::new();
    for id in ids {
        locked.extend(tx.lock_subscription(id).await?);
    }
    tx.lock_servers(locked.iter().map(|one| &one.server_id).chain([&order.server_id])).await?;
    Ok(locked)
}

/// Gives the bonus, once the order was delivered.
pub async fn credit(
    app: &App,
    tx: &mut Tx,
    order: &Order,
    referrer: Referrer,
    (at, now): (Timestamp, Timestamp),
) -> Result<(), Error> {
    let Referrer { account, main, months } = referrer;
    match &main {
        Some(main) => {
            let grant = Grant { span: Span::Months(months), granted_at: at };
            tx.insert_grant(app.new_id(), main.id, Cause::Referral { order: order.id, account }, grant).await?;
            lengthen(app, tx, main, months, now).await?;
        }
        None => tx.bank_grant(app.new_id(), account, order.id, months, at).await?,
    }
    let data = json!({
        "months": months, "durationPurchased": order.kind.months(), "subscriptionId": main.map(|main| main.id),
    });
    tx.record(app.new_id(), EventType::ReferralCredited, Subject::Account(account), &data, now).await?;
    Ok(())
}

/// Gives what its owner has banked to a subscription that was just paid for, or adopted.
pub async fn give_banked(
    app: &App,
    tx: &mut Tx,
    subscription: Uuid,
    at: Timestamp,
    now: Timestamp,
) -> Result<(), Error> {
    let subscription = tx.lock_subscription(subscription).await?.ok_or(Error::NotFound("no such subscription"))?;
    let Some(account) = subscription.account else { return Ok(()) };
    let mut given = 0;
    for _ in 0..MOST_BANKED_AT_ONCE {
        let Some((banked, months)) = tx.banked_grant(account).await? else { break };
        if tx.give_banked(banked, subscription.id, at).await? {
            given += months;
        }
    }
    if given > 0 {
        lengthen(app, tx, &subscription, given, now).await?;
    }
    Ok(())
}

/// Folds the end anew.
async fn lengthen(
    app: &App,
    tx: &mut Tx,
    subscription: &Subscription,
    months: u32,
    now: Timestamp,
) -> Result<(), Error> {
    let grants = tx.grants(subscription.id).await?;
    let end = ends_at(grants.into_iter().map(|(_, grant)| grant)).map_err(Error::Broken)?;
    tx.set_end(subscription.id, end, Standing::Held).await?;
    let granted = Span::Months(months).to_string();
    let data = json!({ "oldEnd": subscription.ends_at, "endsAt": end, "granted": granted, "for": "referral" });
    let subject = Subject::Subscription(subscription.id);
    tx.record(app.new_id(), EventType::SubscriptionExtended, subject, &data, now).await?;
    Ok(())
}
