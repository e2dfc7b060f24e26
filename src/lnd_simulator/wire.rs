//! The node's invoices as gRPC carries them.

use super::bolt11::FEATURE_BITS;
use super::hash::Secret;
use super::invoice::{Htlc, HtlcState, Invoice, InvoiceState};
use crate::lnd_proto::lnrpc;

/// A short channel id for the one channel by which everything is paid.
const CHANNEL_ID: u64 = 496_968_023_801_856;

impl Invoice {
    pub(super) fn to_wire(&self) -> lnrpc::Invoice {
        let paid_msat = self.paid_msat().cast_signed();
        lnrpc::Invoice {
            memo: self.memo.clone(),
            r_preimage: self.preimage.map(Secret::to_vec).unwrap_or_default(),
            r_hash: self.hash.0.to_vec(),
            value: (self.value_msat / 1000).cast_signed(),
            value_msat: self.value_msat.cast_signed(),
            settled: matches!(self.state, InvoiceState::Settled { .. }),
            creation_date: self.created_at_ms.div_euclid(1000),
            settle_date: self.settle_date(),
            payment_request: self.payment_request.clone(),
            description_hash: self.description_hash.map(|hash| hash.0.to_vec()).unwrap_or_default(),
            expiry: self.expiry_seconds,
            fallback_addr: String::new(),
            cltv_expiry: self.cltv_expiry,
            private: false,
            add_index: self.add_index,
            settle_index: self.settle_index().unwrap_or(0),
            amt_paid: paid_msat,
            amt_paid_sat: paid_msat / 1000,
            amt_paid_msat: paid_msat,
            state: self.wire_state().into(),
            htlcs: self.htlcs.iter().map(htlc_to_wire).collect(),
            features: FEATURE_BITS.into_iter().map(feature).collect(),
            is_keysend: false,
            payment_addr: self.payment_addr.to_vec(),
            is_amp: false,
            is_blinded: false,
        }
    }

    fn settle_date(&self) -> i64 {
        match self.state {
            InvoiceState::Settled { settled_at_ms, .. } => settled_at_ms.div_euclid(1000),
            _ => 0,
        }
    }

    fn wire_state(&self) -> lnrpc::invoice::InvoiceState {
        match self.state {
            InvoiceState::Open => lnrpc::invoice::InvoiceState::Open,
            InvoiceState::Accepted => lnrpc::invoice::InvoiceState::Accepted,
            InvoiceState::Settled { .. } => lnrpc::invoice::InvoiceState::Settled,
            InvoiceState::Canceled { .. } => lnrpc::invoice::InvoiceState::Canceled,
        }
    }
}

fn htlc_to_wire(htlc: &Htlc) -> lnrpc::InvoiceHtlc {
    let (state, resolved_at_ms) = match htlc.state {
        HtlcState::Accepted => (lnrpc::InvoiceHtlcState::Accepted, 0),
        HtlcState::Settled { at_ms } => (lnrpc::InvoiceHtlcState::Settled, at_ms),
        HtlcState::Canceled { at_ms } => (lnrpc::InvoiceHtlcState::Canceled, at_ms),
    };
    lnrpc::InvoiceHtlc {
        chan_id: CHANNEL_ID,
        htlc_index: htlc.id,
        amt_msat: htlc.amount_msat,
        accept_height: htlc.accept_height.cast_signed(),
        accept_time: htlc.accepted_at_ms.div_euclid(1000),
        resolve_time: resolved_at_ms.div_euclid(1000),
        expiry_height: htlc.expiry_height.cast_signed(),
        state: state.into(),
        mpp_total_amt_msat: htlc.total_msat,
    }
}

fn feature(bit: u32) -> (u32, lnrpc::Feature) {
    let name = match bit {
        8 => "tlv-onion",
        14 => "payment-addr",
        17 => "multi-path-payments",
        25 => "route-blinding",
        _ => "unknown",
    };
    let feature = lnrpc::Feature { name: name.to_owned(), is_required: bit.is_multiple_of(2), is_known: true };
    (bit, feature)
}
