//! How long ago something last happened, by the monotonic clock; until it first does, how long ago we started.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Shared by those who mark and those who ask.
#[derive(Debug)]
pub struct Age {
    started: Instant,
    /// Milliseconds from the start to the last time.
    last: AtomicU64,
}

impl Default for Age {
    fn default() -> Self {
        Self { started: Instant::now(), last: AtomicU64::new(0) }
    }
}

impl Age {
    /// It happened then; an earlier time than the last one changes nothing.
    pub fn mark(&self, then: Instant) {
        let since_start = then.saturating_duration_since(self.started).as_millis();
        self.last.fetch_max(u64::try_from(since_start).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn elapsed(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_counts_from_the_start_and_then_from_the_last_time() {
        let age = Age::default();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(age.elapsed(), Duration::from_secs(5));
        let earlier = Instant::now();
        tokio::time::advance(Duration::from_secs(2)).await;
        age.mark(Instant::now());
        tokio::time::advance(Duration::from_secs(3)).await;
        age.mark(earlier);
        assert_eq!(age.elapsed(), Duration::from_secs(3));
    }
}
