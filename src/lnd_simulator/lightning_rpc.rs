//! `lnrpc.Lightning`.

use std::sync::Arc;

use bitcoin::hashes::{Hash as _, sha256};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::add_invoice::NewInvoice;
use super::hash::{PaymentHash, WrongLength};
use super::invoice::Invoice;
use super::ledger::{InvoiceQuery, PageOrder, Selection};
use super::methods::Method;
use super::node::{BLOCK_HEIGHT, Node};
use super::registry::RegistryError;
use super::settings::StoreMode;
use super::streams::{InvoiceStream, deferred};
use crate::lnd_proto::lnrpc;
use crate::lnd_proto::lnrpc::lightning_server::Lightning;

const DEFAULT_PAGE: u64 = 100;
const VERTEX_DIGITS: usize = 66;
const VERSION: &str = "0.21.2-beta commit=v0.21.2-beta";

pub(super) struct LightningRpc(pub(super) Arc<Node>);

#[tonic::async_trait]
impl Lightning for LightningRpc {
    type SubscribeInvoicesStream = InvoiceStream;

    async fn add_invoice(
        &self,
        request: Request<lnrpc::Invoice>,
    ) -> Result<Response<lnrpc::AddInvoiceResponse>, Status> {
        let caller = self.0.admit(Method::AddInvoice, &request).await?;
        let new = NewInvoice::regular(&self.0, request.into_inner()).map_err(Status::unknown)?;
        let invoice = self.0.add(new).await?;
        caller
            .answer(lnrpc::AddInvoiceResponse {
                r_hash: invoice.hash.0.to_vec(),
                payment_request: invoice.payment_request.clone(),
                add_index: invoice.add_index,
                payment_addr: invoice.payment_addr.to_vec(),
            })
            .await
    }

    async fn lookup_invoice(&self, request: Request<lnrpc::PaymentHash>) -> Result<Response<lnrpc::Invoice>, Status> {
        let caller = self.0.admit(Method::LookupInvoice, &request).await?;
        let hash = requested_hash(&request.into_inner()).map_err(Status::unknown)?;
        let found = self.0.registry.ledger().get(hash);
        let invoice = found.ok_or_else(|| Status::not_found(self.0.missing_invoice()))?;
        caller.answer(invoice.to_wire()).await
    }

    async fn list_invoices(
        &self,
        request: Request<lnrpc::ListInvoiceRequest>,
    ) -> Result<Response<lnrpc::ListInvoiceResponse>, Status> {
        let caller = self.0.admit(Method::ListInvoices, &request).await?;
        let query = query(request.into_inner()).map_err(Status::unknown)?;
        let page = self.0.registry.ledger().page(query);
        caller
            .answer(lnrpc::ListInvoiceResponse {
                first_index_offset: page.first().map_or(0, |invoice| invoice.add_index),
                last_index_offset: page.last().map_or(0, |invoice| invoice.add_index),
                invoices: page.iter().map(|invoice| invoice.to_wire()).collect(),
            })
            .await
    }

    async fn subscribe_invoices(
        &self,
        request: Request<lnrpc::InvoiceSubscription>,
    ) -> Result<Response<InvoiceStream>, Status> {
        let caller = self.0.admit(Method::SubscribeInvoices, &request).await?;
        let from = request.into_inner();
        let joined = self.0.subscriptions.join_all(from.add_index, from.settle_index, caller.connection);
        let backlog = self.0.registry.ledger().backlog(from.add_index, from.settle_index);
        joined.deliver_backlog(backlog);
        deferred(self.0.clone(), joined).await
    }

    async fn get_info(
        &self,
        request: Request<lnrpc::GetInfoRequest>,
    ) -> Result<Response<lnrpc::GetInfoResponse>, Status> {
        let caller = self.0.admit(Method::GetInfo, &request).await?;
        caller.answer(self.0.info()).await
    }

    async fn get_node_info(
        &self,
        request: Request<lnrpc::NodeInfoRequest>,
    ) -> Result<Response<lnrpc::NodeInfo>, Status> {
        let caller = self.0.admit(Method::GetNodeInfo, &request).await?;
        let vertex = requested_vertex(&request.into_inner().pub_key).map_err(Status::unknown)?;
        let found = self.0.gossip.find(&vertex);
        caller.answer(found.ok_or_else(|| Status::not_found(self.0.missing_node()))?).await
    }
}

