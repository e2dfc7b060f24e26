//! Spares customers a node that hangs: LND's invoice registry can deadlock, and then `AddInvoice` never answers while
//! `GetState` still does (LND #6331, #6600, #7917).
//!
//! After a few calls in a row without an answer none are made any more, except one now and then that tries. Any answer,
//! be it a refusal, lets all of them through again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Unavailable;

/// So many calls in a row without an answer open it.
const HANGS: u32 = 3;
/// A call that was given up sooner, because its customer went away, says nothing.
const HANG: Duration = Duration::from_secs(5);
/// From one call that tries to the next; customers are told to wait as long.
const PAUSE: Duration = Duration::from_secs(10);

/// The one before `AddInvoice`. Clones share their state.
#[derive(Debug, Clone)]
pub struct CircuitBreaker {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
enum State {
    /// Every call is made; so many of the last hung.
    Closed { hangs: u32 },
    /// Calls are refused, but one after the pause.
    Open { since: Instant, trying: bool },
}

/// A call that is being made. Unless it is [`Self::answered`], it hung.
#[derive(Debug)]
#[must_use = "a call that was not answered counts as one that hung"]
pub struct Attempt {
    breaker: CircuitBreaker,
    began: Instant,
    tries: bool,
    answered: bool,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self { state: Arc::new(Mutex::new(State::Closed { hangs: 0 })) }
    }
}

impl CircuitBreaker {
    /// Whether the node is taken to hang; an answer ends it.
    pub fn is_open(&self) -> bool {
        matches!(*self.lock(), State::Open { .. })
    }

    /// Whether a call would be made now.
    ///
    /// # Errors
    /// [`Unavailable::NodeHangs`] while it is open and no try is due.
    pub fn check(&self) -> Result<(), Unavailable> {
        self.lock().check()
    }

    /// Call before each call.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn begin(&self) -> Result<Attempt, Unavailable> {
        let mut state = self.lock();
        state.check()?;
        let tries = match &mut *state {
            State::Closed { .. } => false,
            State::Open { trying, .. } => {
                *trying = true;
                true
            }
        };
        Ok(Attempt { breaker: self.clone(), began: Instant::now(), tries, answered: false })
    }

    /// The node was seen not to answer at all: what comes back is another process, which does not hang yet.
    pub fn node_went_away(&self) {
        *self.lock() = State::Closed { hangs: 0 };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check(&self) -> Result<(), Unavailable> {
        match self {
            Self::Open { since, trying } if *trying || since.elapsed() < PAUSE => Err(Unavailable::NodeHangs),
            Self::Open { .. } | Self::Closed { .. } => Ok(()),
        }
    }

    fn answered(&mut self) {
        if matches!(self, Self::Open { .. }) {
            tracing::info!("AddInvoice does not hang any more");
        }
        *self = Self::Closed { hangs: 0 };
    }

    fn hung(&mut self, tries: bool) {
        let open = Self::Open { since: Instant::now(), trying: false };
        match self {
            Self::Closed { hangs } if *hangs + 1 < HANGS => *hangs += 1,
            Self::Closed { .. } => {
                tracing::error!(
                    "LND hangs: {HANGS} calls of AddInvoice in a row had no answer; restart it to sell again"
                );
                *self = open;
            }
            Self::Open { .. } if tries => *self = open,
            Self::Open { .. } => {}
        }
    }

    /// The next customer tries instead.
    const fn given_up(&mut self) {
        if let Self::Open { trying, .. } = self {
            *trying = false;
        }
    }
}

impl Attempt {
    /// The node said something, or the connection broke: it does not hang.
    pub fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut state = self.breaker.lock();
        if self.answered {
            state.answered();
        } else if self.began.elapsed() >= HANG {
            state.hung(self.tries);
        } else if self.tries {
            state.given_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    async fn call_that_hangs(breaker: &CircuitBreaker) {
        let attempt = breaker.begin().unwrap();
        advance(HANG).await;
        drop(attempt);
    }

    async fn open() -> CircuitBreaker {
        let breaker = CircuitBreaker::default();
        for _ in 0..HANGS {
            assert!(!breaker.is_open());
            call_that_hangs(&breaker).await;
        }
        assert!(breaker.is_open());
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_calls_in_a_row_without_an_answer_open_it_and_one_less_does_not() {
        let breaker = CircuitBreaker::default();
        for _ in 0..3 {
            for _ in 0..HANGS - 1 {
                call_that_hangs(&breaker).await;
            }
            assert!(!breaker.is_open() && breaker.check().is_ok());
            breaker.begin().unwrap().answered();
        }
        assert_eq!(open().await.begin().map(drop), Err(Unavailable::NodeHangs));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_were_given_up_early_say_nothing() {
        let breaker = CircuitBreaker::default();
        for _ in 0..2 * HANGS {
            let attempt = breaker.begin().unwrap();
            advance(HANG.saturating_sub(MOMENT)).await;
            drop(attempt);
        }
        assert!(!breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_pause_one_call_at_a_time_tries() {
        let breaker = open().await;
        advance(PAUSE.saturating_sub(MOMENT)).await;
        assert!(breaker.check().is_err() && breaker.begin().is_err());
        advance(MOMENT).await;
        assert!(breaker.check().is_ok());
        let trying = breaker.begin().unwrap();
        advance(PAUSE).await;
        assert!(breaker.is_open() && breaker.check().is_err() && breaker.begin().is_err());
        drop(trying);
        assert!(breaker.begin().is_err(), "the pause begins again");
        advance(PAUSE).await;
        breaker.begin().unwrap().answered();
        assert!(!breaker.is_open() && breaker.check().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_was_given_up_early_leaves_its_place_to_the_next() {
        let breaker = open().await;
        advance(PAUSE).await;
        drop(breaker.begin().unwrap());
        assert!(breaker.is_open());
        call_that_hangs(&breaker).await;
        assert!(breaker.begin().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_went_away_hangs_no_more() {
        let breaker = open().await;
        breaker.node_went_away();
        assert!(!breaker.is_open());
        call_that_hangs(&breaker).await;
        assert!(!breaker.is_open(), "it is counted from nothing again");
    }

    /// Calls that began before it opened: one that hangs does not prolong the pause, and one with an answer ends it.
    #[tokio::test(start_paused = true)]
    async fn what_began_before_counts_only_if_it_is_answered() {
        let breaker = CircuitBreaker::default();
        let (late, answered) = (breaker.begin().unwrap(), breaker.begin().unwrap());
        for _ in 0..HANGS {
            call_that_hangs(&breaker).await;
        }
        advance(PAUSE.saturating_sub(MOMENT)).await;
        drop(late);
        advance(MOMENT).await;
        assert!(breaker.is_open() && breaker.check().is_ok());
        answered.answered();
        assert!(!breaker.is_open());
    }
}
