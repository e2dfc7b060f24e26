//! The node's own clock: the system's, plus what a test has advanced it by.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

#[derive(Debug)]
pub(super) struct SimulatorClock {
    offset_ms: AtomicI64,
    moved: watch::Sender<()>,
}

impl SimulatorClock {
    pub(super) fn with_offset_ms(offset_ms: i64) -> Self {
        Self { offset_ms: AtomicI64::new(offset_ms), moved: watch::Sender::new(()) }
    }

    /// Milliseconds since the Unix epoch.
    pub(super) fn now_ms(&self) -> i64 {
        system_now_ms().saturating_add(self.offset_ms())
    }

    pub(super) fn now_seconds(&self) -> i64 {
        self.now_ms().div_euclid(1000)
    }

    pub(super) fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::SeqCst)
    }

    pub(super) fn advance(&self, by: Duration) {
        let by_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.offset_ms.fetch_add(by_ms, Ordering::SeqCst);
        self.moved.send_replace(());
    }

    /// Returns once it is later than `due_ms`, however it comes about.
    pub(super) async fn passed(&self, due_ms: i64) {
        let mut moved = self.moved.subscribe();
        loop {
            let remaining_ms = due_ms - self.now_ms();
            let Ok(remaining_ms) = u64::try_from(remaining_ms) else {
                return;
            };
            let sleep = tokio::time::sleep(Duration::from_millis(remaining_ms + 1));
            tokio::select! {
                () = sleep => {}
                _ = moved.changed() => {}
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the simulated node stands for another machine, which has a clock of its own"
)]
fn system_now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
