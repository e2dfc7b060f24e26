//! The client of the operator's LND node, over gRPC.
//!
//! It says what the node said, checked, and decides nothing: retries, the settlement cursor and what a payment means
//! are the app's. Traps of LND's API that it steps around are told where it does.

mod call;
mod connection;
mod error;
mod graph;
mod info;
mod invoice;
pub mod macaroon;
mod pin;
mod settled;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Response, Status};

pub use error::Error;
pub use graph::GraphNode;
pub use info::{NodeInfo, WalletState};
pub use invoice::{AddedInvoice, Cancelled, InvoicePage, InvoiceState, NewInvoice, NodeInvoice, Settlement};
pub use settled::{Settled, SettledStream};

use crate::config;
use crate::domain::lightning::{NodeId, PaymentHash};
use crate::lnd_proto::invoicesrpc::CancelInvoiceMsg;
use crate::lnd_proto::invoicesrpc::invoices_client::InvoicesClient;
use crate::lnd_proto::lnrpc::lightning_client::LightningClient;
use crate::lnd_proto::lnrpc::state_client::StateClient;
use crate::lnd_proto::lnrpc::{self, GetInfoRequest, GetStateRequest, ListInvoiceRequest, NodeInfoRequest};
use crate::metrics::Metrics;
use call::{Calls, Kind, Method};
use connection::Authorized;

const GET_STATE: Method = Method { name: "GetState", kind: Kind::Probe };
const GET_INFO: Method = Method { name: "GetInfo", kind: Kind::Read };
const GET_NODE_INFO: Method = Method { name: "GetNodeInfo", kind: Kind::Read };
const ADD_INVOICE: Method = Method { name: "AddInvoice", kind: Kind::Write };
const LOOKUP_INVOICE: Method = Method { name: "LookupInvoice", kind: Kind::Read };
const LIST_INVOICES: Method = Method { name: "ListInvoices", kind: Kind::Page };
const CANCEL_INVOICE: Method = Method { name: "CancelInvoice", kind: Kind::Write };

/// LND bounds the rows of a page but not its bytes; tonic's own limit is 4 MiB.
const MAX_PAGE_BYTES: usize = 64 * 1024 * 1024;

/// The operator's node. Clones share their connection.
#[derive(Clone)]
pub struct Node {
    calls: Arc<Calls>,
    /// When it last answered a call, whatever the answer.
    answered: Arc<watch::Sender<Option<Instant>>>,
    metrics: Metrics,
}

/// Whether address and certificate can be used; connects to nobody.
///
/// # Errors
/// [`Error::Settings`] names what cannot be read, or is no certificate.
pub async fn check(settings: &config::Lnd) -> Result<(), Error> {
    connection::Connection::for_calls(settings).await.map(drop)
}

impl Node {
    /// Does nothing yet: the first call connects. Certificate and macaroon are read at every connection.
    pub fn new(settings: &config::Lnd) -> Self {
        Self {
            calls: Arc::new(Calls::new(settings.clone())),
            answered: Arc::new(watch::channel(None).0),
            metrics: Metrics::default(),
        }
    }

    /// Tells how its calls go to these.
    #[must_use]
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// Since it last answered a call as a node does, be it with a refusal of what was asked; none before it ever did.
    pub fn silent_for(&self) -> Option<Duration> {
        self.answered.borrow().map(|at| at.elapsed())
    }

    /// How far the node has started; needs no macaroon, and is answered while the wallet is locked.
    pub async fn state(&self) -> Result<WalletState, Error> {
        let rpc = |channel| async move { StateClient::new(channel).get_state(GetStateRequest {}).await };
        WalletState::parse(self.call(GET_STATE, rpc).await?)
    }

    /// Who the node is. It reads all of its channels for that: ask every 30 s, not for every customer.
    pub async fn info(&self) -> Result<NodeInfo, Error> {
        let rpc = |channel| async move { LightningClient::new(channel).get_info(GetInfoRequest {}).await };
        NodeInfo::parse(self.call(GET_INFO, rpc).await?)
    }

