//! Randomness for secrets, from the operating system and from nowhere else.

use std::io;

/// `N` bytes from the operating system's generator.
///
/// # Errors
/// Only when the system has no randomness to give, which nothing can be built upon.
#[expect(clippy::disallowed_methods, reason = "this is the source that everybody else asks")]
pub fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// A number from 0 to 1, to spread those who would act at once; without randomness it is only less spread.
pub fn chance() -> f64 {
    bytes::<4>().map_or(0.5, |bytes| f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
}
