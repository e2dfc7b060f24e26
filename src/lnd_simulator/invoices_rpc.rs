//! `invoicesrpc.Invoices`.

use std::future::Future;
use std::sync::Arc;

use tonic::{Code, Request, Response, Status};

use super::add_invoice::{NewInvoice, payment_hash};
use super::hash::{Secret, WrongLength};
use super::lightning_rpc::{registry_status, stopped};
use super::methods::Method;
use super::node::Node;
use super::registry::{CancelScope, RegistryError};
use super::settings::StoreMode;
use super::streams::{InvoiceStream, deferred};
use crate::lnd_proto::invoicesrpc::invoices_server::Invoices;
use crate::lnd_proto::invoicesrpc::lookup_invoice_msg::InvoiceRef;
use crate::lnd_proto::{invoicesrpc, lnrpc};

pub(super) struct InvoicesRpc(pub(super) Arc<Node>);

#[tonic::async_trait]
impl Invoices for InvoicesRpc {
    type SubscribeSingleInvoiceStream = InvoiceStream;

    async fn subscribe_single_invoice(
        &self,
        request: Request<invoicesrpc::SubscribeSingleInvoiceRequest>,
    ) -> Result<Response<InvoiceStream>, Status> {
        let caller = self.0.admit(Method::SubscribeSingleInvoice, &request).await?;
        let hash = payment_hash(&request.into_inner().r_hash).map_err(Status::unknown)?;
        let joined = self.0.subscriptions.join_one(hash, caller.connection);
        // Of an unknown invoice there is nothing to tell, and nothing is told.
        let current = self.0.registry.ledger().get(hash);
        joined.deliver_backlog(current);
        deferred(self.0.clone(), joined).await
    }

    async fn cancel_invoice(
        &self,
        request: Request<invoicesrpc::CancelInvoiceMsg>,
    ) -> Result<Response<invoicesrpc::CancelInvoiceResp>, Status> {
        let caller = self.0.admit(Method::CancelInvoice, &request).await?;
        let hash = payment_hash(&request.into_inner().payment_hash).map_err(Status::unknown)?;
        let node = self.0.clone();
        let cancel = async move { node.registry.cancel(hash, CancelScope::OpenOrAccepted).await };
        self.finish(cancel).await?;
        caller.answer(invoicesrpc::CancelInvoiceResp {}).await
    }

    async fn add_hold_invoice(
        &self,
        request: Request<invoicesrpc::AddHoldInvoiceRequest>,
    ) -> Result<Response<invoicesrpc::AddHoldInvoiceResp>, Status> {
        let caller = self.0.admit(Method::AddHoldInvoice, &request).await?;
        let new = NewInvoice::hold(request.into_inner()).map_err(Status::unknown)?;
        let invoice = self.0.add(new).await?;
        caller
            .answer(invoicesrpc::AddHoldInvoiceResp {
                payment_request: invoice.payment_request.clone(),
                add_index: invoice.add_index,
                payment_addr: invoice.payment_addr.to_vec(),
            })
            .await
    }

    async fn settle_invoice(
        &self,
        request: Request<invoicesrpc::SettleInvoiceMsg>,
    ) -> Result<Response<invoicesrpc::SettleInvoiceResp>, Status> {
        let caller = self.0.admit(Method::SettleInvoice, &request).await?;
        let preimage = Secret::try_from(request.into_inner().preimage.as_slice());
        let preimage = preimage
            .map_err(|WrongLength(length)| Status::unknown(format!("invalid preimage length of {length}, want 32")))?;
        let node = self.0.clone();
        self.finish(async move { node.registry.settle_hold(preimage).await }).await?;
        caller.answer(invoicesrpc::SettleInvoiceResp {}).await
    }

    async fn lookup_invoice_v2(
        &self,
        request: Request<invoicesrpc::LookupInvoiceMsg>,
    ) -> Result<Response<lnrpc::Invoice>, Status> {
        let caller = self.0.admit(Method::LookupInvoiceV2, &request).await?;
        let found = match request.into_inner().invoice_ref {
            Some(InvoiceRef::PaymentHash(bytes)) => {
                let hash = payment_hash(&bytes)
                    .map_err(|text| Status::invalid_argument(format!("unable to parse pay hash: {text}")))?;
                self.0.registry.ledger().get(hash)
            }
            Some(InvoiceRef::PaymentAddr(bytes)) => {
                let addr = Secret::try_from(bytes.as_slice()).unwrap_or(Secret([0; 32]));
                self.0.registry.ledger().by_payment_addr(addr)
            }
            // Only AMP invoices have sets, and there are none.
            Some(InvoiceRef::SetId(_)) => None,
            None => return Err(Status::invalid_argument("invoice ref must be set")),
        };
        let invoice = found.ok_or_else(|| self.missing_invoice())?;
        caller.answer(invoice.to_wire()).await
    }
}

impl InvoicesRpc {
    /// Does `change` also when the client does not wait for it.
    async fn finish(
        &self,
        change: impl Future<Output = Result<(), RegistryError>> + Send + 'static,
    ) -> Result<(), Status> {
        let finished = self.0.tasks.finish(change).await;
        finished.ok_or_else(stopped)?.map_err(|error| registry_status(&error))
    }

    /// Unlike `LookupInvoice`, version 2 does not know the empty store's text for what it is.
    fn missing_invoice(&self) -> Status {
        let ledger = self.0.registry.ledger();
        let (code, text) = match ledger.store() {
            StoreMode::Kv if !ledger.was_ever_used() => (Code::Unknown, "there are no existing invoices"),
            _ => (Code::NotFound, "unable to locate invoice"),
        };
        Status::new(code, text)
    }
}
