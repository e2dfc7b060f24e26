//! `openapi`: the document that `/openapi.json` serves.

use super::output;

pub fn run() -> anyhow::Result<()> {
    output::print(crate::http::openapi::document()?)
}
