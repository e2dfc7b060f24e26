//! Browsers of any origin may use the public API; no cookie or other credential of the browser's is ever asked for.

use actix_cors::Cors;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, RETRY_AFTER};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PREFLIGHT_CACHED_SECONDS: usize = 3_600;

/// The policy, on answers and on errors alike.
pub fn policy() -> Cors {
    Cors::default()
        .allow_any_origin()
        .send_wildcard()
        .disable_vary_header()
        .allowed_methods(["GET", "POST", "PATCH", "DELETE"])
        .allowed_headers([AUTHORIZATION, CONTENT_TYPE, IDEMPOTENCY_KEY, IF_NONE_MATCH])
        .expose_headers([RETRY_AFTER, ETAG])
        .max_age(PREFLIGHT_CACHED_SECONDS)
}
