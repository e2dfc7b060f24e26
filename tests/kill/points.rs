//! Each crash point in turn: the service dies there, comes back, and the client's repetition ends well.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde_json::json;
use wiretoll::crash::POINTS;
use wiretoll::lnd::InvoiceState;

use crate::by_card;
use crate::client::{Bill, Client, Config, Order, Payment, Wish, a_key};
use crate::on_both_databases;
use crate::receiver::Receiver;
use crate::world::{On, World};

/// What a customer does, or what befalls an order, while the service dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Story {
    /// Order, pay, wait, claim twice.
    Purchase,
    /// The same with more months for a key.
    Renewal,
    /// The same with a month's bandwidth once more.
    Reset,
    /// The invoice is at the node, and the service does not know that.
    LostAnswer,
    /// It is paid besides, before the service knows of it.
    PaidUnseen,
    /// It is cancelled besides.
    CancelledUnseen,
    /// Nobody pays.
    Expiry,
    /// Paid just before it is closed, and no event tells.
    LastMoment,
    /// Somebody else's invoice on the same node is paid.
    Stranger,
    /// The database is restored from a copy that does not know the order.
    Restored,
    /// A webhook is told of a purchase.
    Told,
    /// Somebody's code is named by a buyer, and brings its owner's subscription a bonus.
    Bonus,
    /// What was banked is given with its owner's purchase.
    BankedBonus,
    /// Order, pay at Stripe, whose event is told until it is taken, claim twice.
    CardPurchase,
    /// The same with more months for a key.
    CardRenewal,
    /// Paid, and no event comes.
    CardUnheard,
    /// The page is not what was asked for.
    CardUnusable,
    /// Nobody pays.
    CardExpiry,
    /// Stripe tells that the page ended.
    CardEnded,
    /// Paid just before it is closed, and no event tells.
    CardLastMoment,
    /// Another amount is paid.
    CardTooLittle,
    /// Money where test cards are expected.
    CardElsewhere,
    /// The database is restored from a copy that does not know the order.
    CardRestored,
    /// The same, and Stripe told of the payment before.
    CardForgotten,
    /// Given back, with the bonus that it brought.
    CardRefund,
    /// The same, and nobody told of the payment before.
    CardRefundFirst,
    /// A bank asks for the money.
    CardDisputed,
    /// And does not get it.
    CardDisputeWon,
    /// Or does.
    CardDisputeLost,
}

const STORIES: [(Story, &[&str]); 29] = [
    (
        Story::Purchase,
        &[
            "open_order.before_commit",
            "open_order.committed",
            "request_invoice.added",
            "store_invoice.before_commit",
            "store_invoice.committed",
            "settle.before_commit",
            "settle.committed",
            "claim.before_commit",
            "claim.committed",
        ],
    ),
    (
        Story::Renewal,
        &[
            "open_order.before_commit",
            "open_order.committed",
            "request_invoice.added",
            "store_invoice.before_commit",
            "store_invoice.committed",
            "settle.before_commit",
            "settle.committed",
        ],
    ),
    (Story::Reset, &["open_order.committed", "store_invoice.committed", "settle.before_commit", "settle.committed"]),
    (Story::LostAnswer, &["request_invoice.found"]),
    (Story::PaidUnseen, &["store_invoice.committed", "settle.before_commit"]),
    (Story::CancelledUnseen, &["abandon.before_commit", "abandon.committed"]),
    (Story::Expiry, &["close.before_cancel", "close.cancelled", "expire.before_commit", "expire.committed"]),
    (Story::LastMoment, &["close.already_settled"]),
    (Story::Stranger, &["pass_over.before_commit", "pass_over.committed"]),
    (Story::Restored, &["record_orphan.before_commit", "record_orphan.committed"]),
    (Story::Told, &["fan_out.before_commit", "fan_out.committed", "send_webhooks.claimed", "send_webhooks.answered"]),
    (Story::Bonus, &["settle.before_commit", "settle.committed"]),
    (Story::BankedBonus, &["settle.before_commit", "settle.committed"]),
    (
        Story::CardPurchase,
        &[
            "open_order.before_commit",
            "open_order.committed",
            "request_checkout.made",
            "store_checkout.before_commit",
            "store_checkout.committed",
            "settle.before_commit",
            "settle.committed",
        ],
    ),
    (
        Story::CardRenewal,
        &["request_checkout.made", "store_checkout.committed", "settle.before_commit", "settle.committed"],
    ),
    (Story::CardUnheard, &["look_up_checkout.answered", "settle.before_commit", "settle.committed"]),
    (
        Story::CardUnusable,
        &["close_checkout.before_expire", "close_checkout.expired", "abandon.before_commit", "abandon.committed"],
    ),
    (
        Story::CardExpiry,
        &["close_checkout.before_expire", "close_checkout.expired", "expire.before_commit", "expire.committed"],
    ),
    (Story::CardEnded, &["expire.before_commit", "expire.committed"]),
    (Story::CardLastMoment, &["close_checkout.already_closed", "look_up_checkout.answered", "settle.before_commit"]),
    (Story::CardTooLittle, &["settle.before_commit", "settle.committed"]),
    (Story::CardElsewhere, &["record_mismatch.before_commit", "record_mismatch.committed"]),
    (Story::CardRestored, &["record_orphan.before_commit", "record_orphan.committed"]),
    (Story::CardForgotten, &["record_orphan.before_commit", "record_orphan.committed"]),
    (Story::CardRefund, &["give_back.before_commit", "give_back.committed"]),
    (
        Story::CardRefundFirst,
        &[
            "settle.before_commit",
            "settle.committed",
            "give_back.paid_first",
            "give_back.before_commit",
            "give_back.committed",
        ],
    ),
    (Story::CardDisputed, &["give_back.before_commit", "give_back.committed"]),
    (Story::CardDisputeWon, &["give_back.before_commit", "give_back.committed"]),
    (Story::CardDisputeLost, &["give_back.before_commit", "give_back.committed"]),
];

