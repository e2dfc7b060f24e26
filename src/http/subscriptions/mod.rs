//! The subscription API, spoken by Umbrel, StartOS, RaspiBlitz and Bash: one file an endpoint.
//!
//! Bodies are the union of what the generations of clients expect, so some facts appear under two names.
#![expect(missing_debug_implementations, reason = "requests and answers hold claim tokens and keys")]

pub mod check;
pub mod claim;
pub mod create;
pub mod events;
pub mod renew;
pub mod servers;
pub mod status;

mod fields;
mod purchase;
mod watch;

use actix_web::web::{ServiceConfig, scope};

use super::routing::{get, post};

/// Where its paths begin.
pub const BASE: &str = "/api/public/v1";

/// Fixed paths stand before `{paymentHash}`, which would take them for a hash.
pub fn routes(config: &mut ServiceConfig) {
    let api = scope(BASE)
        .service(get("/servers", servers::servers))
        .service(post("/subscription/create", create::create))
        .service(post("/subscription/claim", claim::claim))
        .service(post("/subscription/renew", renew::renew))
        .service(post("/subscription/status", status::status))
        .service(get("/subscription/{paymentHash}", check::check))
        .service(get("/subscription/{paymentHash}/events", events::events));
    config.service(api);
}
