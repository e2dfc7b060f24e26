//! A subscription: an entitlement whose end is the fold of its grants.

use uuid::Uuid;

use super::Invalid;
use super::server::ServerId;
use super::time::{DAY, Timestamp};

/// The entitlement to one peer on one server until a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub id: Uuid,
    /// The order that founded it: its proof alone may see a server-made key, adopt, rotate or migrate.
    pub founded_by: Uuid,
    pub server_id: ServerId,
    pub ends_at: Timestamp,
    pub standing: Standing,
    pub created_at: Timestamp,
    /// Counts the changes that a client can see.
    pub revision: i64,
}

/// Whether a subscription still has a claim to its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Active, lapsed or on hold, by the clock alone.
    Held,
    /// The hold ended: slot and key went back. A renewal reserves a slot first.
    Released,
    /// Ended by the operator.
    Revoked,
}

/// One reason why a subscription lasts longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    pub months: u32,
    /// When it was granted: the payment's settle date, never in the future of our clock.
    pub granted_at: Timestamp,
}

/// How long a subscription's things outlive its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holds {
    /// From the end of the subscription to the end of its traffic.
    pub grace_millis: i64,
    /// From the end of the subscription to the release of its slot and key.
    pub hold_millis: i64,
    /// From the release of an installed slot to its next use.
    pub quarantine_millis: i64,
    /// From the first claim to the erasure of a server-made private key.
    pub private_key_millis: i64,
}

impl Default for Holds {
    fn default() -> Self {
        Self { grace_millis: DAY, hold_millis: 30 * DAY, quarantine_millis: DAY, private_key_millis: 7 * DAY }
    }
}

impl Subscription {
    /// Until then slot and key are kept for a late renewal.
    pub const fn hold_until(&self, holds: Holds) -> Timestamp {
        self.ends_at.plus_millis(holds.hold_millis)
    }

    pub fn is_active(&self, now: Timestamp) -> bool {
        self.standing != Standing::Revoked && now < self.ends_at
    }
}

/// The end of a subscription: grant by grant, from the later of the present end and the grant's own time.
///
/// # Errors
/// When there is no grant, or the end lies outside the calendar.
pub fn ends_at(grants: impl IntoIterator<Item = Grant>) -> Result<Timestamp, Invalid> {
    let mut end = None;
    for grant in grants {
        let start = end.unwrap_or(grant.granted_at).max(grant.granted_at);
        end = Some(start.plus_months(grant.months)?);
    }
    end.ok_or_else(|| Invalid::new("a subscription without a grant"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_renewal_before_the_end_adds_to_the_end() {
        let grants = [
            Grant { months: 1, granted_at: at("2026-01-31T12:00:00Z") },
            Grant { months: 1, granted_at: at("2026-02-10T12:00:00Z") },
        ];
        assert_eq!(ends_at(grants), Ok(at("2026-03-28T12:00:00Z")));
    }

    #[test]
    fn a_renewal_after_the_end_starts_anew() {
        let grants = [
            Grant { months: 1, granted_at: at("2026-01-01T00:00:00Z") },
            Grant { months: 3, granted_at: at("2026-06-15T00:00:00Z") },
        ];
        assert_eq!(ends_at(grants), Ok(at("2026-09-15T00:00:00Z")));
    }

    #[test]
    fn without_a_grant_there_is_no_end() {
        assert!(ends_at([]).is_err());
    }

    proptest! {
        /// Every month that was paid for is delivered after the moment it was paid.
        #[test]
        fn no_grant_is_swallowed(
            grants in proptest::collection::vec((1_u32..=12, 0_i64..4_000_000_000_000), 1..12)
        ) {
            let grants: Vec<_> = grants.into_iter()
                .map(|(months, millis)| Grant { months, granted_at: Timestamp::from_millis(millis) })
                .collect();
            let mut before = None;
            for count in 1..=grants.len() {
                let end = ends_at(grants[..count].iter().copied()).unwrap();
                let last = grants[count - 1];
                prop_assert!(end >= last.granted_at.plus_months(last.months).unwrap());
                if let Some(before) = before {
                    prop_assert!(end >= Timestamp::plus_months(before, last.months).unwrap());
                }
                before = Some(end);
            }
        }

        /// Paid before each end, grants are worth all of their months from the first one: time of payment is no matter.
        #[test]
        fn early_renewals_add_up(start in 0_i64..4_000_000_000_000, months in proptest::collection::vec(1_u32..=12, 1..8)) {
            let granted_at = Timestamp::from_millis(start);
            let end = ends_at(months.iter().map(|months| Grant { months: *months, granted_at })).unwrap();
            let days = end.since(granted_at) / DAY;
            let whole = i64::from(months.iter().sum::<u32>());
            // Each month that a day was clamped in may cost up to three days, once: the day stays clamped from there.
            let at_once = granted_at.plus_months(months.iter().sum()).unwrap().since(granted_at) / DAY;
            prop_assert!((at_once - 3..=at_once).contains(&days) && days >= whole * 28);
        }
    }
}
