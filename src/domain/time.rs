//! Points in time and calendar months.

use std::fmt;

use chrono::{DateTime, Months as CalendarMonths, SecondsFormat, Utc};

use super::Invalid;

pub const SECOND: i64 = 1_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// Milliseconds since the Unix epoch, UTC. Shown as ISO 8601 with milliseconds and `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const EPOCH: Self = Self(0);

    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From whole seconds, as Lightning gives them; saturates instead of wrapping.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(SECOND))
    }

    pub const fn millis(self) -> i64 {
        self.0
    }

    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to here, negative where `earlier` is later.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// So many calendar months later in UTC; the day is clamped to the month's end
    /// (31 January plus one month is 28 or 29 February).
    ///
    /// # Errors
    /// When the result lies outside the calendar (beyond the year 262,000).
    pub fn plus_months(self, months: u32) -> Result<Self, Invalid> {
        DateTime::<Utc>::from_timestamp_millis(self.0)
            .and_then(|date| date.checked_add_months(CalendarMonths::new(months)))
            .map(|date| Self(date.timestamp_millis()))
            .ok_or_else(|| Invalid::new("a date outside the calendar"))
    }

    /// Parses an ISO 8601 / RFC 3339 time with an explicit zone.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        DateTime::parse_from_rfc3339(text)
            .map(|date| Self(date.timestamp_millis()))
            .map_err(|_| Invalid::new("not a time such as 2026-11-22T12:00:00Z"))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = DateTime::<Utc>::from_timestamp_millis(self.0).unwrap_or_default();
        f.write_str(&date.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_month_after_the_31st_ends_on_the_last_day() {
        assert_eq!(at("2027-01-31T10:00:00Z").plus_months(1), Ok(at("2027-02-28T10:00:00Z")));
        assert_eq!(at("2028-01-31T10:00:00Z").plus_months(1), Ok(at("2028-02-29T10:00:00Z")));
        assert_eq!(at("2026-11-30T00:00:00Z").plus_months(3), Ok(at("2027-02-28T00:00:00Z")));
    }

    #[test]
    fn it_is_shown_with_milliseconds_and_z() {
        assert_eq!(at("2026-11-22T12:00:00+01:00").to_string(), "2026-11-22T11:00:00.000Z");
    }

    #[test]
    fn a_date_beyond_the_calendar_is_refused() {
        assert!(Timestamp::from_millis(i64::MAX).plus_months(1).is_err());
    }

    proptest! {
        #[test]
        fn text_round_trips(millis in 0_i64..253_402_300_799_999) {
            let time = Timestamp::from_millis(millis);
            prop_assert_eq!(Timestamp::parse(&time.to_string()), Ok(time));
        }

        #[test]
        fn months_add_28_to_31_days_each(millis in 0_i64..4_102_444_800_000, months in 1_u32..=36) {
            let start = Timestamp::from_millis(millis);
            let days = start.plus_months(months).unwrap().since(start) / DAY;
            prop_assert!((i64::from(months) * 28..=i64::from(months) * 31).contains(&days));
        }
    }
}
