//! Telling an owner how much of a month's bandwidth is used: at 70 and at 100 in a hundred, once each in a month.

use serde_json::json;

use super::bandwidth::bandwidth_limit;
use super::{App, Error};
use crate::domain::event::{EventType, Subject};
use crate::store::MonthUsed;

/// What is to be told of so much, where less than that was told.
///
/// The row remembers it and not the report, so what a crash kept from being told is told with the next one.
pub fn untold_percent(used: &MonthUsed) -> Option<i64> {
    let limit = bandwidth_limit();
    // The limit is whole gigabytes, so nothing is lost by dividing first.
    let reached = |percent: &&i64| used.bytes >= limit / 100 * **percent;
    [100, 70].iter().find(reached).copied().filter(|percent| *percent > used.told_percent)
}

/// In a transaction of its own: a report's has the server's row locked, and the subscription's comes before that.
pub async fn tell_usage(app: &App, used: &MonthUsed, month: &str, percent: i64) -> Result<(), Error> {
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    tx.lock_subscription(used.subscription).await?;
    let is_new = tx.mark_usage_told(used.subscription, month, percent).await?;
    if is_new {
        let event = if percent == 100 { EventType::Usage100 } else { EventType::Usage70 };
        let data = json!({ "month": month, "usedBytes": used.bytes, "limitBytes": bandwidth_limit() });
        tx.record(app.new_id(), event, Subject::Subscription(used.subscription), &data, now).await?;
    }
    tx.commit_if(is_new).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn it_is_told_at_70_and_at_100_percent_and_not_again() {
        let limit = bandwidth_limit();
        let told = |bytes, told_percent| {
            untold_percent(&MonthUsed { subscription: Uuid::nil(), bytes, told_percent, is_first_handshake: false })
        };
        assert_eq!((told(limit / 100 * 70 - 1, 0), told(limit / 100 * 70, 0)), (None, Some(70)));
        assert_eq!((told(limit - 1, 70), told(limit, 70)), (None, Some(100)));
        assert_eq!((told(limit - 1, 0), told(limit * 2, 0)), (Some(70), Some(100)));
        assert_eq!((told(limit * 2, 100), told(limit / 2, 70)), (None, None));
    }
}
