//! Invoices as the node tells of them, checked before anybody acts on one.

use std::time::Duration;

use super::Error;
use crate::domain::lightning::{PaymentHash, Preimage};
use crate::domain::money::Msats;
use crate::domain::time::Timestamp;
use crate::lnd_proto::lnrpc;

/// An invoice to add. The preimage is ours, so that adding it twice ends at one invoice.
#[derive(Debug, Clone)]
pub struct NewInvoice {
    pub preimage: Preimage,
    pub amount: Msats,
    /// At most 639 bytes, BOLT 11's limit.
    pub memo: String,
    /// Whole seconds.
    pub expiry: Duration,
    /// Hop hints through private channels.
    pub private_route_hints: bool,
}

/// What LND made of a [`NewInvoice`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedInvoice {
    /// BOLT 11, to be parsed and checked before it is shown.
    pub payment_request: String,
    /// Starts at 1; used again on SQL after a deletion, so it names no invoice.
    pub add_index: u64,
}

/// An invoice of the node, ours or somebody else's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInvoice {
    pub payment_hash: PaymentHash,
    pub memo: String,
    /// Empty for a payment that came without an invoice (keysend).
    pub payment_request: String,
    pub add_index: u64,
    /// What it asks for; zero leaves that to the payer.
    pub amount: Msats,
    pub created_at: Timestamp,
    pub state: InvoiceState,
}

/// Where an invoice stands; the last two are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvoiceState {
    Open,
    /// Paid but held: of hold invoices only.
    Accepted,
    Canceled,
    Settled(Settlement),
}

/// The evidence that an invoice is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// What arrived, which may be more than the invoice asked for.
    pub amount: Msats,
    pub settled_at: Timestamp,
    /// Starts at 1 and may have gaps.
    pub settle_index: u64,
}

/// Some invoices in the order in which they were added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoicePage {
    pub invoices: Vec<NodeInvoice>,
    /// Where the next page starts; zero after the last page.
    pub last_index: u64,
    /// Entries that made no sense and are left out (other programs' spontaneous AMP payments have no hash). An
    /// invoice of ours that is missing here is not thereby unknown to the node: look it up.
    pub left_out: usize,
}

/// How cancelling ended; each is LND's last word on the invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It can never be paid any more.
    Cancelled,
    AlreadySettled,
    /// The node has no such invoice: never added, or cancelled and deleted.
    Unknown,
}

impl NewInvoice {
    /// # Errors
    /// For what LND would accept but read as something else: no amount as any amount, no expiry as a day.
    pub(super) fn to_message(&self) -> Result<lnrpc::Invoice, Error> {
        let refused = |text: &str| Error::Rejected { method: "AddInvoice", text: text.into() };
        let value_msat = i64::try_from(self.amount.get()).ok().filter(|msat| *msat > 0);
        let expiry = i64::try_from(self.expiry.as_secs()).ok().filter(|seconds| *seconds > 0);
        Ok(lnrpc::Invoice {
            memo: self.memo.clone(),
            r_preimage: self.preimage.as_bytes().to_vec(),
            value_msat: value_msat.ok_or_else(|| refused("an amount of nothing or beyond all money"))?,
            expiry: expiry.ok_or_else(|| refused("an expiry below one second"))?,
            private: self.private_route_hints,
            ..lnrpc::Invoice::default()
        })
    }
}

impl AddedInvoice {
    pub(super) fn parse(answer: lnrpc::AddInvoiceResponse, asked_for: PaymentHash) -> Result<Self, Error> {
        if answer.r_hash != asked_for.as_bytes() {
            return Err(Error::malformed("an invoice of another payment hash was added"));
        }
        Ok(Self { payment_request: answer.payment_request, add_index: answer.add_index })
    }
}

impl NodeInvoice {
    /// Reads LND's message; an answer that makes no sense is an error.
    pub fn parse(invoice: lnrpc::Invoice) -> Result<Self, Error> {
        Ok(Self {
            payment_hash: payment_hash(&invoice)?,
            amount: Msats::new(amount("value_msat", invoice.value_msat)?),
            created_at: time("creation_date", invoice.creation_date)?,
            state: state(&invoice)?,
            memo: invoice.memo,
            payment_request: invoice.payment_request,
            add_index: invoice.add_index,
        })
    }
}

impl InvoicePage {
    /// Reads the page that LND returned for what was added after that index.
    pub fn parse(answer: lnrpc::ListInvoiceResponse, after: u64) -> Result<Self, Error> {
        let total = answer.invoices.len();
        if total > 0 && answer.last_index_offset <= after {
            return Err(Error::malformed("a page of invoices that ends where it starts"));
        }
        let invoices: Vec<_> = answer.invoices.into_iter().flat_map(NodeInvoice::parse).collect();
        Ok(Self { left_out: total - invoices.len(), invoices, last_index: answer.last_index_offset })
    }
}

