//! `openapi`: the document that `/openapi.json` serves.

#[expect(clippy::print_stdout, reason = "what this command is for")]
pub fn run() -> anyhow::Result<()> {
    println!("{}", crate::http::openapi::document()?);
    Ok(())
}
