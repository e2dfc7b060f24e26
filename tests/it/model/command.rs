//! What a story is made of, and how often each part of it happens.

use proptest::prelude::{Just, Strategy, any};
use proptest::sample::Index;
use proptest::{option, prop_oneof};

const KEYS: u8 = 3;

/// What customers, the world and the operator do; an [`Index`] chooses among the orders made so far.
#[derive(Debug, Clone)]
pub enum Command {
    Create {
        months: u32,
        key: Option<u8>,
    },
    Repeat(Index),
    /// In time, late or again; `told` is whether the stream says so.
    Pay {
        order: Index,
        more_msat: u64,
        told: bool,
    },
    Renew {
        months: u32,
        key: u8,
    },
    /// After it used so much more.
    Reset {
        key: u8,
        used_gb: i64,
    },
    Claim {
        order: Index,
        key: Option<u8>,
    },
    Advance {
        minutes: u64,
    },
    Sweep,
    Close,
    Release,
    Restart,
    NodeDown,
    NodeUp,
    Backup,
    Restore,
    Adopt(Index),
    Resolve(Index),
}

pub fn commands() -> impl Strategy<Value = Vec<Command>> {
    let months = || prop_oneof![Just(1_u32), Just(3)];
    let more = prop_oneof![3 => Just(0_u64), 1 => 1_u64..4_000_000];
    let minutes = prop_oneof![Just(1_u64), Just(10), Just(20), Just(26 * 60), Just(20 * 24 * 60), Just(45 * 24 * 60)];
    let command = prop_oneof![
        8 => (months(), option::of(0..KEYS)).prop_map(|(months, key)| Command::Create { months, key }),
        1 => any::<Index>().prop_map(Command::Repeat),
        9 => (any::<Index>(), more, any::<bool>()).prop_map(|(order, more_msat, told)| Command::Pay { order, more_msat, told }),
        4 => (months(), 0..KEYS).prop_map(|(months, key)| Command::Renew { months, key }),
        3 => (0..KEYS, prop_oneof![Just(0_i64), Just(40), Just(130)]).prop_map(|(key, used_gb)| Command::Reset { key, used_gb }),
        4 => (any::<Index>(), option::of(0..KEYS)).prop_map(|(order, key)| Command::Claim { order, key }),
        5 => minutes.prop_map(|minutes| Command::Advance { minutes }),
        3 => Just(Command::Sweep),
        3 => Just(Command::Close),
        3 => Just(Command::Release),
        1 => Just(Command::Restart),
        1 => Just(Command::NodeDown),
        4 => Just(Command::NodeUp),
        2 => Just(Command::Backup),
        2 => Just(Command::Restore),
        3 => any::<Index>().prop_map(Command::Adopt),
        2 => any::<Index>().prop_map(Command::Resolve),
    ];
    proptest::collection::vec(command, 10..60)
}
