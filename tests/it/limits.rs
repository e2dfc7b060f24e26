//! Invoice spam: what it can take is bounded, for one address prefix and for all of them together.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use wiretoll::app::close_orders::close_due_orders;
use wiretoll::config::{Config, Quota};
use wiretoll::domain::server::Pool;
use wiretoll::lnd_simulator::methods::Method;

use crate::on_both_databases;
use crate::shop::{Bought, On, Shop};

on_both_databases!(
    scenario_45_open_orders_are_bounded_for_each_prefix,
    scenario_45_many_at_once_do_not_pass_the_bound,
    scenario_45_unpaid_orders_of_all_prefixes_leave_half_of_the_slots,
    scenario_45_requests_are_limited_before_anything_is_stored,
);

fn behind_a_proxy(config: &mut Config) {
    config.service.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    config.limits.open_orders = 3;
}

async fn scenario_45_open_orders_are_bounded_for_each_prefix(on: On) {
    let shop = Shop::open_with(on, behind_a_proxy).await;
    let mut orders = Vec::new();
    for host in ["198.51.100.1", "198.51.100.1", "198.51.100.77"] {
        let reply = shop.create_from(host).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        orders.push(Bought::from(reply.body));
    }
    let refused = shop.create_from("198.51.100.200").await;
    assert_eq!((refused.status, refused.error()), (429, "ERR_RATE_LIMIT_EXCEEDED"));
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(shop.node.calls(Method::AddInvoice), 3, "the node was not asked");
    assert_eq!(shop.create_from("203.0.113.1").await.status, 200, "another prefix is another customer");
    // One that is paid makes room, and so do those that expire.
    shop.pay(&orders[0].invoice).await;
    shop.until_paid(&orders[0].hash).await;
    assert_eq!(shop.create_from("198.51.100.1").await.status, 200);
    assert_eq!(shop.create_from("198.51.100.1").await.status, 429);
    shop.advance(Duration::from_mins(16)).await;
    shop.until("they have expired", || async {
        close_due_orders(shop.app()).await.unwrap();
        shop.app().store.open_order_span().await.unwrap().0 == 0
    })
    .await;
    assert_eq!(shop.create_from("198.51.100.1").await.status, 200);
}

async fn scenario_45_many_at_once_do_not_pass_the_bound(on: On) {
    let shop = Shop::open_with(on, behind_a_proxy).await;
    let replies = join_all((0..16).map(|_| shop.create_from("198.51.100.1"))).await;
    let made = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(made, 3, "{:?}", replies.iter().map(|reply| reply.status).collect::<Vec<_>>());
    assert_eq!((shop.node.calls(Method::AddInvoice), shop.occupancy().await.reserved), (3, 3));
}

async fn scenario_45_unpaid_orders_of_all_prefixes_leave_half_of_the_slots(on: On) {
    let shop = Shop::open_with(on, |config| {
        behind_a_proxy(config);
        let pool = config.servers[0].pool.network();
        config.servers[0].pool = Pool::new(pool, 35_000, Some(10)).unwrap();
    })
    .await;
    let addresses: Vec<_> = (0..20).map(|n| format!("203.{n}.113.1")).collect();
    let replies = join_all(addresses.iter().map(|address| shop.create_from(address))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 5);
    assert!(replies.iter().all(|reply| [200, 503].contains(&reply.status)));
    assert_eq!((shop.node.calls(Method::AddInvoice), shop.occupancy().await.reserved), (5, 5));
}

async fn scenario_45_requests_are_limited_before_anything_is_stored(on: On) {
    let shop = Shop::open_with(on, |config| config.limits.create = Quota { burst: 4, per_minute: 1 }).await;
    let body = json!({ "serverId": "eu-de", "duration": 1 });
    let replies = join_all((0..12).map(|_| shop.create(body.clone()))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 4);
    let refused = replies.iter().find(|reply| reply.status != 200).unwrap();
    assert_eq!((refused.status, refused.error()), (429, "ERR_RATE_LIMIT_EXCEEDED"));
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!((shop.node.calls(Method::AddInvoice), shop.app().store.open_order_span().await.unwrap().0), (4, 4));
}
