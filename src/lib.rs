//! wiretoll sells WireGuard access for Lightning payments on the operator's own LND node.
//!
//! The house, from the door inwards; arrows point one way and siblings never import each other
//! (`tests/layering.rs` holds it to that):
//!
//! ```text
//! main -> cli -> lifecycle -> { http, workers, agent } -> app -> { store, lnd, lightning_peer, rates, stripe, wireguard, netfilter } -> egress -> config -> domain
//! ```
//!
//! | folder | its one job |
//! |---|---|
//! | [`domain`] | types and rules, pure |
//! | [`store`] | SQL on SQLite and Postgres; one method is one statement or one transaction |
//! | [`lnd`] | the client of an LND node |
//! | [`lightning_peer`] | speaking to other Lightning nodes, as far as a handshake |
//! | [`stripe`] | the client of a Stripe account, and its events |
//! | [`lnd_simulator`] | a node to buy from without bitcoin: for `demo`, `dev` and tests |
//! | [`rates`] | what exchanges say a bitcoin costs |
//! | [`wireguard`] | the text of a customer's config, and a server's interface with its peers |
//! | [`netfilter`] | a server's firewall: forwards, leases, counters, flows |
//! | [`egress`] | the one way to ask others: webhooks, prices, cards, probes |
//! | [`app`] | one file a verb: the only place where effects are ordered |
//! | [`http`] | one folder an API family: wire types, limits, errors; no rules |
//! | [`agent`] | the keeper of a server: interface, firewall and leases as they were sold, from its own file |
//! | [`workers`] | reconcilers that need no input: invoices, sweep, expiry |
//! | [`config`] | the operator's file, with every mistake reported at once |
//! | [`lifecycle`] | starts everything, stops everything |
//! | [`cli`] | the commands |
//!
//! Beside them, for everybody: [`backoff`], [`clock`], [`metrics`], [`random`] and [`stop`]; [`lnd_proto`], LND's messages, for
//! `lnd` and `lnd_simulator`; `netlink`, the kernel's socket, for `wireguard` and `netfilter`; and [`crash`], where tests kill
//! the process, for `app` and `agent`.

pub mod agent;
pub mod app;
pub mod backoff;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crash;
pub mod domain;
pub mod egress;
pub mod http;
pub mod lifecycle;
pub mod lightning_peer;
pub mod lnd;
pub mod lnd_proto;
pub mod lnd_simulator;
pub mod metrics;
pub mod netfilter;
mod netlink;
pub mod random;
pub mod rates;
pub mod stop;
pub mod store;
pub mod stripe;
pub mod wireguard;
pub mod workers;
