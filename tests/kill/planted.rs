//! The checker finds what is wrong: each of its rules is broken once, in books that were right.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::{AnyConnection, AssertSqlSafe};
use wiretoll::lnd::Node;

use crate::books::Books;
use crate::checker::{self, Findings, RULES};
use crate::client::{Client, Config, Order, Payment, Wish, a_key};
use crate::on_both_databases;
use crate::world::{On, World};

/// What to break, and the rule that must say so.
const FAULTS: [(&str, &str); 59] = [
    ("DELETE FROM payments WHERE outcome = 'applied_late'", "a settled invoice is one payment of its amount"),
    (
        "UPDATE payments SET amount = amount + 1 WHERE outcome = 'applied'",
        "a settled invoice is one payment of its amount",
    ),
    ("UPDATE payments SET settled_at = settled_at + 1", "a settled invoice is one payment of its amount"),
    ("UPDATE payments SET external_id = 'x' WHERE outcome = 'applied_late'", "a payment is a settled invoice"),
    ("DELETE FROM payments WHERE outcome = 'refunded'", "a paid page is one payment of its amount"),
    ("UPDATE payments SET amount = amount + 1 WHERE outcome = 'disputed'", "a paid page is one payment of its amount"),
    ("UPDATE payments SET unit = 'eur' WHERE outcome = 'disputed'", "a paid page is one payment of its amount"),
    ("UPDATE payments SET external_id = 'pi_x' WHERE outcome = 'disputed'", "a payment by card is a paid page"),
    ("DELETE FROM payments WHERE outcome = 'applied_late'", "no satoshi and no cent comes or goes"),
    ("DELETE FROM payments WHERE outcome = 'refunded'", "no satoshi and no cent comes or goes"),
    ("UPDATE payments SET refunded = 0", "no satoshi and no cent comes or goes"),
    ("UPDATE payments SET refunded = 1 WHERE outcome = 'applied'", "nothing goes back here that did not at Stripe"),
    ("UPDATE disputes SET closed_at = 1, outcome = 'lost'", "nothing goes back here that did not at Stripe"),
    ("UPDATE payments SET refunded = 1 WHERE outcome = 'refunded'", "what went back at Stripe went back here"),
    ("DELETE FROM disputes", "what went back at Stripe went back here"),
    (
        "UPDATE payments SET outcome = 'applied' WHERE outcome IN ('disputed', 'refunded')",
        "a payment's outcome is what became of its order",
    ),
    (
        "UPDATE payments SET outcome = 'refunded' WHERE outcome = 'disputed'",
        "a payment's outcome is what became of its order",
    ),
    (
        "UPDATE payments SET outcome = 'applied' WHERE outcome = 'mismatched'",
        "a payment's outcome is what became of its order",
    ),
    (
        "UPDATE payments SET outcome = 'refund_due' WHERE outcome = 'applied'",
        "a payment's outcome is what became of its order",
    ),
    (
        "UPDATE payments SET outcome = 'applied' WHERE outcome = 'applied_late'",
        "a payment's outcome is what became of its order",
    ),
    (
        "UPDATE payments SET excess = 1 WHERE outcome = 'applied_late'",
        "a payment's outcome is what became of its order",
    ),
    ("UPDATE payments SET order_id = NULL, outcome = 'orphaned'", "a payment's outcome is what became of its order"),
    ("DELETE FROM grants WHERE kind = 'renewal'", "what was applied is one grant"),
    ("UPDATE grants SET months = months + 1 WHERE kind = 'renewal'", "what was applied is one grant"),
    (
        "INSERT INTO grants (id, order_id, kind, subscription_id, sequence, months, granted_at) \
         SELECT 'twice', order_id, 'referral', subscription_id, sequence + 9, months, granted_at FROM grants \
         WHERE kind = 'renewal'",
        "a purchase with a code brings its owner one bonus",
    ),
    (
        "UPDATE grants SET order_id = (SELECT id FROM orders WHERE state = 'expired' AND rail = 'lightning') \
         WHERE kind = 'renewal'",
        "a grant has its payment, and counts no longer than that",
    ),
    ("UPDATE grants SET revoked_at = NULL", "a grant has its payment, and counts no longer than that"),
    (
        "UPDATE grants SET revoked_at = 1 WHERE kind = 'renewal'",
        "a grant has its payment, and counts no longer than that",
    ),
    ("DELETE FROM grants WHERE kind = 'referral'", "a purchase with a code brings its owner one bonus"),
    (
        "UPDATE grants SET months = months + 1 WHERE kind = 'referral'",
        "a purchase with a code brings its owner one bonus",
    ),
    (
        "INSERT INTO grants (id, order_id, kind, account_id, months, granted_at) \
         SELECT 'twice', founded_by, 'referral', (SELECT id FROM accounts), 1, 1 FROM subscriptions \
         WHERE founded_by IN (SELECT order_id FROM payments WHERE outcome = 'applied_late')",
        "a purchase with a code brings its owner one bonus",
    ),
    (
        "INSERT INTO monthly_usage (subscription_id, month, bytes, resets) SELECT id, '2026-11', 0, 1 FROM subscriptions",
        "a reset that was applied is one of its subscription's",
    ),
    ("UPDATE disputes SET closed_at = 1, outcome = 'won'", "a subscription lasts as long as its grants"),
    ("UPDATE subscriptions SET ends_at = ends_at + 1", "a subscription lasts as long as its grants"),
    ("UPDATE grants SET sequence = sequence + 1 WHERE kind = 'renewal'", "a subscription lasts as long as its grants"),
    (
        "UPDATE orders SET state = 'pending', closed_at = NULL WHERE state = 'expired'",
        "what is open here is open at the node",
    ),
    ("UPDATE orders SET amount_msat = amount_msat + 1", "an order and its invoice are the same"),
    (
        "UPDATE orders SET payment_hash = 'x' WHERE state = 'expired' AND rail = 'lightning'",
        "what is closed here is closed at the node",
    ),
    ("DELETE FROM orders WHERE state = 'expired' AND rail = 'lightning'", "an invoice of ours is known"),
    ("UPDATE orders SET checkout_session = 'cs_x' WHERE state = 'pending'", "an order and its page are the same"),
    ("UPDATE orders SET price_cents = price_cents + 1 WHERE state = 'pending'", "an order and its page are the same"),
    (
        "UPDATE orders SET state = 'expired', closed_at = 1 WHERE state = 'pending'",
        "what is closed here is closed at Stripe",
    ),
    (
        "UPDATE orders SET state = 'pending', closed_at = NULL WHERE state = 'expired'",
        "what is open here is open at Stripe",
    ),
    (
        "DELETE FROM orders WHERE state = 'expired' AND rail = 'card' AND id NOT IN \
         (SELECT order_id FROM payments WHERE order_id IS NOT NULL)",
        "a page of ours is known",
    ),
    ("DELETE FROM stripe_events", "an event of Stripe's that was taken is remembered"),
    ("UPDATE slots SET peer_id = NULL WHERE n = 0", "a slot has one peer, and the counts say so"),
    ("UPDATE servers SET slots_held = slots_held + 1", "a slot has one peer, and the counts say so"),
    (
        "UPDATE peers SET holder_kind = NULL, holder_id = NULL, public_key = NULL, key_id = NULL, \
         sealed_preshared_key = NULL, reserved_by_order = (SELECT id FROM orders WHERE state = 'expired' \
         AND rail = 'lightning') WHERE slot = 0 AND server_id = 'eu-de'",
        "an order that can be paid has its slot, a dead one none",
    ),
    (
        "UPDATE peers SET holder_id = 'nobody' WHERE slot = 0 AND server_id = 'eu-de'",
        "a held subscription has one peer",
    ),
    ("UPDATE subscription_keys SET released_at = 1", "a bound key is its subscription's alone"),
    ("DELETE FROM events WHERE type = 'order.paid_late'", "an order's story is told once"),
    ("UPDATE events SET type = 'order.paid' WHERE type = 'order.created'", "an order's story is told once"),
    ("DELETE FROM events WHERE type = 'payment.disputed'", "a payment's story is told once"),
    ("UPDATE events SET type = 'payment.refunded' WHERE type = 'payment.disputed'", "a payment's story is told once"),
    (
        "UPDATE events SET type = 'subscription.created' WHERE type = 'claim.bound'",
        "a subscription's story is told once",
    ),
    ("UPDATE events SET sequence = sequence + 10 WHERE sequence > 0", "events are numbered without a gap"),
    ("UPDATE settlement_cursor SET settle_index = settle_index + 1", "the position is a settlement of the node"),
    (
        "UPDATE peers SET public_key = 'another' WHERE slot = 0 AND server_id = 'eu-de'",
        "a claimed config is what is stored, and nobody else's",
    ),
    ("UPDATE idempotency_keys SET order_id = 'none'", "a remembered key stands for a stored order"),
];

