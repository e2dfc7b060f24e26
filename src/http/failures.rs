//! What any request with a body may come to, for the OpenAPI document; each endpoint adds what is its own.

use std::collections::BTreeMap;

use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema as _};

use super::error::ErrorBody;

/// Only named: there is no value of it.
#[derive(Debug)]
pub enum Failures {}

const FAILURES: [(&str, &str); 4] = [
    ("408", "The body did not arrive in time"),
    ("413", "The body is larger than 256 KiB"),
    ("429", "`ERR_RATE_LIMIT_EXCEEDED`; see `Retry-After`"),
    ("500", "`ERR_INTERNAL_ERROR`: our mistake"),
];

impl IntoResponses for Failures {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        FAILURES.map(|(status, description)| (status.to_owned(), failure(description).into())).into()
    }
}

fn failure(description: &str) -> Response {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name(ErrorBody::name()))).build();
    ResponseBuilder::new().description(description).content("application/json", body).build()
}
