//! `routerrpc.Router`: the payer's side, which on a real network is another node.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use tonic::{Request, Response, Status};

use super::bolt11::{self, PaymentRequest};
use super::hash::PaymentHash;
use super::methods::Method;
use super::node::Node;
use super::payer::PaymentOutcome;
use super::streams::MessageStream;
use crate::lnd_proto::lnrpc::payment::PaymentStatus;
use crate::lnd_proto::lnrpc::{Payment, PaymentFailureReason};
use crate::lnd_proto::routerrpc::SendPaymentRequest;
use crate::lnd_proto::routerrpc::router_server::Router;

pub(super) struct RouterRpc(pub(super) Arc<Node>);

#[tonic::async_trait]
impl Router for RouterRpc {
    type SendPaymentV2Stream = MessageStream<Payment>;

    async fn send_payment_v2(
        &self,
        request: Request<SendPaymentRequest>,
    ) -> Result<Response<Self::SendPaymentV2Stream>, Status> {
        self.0.admit(Method::SendPaymentV2, &request).await?;
        let order = request.into_inner();
        let invoice = bolt11::parse(&order.payment_request).map_err(Status::unknown)?;
        let amount_msat = self.amount_to_send(&invoice, &order).map_err(Status::unknown)?;
        self.refuse_repeat(&invoice)?;
        let begun = Payment {
            payment_hash: invoice.hash.hex(),
            payment_request: order.payment_request.clone(),
            value_msat: amount_msat.cast_signed(),
            value_sat: (amount_msat / 1000).cast_signed(),
            creation_time_ns: self.0.clock.now_ms().saturating_mul(1_000_000),
            status: PaymentStatus::InFlight.into(),
            ..Payment::default()
        };
        let node = self.0.clone();
        let last = begun.clone();
        let updates = (!order.no_inflight_updates).then_some(Ok(begun));
        let result = stream::once(async move { node.send(invoice, amount_msat, last).await });
        Ok(Response::new(stream::iter(updates).chain(result).boxed()))
    }
}

impl RouterRpc {
    /// The error is LND's text.
    fn amount_to_send(&self, invoice: &PaymentRequest, order: &SendPaymentRequest) -> Result<u64, String> {
        let now = self.0.clock.now_seconds();
        if now > invoice.expires_at_seconds.cast_signed() {
            return Err("invoice expired".to_owned());
        }
        match (invoice.value_msat, order.amt_msat) {
            (0, 0) => Err("amount must be specified when paying a zero amount invoice".to_owned()),
            (0, amount) => Ok(amount.unsigned_abs()),
            (value, 0) => Ok(value),
            _ => Err("amount must not be specified when paying a non-zero amount invoice".to_owned()),
        }
    }

    /// A payer does not pay the same hash twice.
    fn refuse_repeat(&self, invoice: &PaymentRequest) -> Result<(), Status> {
        let known = self.0.registry.ledger().get(invoice.hash);
        match known.and_then(|invoice| invoice.settle_index()) {
            Some(_) => Err(Status::already_exists("invoice is already paid")),
            None => Ok(()),
        }
    }
}

impl Node {
    /// Pays, and returns the last word about it.
    async fn send(
        self: Arc<Self>,
        invoice: PaymentRequest,
        amount_msat: u64,
        payment: Payment,
    ) -> Result<Payment, Status> {
        if invoice.payee != self.identity().public_key {
            return Ok(failed(payment, PaymentFailureReason::FailureReasonNoRoute));
        }
        let hash = invoice.hash;
        let node = self.clone();
        let deliver = async move { node.deliver(&invoice, amount_msat, std::iter::once(amount_msat)).await };
        let settled = match self.tasks.finish(deliver).await {
            Some(PaymentOutcome::Settled { .. }) => true,
            Some(PaymentOutcome::Held { .. }) => self.resolved(hash).await,
            _ => false,
        };
        if settled {
            return Ok(self.succeeded(payment, hash));
        }
        Ok(failed(payment, PaymentFailureReason::FailureReasonIncorrectPaymentDetails))
    }

    /// Waits for what becomes of a held payment: true when it is settled.
    async fn resolved(&self, hash: PaymentHash) -> bool {
        let mut updates = self.subscriptions.join_one(hash, None);
        let current = self.registry.ledger().get(hash);
        updates.deliver_backlog(current);
        while let Some(Ok(invoice)) = updates.next().await {
            if !invoice.is_pending() {
                return invoice.settle_index().is_some();
            }
        }
        false
    }

    fn succeeded(&self, payment: Payment, hash: PaymentHash) -> Payment {
        let invoice = self.registry.ledger().get(hash);
        let preimage = invoice.and_then(|invoice| invoice.preimage);
        Payment {
            status: PaymentStatus::Succeeded.into(),
            payment_preimage: preimage.map(|preimage| hex::encode(preimage.0)).unwrap_or_default(),
            ..payment
        }
    }
}

fn failed(payment: Payment, reason: PaymentFailureReason) -> Payment {
    Payment { status: PaymentStatus::Failed.into(), failure_reason: reason.into(), ..payment }
}
