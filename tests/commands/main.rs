//! The commands as an operator runs them: the built program, its exit codes, what it prints, and `kill -9`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test: clippy spares only the functions marked as one"
)]

mod accounts;
mod api;
mod configuring;
mod demo_and_dev;
mod ending;
mod explaining;
mod ledger;
mod operator;
#[path = "../process/place.rs"]
mod place;
mod printing;
#[path = "../process/mod.rs"]
mod process;
mod program;
#[path = "../it/receiver.rs"]
mod receiver;
mod serving;
mod webhooks;
