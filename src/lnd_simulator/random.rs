//! Seeded randomness: every secret and every roll of the dice repeats with the seed.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

/// SHA-256 in counter mode. A simulator's secrets guard nothing, so repeatable is better than unpredictable.
pub(super) struct SeededRandom {
    key: [u8; 32],
    counter: AtomicU64,
}

impl SeededRandom {
    /// `epoch` sets runs on the same data apart, so that a restarted node does not repeat its secrets.
    pub(super) fn new(seed: u64, epoch: u64) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(seed.to_be_bytes());
        hasher.update(epoch.to_be_bytes());
        Self { key: hasher.finalize().into(), counter: AtomicU64::new(0) }
    }

    pub(super) fn bytes32(&self) -> [u8; 32] {
        let block = self.counter.fetch_add(1, Ordering::Relaxed);
        let mut hasher = Sha256::new();
        hasher.update(self.key);
        hasher.update(block.to_be_bytes());
        hasher.finalize().into()
    }

    /// A number below `bound`; its bias is far below what a simulation could show.
    pub(super) fn below(&self, bound: u64) -> u64 {
        let drawn = self.bytes32().first_chunk().map_or(0, |chunk| u64::from_be_bytes(*chunk));
        drawn % bound.max(1)
    }

    pub(super) fn coin(&self) -> bool {
        self.below(2) == 0
    }
}

impl fmt::Debug for SeededRandom {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SeededRandom").finish_non_exhaustive()
    }
}

/// A seed for whoever did not choose one.
pub(super) fn fresh_seed() -> Result<u64, getrandom::Error> {
    let mut bytes = [0; 8];
    fill_from_system(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

#[expect(clippy::disallowed_methods, reason = "the simulated node draws no secret of ours, only its own seed")]
fn fill_from_system(bytes: &mut [u8]) -> Result<(), getrandom::Error> {
    getrandom::fill(bytes)
}
