//! `Retry-After`, as somebody else's server says it (RFC 9110, section 10.2.3).

use chrono::DateTime;

use super::time::{SECOND, Timestamp};

/// Seconds, or a date of HTTP, as milliseconds from now; None where it is neither.
pub fn retry_after_millis(text: &str, now: Timestamp) -> Option<i64> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse::<i64>().unwrap_or(i64::MAX).saturating_mul(SECOND));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some(Timestamp::from_millis(date.timestamp_millis()).since(now).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read() {
        let now = Timestamp::parse("2026-11-22T12:00:00Z").unwrap();
        for (text, millis) in [
            ("0", Some(0)),
            (" 120 ", Some(120_000)),
            ("99999999999999999999", Some(i64::MAX)),
            ("Sun, 22 Nov 2026 12:01:00 GMT", Some(60_000)),
            ("Sun, 22 Nov 2026 11:01:00 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after_millis(text, now), millis, "{text}");
        }
    }
}
