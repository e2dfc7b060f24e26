//! The one signal that ends everything: workers between two steps, long polls and event streams at once.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// Gives the signal.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Waits for the signal; cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// A pair of the two.
pub fn channel() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Gives the signal, and lets `work` end what it has begun; none where that takes longer than `patience`.
    pub async fn stop_and_wait<T>(&self, work: impl Future<Output = T>, patience: Duration) -> Option<T> {
        self.stop();
        timeout(patience, work).await.ok()
    }
}

impl Stop {
    /// Returns once the signal was given; also when nobody is left who could give it.
    pub async fn stopped(&mut self) {
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }

    /// For those who select over it themselves.
    pub fn into_receiver(self) -> watch::Receiver<bool> {
        self.0
    }

    /// Runs `work` unless the signal comes first; `None` means stop.
    pub async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.stopped() => None,
            output = work => Some(output),
        }
    }
}