    /// What the node knows of another one, or of itself; nothing of a node that it has not heard of.
    ///
    /// It counts the node's channels for that, which can be thousands: ask seldom.
    pub async fn graph_node(&self, id: NodeId) -> Result<Option<GraphNode>, Error> {
        let rpc = |channel| {
            let message = NodeInfoRequest { pub_key: id.to_string(), include_channels: false };
            async move { LightningClient::new(channel).get_node_info(message).await }
        };
        let node = match self.call(GET_NODE_INFO, rpc).await {
            Err(Error::NotFound(_)) => return Ok(None),
            answer => GraphNode::parse(answer?)?,
        };
        if node.id != id {
            return Err(Error::malformed("another node was found"));
        }
        Ok(Some(node))
    }

    /// Adds an invoice.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] for a preimage that the node has an invoice of: look it up. After an error that leaves
    /// the outcome unknown, adding the same invoice again finds out.
    pub async fn add_invoice(&self, new: &NewInvoice) -> Result<AddedInvoice, Error> {
        let message = new.to_message()?;
        let rpc = |channel| {
            let message = message.clone();
            async move { LightningClient::new(channel).add_invoice(message).await }
        };
        AddedInvoice::parse(self.call(ADD_INVOICE, rpc).await?, new.preimage.payment_hash())
    }

    /// The invoice of a payment hash, if the node has it; a cancelled one may have been deleted.
    pub async fn lookup_invoice(&self, hash: PaymentHash) -> Result<Option<NodeInvoice>, Error> {
        let rpc = |channel| {
            let message = lnrpc::PaymentHash { r_hash: hash.as_bytes().to_vec(), ..Default::default() };
            async move { LightningClient::new(channel).lookup_invoice(message).await }
        };
        let invoice = match self.call(LOOKUP_INVOICE, rpc).await {
            Err(Error::NotFound(_)) => return Ok(None),
            answer => NodeInvoice::parse(answer?)?,
        };
        if invoice.payment_hash != hash {
            return Err(Error::malformed("an invoice of another payment hash was found"));
        }
        Ok(Some(invoice))
    }

    /// Closes an invoice for good, unless it is settled; LND decides which came first.
    pub async fn cancel_invoice(&self, hash: PaymentHash) -> Result<Cancelled, Error> {
        let rpc = |channel| {
            let message = CancelInvoiceMsg { payment_hash: hash.as_bytes().to_vec() };
            async move { InvoicesClient::new(channel).cancel_invoice(message).await }
        };
        match self.call(CANCEL_INVOICE, rpc).await {
            Ok(_) => Ok(Cancelled::Cancelled),
            Err(Error::NotFound(_)) => Ok(Cancelled::Unknown),
            Err(Error::Rejected { text, .. }) if text.contains("already settled") => Ok(Cancelled::AlreadySettled),
            Err(error) => Err(error),
        }
    }

    /// The invoices after an add index, whoever made them.
    pub async fn list_invoices(&self, after_add_index: u64, at_most: u32) -> Result<InvoicePage, Error> {
        let message = ListInvoiceRequest {
            index_offset: after_add_index,
            num_max_invoices: at_most.into(),
            ..ListInvoiceRequest::default()
        };
        let rpc = |channel| async move {
            LightningClient::new(channel).max_decoding_message_size(MAX_PAGE_BYTES).list_invoices(message).await
        };
        InvoicePage::parse(self.call(LIST_INVOICES, rpc).await?, after_add_index)
    }

    /// Follows what settles after a settle index; zero means from now on, without a replay.
    pub fn subscribe_settled(&self, after_settle_index: u64) -> SettledStream {
        SettledStream::new(self.calls.settings().clone(), after_settle_index)
    }

    async fn call<T, F>(&self, method: Method, rpc: impl Fn(Authorized) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let began = Instant::now();
        let outcome = self.calls.call(method, rpc).await;
        let failure = outcome.as_ref().err().and_then(Error::failure);
        self.metrics.lnd_call(method.name, began.elapsed(), failure);
        if failure.is_none() {
            self.answered.send_replace(Some(Instant::now()));
        }
        outcome
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.calls.settings().address)
    }
}