on_both_databases!(the_checker_finds_each_planted_fault);

/// Two subscriptions on Lightning, one of them renewed and the other paid late, and an order that nobody paid. By card
/// one with a bonus, one given back and one disputed, one of the wrong amount, one that ended, and one that is open.
async fn the_checker_finds_each_planted_fault(on: On) {
    let mut world = World::open(on).await;
    let client = world.client(1);
    let configs = trade(&client).await;
    trade_by_card(&client, &client.referral_code(&world.account().await).await).await;
    world.checks_out(&configs).await;
    world.kill_service(0);

    let config = world.config();
    let (node, mut database) = (Node::new(&config.lnd), world.database().await);
    let (stripe, taken) = (&*world.stripe, world.stripe.taken());
    let judges = (&node, stripe);
    let books = Books::read(judges, taken.clone(), &mut database, &config, &configs).await;
    let outcomes: BTreeSet<_> = books.payments.iter().map(|payment| payment.outcome.as_str()).collect();
    assert_eq!(outcomes, BTreeSet::from(["applied", "applied_late", "disputed", "mismatched", "refunded"]));
    assert_eq!((books.orders_in("expired"), books.payments.len(), books.subscriptions.len()), (3, 7, 5));

    let mut broken = BTreeSet::new();
    for (fault, rule) in FAULTS {
        run(&mut database, "BEGIN").await;
        run(&mut database, fault).await;
        let found = check(&Books::read(judges, taken.clone(), &mut database, &config, &configs).await);
        assert!(found.iter().any(|wrong| wrong.starts_with(&format!("{rule}: "))), "{fault}: {found:#?}");
        broken.insert(rule);
        run(&mut database, "ROLLBACK").await;
    }

    assert_eq!(broken, RULES.iter().map(|(rule, ..)| *rule).collect(), "a rule that nothing breaks says nothing");
    let right = check(&Books::read(judges, taken, &mut database, &config, &configs).await);
    assert_eq!(right, [""; 0], "it changed nothing");
}

