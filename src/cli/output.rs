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

/// Writes a line beside the output, for whoever reads it; a program that reads the output does not see it.
pub fn note(line: impl Display) {
    // Nobody has to be there to read it.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Whether the command ended early because nobody reads on, which is no mistake of its own.
pub fn was_closed(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(|Unwritable(why)| why.kind() == ErrorKind::BrokenPipe)
}
