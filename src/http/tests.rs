//! The application as a client meets it, without a socket. Its node is silent: what needs one is tested end to end.

mod orders;
mod surroundings;

use actix_web::dev::Service;
use actix_web::test::{TestRequest, init_service};
use actix_web::web;
use actix_web::web::ServiceConfig;
use tempfile::TempDir;
use tokio::sync::watch;

use super::{Shared, application};
use crate::app::ask_node::Questions;
use crate::app::changes::Changes;
use crate::app::live_rate::LastSaid;
use crate::app::look_up_node::NodeLookups;
use crate::app::node_health::NodeHealth;
use crate::app::ping_node::Pings;
use crate::app::server_keys::ServerKeys;
use crate::app::{App, Shop, settle};
use crate::clock::Clock;
use crate::config::{self, Database, Limits, LndTrust, MacaroonSource, Orders, Quota, SecretText};
use crate::domain::bolt11::Invoice;
use crate::domain::instance_key::{InstanceKey, KeyId, Keyring};
use crate::domain::keys::PrivateKey;
use crate::domain::lightning::{Network, PaymentHash};
use crate::domain::money::{Amount, Price, Quote, Sats};
use crate::domain::order::{ClaimBy, OrderKind, Purchase, Rail};
use crate::domain::payment::{Evidence, Provider};
use crate::domain::plan::{Plan, Plans};
use crate::domain::referral::Bonuses;
use crate::domain::server::{Pool, Server, ServerId};
use crate::domain::subscription::Holds;
use crate::domain::time::Timestamp;
use crate::egress::Egress;
use crate::lnd;
use crate::metrics::Metrics;
use crate::store::{NewOrder, Store};

/// BOLT 11's own example: 250,000 sats, one minute, of 1 June 2017.
const INVOICE: &str = "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh";
const HASH: &str = "0001020304050607080900010203040506070809000102030405060708090102";
const PRICE: Sats = Sats::new(250_000);
const ISSUED: Timestamp = Timestamp::from_seconds(1_496_314_658);

/// An instance on a database of its own.
struct Instance {
    shared: Shared,
    stop: watch::Sender<bool>,
    _folder: TempDir,
}

/// What a request was answered with.
struct Answer {
    status: u16,
    headers: actix_web::http::header::HeaderMap,
    body: String,
}

impl Instance {
    async fn start() -> Self {
        Self::with_limits(Limits::default()).await
    }

    async fn with_limits(limits: Limits) -> Self {
        let folder = TempDir::new().unwrap();
        let app = app(Store::open(&Database::Sqlite(folder.path().join("test.db"))).await.unwrap());
        let mut tx = app.store.begin().await.unwrap();
        tx.check_instance_keys(&app.keyring, ISSUED).await.unwrap();
        tx.sync_server(&app.shop.servers[0], ISSUED).await.unwrap();
        tx.commit().await.unwrap();
        let (stop, stopping) = watch::channel(false);
        let service = config::Service {
            name: "wiretoll".into(),
            listen: ([127, 0, 0, 1], 0).into(),
            trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
            origins: Vec::new(),
            security_contact: None,
        };
        let shared = Shared::new(app, &limits, &service, stopping);
        Self { shared, stop, _folder: folder }
    }

