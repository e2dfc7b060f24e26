//! The LND client against a small server of its own here, and (ignored, by environment variables) a real node.
//!
//! The real ones want `LND_ADDR`, `LND_TLS_CERT`, `LND_MACAROON`, `LND_INVOICE_MACAROON`, `LND_ADMIN_MACAROON`,
//! `LND_PUBKEY`, `LND_NETWORK`, and for a payment `PAYER_LND_ADDR` and `PAYER_LND_MACAROON`:
//! `cargo test --test lnd_client -- --ignored`.

#![expect(clippy::unwrap_used, reason = "a test: clippy spares only the functions marked as one")]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::Stream;
use tonic::transport::{ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use wiretoll::config::{self, LndTrust, MacaroonSource, SecretText};
use wiretoll::domain::lightning::{Network, NodeId, PaymentHash, Preimage};
use wiretoll::domain::money::Msats;
use wiretoll::lnd::macaroon::Macaroon;
use wiretoll::lnd::{Cancelled, Error, InvoiceState, NewInvoice, Node, Settled, WalletState};
use wiretoll::lnd_proto::lnrpc;
use wiretoll::lnd_proto::lnrpc::lightning_server::{Lightning, LightningServer};
use wiretoll::lnd_proto::lnrpc::state_server::{State, StateServer};

/// A whole macaroon that permits nothing, and the same with another signature.
const MACAROON: &str = "0201036c6e6402010300000620aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const RENEWED: &str = "0201036c6e6402010300000620bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// What the stand-in does: asks for one macaroon; settles one invoice, and then ends the stream, when it is told to.
#[derive(Clone)]
struct FakeNode {
    macaroon: Arc<Mutex<&'static str>>,
    paid: Arc<Notify>,
    ended: Arc<Notify>,
}

/// The stand-in, running, and the files that the client reads.
struct Lab {
    address: String,
    files: TempDir,
    certificate: String,
    node: FakeNode,
    _server: JoinSet<()>,
}

impl Lab {
    async fn start() -> Self {
        let node = FakeNode { macaroon: Arc::new(Mutex::new(MACAROON)), paid: Arc::default(), ended: Arc::default() };
        let (certificate, identity) = certificate();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let router = Server::builder()
            .tls_config(ServerTlsConfig::new().identity(identity))
            .unwrap()
            .add_service(StateServer::new(node.clone()))
            .add_service(LightningServer::new(node.clone()));
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        let mut server = JoinSet::new();
        server.spawn(async move { router.serve_with_incoming(incoming).await.unwrap() });
        let lab = Self { address, files: TempDir::new().unwrap(), certificate, node, _server: server };
        lab.write("tls.cert", &lab.certificate);
        lab.write("macaroon", MACAROON);
        lab
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.files.path().join(name), text).unwrap();
    }

    fn client(&self) -> Node {
        Node::new(&config::Lnd {
            address: self.address.clone(),
            trust: LndTrust::PinnedCertificate(self.files.path().join("tls.cert")),
            macaroon: MacaroonSource::File(self.files.path().join("macaroon")),
            network: Network::Regtest,
        })
    }
}

fn certificate() -> (String, Identity) {
    let made = rcgen::generate_simple_self_signed(["elsewhere.example".to_owned()]).unwrap();
    let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    (pem.clone(), Identity::from_pem(pem, key))
}

#[tonic::async_trait]
impl State for FakeNode {
    type SubscribeStateStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<lnrpc::SubscribeStateResponse, Status>> + Send>>;

    async fn subscribe_state(
        &self,
        _: Request<lnrpc::SubscribeStateRequest>,
    ) -> Result<Response<Self::SubscribeStateStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_state(
        &self,
        request: Request<lnrpc::GetStateRequest>,
    ) -> Result<Response<lnrpc::GetStateResponse>, Status> {
        assert!(request.metadata().get("macaroon").is_none(), "nobody asked for it");
        Ok(Response::new(lnrpc::GetStateResponse { state: lnrpc::WalletState::ServerActive.into() }))
    }
}

#[tonic::async_trait]
impl Lightning for FakeNode {
    type SubscribeInvoicesStream = std::pin::Pin<Box<dyn Stream<Item = Result<lnrpc::Invoice, Status>> + Send>>;

