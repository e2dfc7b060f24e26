//! The stream of settled invoices.
//!
//! LND sends the response's headers with its first message, so the call itself returns only then, maybe never: it is
//! made inside the stream, and no timeout applies to it once the connection stands.

use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{self, Stream};
use futures_util::{StreamExt, TryStreamExt};

use super::Error;
use super::connection::Connection;
use super::invoice::{NodeInvoice, payment_hash};
use crate::config::Lnd;
use crate::domain::lightning::PaymentHash;
use crate::lnd_proto::lnrpc::invoice::InvoiceState;
use crate::lnd_proto::lnrpc::lightning_client::LightningClient;
use crate::lnd_proto::lnrpc::{Invoice, InvoiceSubscription};

const METHOD: &str = "SubscribeInvoices";

/// Suppresses the events of added invoices. One more wraps to zero on LND's SQL stores and replays everything.
const NO_ADDED_INVOICES: u64 = i64::MAX as u64 - 1;

/// One settled invoice, of whichever program on the node; each has moved the node's settle index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The event says all that a look-up would.
    Paid { invoice: NodeInvoice, settle_index: u64 },
    /// The event lacks the amount, the time or something else: look the invoice up (seen on re-connection, btcpay#7402).
    Incomplete { payment_hash: PaymentHash, settle_index: u64 },
    /// Without a payment hash (a spontaneous AMP payment): nobody's order, it only counts.
    Nameless { settle_index: u64 },
}

/// Settled invoices, oldest first on bbolt and in no order of settlement on SQL while it replays; some come twice.
///
/// Nothing happens before it is polled, and the first item may never come. It ends, with an error or without one, when
/// the node or the way to it does. An [`Error::Malformed`] is about one event: what follows can still be read.
pub struct SettledStream(Pin<Box<dyn Stream<Item = Result<Settled, Error>> + Send>>);

impl SettledStream {
    pub(super) fn new(settings: Lnd, after_settle_index: u64) -> Self {
        Self(stream::once(subscribe(settings, after_settle_index)).try_flatten().boxed())
    }
}

impl Stream for SettledStream {
    type Item = Result<Settled, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for SettledStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SettledStream")
    }
}

impl Settled {
    pub const fn settle_index(&self) -> u64 {
        match self {
            Self::Paid { settle_index, .. }
            | Self::Incomplete { settle_index, .. }
            | Self::Nameless { settle_index } => *settle_index,
        }
    }

    pub const fn payment_hash(&self) -> Option<PaymentHash> {
        match self {
            Self::Paid { invoice, .. } => Some(invoice.payment_hash),
            Self::Incomplete { payment_hash, .. } => Some(*payment_hash),
            Self::Nameless { .. } => None,
        }
    }

    /// What an event says; nothing where it is not about a settled invoice.
    pub fn parse(invoice: Invoice) -> Result<Option<Self>, Error> {
        if invoice.state != i32::from(InvoiceState::Settled) {
            return Ok(None);
        }
        let settle_index = invoice.settle_index;
        if settle_index == 0 {
            return Err(Error::malformed("a settled invoice without a settle index"));
        }
        let Ok(payment_hash) = payment_hash(&invoice) else { return Ok(Some(Self::Nameless { settle_index })) };
        Ok(Some(match NodeInvoice::parse(invoice) {
            Ok(invoice) => Self::Paid { invoice, settle_index },
            Err(_) => Self::Incomplete { payment_hash, settle_index },
        }))
    }
}

/// Subscribes on a connection of its own, with the certificate and the macaroon as they are now.
async fn subscribe(settings: Lnd, settle_index: u64) -> Result<impl Stream<Item = Result<Settled, Error>>, Error> {
    let connection = Connection::for_stream(&settings).await?;
    let mut client = LightningClient::new(connection.authorized().await?);
    let subscription = InvoiceSubscription { add_index: NO_ADDED_INVOICES, settle_index };
    let events = client.subscribe_invoices(subscription).await.map_err(|status| Error::of(METHOD, &status))?;
    let events = events.into_inner().map_err(|status| Error::of(METHOD, &status));
    Ok(events.try_filter_map(move |invoice| {
        // Kept as long as the stream: once the channel is dropped, hyper sends no more pings (measured).
        let _kept = &connection;
        ready(Settled::parse(invoice))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(change: impl FnOnce(&mut Invoice)) -> Invoice {
        let mut invoice = Invoice {
            r_hash: vec![1; 32],
            settle_date: 1_700_000_000,
            settle_index: 4,
            amt_paid_msat: 5_000,
            state: InvoiceState::Settled.into(),
            ..Invoice::default()
        };
        change(&mut invoice);
        invoice
    }

    #[test]
    fn scenario_09_an_event_without_its_amount_asks_for_a_look_up() {
        let payment_hash = PaymentHash::from_bytes([1; 32]);
        let incomplete = Ok(Some(Settled::Incomplete { payment_hash, settle_index: 4 }));
        assert_eq!(Settled::parse(event(|i| i.amt_paid_msat = 0)), incomplete);
        assert_eq!(Settled::parse(event(|i| i.settle_date = 0)), incomplete);
    }

    #[test]
    fn every_settled_event_counts_and_no_other_does() {
        assert!(matches!(Settled::parse(event(|_| ())), Ok(Some(Settled::Paid { .. }))));
        assert_eq!(Settled::parse(event(|i| i.r_hash.clear())), Ok(Some(Settled::Nameless { settle_index: 4 })));
        assert_eq!(Settled::parse(event(|i| i.state = InvoiceState::Open.into())), Ok(None));
        assert!(Settled::parse(event(|i| i.settle_index = 0)).is_err());
    }
}