/// So many stories of one test at a time; most of each is waiting.
const AT_A_TIME: usize = 3;

/// A test for each story, which dies at every one of its points.
macro_rules! tests {
    ($($test:ident: $story:ident),+ $(,)?) => {
        on_both_databases!($($test),+);
        $(async fn $test(on: On) { everywhere(on, Story::$story).await; })+
    };
}

tests!(
    a_purchase: Purchase,
    a_renewal: Renewal,
    a_bandwidth_reset: Reset,
    an_invoice_whose_answer_was_lost: LostAnswer,
    an_invoice_that_was_paid_unseen: PaidUnseen,
    an_invoice_that_was_cancelled_unseen: CancelledUnseen,
    an_expiry: Expiry,
    a_payment_at_the_last_moment: LastMoment,
    a_payment_to_somebody_else: Stranger,
    a_restored_database: Restored,
    scenario_39_a_webhook_that_is_to_be_told: Told,
    scenario_28_a_bonus: Bonus,
    scenario_28_a_bonus_that_was_banked: BankedBonus,
    scenario_25_a_purchase_by_card: CardPurchase,
    a_renewal_by_card: CardRenewal,
    a_payment_by_card_that_no_event_tells_of: CardUnheard,
    a_page_that_is_not_what_was_asked_for: CardUnusable,
    a_page_that_nobody_pays_on: CardExpiry,
    a_page_whose_end_stripe_tells: CardEnded,
    a_payment_by_card_at_the_last_moment: CardLastMoment,
    a_payment_by_card_of_another_amount: CardTooLittle,
    a_payment_of_the_other_mode: CardElsewhere,
    a_payment_by_card_for_an_order_that_is_not_known: CardRestored,
    scenario_52_a_payment_by_card_that_the_database_forgot: CardForgotten,
    a_refund: CardRefund,
    a_refund_that_comes_before_its_payment: CardRefundFirst,
    a_dispute: CardDisputed,
    a_dispute_that_is_won: CardDisputeWon,
    a_dispute_that_is_lost: CardDisputeLost,
);

