//! A node under test, real or simulated, seen only through gRPC.

use tonic::transport::Channel;
use tonic::{Request, Status};
use wiretoll::lnd_proto::invoicesrpc::invoices_client::InvoicesClient;
use wiretoll::lnd_proto::lnrpc::lightning_client::LightningClient;
use wiretoll::lnd_proto::lnrpc::state_client::StateClient;
use wiretoll::lnd_proto::{invoicesrpc, lnrpc};
use wiretoll::lnd_simulator::Simulator;
use wiretoll::lnd_simulator::gossip::NEIGHBOURS;
use wiretoll::lnd_simulator::payer::{PaymentOrder, PaymentOutcome};
use wiretoll::lnd_simulator::settings::{SimulatorSettings, StoreMode};

use crate::events::{Events, QUIET};
use crate::payer::{LndPayer, pay, with_macaroon};
use crate::pinned::pinned_channel;

pub struct Node {
    pub address: String,
    pub certificate_pem: String,
    pub macaroon: String,
    pub admin_macaroon: String,
    pub invoice_macaroon: String,
    pub public_key: String,
    /// A node that it has a public channel with.
    pub neighbour: String,
    pub network: String,
    pub store: StoreMode,
    pub channel: Channel,
    payer: Payer,
}

enum Payer {
    Simulated(Simulator),
    Lnd(LndPayer),
}

impl Node {
    pub async fn simulated(simulator: &Simulator, store: StoreMode) -> Self {
        let address = format!("https://{}", simulator.address());
        let certificate_pem = simulator.tls_certificate_pem();
        Self {
            channel: pinned_channel(&address, &certificate_pem),
            address,
            certificate_pem,
            macaroon: simulator.service_macaroon().await.unwrap().to_hex(),
            admin_macaroon: simulator.admin_macaroon().await.unwrap().to_hex(),
            invoice_macaroon: simulator.invoice_macaroon().await.unwrap().to_hex(),
            public_key: simulator.public_key(),
            neighbour: NEIGHBOURS[0].public_key.to_owned(),
            network: simulator.network().to_owned(),
            store,
            payer: Payer::Simulated(simulator.clone()),
        }
    }

    /// The node that the environment describes.
    pub fn real() -> Self {
        let address = variable("LND_ADDR");
        let certificate_pem = std::fs::read_to_string(variable("LND_TLS_CERT")).unwrap();
        let payer_certificate = std::fs::read_to_string(variable("PAYER_LND_TLS_CERT")).unwrap();
        Self {
            channel: pinned_channel(&address, &certificate_pem),
            address,
            certificate_pem,
            macaroon: macaroon_file("LND_MACAROON"),
            admin_macaroon: macaroon_file("LND_ADMIN_MACAROON"),
            invoice_macaroon: macaroon_file("LND_INVOICE_MACAROON"),
            public_key: variable("LND_PUBKEY"),
            neighbour: variable("PAYER_LND_PUBKEY"),
            network: variable("LND_NETWORK"),
            store: if variable("LND_STORE") == "sqlite" { StoreMode::Sql } else { StoreMode::Kv },
            payer: Payer::Lnd(LndPayer::new(
                &variable("PAYER_LND_ADDR"),
                &payer_certificate,
                macaroon_file("PAYER_LND_MACAROON"),
            )),
        }
    }

    /// The same node over a new connection, which pins the certificate of before.
    pub fn reconnected(self) -> Self {
        Self { channel: pinned_channel(&self.address, &self.certificate_pem), ..self }
    }

    pub fn with_credentials(self, macaroon: String) -> Self {
        Self { macaroon, ..self }
    }

    pub fn lightning(&self) -> LightningClient<Channel> {
        LightningClient::new(self.channel.clone())
    }

    pub fn invoices(&self) -> InvoicesClient<Channel> {
        InvoicesClient::new(self.channel.clone())
    }

    pub fn state(&self) -> StateClient<Channel> {
        StateClient::new(self.channel.clone())
    }

    /// A request with the service's macaroon.
    pub fn request<T>(&self, message: T) -> Request<T> {
        with_macaroon(message, &self.macaroon)
    }

