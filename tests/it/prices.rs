//! No invoice at a price that is in doubt, and nothing lost between dollars, sats and msats.

use std::time::Duration;

use serde_json::json;
use wiretoll::config::{Config, PinnedRate, RateSource};
use wiretoll::domain::bolt11::Invoice;
use wiretoll::domain::money::{Price, Rate, Sats, UsdCents};
use wiretoll::domain::plan::{Plan, Plans};
use wiretoll::domain::time::{DAY, HOUR, Timestamp};
use wiretoll::lnd_simulator::methods::Method;

use crate::on_both_databases;
use crate::shop::{On, Shop};

on_both_databases!(
    scenario_17_a_rate_in_doubt_makes_no_order,
    scenario_17_a_rate_that_ages_meanwhile_ends_the_sale,
    scenario_18_the_sats_asked_for_are_the_least_that_cover_the_price,
);

const PLANS: [(u32, u64); 4] = [(1, 300), (3, 855), (6, 1_620), (12, 2_880)];

/// Prices in dollars, at a rate of that many cents, from `age` milliseconds ago.
fn in_dollars(config: &mut Config, cents_per_btc: u64, as_of: Timestamp) {
    let plan = |(months, cents)| Plan { months, price: Price::Usd(UsdCents::new(cents)) };
    config.plans = Plans::new(PLANS.map(plan).into()).unwrap();
    let rate = Rate { cents_per_btc, source: "pinned".into(), as_of };
    config.rate = Some(RateSource::Pinned(PinnedRate { rate, max_age: Duration::from_hours(24) }));
}

async fn scenario_17_a_rate_in_doubt_makes_no_order(on: On) {
    let mut shop = Shop::open(on).await;
    let now = shop.clock.now();
    // Too old, zero, so low that a month costs more than a bitcoin, from the future, and none at all.
    let doubtful = [(10_000_000, -DAY - 1), (0, 0), (299, 0), (10_000_000, HOUR)];
    let rates = doubtful.map(|(cents, age)| Some((cents, now.plus_millis(age))));
    for rate in rates.into_iter().chain([None]) {
        shop.stop().await;
        match rate {
            Some((cents, as_of)) => in_dollars(&mut shop.config, cents, as_of),
            // The plans are those of the rates before it.
            None => shop.config.rate = None,
        }
        shop.start().await;
        let refused = shop.create(json!({ "serverId": "eu-de", "duration": 1 })).await;
        assert_eq!((refused.status, refused.error()), (503, "ERR_INTERNAL_ERROR"), "{rate:?}");
        assert!(refused.headers.contains_key("retry-after"));
    }
    assert_eq!(shop.app().store.open_order_span().await.unwrap().0, 0);
    assert_eq!((shop.node.calls(Method::AddInvoice), shop.occupancy().await.reserved), (0, 0));
}

async fn scenario_17_a_rate_that_ages_meanwhile_ends_the_sale(on: On) {
    let mut shop = Shop::open(on).await;
    shop.stop().await;
    let now = shop.clock.now();
    in_dollars(&mut shop.config, 10_000_000, now);
    shop.start().await;
    let order = shop.order().await;
    assert_eq!(order.body["amountSats"], 3_000);
    shop.advance(Duration::from_hours(25)).await;
    assert_eq!(shop.create(json!({ "serverId": "eu-de", "duration": 1 })).await.status, 503);
}

async fn scenario_18_the_sats_asked_for_are_the_least_that_cover_the_price(on: On) {
    let mut shop = Shop::open(on).await;
    for cents_per_btc in [9_999_999_u64, 10_000_000, 12_345_677] {
        shop.stop().await;
        let now = shop.clock.now();
        in_dollars(&mut shop.config, cents_per_btc, now);
        shop.start().await;
        for (months, cents) in PLANS {
            let order = shop.order_with(json!({ "serverId": "eu-de", "duration": months })).await;
            let sats = order.body["amountSats"].as_u64().unwrap();
            let (worth, price) = (|sats: u64| sats * cents_per_btc, cents * 100_000_000);
            assert!(worth(sats) >= price && worth(sats - 1) < price, "{sats} at {cents_per_btc} for {cents}");
            let invoice = Invoice::parse(&order.invoice).unwrap();
            assert_eq!(invoice.amount(), Some(Sats::new(sats).to_msats()));
            shop.pay(&order.invoice).await;
            shop.until_paid(&order.hash).await;
            shop.assert_applied_once(&order).await;
        }
    }
}
