//! What fuzzing drives: one function for each parser of bytes that come from outside.
//!
//! Each asserts what must hold of whatever the parser says, and returns whether it accepted the bytes. The fuzzer calls
//! them with inputs that it makes up (`scripts/fuzz.sh`); `tests/fuzz_corpus.rs` calls them with those in
//! `fuzz/corpus`, in every test run.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::LazyLock;

use ipnet::IpNet;
use prost::Message;
use wiretoll::app::place_order::Customer;
use wiretoll::config::{Config, EgressRules};
use wiretoll::domain::account::{ApiKey, KeyName, Scopes};
use wiretoll::domain::bolt11::{Expected, Invoice};
use wiretoll::domain::desired::{Change, Report, Update};
use wiretoll::domain::instance_key::Keyring;
use wiretoll::domain::keys::{PresharedKey, PublicKey};
use wiretoll::domain::lightning::{Network, NodeId, PaymentHash};
use wiretoll::domain::money::Msats;
use wiretoll::domain::nip98::{Asked, BodyHash, SignedRequest};
use wiretoll::domain::node_address::{NodeAddress, NodeSocket};
use wiretoll::domain::note::Note;
use wiretoll::domain::rate::Exchange;
use wiretoll::domain::referral::ReferralCode;
use wiretoll::domain::server::ServerId;
use wiretoll::domain::time::Timestamp;
use wiretoll::domain::webhook::{EventFilter, Owner, WebhookUrl};
use wiretoll::egress::{Egress, Host, Purpose, Target as UrlTarget};
use wiretoll::http::account::adopt::AdoptRequest;
use wiretoll::http::account::api_keys::NewKeyRequest;
use wiretoll::http::account::nostr_keys::NewNostrKeyRequest;
use wiretoll::http::account::webhooks::{ChangeWebhookRequest, NewWebhookRequest};
use wiretoll::http::body::{self, MAX_STRING};
use wiretoll::http::client_address::{AddressPrefix, client_address};
use wiretoll::http::referrals::CreateCodeRequest;
use wiretoll::http::subscriptions::bandwidth_reset::BandwidthResetRequest;
use wiretoll::http::subscriptions::claim::ClaimRequest;
use wiretoll::http::subscriptions::create::CreateRequest;
use wiretoll::http::subscriptions::renew::RenewRequest;
use wiretoll::http::subscriptions::status::StatusRequest;
use wiretoll::http::tools::node_lookup::NodeLookupRequest;
use wiretoll::http::tools::ping::PingRequest;
use wiretoll::lnd::macaroon::Macaroon;
use wiretoll::lnd::{GraphNode, InvoicePage, InvoiceState, NodeInfo, NodeInvoice, Settled};
use wiretoll::lnd_proto::lnrpc;
use wiretoll::netfilter::Page;
use wiretoll::rates;
use wiretoll::stripe::{About, Event, TOLERANCE, verify};
use wiretoll::wireguard::interface::Answer;

/// A parser under test: whether it accepted the bytes.
pub type Target = fn(&[u8]) -> bool;

/// Every target by the name of its program and of its corpus.
pub const TARGETS: [(&str, Target); 17] = [
    ("account_words", account_words),
    ("agent_messages", agent_messages),
    ("bolt11", bolt11),
    ("configuration", configuration),
    ("forwarded_for", forwarded_for),
    ("json_bodies", json_bodies),
    ("keys", keys),
    ("lnd_answers", lnd_answers),
    ("macaroon", macaroon),
    ("netfilter_lists", netfilter_lists),
    ("node_sockets", node_sockets),
    ("nostr_event", nostr_event),
    ("prices", prices),
    ("stripe_events", stripe_events),
    ("stripe_signature", stripe_signature),
    ("urls", urls),
    ("wireguard_daemon", wireguard_daemon),
];

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
/// No message repeats more of what it refuses than one string within the bounds, escaped.
const LONGEST_MESSAGE: usize = 8 * MAX_STRING;