    /// An order whose invoice is [`INVOICE`].
    async fn order(&self) {
        let app = &self.shared.app;
        let id = app.new_id();
        let new = NewOrder {
            id,
            key_id: app.keyring.current(),
            purchase: Purchase {
                kind: OrderKind::New { months: 1 },
                server_id: app.shop.servers[0].id.clone(),
                public_key: None,
                claim_by: ClaimBy::PaymentHash,
                referral_code: None,
            },
            rail: Rail::Lightning {
                payment_hash: PaymentHash::parse(HASH).unwrap(),
                quote: Quote { amount: PRICE, usd: None, rate: None },
            },
            origin: "origin".into(),
            account: None,
            created_at: ISSUED,
            callback: None,
        };
        let mut tx = app.store.begin().await.unwrap();
        tx.insert_order(&new).await.unwrap();
        assert!(tx.promise_slot(&new.purchase.server_id).await.unwrap());
        tx.reserve_slot(&new.purchase.server_id, id, app.new_id(), ISSUED).await.unwrap();
        tx.mark_pending(id, &Invoice::parse(INVOICE).unwrap(), 1).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn pay(&self) {
        let order = self.shared.app.store.order_by_payment_hash(PaymentHash::parse(HASH).unwrap()).await.unwrap();
        let evidence = Evidence {
            provider: Provider::Lightning,
            external_id: HASH.into(),
            amount: Amount::Msats(PRICE.to_msats()),
            settled_at: ISSUED,
        };
        settle::settle(&self.shared.app, order.unwrap().id, &evidence, None).await.unwrap();
    }

    /// Asks the whole application, with a route more that panics.
    async fn send(&self, request: TestRequest) -> Answer {
        let request = request.peer_addr("127.0.0.1:4711".parse().unwrap()).to_request();
        let service = init_service(application(self.shared.clone(), with_panic)).await;
        match service.call(request).await {
            Ok(response) => Answer::read(response.into_parts().1.map_into_boxed_body()).await,
            // As actix's dispatcher does it.
            Err(error) => Answer::read(error.error_response()).await,
        }
    }

    async fn get(&self, uri: &str) -> Answer {
        self.send(TestRequest::get().uri(uri)).await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(TestRequest::post().uri(&format!("/api/public/v1{path}")).set_payload(body.to_owned())).await
    }
}

impl Answer {
    async fn read(response: actix_web::HttpResponse) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = actix_web::body::to_bytes(response.into_body()).await.unwrap();
        Self { status, headers, body: String::from_utf8_lossy(&body).into_owned() }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }

    /// The error's code; every error must be JSON with both members.
    fn error(&self) -> String {
        let body = self.json();
        assert!(self.header("content-type").starts_with("application/json"), "{}", self.body);
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{}", self.body);
        body["error"].as_str().unwrap().to_owned()
    }
}

fn with_panic(config: &mut ServiceConfig) {
    async fn panicking() -> &'static str {
        panic!("on purpose")
    }
    config.route("/panic", web::get().to(panicking));
}

fn app(store: Store) -> App {
    let server = Server {
        id: ServerId::parse("eu-de").unwrap(),
        country: "Germany".into(),
        city: "Nuremberg".into(),
        flag: "🇩🇪".into(),
        domain: "de2.example.net".into(),
        port: 51_820,
        public_key: Some(PrivateKey::from_random([3; 32]).public_key()),
        pool: Pool::new("10.9.0.0/28".parse().unwrap(), 35_000, None).unwrap(),
        network6: None,
        migrate_to: None,
    };
    let shop = Shop {
        name: "wiretoll".into(),
        network: Network::Mainnet,
        resets: None,
        bonuses: Bonuses::default(),
        plans: Plans::new(vec![Plan { months: 1, price: Price::Sats(PRICE) }]).unwrap(),
        servers: vec![server],
        rate: None,
        orders: Orders::default(),
        holds: Holds::default(),
        open_orders: 40,
    };
    App {
        store,
        node: silent_node(),
        stripe: None,
        egress: Egress::new(&config::EgressRules::default()).unwrap(),
        clock: Clock::manual(ISSUED),
        keyring: Keyring::new(vec![(KeyId(1), InstanceKey::from_bytes([1; 32]))]).unwrap().into(),
        shop: shop.into(),
        health: NodeHealth::default(),
        changes: Changes::default(),
        server_changes: Changes::default(),
        server_keys: ServerKeys::default(),
        questions_to_node: Questions::default(),
        questions_to_stripe: Questions::default(),
        node_lookups: NodeLookups::default(),
        pings: Pings::new(config::Tools::default()),
        metrics: Metrics::default(),
        last_said: LastSaid::default(),
    }
}

/// Nothing listens there; whoever asks is refused at once.
fn silent_node() -> lnd::Node {
    lnd::Node::new(&config::Lnd {
        address: "https://127.0.0.1:1".into(),
        trust: LndTrust::PublicCa,
        macaroon: MacaroonSource::Text(SecretText::new("00")),
        network: Network::Mainnet,
    })
}

/// So few requests that a test reaches the end of them.
fn tight() -> Limits {
    let two = Quota { burst: 2, per_minute: 1 };
    Limits {
        create: two,
        check: Quota { burst: 4, per_minute: 1 },
        check_per_hash: two,
        claim: two,
        status: two,
        api_key: two,
        nostr: two,
        new_account: two,
        webhook_calls: two,
        failed_authentication: two,
        ping: two,
        ping_in_all: two,
        node_lookup: two,
        node_lookup_in_all: two,
        open_orders: 1,
    }
}
