//! Orders by card that become somebody's, and payments of orders that the database has forgotten.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;
use wiretoll::app::Error;
use wiretoll::app::adopt_payment::{Adoption, AmountCheck, Bought, adopt_payment};
use wiretoll::app::find_lost_payments::{find_lost_payments, last_known};
use wiretoll::app::resolve_payment::PaymentName;
use wiretoll::domain::order::ClaimBy;
use wiretoll::domain::payment::{Payment, Provider};
use wiretoll::domain::server::ServerId;

use super::{Cards, fake};
use crate::database::{connect, number, run, until_waiting};
use crate::on_both_databases;
use crate::shop::{On, postgres_url};

on_both_databases!(
    an_order_by_card_is_adopted_with_its_id_and_claim_token,
    scenario_52_an_orphan_by_card_gets_its_order_back,
    an_orphan_whose_money_went_back_is_adopted_by_nobody,
    a_disputed_orphan_is_told_of_once,
    scenario_52_payments_of_orders_that_a_restore_forgot_are_found_at_the_start,
);

async fn an_order_by_card_is_adopted_with_its_id_and_claim_token(on: On) {
    let cards = Cards::open(on).await;
    let (order, token) = cards.order().await;
    let (owner, other) = (cards.bearer().await, cards.bearer().await);
    let adopt = async |bearer: &str, id: &str, token: &str| {
        let body = json!({ "orderId": id, "claimToken": token });
        let reply = cards.shop.post_as(bearer, "/api/v1/account/adopt", body).await;
        (reply.status, reply.body)
    };
    for (id, token) in [(order.as_str(), "x"), (&Uuid::nil().to_string(), &token)] {
        assert_eq!(adopt(&owner, id, token).await.0, 404, "{id}");
    }
    assert_eq!(adopt(&owner, "no id", &token).await.0, 400);
    // An order on Lightning has another name.
    let on_lightning = cards.shop.order().await.body;
    let text = |key: &str| on_lightning[key].as_str().unwrap().to_owned();
    assert_eq!(adopt(&owner, &text("orderId"), &text("claimToken")).await.0, 404);

    let (status, body) = adopt(&owner, &order, &token).await;
    assert_eq!((status, &body["orderId"], &body["subscriptionId"]), (200, &json!(order), &Value::Null), "{body}");
    assert_eq!(cards.send(&cards.completed("evt_1", &order)).await.0, 200);
    let (status, body) = adopt(&owner, &order, &token).await;
    assert_eq!((status, body["subscriptionId"].is_string()), (200, true), "{body}");
    assert_eq!(cards.subscription(&order).await.account, cards.stored(&order).await.account);
    assert_eq!(adopt(&other, &order, &token).await.0, 409);
}

/// A payment for an order that a restored backup forgot; its id, its claim token and its page.
async fn an_orphan(cards: &Cards) -> (Payment, String, Value) {
    let (kept, _) = cards.order().await;
    let lost = cards.shop.app().new_id();
    let stored = cards.stored(&kept).await;
    let page = cards.stripe.session_of(&kept);
    cards.forget_page(&kept).await;
    let named = json!({
        "client_reference_id": lost,
        "metadata": { "wiretoll_order": lost, "wiretoll_key": stored.key_id.0.to_string() },
    });
    cards.stripe.set(page["id"].as_str().unwrap(), &named);
    let paid = cards.stripe.pay(page["id"].as_str().unwrap());
    let completed = fake::event("evt_1", "checkout.session.completed", cards.shop.clock.now(), &paid);
    assert_eq!(cards.send(&completed).await.0, 200);
    let token = cards.shop.app().keyring.get(stored.key_id).unwrap().claim_token(lost).expose();
    (orphan(cards, &paid).await, token, paid)
}

async fn orphan(cards: &Cards, paid: &Value) -> Payment {
    let intent = paid["payment_intent"].as_str().unwrap();
    cards.shop.app().store.payment(Provider::Stripe, intent).await.unwrap().unwrap()
}

fn a_purchase(payment: Uuid, months: u32) -> Adoption {
    let server = ServerId::parse("eu-de").unwrap();
    let bought = Bought::New { server, public_key: None, claim_by: ClaimBy::PaymentHash };
    Adoption { payment: PaymentName::Id(payment), months, bought, amount: AmountCheck::Fits }
}

async fn scenario_52_an_orphan_by_card_gets_its_order_back(on: On) {
    let cards = Cards::open(on).await;
    let (payment, token, paid) = an_orphan(&cards).await;
    assert_eq!(payment.outcome.name(), "orphaned");
    let app = cards.shop.app();
    let wrong = adopt_payment(app, &a_purchase(payment.id, 3)).await.unwrap_err();
    assert!(matches!(&wrong, Error::Invalid(why) if why.to_string().contains("$3.00")), "{wrong}");
    let order = adopt_payment(app, &a_purchase(payment.id, 1)).await.unwrap();
    let id = order.id.to_string();
    assert_eq!(json!(id), paid["client_reference_id"]);
    assert_eq!((cards.outcome(&id).await, order.is_paid()), ("applied", true));
    let claimed = cards.shop.claim(json!({ "orderId": id, "claimToken": token })).await;
    assert_eq!((claimed.status, &claimed.body["success"]), (200, &json!(true)), "{}", claimed.body);
    // Once, and what happens to its money later finds it.
    let again = adopt_payment(app, &a_purchase(payment.id, 1)).await;
    assert!(matches!(again, Err(Error::Conflict(_))), "{again:?}");
    let now = cards.shop.clock.now();
    assert_eq!(cards.send(&fake::event("evt_2", "charge.refunded", now, &fake::charge(&paid, 300))).await.0, 200);
    assert_eq!(cards.outcome(&id).await, "refunded");
    assert!(cards.subscription(&id).await.ends_at <= cards.shop.clock.now());
}

