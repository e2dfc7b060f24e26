//! A crowd of customers at a shop that is killed again and again, and the reckoning afterwards.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

use crate::PATIENCE;
use crate::books::settlement;
use crate::client::{Config, Payment, Wish};
use crate::customer::Customer;
use crate::world::{On, World};

/// Many, because one who pays late does nothing else until then.
const CUSTOMERS: u64 = 16;
/// The node's clock is behind by this, so that an invoice runs out here after 12 s, and not first at the node.
const NODE_BEHIND: Duration = Duration::from_secs(48);
/// A short run does not sell out; a large pool takes a while to be set up.
const SMALL_POOL_LASTS: Duration = Duration::from_mins(1);
const LARGE_POOL: &str = "10.9.0.0/19";
/// As an invoice does.
const PAGES_LAST: Duration = Duration::from_secs(12);
const ACCOUNTS: usize = 3;
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victims {
    /// The service, the node, or both.
    Any,
    /// One of two services after the other; one of them is always there.
    ServicesInTurn,
}

/// What happened so far.
#[derive(Default)]
pub struct Tally {
    pub orders: AtomicU64,
    pub paid: AtomicU64,
    pub refused: AtomicU64,
    pub sold_out: AtomicU64,
    pub refunds: AtomicU64,
    pub claims: AtomicU64,
    pub by_card: AtomicU64,
    pub went_back: AtomicU64,
    pub resets: AtomicU64,
    pub service_kills: AtomicU64,
    pub node_kills: AtomicU64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        write!(
            f,
            "{} orders, {} payments ({} by card, of which {} went back), {} resets, {} refused, {} sold out, {} refunds due, \
             {} claims; killed: service {}, node {}",
            of(&self.orders),
            of(&self.paid),
            of(&self.by_card),
            of(&self.went_back),
            of(&self.resets),
            of(&self.refused),
            of(&self.sold_out),
            of(&self.refunds),
            of(&self.claims),
            of(&self.service_kills),
            of(&self.node_kills),
        )
    }
}

pub fn count(what: &AtomicU64) {
    what.fetch_add(1, Ordering::Relaxed);
}

/// The seed of `WIRETOLL_KILL_SEED`, or one by chance.
fn seed() -> u64 {
    let given = std::env::var("WIRETOLL_KILL_SEED").ok();
    given.map_or_else(|| fastrand::u64(..), |text| text.parse().expect("WIRETOLL_KILL_SEED is a number"))
}

/// How long the long runs take.
pub fn long() -> Duration {
    let given = std::env::var("WIRETOLL_KILL_MINUTES").ok();
    Duration::from_mins(given.map_or(20, |text| text.parse().expect("WIRETOLL_KILL_MINUTES is a number")))
}

/// Customers buy for so long while somebody kills; then everything must check out.
pub async fn run(on: On, victims: Victims, lasting: Duration) {
    let seed = seed();
    eprintln!("{on:?}, {victims:?}: WIRETOLL_KILL_SEED={seed}");
    let services = if victims == Victims::ServicesInTurn { 2 } else { 1 };
    let mut world = World::new(on, services, NODE_BEHIND).await;
    if lasting > SMALL_POOL_LASTS {
        world.set("WIRETOLL_SERVERS__0__POOL", LARGE_POOL);
        world.set("WIRETOLL_SERVERS__1__POOL", LARGE_POOL);
    }
    world.stripe.pages_last(PAGES_LAST);
    for number in 0..services {
        world.start_service(number).await;
    }
    let accounts = accounts(&world).await;
    let (began, tally) = (Instant::now(), Arc::new(Tally::default()));
    let end = began + lasting;
    let mut customers = JoinSet::new();
    for number in 1..=CUSTOMERS {
        let customer = Customer {
            client: world.client(seed ^ number),
            chance: fastrand::Rng::with_seed(seed.wrapping_add(number)),
            tally: Arc::clone(&tally),
            accounts: accounts.clone(),
            database: world.database_url(),
            configs: Vec::new(),
            tellings: JoinSet::new(),
        };
        customers.spawn(customer.live(end));
    }
    let mut configs = Vec::new();
    {
        let killing = kill(&mut world, victims, fastrand::Rng::with_seed(seed), end, &tally);
        tokio::pin!(killing);
        let mut progress = interval(PROGRESS_EVERY);
        loop {
            tokio::select! {
                () = &mut killing => break,
                // One who failed ends the run at once.
                Some(ended) = customers.join_next() => configs.extend(ended.unwrap()),
                _ = progress.tick() => eprintln!("{on:?}, {victims:?}, {} s: {tally}", began.elapsed().as_secs()),
            }
        }
    }
    while let Some(ended) = customers.join_next().await {
        configs.extend(ended.unwrap());
    }
    reckon(&world, seed, &configs).await;
    eprintln!("{on:?}, {victims:?}: checked out after {} s: {tally}", began.elapsed().as_secs());
}

/// Nothing is wrong, nothing paid stays open, it sells as before, and follows the node to its last settlement.
async fn reckon(world: &World, seed: u64, configs: &[Config]) {
    world.checks_out(configs).await;
    let client = world.client(seed);
    let began = Instant::now();
    loop {
        let wish = Wish::to_buy("eu-de", 1, None, &mut fastrand::Rng::new());
        let order = client.order(&wish).await.expect("it sells as before");
        assert_eq!(client.pay(&order, order.msat()).await, Payment::Arrived);
        client.until_paid(&order.name).await;
        let books = world.checks_out(configs).await;
        let last = books.invoices.iter().filter_map(|invoice| Some(settlement(invoice)?.settle_index)).max();
        let reached = books.positions.first().and_then(|position| u64::try_from(position.settle_index).ok());
        if reached == last {
            return;
        }
        // A payment that was seen before the stream was moves no position; the next one does.
        assert!(began.elapsed() < PATIENCE, "the position is {reached:?}, and the node's last settlement {last:?}");
    }
}

/// Accounts of people who tell others of the shop.
async fn accounts(world: &World) -> Vec<Account> {
    let mut accounts = Vec::new();
    for _ in 0..ACCOUNTS {
        let key = world.account().await;
        let code = world.client(0).referral_code(&key).await;
        accounts.push(Account { key, code });
    }
    accounts
}

#[derive(Debug, Clone)]
pub struct Account {
    pub key: String,
    pub code: String,
}

async fn kill(world: &mut World, victims: Victims, mut chance: fastrand::Rng, end: Instant, tally: &Tally) {
    let (mut turn, mut start) = (0, Duration::ZERO);
    while Instant::now() < end {
        // One life in four is long enough for what happens every 5 s. Where a start takes long, everything does.
        let longest = if chance.u8(0..4) == 0 { 12_000 } else { 4_000 };
        sleep(Duration::from_millis(chance.u64(100..longest)) + start.mul_f64(chance.f64() * 4.0)).await;
        let (service, node) = match (victims, chance.u8(0..20)) {
            (Victims::ServicesInTurn, _) | (Victims::Any, 0..11) => (true, false),
            (Victims::Any, 11..17) => (false, true),
            (Victims::Any, _) => (true, true),
        };
        if service {
            world.kill_service(turn);
            count(&tally.service_kills);
        }
        if node {
            world.node.kill();
            count(&tally.node_kills);
        }
        sleep(Duration::from_millis(chance.u64(0..1_500))).await;
        if node {
            world.start_node().await;
        }
        if service {
            let began = Instant::now();
            world.start_service(turn).await;
            start = began.elapsed();
            turn = (turn + 1) % world.services.len();
        }
    }
}
