//! Places where the process can be made to die as by `kill -9`, so that tests can show that nothing is lost there.
//!
//! Only a build with the feature `crash-points` has them; without it `crash_point!` expands to nothing. With it,
//! the variable `WIRETOLL_CRASH_AT` names the point at which the process ends: no unwinding, no flush, no answer.

/// Dies here if this point was chosen; it must be one of `POINTS` or `AGENT_POINTS`.
macro_rules! crash_point {
    ($point:literal) => {
        #[cfg(feature = "crash-points")]
        $crate::crash::reach($point);
    };
}
pub(crate) use crash_point;

/// Every point of the service: one in each gap between two effects of create, renew, settle, claim, expire and giving
/// back, on Lightning and by card, and of telling webhooks.
#[cfg(feature = "crash-points")]
pub const POINTS: [&str; 37] = [
    // Create and renew.
    "open_order.before_commit",
    "open_order.committed",
    "request_invoice.added",
    "request_invoice.found",
    "store_invoice.before_commit",
    "store_invoice.committed",
    // The same by card.
    "request_checkout.made",
    "store_checkout.before_commit",
    "store_checkout.committed",
    // Settle; what follows its commit is the announcement.
    "settle.before_commit",
    "settle.committed",
    "pass_over.before_commit",
    "pass_over.committed",
    "record_orphan.before_commit",
    "record_orphan.committed",
    "record_mismatch.before_commit",
    "record_mismatch.committed",
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
    // The same by card: Stripe's word first, which is also asked for where no event came.
    "close_checkout.before_expire",
    "close_checkout.expired",
    "close_checkout.already_closed",
    "look_up_checkout.answered",
    // Refunds and disputes; a payment that nobody told of is settled before it is given back.
    "give_back.paid_first",
    "give_back.before_commit",
    "give_back.committed",
    // Tell of events: deliveries first, then each claimed, sent, and entered with its answer.
    "fan_out.before_commit",
    "fan_out.committed",
    "send_webhooks.claimed",
    "send_webhooks.answered",
];

/// Every point of the agent: one in each gap between two effects on its file, its server and its control plane.
#[cfg(feature = "crash-points")]
pub const AGENT_POINTS: [&str; 18] = [
    // Its file, whatever is put into it.
    "file.written",
    "file.renamed",
    // A change: kept first where it takes something away, done, then told.
    "change.stored",
    "change.firewall",
    "change.flows",
    "change.peers",
    "change.verified",
    "change.stands",
    "change.told",
    "leases.renewed",
    // Everything anew: at a start, or where the machine was not as it should be.
    "rebuild.guarded",
    "rebuild.firewall",
    "rebuild.forgotten",
    "rebuild.interface",
    "rebuild.peers",
    "rebuild.flows",
    // What follows it at a start, and wherever counters went.
    "restore.stands",
    "parting.told",
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
