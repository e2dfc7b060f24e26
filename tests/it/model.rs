//! The whole service against the books of a careful clerk (`books`): random purchases, payments, clocks, restarts,
//! silent nodes, restored backups and the operator's own verbs.
//!
//! Nothing happens by itself here: each command is done to its end, and then database and books are compared.
//! `TEST_MODEL_CASES` sets how many stories are played, `TEST_MODEL_SEED` repeats those of a seed that was printed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::{Just, Strategy, any};
use proptest::sample::Index;
use proptest::test_runner::{Config as Runs, RngAlgorithm, TestRng, TestRunner};
use proptest::{option, prop_oneof};
use uuid::Uuid;
use wiretoll::app::adopt_payment::{Adoption, AmountCheck, Bought, adopt_payment};
use wiretoll::app::apply_invoice::apply_invoice;
use wiretoll::app::claim::{Claim, claim};
use wiretoll::app::place_order::{Customer, PlaceOrder, PlacedOrder, place_order};
use wiretoll::app::renew::renew;
use wiretoll::app::resolve_payment::{PaymentName, Resolved, resolve_payment};
use wiretoll::app::{App, Error, Unavailable, close_orders, reconcile, release};
use wiretoll::config::{Config, Database};
use wiretoll::domain::keys::{PrivateKey, PublicKey};
use wiretoll::domain::lightning::PaymentHash;
use wiretoll::domain::order::ClaimBy;
use wiretoll::domain::payment::{Outcome, Provider, ResolutionNote};
use wiretoll::domain::server::{Pool, ServerId};
use wiretoll::domain::subscription::Standing;
use wiretoll::domain::time::Timestamp;
use wiretoll::lifecycle;
use wiretoll::lnd::{InvoiceState, NodeInfo, NodeInvoice};
use wiretoll::lnd_simulator::faults::Fault;
use wiretoll::lnd_simulator::payer::PaymentOrder;
use wiretoll::store::{IdempotencyKey, PaymentFilter};

use crate::books::{Books, Fact, Order, POOL, Payment};
use crate::database::{connect_to, number};
use crate::shop::{On, Shop};

const CASES: u32 = 20;
const KEYS: u8 = 3;
const PRICES: [(u32, u64); 2] = [(1, 4_500_000), (3, 12_825_000)];

/// What customers, the world and the operator do; an [`Index`] chooses among the orders made so far.
#[derive(Debug, Clone)]
enum Command {
    Create {
        months: u32,
        key: Option<u8>,
    },
    Repeat(Index),
    /// In time, late or again; `told` is whether the stream says so.
    Pay {
        order: Index,
        more_msat: u64,
        told: bool,
    },
    Renew {
        months: u32,
        key: u8,
    },
    Claim {
        order: Index,
        key: Option<u8>,
    },
    Advance {
        minutes: u64,
    },
    Sweep,
    Close,
    Release,
    Restart,
    NodeDown,
    NodeUp,
    Backup,
    Restore,
    Adopt(Index),
    Resolve(Index),
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let months = || prop_oneof![Just(1_u32), Just(3)];
    let more = prop_oneof![3 => Just(0_u64), 1 => 1_u64..4_000_000];
    let minutes = prop_oneof![Just(1_u64), Just(10), Just(20), Just(26 * 60), Just(20 * 24 * 60), Just(45 * 24 * 60)];
    let command = prop_oneof![
        8 => (months(), option::of(0..KEYS)).prop_map(|(months, key)| Command::Create { months, key }),
        1 => any::<Index>().prop_map(Command::Repeat),
        9 => (any::<Index>(), more, any::<bool>()).prop_map(|(order, more_msat, told)| Command::Pay { order, more_msat, told }),
        4 => (months(), 0..KEYS).prop_map(|(months, key)| Command::Renew { months, key }),
        4 => (any::<Index>(), option::of(0..KEYS)).prop_map(|(order, key)| Command::Claim { order, key }),
        5 => minutes.prop_map(|minutes| Command::Advance { minutes }),
        3 => Just(Command::Sweep),
        3 => Just(Command::Close),
        3 => Just(Command::Release),
        1 => Just(Command::Restart),
        1 => Just(Command::NodeDown),
        4 => Just(Command::NodeUp),
        2 => Just(Command::Backup),
        2 => Just(Command::Restore),
        3 => any::<Index>().prop_map(Command::Adopt),
        2 => any::<Index>().prop_map(Command::Resolve),
    ];
    proptest::collection::vec(command, 10..60)
}