    async fn lookup_invoice(&self, request: Request<lnrpc::PaymentHash>) -> Result<Response<lnrpc::Invoice>, Status> {
        let shown = request.metadata().get("macaroon").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if shown != *self.macaroon.lock().unwrap() {
            return Err(Status::unknown("verification failed: signature mismatch after caveat verification"));
        }
        Ok(Response::new(lnrpc::Invoice { r_hash: request.into_inner().r_hash, ..lnrpc::Invoice::default() }))
    }

    /// Like LND, sends no headers before the first event.
    async fn subscribe_invoices(
        &self,
        request: Request<lnrpc::InvoiceSubscription>,
    ) -> Result<Response<Self::SubscribeInvoicesStream>, Status> {
        assert_eq!(request.get_ref().add_index, u64::try_from(i64::MAX).unwrap() - 1);
        self.paid.notified().await;
        let event = lnrpc::Invoice {
            r_hash: vec![1; 32],
            settle_index: request.get_ref().settle_index + 1,
            settle_date: 1_700_000_000,
            amt_paid_msat: 5_000,
            state: lnrpc::invoice::InvoiceState::Settled.into(),
            ..lnrpc::Invoice::default()
        };
        let (first, ended) = (futures_util::stream::iter([Ok(event)]), self.ended.clone());
        let end = futures_util::stream::once(async move { ended.notified().await }).filter_map(async |()| None);
        Ok(Response::new(Box::pin(first.chain(end))))
    }

    async fn add_invoice(&self, _: Request<lnrpc::Invoice>) -> Result<Response<lnrpc::AddInvoiceResponse>, Status> {
        Ok(Response::new(lnrpc::AddInvoiceResponse { r_hash: vec![9; 32], ..Default::default() }))
    }

    async fn list_invoices(
        &self,
        _: Request<lnrpc::ListInvoiceRequest>,
    ) -> Result<Response<lnrpc::ListInvoiceResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_info(&self, _: Request<lnrpc::GetInfoRequest>) -> Result<Response<lnrpc::GetInfoResponse>, Status> {
        Err(Status::unknown("permission denied"))
    }

    async fn get_node_info(&self, _: Request<lnrpc::NodeInfoRequest>) -> Result<Response<lnrpc::NodeInfo>, Status> {
        Err(Status::unimplemented(""))
    }
}

fn new_invoice(preimage: [u8; 32]) -> NewInvoice {
    NewInvoice {
        preimage: Preimage::from_bytes(preimage),
        amount: Msats::new(5_000),
        memo: "lnd_client test".into(),
        expiry: Duration::from_mins(10),
        private_route_hints: false,
    }
}

fn hash() -> PaymentHash {
    PaymentHash::from_bytes([1; 32])
}

#[tokio::test]
async fn the_pinned_certificate_is_trusted_whatever_name_it_bears() {
    let lab = Lab::start().await;
    assert_eq!(lab.client().state().await, Ok(WalletState::ServerActive));
}

#[tokio::test]
async fn any_other_certificate_is_refused_until_the_file_holds_the_right_one() {
    let lab = Lab::start().await;
    let (other, _) = certificate();
    lab.write("tls.cert", &other);
    let client = lab.client();

    let refused = client.state().await.unwrap_err();
    assert!(matches!(refused, Error::UntrustedCertificate(_)) && refused.is_credential(), "{refused}");

    lab.write("tls.cert", &(other + &lab.certificate));
    assert_eq!(client.state().await, Ok(WalletState::ServerActive), "both sides of a rotation");
}

#[tokio::test]
async fn a_certificate_by_nobody_is_refused_where_an_authority_should_vouch() {
    let lab = Lab::start().await;
    let client = Node::new(&config::Lnd {
        address: lab.address.clone(),
        trust: LndTrust::PublicCa,
        macaroon: MacaroonSource::Text(SecretText::new(MACAROON)),
        network: Network::Regtest,
    });
    assert!(matches!(client.state().await, Err(Error::UntrustedCertificate(_))));
}