async fn trade(client: &Client) -> Vec<Config> {
    let mut chance = fastrand::Rng::new();
    let key = a_key(&mut chance);
    let first = order(client, &Wish::to_buy("eu-de", 1, Some(&key), &mut chance)).await;
    pay(client, &first).await;
    let renewal = order(client, &Wish::to_renew(&key, 3, &mut chance)).await;
    pay(client, &renewal).await;
    // The node's canceller rests, so that a payment comes after the invoice's time; then it goes on with the other.
    let late = order(client, &Wish::to_buy("eu-de", 1, None, &mut chance)).await;
    let unpaid = order(client, &Wish::to_buy("eu-de", 1, None, &mut chance)).await;
    assert!(client.control_node("/faults", &json!({ "fault": "pause_canceller" })).await);
    assert!(client.control_node("/clock/advance", &json!({ "seconds": 90 })).await);
    pay(client, &late).await;
    assert!(client.control_node("/faults", &json!({ "fault": "resume_canceller" })).await);
    client.until_expired(&unpaid.name).await;
    vec![client.claim(&first).await.unwrap(), client.claim(&late).await.unwrap()]
}

async fn trade_by_card(client: &Client, code: &str) {
    let (mut chance, stripe) = (fastrand::Rng::new(), &client.stripe);
    let mut a_month = || Wish::to_buy("us-east", 1, None, &mut chance).by_card();
    pay_by_card(client, &a_month().naming(code)).await;
    let back = pay_by_card(client, &a_month()).await;
    stripe.tell(&stripe.refund(&back, 300)).await;
    let disputed = pay_by_card(client, &a_month()).await;
    stripe.tell(&stripe.dispute(&disputed, "needs_response")).await;
    let mismatched = order(client, &a_month()).await;
    stripe.tell(&stripe.completed(&stripe.pay_too_little(&mismatched.name).unwrap())).await;
    let ended = order(client, &a_month()).await;
    stripe.tell(&stripe.end(&ended.name)).await;
    order(client, &a_month()).await;
}

async fn pay_by_card(client: &Client, wish: &Wish) -> Value {
    let order = order(client, wish).await;
    let paid = client.stripe.pay(&order.name).unwrap();
    client.stripe.tell(&client.stripe.completed(&paid)).await;
    paid
}

async fn order(client: &Client, wish: &Wish) -> Order {
    client.order(wish).await.unwrap()
}

async fn pay(client: &Client, order: &Order) {
    assert_eq!(client.pay(order, order.msat()).await, Payment::Arrived);
    client.until_paid(&order.name).await;
}

async fn run(database: &mut AnyConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *database).await.unwrap();
}

fn check(books: &Books) -> Vec<String> {
    let Findings { always, at_rest } = checker::check(books);
    [always, at_rest].concat()
}
