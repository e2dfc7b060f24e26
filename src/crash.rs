//! Places where the process can be made to die as by `kill -9`, so that tests can show that nothing is lost there.
//!
//! Only a build with the feature `crash-points` has them; without it `crash_point!` expands to nothing. With it,
//! the variable `WIRETOLL_CRASH_AT` names the point at which the process ends: no unwinding, no flush, no answer.

/// Dies here if this point was chosen; it must be one of `POINTS`.
macro_rules! crash_point {
    ($point:literal) => {
        #[cfg(feature = "crash-points")]
        $crate::crash::reach($point);
    };
}
pub(crate) use crash_point;

/// Every point: one in each gap between two effects of create, renew, settle, claim and expire.
#[cfg(feature = "crash-points")]
pub const POINTS: [&str; 21] = [
    // Create and renew.
    "open_order.before_commit",
    "open_order.committed",
    "request_invoice.added",
    "request_invoice.found",
    "store_invoice.before_commit",
    "store_invoice.committed",
    // Settle; what follows its commit is the announcement.
    "settle.before_commit",
    "settle.committed",
    "pass_over.before_commit",
    "pass_over.committed",
    "record_orphan.before_commit",
    "record_orphan.committed",
    // Claim; what follows its commit is the announcement.
    "claim.before_commit",
    "claim.committed",
    // Expire: the node's word first, then ours.
    "close.before_cancel",
    "close.cancelled",
    "close.already_settled",
    "expire.before_commit",
    "expire.committed",
    "abandon.before_commit",
    "abandon.committed",
];

/// Ends the process at once if `WIRETOLL_CRASH_AT` names this point.
#[cfg(feature = "crash-points")]
pub fn reach(point: &str) {
    use rustix::process::{Signal, getpid, kill_process};
    if std::env::var("WIRETOLL_CRASH_AT").is_ok_and(|chosen| chosen == point) {
        // The kernel ends every thread before the call returns.
        let _ = kill_process(getpid(), Signal::KILL);
    }
}