/// A story dies at its points or fails; so what stands in the table, in the code and in the stories has been reached.
#[test]
fn every_point_of_the_table_stands_in_the_code_once_and_is_reached() {
    let table: BTreeSet<&str> = POINTS.into();
    assert_eq!(table.len(), POINTS.len(), "a point is there twice");
    let told: BTreeSet<&str> = STORIES.iter().flat_map(|(_, points)| points.iter().copied()).collect();
    assert_eq!(told, table);

    let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/app");
    let mut in_code: Vec<String> = Vec::new();
    for file in std::fs::read_dir(app).unwrap() {
        let code = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let points = code.split("crash_point!(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        in_code.extend(points);
    }
    in_code.sort();
    assert_eq!(in_code, table.into_iter().collect::<Vec<_>>());
}

async fn everywhere(on: On, story: Story) {
    let (_, points) = STORIES.iter().find(|(other, _)| *other == story).unwrap();
    let told = points.iter().map(|point| async move {
        eprintln!("{on:?}: {story:?} dies at {point}");
        tell(on, story, point).await;
    });
    stream::iter(told).buffer_unordered(AT_A_TIME).collect::<Vec<()>>().await;
}

async fn tell(on: On, story: Story, point: &str) {
    match story {
        Story::Purchase => purchase(on, point).await,
        Story::Renewal => renewal(on, point).await,
        Story::Reset => reset(on, point).await,
        Story::LostAnswer => lost_answer(on, point).await,
        Story::PaidUnseen => paid_unseen(on, point).await,
        Story::CancelledUnseen => cancelled_unseen(on, point).await,
        Story::Expiry => expiry(on, point).await,
        Story::LastMoment => last_moment(on, point).await,
        Story::Stranger => stranger(on, point).await,
        Story::Restored => restored(on, point).await,
        Story::Told => told(on, point).await,
        Story::Bonus => bonus(on, point).await,
        Story::BankedBonus => banked_bonus(on, point).await,
        Story::CardPurchase => by_card::purchase(on, point).await,
        Story::CardRenewal => by_card::renewal(on, point).await,
        Story::CardUnheard => by_card::unheard(on, point).await,
        Story::CardUnusable => by_card::unusable(on, point).await,
        Story::CardExpiry => by_card::expiry(on, point).await,
        Story::CardEnded => by_card::ended(on, point).await,
        Story::CardLastMoment => by_card::last_moment(on, point).await,
        Story::CardTooLittle => by_card::too_little(on, point).await,
        Story::CardElsewhere => by_card::elsewhere(on, point).await,
        Story::CardRestored => by_card::restored(on, point).await,
        Story::CardForgotten => by_card::forgotten(on, point).await,
        Story::CardRefund => by_card::refund(on, point).await,
        Story::CardRefundFirst => by_card::refund_first(on, point).await,
        Story::CardDisputed => by_card::disputed(on, point).await,
        Story::CardDisputeWon => by_card::dispute_won(on, point).await,
        Story::CardDisputeLost => by_card::dispute_lost(on, point).await,
    }
}

fn a_month() -> Wish {
    Wish::to_buy("eu-de", 1, None, &mut fastrand::Rng::new())
}

/// From the wish to the payment that is seen.
async fn buy(client: &Client, wish: &Wish) -> Order {
    let order = client.order(wish).await.unwrap();
    assert_eq!(client.pay(&order, order.msat()).await, Payment::Arrived);
    client.until_paid(&order.name).await;
    order
}

async fn buy_and_claim(client: &Client, wish: &Wish) -> Config {
    let order = buy(client, wish).await;
    let config = client.claim(&order).await.unwrap();
    assert_eq!(client.claim(&order).await.unwrap(), config, "a repeated claim");
    config
}

async fn purchase(on: On, point: &str) {
    let mut world = World::new(on, 1, Duration::ZERO).await;
    let (client, wish) = (world.client(1), a_month());
    world.die_at(point, buy_and_claim(&client, &wish)).await;
    world.start_service(0).await;
    let config = buy_and_claim(&client, &wish).await;
    let books = world.checks_out(&[config]).await;
    assert_eq!((books.orders_in("paid"), books.orders.len()), (1, 1));
}

async fn renewal(on: On, point: &str) {
    let mut world = World::open(on).await;
    let (client, mut chance) = (world.client(1), fastrand::Rng::new());
    let key = a_key(&mut chance);
    let config = buy_and_claim(&client, &Wish::to_buy("eu-de", 1, Some(&key), &mut chance)).await;
    let wish = Wish::to_renew(&key, 3, &mut chance);
    world.die_at(point, buy(&client, &wish)).await;
    world.start_service(0).await;
    buy(&client, &wish).await;
    let books = world.checks_out(&[config]).await;
    assert_eq!((books.orders_in("paid"), books.orders.len(), books.subscriptions.len()), (2, 2, 1));
}

async fn reset(on: On, point: &str) {
    let mut world = World::open(on).await;
    let (client, mut chance) = (world.client(1), fastrand::Rng::new());
    let key = a_key(&mut chance);
    let config = buy_and_claim(&client, &Wish::to_buy("eu-de", 1, Some(&key), &mut chance)).await;
    world.use_up(&config.subscription).await;
    let wish = Wish::to_reset(&key, &mut chance);
    world.die_at(point, buy(&client, &wish)).await;
    world.start_service(0).await;
    buy(&client, &wish).await;
    let books = world.checks_out(&[config]).await;
    assert_eq!((books.orders_in("paid"), books.grants.len(), books.resets[0].resets), (2, 1, 1));
}

async fn lost_answer(on: On, point: &str) {
    let mut world = World::new(on, 1, Duration::ZERO).await;
    let (client, wish) = (world.client(1), a_month());
    world.die_at("request_invoice.added", client.order(&wish)).await;
    world.die_at(point, client.order(&wish)).await;
    world.start_service(0).await;
    let config = buy_and_claim(&client, &wish).await;
    let books = world.checks_out(&[config]).await;
    assert_eq!((books.orders.len(), books.invoices.len()), (1, 1));
}

async fn paid_unseen(on: On, point: &str) {
    let mut world = World::new(on, 1, Duration::ZERO).await;
    let (client, wish) = (world.client(1), a_month());
    world.die_at("request_invoice.added", client.order(&wish)).await;
    let invoice = world.books(&[]).await.invoices.remove(0);
    let seen = Order {
        name: invoice.payment_hash.to_string(),
        bill: Bill::Invoice { text: invoice.payment_request, msat: invoice.amount.get() },
        expires_at: invoice.created_at,
        token: None,
    };
    assert_eq!(client.pay(&seen, seen.msat()).await, Payment::Arrived);
    world.die_at(point, client.order(&wish)).await;
    world.start_service(0).await;
    let config = buy_and_claim(&client, &wish).await;
    assert_eq!(config.order, seen.name);
    world.checks_out(&[config]).await;
}

/// The key of an order that came to nothing starts a new one.
async fn cancelled_unseen(on: On, point: &str) {
    let mut world = World::new(on, 1, Duration::ZERO).await;
    let (client, wish) = (world.client(1), a_month());
    world.die_at("request_invoice.added", client.order(&wish)).await;
    assert!(client.control_node("/clock/advance", &json!({ "seconds": 120 })).await);
    world.die_at(point, client.order(&wish)).await;
    world.start_service(0).await;
    let config = buy_and_claim(&client, &wish).await;
    let books = world.checks_out(&[config]).await;
    assert_eq!((books.orders_in("failed"), books.orders_in("paid")), (1, 1));
}

/// The node's clock is behind, so that the invoice runs out a few seconds after it was made, and not first at the node.
async fn expiry(on: On, point: &str) {
    let mut world = World::new(on, 1, Duration::from_secs(52)).await;
    let (client, wish) = (world.client(1), a_month());
    let meanwhile = async { client.order(&wish).await.unwrap() };
    world.die_at(point, meanwhile).await;
    let unpaid = world.books(&[]).await.orders.remove(0);
    world.start_service(0).await;
    client.until_expired(unpaid.payment_hash.as_ref().unwrap()).await;
    let books = world.checks_out(&[]).await;
    assert_eq!(books.orders_in("expired"), 1);
}

async fn last_moment(on: On, point: &str) {
    let mut world = World::new(on, 1, Duration::from_secs(52)).await;
    let client = world.client(1);
    let meanwhile = async {
        loop {
            // A look at the node that happens to come now finds the payment: then the next one.
            let order = client.order(&a_month()).await.unwrap();
            assert!(client.control_node("/faults", &json!({ "fault": "lose_event", "nth": 1 })).await);
            client.pay(&order, order.msat()).await;
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
    };
    world.die_at(point, meanwhile).await;
    world.start_service(0).await;
    let books = world.checks_out(&[]).await;
    assert_eq!(books.orders_in("paid"), books.orders.len());
}

async fn stranger(on: On, point: &str) {
    let mut world = World::new(on, 1, Duration::ZERO).await;
    let client = world.client(1);
    let meanwhile = async {
        loop {
            assert!(client.control_node("/faults", &json!({ "fault": "backlog", "settled": 1 })).await);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    world.die_at(point, meanwhile).await;
    world.start_service(0).await;
    let config = buy_and_claim(&client, &a_month()).await;
    let books = world.checks_out(&[config]).await;
    assert_eq!(books.payments.len(), 1);
}

async fn restored(on: On, point: &str) {
    let mut world = World::open(on).await;
    let client = world.client(1);
    let config = buy_and_claim(&client, &a_month()).await;
    world.kill_service(0);
    let copy = world.backup().await;
    world.start_service(0).await;
    let forgotten = client.order(&a_month()).await.unwrap();
    world.kill_service(0);
    world.restore(&copy);
    assert_eq!(client.pay(&forgotten, forgotten.msat()).await, Payment::Arrived);
    world.die_at(point, std::future::pending::<()>()).await;
    world.start_service(0).await;
    let books = world.checks_out(&[config]).await;
    let outcomes: Vec<_> = books.payments.iter().map(|payment| payment.outcome.as_str()).collect();
    assert_eq!(outcomes, ["applied", "orphaned"]);
    let settled = books.invoices.iter().filter(|invoice| matches!(invoice.state, InvoiceState::Settled(_)));
    assert_eq!(settled.count(), 2);
}

/// At least once, and known by its id where it is twice.
async fn told(on: On, point: &str) {
    let receiver = Receiver::start().await;
    let mut world = World::new(on, 1, Duration::ZERO).await;
    world.configure(&format!(
        "[[webhooks]]\nurl = \"{}\"\nevents = [\"order.paid\"]\n\
         secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n",
        receiver.url("/hooks")
    ));
    let (client, wish) = (world.client(1), a_month());
    world.die_at(point, buy(&client, &wish)).await;
    world.start_service(0).await;
    let order = buy(&client, &wish).await;
    let began = tokio::time::Instant::now();
    let mut database = world.database().await;
    let waiting = "SELECT CAST(count(*) AS BIGINT) FROM webhook_deliveries WHERE state = 'delivered'";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut database).await.unwrap() == 0 {
        assert!(began.elapsed() < crate::PATIENCE, "nobody was told after {point}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let came = receiver.at("/hooks");
    let twice = point == "send_webhooks.answered";
    assert_eq!(came.len(), if twice { 2 } else { 1 }, "{point}");
    let ids: BTreeSet<_> = came.iter().map(|one| one.header("webhook-id").to_owned()).collect();
    assert_eq!(ids.len(), 1);
    assert!(came.iter().all(|one| one.json()["data"]["order"]["paymentHash"] == order.name.as_str()));
    world.checks_out(&[]).await;
}

async fn bonus(on: On, point: &str) {
    let mut world = World::open(on).await;
    let client = world.client(1);
    let owner = world.account().await;
    let code = client.referral_code(&owner).await;
    let config = buy_and_claim(&client, &a_month().of(&owner)).await;
    let wish = a_month().naming(&code);
    world.die_at(point, buy(&client, &wish)).await;
    world.start_service(0).await;
    buy(&client, &wish).await;
    let books = world.checks_out(&[config]).await;
    let given: Vec<_> = books.grants.iter().filter(|grant| grant.kind == "referral").collect();
    assert!(matches!(given[..], [grant] if grant.subscription_id.is_some()), "{given:?}");
}

async fn banked_bonus(on: On, point: &str) {
    let mut world = World::open(on).await;
    let client = world.client(1);
    let owner = world.account().await;
    let code = client.referral_code(&owner).await;
    buy(&client, &a_month().naming(&code)).await;
    buy(&client, &a_month().naming(&code)).await;
    let wish = a_month().of(&owner);
    world.die_at(point, buy(&client, &wish)).await;
    world.start_service(0).await;
    let config = buy_and_claim(&client, &wish).await;
    let books = world.checks_out(&[config]).await;
    let given: Vec<_> = books.grants.iter().filter(|grant| grant.kind == "referral").collect();
    assert!(given.len() == 2 && given.iter().all(|grant| grant.subscription_id.is_some()), "{given:?}");
}
