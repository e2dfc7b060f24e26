//! Tools for people who run Lightning nodes: what the operator's node knows of another one.
//!
//! Anybody may ask, so each tool has a budget for each network of clients and one for all of them together.

pub mod node_lookup;

use actix_web::web::ServiceConfig;

use super::routing::post;

/// Whole paths: they begin like those of the subscriptions, whose scope would answer for whatever it does not know.
pub fn routes(config: &mut ServiceConfig) {
    config.service(post("/api/public/v1/tools/node-lookup", node_lookup::node_lookup));
}
