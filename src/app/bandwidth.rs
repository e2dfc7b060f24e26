//! How much a subscription may use in a month, and which month it is.

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
