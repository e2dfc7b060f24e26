//! What was counted by counters that are gone, until the control plane has heard it.
//!
//! It counts by totals of one life of the counters after the other, and adds what a total has grown by. So what ended
//! earlier is kept as one total for each peer, under the first of its lives that was not heard. It is in the agent's file
//! until it is told, and no later life is told before it is out of there: told twice, it would count twice.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::desired::Usage;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parting {
    /// Of all lives but the last.
    past: BTreeMap<Uuid, Usage>,
    /// Of the life that was last looked at. It may still be running: then the next look finds all of it again.
    last: BTreeMap<Uuid, Usage>,
}

impl Parting {
    /// Keeps what peers used in a life of the counters.
    pub fn add(&mut self, run: Uuid, used: impl Iterator<Item = (Uuid, u64)>) {
        for (peer, bytes) in used.filter(|(_, bytes)| *bytes > 0) {
            let known = self.last.insert(peer, Usage { peer, run, bytes, handshake_at: None });
            // A counter that went down began anew, whatever its life is called.
            if let Some(over) = known.filter(|known| known.run != run || known.bytes > bytes) {
                self.add_to_past(over);
            }
        }
    }

    /// What is to be told first: the older lives.
    pub fn first(&self) -> Option<Vec<Usage>> {
        let lives = [&self.past, &self.last];
        lives.into_iter().find(|life| !life.is_empty()).map(|life| life.values().cloned().collect())
    }

    pub fn first_was_told(&mut self) {
        let told = if self.past.is_empty() { &mut self.last } else { &mut self.past };
        told.clear();
    }

    fn add_to_past(&mut self, over: Usage) {
        let bytes = over.bytes;
        let add = |known: &mut Usage| known.bytes = known.bytes.saturating_add(bytes);
        self.past.entry(over.peer).and_modify(add).or_insert(over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn told(parting: &mut Parting) -> Vec<(u128, u128, u64)> {
        let told = parting.first().unwrap_or_default();
        parting.first_was_told();
        told.iter().map(|usage| (usage.peer.as_u128(), usage.run.as_u128(), usage.bytes)).collect()
    }

    #[test]
    fn lives_are_told_one_after_the_other_and_older_ones_as_one_total() {
        let mut parting = Parting::default();
        parting.add(id(10), [(id(1), 100), (id(2), 0)].into_iter());
        // Looked at again before its counters went.
        parting.add(id(10), [(id(1), 120)].into_iter());
        parting.add(id(11), [(id(1), 7), (id(2), 5)].into_iter());
        parting.add(id(12), [(id(1), 1)].into_iter());

        let kept = serde_json::to_vec(&parting).unwrap();
        let mut parting: Parting = serde_json::from_slice(&kept).unwrap();

        assert_eq!(told(&mut parting), [(1, 10, 127)]);
        assert_eq!(told(&mut parting), [(1, 12, 1), (2, 11, 5)]);
        assert_eq!((told(&mut parting), parting), (vec![], Parting::default()));
    }

    #[test]
    fn a_counter_that_began_anew_under_the_same_name_is_another_life() {
        let mut parting = Parting::default();
        parting.add(id(10), [(id(1), 100), (id(2), 50)].into_iter());
        parting.add(id(10), [(id(1), 30), (id(2), 60)].into_iter());
        assert_eq!(told(&mut parting), [(1, 10, 100)]);
        assert_eq!(told(&mut parting), [(1, 10, 30), (2, 10, 60)]);
    }

    #[test]
    fn it_does_not_grow_with_the_lives_that_nobody_hears_of() {
        let mut parting = Parting::default();
        for run in 0..1_000 {
            parting.add(id(run), (0..3).map(|peer| (id(peer), u64::MAX / 10)));
        }
        assert_eq!(told(&mut parting), [0, 1, 2].map(|peer| (peer, 0, u64::MAX)));
        assert_eq!(told(&mut parting), [0, 1, 2].map(|peer| (peer, 999, u64::MAX / 10)));
    }
}