/// The first byte chooses who speaks; the rest is what an agent reports, or what it is told. It survives its own JSON; a
/// snapshot that is taken for whole is not one any more without its last peer.
pub fn agent_messages(data: &[u8]) -> bool {
    let Some((who, text)) = data.split_first() else { return false };
    if who % 2 == 0 {
        let Ok(report) = serde_json::from_slice::<Report>(text) else { return false };
        assert_eq!(serde_json::from_slice::<Report>(&serde_json::to_vec(&report).unwrap()).unwrap(), report);
        return true;
    }
    let Ok(update) = serde_json::from_slice::<Update>(text) else { return false };
    assert_eq!(serde_json::from_slice::<Update>(&serde_json::to_vec(&update).unwrap()).unwrap(), update);
    let Change::Snapshot(snapshot) = update.change else { return true };
    let mut cut = snapshot.clone();
    if snapshot.checked().is_err() {
        return false;
    }
    if cut.desired.peers.pop_last().is_some() {
        assert!(cut.checked().is_err());
    }
    true
}

/// An invoice is what its text says, and passes for nothing else.
pub fn bolt11(data: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(data) else { return false };
    let Ok(invoice) = Invoice::parse(text) else { return false };
    assert_eq!(invoice.text(), text);
    let Some(amount) = invoice.amount() else { return true };
    let right = |network| Expected { payment_hash: invoice.payment_hash(), amount, network, payee: invoice.payee() };
    let networks = [Network::Mainnet, Network::Testnet, Network::Signet, Network::Regtest, Network::Simnet];
    let at = Timestamp::EPOCH;
    let fitting: Vec<_> = networks.into_iter().filter(|n| invoice.clone().check(&right(*n), at).is_ok()).collect();
    let [network] = fitting[..] else {
        assert!(invoice.expires_at() <= at, "{fitting:?}");
        return true;
    };
    let other_hash = Expected { payment_hash: flipped(invoice.payment_hash()), ..right(network) };
    let other_amount = Expected { amount: Msats::new(amount.get() ^ 1), ..right(network) };
    let other_payee = Expected { payee: NodeId::from_bytes([2; 33]), ..right(network) };
    for wrong in [other_hash, other_amount, other_payee] {
        assert!(invoice.clone().check(&wrong, at).is_err(), "{wrong:?}");
    }
    assert!(invoice.clone().check(&right(network), invoice.expires_at()).is_err());
    true
}

fn flipped(hash: PaymentHash) -> PaymentHash {
    let mut bytes = *hash.as_bytes();
    bytes[31] ^= 1;
    PaymentHash::from_bytes(bytes)
}

/// A configuration is whole, or each of its mistakes is named with a remedy.
pub fn configuration(data: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(data) else { return false };
    match Config::parse(text, Path::new("folder"), [], NOW) {
        Ok(config) => {
            assert!(!config.service.name.is_empty());
            assert!(config.servers.iter().all(|server| server.pool.capacity() > 0));
            true
        }
        Err(problems) => {
            assert!(!problems.0.is_empty());
            for problem in &problems.0 {
                assert!(!problem.key.is_empty() && !problem.what.is_empty() && !problem.remedy.is_empty(), "{problem}");
            }
            false
        }
    }
}

/// The first byte is whether the peer is a trusted proxy; the rest are header lines.
pub fn forwarded_for(data: &[u8]) -> bool {
    let Some((trusted, lines)) = data.split_first() else { return false };
    let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let proxies: &[IpNet] = if trusted % 2 == 1 { &["10.0.0.0/8".parse().unwrap()] } else { &[] };
    let lines: Vec<_> = lines.split(|byte| *byte == b'\n').map(|line| str::from_utf8(line).ok()).collect();
    let client = client_address(peer, lines.iter().copied(), proxies);
    assert_eq!(client, client.to_canonical());
    let net: IpNet = AddressPrefix::of(client).to_string().parse().unwrap();
    assert!(net.contains(&client));
    assert_eq!(net.prefix_len(), if client.is_ipv4() { 24 } else { 56 });
    if client != peer {
        assert!(!proxies.is_empty(), "a stranger's header was believed");
    }
    client != peer
}

