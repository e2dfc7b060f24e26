//! `kill -9` at every point between two effects, and at random moments: every satoshi paid has exactly one outcome.
//!
//! Needs the feature `crash-points`; Postgres tests need `TEST_POSTGRES_URL`, as in `tests/it`. `points` kills the
//! service at each point of `wiretoll::crash::POINTS`, `random` kills service and node whenever it likes, and
//! `replicas` kills two services in turn. After each, `checker` holds the database against the node and against Stripe;
//! `planted` shows that it finds what is wrong.
//!
//! | variable | default | for |
//! |---|---|---|
//! | `WIRETOLL_KILL_MINUTES` | 20 | the ignored, long runs of `random` and `replicas` |
//! | `WIRETOLL_KILL_SEED` | by chance | what their choices follow from; it is printed |

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test ends where something is not as it should be"
)]

mod books;
mod by_card;
mod checker;
mod client;
mod customer;
#[expect(dead_code, reason = "tests/it asks it for more")]
#[path = "../at_the_wire/stripe.rs"]
mod fake_stripe;
mod planted;
mod points;
mod program;
mod random;
#[expect(dead_code, reason = "tests/it asks it for more")]
#[path = "../it/receiver.rs"]
mod receiver;
mod replicas;
mod run;
mod stripe;
mod world;

/// Longer than anything takes here; a debug build on a busy machine is slow.
const PATIENCE: std::time::Duration = std::time::Duration::from_mins(5);
