//! Referrals: a purchase that names a code brings its owner months, once and never their own.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use wiretoll::app::apply_invoice::apply_invoice;
use wiretoll::app::create_api_key::{KeyOwner, MadeApiKey, NewApiKey, create_api_key};
use wiretoll::app::operator::By;
use wiretoll::app::reconcile;
use wiretoll::domain::account::{KeyName, Scopes};
use wiretoll::domain::event::{EventType, Subject};
use wiretoll::domain::time::Timestamp;

use crate::database::{connect, run};
use crate::on_both_databases;
use crate::shop::{API, Bought, On, Reply, Shop, a_key};

on_both_databases!(
    scenario_28_a_purchase_brings_its_bonus_once,
    scenario_28_nobody_refers_themselves,
    scenario_28_a_buyer_who_is_known_brings_one_bonus,
    scenario_28_a_bonus_that_was_taken_back_is_given_to_nobody,
    a_bonus_waits_for_its_owner_s_next_subscription,
    a_bonus_is_given_to_what_its_owner_adopts,
    an_account_earns_so_many_months_a_year_and_no_more,
    a_code_that_is_nobody_s_loses_no_sale,
    a_code_is_one_account_s_for_good,
    bonuses_that_cross_do_not_wait_for_each_other,
);

/// An account with a code.
struct Owner {
    key: MadeApiKey,
    code: String,
}

impl Owner {
    async fn of(shop: &Shop) -> Self {
        let key = a_credential(shop, "orders subscriptions referrals").await;
        let code = create(shop, &key, json!({})).await.body["code"].as_str().unwrap().to_owned();
        Self { key, code }
    }

    async fn buys(&self, shop: &Shop, body: Value) -> Bought {
        let reply = shop.post_as(&bearer(&self.key), &format!("{API}/subscription/create"), body).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let order = Bought::from(reply.body);
        shop.pay(&order.invoice).await;
        shop.until_paid(&order.hash).await;
        order
    }

    /// Three months by a stranger.
    async fn refers(&self, shop: &Shop) -> Bought {
        shop.buy_with(json!({ "serverId": "eu-de", "duration": 3, "referralCode": self.code })).await
    }

    async fn totals(&self, shop: &Shop) -> (Value, Value) {
        let body = create(shop, &self.key, json!({})).await.body;
        (body["usage_count"].clone(), body["bonusMonths"].clone())
    }

    async fn history(&self, shop: &Shop) -> Value {
        let reply = shop.get_as(&bearer(&self.key), "/api/referral/history").await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body["history"].clone()
    }
}

async fn a_credential(shop: &Shop, scopes: &str) -> MadeApiKey {
    let (name, scopes) = (KeyName::parse("a test's").unwrap(), Scopes::parse(scopes).unwrap());
    create_api_key(shop.app(), NewApiKey { account: KeyOwner::NewAccount, name, scopes }, By::Operator(None))
        .await
        .unwrap()
}

fn bearer(made: &MadeApiKey) -> String {
    format!("Bearer {}", made.key.expose())
}

async fn create(shop: &Shop, key: &MadeApiKey, body: Value) -> Reply {
    shop.post_as(&bearer(key), "/api/referral/create", body).await
}

fn a_month() -> Value {
    json!({ "serverId": "eu-de", "duration": 1 })
}

async fn end(shop: &Shop, order: &Bought) -> Timestamp {
    let subscription = shop.stored(order).await.subscription_id.unwrap();
    shop.app().store.subscription(subscription).await.unwrap().unwrap().ends_at
}

async fn scenario_28_a_purchase_brings_its_bonus_once(on: On) {
    let shop = Shop::open(on).await;
    let owner = Owner::of(&shop).await;
    let first = owner.buys(&shop, a_month()).await;
    let main = owner.buys(&shop, json!({ "serverId": "us-east", "duration": 3 })).await;
    let before = (end(&shop, &first).await, end(&shop, &main).await);
    let order = owner.refers(&shop).await;
    let after = (end(&shop, &first).await, end(&shop, &main).await);
    assert_eq!(after, (before.0, before.1.plus_months(1).unwrap()), "the one that ends last");
    let invoice = shop.app().node.lookup_invoice(order.payment_hash()).await.unwrap().unwrap();
    apply_invoice(shop.app(), &invoice, None).await.unwrap();
    reconcile::catch_up(shop.app()).await.unwrap();
    assert_eq!(end(&shop, &main).await, after.1);
    assert_eq!(owner.totals(&shop).await, (json!(1), json!(1)));
    let history = owner.history(&shop).await;
    assert_eq!((&history[0]["duration_purchased"], &history[0]["bonus_earned"]), (&json!(3), &json!(1)));
    assert_eq!(history.as_array().unwrap().len(), 1);
    let account = Subject::Account(owner.key.stored.account);
    let events = shop.app().store.events_of(account).await.unwrap();
    let credited = events.iter().filter(|event| event.event_type == EventType::ReferralCredited.name());
    assert_eq!(credited.count(), 1);
    // A month brings nothing.
    shop.buy_with(json!({ "serverId": "eu-de", "duration": 1, "referralCode": owner.code })).await;
    assert_eq!(owner.totals(&shop).await, (json!(1), json!(1)));
}