/// The first byte chooses the endpoint; the rest is the body.
pub fn json_bodies(data: &[u8]) -> bool {
    let Some((endpoint, body)) = data.split_first() else { return false };
    let outcome = match endpoint % 13 {
        0 => body::parse::<CreateRequest>(body).and_then(|wanted| wanted.into_order(customer()).map(drop)),
        1 => body::parse::<ClaimRequest>(body).and_then(|shown| shown.into_claim(None).map(drop)),
        2 => body::parse::<RenewRequest>(body).map(drop),
        3 => body::parse::<StatusRequest>(body).map(drop),
        4 => body::parse::<NodeLookupRequest>(body).and_then(|asked| asked.node().map(drop)),
        5 => body::parse::<PingRequest>(body).and_then(|asked| asked.socket().map(drop)),
        6 => body::parse::<AdoptRequest>(body).and_then(|shown| shown.into_proof().map(drop)),
        7 => body::parse::<NewKeyRequest>(body).map(drop),
        8 => body::parse::<NewNostrKeyRequest>(body).map(drop),
        9 => body::parse::<CreateCodeRequest>(body).map(drop),
        10 => body::parse::<BandwidthResetRequest>(body).map(drop),
        11 => body::parse::<NewWebhookRequest>(body).map(drop),
        _ => body::parse::<ChangeWebhookRequest>(body).map(drop),
    };
    let Err(refusal) = outcome else { return true };
    let message = refusal.to_string();
    assert!(!message.is_empty() && message.len() < LONGEST_MESSAGE, "{message}");
    false
}

fn customer() -> Customer {
    Customer { address_prefix: "192.0.2.0/24".into(), account: None, idempotency_key: None, callback: None }
}

/// What owners write of themselves is short and on one line; what has one spelling is accepted as the same again.
pub fn account_words(data: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(data) else { return false };
    let key = ApiKey::parse(text).map(|key| assert_eq!(key.expose(), text));
    let scopes = Scopes::parse(text).map(|scopes| assert_eq!(Scopes::parse(&scopes.to_string()), Ok(scopes)));
    let code = ReferralCode::parse(text).map(|code| {
        assert!(code.as_str().bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_lowercase()));
        assert_eq!(ReferralCode::parse(code.as_str()), Ok(code));
    });
    let name = KeyName::parse(text).map(|name| one_line(name.as_str(), 100));
    let note = Note::parse(text).map(|note| one_line(note.as_str(), 500));
    let url = WebhookUrl::parse(text).map(|url| assert!(text.contains(url.host()) && !url.host().is_empty()));
    let patterns: Vec<_> = text.split(',').map(str::to_owned).collect();
    let filter = EventFilter::parse(&patterns, Owner::Operator).map(|filter| {
        assert_eq!(EventFilter::from_stored(&filter.to_string()), filter);
    });
    [key.is_ok(), scopes.is_ok(), code.is_ok(), name.is_ok(), note.is_ok(), url.is_ok(), filter.is_ok()].contains(&true)
}

fn one_line(text: &str, longest: usize) {
    assert!((1..=longest).contains(&text.chars().count()) && !text.contains(char::is_control), "{text:?}");
}

/// The body of an event: a page is our order's only where it names it twice, and every number becomes a time.
pub fn stripe_events(data: &[u8]) -> bool {
    let Ok(event) = Event::parse(data) else { return false };
    if let About::Session(session) = &event.about {
        assert!(event.event_type.starts_with("checkout.session."));
        if let Some(order) = session.order() {
            let named = session.client_reference_id.as_deref().and_then(|id| id.parse().ok());
            assert_eq!(named, Some(order));
        }
        // A number that no time can have stays at the edge, on its own side.
        assert_eq!(session.expires_at < 0, session.expires_at() < Timestamp::EPOCH);
    }
    assert_eq!(matches!(event.about, About::Refund(_)), event.event_type == "charge.refunded");
    assert_eq!(
        matches!(event.about, About::Dispute(_)),
        event.event_type.starts_with("charge.dispute.") && is_end(&event)
    );
    true
}

fn is_end(event: &Event) -> bool {
    ["charge.dispute.created", "charge.dispute.closed"].contains(&event.event_type.as_str())
}

/// The first line is `Stripe-Signature`, the rest is the body: what is believed was made with the secret, for these
/// bytes and about now.
pub fn stripe_signature(data: &[u8]) -> bool {
    const SECRET: &str = "whsec_fuzz";
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let (Some(line), Some(body)) = (lines.next(), lines.next()) else { return false };
    let Ok(header) = str::from_utf8(line) else { return false };
    if let Err(refusal) = verify(header, body, &[SECRET], NOW) {
        assert!(!refusal.to_string().is_empty());
        return false;
    }
    let longer = [body, b" "].concat();
    assert!(verify(header, &longer, &[SECRET], NOW).is_err());
    assert!(verify(header, body, &["whsec_another"], NOW).is_err() && verify(header, body, &[], NOW).is_err());
    assert_eq!(verify(header, body, &["whsec_another", SECRET], NOW), Ok(()));
    assert!(verify(header, body, &[SECRET], NOW.plus_millis(2 * TOLERANCE + 1)).is_err());
    true
}

