//! Bandwidth in the unit of the owner's endpoints.

use crate::domain::plan::BANDWIDTH_LIMIT_GB;

/// 10^6 bytes each.
pub const LIMIT_MB: i64 = BANDWIDTH_LIMIT_GB as i64 * 1_000;

pub const fn megabytes(bytes: i64) -> i64 {
    bytes / 1_000_000
}