async fn scenario_28_nobody_refers_themselves(on: On) {
    let shop = Shop::open(on).await;
    let owner = Owner::of(&shop).await;
    let key = a_key();
    let with_code = |key: Option<&str>| json!({ "serverId": "eu-de", "duration": 3, "referralCode": owner.code, "wgPublicKey": key });
    owner.buys(&shop, with_code(Some(&key))).await;
    assert_eq!(owner.totals(&shop).await, (json!(0), json!(0)), "by their own account");
    shop.buy_with(with_code(Some(&key))).await;
    assert_eq!(owner.totals(&shop).await, (json!(0), json!(0)), "for their own subscription");
    let stranger = shop.buy_with(with_code(None)).await;
    assert_eq!(owner.totals(&shop).await, (json!(1), json!(1)));
    let body = json!({ "paymentHash": stranger.hash, "claimToken": stranger.token });
    let adopted = shop.post_as(&bearer(&owner.key), "/api/v1/account/adopt", body).await;
    assert_eq!((adopted.status, adopted.error()), (409, "ERR_CONFLICT"));
}

async fn scenario_28_a_buyer_who_is_known_brings_one_bonus(on: On) {
    let shop = Shop::open(on).await;
    let (owner, buyer) = (Owner::of(&shop).await, Owner::of(&shop).await);
    for _ in 0..2 {
        buyer.buys(&shop, json!({ "serverId": "eu-de", "duration": 3, "referralCode": owner.code })).await;
    }
    assert_eq!(owner.totals(&shop).await, (json!(1), json!(1)));
    owner.refers(&shop).await;
    owner.refers(&shop).await;
    assert_eq!(owner.totals(&shop).await, (json!(3), json!(3)), "strangers are not told apart");
}

async fn scenario_28_a_bonus_that_was_taken_back_is_given_to_nobody(on: On) {
    let shop = Shop::open(on).await;
    let owner = Owner::of(&shop).await;
    let refunded = shop.stored(&owner.refers(&shop).await).await.id;
    // As a refund does it: all that the order brought.
    let revoke = format!("UPDATE grants SET revoked_at = 1 WHERE order_id = '{refunded}'");
    run(&mut connect(&shop).await, &revoke).await;
    assert_eq!((owner.totals(&shop).await, owner.history(&shop).await), ((json!(0), json!(0)), json!([])));
    let bought = owner.buys(&shop, a_month()).await;
    let paid_at = shop.stored(&bought).await.created_at;
    assert!(end(&shop, &bought).await < paid_at.plus_months(2).unwrap());
}

async fn a_bonus_waits_for_its_owner_s_next_subscription(on: On) {
    let shop = Shop::open(on).await;
    let owner = Owner::of(&shop).await;
    owner.refers(&shop).await;
    owner.refers(&shop).await;
    assert_eq!(owner.totals(&shop).await, (json!(2), json!(2)));
    let bought = owner.buys(&shop, a_month()).await;
    let subscription = shop.stored(&bought).await.subscription_id.unwrap();
    let grants = shop.app().store.grants(subscription).await.unwrap();
    let months: Vec<_> = grants.iter().map(|(_, grant)| grant.span.to_string()).collect();
    assert_eq!(months, ["1 month", "1 month", "1 month"]);
    let first = grants[0].1.granted_at;
    assert_eq!(
        end(&shop, &bought).await,
        first.plus_months(1).unwrap().plus_months(1).unwrap().plus_months(1).unwrap()
    );
    let next = owner.buys(&shop, a_month()).await;
    let subscription = shop.stored(&next).await.subscription_id.unwrap();
    assert_eq!(shop.app().store.grants(subscription).await.unwrap().len(), 1, "each is given once");
    assert_eq!(owner.history(&shop).await.as_array().unwrap().len(), 2);
}

