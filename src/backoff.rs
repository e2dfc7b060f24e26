//! Waiting longer after each failure, with jitter, so that a dead node meets no storm.

use std::time::Duration;

use tokio::time::Instant;

use crate::random;

const FIRST: Duration = Duration::from_millis(500);
const MOST: Duration = Duration::from_secs(30);
/// So long without a failure, and the next one counts as the first again.
const HEALTHY: Duration = Duration::from_mins(1);

/// The delay before the next attempt.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    attempt_began: Instant,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST, attempt_began: Instant::now() }
    }
}

impl Backoff {
    /// Call before each attempt.
    pub fn begin(&mut self) {
        self.attempt_began = Instant::now();
    }

    /// Call after an attempt that went well, where attempts are too short to prove anything by how long they last.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Call after a failed attempt, and wait as long as it says: half of it is fixed, half is chance.
    pub fn delay(&mut self) -> Duration {
        if self.attempt_began.elapsed() >= HEALTHY {
            self.next = FIRST;
        }
        let delay = spread(self.next);
        self.next = (self.next * 2).min(MOST);
        delay
    }
}

/// A wait of this length at most, of which half is chance.
pub fn spread(delay: Duration) -> Duration {
    delay / 2 + (delay / 2).mul_f64(random::chance())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_grows_to_half_a_minute_and_starts_again_after_a_healthy_one() {
        let mut backoff = Backoff::default();
        backoff.begin();
        let delays: Vec<_> = (0..10).map(|_| backoff.delay()).collect();
        assert!(delays[0] >= FIRST / 2 && delays[0] <= FIRST);
        assert!(delays[9] >= MOST / 2 && delays[9] <= MOST);
        backoff.begin();
        tokio::time::advance(HEALTHY).await;
        assert!(backoff.delay() <= FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn it_starts_again_after_a_success_however_short() {
        let mut backoff = Backoff::default();
        let delays: Vec<_> = (0..10).map(|_| backoff.delay()).collect();
        assert!(delays[9] >= MOST / 2);
        backoff.succeeded();
        assert!(backoff.delay() <= FIRST);
    }

    #[test]
    fn scenario_10_no_two_of_many_wait_alike() {
        let mut delays: Vec<_> = (0..50).map(|_| Backoff::default().delay()).collect();
        delays.sort_unstable();
        delays.dedup();
        assert!(delays.len() > 45 && delays[0] >= FIRST / 2, "{delays:?}");
    }
}
