//! The one source of time and of ids, handed to whoever needs it so that a test can move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use uuid::{NoContext, Uuid};

use crate::domain::time::{MINUTE, Timestamp};

/// A clock that is set by more than this has jumped; corrections of network time are far below.
const JUMP: i64 = 10 * MINUTE;
/// So long without another jump, and the time after it is taken for the right one.
const STEADY: Duration = Duration::from_hours(1);

/// Wall-clock time: the system's, or one that only moves when it is told to.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The operating system's clock.
    System,
    /// Milliseconds since the Unix epoch, moved by [`Clock::advance`].
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands still at `start` until it is advanced.
    pub fn manual(start: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(start.millis())))
    }

    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => system_now(),
            Self::Manual(millis) => Timestamp::from_millis(millis.load(Ordering::SeqCst)),
        }
    }

    /// Whether something that knows the time keeps this clock right, by the kernel's word. A manual clock always is.
    pub fn is_synchronised(&self) -> bool {
        match self {
            Self::System => kernel_clock::is_synchronised(),
            Self::Manual(_) => true,
        }
    }

    /// Moves a manual clock; the system's clock is nobody's to move.
    pub fn advance(&self, millis: i64) {
        if let Self::Manual(now) = self {
            now.fetch_add(millis, Ordering::SeqCst);
        }
    }

    /// A fresh UUIDv7: unique by its random part, sortable by the time of this clock.
    pub fn new_id(&self) -> Uuid {
        let millis = u64::try_from(self.now().millis()).unwrap_or(0);
        let nanos = u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000;
        Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, millis / 1000, nanos))
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
fn system_now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// Tells a clock that was set from one that runs, by the monotonic clock beside it (scenario 51).
///
/// What time alone ends and nothing brings back waits while the clock is in doubt. It is trusted again after an hour
/// without another jump, so that a clock that was set right needs no restart. A manual clock is always trusted.
///
/// A clock that was wrong before the start has nothing to jump from but what was last written; and whoever was down for
/// long is as far from that. The kernel's word tells the two apart.
#[derive(Debug)]
pub struct ClockWatch {
    clock: Clock,
    last: (Timestamp, Instant),
    jumped_at: Option<Instant>,
}

impl ClockWatch {
    /// `last_written` is the newest time that this clock wrote before, if it ever did.
    pub fn new(clock: Clock, last_written: Option<Timestamp>) -> Self {
        let is_synchronised = clock.is_synchronised();
        Self::beginning(clock, last_written, is_synchronised)
    }

    fn beginning(clock: Clock, last_written: Option<Timestamp>, is_synchronised: bool) -> Self {
        let last = (clock.now(), Instant::now());
        let away_millis = last_written.map_or(0, |written| last.0.since(written));
        let is_doubted = !is_synchronised && away_millis.saturating_abs() > JUMP;
        if is_doubted {
            tracing::warn!(
                away_millis,
                "nothing keeps the system clock right (see `timedatectl`), and it is far from what was last written: for an \
                 hour no hold is released, no private key erased and no idempotency key forgotten"
            );
        }
        Self { clock, last, jumped_at: is_doubted.then_some(last.1) }
    }

    /// To be asked every few seconds: a jump is measured from the last question.
    pub fn is_trusted(&mut self) -> bool {
        match self.clock {
            Clock::System => self.compare(self.clock.now(), Instant::now()),
            Clock::Manual(_) => true,
        }
    }

    fn compare(&mut self, wall: Timestamp, monotonic: Instant) -> bool {
        let (last_wall, last_monotonic) = std::mem::replace(&mut self.last, (wall, monotonic));
        let passed = i64::try_from((monotonic - last_monotonic).as_millis()).unwrap_or(i64::MAX);
        let jump_millis = wall.since(last_wall).saturating_sub(passed);
        if jump_millis.saturating_abs() > JUMP {
            self.jumped_at = Some(monotonic);
            tracing::error!(
                jump_millis,
                "the system clock jumped: for an hour no hold is released, no private key erased and no idempotency key forgotten"
            );
        }
        if self.jumped_at.is_some_and(|at| monotonic - at >= STEADY) {
            self.jumped_at = None;
            tracing::warn!("the system clock has been steady for an hour since it jumped; it is trusted again");
        }
        self.jumped_at.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A watch, and what it is told: minutes of the wall clock and of the monotonic clock since its start.
    struct Told {
        watch: ClockWatch,
        start: (Timestamp, Instant),
    }

    impl Told {
        fn new() -> Self {
            Self::beginning(None, false)
        }

        /// So many minutes after what was last written.
        fn beginning(minutes: Option<i64>, is_synchronised: bool) -> Self {
            let last_written = minutes.map(|minutes| Clock::System.now().plus_millis(-minutes * MINUTE));
            let watch = ClockWatch::beginning(Clock::System, last_written, is_synchronised);
            Self { start: watch.last, watch }
        }

        fn trusts(&mut self, wall_minutes: i64, monotonic_minutes: u64) -> bool {
            let wall = self.start.0.plus_millis(wall_minutes * MINUTE);
            self.watch.compare(wall, self.start.1 + Duration::from_mins(monotonic_minutes))
        }
    }

    #[test]
    fn scenario_51_a_clock_that_runs_or_is_corrected_a_little_is_trusted() {
        let mut told = Told::new();
        assert!(told.trusts(5, 5) && told.trusts(19, 10) && told.trusts(14, 15) && told.trusts(500, 500));
    }

    #[test]
    fn scenario_51_after_a_jump_either_way_a_steady_hour_has_to_pass() {
        for jump in [-525_600, -11, 11, 525_600] {
            let mut told = Told::new();
            assert!(!told.trusts(jump + 1, 1), "{jump}");
            assert!(!told.trusts(jump + 60, 60), "{jump}");
            assert!(told.trusts(jump + 61, 61), "{jump}");
        }
    }

    #[test]
    fn scenario_51_a_jump_back_begins_the_hour_anew() {
        let mut told = Told::new();
        assert!(!told.trusts(1_000, 1) && !told.trusts(50, 50));
        assert!(!told.trusts(109, 109) && told.trusts(110, 110));
    }

    #[test]
    fn scenario_51_a_clock_that_nobody_keeps_and_that_is_far_from_what_was_written_waits_for_an_hour() {
        for minutes in [-525_600, -11, 11, 525_600] {
            let mut told = Told::beginning(Some(minutes), false);
            assert!(!told.trusts(0, 0) && !told.trusts(59, 59) && told.trusts(60, 60), "{minutes}");
            assert!(Told::beginning(Some(minutes), true).trusts(0, 0), "{minutes}");
        }
        for minutes in [-9, 0, 9] {
            assert!(Told::beginning(Some(minutes), false).trusts(0, 0), "{minutes}");
        }
    }

    #[test]
    fn scenario_51_a_manual_clock_is_always_trusted() {
        let clock = Clock::manual(Timestamp::EPOCH);
        let mut watch = ClockWatch::new(clock.clone(), Some(Timestamp::from_seconds(1_700_000_000)));
        clock.advance(525_600 * MINUTE);
        assert!(watch.is_trusted());
    }
}
