//! What an owner asks for themselves: one file an endpoint. Every one of them needs a credential.
#![expect(missing_debug_implementations, reason = "requests and answers hold claim tokens and keys")]

pub mod adopt;

use actix_web::web::{self, ServiceConfig, scope};

use super::routing::{no_such_path, post};

/// Where its paths begin.
pub const BASE: &str = "/api/v1/account";

pub fn routes(config: &mut ServiceConfig) {
    let api = scope(BASE).service(post("/adopt", adopt::adopt)).default_service(web::to(no_such_path));
    config.service(api);
}
