//! Whether the kernel's clock is kept right, by adjtimex(2).
//!
//! A crate of its own for the one system call that neither `rustix` nor `nix` has a safe form of: wiretoll itself forbids
//! `unsafe`.

/// `NTP_PHASE_LIMIT` of the kernel, in microseconds: the error that it gives a clock which nobody keeps.
const NO_MORE_KNOWN: libc::c_long = 16_000_000;

/// Whether something that knows the time has lately told it to the kernel; also false where the kernel may not be asked.
///
/// By the error that is left and not by `STA_UNSYNC`, which programs also set to keep the kernel off the hardware's clock.
#[must_use]
pub fn is_synchronised() -> bool {
    // SAFETY: `timex` is plain C data of integers, for which all zeros are a value: no modes, so nothing is set.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a whole `timex` that is ours alone during the call.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    state >= 0 && timex.maxerror < NO_MORE_KNOWN
}
