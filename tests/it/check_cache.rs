//! What checks read is kept for the next ones, and nobody is told of what is no longer so.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use wiretoll::config::{Config, Quota};
use wiretoll::domain::order::PublicName;
use wiretoll::store::{Engine, Store};

use crate::database::{connect, run};
use crate::on_both_databases;
use crate::shop::{On, Shop};

on_both_databases!(
    what_another_process_wrote_is_shown_after_a_moment,
    a_change_of_this_process_is_shown_at_once,
    an_order_that_nobody_touches_is_read_from_memory,
);

/// As an operator's command would, beside the service.
async fn what_another_process_wrote_is_shown_after_a_moment(on: On) {
    let shop = Shop::open(on).await;
    let order = shop.order().await;
    let mut beside = connect(&shop).await;
    for months in [2, 3, 6, 12] {
        assert_ne!(shop.check(&order.hash).await.body["duration"], months);
        run(&mut beside, &format!("UPDATE orders SET months = {months}")).await;
        // 200 ms, and the time of a look.
        tokio::time::sleep(Duration::from_millis(230)).await;
        assert_eq!(shop.check(&order.hash).await.body["duration"], months);
    }
}

/// Whoever was told that it is paid never hears the contrary, however many ask meanwhile.
async fn a_change_of_this_process_is_shown_at_once(on: On) {
    let plenty = Quota { burst: 60_000, per_minute: 60_000 };
    let limits = move |config: &mut Config| (config.limits.check, config.limits.check_per_hash) = (plenty, plenty);
    let shop = Shop::open_with(on, limits).await;
    for _ in 0..20 {
        let order = shop.order().await;
        let seen_paid = std::cell::Cell::new(false);
        let ask = || async {
            loop {
                let told_before = seen_paid.get();
                let checked = shop.check(&order.hash).await;
                let paid = checked.body["status"] == "paid";
                assert!(paid || !told_before, "{}", checked.body);
                seen_paid.set(paid);
                if told_before {
                    return;
                }
            }
        };
        let asking = join_all((0..8).map(|_| ask()));
        let ((), _) = tokio::join!(shop.pay(&order.invoice), asking);
    }
}

async fn an_order_that_nobody_touches_is_read_from_memory(on: On) {
    let shop = Shop::open(on).await;
    let store = Store::open(&shop.config.database).await.unwrap();
    let order = shop.order().await;
    let name = PublicName::PaymentHash(order.payment_hash());
    let kept = || async { store.checked_order(name).await.unwrap().unwrap().order.kind.months() };
    assert_eq!(kept().await, Some(1));
    run(&mut connect(&shop).await, "UPDATE orders SET months = 2").await;
    // Nobody looked for others yet, so this one is a moment old: that is what the memory is for.
    assert_eq!(kept().await, Some(1));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(kept().await, Some(2));
    run(&mut connect(&shop).await, "UPDATE orders SET months = 3").await;
    assert_eq!(kept().await, Some(2));
    store.look_for_others().await.unwrap();
    let expected = if store.engine() == Engine::Sqlite { 3 } else { 2 };
    assert_eq!(kept().await, Some(expected));
    assert_eq!(shop.check(&order.hash).await.body["status"], json!("unpaid"));
}