pub(super) fn payment_hash(invoice: &lnrpc::Invoice) -> Result<PaymentHash, Error> {
    PaymentHash::from_slice(&invoice.r_hash).map_err(|e| Error::malformed(e.to_string()))
}

fn state(invoice: &lnrpc::Invoice) -> Result<InvoiceState, Error> {
    use lnrpc::invoice::InvoiceState as Said;
    Ok(match Said::try_from(invoice.state) {
        Ok(Said::Open) => InvoiceState::Open,
        Ok(Said::Accepted) => InvoiceState::Accepted,
        Ok(Said::Canceled) => InvoiceState::Canceled,
        Ok(Said::Settled) => InvoiceState::Settled(settlement(invoice)?),
        Err(_) => return Err(Error::malformed(format!("an invoice in state {}", invoice.state))),
    })
}

/// The evidence in an invoice that says it is settled.
fn settlement(invoice: &lnrpc::Invoice) -> Result<Settlement, Error> {
    let amount = amount("amt_paid_msat", invoice.amt_paid_msat)?;
    let settled_at = time("settle_date", invoice.settle_date)?;
    if amount == 0 || settled_at == Timestamp::EPOCH || invoice.settle_index == 0 {
        return Err(Error::malformed("a settled invoice without its amount, time or index"));
    }
    Ok(Settlement { amount: Msats::new(amount), settled_at, settle_index: invoice.settle_index })
}

fn amount(field: &str, msat: i64) -> Result<u64, Error> {
    u64::try_from(msat).map_err(|_| Error::malformed(format!("a negative {field}")))
}

fn time(field: &str, seconds: i64) -> Result<Timestamp, Error> {
    if seconds < 0 {
        return Err(Error::malformed(format!("a negative {field}")));
    }
    Ok(Timestamp::from_seconds(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled() -> lnrpc::Invoice {
        lnrpc::Invoice {
            r_hash: vec![1; 32],
            value_msat: 3_000_000,
            creation_date: 1_700_000_000,
            settle_date: 1_700_000_060,
            settle_index: 4,
            amt_paid_msat: 3_000_001,
            state: lnrpc::invoice::InvoiceState::Settled.into(),
            ..lnrpc::Invoice::default()
        }
    }

    #[test]
    fn a_settled_invoice_carries_its_evidence() {
        let evidence = Settlement {
            amount: Msats::new(3_000_001),
            settled_at: Timestamp::from_seconds(1_700_000_060),
            settle_index: 4,
        };
        assert_eq!(NodeInvoice::parse(settled()).unwrap().state, InvoiceState::Settled(evidence));
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_an_error() {
        let changes: [fn(&mut lnrpc::Invoice); 8] = [
            |i| i.r_hash = vec![1; 31],
            |i| i.value_msat = -1,
            |i| i.creation_date = -1,
            |i| i.settle_date = 0,
            |i| i.settle_index = 0,
            |i| i.amt_paid_msat = 0,
            |i| i.amt_paid_msat = i64::MIN,
            |i| i.state = 77,
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut invoice = settled();
            change(&mut invoice);
            assert!(matches!(NodeInvoice::parse(invoice), Err(Error::Malformed(_))), "change {number}");
        }
    }

    #[test]
    fn one_odd_invoice_does_not_spoil_a_page() {
        let nameless = lnrpc::Invoice { r_hash: vec![], ..settled() };
        let answer = |last_index_offset| lnrpc::ListInvoiceResponse {
            invoices: vec![nameless.clone(), settled()],
            last_index_offset,
            first_index_offset: 1,
        };
        let page = InvoicePage::parse(answer(2), 0).unwrap();
        assert_eq!((page.invoices.len(), page.left_out, page.last_index), (1, 1, 2));
        assert!(InvoicePage::parse(answer(2), 2).is_err(), "it would be asked for for ever");
    }

    #[test]
    fn an_invoice_over_nothing_or_without_an_expiry_is_never_asked_for() {
        let new = |msat, expiry| NewInvoice {
            preimage: Preimage::from_bytes([1; 32]),
            amount: Msats::new(msat),
            memo: String::new(),
            expiry,
            private_route_hints: false,
        };
        assert!(new(1, Duration::from_secs(1)).to_message().is_ok());
        for bad in [new(0, Duration::from_secs(1)), new(1, Duration::from_millis(999)), new(u64::MAX, Duration::MAX)] {
            assert!(bad.to_message().is_err(), "{bad:?}");
        }
    }
}
