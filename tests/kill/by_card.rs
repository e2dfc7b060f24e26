//! What `points` tells of orders by card: the service dies, comes back, and Stripe repeats what was not answered.

use std::future::pending;
use std::time::Duration;

use serde_json::{Value, json};

use crate::books::Books;
use crate::client::{Client, Config, Order, Wish, a_key};
use crate::world::{On, World};

/// Beyond the end of a page that lasts a second: then it is closed.
const UNTIL_DUE: Duration = Duration::from_secs(7);

fn a_month() -> Wish {
    Wish::to_buy("eu-de", 1, None, &mut fastrand::Rng::new()).by_card()
}

async fn order(client: &Client, wish: &Wish) -> Order {
    client.order(wish).await.unwrap()
}

/// From the wish to the payment that is seen; the order, and its page.
async fn buy(client: &Client, wish: &Wish) -> (Order, Value) {
    let order = order(client, wish).await;
    let paid = client.stripe.pay(&order.name).unwrap();
    client.stripe.tell(&client.stripe.completed(&paid)).await;
    client.until_paid(&order.name).await;
    (order, paid)
}

async fn buy_and_claim(client: &Client, wish: &Wish) -> Config {
    let (order, _) = buy(client, wish).await;
    let config = client.claim(&order).await.unwrap();
    assert_eq!(client.claim(&order).await.unwrap(), config, "a repeated claim");
    config
}

fn outcomes(books: &Books) -> Vec<&str> {
    books.payments.iter().map(|payment| payment.outcome.as_str()).collect()
}

pub async fn purchase(on: On, point: &str) {
    let mut world = World::new(on, 1, Duration::ZERO).await;
    let (client, wish) = (world.client(1), a_month());
    world.die_at(point, buy_and_claim(&client, &wish)).await;
    world.start_service(0).await;
    let config = buy_and_claim(&client, &wish).await;
    let books = world.checks_out(&[config]).await;
    assert_eq!((books.orders_in("paid"), books.orders.len(), books.pages.len()), (1, 1, 1));
}

pub async fn renewal(on: On, point: &str) {
    let mut world = World::open(on).await;
    let (client, mut chance) = (world.client(1), fastrand::Rng::new());
    let key = a_key(&mut chance);
    let config = buy_and_claim(&client, &Wish::to_buy("eu-de", 1, Some(&key), &mut chance).by_card()).await;
    let wish = Wish::to_renew(&key, 3, &mut chance).by_card();
    world.die_at(point, buy(&client, &wish)).await;
    world.start_service(0).await;
    buy(&client, &wish).await;
    let books = world.checks_out(&[config]).await;
    assert_eq!((books.orders_in("paid"), books.orders.len(), books.subscriptions.len()), (2, 2, 1));
}

pub async fn unheard(on: On, point: &str) {
    let mut world = World::open(on).await;
    let client = world.client(1);
    let order = order(&client, &a_month()).await;
    client.stripe.pay(&order.name).unwrap();
    // At the start every open order is looked up.
    world.die_at(point, pending::<()>()).await;
    world.start_service(0).await;
    client.until_paid(&order.name).await;
    let config = client.claim(&order).await.unwrap();
    assert_eq!(outcomes(&world.checks_out(&[config]).await), ["applied"]);
}

/// The key of an order that came to nothing starts a new one.
pub async fn unusable(on: On, point: &str) {
    let mut world = World::new(on, 1, Duration::ZERO).await;
    let (client, wish) = (world.client(1), a_month());
    client.stripe.makes_otherwise(&json!({ "amount_total": 1 }));
    world.die_at(point, client.order(&wish)).await;
    client.stripe.makes_otherwise(&json!({}));
    world.start_service(0).await;
    let config = buy_and_claim(&client, &wish).await;
    let books = world.checks_out(&[config]).await;
    assert_eq!((books.orders_in("failed"), books.orders_in("paid")), (1, 1));
}