#[tokio::test]
async fn scenario_12_a_renewed_macaroon_is_taken_up_by_the_call_that_meets_it() {
    let lab = Lab::start().await;
    let client = lab.client();
    assert!(client.lookup_invoice(hash()).await.is_ok());

    *lab.node.macaroon.lock().unwrap() = RENEWED;
    assert!(matches!(client.lookup_invoice(hash()).await, Err(Error::BadMacaroon(_))));

    assert!(matches!(client.lookup_invoice(hash()).await, Err(Error::BadMacaroon(_))));
    *lab.node.macaroon.lock().unwrap() = MACAROON;
    assert!(client.lookup_invoice(hash()).await.is_ok());
    *lab.node.macaroon.lock().unwrap() = RENEWED;
    lab.write("macaroon", RENEWED);
    assert!(client.lookup_invoice(hash()).await.is_ok(), "on a connection that began with the old one");
}

#[tokio::test]
async fn a_missing_macaroon_does_not_hide_the_state_of_the_node() {
    let lab = Lab::start().await;
    std::fs::remove_file(lab.files.path().join("macaroon")).unwrap();
    let client = lab.client();
    assert_eq!(client.state().await, Ok(WalletState::ServerActive));
    assert!(matches!(client.lookup_invoice(hash()).await, Err(Error::Settings(_))));
}

#[tokio::test]
async fn an_address_without_tls_is_refused() {
    let lab = Lab::start().await;
    for address in [lab.address.replace("https", "http"), "unix:/run/lnd.sock".into(), "127.0.0.1:10009".into()] {
        let client = Node::new(&config::Lnd {
            address,
            trust: LndTrust::PublicCa,
            macaroon: MacaroonSource::Text(SecretText::new(MACAROON)),
            network: Network::Regtest,
        });
        assert!(matches!(client.state().await, Err(Error::Settings(_))));
    }
}

#[tokio::test]
async fn what_the_macaroon_does_not_permit_is_named() {
    let lab = Lab::start().await;
    assert_eq!(lab.client().info().await, Err(Error::PermissionDenied { method: "GetInfo" }));
}

#[tokio::test]
async fn an_invoice_of_another_hash_is_not_taken_for_the_one_asked_for() {
    let lab = Lab::start().await;
    assert!(matches!(lab.client().add_invoice(&new_invoice([7; 32])).await, Err(Error::Malformed(_))));
}

#[tokio::test]
async fn a_stream_waits_for_its_headers_and_then_ends_with_the_node_s_end() {
    let lab = Lab::start().await;
    let mut settled = lab.client().subscribe_settled(41);
    assert!(timeout(Duration::from_millis(200), settled.next()).await.is_err(), "no event, no headers");

    lab.node.paid.notify_one();

    assert!(matches!(settled.next().await, Some(Ok(event @ Settled::Paid { .. })) if event.settle_index() == 42));
    lab.node.ended.notify_one();
    assert!(settled.next().await.is_none());
}

#[tokio::test]
async fn a_node_that_accepts_connections_and_says_nothing_is_unreachable() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lab = Lab { address: format!("https://{}", silent.local_addr().unwrap()), ..Lab::start().await };
    let client = lab.client();
    let mut settled = client.subscribe_settled(1);
    let (state, event) = tokio::join!(client.state(), settled.next());
    assert!(matches!(state, Err(Error::Unreachable(_))), "{state:?}");
    assert!(matches!(event, Some(Err(Error::Unreachable(_)))), "{event:?}");
}

#[tokio::test]
#[ignore = "waits half a minute for the pings to go unanswered"]
async fn scenario_03_a_connection_that_dies_without_a_word_ends_the_stream() {
    let mut lab = Lab::start().await;
    let (wire, cut) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::new(Notify::new()));
    let far_end = lab.address.trim_start_matches("https://").to_owned();
    lab.address = format!("https://{}", wire.local_addr().unwrap());
    let mut wires = JoinSet::new();
    wires.spawn(forward(wire, far_end, Arc::clone(&cut)));
    let mut settled = lab.client().subscribe_settled(41);
    lab.node.paid.notify_one();
    assert!(settled.next().await.unwrap().is_ok(), "headers and one event have come");

    cut.notify_one();

    let end = timeout(Duration::from_mins(1), settled.next()).await.unwrap();
    assert!(matches!(end, Some(Err(Error::Unreachable(_)))), "{end:?}");
}

