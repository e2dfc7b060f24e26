//! Paying over gRPC: as a wallet does, or with another amount than the invoice asks for.

use lightning_invoice::Bolt11Invoice;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;
use wiretoll::lnd_proto::lnrpc::payment::PaymentStatus;
use wiretoll::lnd_proto::routerrpc::router_client::RouterClient;
use wiretoll::lnd_proto::{lnrpc, routerrpc};

use crate::pinned::pinned_channel;

/// A second LND, which pays the first.
#[derive(Clone)]
pub struct LndPayer {
    channel: Channel,
    macaroon: String,
}

impl LndPayer {
    pub fn new(address: &str, certificate_pem: &str, macaroon: String) -> Self {
        Self { channel: pinned_channel(address, certificate_pem), macaroon }
    }

    pub async fn pay(&self, payment_request: &str) -> Result<bool, Status> {
        pay(self.channel.clone(), &self.macaroon, payment_request).await
    }

    /// Sends another amount than the invoice asks for, or pays one that has expired; true when it succeeded.
    pub async fn pay_amount(&self, payment_request: &str, amount_msat: u64) -> bool {
        SendWithoutInvoice::of(payment_request, amount_msat).send(self.channel.clone(), &self.macaroon).await
    }
}

/// Pays as a wallet does; true when it succeeded.
pub async fn pay(channel: Channel, macaroon: &str, payment_request: &str) -> Result<bool, Status> {
    let order = routerrpc::SendPaymentRequest {
        payment_request: payment_request.to_owned(),
        timeout_seconds: 10,
        fee_limit_msat: 1_000_000,
        no_inflight_updates: true,
        ..Default::default()
    };
    let mut updates = RouterClient::new(channel).send_payment_v2(with_macaroon(order, macaroon)).await?.into_inner();
    let last = updates.message().await?.unwrap();
    Ok(last.status() == PaymentStatus::Succeeded)
}

pub fn with_macaroon<T>(message: T, macaroon: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("macaroon", macaroon.parse().unwrap());
    request
}

pub fn parse(payment_request: &str) -> Bolt11Invoice {
    payment_request.parse().unwrap()
}

/// `SendPaymentV2` with the parts of an invoice instead of the invoice, which lets a payer choose the amount.
#[derive(Clone, PartialEq, prost::Message)]
struct SendWithoutInvoice {
    #[prost(bytes = "vec", tag = "1")]
    dest: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    payment_hash: Vec<u8>,
    #[prost(int32, tag = "4")]
    final_cltv_delta: i32,
    #[prost(int32, tag = "6")]
    timeout_seconds: i32,
    #[prost(int64, tag = "12")]
    amt_msat: i64,
    #[prost(int64, tag = "13")]
    fee_limit_msat: i64,
    #[prost(int32, repeated, tag = "16")]
    dest_features: Vec<i32>,
    #[prost(bool, tag = "18")]
    no_inflight_updates: bool,
    #[prost(bytes = "vec", tag = "20")]
    payment_addr: Vec<u8>,
}

impl SendWithoutInvoice {
    fn of(payment_request: &str, amount_msat: u64) -> Self {
        let invoice = parse(payment_request);
        Self {
            dest: invoice.get_payee_pub_key().serialize().to_vec(),
            payment_hash: AsRef::<[u8]>::as_ref(&invoice.payment_hash()).to_vec(),
            final_cltv_delta: i32::try_from(invoice.min_final_cltv_expiry_delta()).unwrap(),
            timeout_seconds: 10,
            amt_msat: i64::try_from(amount_msat).unwrap(),
            fee_limit_msat: 1_000_000,
            dest_features: vec![8, 14, 17],
            no_inflight_updates: true,
            payment_addr: invoice.payment_secret().0.to_vec(),
        }
    }

    async fn send(self, channel: Channel, macaroon: &str) -> bool {
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.unwrap();
        let path = "/routerrpc.Router/SendPaymentV2".parse().unwrap();
        let codec = ProstCodec::<Self, lnrpc::Payment>::default();
        let updates = client.server_streaming(with_macaroon(self, macaroon), path, codec).await;
        let last = updates.unwrap().into_inner().message().await.unwrap().unwrap();
        last.status() == PaymentStatus::Succeeded
    }
}