#[test]
fn the_service_does_as_its_model() {
    let cases = variable("TEST_MODEL_CASES").map_or(CASES, |cases| u32::try_from(cases).unwrap());
    let seed = variable("TEST_MODEL_SEED").unwrap_or_else(|| u64::from_le_bytes(wiretoll::random::bytes().unwrap()));
    eprintln!("repeat this with TEST_MODEL_SEED={seed} TEST_MODEL_CASES={cases}");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let shop = runtime.block_on(closed_shop());
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let runs = Runs { cases, failure_persistence: None, max_shrink_iters: 400, ..Runs::default() };
    let mut runner = TestRunner::new_with_rng(runs, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let played = runner.run(&commands(), |commands| {
        runtime.block_on(play(&shop, &commands));
        Ok(())
    });
    runtime.block_on(shop.node.stop());
    played.unwrap();
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Its service never runs: the stories call what it is made of.
async fn closed_shop() -> Shop {
    let mut shop = Shop::open_with(On::Sqlite, |config| {
        config.servers.truncate(1);
        let server = &mut config.servers[0];
        server.pool = Pool::new(server.pool.network(), 35_000, Some(u32::try_from(POOL).unwrap())).unwrap();
    })
    .await;
    shop.stop().await;
    shop
}

/// On a fresh database, from a node that answers.
async fn play(shop: &Shop, commands: &[Command]) {
    let mut story = Story::begin(shop).await;
    for command in commands {
        // No two things happen at one time.
        shop.advance(Duration::from_secs(1)).await;
        story.act(command).await;
        story.compare(command).await;
    }
    story.app.store.close().await;
}

/// An order as customer and node know it, whatever the database has lost.
struct Made {
    id: Uuid,
    hash: PaymentHash,
    invoice: Option<String>,
    months: u32,
    idempotency_key: IdempotencyKey,
    request: Option<PlaceOrder>,
}

struct Story<'a> {
    shop: &'a Shop,
    config: Config,
    app: App,
    node: NodeInfo,
    node_is_up: bool,
    /// An order that is paid and not yet told of; one at a time, because a sweep has no order.
    untold: Option<usize>,
    made: Vec<Made>,
    books: Books,
    backup: Option<(PathBuf, Books)>,
}

impl<'a> Story<'a> {
    async fn begin(shop: &'a Shop) -> Self {
        shop.node.come_up().await.unwrap();
        shop.node.inject(Fault::PauseCanceller).await.unwrap();
        align_clocks(shop).await;
        let mut config = shop.config.clone();
        config.database = Database::Sqlite(fresh_path(shop));
        let app = lifecycle::open(&config, shop.clock.clone()).await.unwrap();
        shop.until("the node has its channel back", || async {
            app.node.info().await.is_ok_and(|info| info.active_channels > 0)
        })
        .await;
        let node = app.node.info().await.unwrap();
        let (made, books) = (Vec::new(), Books::default());
        Self { shop, config, app, node, node_is_up: true, untold: None, made, books, backup: None }
    }

    async fn act(&mut self, command: &Command) {
        // As the look every 30 s would say before it noticed anything.
        self.app.health.saw(&self.node, self.app.shop.network);
        match command {
            Command::Create { months, key } => self.create(*months, key.map(a_key)).await,
            Command::Renew { months, key } => self.renew(*months, a_key(*key)).await,
            Command::Advance { minutes } => self.shop.advance(Duration::from_mins(*minutes)).await,
            Command::Sweep => self.sweep().await,
            Command::Close => self.close().await,
            Command::Release => {
                release::release_ended_holds(&self.app).await.unwrap();
                release::erase_private_keys(&self.app).await.unwrap();
                self.books.release(self.now());
            }
            Command::Restart => self.reopen().await,
            Command::NodeDown => {
                self.shop.node.go_down().await.unwrap();
                self.node_is_up = false;
            }
            Command::NodeUp => self.node_up().await,
            Command::Backup => {
                let path = fresh_path(self.shop);
                self.app.store.backup(&path).await.unwrap();
                self.backup = Some((path, self.books.clone()));
            }
            Command::Restore => self.restore().await,
            Command::Repeat(_)
            | Command::Pay { .. }
            | Command::Claim { .. }
            | Command::Adopt(_)
            | Command::Resolve(_)
                if self.made.is_empty() => {}
            Command::Repeat(order) => self.repeat(order.index(self.made.len())).await,
            Command::Pay { order, more_msat, told } => self.pay(order.index(self.made.len()), *more_msat, *told).await,
            Command::Claim { order, key } => self.claim(order.index(self.made.len()), key.map(a_key)).await,
            Command::Adopt(order) => {
                self.adopt(self.mostly(*order, |payment| payment.outcome == Outcome::Orphaned)).await;
            }
            Command::Resolve(order) => self.resolve(self.mostly(*order, |payment| payment.open)).await,
        }
    }

    /// One of the orders with such a payment, where there is any; otherwise one of all.
    fn mostly(&self, order: Index, such: impl Fn(&Payment) -> bool) -> usize {
        let worthwhile: Vec<_> =
            self.books.payments.iter().filter(|(_, it)| such(it)).map(|(number, _)| *number).collect();
        if worthwhile.is_empty() { order.index(self.made.len()) } else { *order.get(&worthwhile) }
    }

    fn now(&self) -> Timestamp {
        self.shop.clock.now()
    }

    // --- customers ---

    async fn create(&mut self, months: u32, key: Option<PublicKey>) {
        let customer = self.customer();
        let idempotency_key = customer.idempotency_key.clone().unwrap();
        let server_id = ServerId::parse("eu-de").unwrap();
        let (referral_code, claim_by) = (None, ClaimBy::PaymentHash);
        let request = PlaceOrder { server_id, months, public_key: key, referral_code, claim_by, customer };
        let taken = self.books.create(self.made.len(), Order::new(months, key, None, self.now()));
        let placed = place_order(&self.app, request.clone()).await;
        self.placed(taken, months, idempotency_key, placed, Some(request)).await;
    }

    async fn renew(&mut self, months: u32, key: PublicKey) {
        let (customer, owner) = (self.customer(), self.books.owner(key));
        let renewed = renew(&self.app, key, months, &customer).await;
        if owner.is_none() {
            assert!(matches!(renewed, Err(Error::NotFound(_))), "{renewed:?}");
            return;
        }
        let taken = self.books.create(self.made.len(), Order::new(months, Some(key), owner, self.now()));
        self.placed(taken, months, customer.idempotency_key.unwrap(), renewed.map(|it| it.placed), None).await;
    }

    fn customer(&self) -> Customer {
        let key = self.app.new_id().to_string();
        let (scope, fingerprint) = ("anonymous".to_owned(), "any".to_owned());
        let idempotency_key = Some(IdempotencyKey { scope, route: "create", key, fingerprint });
        Customer { address_prefix: "192.0.2.0".into(), idempotency_key }
    }

    async fn placed(
        &mut self,
        taken: bool,
        months: u32,
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
        self.made.push(Made { id, hash: order.payment_hash, invoice, months, idempotency_key, request });
    }

    /// The same request once more, while its key is remembered.
    async fn repeat(&mut self, number: usize) {
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

    async fn pay(&mut self, number: usize, more_msat: u64, told: bool) {
        let Some(invoice) = self.made[number].invoice.clone().filter(|_| self.node_is_up) else { return };
        let price = price_msat(self.made[number].months);
        let amount_msat = Some(price + more_msat);
        self.shop.node.pay(PaymentOrder { amount_msat, ..PaymentOrder::of(invoice) }).await.unwrap();
        let invoice = self.look_up(number).await.unwrap();
        if !matches!(invoice.state, InvoiceState::Settled(_)) {
            return;
        }
        let is_known = self.books.orders.contains_key(&number);
        if told || !is_known || self.untold.is_some_and(|untold| untold != number) {
            apply_invoice(&self.app, &invoice, None).await.unwrap();
            self.books.hear(number, &fact(&invoice), self.now());
        } else if self.books.orders[&number].state != "paid" {
            self.untold = Some(number);
        }
    }

    async fn claim(&mut self, number: usize, public_key: Option<PublicKey>) {
        // A claim may ask the node itself, but not twice within a while: so it is asked before.
        self.sweep().await;
        let payment_hash = self.made[number].hash;
        let claimed =
            claim(&self.app, &Claim { payment_hash, claim_token: None, public_key, preshared_key: None }).await;
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

    // --- the world ---

    async fn sweep(&mut self) {
        let swept = reconcile::sweep(&self.app).await;
        if !self.node_is_up {
            assert!(swept.is_err() || !self.has_open_orders());
            return;
        }
        assert_eq!(swept.unwrap(), 0);
        let facts = self.facts().await;
        self.hear_of_open_orders(&facts);
    }

    fn has_open_orders(&self) -> bool {
        self.books.orders.values().any(|order| ["creating", "pending"].contains(&order.state))
    }

    fn hear_of_open_orders(&mut self, facts: &BTreeMap<usize, Fact>) {
        let now = self.now();
        let open = |order: &Order| ["creating", "pending"].contains(&order.state);
        let numbers: Vec<_> = self.books.orders.iter().filter(|(_, order)| open(order)).map(|(n, _)| *n).collect();
        for number in numbers {
            if let Some(fact) = facts.get(&number) {
                self.books.hear(number, fact, now);
            }
        }
        self.untold = None;
    }

    async fn close(&mut self) {
        let facts = if self.node_is_up { self.facts().await } else { BTreeMap::new() };
        close_orders::close_due_orders(&self.app).await.unwrap();
        if !self.node_is_up {
            return;
        }
        let now = self.now();
        for number in self.books.due(&facts, now) {
            let unknown = Fact { price: 0, expires_at: now, settled: None, cancelled: true };
            let mut fact = facts.get(&number).copied().unwrap_or(unknown);
            fact.cancelled = fact.settled.is_none();
            self.books.hear(number, &fact, now);
            self.untold = self.untold.filter(|untold| *untold != number);
        }
    }

    async fn node_up(&mut self) {
        self.shop.node.come_up().await.unwrap();
        self.shop.node.inject(Fault::PauseCanceller).await.unwrap();
        self.shop.until("the node answers", || async { self.app.node.info().await.is_ok() }).await;
        self.node_is_up = true;
        self.follow_again().await;
    }

    /// A stream replays from where the database stands, in the order of settlement; then comes the sweep.
    async fn follow_again(&mut self) {
        if !self.node_is_up {
            return;
        }
        let facts = self.facts().await;
        for (number, invoice) in self.settled().await {
            apply_invoice(&self.app, &invoice, None).await.unwrap();
            self.books.hear(number, &facts[&number], self.now());
        }
        assert_eq!(reconcile::catch_up(&self.app).await.unwrap(), 0);
        self.hear_of_open_orders(&facts);
    }

    async fn reopen(&mut self) {
        self.app.store.close().await;
        self.app = lifecycle::open(&self.config, self.shop.clock.clone()).await.unwrap();
        self.app.health.saw(&self.node, self.app.shop.network);
        self.follow_again().await;
    }

    async fn restore(&mut self) {
        let Some((backup, books)) = self.backup.clone() else { return };
        let path = fresh_path(self.shop);
        std::fs::copy(backup, &path).unwrap();
        (self.config.database, self.books, self.untold) = (Database::Sqlite(path), books, None);
        self.reopen().await;
    }

    // --- the operator ---

    async fn adopt(&mut self, number: usize) {
        let bought =
            Bought::New { server: ServerId::parse("eu-de").unwrap(), public_key: None, claim_by: ClaimBy::PaymentHash };
        let (payment, months) = (PaymentName::PaymentHash(self.made[number].hash), self.made[number].months);
        let adoption = Adoption { payment, months, bought, amount: AmountCheck::Fits };
        let adopted = adopt_payment(&self.app, &adoption).await;
        let invoice = if self.node_is_up { self.look_up(number).await } else { None };
        let expected = invoice.is_some_and(|invoice| {
            self.books.adopt(number, months, invoice.created_at, &fact(&invoice), self.shop.clock.now())
        });
        assert_eq!(adopted.is_ok(), expected, "{adopted:?}");
    }

    async fn resolve(&mut self, number: usize) {
        let note = ResolutionNote::parse("dealt with").unwrap();
        let name = PaymentName::PaymentHash(self.made[number].hash);
        let resolved = match resolve_payment(&self.app, name, &note).await {
            Ok(Resolved::Now(_)) => Some(true),
            Ok(Resolved::Before(_)) => Some(false),
            Err(Error::Invalid(_) | Error::NotFound(_)) => None,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(resolved, self.books.resolve(number));
    }

    // --- what the node says ---

    async fn look_up(&self, number: usize) -> Option<NodeInvoice> {
        self.app.node.lookup_invoice(self.made[number].hash).await.unwrap()
    }

    async fn facts(&self) -> BTreeMap<usize, Fact> {
        let mut facts = BTreeMap::new();
        for number in 0..self.made.len() {
            if let Some(invoice) = self.look_up(number).await {
                facts.insert(number, fact(&invoice));
            }
        }
        facts
    }

    async fn settled(&self) -> Vec<(usize, NodeInvoice)> {
        let mut settled = BTreeMap::new();
        for number in 0..self.made.len() {
            if let Some(invoice) = self.look_up(number).await
                && let InvoiceState::Settled(settlement) = invoice.state
            {
                settled.insert(settlement.settle_index, (number, invoice));
            }
        }
        settled.into_values().collect()
    }

    // --- database and books ---

    async fn compare(&self, command: &Command) {
        let store = &self.app.store;
        for (number, made) in self.made.iter().enumerate() {
            let order = store.order_by_payment_hash(made.hash).await.unwrap();
            let expected = self.books.orders.get(&number);
            let state = order.as_ref().map(|order| order.state.name());
            assert_eq!(state, expected.map(|order| order.state), "order {number} after {command:?}");
            if let (Some(subscription), Some(order)) = (expected.and_then(|order| order.subscription), order) {
                self.compare_subscription(subscription, order.subscription_id.unwrap(), command).await;
            }
            let payment = store.payment(Provider::Lightning, &made.hash.to_string()).await.unwrap();
            let payment = payment.map(|it| (it.evidence.amount.get(), it.excess.get(), it.outcome, it.is_open()));
            let expected = self.books.payments.get(&number).map(|it| (it.amount, it.excess, it.outcome, it.open));
            assert_eq!(payment, expected, "payment {number} after {command:?}");
        }
        let counts = store.occupancy(self.now()).await.unwrap().remove(0);
        let counts = [counts.held, counts.reserved].map(|count| usize::try_from(count).unwrap());
        assert_eq!(counts, [self.books.held(), self.books.reserved()], "slots after {command:?}");
        self.audit().await;
    }

    async fn compare_subscription(&self, number: usize, id: Uuid, command: &Command) {
        let expected = &self.books.subscriptions[number];
        let found = self.app.store.subscription(id).await.unwrap().unwrap();
        assert_eq!(found.founded_by, self.made[expected.founded_by].id, "after {command:?}");
        assert_eq!(found.ends_at, expected.ends_at, "subscription {number} after {command:?}");
        assert_eq!(found.standing == Standing::Held, expected.held, "subscription {number} after {command:?}");
        let peer = self.app.store.peer_of(id).await.unwrap();
        assert_eq!(peer.is_some(), expected.held, "a slot is held as long as the subscription");
        let bound = peer.and_then(|peer| peer.binding).map(|binding| binding.public_key);
        assert_eq!(bound, expected.bound, "the key of subscription {number} after {command:?}");
    }

    /// What holds whatever happened: every msat is accounted for once, and no slot is anybody's twice.
    async fn audit(&self) {
        let Database::Sqlite(path) = &self.config.database else { panic!("a story is told on SQLite") };
        let mut database = connect_to(&format!("sqlite://{}", path.display())).await;
        for (rule, broken) in [
            (
                "an applied payment is its order's price and an excess",
                "SELECT count(*) FROM payments p LEFT JOIN orders o \
              ON o.id = p.order_id WHERE p.outcome LIKE 'applied%' AND (o.state <> 'paid' OR o.id IS NULL OR p.amount <> o.amount_msat + p.excess)",
            ),
            (
                "a paid order has one payment and one grant",
                "SELECT count(*) FROM orders o WHERE state = 'paid' AND \
              ((SELECT count(*) FROM payments WHERE order_id = o.id) <> 1 OR (SELECT count(*) FROM grants WHERE order_id = o.id) <> 1)",
            ),
            (
                "only paid orders have grants",
                "SELECT count(*) FROM grants g JOIN orders o ON o.id = g.order_id WHERE o.state <> 'paid'",
            ),
            (
                "slots and peers name each other",
                "SELECT (SELECT count(*) FROM slots WHERE peer_id IS NOT NULL) - (SELECT count(*) FROM peers p \
              JOIN slots s ON s.peer_id = p.id AND s.server_id = p.server_id AND s.n = p.slot)",
            ),
            (
                "the counts are the peers",
                "SELECT abs(slots_held - (SELECT count(*) FROM peers WHERE holder_id IS NOT NULL)) + \
              abs(slots_reserved - (SELECT count(*) FROM peers WHERE reserved_by_order IS NOT NULL)) FROM servers",
            ),
            (
                "only open orders reserve",
                "SELECT count(*) FROM peers p JOIN orders o ON o.id = p.reserved_by_order WHERE o.state NOT IN ('creating', 'pending')",
            ),
            (
                "events of a subject are numbered without a gap",
                "SELECT count(*) FROM (SELECT 1 FROM events GROUP BY subject_kind, subject_id \
              HAVING max(sequence) <> count(*) - 1)",
            ),
        ] {
            assert_eq!(number(&mut database, broken).await, 0, "{rule}");
        }
        let open = PaymentFilter { open_only: true, at_most: 1_000, ..PaymentFilter::default() };
        let open = self.app.store.payments(&open).await.unwrap().len();
        assert_eq!(
            open,
            self.books.payments.values().filter(|payment| payment.open).count(),
            "what waits for the operator"
        );
    }
}

fn a_key(number: u8) -> PublicKey {
    PrivateKey::from_random([number + 1; 32]).public_key()
}

fn price_msat(months: u32) -> u64 {
    PRICES.iter().find(|(plan, _)| *plan == months).unwrap().1
}

fn fact(invoice: &NodeInvoice) -> Fact {
    let parsed = wiretoll::domain::bolt11::Invoice::parse(&invoice.payment_request).unwrap();
    let settled = match invoice.state {
        InvoiceState::Settled(settlement) => Some((settlement.amount.get(), settlement.settled_at)),
        _ => None,
    };
    let cancelled = invoice.state == InvoiceState::Canceled;
    Fact { price: invoice.amount.get(), expires_at: parsed.expires_at(), settled, cancelled }
}

fn reason(error: &Error) -> &'static str {
    match error {
        Error::NotFound(_) => "not found",
        Error::Invalid(_) => "invalid",
        Error::Unpaid => "unpaid",
        Error::Conflict(_) => "conflict",
        Error::Unavailable(Unavailable::RefundDue) => "refund due",
        other => panic!("{other}"),
    }
}

fn fresh_path(shop: &Shop) -> PathBuf {
    shop.folder().join(format!("{}.db", hex::encode(wiretoll::random::bytes::<8>().unwrap())))
}

/// The node's clock runs, the service's stands still: neither gets far ahead.
async fn align_clocks(shop: &Shop) {
    let ahead = Timestamp::from_seconds(shop.node.now_seconds()).since(shop.clock.now());
    match u64::try_from(-ahead) {
        Ok(behind) => shop.node.advance(Duration::from_millis(behind)).await.unwrap(),
        Err(_) => shop.clock.advance(ahead),
    }
}
