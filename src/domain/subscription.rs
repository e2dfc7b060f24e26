//! A subscription: an entitlement whose end is the fold of its grants.

use std::fmt;

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
    /// Whose it is, as its founding order was; nobody's until it is adopted.
    pub account: Option<Uuid>,
    pub server_id: ServerId,
    pub ends_at: Timestamp,
    pub standing: Standing,
    /// Since when the operator lets none of its traffic pass.
    pub suspended_at: Option<Timestamp>,
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
    pub span: Span,
    /// When it was granted: the payment's settle date, never in the future of our clock.
    pub granted_at: Timestamp,
}

/// Why it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The order that founded it.
    Purchase(Uuid),
    Renewal(Uuid),
    /// A purchase that named the code of this account.
    Referral {
        order: Uuid,
        account: Uuid,
    },
    /// By hand.
    Operator,
}

/// How much longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Of the calendar, in UTC.
    Months(u32),
    /// 24 hours each.
    Days(u32),
}

/// Where a subscription stands, as an operator asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before its end.
    Active,
    /// After its end, while its traffic still passes.
    Lapsed,
    /// Slot and key are kept for a late renewal, and no traffic passes.
    Held,
    /// The operator lets no traffic pass.
    Suspended,
    Released,
    Revoked,
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
    /// From the first claim to the erasure of a server-made private key; a day after its first handshake comes sooner.
    pub private_key_millis: i64,
    /// From the end of a webhook's delivery until it is forgotten.
    pub deliveries_millis: i64,
}

/// When an owner is told that a subscription ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndNotice {
    Week,
    Day,
    Now,
}

impl EndNotice {
    pub const ALL: [Self; 3] = [Self::Week, Self::Day, Self::Now];

    /// The word in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Week => "week",
            Self::Day => "day",
            Self::Now => "end",
        }
    }

    /// Before the end.
    pub const fn days(self) -> i64 {
        match self {
            Self::Week => 7,
            Self::Day => 1,
            Self::Now => 0,
        }
    }
}

impl Default for Holds {
    fn default() -> Self {
        Self {
            grace_millis: DAY,
            hold_millis: 30 * DAY,
            quarantine_millis: DAY,
            private_key_millis: 7 * DAY,
            deliveries_millis: 30 * DAY,
        }
    }
}

impl Subscription {
    /// Until then slot and key are kept for a late renewal.
    pub const fn hold_until(&self, holds: Holds) -> Timestamp {
        self.ends_at.plus_millis(holds.hold_millis)
    }

    /// Whether its traffic is to pass, as a customer is told.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.standing != Standing::Revoked && self.suspended_at.is_none() && now < self.ends_at
    }

    pub fn stage(&self, now: Timestamp, holds: Holds) -> Stage {
        match self.standing {
            Standing::Released => Stage::Released,
            Standing::Revoked => Stage::Revoked,
            Standing::Held if self.suspended_at.is_some() => Stage::Suspended,
            Standing::Held if now < self.ends_at => Stage::Active,
            Standing::Held if now < self.ends_at.plus_millis(holds.grace_millis) => Stage::Lapsed,
            Standing::Held => Stage::Held,
        }
    }
}

impl Stage {
    pub const ALL: [Self; 6] = [Self::Active, Self::Lapsed, Self::Held, Self::Suspended, Self::Released, Self::Revoked];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Lapsed => "lapsed",
            Self::Held => "held",
            Self::Suspended => "suspended",
            Self::Released => "released",
            Self::Revoked => "revoked",
        }
    }
}