impl Node {
    /// Signs and stores an invoice, also when the client does not wait for the answer.
    pub(super) async fn add(self: &Arc<Self>, new: NewInvoice) -> Result<Arc<Invoice>, Status> {
        let invoice = new.sign(self).map_err(Status::unknown)?;
        let node = self.clone();
        let added = async move { node.registry.add(invoice).await };
        let finished = self.tasks.finish(added).await;
        finished.ok_or_else(stopped)?.map_err(|error| registry_status(&error))
    }

    /// What the node says of an invoice that it does not have.
    fn missing_invoice(&self) -> &'static str {
        let ledger = self.registry.ledger();
        match ledger.store() {
            StoreMode::Kv if !ledger.was_ever_used() => "there are no existing invoices",
            _ => "unable to locate invoice",
        }
    }

    fn missing_node(&self) -> &'static str {
        match self.settings.store {
            StoreMode::Kv => "unable to find node",
            StoreMode::Sql => "unable to fetch node: unable to find node",
        }
    }

    fn info(&self) -> lnrpc::GetInfoResponse {
        let synced = *self.chain_synced.borrow();
        let channels = *self.active_channels.borrow();
        let active = if *self.channels_active_from.borrow() <= Instant::now() { channels } else { 0 };
        lnrpc::GetInfoResponse {
            identity_pubkey: self.identity().public_key.to_string(),
            alias: self.settings.alias.clone(),
            num_pending_channels: 0,
            num_active_channels: active,
            num_peers: 1,
            block_height: BLOCK_HEIGHT,
            block_hash: sha256::Hash::hash(&BLOCK_HEIGHT.to_be_bytes()).to_string(),
            synced_to_chain: synced,
            uris: Vec::new(),
            best_header_timestamp: self.clock.now_seconds(),
            version: VERSION.to_owned(),
            num_inactive_channels: channels - active,
            chains: vec![lnrpc::Chain { network: self.settings.network.name().to_owned() }],
            synced_to_graph: synced,
            commit_hash: String::new(),
            wallet_synced: synced,
        }
    }
}

/// Every refusal of the registry is LND's text with the code Unknown.
pub(super) fn registry_status(error: &RegistryError) -> Status {
    Status::unknown(error.to_string())
}

pub(super) fn stopped() -> Status {
    Status::unavailable("the node was stopped")
}

fn requested_hash(request: &lnrpc::PaymentHash) -> Result<PaymentHash, String> {
    let bytes = match request.r_hash_str.as_str() {
        "" => request.r_hash.clone(),
        text => hex::decode(text).map_err(|error| format!("encoding/hex: {error}"))?,
    };
    match PaymentHash::try_from(bytes.as_slice()) {
        Ok(hash) => Ok(hash),
        // No hash at all looks up 32 zero bytes.
        Err(WrongLength(0)) => Ok(PaymentHash([0; 32])),
        Err(WrongLength(length)) => Err(format!("payment hash must be exactly 32 bytes, is instead {length}")),
    }
}

/// LND takes any 33 bytes for a node's key, and finds none that is no point of the curve.
fn requested_vertex(text: &str) -> Result<String, String> {
    if text.len() != VERTEX_DIGITS {
        return Err(format!("invalid vertex string length of {}, want {VERTEX_DIGITS}", text.len()));
    }
    match text.bytes().find(|byte| !byte.is_ascii_hexdigit()) {
        Some(odd) => Err(format!("encoding/hex: invalid byte: U+{odd:04X} {:?}", char::from(odd))),
        None => Ok(text.to_ascii_lowercase()),
    }
}

fn query(request: lnrpc::ListInvoiceRequest) -> Result<InvoiceQuery, String> {
    let (start, end) = (request.creation_date_start, request.creation_date_end);
    if start != 0 && end != 0 && start >= end {
        return Err(format!("start date({start}) must be before end date({end})"));
    }
    let limit = match request.num_max_invoices {
        0 => DEFAULT_PAGE,
        limit => limit,
    };
    Ok(InvoiceQuery {
        index_offset: request.index_offset,
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        order: if request.reversed { PageOrder::Reversed } else { PageOrder::Forward },
        selection: if request.pending_only { Selection::Pending } else { Selection::All },
        created_from: start.cast_signed(),
        created_to: if end == 0 { i64::MAX } else { end.cast_signed() },
    })
}
