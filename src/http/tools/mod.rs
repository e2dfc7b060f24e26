//! Tools for people who run Lightning nodes: whether one can be reached, and what the operator's node knows of it.
//!
//! Anybody may ask, so each tool has a budget for each network of clients and one for all of them together.

pub mod node_lookup;
pub mod ping;

use actix_web::web::ServiceConfig;

use super::routing::post;

/// Whole paths: they begin like those of the subscriptions, whose scope would answer for whatever it does not know.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(post("/api/public/v1/ping/test", ping::ping))
        .service(post("/api/public/v1/tools/node-lookup", node_lookup::node_lookup));
}
