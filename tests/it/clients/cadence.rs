//! How often clients poll, and that the limits as shipped admit it.
//!
//! The limiter runs on a clock that no test moves, so a whole invoice's life of polls is computed from the limits, and
//! the burst is asked for over HTTP.

use std::time::Duration;

use tokio::time::Instant;
use wiretoll::config::{Limits, Orders, Quota};

use super::browser::headers_can_be_passed_on;
use super::rules::api_error;
use crate::on_both_databases;
use crate::shop::{On, Shop};

on_both_databases!(sixty_polls_at_once_are_answered_and_the_next_is_told_when_to_come_back);

/// Umbrel, RaspiBlitz and StartOS.
const POLLS: [(&str, Duration); 3] =
    [("Umbrel", Duration::from_secs(3)), ("RaspiBlitz", Duration::from_secs(5)), ("StartOS", Duration::from_secs(20))];

/// How many of `count` polls at this pace a full bucket admits.
fn admitted(quota: Quota, pace: Duration, count: u32) -> u32 {
    let refill = f64::from(quota.per_minute) * pace.as_secs_f64() / 60.0;
    let mut bucket = f64::from(quota.burst);
    let mut admitted = 0;
    for _ in 0..count {
        if bucket >= 1.0 {
            bucket -= 1.0;
            admitted += 1;
        }
        bucket = (bucket + refill).min(f64::from(quota.burst));
    }
    admitted
}

#[test]
fn every_client_may_poll_for_as_long_as_its_invoice_lives() {
    let limits = Limits::default();
    for (client, pace) in POLLS {
        let polls = u32::try_from(Orders::default().invoice_lifetime.as_millis() / pace.as_millis()).unwrap();
        assert_eq!(admitted(limits.check_per_hash, pace, polls), polls, "{client}");
        // No less is refilled than is used, so it may go on for ever.
        let a_day = u32::try_from(Duration::from_hours(24).as_secs() / pace.as_secs()).unwrap();
        assert_eq!(admitted(limits.check_per_hash, pace, a_day), a_day, "{client}");
    }
}

/// A school, or a carrier's address translation: 30 customers in one prefix, each polling every 3 s.
#[test]
fn thirty_customers_of_one_prefix_may_poll_at_once() {
    let together = Duration::from_secs(3) / 30;
    assert_eq!(admitted(Limits::default().check, together, 30 * 300), 30 * 300);
}

#[test]
fn the_computation_refuses_what_a_strict_limiter_would() {
    // The advice of the original's documentation: one request in 5 s.
    let strict = Quota { burst: 1, per_minute: 12 };
    assert!(admitted(strict, Duration::from_secs(3), 300) < 300);
    assert_eq!(admitted(strict, Duration::from_secs(5), 300), 300);
    assert_eq!(admitted(Limits::default().check_per_hash, Duration::ZERO, 300), 60);
}

async fn sixty_polls_at_once_are_answered_and_the_next_is_told_when_to_come_back(on: On) {
    let shop = Shop::open_with(on, |config| config.limits = Limits::default()).await;
    let (order, other) = (shop.order().await, shop.order().await);
    let begun = Instant::now();
    for poll in 1..=60 {
        assert_eq!(shop.check(&order.hash).await.status, 200, "poll {poll}");
    }
    // One more is admitted for every 2 s that the sixty took.
    let refilled = begun.elapsed().as_secs() / 2 + 1;
    let mut refused = None;
    for _ in 0..=refilled + 1 {
        let reply = shop.check(&order.hash).await;
        if reply.status != 200 {
            refused = Some(reply);
            break;
        }
    }
    let refused = refused.expect("a refusal after the burst");
    assert_eq!((refused.status, api_error(&refused.body)), (429, Ok("ERR_RATE_LIMIT_EXCEEDED")));
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "30 a minute is one every 2 s, not {wait}");
    headers_can_be_passed_on(&refused.headers).unwrap();
    assert_eq!(shop.check(&other.hash).await.status, 200, "another order has its own polls");
}
