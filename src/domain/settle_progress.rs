//! How far a node's settlements are applied without a gap, while they arrive in any order.
//!
//! A position that ran ahead of a settlement which is not applied yet would bury it at the next start; so the position
//! moves over contiguous indices only, and over a gap only after a full sweep has looked behind it.

use std::collections::BTreeMap;

use super::lightning::PaymentHash;

/// A position in a node's settlements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Everything up to here is applied; counts from 1.
    pub settle_index: u64,
    /// The payment settled at that index: replayed, it proves that it is the same node's database.
    pub payment_hash: PaymentHash,
    /// The index seen before it, from which a replay shows the sentinel; 0 when there is none.
    pub previous_index: u64,
}

/// What was applied so far: a position, and what lies ahead of it behind gaps.
#[derive(Debug, Clone, Default)]
pub struct SettleProgress {
    position: Option<Position>,
    ahead: BTreeMap<u64, PaymentHash>,
}

impl SettleProgress {
    pub const fn from(position: Option<Position>) -> Self {
        Self { position, ahead: BTreeMap::new() }
    }

    pub const fn position(&self) -> Option<Position> {
        self.position
    }

    /// The progress after this settlement is applied; keep it only once that is committed.
    #[must_use]
    pub fn after(&self, settle_index: u64, payment_hash: PaymentHash) -> Self {
        let mut next = self.clone();
        if settle_index > next.reached() {
            next.ahead.insert(settle_index, payment_hash);
            next.follow();
        }
        next
    }

    /// Whether something was applied behind a gap.
    pub fn has_gap(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// The highest index that was applied, behind whatever gap.
    pub fn highest(&self) -> u64 {
        self.ahead.last_key_value().map_or(self.reached(), |(index, _)| *index)
    }

    /// The progress after a sweep that has seen everything up to this index: what is missing there is no settlement of
    /// ours.
    #[must_use]
    pub fn over_gaps(&self, swept: u64) -> Self {
        let mut next = self.clone();
        while let Some(entry) = next.ahead.first_entry().filter(|entry| *entry.key() <= swept) {
            let (index, hash) = entry.remove_entry();
            next.step(index, hash);
        }
        next.follow();
        next
    }

    fn reached(&self) -> u64 {
        self.position.map_or(0, |position| position.settle_index)
    }

    fn follow(&mut self) {
        while let Some(hash) = self.ahead.remove(&(self.reached() + 1)) {
            self.step(self.reached() + 1, hash);
        }
    }

    fn step(&mut self, settle_index: u64, payment_hash: PaymentHash) {
        self.position = Some(Position { settle_index, payment_hash, previous_index: self.reached() });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(index: u64) -> PaymentHash {
        PaymentHash::from_bytes([u8::try_from(index % 251).unwrap(); 32])
    }

    fn applied(indices: &[u64]) -> SettleProgress {
        indices.iter().fold(SettleProgress::default(), |progress, index| progress.after(*index, hash(*index)))
    }

    #[test]
    fn it_stops_before_a_gap_and_jumps_when_the_gap_is_filled() {
        assert_eq!(applied(&[1, 2, 4, 5]).reached(), 2);
        assert_eq!(applied(&[1, 2, 4, 5, 3]).reached(), 5);
        assert!(applied(&[1, 2, 4]).has_gap());
    }

    #[test]
    fn a_sweep_allows_it_to_pass_and_keeps_an_index_that_was_seen() {
        let passed = applied(&[1, 4, 9]).over_gaps(9).position().unwrap();
        assert_eq!((passed.settle_index, passed.previous_index), (9, 4));
        assert_eq!(passed.payment_hash, hash(9));
    }

    #[test]
    fn a_gap_that_opened_after_the_sweep_stays_one() {
        let progress = applied(&[1, 4, 5, 9]);
        assert_eq!(progress.highest(), 9);
        let passed = progress.over_gaps(4);
        assert_eq!((passed.reached(), passed.has_gap(), passed.highest()), (5, true, 9));
        assert_eq!(passed.over_gaps(5).reached(), 5);
        assert_eq!(applied(&[1, 2]).highest(), 2);
    }

    #[test]
    fn a_replay_of_what_is_applied_changes_nothing() {
        assert_eq!(applied(&[1, 2, 3]).after(2, hash(2)).position(), applied(&[1, 2, 3]).position());
    }

    proptest! {
        /// In whatever order they arrive, nothing below the position is missing.
        #[test]
        fn scenario_06_nothing_below_the_position_is_missing(
            arrivals in proptest::collection::vec(1_u64..40, 0..60)
        ) {
            let progress = applied(&arrivals);
            prop_assert!((1..=progress.reached()).all(|index| arrivals.contains(&index)));
            prop_assert!(!arrivals.contains(&(progress.reached() + 1)));
        }

        /// Whatever arrives and whenever gaps are passed, the position moves forward only, over each index once.
        #[test]
        fn scenario_49_the_position_only_moves_forward(
            steps in proptest::collection::vec((any::<bool>(), 1_u64..40), 0..60)
        ) {
            let mut progress = SettleProgress::default();
            for (is_sweep, index) in steps {
                let next = if is_sweep { progress.over_gaps(index) } else { progress.after(index, hash(index)) };
                prop_assert!(next.reached() >= progress.reached());
                if let Some(position) = next.position() {
                    prop_assert!(position.previous_index < position.settle_index);
                    prop_assert_eq!(position.payment_hash, hash(position.settle_index));
                }
                progress = next;
            }
            prop_assert!(!progress.over_gaps(progress.highest()).has_gap());
        }
    }
}