pub async fn expiry(on: On, point: &str) {
    let mut world = World::open(on).await;
    let client = world.client(1);
    client.stripe.pages_last(Duration::from_secs(1));
    let order = order(&client, &a_month()).await;
    world.kill_service(0);
    tokio::time::sleep(UNTIL_DUE).await;
    world.die_at(point, pending::<()>()).await;
    world.start_service(0).await;
    client.until_expired(&order.name).await;
    let books = world.checks_out(&[]).await;
    assert_eq!((books.orders_in("expired"), books.servers.iter().map(|one| one.slots_reserved).sum::<i64>()), (1, 0));
}

pub async fn ended(on: On, point: &str) {
    let mut world = World::open(on).await;
    let client = world.client(1);
    let meanwhile = async {
        let order = order(&client, &a_month()).await;
        client.stripe.tell(&client.stripe.end(&order.name)).await;
    };
    world.die_at(point, meanwhile).await;
    let ended = world.books(&[]).await.orders.remove(0).id;
    world.start_service(0).await;
    client.stripe.tell(&client.stripe.end(&ended)).await;
    client.until_expired(&ended).await;
    assert_eq!(world.checks_out(&[]).await.orders_in("expired"), 1);
}

pub async fn last_moment(on: On, point: &str) {
    let mut world = World::open(on).await;
    let client = world.client(1);
    client.stripe.pages_last(Duration::from_secs(1));
    let order = order(&client, &a_month()).await;
    world.kill_service(0);
    client.stripe.pay(&order.name).unwrap();
    tokio::time::sleep(UNTIL_DUE).await;
    world.die_at(point, pending::<()>()).await;
    world.start_service(0).await;
    client.until_paid(&order.name).await;
    let config = client.claim(&order).await.unwrap();
    assert_eq!(outcomes(&world.checks_out(&[config]).await), ["applied"]);
}

pub async fn too_little(on: On, point: &str) {
    let mut world = World::open(on).await;
    let client = world.client(1);
    let order = order(&client, &a_month()).await;
    let event = client.stripe.completed(&client.stripe.pay_too_little(&order.name).unwrap());
    world.die_at(point, client.stripe.tell(&event)).await;
    world.start_service(0).await;
    client.stripe.tell(&event).await;
    client.until_expired(&order.name).await;
    assert_eq!(outcomes(&world.checks_out(&[]).await), ["mismatched"]);
}

pub async fn elsewhere(on: On, point: &str) {
    let mut world = World::open(on).await;
    let (client, wish) = (world.client(1), a_month());
    let order = order(&client, &wish).await;
    let event = client.stripe.completed(&client.stripe.paid_elsewhere(&order.name));
    world.die_at(point, client.stripe.tell(&event)).await;
    world.start_service(0).await;
    client.stripe.tell(&event).await;
    // Its own page still settles it.
    let config = buy_and_claim(&client, &wish).await;
    assert_eq!(outcomes(&world.checks_out(&[config]).await), ["mismatched", "applied"]);
}

pub async fn restored(on: On, point: &str) {
    let mut world = World::open(on).await;
    let client = world.client(1);
    let config = buy_and_claim(&client, &a_month()).await;
    world.kill_service(0);
    let copy = world.backup().await;
    world.start_service(0).await;
    let forgotten = order(&client, &a_month()).await;
    world.kill_service(0);
    world.restore(&copy);
    let event = client.stripe.completed(&client.stripe.pay(&forgotten.name).unwrap());
    world.die_at(point, client.stripe.tell(&event)).await;
    world.start_service(0).await;
    client.stripe.tell(&event).await;
    assert_eq!(outcomes(&world.checks_out(&[config]).await), ["applied", "orphaned"]);
}