async fn a_bonus_is_given_to_what_its_owner_adopts(on: On) {
    let shop = Shop::open(on).await;
    let owner = Owner::of(&shop).await;
    owner.refers(&shop).await;
    let bought = shop.buy().await;
    let before = end(&shop, &bought).await;
    let body = json!({ "paymentHash": bought.hash, "claimToken": bought.token });
    let adopted = shop.post_as(&bearer(&owner.key), "/api/v1/account/adopt", body.clone()).await;
    let after = before.plus_months(1).unwrap();
    assert_eq!((adopted.status, &adopted.body["subscriptionEnd"]), (200, &json!(after)), "{}", adopted.body);
    assert_eq!(end(&shop, &bought).await, after);
    assert_eq!(shop.post_as(&bearer(&owner.key), "/api/v1/account/adopt", body).await.status, 200);
    assert_eq!(end(&shop, &bought).await, after, "once");
}

async fn an_account_earns_so_many_months_a_year_and_no_more(on: On) {
    let shop = Shop::open_with(on, |config| config.bonuses.most_months = 2).await;
    let owner = Owner::of(&shop).await;
    for (purchases, months) in [(1, 1), (2, 2), (2, 2)] {
        owner.refers(&shop).await;
        assert_eq!(owner.totals(&shop).await, (json!(purchases), json!(months)));
    }
    // Those of a year ago do not count any more.
    shop.advance(Duration::from_hours(366 * 24)).await;
    owner.refers(&shop).await;
    assert_eq!(owner.totals(&shop).await, (json!(3), json!(3)));
}

async fn a_code_that_is_nobody_s_loses_no_sale(on: On) {
    let shop = Shop::open(on).await;
    let owner = Owner::of(&shop).await;
    let order = |code: Value| shop.create(json!({ "serverId": "eu-de", "duration": 3, "referralCode": code }));
    for code in [json!("TYPO"), json!("no code at all!"), json!("x".repeat(1_000))] {
        let reply = order(code).await;
        assert_eq!((reply.status, &reply.body["referralAccepted"]), (200, &json!(false)), "{}", reply.body);
    }
    assert_eq!(order(Value::Null).await.body.get("referralAccepted"), None);
    assert_eq!(order(json!(owner.code.to_lowercase())).await.body["referralAccepted"], true);
}

async fn a_code_is_one_account_s_for_good(on: On) {
    let shop = Shop::open(on).await;
    let one = a_credential(&shop, "referrals").await;
    let made = create(&shop, &one, json!({ "code": "Tunnels-2026" })).await;
    assert_eq!(made.body, json!({ "code": "TUNNELS-2026", "usage_count": 0, "bonusMonths": 0, "discount": 0 }));
    assert_eq!(create(&shop, &one, json!({})).await.body, made.body);
    assert_eq!(create(&shop, &one, json!({ "code": "tunnels-2026" })).await.body, made.body);
    let other_code = create(&shop, &one, json!({ "code": "OTHER" })).await;
    assert_eq!((other_code.status, other_code.error()), (409, "ERR_CONFLICT"));
    let other = a_credential(&shop, "referrals").await;
    let taken = create(&shop, &other, json!({ "code": "tunnels-2026" })).await;
    assert_eq!((taken.status, taken.error()), (409, "ERR_CONFLICT"));
    assert_eq!(create(&shop, &other, json!({ "code": "abc" })).await.status, 400);
    assert_eq!(create(&shop, &other, json!({})).await.body["code"].as_str().unwrap().len(), 16);
    let without = a_credential(&shop, "orders").await;
    assert_eq!(create(&shop, &without, json!({})).await.status, 403);
    assert_eq!(shop.post("/api/referral/create", json!({})).await.status, 401);
}

/// Each buyer's server is the other one's owner's.
async fn bonuses_that_cross_do_not_wait_for_each_other(on: On) {
    let mut shop = Shop::open(on).await;
    let owners = [Owner::of(&shop).await, Owner::of(&shop).await];
    owners[0].buys(&shop, a_month()).await;
    owners[1].buys(&shop, json!({ "serverId": "us-east", "duration": 1 })).await;
    let mut orders = Vec::new();
    for number in 0..8 {
        let (owner, server) = (&owners[number % 2], ["us-east", "eu-de"][number % 2]);
        orders.push(shop.order_with(json!({ "serverId": server, "duration": 3, "referralCode": owner.code })).await);
    }
    shop.rest().await;
    join_all(orders.iter().map(|order| shop.pay(&order.invoice))).await;
    let app = shop.app();
    let settle = async |order: &Bought| {
        let invoice = app.node.lookup_invoice(order.payment_hash()).await.unwrap().unwrap();
        apply_invoice(app, &invoice, None).await
    };
    let settled = join_all(orders.iter().map(settle)).await;
    assert!(settled.iter().all(Result::is_ok), "{settled:?}");
    shop.start().await;
    for owner in &owners {
        assert_eq!(owner.totals(&shop).await, (json!(4), json!(4)));
    }
}