async fn an_orphan_whose_money_went_back_is_adopted_by_nobody(on: On) {
    let cards = Cards::open(on).await;
    let (payment, _, paid) = an_orphan(&cards).await;
    let now = cards.shop.clock.now();
    assert_eq!(cards.send(&fake::event("evt_2", "charge.refunded", now, &fake::charge(&paid, 300))).await.0, 200);
    let refused = adopt_payment(cards.shop.app(), &a_purchase(payment.id, 1)).await;
    assert!(matches!(&refused, Err(Error::Conflict(why)) if why.contains("refunded")), "{refused:?}");
    assert_eq!(cards.shop.occupancy().await.held, 0);
}

async fn a_disputed_orphan_is_told_of_once(on: On) {
    let cards = Cards::open(on).await;
    let (payment, _, paid) = an_orphan(&cards).await;
    let now = cards.shop.clock.now();
    let of = |id: &str, status: &str| {
        fake::event(id, fake::dispute_event(status), now, &fake::dispute("dp_1", &paid, status))
    };
    let opened = of("evt_2", "needs_response");
    let (one, other) = tokio::join!(cards.send(&opened), cards.send(&opened));
    assert_eq!((one.0, other.0, cards.send(&opened).await.0), (200, 200, 200));
    assert_eq!(cards.events_of_payment(payment.id).await, ["payment.orphaned", "payment.disputed"]);
    assert!(orphan(&cards, &paid).await.is_open());
    assert_eq!(cards.send(&of("evt_3", "lost")).await.0, 200);
    assert_eq!(orphan(&cards, &paid).await.outcome.name(), "charged_back");
    let told = cards.events_of_payment(payment.id).await;
    assert_eq!(told, ["payment.orphaned", "payment.disputed", "payment.dispute_lost"]);
}

/// The event was read while nobody had the payment, and is entered when somebody has.
#[tokio::test(flavor = "multi_thread")]
async fn a_dispute_that_is_lost_while_its_payment_is_adopted_takes_back_what_was_given() {
    if postgres_url().is_none() {
        return; // on SQLite one follows the other
    }
    let cards = Cards::open(On::Postgres).await;
    let (payment, _, paid) = an_orphan(&cards).await;
    let (shop, now) = (&cards.shop, cards.shop.clock.now());
    let lost = fake::event("evt_2", fake::dispute_event("lost"), now, &fake::dispute("dp_1", &paid, "lost"));
    // The adoption has the payment, and waits here for a slot.
    let mut other = connect(shop).await;
    run(&mut other, "BEGIN; UPDATE servers SET peer_revision = peer_revision WHERE id = 'eu-de'").await;
    let purchase = a_purchase(payment.id, 1);
    let heard = async {
        until_waiting(shop, 1).await;
        cards.send(&lost).await
    };
    let (adopted, heard, ()) = tokio::join!(adopt_payment(shop.app(), &purchase), heard, async {
        until_waiting(shop, 2).await;
        run(&mut other, "COMMIT").await;
    });
    let order = adopted.unwrap().id.to_string();
    assert_eq!((heard.0, cards.outcome(&order).await), (200, "charged_back"));
    assert!(cards.subscription(&order).await.ends_at <= shop.clock.now());
}

/// Stripe told of them before the database was restored, and does not again.
async fn scenario_52_payments_of_orders_that_a_restore_forgot_are_found_at_the_start(on: On) {
    let cards = Cards::open(on).await;
    let (order, _) = cards.buy().await;
    cards.shop.advance(Duration::from_hours(1)).await;
    let (since, page) = (last_known(cards.shop.app()).await.unwrap(), cards.stripe.session_of(&order));
    assert_eq!(since, cards.stored(&order).await.created_at.plus_millis(-10 * 60_000));
    // More than Stripe tells at a time, some of another shop's, and some from before what is known.
    for number in 0..205 {
        cards.stripe.add(&lost(&page, number, 600));
    }
    cards.stripe.add(&lost(&page, 205, -601));
    let mut somebody_elses = lost(&page, 206, 600);
    somebody_elses["metadata"] = json!({});
    cards.stripe.add(&somebody_elses);

    cards.stripe.go_down(true);
    assert!(find_lost_payments(cards.shop.app(), since).await.is_err(), "it is done again");
    cards.stripe.go_down(false);
    for _ in 0..2 {
        find_lost_payments(cards.shop.app(), since).await.unwrap();
        let orphans = "SELECT CAST(count(*) AS BIGINT) FROM payments WHERE outcome = 'orphaned' AND amount = 300";
        assert_eq!(number(&mut connect(&cards.shop).await, orphans).await, 205);
    }
    assert_eq!(cards.outcome(&order).await, "applied");
}

/// A paid page like another one, made so many seconds later, for an order that nobody knows.
fn lost(page: &Value, number: u64, later: i64) -> Value {
    let mut lost = page.clone();
    let order = Uuid::from_u64_pair(7, number);
    lost["id"] = json!(format!("cs_test_lost{number:03}"));
    lost["payment_intent"] = json!(format!("pi_lost{number:03}"));
    lost["client_reference_id"] = json!(order);
    lost["metadata"] = json!({ "wiretoll_order": order });
    lost["created"] = json!(page["created"].as_i64().unwrap() + later);
    fake::paid(&lost)
}
