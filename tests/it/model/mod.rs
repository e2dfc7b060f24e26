//! The whole service against the books of a careful clerk (`books`): random purchases, payments, clocks, restarts,
//! silent nodes, restored backups and the operator's own verbs. On SQLite, and a little on Postgres.
//!
//! Nothing happens by itself here: each command is done to its end, and then database and books are compared.
//! `TEST_MODEL_CASES` sets how many stories are played, `TEST_MODEL_SEED` repeats those of a seed that was printed.

mod books;
mod command;
mod comparison;
mod customers;
mod node;
mod operator;
mod world;

use std::time::Duration;

use proptest::sample::Index;
use proptest::test_runner::{Config as Runs, RngAlgorithm, TestRng, TestRunner};
use uuid::Uuid;
use wiretoll::app::place_order::PlaceOrder;
use wiretoll::app::{App, release};
use wiretoll::config::{Config, Database, KeySource};
use wiretoll::domain::keys::{PrivateKey, PublicKey};
use wiretoll::domain::lightning::PaymentHash;
use wiretoll::domain::payment::Outcome;
use wiretoll::domain::server::Pool;
use wiretoll::domain::time::Timestamp;
use wiretoll::lifecycle;
use wiretoll::lnd::NodeInfo;
use wiretoll::lnd_simulator::faults::Fault;
use wiretoll::store::IdempotencyKey;

use crate::shop::{On, Shop, fresh_postgres, postgres_url};
use books::{Books, POOL, Payment};
use command::{Command, commands};

#[test]
fn the_service_does_as_its_model() {
    play_on(On::Sqlite, 20);
}

/// Fewer: what is at stake there is its locks and its SQL, and each story waits for it.
#[test]
fn the_service_does_as_its_model_on_postgres() {
    match postgres_url() {
        Some(_) => play_on(On::Postgres, 2),
        None => eprintln!("not run: TEST_POSTGRES_URL is not set; ./scripts/test.sh sets it"),
    }
}

fn play_on(on: On, cases: u32) {
    let cases = variable("TEST_MODEL_CASES").map_or(cases, |cases| u32::try_from(cases).unwrap());
    let seed = variable("TEST_MODEL_SEED").unwrap_or_else(|| u64::from_le_bytes(wiretoll::random::bytes().unwrap()));
    eprintln!("repeat this with TEST_MODEL_SEED={seed} TEST_MODEL_CASES={cases}");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let shop = runtime.block_on(closed_shop(on));
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
async fn closed_shop(on: On) -> Shop {
    let mut shop = Shop::open_with(on, |config| {
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
    price_msat: u64,
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
    backup: Option<(Database, Books)>,
}

impl<'a> Story<'a> {
    async fn begin(shop: &'a Shop) -> Self {
        shop.node.come_up().await.unwrap();
        shop.node.inject(Fault::PauseCanceller).await.unwrap();
        align_clocks(shop).await;
        let mut config = shop.config.clone();
        make_fresh(&mut config, shop).await;
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
            Command::Reset { key, used_gb } => self.reset(a_key(*key), *used_gb).await,
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
            Command::Backup => self.back_up().await,
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
}

fn a_key(number: u8) -> PublicKey {
    PrivateKey::from_random([number + 1; 32]).public_key()
}

/// An empty database, and a key of its own: the node remembers what was paid in earlier stories.
async fn make_fresh(config: &mut Config, shop: &Shop) {
    let name = hex::encode(wiretoll::random::bytes::<8>().unwrap());
    config.instance_key = KeySource::File(shop.folder().join(format!("{name}.key")));
    config.database = match &shop.config.database {
        Database::Sqlite(_) => Database::Sqlite(shop.folder().join(format!("{name}.db"))),
        Database::Postgres(_) => Database::Postgres(fresh_postgres().await),
    };
}

/// The node's clock runs, the service's stands still: neither gets far ahead.
async fn align_clocks(shop: &Shop) {
    let ahead = Timestamp::from_seconds(shop.node.now_seconds()).since(shop.clock.now());
    match u64::try_from(-ahead) {
        Ok(behind) => shop.node.advance(Duration::from_millis(behind)).await.unwrap(),
        Err(_) => shop.clock.advance(ahead),
    }
}
