//! The subscription API, spoken by Umbrel, StartOS, RaspiBlitz and Bash: one file an endpoint.
//!
//! Bodies are the union of what the generations of clients expect, so some facts appear under two names.
#![expect(missing_debug_implementations, reason = "requests and answers hold claim tokens and keys")]

pub mod bandwidth_reset;
pub mod check;
pub mod claim;
pub mod create;
pub mod events;
pub mod list;
pub mod renew;
pub mod servers;
pub mod status;
pub mod sync;

pub mod fields;
mod how_to_pay;
mod of_order;
mod purchase;
mod usage;
mod watch;

use actix_web::web::{self, ServiceConfig, scope};

use super::routing::{get, post};

/// Where its paths begin.
pub const BASE: &str = "/api/public/v1";

/// What is no fixed path is about an order, or about nothing.
pub fn routes(config: &mut ServiceConfig) {
    let api = scope(BASE)
        .service(get("/servers", servers::servers))
        .service(post("/subscription/create", create::create))
        .service(get("/subscription/list", list::list))
        .service(post("/subscription/claim", claim::claim))
        .service(post("/subscription/renew", renew::renew))
        .service(post("/subscription/status", status::status))
        .service(post("/subscription/bandwidth-reset", bandwidth_reset::bandwidth_reset))
        .default_service(web::to(of_order::of_order));
    config.service(api);
}