/// What is accepted has one spelling, which is accepted as the same again.
pub fn keys(data: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(data) else { return false };
    let public = PublicKey::parse(text).map(|key| assert_eq!(PublicKey::parse(&key.to_string()), Ok(key)));
    let preshared = PresharedKey::parse(text).map(|key| assert!(PresharedKey::parse(&key.expose()) == Ok(key)));
    let hash = PaymentHash::parse(text).map(|hash| assert_eq!(PaymentHash::parse(&hash.to_string()), Ok(hash)));
    let server = ServerId::parse(text).map(|id| assert_eq!(id.as_str(), text));
    let keyring = Keyring::parse(text).map(|keyring| assert!(keyring.get(keyring.current()).is_ok()));
    [public.is_ok(), preshared.is_ok(), hash.is_ok(), server.is_ok(), keyring.is_ok()].contains(&true)
}

/// The first byte chooses the message; the rest is its protobuf, as it may come from the node.
pub fn lnd_answers(data: &[u8]) -> bool {
    let Some((message, bytes)) = data.split_first() else { return false };
    match message % 5 {
        0 => lnrpc::Invoice::decode(bytes).is_ok_and(|message| invoice(&message)),
        1 => lnrpc::Invoice::decode(bytes).is_ok_and(settled),
        2 => lnrpc::ListInvoiceResponse::decode(bytes).is_ok_and(page),
        3 => lnrpc::GetInfoResponse::decode(bytes).is_ok_and(|info| NodeInfo::parse(info).is_ok()),
        _ => lnrpc::NodeInfo::decode(bytes).is_ok_and(graph_node),
    }
}

/// What strangers say of themselves is short, and on one line.
fn graph_node(message: lnrpc::NodeInfo) -> bool {
    let Ok(node) = GraphNode::parse(message) else { return false };
    assert!(node.alias.as_str().len() <= 32 && !node.alias.as_str().chars().any(char::is_control));
    for address in &node.addresses {
        assert_eq!(NodeAddress::parse(&address.to_string()).as_ref(), Ok(address));
    }
    true
}

fn invoice(message: &lnrpc::Invoice) -> bool {
    let Ok(invoice) = NodeInvoice::parse(message.clone()) else { return false };
    assert_eq!(invoice.payment_hash.as_bytes()[..], message.r_hash[..]);
    assert_eq!(i64::try_from(invoice.amount.get()), Ok(message.value_msat));
    if let InvoiceState::Settled(settlement) = invoice.state {
        assert!(settlement.amount.get() > 0 && settlement.settle_index > 0 && settlement.settled_at > Timestamp::EPOCH);
    }
    true
}

fn settled(message: lnrpc::Invoice) -> bool {
    let (settle_index, named) = (message.settle_index, message.r_hash.len() == 32);
    let Ok(Some(settled)) = Settled::parse(message) else { return false };
    assert_eq!(settled.settle_index(), settle_index);
    assert!(settle_index > 0);
    assert_eq!(settled.payment_hash().is_some(), named);
    true
}

/// No page is asked for twice, and nothing of it is left out unseen.
fn page(message: lnrpc::ListInvoiceResponse) -> bool {
    const AFTER: u64 = 7;
    let (total, last) = (message.invoices.len(), message.last_index_offset);
    let Ok(page) = InvoicePage::parse(message, AFTER) else { return false };
    assert_eq!(page.invoices.len() + page.left_out, total);
    assert!(total == 0 || (page.last_index == last && last > AFTER));
    true
}

/// A macaroon permits the same in every spelling, and one that is fit for us cannot spend.
pub fn macaroon(data: &[u8]) -> bool {
    let Ok(permissions) = Macaroon::parse(data).and_then(|macaroon| macaroon.permissions()) else { return false };
    if data.first() == Some(&2) {
        let spelt = Macaroon::parse(hex::encode(data).as_bytes()).unwrap();
        assert_eq!(spelt.permissions().unwrap(), permissions);
    }
    assert_eq!(permissions.can_spend(), !permissions.beyond_selling().is_empty());
    true
}

