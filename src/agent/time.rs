//! What time it is for leases: as the control plane said, counted on by the monotonic clock.
//!
//! The machine's own clock is never asked. It may be years off after a start without a battery, and a jump of it must
//! neither end what was sold nor prolong it (scenario 51).

use tokio::time::Instant;

use crate::domain::time::Timestamp;

/// The control plane's time.
#[derive(Debug, Clone, Copy)]
pub struct ServerTime {
    told: Timestamp,
    at: Instant,
}

impl ServerTime {
    /// As somebody who may be trusted just told it: the control plane, or our own file from when it was last heard.
    pub fn told(now: Timestamp) -> Self {
        Self { told: now, at: Instant::now() }
    }

    pub fn now(self) -> Timestamp {
        self.told.plus_millis(i64::try_from(self.at.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    /// When it will be so late; at once where it is already.
    pub fn instant_of(self, time: Timestamp) -> Instant {
        let left = u64::try_from(time.since(self.now())).unwrap_or(0);
        Instant::now() + std::time::Duration::from_millis(left)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn scenario_51_it_counts_on_from_what_it_was_told() {
        let time = ServerTime::told(Timestamp::from_millis(1_000));
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(time.now(), Timestamp::from_millis(1_250));
        assert_eq!(time.instant_of(Timestamp::from_millis(2_000)), Instant::now() + Duration::from_millis(750));
        assert_eq!(time.instant_of(Timestamp::from_millis(7)), Instant::now());
    }
}