/// Passes one connection on to `far_end`; once it is cut, both sides stay open and hear nothing.
async fn forward(wire: TcpListener, far_end: String, cut: Arc<Notify>) {
    let (mut near, _) = wire.accept().await.unwrap();
    let mut far = TcpStream::connect(far_end).await.unwrap();
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
        () = cut.notified() => {}
    }
    std::future::pending::<()>().await;
}

/// A variable that the real node's suite needs.
fn var(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

fn real_node_with(macaroon: &str) -> Node {
    Node::new(&config::Lnd {
        address: var("LND_ADDR"),
        trust: LndTrust::PinnedCertificate(PathBuf::from(var("LND_TLS_CERT"))),
        macaroon: MacaroonSource::File(PathBuf::from(var(macaroon))),
        network: var("LND_NETWORK").parse().unwrap(),
    })
}

fn fresh() -> NewInvoice {
    new_invoice(wiretoll::random::bytes().unwrap())
}

#[tokio::test]
#[ignore = "needs a real LND"]
async fn real_the_node_says_who_it_is() {
    let node = real_node_with("LND_MACAROON");
    assert_eq!(node.state().await, Ok(WalletState::ServerActive));
    let info = node.info().await.unwrap();
    assert_eq!(info.id, NodeId::parse(&var("LND_PUBKEY")).unwrap());
    assert_eq!(info.network, var("LND_NETWORK"));
    assert!(info.active_channels > 0, "{info:?}");
}

#[tokio::test]
#[ignore = "needs a real LND"]
async fn real_the_node_finds_itself_in_the_graph_and_no_stranger() {
    let node = real_node_with("LND_MACAROON");
    let itself = NodeId::parse(&var("LND_PUBKEY")).unwrap();
    let found = node.graph_node(itself).await.unwrap().unwrap();
    assert!(found.id == itself && found.channels > 0 && !found.alias.as_str().is_empty(), "{found:?}");
    assert_eq!(node.graph_node(NodeId::from_bytes([2; 33])).await, Ok(None));
}

#[tokio::test]
#[ignore = "needs a real LND"]
async fn real_an_invoice_is_added_once_found_listed_and_closed_for_good() {
    let node = real_node_with("LND_MACAROON");
    let new = fresh();
    let hash = new.preimage.payment_hash();
    assert_eq!(node.lookup_invoice(hash).await, Ok(None));
    assert_eq!(node.cancel_invoice(hash).await, Ok(Cancelled::Unknown));

    let added = node.add_invoice(&new).await.unwrap();
    assert_eq!(node.add_invoice(&new).await, Err(Error::AlreadyExists));

    let found = node.lookup_invoice(hash).await.unwrap().unwrap();
    assert_eq!((found.state, found.amount, &found.memo), (InvoiceState::Open, new.amount, &new.memo));
    assert_eq!(found.payment_request, added.payment_request);
    let page = node.list_invoices(added.add_index - 1, 1).await.unwrap();
    assert_eq!((page.invoices, page.last_index), (vec![found], added.add_index));

    assert_eq!(node.cancel_invoice(hash).await, Ok(Cancelled::Cancelled));
    assert_eq!(node.cancel_invoice(hash).await, Ok(Cancelled::Cancelled));
    assert_eq!(node.lookup_invoice(hash).await.unwrap().unwrap().state, InvoiceState::Canceled);
}

#[tokio::test]
#[ignore = "needs a real LND"]
async fn real_the_end_of_the_list_is_an_empty_page() {
    let node = real_node_with("LND_MACAROON");
    node.add_invoice(&fresh()).await.unwrap();
    let page = node.list_invoices(1_000_000_000, 100).await.unwrap();
    assert_eq!((page.invoices.len(), page.last_index, page.left_out), (0, 0, 0));
}

#[tokio::test]
#[ignore = "needs a real LND"]
async fn real_the_node_s_refusals_are_told_apart() {
    let node = real_node_with("LND_MACAROON");
    let long = NewInvoice { memo: "m".repeat(640), ..fresh() };
    assert!(matches!(node.add_invoice(&long).await, Err(Error::Rejected { method: "AddInvoice", .. })));

    let stock = real_node_with("LND_INVOICE_MACAROON");
    assert!(stock.add_invoice(&fresh()).await.is_ok());
    assert_eq!(stock.info().await, Err(Error::PermissionDenied { method: "GetInfo" }));

    let files = TempDir::new().unwrap();
    let foreign = files.path().join("macaroon");
    let mut forged = std::fs::read(var("LND_MACAROON")).unwrap();
    *forged.last_mut().unwrap() ^= 1;
    std::fs::write(&foreign, forged).unwrap();
    let node = Node::new(&config::Lnd {
        address: var("LND_ADDR"),
        trust: LndTrust::PinnedCertificate(PathBuf::from(var("LND_TLS_CERT"))),
        macaroon: MacaroonSource::File(foreign),
        network: Network::Regtest,
    });
    assert_eq!(node.state().await, Ok(WalletState::ServerActive), "which needs no macaroon");
    let refused = node.info().await.unwrap_err();
    assert!(matches!(refused, Error::BadMacaroon(_)), "{refused:?}");
}

#[tokio::test]
#[ignore = "needs a real LND"]
async fn real_macaroons_are_judged_without_asking_the_node() {
    let read = async |name: &str| {
        let source = MacaroonSource::File(PathBuf::from(var(name)));
        Macaroon::read(&source).await.unwrap().permissions().unwrap()
    };
    let (service, stock, admin) =
        (read("LND_MACAROON").await, read("LND_INVOICE_MACAROON").await, read("LND_ADMIN_MACAROON").await);
    assert!(!service.can_spend() && service.missing().is_empty(), "{service:?}");
    assert!(!stock.can_spend() && stock.missing().len() == 1, "{stock:?}");
    assert!(admin.can_spend() && admin.beyond_selling().contains(&"offchain:write"), "{admin:?}");
}

#[tokio::test]
#[ignore = "needs a real LND and one that pays it"]
async fn real_a_payment_arrives_on_the_stream_and_again_in_a_replay() {
    let node = real_node_with("LND_MACAROON");
    let mut settled = node.subscribe_settled(0);
    assert!(timeout(Duration::from_secs(2), settled.next()).await.is_err(), "silence until something settles");
    let new = fresh();
    let added = node.add_invoice(&new).await.unwrap();

    pay(&added.payment_request).await;

    let event = timeout(Duration::from_secs(20), settled.next()).await.unwrap().unwrap().unwrap();
    let Settled::Paid { invoice, .. } = event else { panic!("{event:?}") };
    let payment_hash = new.preimage.payment_hash();
    assert_eq!(node.lookup_invoice(payment_hash).await, Ok(Some(invoice.clone())), "the event says as much");
    let InvoiceState::Settled(settlement) = invoice.state else { panic!("{invoice:?}") };
    assert_eq!(settlement.amount, new.amount);
    assert_eq!(node.cancel_invoice(payment_hash).await, Ok(Cancelled::AlreadySettled));

    let second = node.add_invoice(&fresh()).await.unwrap();
    pay(&second.payment_request).await;
    let following = timeout(Duration::from_secs(20), settled.next()).await.unwrap().unwrap().unwrap();
    assert!(following.settle_index() > settlement.settle_index, "the stream goes on after its first event");

    let replayed = node.subscribe_settled(settlement.settle_index).next().await;
    assert_eq!(replayed, Some(Ok(following)));
}

/// Pays by the payer's node, of which the client under test knows nothing.
async fn pay(payment_request: &str) {
    use wiretoll::lnd_proto::routerrpc::{SendPaymentRequest, router_client::RouterClient};
    let channel = Endpoint::from_shared(var("PAYER_LND_ADDR"))
        .unwrap()
        .tls_config_with_verifier(ClientTlsConfig::new(), Arc::new(Gullible))
        .unwrap()
        .connect_lazy();
    let mut request = Request::new(SendPaymentRequest {
        payment_request: payment_request.into(),
        timeout_seconds: 10,
        fee_limit_msat: 1_000,
        no_inflight_updates: true,
        ..SendPaymentRequest::default()
    });
    let macaroon = hex::encode(std::fs::read(var("PAYER_LND_MACAROON")).unwrap());
    request.metadata_mut().insert("macaroon", macaroon.parse().unwrap());
    let mut updates = RouterClient::new(channel).send_payment_v2(request).await.unwrap().into_inner();
    let last = updates.message().await.unwrap().unwrap();
    assert_eq!(last.status(), lnrpc::payment::PaymentStatus::Succeeded);
}

/// Trusts any payer: it is not what these tests are about.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
