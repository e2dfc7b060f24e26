//! The whole program over HTTP beside a real LND, which a second LND pays.
//!
//! Ignored by default; `docs/REAL_LND.md` says how to run it and what came of it. One test at a time:
//! `cargo test --test real_lnd -- --ignored --test-threads=1`.
//!
//! The tests of `purchases` and `closing` use two nodes with a channel between them, and these variables:
//!
//! | variable | what it holds |
//! |---|---|
//! | `LND_ADDR`, `LND_TLS_CERT`, `LND_MACAROON` | the payee: its `https://` address, certificate file, and macaroon file as the README bakes it |
//! | `PAYER_LND_ADDR`, `PAYER_LND_TLS_CERT`, `PAYER_LND_MACAROON` | the payer, with a macaroon that may pay |
//!
//! The others restart, lock and swap nodes of their own, on 127.0.0.1 and in a folder of their own:
//!
//! | variable | what it holds |
//! |---|---|
//! | `LND_BIN` | the folder of `lnd`, `lncli`, `btcd` and `btcctl` |
//! | `LND_STORE` | the payee's database: `bbolt` (the default), `sqlite` (native SQL) or `kvsqlite` |

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it should be"
)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a run says what it saw")]

mod closing;
mod credentials;
mod lab;
mod outages;
mod payee;
#[path = "../lnd_facts/payer.rs"]
mod payer;
#[path = "../lnd_facts/pinned.rs"]
mod pinned;
mod purchases;
#[path = "../it/shop.rs"]
#[expect(dead_code, reason = "the tests beside a simulated node use more of it")]
mod shop;
mod swap;
#[path = "../it/tunnel/mod.rs"]
mod tunnel;
