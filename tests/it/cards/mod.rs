//! Cards: a shop with an account at Stripe, which stands at the wire.

mod adopting;
mod buying;
mod events;
#[expect(dead_code, reason = "tests/kill asks it for more")]
#[path = "../../at_the_wire/stripe.rs"]
mod fake;
mod giving_back;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;
use wiretoll::app::create_api_key::{KeyOwner, NewApiKey, create_api_key};
use wiretoll::app::operator::By;
use wiretoll::config::{CardMode, Config, SecretText, StripeSettings, TextSource};
use wiretoll::domain::account::{KeyName, Scopes};
use wiretoll::domain::event::Subject;
use wiretoll::domain::money::{Price, Rate, Sats, UsdCents};
use wiretoll::domain::order::Order;
use wiretoll::domain::payment::Payment;
use wiretoll::domain::plan::{Plan, Plans};
use wiretoll::domain::subscription::Subscription;

use crate::database::{connect, run};
use crate::shop::{API, On, Reply, Shop};
use fake::{FakeStripe, KEY, SECRET, event, paid, signature};

/// A shop that takes cards, and the Stripe that it asks.
struct Cards {
    shop: Shop,
    stripe: FakeStripe,
    client: reqwest::Client,
}

fn settings(stripe: &FakeStripe) -> StripeSettings {
    StripeSettings {
        key: TextSource::Text(SecretText::new(KEY)),
        webhook_secret: TextSource::Text(SecretText::new(format!("{SECRET} whsec_older"))),
        mode: CardMode::Test,
        api_base: format!("http://{}", stripe.address),
        api_version: "2025-09-30.clover".into(),
        success_url: "https://vpn.example.net/paid".into(),
        cancel_url: "https://vpn.example.net/cancelled".into(),
        session_lifetime: Duration::from_mins(35),
    }
}

/// One month in dollars, three in sats.
fn priced(config: &mut Config) {
    let plan = |months, price| Plan { months, price };
    let usd = plan(1, Price::Usd(UsdCents::new(300)));
    config.plans = Plans::new(vec![usd, plan(3, Price::Sats(Sats::new(12_825)))]).unwrap();
    // Well before the node's clock, which was read before: on a busy machine that is a while ago.
    let as_of = wiretoll::clock::Clock::System.now().plus_millis(-3_600_000);
    let rate = Rate { cents_per_btc: 10_000_000, source: "pinned".into(), as_of };
    let max_age = Duration::from_hours(24 * 365);
    config.rate = Some(wiretoll::config::RateSource::Pinned(wiretoll::config::PinnedRate { rate, max_age }));
}

impl Cards {
    async fn open(on: On) -> Self {
        Self::open_with(on, |_| {}).await
    }

    async fn open_with(on: On, change: impl FnOnce(&mut Config)) -> Self {
        let stripe = FakeStripe::start();
        let shop = Shop::open_with(on, |config| {
            priced(config);
            config.egress.allow = vec!["127.0.0.0/8".parse().unwrap()];
            config.stripe = Some(settings(&stripe));
            change(config);
        })
        .await;
        // What it asks at its start must not find what a test does afterwards.
        shop.until("it has looked at Stripe", || async { stripe.was_searched() }).await;
        Self { shop, stripe, client: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    async fn create(&self, body: Value) -> Reply {
        let mut whole = json!({ "serverId": "eu-de", "duration": 1, "paymentMethod": "card" });
        whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        self.shop.create(whole).await
    }

    /// An order's id and claim token.
    async fn order(&self) -> (String, String) {
        let reply = self.create(json!({})).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let text = |key: &str| reply.body[key].as_str().unwrap().to_owned();
        (text("orderId"), text("claimToken"))
    }

    /// An order that is paid, with the event that told of it.
    async fn buy(&self) -> (String, Value) {
        let (order, _) = self.order().await;
        let completed = self.completed("evt_1", &order);
        assert_eq!(self.send(&completed).await.0, 200);
        assert!(self.stored(&order).await.is_paid());
        (order, completed)
    }

    /// The event of somebody's payment on the page of an order. It alone tells of it: a look-up that is under way must not
    /// be there first.
    fn completed(&self, id: &str, order: &str) -> Value {
        let paid = paid(&self.stripe.session_of(order));
        event(id, "checkout.session.completed", self.shop.clock.now(), &paid)
    }

    /// Somebody pays on the page of an order, and no event comes.
    fn paid_unheard(&self, order: &str) {
        self.stripe.pay(self.stripe.session_of(order)["id"].as_str().unwrap());
    }

    /// As a crash leaves an order whose page was made and not stored.
    async fn forget_page(&self, order: &str) {
        let forget = format!(
            "UPDATE orders SET state = 'creating', invoice = NULL, invoice_expires_at = NULL, checkout_session = NULL \
             WHERE id = '{order}'"
        );
        run(&mut connect(&self.shop).await, &forget).await;
    }

    /// Sends an event as Stripe does; the status and the body of the answer.
    async fn send(&self, event: &Value) -> (u16, Value) {
        let body = serde_json::to_vec(event).unwrap();
        let header = signature(SECRET, &body, self.shop.clock.now());
        self.send_raw(body, &header).await
    }

    async fn send_raw(&self, body: Vec<u8>, header: &str) -> (u16, Value) {
        let request = self.client.post(self.shop.url("/v1/webhooks/stripe")).header("Stripe-Signature", header);
        let response = request.body(body).send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }

    async fn stored(&self, order: &str) -> Order {
        self.shop.app().store.order(order.parse().unwrap()).await.unwrap().unwrap()
    }

    async fn payments(&self, order: &str) -> Vec<Payment> {
        self.shop.app().store.payments_of(order.parse().unwrap()).await.unwrap()
    }

    /// The outcome of the only payment of an order.
    async fn outcome(&self, order: &str) -> &'static str {
        let payments = self.payments(order).await;
        assert_eq!(payments.len(), 1, "{payments:?}");
        payments[0].outcome.name()
    }

    async fn subscription(&self, order: &str) -> Subscription {
        let id = self.stored(order).await.subscription_id.unwrap();
        self.shop.app().store.subscription(id).await.unwrap().unwrap()
    }

    /// The credential of a new account.
    async fn bearer(&self) -> String {
        let (name, scopes) =
            (KeyName::parse("a test's").unwrap(), Scopes::parse("orders subscriptions referrals").unwrap());
        let new = NewApiKey { account: KeyOwner::NewAccount, name, scopes };
        let made = create_api_key(self.shop.app(), new, By::Operator(None)).await.unwrap();
        format!("Bearer {}", made.key.expose())
    }

    async fn events_of_payment(&self, payment: Uuid) -> Vec<String> {
        let events = self.shop.app().store.events_of(Subject::Payment(payment)).await.unwrap();
        events.into_iter().map(|event| event.event_type).collect()
    }

    async fn check(&self, order: &str) -> Value {
        let reply = self.shop.get(&format!("{API}/subscription/{order}")).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body
    }
}

/// Secrets from files are read anew at every use.
fn from_files(config: &mut Config, folder: &std::path::Path) -> [PathBuf; 2] {
    let files = ["key", "secret"].map(|name| folder.join(name));
    let stripe = config.stripe.as_mut().unwrap();
    stripe.key = TextSource::File(files[0].clone());
    stripe.webhook_secret = TextSource::File(files[1].clone());
    files
}
