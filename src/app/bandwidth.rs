//! How much a subscription may use in a month, and which month it is.

use crate::domain::Invalid;
use crate::domain::plan::BANDWIDTH_LIMIT_GB;
use crate::domain::time::Timestamp;

/// 10^9 bytes, inner, up and down together.
const BYTES_PER_GB: i64 = 1_000_000_000;

/// Bytes that a subscription may use in a month before it is slowed down.
pub fn bandwidth_limit() -> i64 {
    i64::from(BANDWIDTH_LIMIT_GB) * BYTES_PER_GB
}

/// A calendar month in UTC, such as 2026-11.
pub fn month_of(now: Timestamp) -> String {
    now.to_string().chars().take(7).collect()
}

/// When the next month begins.
///
/// # Errors
/// Outside the calendar.
pub fn next_month(now: Timestamp) -> Result<Timestamp, Invalid> {
    Timestamp::parse(&format!("{}-01T00:00:00Z", month_of(now)))?.plus_months(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_ends_where_the_next_one_begins() {
        for (now, month, next) in [
            ("2026-11-01T00:00:00.000Z", "2026-11", "2026-12-01T00:00:00.000Z"),
            ("2026-12-31T23:59:59.999Z", "2026-12", "2027-01-01T00:00:00.000Z"),
        ] {
            let now = Timestamp::parse(now).unwrap();
            assert_eq!((month_of(now).as_str(), next_month(now).unwrap().to_string().as_str()), (month, next));
        }
    }
}