impl Span {
    fn after(self, start: Timestamp) -> Result<Timestamp, Invalid> {
        match self {
            Self::Months(months) => start.plus_months(months),
            Self::Days(days) => Ok(start.plus_millis(i64::from(days) * DAY)),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Months(1) => f.write_str("1 month"),
            Self::Months(months) => write!(f, "{months} months"),
            Self::Days(1) => f.write_str("1 day"),
            Self::Days(days) => write!(f, "{days} days"),
        }
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
        end = Some(grant.span.after(start)?);
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
            Grant { span: Span::Months(1), granted_at: at("2026-01-31T12:00:00Z") },
            Grant { span: Span::Months(1), granted_at: at("2026-02-10T12:00:00Z") },
        ];
        assert_eq!(ends_at(grants), Ok(at("2026-03-28T12:00:00Z")));
    }

    #[test]
    fn a_renewal_after_the_end_starts_anew() {
        let grants = [
            Grant { span: Span::Months(1), granted_at: at("2026-01-01T00:00:00Z") },
            Grant { span: Span::Months(3), granted_at: at("2026-06-15T00:00:00Z") },
        ];
        assert_eq!(ends_at(grants), Ok(at("2026-09-15T00:00:00Z")));
    }

    #[test]
    fn without_a_grant_there_is_no_end() {
        assert!(ends_at([]).is_err());
    }

    fn a_span() -> impl Strategy<Value = Span> {
        prop_oneof![(1_u32..=12).prop_map(Span::Months), (1_u32..=400).prop_map(Span::Days)]
    }

    #[test]
    fn a_stage_is_the_clock_s_word_unless_somebody_spoke() {
        let ends_at = at("2026-12-01T00:00:00Z");
        let mut one = Subscription {
            id: Uuid::from_u128(1),
            founded_by: Uuid::from_u128(2),
            account: None,
            server_id: ServerId::parse("eu-de").unwrap(),
            ends_at,
            standing: Standing::Held,
            suspended_at: None,
            created_at: at("2026-11-01T00:00:00Z"),
            revision: 0,
        };
        let stage = |one: &Subscription, days: i64| one.stage(ends_at.plus_millis(days * DAY), Holds::default());
        assert_eq!([-1, 0, 1].map(|days| stage(&one, days)), [Stage::Active, Stage::Lapsed, Stage::Held]);
        one.suspended_at = Some(ends_at);
        assert_eq!([-1, 0, 1].map(|days| stage(&one, days)), [Stage::Suspended; 3]);
        one.standing = Standing::Revoked;
        assert_eq!(stage(&one, -1), Stage::Revoked);
    }

    proptest! {
        /// All that was granted is delivered after the moment at which it was.
        #[test]
        fn no_grant_is_swallowed(
            grants in proptest::collection::vec((a_span(), 0_i64..4_000_000_000_000), 1..12)
        ) {
            let grants: Vec<_> = grants.into_iter()
                .map(|(span, millis)| Grant { span, granted_at: Timestamp::from_millis(millis) })
                .collect();
            let mut before = None;
            for count in 1..=grants.len() {
                let end = ends_at(grants[..count].iter().copied()).unwrap();
                let last = grants[count - 1];
                prop_assert!(end >= last.span.after(last.granted_at).unwrap());
                if let Some(before) = before {
                    prop_assert!(end >= last.span.after(before).unwrap());
                }
                before = Some(end);
            }
        }

        /// Paid before each end, grants are worth all of their months from the first one: time of payment is no matter.
        #[test]
        fn early_renewals_add_up(start in 0_i64..4_000_000_000_000, months in proptest::collection::vec(1_u32..=12, 1..8)) {
            let granted_at = Timestamp::from_millis(start);
            let end = ends_at(months.iter().map(|months| Grant { span: Span::Months(*months), granted_at })).unwrap();
            let days = end.since(granted_at) / DAY;
            let whole = i64::from(months.iter().sum::<u32>());
            // Each month that a day was clamped in may cost up to three days, once: the day stays clamped from there.
            let at_once = granted_at.plus_months(months.iter().sum()).unwrap().since(granted_at) / DAY;
            prop_assert!((at_once - 3..=at_once).contains(&days) && days >= whole * 28);
        }
    }
}
