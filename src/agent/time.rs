//! What time it is for leases: as the control plane said, counted on by the monotonic clock.
//!
//! A clock may be years off after a start without a battery, and a jump of it must neither end what was sold nor prolong
//! it (scenario 51). So the machine's own clock is asked only after a reboot, when nothing was counted, and only where the
//! kernel says that it is kept right. A word of the control plane's that is more than ten minutes ahead ends nobody before
//! it has stood for an hour, unless nothing was counted here and that clock is kept right. A word that is behind is
//! believed at once, as it gives time and takes none.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::domain::time::{MINUTE, Timestamp};

/// An answer may take so long on a busy machine.
const DRIFT: i64 = 1_000;
const JUMP: i64 = 10 * MINUTE;
const STEADY: Duration = Duration::from_hours(1);

const UPTIME: &str = "/proc/uptime";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The control plane's time.
#[derive(Debug, Clone, Copy)]
pub struct ServerTime {
    told: Timestamp,
    at: Instant,
    /// Counted from a word without a gap; otherwise it may be later by any time.
    is_counted: bool,
    doubt: Option<Doubt>,
}

/// Somebody says that it is much later.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    ahead: i64,
    since: Instant,
}

/// What a word of the control plane's means for the leases that were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    Fits,
    /// They were counted from a time that was off by so many milliseconds.
    Moves(i64),
    /// Nothing yet.
    Doubted,
}

/// How long the machine has run since which start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uptime {
    boot: String,
    millis: i64,
    /// Nobody who can know had said by then what time it is.
    #[serde(default)]
    is_guessed: bool,
}

impl ServerTime {
    /// As the control plane just told it.
    pub fn told(now: Timestamp) -> Self {
        Self { told: now, at: Instant::now(), is_counted: true, doubt: None }
    }

    /// From our own file, with how long the machine had run when it was written.
    pub fn restored(seen_at: Timestamp, uptime: Option<&Uptime>) -> Self {
        let passed = uptime.zip(Uptime::read()).and_then(|(then, now)| now.since(then));
        let is_counted = passed.is_some() && uptime.is_some_and(|then| !then.is_guessed);
        Self { is_counted, ..Self::told(seen_at.plus_millis(passed.unwrap_or(0))) }
    }

    /// What our own file says beside the time.
    pub fn uptime(self) -> Option<Uptime> {
        Some(Uptime { is_guessed: self.is_guessed(), ..Uptime::read()? })
    }