    pub async fn try_add(&self, invoice: lnrpc::Invoice) -> Result<lnrpc::AddInvoiceResponse, Status> {
        Ok(self.lightning().add_invoice(self.request(invoice)).await?.into_inner())
    }

    pub async fn add(&self, value_msat: i64) -> lnrpc::AddInvoiceResponse {
        self.try_add(lnrpc::Invoice { value_msat, ..Default::default() }).await.unwrap()
    }

    /// The text with which `AddInvoice` refuses; the code is always Unknown.
    pub async fn add_refusal(&self, invoice: lnrpc::Invoice) -> String {
        let status = self.try_add(invoice).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unknown);
        status.message().to_owned()
    }

    pub async fn try_lookup(&self, hash: &[u8]) -> Result<lnrpc::Invoice, Status> {
        let request = lnrpc::PaymentHash { r_hash: hash.to_vec(), ..Default::default() };
        Ok(self.lightning().lookup_invoice(self.request(request)).await?.into_inner())
    }

    pub async fn lookup(&self, hash: &[u8]) -> lnrpc::Invoice {
        self.try_lookup(hash).await.unwrap()
    }

    pub async fn cancel(&self, hash: &[u8]) -> Result<(), Status> {
        let request = invoicesrpc::CancelInvoiceMsg { payment_hash: hash.to_vec() };
        self.invoices().cancel_invoice(self.request(request)).await.map(|_| ())
    }

    pub async fn list(&self, request: lnrpc::ListInvoiceRequest) -> lnrpc::ListInvoiceResponse {
        self.lightning().list_invoices(self.request(request)).await.unwrap().into_inner()
    }

    /// Adds and pays.
    pub async fn settled(&self, value_msat: i64) -> lnrpc::Invoice {
        let added = self.add(value_msat).await;
        assert!(self.pay(&added.payment_request).await.unwrap());
        self.lookup(&added.r_hash).await
    }

    /// Listens to every invoice; returns when the node surely knows of it.
    pub async fn subscribe(&self, add_index: u64, settle_index: u64) -> Events {
        let mut client = self.lightning();
        let request = self.request(lnrpc::InvoiceSubscription { add_index, settle_index });
        let events = Events::of(async move { client.subscribe_invoices(request).await });
        tokio::time::sleep(QUIET).await;
        events
    }

    pub async fn subscribe_single(&self, hash: &[u8]) -> Events {
        let mut client = self.invoices();
        let request = self.request(invoicesrpc::SubscribeSingleInvoiceRequest { r_hash: hash.to_vec() });
        let events = Events::of(async move { client.subscribe_single_invoice(request).await });
        tokio::time::sleep(QUIET).await;
        events
    }

    /// Pays as a wallet does; true when it succeeded.
    pub async fn pay(&self, payment_request: &str) -> Result<bool, Status> {
        match &self.payer {
            Payer::Simulated(_) => pay(self.channel.clone(), &self.admin_macaroon, payment_request).await,
            Payer::Lnd(payer) => payer.pay(payment_request).await,
        }
    }

    /// Sends another amount than the invoice asks for; true when it succeeded.
    pub async fn pay_amount(&self, payment_request: &str, amount_msat: u64) -> bool {
        match &self.payer {
            Payer::Simulated(simulator) => {
                let amount_msat = Some(amount_msat);
                let order = PaymentOrder { amount_msat, ..PaymentOrder::of(payment_request) };
                matches!(simulator.pay(order).await.unwrap(), PaymentOutcome::Settled { .. })
            }
            Payer::Lnd(payer) => payer.pay_amount(payment_request, amount_msat).await,
        }
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; the head of tests/lnd_facts/main.rs lists it"))
}

fn macaroon_file(name: &str) -> String {
    hex::encode(std::fs::read(variable(name)).unwrap())
}

/// A simulated node with LND's usual settings.
pub async fn simulator(store: StoreMode) -> Simulator {
    Simulator::start(SimulatorSettings { store, ..SimulatorSettings::default() }).await.unwrap()
}