/// A message of the kernel's about a set: no more is read out of it than there is in it.
pub fn netfilter_lists(data: &[u8]) -> bool {
    let Ok(Page(elements)) = Page::parse(data) else { return false };
    let read: usize = elements.iter().map(|element| element.key.len() + element.data.len()).sum();
    assert!(read <= data.len());
    !elements.is_empty()
}

/// A node's key and address are written back as they were read, and begin no second line.
pub fn node_sockets(data: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(data) else { return false };
    let Ok(socket) = NodeSocket::parse(text) else { return false };
    let spelt = format!("{}@{}", socket.id, socket.address);
    assert!(!spelt.contains(|c: char| c.is_control() || c.is_whitespace()), "{spelt:?}");
    assert_eq!(NodeSocket::parse(&spelt), Ok(socket));
    true
}

/// The first byte chooses the exchange; the rest is the body of its answer.
pub fn prices(data: &[u8]) -> bool {
    let Some((exchange, body)) = data.split_first() else { return false };
    let Some(exchange) = Exchange::ALL.get(usize::from(exchange % 3)) else { return false };
    let Ok(said) = rates::read(*exchange, body) else { return false };
    assert!(said.price.get() > 0);
    true
}

/// A URL leads where its parts say, nowhere inside, and without TLS nowhere at all.
pub fn urls(data: &[u8]) -> bool {
    static CLOSED: LazyLock<Egress> = LazyLock::new(|| Egress::new(&EgressRules::default()).unwrap());
    let Ok(text) = str::from_utf8(data) else { return false };
    if let Ok(host) = Host::parse(text) {
        look_at(&host);
    }
    let Ok(target) = UrlTarget::parse(text) else {
        assert!(CLOSED.check(Purpose::Webhook, text).is_err());
        return false;
    };
    look_at(&target.host);
    let scheme = if target.tls { "https" } else { "http" };
    assert_eq!(UrlTarget::parse(&format!("{scheme}://{}{}", target.authority, target.path)).as_ref(), Ok(&target));
    let accepted = CLOSED.check(Purpose::Webhook, text).is_ok();
    if accepted {
        assert!(target.tls && !matches!(target.host, Host::Onion(_)));
    }
    accepted
}

/// A name is no spelling of an address.
fn look_at(host: &Host) {
    match host {
        Host::Address(_) => {}
        Host::Name(name) | Host::Onion(name) => {
            assert!(name.parse::<IpAddr>().is_err() && (1..=253).contains(&name.len()));
            assert!(name.bytes().all(|b| b.is_ascii_graphic() && !b"/\\@:?#[]".contains(&b)), "{name}");
        }
    }
}

/// The base64 of a signed event as it follows `Nostr`: one that is good is good for one request.
pub fn nostr_event(data: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(data) else { return false };
    let Ok(signed) = SignedRequest::parse(text) else { return false };
    let origins = ["https://shop.example".to_owned()];
    let asked = Asked { method: "GET", origins: &origins, target: "/api/v1/account", body: None, now: NOW };
    if let Err(refusal) = signed.verify(&asked) {
        assert!(!refusal.to_string().is_empty());
        return false;
    }
    let other_time = Asked { now: NOW.plus_millis(10 * 60_000), ..asked };
    let other_method = Asked { method: "DELETE", ..asked };
    let other_target = Asked { target: "/api/v1/account?x", ..asked };
    let other_body = Asked { body: Some(BodyHash::of(b"{}")), ..asked };
    for other in [other_time, other_method, other_target, other_body] {
        assert!(signed.verify(&other).is_err(), "{other:?}");
    }
    true
}

/// What a WireGuard daemon says of its interface: nobody's handshake is one of 1970, and each peer has a line.
pub fn wireguard_daemon(data: &[u8]) -> bool {
    let mut answer = Answer::default();
    if !answer.read(data).is_ok_and(|is_whole| is_whole) {
        return false;
    }
    let Ok(device) = answer.finish("list the peers") else { return false };
    assert!(device.peers.len() <= data.split(|byte| *byte == b'\n').count());
    for peer in &device.peers {
        assert!(peer.last_handshake.is_none_or(|at| at >= Timestamp::from_seconds(1_000_000_000)), "{peer:?}");
    }
    true
}