    pub fn now(self) -> Timestamp {
        self.told.plus_millis(i64::try_from(self.at.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    /// Since the reboot nobody who can know has said what time it is.
    pub const fn is_guessed(self) -> bool {
        !self.is_counted
    }

    /// Takes what a clock says now, and whether that one is kept right.
    pub fn hear(&mut self, now: Timestamp, is_synchronised: bool) -> Word {
        let ahead = now.since(self.now());
        let may_be_behind = self.is_guessed() && is_synchronised;
        let jumps = ahead > JUMP && !may_be_behind;
        if jumps && !self.has_stood(ahead) {
            return Word::Doubted;
        }
        // A clock that nobody keeps right may have stood still just as long, unless it has stood against ours for an hour.
        *self = Self { is_counted: self.is_counted || is_synchronised || jumps, ..Self::told(now) };
        if ahead.abs() > DRIFT { Word::Moves(ahead) } else { Word::Fits }
    }

    /// By how many minutes, rounded, the control plane's word is ahead, where it is not believed.
    pub fn minutes_doubted(self) -> Option<i64> {
        self.doubt.map(|doubt| (doubt.ahead + MINUTE / 2) / MINUTE)
    }

    /// When it will be so late; at once where it is already.
    pub fn instant_of(self, time: Timestamp) -> Instant {
        let left = u64::try_from(time.since(self.now())).unwrap_or(0);
        Instant::now() + Duration::from_millis(left)
    }

    /// Whether that has been said for an hour; another jump begins it anew.
    fn has_stood(&mut self, ahead: i64) -> bool {
        match self.doubt {
            Some(doubt) if (ahead - doubt.ahead).abs() <= JUMP => doubt.since.elapsed() >= STEADY,
            _ => {
                self.doubt = Some(Doubt { ahead, since: Instant::now() });
                false
            }
        }
    }
}

impl Uptime {
    /// None where the kernel does not say.
    fn read() -> Option<Self> {
        let (boot, text) = (std::fs::read_to_string(BOOT_ID).ok()?, std::fs::read_to_string(UPTIME).ok()?);
        // `350735.47 234388.90`: seconds of the machine, and of its idle processors.
        let (seconds, hundredths) = text.split(' ').next()?.split_once('.')?;
        let millis = seconds.parse::<i64>().ok()? * 1_000 + hundredths.parse::<i64>().ok()? * 10;
        Some(Self { boot: boot.trim().to_owned(), millis, is_guessed: false })
    }

    /// None of another start of the machine.
    fn since(&self, then: &Self) -> Option<i64> {
        (self.boot == then.boot).then(|| self.millis - then.millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 60 * MINUTE;

    fn time(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    async fn pass(millis: i64) {
        tokio::time::advance(Duration::from_millis(u64::try_from(millis).unwrap())).await;
    }

    #[tokio::test(start_paused = true)]
    async fn scenario_51_it_counts_on_from_what_it_was_told() {
        let told = ServerTime::told(time(1_000));
        pass(250).await;
        assert_eq!(told.now(), time(1_250));
        assert_eq!(told.instant_of(time(2_000)), Instant::now() + Duration::from_millis(750));
        assert_eq!(told.instant_of(time(7)), Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn scenario_51_a_jump_ahead_is_believed_after_an_hour_and_one_back_at_once() {
        let mut told = ServerTime::told(time(0));
        assert_eq!(told.hear(time(500), true), Word::Fits);
        assert_eq!(told.hear(time(5 * MINUTE), true), Word::Moves(5 * MINUTE - 500));
        assert_eq!(told.hear(time(0), true), Word::Moves(-5 * MINUTE));
        assert_eq!((told.hear(time(24 * HOUR), true), told.now()), (Word::Doubted, time(0)));
        assert_eq!(told.minutes_doubted(), Some(24 * 60));
        pass(HOUR - 1).await;
        assert_eq!(told.hear(time(25 * HOUR - 1), true), Word::Doubted);
        pass(1).await;
        assert_eq!(told.hear(time(25 * HOUR), true), Word::Moves(24 * HOUR));
        assert_eq!((told.now(), told.minutes_doubted()), (time(25 * HOUR), None));
    }

    #[tokio::test(start_paused = true)]
    async fn scenario_51_a_clock_that_is_put_right_or_jumps_again_begins_the_hour_anew() {
        let mut told = ServerTime::told(time(0));
        assert_eq!(told.hear(time(24 * HOUR), true), Word::Doubted);
        pass(HOUR / 2).await;
        assert_eq!(told.hear(time(HOUR / 2), true), Word::Fits);
        assert_eq!((told.hear(time(24 * HOUR), true), told.minutes_doubted()), (Word::Doubted, Some(24 * 60 - 30)));
        pass(HOUR / 2).await;
        assert_eq!(told.hear(time(99 * HOUR), true), Word::Doubted);
        pass(HOUR / 2).await;
        assert_eq!(told.hear(time(99 * HOUR + HOUR / 2), true), Word::Doubted);
    }

    #[tokio::test(start_paused = true)]
    async fn scenario_51_after_a_reboot_the_first_word_of_a_clock_that_is_kept_right_counts() {
        let mut restored = ServerTime::restored(time(0), None);
        assert!(restored.is_guessed());
        assert_eq!(restored.hear(time(24 * HOUR), true), Word::Moves(24 * HOUR));
        assert!(!restored.is_guessed());
        assert_eq!(restored.hear(time(48 * HOUR), true), Word::Doubted);
    }

    #[tokio::test(start_paused = true)]
    async fn scenario_51_after_a_reboot_a_clock_that_nobody_keeps_ends_nobody_for_an_hour() {
        let mut restored = ServerTime::restored(time(0), None);
        assert_eq!(restored.hear(time(24 * HOUR), false), Word::Doubted);
        assert!(restored.is_guessed());
        pass(HOUR - 1).await;
        assert_eq!(restored.hear(time(25 * HOUR - 1), false), Word::Doubted);
        assert_eq!(restored.hear(time(2 * HOUR), true), Word::Moves(HOUR + 1), "a better one is believed meanwhile");

        let mut restored = ServerTime::restored(time(0), None);
        assert_eq!(restored.hear(time(JUMP), false), Word::Moves(JUMP));
        let mut restored = ServerTime::restored(time(0), None);
        assert_eq!(restored.hear(time(-24 * HOUR), false), Word::Moves(-24 * HOUR));
    }

    /// The service started with the same machine: its clock was as far behind until NTP had set it.
    #[tokio::test(start_paused = true)]
    async fn scenario_51_after_a_reboot_a_clock_that_is_kept_right_is_believed_also_after_one_that_is_not() {
        let mut restored = ServerTime::restored(time(0), None);
        assert_eq!(restored.hear(time(JUMP), false), Word::Moves(JUMP));
        assert!(restored.is_guessed());
        assert_eq!(restored.hear(time(24 * HOUR), true), Word::Moves(24 * HOUR - JUMP));
        assert!(!restored.is_guessed());

        let mut restored = ServerTime::restored(time(0), None);
        assert_eq!(restored.hear(time(24 * HOUR), false), Word::Doubted);
        pass(HOUR).await;
        assert_eq!(restored.hear(time(25 * HOUR), false), Word::Moves(24 * HOUR));
        assert!(!restored.is_guessed(), "what was said for an hour counts");
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_counts_on_while_the_machine_runs() {
        let now = Uptime::read().unwrap();
        let then = Uptime { millis: now.millis - HOUR, ..now.clone() };
        let mut restored = ServerTime::restored(time(0), Some(&then));
        assert!((HOUR..HOUR + MINUTE).contains(&restored.now().millis()));
        assert_eq!(restored.hear(time(24 * HOUR), true), Word::Doubted);
        let elsewhere = Uptime { boot: "another".to_owned(), ..then };
        assert_eq!(ServerTime::restored(time(0), Some(&elsewhere)).now(), time(0));
    }

    #[tokio::test(start_paused = true)]
    async fn scenario_51_a_restart_makes_a_guess_no_better() {
        let guess = ServerTime::restored(time(0), None);
        let mut restored = ServerTime::restored(guess.now(), guess.uptime().as_ref());
        assert!(restored.is_guessed());
        assert_eq!(restored.hear(time(24 * HOUR), true), Word::Moves(24 * HOUR));
        assert!(!ServerTime::restored(restored.now(), restored.uptime().as_ref()).is_guessed());
    }
}
