//! How often one address prefix may ask for what.
//!
//! Memory is bounded twice: idle keys are forgotten once a minute, and beyond `MAX_KEYS` newcomers share buckets, so
//! that an attacker with many addresses gets less for them, not more.

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, RateLimiter};

use super::error::Error;
use crate::config::{Limits, Quota};

/// About 5 MB at most, for each kind of request.
const MAX_KEYS: usize = 50_000;
const SHARED_BUCKETS: u64 = 1_024;

/// Counting the keys locks each part of their map in turn, so they are counted at every so manieth request only.
const COUNT_EVERY: usize = 64;

/// One limiter for each kind of request; shared by all threads.
#[derive(Debug)]
pub struct RateLimits {
    pub create: Limiter,
    pub check: Limiter,
    pub check_per_hash: Limiter,
    pub claim: Limiter,
    pub status: Limiter,
    /// Of one account, whatever it asks for.
    pub api_key: Limiter,
    pub nostr: Limiter,
    /// Accounts that are founded by a signed request.
    pub new_account: Limiter,
    /// Of one account: tests of its webhooks, and repeats.
    pub webhook_calls: Limiter,
    pub failed_authentication: Limiter,
    pub ping: Limiter,
    pub ping_in_all: Limiter,
    pub node_lookup: Limiter,
    pub node_lookup_in_all: Limiter,
}

/// So many at once, then so many a minute, for each key.
pub struct Limiter {
    buckets: DefaultKeyedRateLimiter<u64>,
    hasher: RandomState,
    clock: DefaultClock,
    max_keys: usize,
    admissions: AtomicUsize,
    is_full: AtomicBool,
}

impl RateLimits {
    pub fn new(limits: &Limits) -> Self {
        Self {
            create: Limiter::new(limits.create),
            check: Limiter::new(limits.check),
            check_per_hash: Limiter::new(limits.check_per_hash),
            claim: Limiter::new(limits.claim),
            status: Limiter::new(limits.status),
            api_key: Limiter::new(limits.api_key),
            nostr: Limiter::new(limits.nostr),
            new_account: Limiter::new(limits.new_account),
            webhook_calls: Limiter::new(limits.webhook_calls),
            failed_authentication: Limiter::new(limits.failed_authentication),
            ping: Limiter::new(limits.ping),
            ping_in_all: Limiter::new(limits.ping_in_all),
            node_lookup: Limiter::new(limits.node_lookup),
            node_lookup_in_all: Limiter::new(limits.node_lookup_in_all),
        }
    }

    /// Forgets every key whose bucket is full again; to be called about once a minute.
    pub fn forget_idle(&self) {
        let strangers = [&self.create, &self.check, &self.check_per_hash, &self.claim, &self.status];
        let owners = [&self.api_key, &self.nostr, &self.new_account, &self.webhook_calls, &self.failed_authentication];
        let tools = [&self.ping, &self.ping_in_all, &self.node_lookup, &self.node_lookup_in_all];
        for limiter in strangers.into_iter().chain(owners).chain(tools) {
            limiter.buckets.retain_recent();
            limiter.buckets.shrink_to_fit();
        }
    }
}

impl Limiter {
    fn new(quota: Quota) -> Self {
        let rate = NonZeroU32::new(quota.per_minute).unwrap_or(NonZeroU32::MIN);
        let burst = NonZeroU32::new(quota.burst).unwrap_or(NonZeroU32::MIN);
        let quota = governor::Quota::per_minute(rate).allow_burst(burst);
        Self {
            buckets: RateLimiter::keyed(quota),
            hasher: RandomState::new(),
            clock: DefaultClock::default(),
            max_keys: MAX_KEYS,
            admissions: AtomicUsize::new(0),
            is_full: AtomicBool::new(false),
        }
    }

    /// Counts one request for `key`.
    ///
    /// # Errors
    /// 429 with the time until the next one is admitted.
    pub fn admit(&self, key: impl Hash) -> Result<(), Error> {
        let bucket = self.bucket(key);
        self.buckets.check_key(&bucket).map_err(|not_yet| Error::rate_limited(not_yet.wait_time_from(self.clock.now())))
    }

    fn bucket(&self, key: impl Hash) -> u64 {
        let own = self.hasher.hash_one(key);
        if self.is_full() { own % SHARED_BUCKETS } else { own }
    }

    fn is_full(&self) -> bool {
        if self.admissions.fetch_add(1, Ordering::Relaxed).is_multiple_of(COUNT_EVERY) {
            self.is_full.store(self.buckets.len() >= self.max_keys, Ordering::Relaxed);
        }
        self.is_full.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("keys", &self.buckets.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;

    use super::*;

    fn limiter(burst: u32, per_minute: u32) -> Limiter {
        Limiter::new(Quota { burst, per_minute })
    }

    #[test]
    fn the_burst_is_admitted_and_the_next_one_is_told_when_to_come_back() {
        let limiter = limiter(3, 20);
        assert!((0..3).all(|_| limiter.admit("a").is_ok()));
        let response = limiter.admit("a").unwrap_err().error_response();
        assert_eq!(response.status(), 429);
        // 20 a minute is one every 3 s.
        assert_eq!(response.headers().get("retry-after").unwrap(), "3");
    }

    #[test]
    fn keys_do_not_share_a_bucket() {
        let limiter = limiter(1, 1);
        assert!(limiter.admit("a").is_ok() && limiter.admit("b").is_ok());
        assert!(limiter.admit("a").is_err());
    }

    #[test]
    fn scenario_45_the_memory_of_a_limiter_is_bounded() {
        let limiter = Limiter { max_keys: 100, ..limiter(1, 1) };
        for key in 0..10_000 {
            let _ = limiter.admit(key);
        }
        assert!(limiter.buckets.len() <= 100 + COUNT_EVERY + 1_024);
    }

    #[test]
    fn a_full_bucket_is_forgotten() {
        let limits = RateLimits::new(&Limits { status: Quota { burst: 1, per_minute: 60_000 }, ..Limits::default() });
        limits.status.admit("a").unwrap();
        while !limits.status.buckets.is_empty() {
            limits.forget_idle();
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_limit_of_nothing_is_read_as_one() {
        assert!(limiter(0, 0).admit("a").is_ok());
    }
}
