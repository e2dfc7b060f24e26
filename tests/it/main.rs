//! The whole program over HTTP, with a simulated node over real TLS, on SQLite and on Postgres.
//!
//! Postgres tests need `TEST_POSTGRES_URL`, an address whose user may create databases; `./scripts/test.sh` gives one.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test ends where something is not as it should be"
)]

mod account_webhooks;
mod accounts;
mod agent;
mod agents;
mod alarms;
mod atomicity;
mod audit;
mod bad_input;
mod bandwidth_resets;
mod cards;
mod check_cache;
mod claims;
mod clients;
mod clocks;
mod closing;
mod credentials;
mod database;
mod deployed;
mod idempotency;
mod ledger;
mod limits;
mod live_prices;
mod metrics;
mod migrations;
mod model;
mod node_faults;
mod node_tools;
mod nostr;
mod notices;
mod owned;
mod ping;
mod pool;
mod prices;
mod purchase;
mod receiver;
mod referrals;
mod renewals;
mod replicas;
mod restore;
mod security_txt;
mod servers;
mod settlement;
mod shop;
mod slots;
mod subscriptions;
mod tunnel;
mod webhook_events;
mod webhook_isolation;
mod webhooks;
