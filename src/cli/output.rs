//! Standard output, which a reader may have closed (`wiretoll order list | head -1`) and a disk may be too full for.
//!
//! `println!` panics at both.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

/// What a command had to say could not be written.
#[derive(Debug, thiserror::Error)]
#[error("standard output cannot be written")]
struct Unwritable(#[source] io::Error);

/// Writes lines and a line break after them, all the way: what stays in a buffer is lost without an error.
pub fn print(lines: impl Display) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{lines}").and_then(|()| output.flush()).map_err(Unwritable)?;
    Ok(())
}

/// Whether the command ended early because nobody reads on, which is no mistake of its own.
pub fn was_closed(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(|Unwritable(why)| why.kind() == ErrorKind::BrokenPipe)
}
