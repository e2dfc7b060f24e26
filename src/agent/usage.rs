//! What peers used, told as totals, and only where it changed since it was last heard.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::server::Counted;
use crate::domain::desired::Usage;
use crate::domain::time::{MINUTE, Timestamp};

/// What the control plane knows already.
#[derive(Debug, Default)]
pub struct Reported(BTreeMap<Uuid, Usage>);

impl Reported {
    /// What is new to it.
    pub fn news(&self, counted: &BTreeMap<Uuid, Counted>) -> Vec<Usage> {
        let usage = counted.iter().map(|(peer, counted)| Usage {
            peer: *peer,
            run: counted.run,
            bytes: counted.bytes,
            handshake_at: counted.last_handshake.map(to_the_minute),
        });
        let is_known = |usage: &Usage| self.0.get(&usage.peer) == Some(usage);
        let is_nothing = |usage: &Usage| usage.bytes == 0 && usage.handshake_at.is_none();
        usage.filter(|usage| !is_known(usage) && !is_nothing(usage)).collect()
    }

    pub fn heard(&mut self, usages: &[Usage]) {
        self.0.extend(usages.iter().map(|usage| (usage.peer, usage.clone())));
    }

    /// Forgets peers that are gone.
    pub fn keep(&mut self, counted: &BTreeMap<Uuid, Counted>) {
        self.0.retain(|peer, _| counted.contains_key(peer));
    }
}

/// When somebody was last there is nobody's business to the second.
fn to_the_minute(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.millis() - time.millis().rem_euclid(MINUTE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_told_and_no_second_of_a_handshake() {
        let mut reported = Reported::default();
        let counted = |bytes, seconds: Option<i64>| {
            let last_handshake = seconds.map(Timestamp::from_seconds);
            BTreeMap::from([(Uuid::from_u128(1), Counted { run: Uuid::from_u128(9), bytes, last_handshake })])
        };
        assert!(reported.news(&counted(0, None)).is_empty());
        let first = reported.news(&counted(5, Some(1_700_000_059)));
        assert_eq!(first.first().unwrap().handshake_at, Some(Timestamp::from_seconds(1_700_000_040)));
        reported.heard(&first);
        assert!(reported.news(&counted(5, Some(1_700_000_061 - 10))).is_empty());
        assert_eq!(reported.news(&counted(6, Some(1_700_000_059))).len(), 1);
    }
}
