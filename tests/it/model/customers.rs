//! What customers do: create, repeat, renew, pay and claim.

use wiretoll::app::bandwidth::month_of;
use wiretoll::app::claim::{Claim, claim};
use wiretoll::app::place_order::{Customer, PlaceOrder, PlacedOrder, place_order};
use wiretoll::app::renew::renew;
use wiretoll::app::reset_bandwidth::reset_bandwidth;
use wiretoll::app::{Error, Unavailable};
use wiretoll::domain::keys::PublicKey;
use wiretoll::domain::order::{ClaimBy, PayBy, PublicName};
use wiretoll::domain::server::ServerId;
use wiretoll::lnd::InvoiceState;
use wiretoll::lnd_simulator::payer::PaymentOrder;
use wiretoll::store::IdempotencyKey;
use wiretoll::wireguard::config_text::Options;

use super::books::{Buys, GB, Order};
use super::node::fact;
use super::{Made, Story};

const RESET: u64 = 1_500_000;
const PRICES: [(u32, u64); 2] = [(1, 4_500_000), (3, 12_825_000)];

impl Story<'_> {
    pub async fn create(&mut self, months: u32, key: Option<PublicKey>) {
        let customer = self.customer();
        let idempotency_key = customer.idempotency_key.clone().unwrap();
        let server_id = ServerId::parse("eu-de").unwrap();
        let (referral_code, claim_by, pay_by) = (None, ClaimBy::PaymentHash, PayBy::Lightning);
        let request = PlaceOrder { server_id, months, public_key: key, referral_code, claim_by, pay_by, customer };
        let taken = self.books.create(self.made.len(), Order::new(Buys::Months(months), key, self.now()));
        let placed = place_order(&self.app, request.clone()).await;
        self.placed(taken, price_msat(months), idempotency_key, placed, Some(request)).await;
    }

    pub async fn renew(&mut self, months: u32, key: PublicKey) {
        let (customer, owner) = (self.customer(), self.books.owner(key));
        let renewed = renew(&self.app, key, months, PayBy::Lightning, &customer).await;
        let Some(owner) = owner else {
            assert!(matches!(renewed, Err(Error::NotFound(_))), "{renewed:?}");
            return;
        };
        let taken = self.books.create(self.made.len(), Order::new(Buys::More(owner, months), Some(key), self.now()));
        self.placed(taken, price_msat(months), customer.idempotency_key.unwrap(), renewed.map(|it| it.placed), None)
            .await;
    }

    pub async fn reset(&mut self, key: PublicKey, used_gb: i64) {
        let (customer, owner, now) = (self.customer(), self.books.owner(key), self.now());
        if let Some(owner) = owner {
            self.use_up(owner, used_gb * GB).await;
        }
        let ordered = reset_bandwidth(&self.app, key, &customer).await;
        let expected = owner.map_or(Err("not found"), |owner| self.books.may_reset(owner, now).map(|()| owner));
        match (expected, ordered) {
            (Err(expected), Err(error)) => assert_eq!(reason(&error), expected, "{error}"),
            (Err(expected), Ok(ordered)) => panic!("{expected}, but it was {ordered:?}"),
            (Ok(owner), ordered) => {
                let taken = self.books.create(self.made.len(), Order::new(Buys::Reset(owner), Some(key), now));
                let key = customer.idempotency_key.unwrap();
                self.placed(taken, RESET, key, ordered.map(|it| it.placed), None).await;
            }
        }
    }

    /// As its server's agent would report it.
    async fn use_up(&mut self, number: usize, bytes: i64) {
        let month = month_of(self.now());
        let founder = self.made[self.books.subscriptions[number].founded_by].id;
        self.run(&format!(
            "INSERT INTO monthly_usage (subscription_id, month, bytes) SELECT id, '{month}', {bytes} FROM subscriptions \
             WHERE founded_by = '{founder}' ON CONFLICT (subscription_id, month) DO UPDATE SET bytes = monthly_usage.bytes + {bytes}"
        ))
        .await;
        self.books.used.entry((number, month)).or_default().bytes += bytes;
    }

    pub fn customer(&self) -> Customer {
        let key = self.app.new_id().to_string();
        let (scope, fingerprint) = ("anonymous".to_owned(), "any".to_owned());
        let idempotency_key = Some(IdempotencyKey { scope, route: "create", key, fingerprint });
        Customer { address_prefix: "192.0.2.0".into(), account: None, idempotency_key, callback: None }
    }

    pub async fn placed(
        &mut self,
        taken: bool,
        price_msat: u64,
        idempotency_key: IdempotencyKey,
        placed: Result<PlacedOrder, Error>,
        request: Option<PlaceOrder>,
    ) {
        if !taken {
            assert!(matches!(placed, Err(Error::Unavailable(Unavailable::SoldOut(_)))), "{placed:?}");
            return;
        }
        assert_eq!(placed.is_ok(), self.node_is_up, "{placed:?}");
        let id = self.app.store.remembered(&idempotency_key).await.unwrap().unwrap().order_id;
        let order = self.app.store.order(id).await.unwrap().unwrap();
        let invoice = order.invoice().map(|invoice| invoice.text.clone());
        if self.node_is_up {
            self.books.orders.get_mut(&self.made.len()).unwrap().state = "pending";
        }
        self.made.push(Made { id, hash: order.payment_hash().unwrap(), invoice, price_msat, idempotency_key, request });
    }

    /// The same request once more, while its key is remembered.
    pub async fn repeat(&mut self, number: usize) {
        let Some(known) = self.books.orders.get_mut(&number) else { return };
        let made = &mut self.made[number];
        let fresh = self.shop.clock.now().since(known.created_at) < 20 * 3_600_000;
        let remembered = self.app.store.remembered(&made.idempotency_key).await.unwrap().is_some();
        let Some(request) = made.request.clone().filter(|_| fresh && remembered) else { return };
        if !["creating", "pending", "paid"].contains(&known.state) {
            return;
        }
        let placed = place_order(&self.app, request).await;
        if known.state == "creating" && !self.node_is_up {
            assert!(matches!(placed, Err(Error::Unavailable(Unavailable::NodeDown(_)))), "{placed:?}");
            return;
        }
        if known.state == "creating" {
            known.state = "pending";
        }
        let order = placed.unwrap().order;
        assert_eq!(order.id, made.id, "the same order");
        made.invoice = order.invoice().map(|invoice| invoice.text.clone());
    }

    pub async fn pay(&mut self, number: usize, more_msat: u64, told: bool) {
        let Some(invoice) = self.made[number].invoice.clone().filter(|_| self.node_is_up) else { return };
        let price = self.made[number].price_msat;
        let amount_msat = Some(price + more_msat);
        self.shop.node.pay(PaymentOrder { amount_msat, ..PaymentOrder::of(invoice) }).await.unwrap();
        let invoice = self.look_up(number).await.unwrap();
        if !matches!(invoice.state, InvoiceState::Settled(_)) {
            return;
        }
        let is_known = self.books.orders.contains_key(&number);
        if told || !is_known || self.untold.is_some_and(|untold| untold != number) {
            self.follow(&invoice).await;
            self.books.hear(number, &fact(&invoice), self.now());
        } else if self.books.orders[&number].state != "paid" {
            self.untold = Some(number);
        }
    }

    pub async fn claim(&mut self, number: usize, public_key: Option<PublicKey>) {
        // A claim may ask the node itself, but not twice within a while: so it is asked before.
        self.sweep().await;
        let payment_hash = self.made[number].hash;
        let claimed = claim(
            &self.app,
            &Claim {
                order: PublicName::PaymentHash(payment_hash),
                claim_token: None,
                owner: None,
                public_key,
                preshared_key: None,
                options: Options::default(),
            },
        )
        .await;
        match (self.books.claim(number, public_key, self.now()), claimed) {
            (Ok(Some(expected)), Ok(claimed)) => assert_eq!(claimed.config.public_key, expected),
            (Ok(None), Ok(claimed)) => {
                let subscription = self.books.orders[&number].subscription.unwrap();
                assert!(self.books.bind(subscription, claimed.config.public_key));
            }
            (Err(expected), Err(error)) => assert_eq!(reason(&error), expected, "{error}"),
            (expected, claimed) => panic!("expected {expected:?}, not {claimed:?}"),
        }
    }
}

fn price_msat(months: u32) -> u64 {
    PRICES.iter().find(|(plan, _)| *plan == months).unwrap().1
}

pub fn months_for(price_msat: u64) -> Option<u32> {
    PRICES.iter().find(|(_, price)| *price == price_msat).map(|(months, _)| *months)
}

fn reason(error: &Error) -> &'static str {
    match error {
        Error::NotFound(_) => "not found",
        Error::Invalid(_) => "invalid",
        Error::Unpaid => "unpaid",
        Error::TooManyResets { .. } => "too many",
        Error::Conflict(_) => "conflict",
        Error::Unavailable(Unavailable::RefundDue) => "refund due",
        other => panic!("{other}"),
    }
}
