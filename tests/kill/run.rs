//! A crowd of customers at a shop that is killed again and again, and the reckoning afterwards.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, sleep_until};
use wiretoll::clock::Clock;

use crate::PATIENCE;
use crate::books::settlement;
use crate::client::{Client, Config, Order, Payment, Wish, a_key};
use crate::world::{On, World};

/// Many, because one who pays late does nothing else until then.
const CUSTOMERS: u64 = 16;
/// The node's clock is behind by this, so that an invoice runs out here after 12 s, and not first at the node.
const NODE_BEHIND: Duration = Duration::from_secs(48);
/// A short run does not sell out; a large pool takes a while to be set up.
const SMALL_POOL_LASTS: Duration = Duration::from_mins(1);
const LARGE_POOL: &str = "10.9.0.0/19";
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
struct Tally {
    orders: AtomicU64,
    paid: AtomicU64,
    refused: AtomicU64,
    sold_out: AtomicU64,
    refunds: AtomicU64,
    claims: AtomicU64,
    service_kills: AtomicU64,
    node_kills: AtomicU64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        write!(
            f,
            "{} orders, {} payments, {} refused, {} sold out, {} refunds due, {} claims; killed: service {}, node {}",
            of(&self.orders),
            of(&self.paid),
            of(&self.refused),
            of(&self.sold_out),
            of(&self.refunds),
            of(&self.claims),
            of(&self.service_kills),
            of(&self.node_kills),
        )
    }
}

fn count(what: &AtomicU64) {
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
    for number in 0..services {
        world.start_service(number).await;
    }
    let (began, tally) = (Instant::now(), Arc::new(Tally::default()));
    let end = began + lasting;
    let mut customers = JoinSet::new();
    for number in 1..=CUSTOMERS {
        let customer = Customer {
            client: world.client(seed ^ number),
            chance: fastrand::Rng::with_seed(seed.wrapping_add(number)),
            tally: Arc::clone(&tally),
            configs: Vec::new(),
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
                            _ = progress.tick() => {
             eprintln!("{on:?}, {victims:?}, {} s: {tally}", began.elapsed().as_secs());
            }
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
        assert_eq!(client.pay(&order, order.msat).await, Payment::Arrived);
        client.until_paid(&order.hash).await;
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

/// Buys, renews and claims, in all the ways in which people do.
struct Customer {
    client: Client,
    chance: fastrand::Rng,
    tally: Arc<Tally>,
    configs: Vec<Config>,
}

impl Customer {
    async fn live(mut self, end: Instant) -> Vec<Config> {
        while Instant::now() < end {
            self.buy().await;
        }
        self.configs
    }

    async fn buy(&mut self) {
        let server = *self.chance.choice(&["eu-de", "eu-de", "us-east", "us-east", "ch-zh"]).unwrap();
        let key = self.chance.bool().then(|| a_key(&mut self.chance));
        let wish = Wish::to_buy(server, *self.chance.choice(&[1, 3]).unwrap(), key.as_deref(), &mut self.chance);
        let Some(order) = self.order_and_pay(&wish).await else { return };
        let Some(config) = self.claim(&order.hash).await else { return };
        while self.chance.u8(0..10) < 4 {
            let months = *self.chance.choice(&[1, 3]).unwrap();
            // Whoever brought the key may also order anew with it: that extends what the key has.
            let again = match &key {
                Some(key) if self.chance.bool() => Wish::to_buy(server, months, Some(key), &mut self.chance),
                _ => Wish::to_renew(&config.public_key, months, &mut self.chance),
            };
            self.order_and_pay(&again).await;
        }
        let after = self.claim(&order.hash).await.expect("it was claimed before");
        assert_eq!(after, config, "the same claim after renewals");
        self.configs.push(config);
    }

    /// The order, if it was paid and shown as paid.
    async fn order_and_pay(&mut self, wish: &Wish) -> Option<Order> {
        if self.chance.u8(0..5) == 0 {
            self.client.hang_up(wish, Duration::from_millis(self.chance.u64(0..60))).await;
        }
        let Some(order) = self.client.order(wish).await else {
            count(&self.tally.sold_out);
            // There may be a place again once an order there expired.
            sleep(Duration::from_millis(self.chance.u64(0..500))).await;
            return None;
        };
        count(&self.tally.orders);
        if self.pay(&order).await? == Payment::Refused {
            count(&self.tally.refused);
            return None;
        }
        count(&self.tally.paid);
        // A repeated request, too, does not make a second one.
        if self.chance.u8(0..5) == 0 {
            self.client.order(wish).await;
        }
        self.client.until_paid(&order.hash).await;
        Some(order)
    }

    /// None for a customer who changed their mind.
    async fn pay(&mut self, order: &Order) -> Option<Payment> {
        let (client, price) = (&self.client, order.msat);
        Some(match self.chance.u8(0..20) {
            0..3 => return None,
            3..5 => {
                let (one, other) = tokio::join!(client.pay(order, price), client.pay(order, price));
                assert_eq!(one, other, "two payments of one invoice");
                one
            }
            5..7 => client.pay(order, price + self.chance.u64(1..price)).await,
            7..9 => {
                let over_in = order.expires_at.since(Clock::System.now());
                let later = u64::try_from(over_in).unwrap_or_default() + self.chance.u64(0..9_000);
                sleep_until(Instant::now() + Duration::from_millis(later)).await;
                client.pay(order, price).await
            }
            _ => client.pay(order, price).await,
        })
    }

    /// The config, the same however often and at whichever service it is claimed.
    async fn claim(&mut self, hash: &str) -> Option<Config> {
        count(&self.tally.claims);
        let (one, other) = tokio::join!(self.client.claim(hash), self.client.claim(hash));
        assert_eq!(one, other, "two claims at once");
        if one.is_none() {
            count(&self.tally.refunds);
        }
        one
    }
}