pub async fn forgotten(on: On, point: &str) {
    let mut world = World::open(on).await;
    let client = world.client(1);
    world.kill_service(0);
    let copy = world.backup().await;
    world.start_service(0).await;
    buy(&client, &a_month()).await;
    world.kill_service(0);
    world.restore(&copy);
    world.stripe.forget_taken();
    // At the start it looks for what it may have forgotten.
    world.die_at(point, pending::<()>()).await;
    world.start_service(0).await;
    assert_eq!(outcomes(&world.checks_out(&[]).await), ["orphaned"]);
}

/// A shop where somebody bought with another one's code; the page of the payment.
async fn with_a_bonus(world: &World, client: &Client) -> Value {
    let code = client.referral_code(&world.account().await).await;
    buy(client, &a_month().naming(&code)).await.1
}

pub async fn refund(on: On, point: &str) {
    let mut world = World::open(on).await;
    let client = world.client(1);
    let paid = with_a_bonus(&world, &client).await;
    client.stripe.tell(&client.stripe.refund(&paid, 100)).await;
    let event = client.stripe.refund(&paid, 300);
    world.die_at(point, client.stripe.tell(&event)).await;
    world.start_service(0).await;
    client.stripe.tell(&event).await;
    assert_taken_back(&world.checks_out(&[]).await, "refunded");
}

/// What was bought, and the bonus that it brought.
fn assert_taken_back(books: &Books, outcome: &str) {
    assert_eq!(outcomes(books), [outcome]);
    assert!(
        books.grants.len() == 2 && books.grants.iter().all(|grant| grant.revoked_at.is_some()),
        "{:?}",
        books.grants
    );
}

pub async fn refund_first(on: On, point: &str) {
    let mut world = World::open(on).await;
    let client = world.client(1);
    let meanwhile = async {
        // A look-up that happens to come now finds the payment first: then the next one.
        loop {
            let next = order(&client, &a_month()).await;
            let paid = client.stripe.pay(&next.name).unwrap();
            client.stripe.tell(&client.stripe.refund(&paid, 300)).await;
        }
    };
    world.die_at(point, meanwhile).await;
    world.start_service(0).await;
    let books = world.books(&[]).await;
    for page in books.pages.iter().filter(|page| page.is_paid) {
        let paid = client.stripe.pay(&page.order).unwrap();
        client.stripe.tell(&client.stripe.refund(&paid, 300)).await;
        client.stripe.tell(&client.stripe.completed(&paid)).await;
    }
    let books = world.checks_out(&[]).await;
    assert!(!books.payments.is_empty() && outcomes(&books).iter().all(|outcome| *outcome == "refunded"));
}

/// Dies where Stripe tells of a dispute; then it is told again.
async fn dies_with(world: &mut World, client: &Client, point: &str, event: &Value) -> Books {
    world.die_at(point, client.stripe.tell(event)).await;
    world.start_service(0).await;
    client.stripe.tell(event).await;
    world.checks_out(&[]).await
}

pub async fn disputed(on: On, point: &str) {
    let mut world = World::open(on).await;
    let client = world.client(1);
    let paid = with_a_bonus(&world, &client).await;
    let books = dies_with(&mut world, &client, point, &client.stripe.dispute(&paid, "needs_response")).await;
    assert_eq!(outcomes(&books), ["disputed"]);
}

pub async fn dispute_won(on: On, point: &str) {
    let mut world = World::open(on).await;
    let client = world.client(1);
    let paid = with_a_bonus(&world, &client).await;
    client.stripe.tell(&client.stripe.dispute(&paid, "needs_response")).await;
    let books = dies_with(&mut world, &client, point, &client.stripe.dispute(&paid, "won")).await;
    assert_eq!(outcomes(&books), ["applied"]);
}

pub async fn dispute_lost(on: On, point: &str) {
    let mut world = World::open(on).await;
    let client = world.client(1);
    let paid = with_a_bonus(&world, &client).await;
    client.stripe.tell(&client.stripe.dispute(&paid, "needs_response")).await;
    let books = dies_with(&mut world, &client, point, &client.stripe.dispute(&paid, "lost")).await;
    assert_taken_back(&books, "charged_back");
}
