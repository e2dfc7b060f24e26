//! An invoice as the node keeps it, and the moves it can make.
//!
//! The rules are LND's `invoices/update.go` for MPP invoices: only an open invoice takes HTLCs, a set that
//! promises too little fails, one that is complete settles, and wall-clock expiry is not looked at.

use serde::{Deserialize, Serialize};

use super::hash::{PaymentHash, Secret};

/// Blocks that a payer adds so that a block mined on the way does no harm.
const BLOCK_PADDING: u64 = 3;

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Invoice {
    pub(super) hash: PaymentHash,
    /// A hold invoice has none until it is settled.
    pub(super) preimage: Option<Secret>,
    pub(super) memo: String,
    pub(super) description_hash: Option<PaymentHash>,
    /// 0 leaves the amount to the payer.
    pub(super) value_msat: u64,
    pub(super) created_at_ms: i64,
    pub(super) expiry_seconds: i64,
    pub(super) cltv_expiry: u64,
    pub(super) payment_request: String,
    pub(super) payment_addr: Secret,
    /// Given by the ledger; 0 until then.
    pub(super) add_index: u64,
    pub(super) kind: InvoiceKind,
    pub(super) state: InvoiceState,
    pub(super) htlcs: Vec<Htlc>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum InvoiceKind {
    Regular,
    /// Accepts HTLCs and waits for somebody to settle or cancel.
    Hold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum InvoiceState {
    Open,
    Accepted,
    Settled {
        settle_index: u64,
        settled_at_ms: i64,
    },
    /// LND does not take back what it wrote down as paid while the invoice was accepted.
    Canceled {
        held_msat: u64,
    },
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Htlc {
    pub(super) id: u64,
    pub(super) amount_msat: u64,
    /// What all parts of the payment add up to, as the payer promised.
    pub(super) total_msat: u64,
    pub(super) accepted_at_ms: i64,
    pub(super) accept_height: u32,
    pub(super) expiry_height: u32,
    pub(super) state: HtlcState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum HtlcState {
    Accepted,
    Settled { at_ms: i64 },
    Canceled { at_ms: i64 },
}

/// A part of a payment that reaches the node.
#[derive(Debug, Clone, Copy)]
pub(super) struct IncomingHtlc {
    pub(super) id: u64,
    pub(super) amount_msat: u64,
    pub(super) total_msat: u64,
    pub(super) at_ms: i64,
    pub(super) block_height: u32,
}

/// Why an HTLC is failed back to the payer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HtlcFailure {
    InvoiceNotOpen,
    TotalTooLow,
    TotalMismatch,
}

impl Invoice {
    /// Takes one part in; the set may be complete by it.
    pub(super) fn receive(mut self, htlc: IncomingHtlc, settle_index: u64) -> Result<Self, HtlcFailure> {
        self.check(htlc)?;
        self.htlcs.push(self.accepted(htlc));
        if self.pending_msat() < htlc.total_msat {
            return Ok(self);
        }
        Ok(match self.kind {
            InvoiceKind::Hold => Self { state: InvoiceState::Accepted, ..self },
            InvoiceKind::Regular => self.settle(settle_index, htlc.at_ms),
        })
    }

    fn check(&self, htlc: IncomingHtlc) -> Result<(), HtlcFailure> {
        if self.state != InvoiceState::Open {
            return Err(HtlcFailure::InvoiceNotOpen);
        }
        if htlc.total_msat == 0 || htlc.total_msat < self.value_msat {
            return Err(HtlcFailure::TotalTooLow);
        }
        if self.pending().any(|other| other.total_msat != htlc.total_msat) {
            return Err(HtlcFailure::TotalMismatch);
        }
        Ok(())
    }

    fn accepted(&self, htlc: IncomingHtlc) -> Htlc {
        let delta = u32::try_from(self.cltv_expiry + BLOCK_PADDING).unwrap_or(u32::MAX);
        Htlc {
            id: htlc.id,
            amount_msat: htlc.amount_msat,
            total_msat: htlc.total_msat,
            accepted_at_ms: htlc.at_ms,
            accept_height: htlc.block_height,
            expiry_height: htlc.block_height.saturating_add(delta),
            state: HtlcState::Accepted,
        }
    }

    pub(super) fn settle(mut self, settle_index: u64, at_ms: i64) -> Self {
        self.resolve_pending(HtlcState::Settled { at_ms });
        self.state = InvoiceState::Settled { settle_index, settled_at_ms: at_ms };
        self
    }

    pub(super) fn cancel(mut self, at_ms: i64) -> Self {
        let held_msat = self.paid_msat();
        self.resolve_pending(HtlcState::Canceled { at_ms });
        self.state = InvoiceState::Canceled { held_msat };
        self
    }

    /// Gives up on the part `id` of a set that did not become complete in time.
    pub(super) fn release(mut self, id: u64, at_ms: i64) -> Self {
        for htlc in self.htlcs.iter_mut().filter(|htlc| htlc.id == id) {
            if htlc.state == HtlcState::Accepted {
                htlc.state = HtlcState::Canceled { at_ms };
            }
        }
        self
    }

    fn resolve_pending(&mut self, state: HtlcState) {
        for htlc in &mut self.htlcs {
            if htlc.state == HtlcState::Accepted {
                htlc.state = state;
            }
        }
    }

    fn pending(&self) -> impl Iterator<Item = &Htlc> {
        self.htlcs.iter().filter(|htlc| htlc.state == HtlcState::Accepted)
    }

    fn pending_msat(&self) -> u64 {
        self.pending().map(|htlc| htlc.amount_msat).sum()
    }

    /// What counts as paid: nothing while the invoice is open, whatever has arrived.
    pub(super) fn paid_msat(&self) -> u64 {
        match self.state {
            InvoiceState::Open => 0,
            InvoiceState::Canceled { held_msat } => held_msat,
            InvoiceState::Accepted => self.pending_msat(),
            InvoiceState::Settled { .. } => self.settled_msat(),
        }
    }

    fn settled_msat(&self) -> u64 {
        let settled = |htlc: &&Htlc| matches!(htlc.state, HtlcState::Settled { .. });
        self.htlcs.iter().filter(settled).map(|htlc| htlc.amount_msat).sum()
    }

    pub(super) fn expires_at_ms(&self) -> i64 {
        self.created_at_ms.saturating_add(self.expiry_seconds.saturating_mul(1000))
    }

    pub(super) fn settle_index(&self) -> Option<u64> {
        match self.state {
            InvoiceState::Settled { settle_index, .. } => Some(settle_index),
            _ => None,
        }
    }

    pub(super) fn is_canceled(&self) -> bool {
        matches!(self.state, InvoiceState::Canceled { .. })
    }

    pub(super) fn is_pending(&self) -> bool {
        matches!(self.state, InvoiceState::Open | InvoiceState::Accepted)
    }
}
