//! What Prometheus is told, on a listener of its own, through purchases and failures.

use std::time::Duration;

use serde_json::json;
use wiretoll::app::close_orders::close_due_orders;
use wiretoll::config::Config;
use wiretoll::lnd_simulator::faults::Fault;
use wiretoll::lnd_simulator::payer::PaymentOrder;

use crate::database::{allow, connect, refuse, run};
use crate::on_both_databases;
use crate::shop::{On, Shop};
use crate::slots::one_slot;

on_both_databases!(
    a_purchase_is_counted_at_every_step,
    money_that_gave_nothing_is_told_by_reason,
    what_cannot_be_told_now_is_left_out,
    a_node_that_is_down_is_seen,
    a_settlement_that_cannot_be_stored_is_told_of_until_it_is,
    orders_that_stay_open_too_long_are_told_of,
);

pub fn with_metrics(config: &mut Config) {
    config.metrics = Some(([127, 0, 0, 1], 0).into());
}

/// A page of metrics, as Prometheus reads it.
#[derive(Debug)]
pub struct Page(String);

impl Page {
    pub async fn of(shop: &Shop) -> Self {
        let address = shop.metrics_address().expect("the shop has a listener for metrics");
        Self(reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap())
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    /// The value of a series, spelt as it is shown; None where there is no such series.
    pub fn find(&self, series: &str) -> Option<f64> {
        let line = self.0.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }

    pub fn value(&self, series: &str) -> f64 {
        self.find(series).unwrap_or_else(|| panic!("no {series} in\n{}", self.0))
    }

    /// Asserts each series with its value.
    fn assert(&self, expected: &[(&str, f64)]) {
        for (series, value) in expected {
            assert!((self.value(series) - value).abs() < f64::EPSILON, "{series} is not {value} in\n{}", self.0);
        }
    }
}

async fn a_purchase_is_counted_at_every_step(on: On) {
    let shop = Shop::open_with(on, with_metrics).await;
    Page::of(&shop).await.assert(&[
        ("wiretoll_orders_total{state=\"creating\"}", 0.0),
        ("wiretoll_payments_total{provider=\"lightning\",outcome=\"refund_due\"}", 0.0),
        ("wiretoll_settle_lag_seconds_count", 0.0),
        ("wiretoll_sells", 1.0),
        ("wiretoll_stream_open", 1.0),
    ]);
    let order = shop.order().await;
    Page::of(&shop).await.assert(&[
        ("wiretoll_open_orders{state=\"creating\"}", 0.0),
        ("wiretoll_open_orders{state=\"pending\"}", 1.0),
        ("wiretoll_open_invoices{overdue=\"no\"}", 1.0),
        ("wiretoll_open_invoices{overdue=\"yes\"}", 0.0),
        ("wiretoll_slots{server=\"eu-de\",state=\"reserved\"}", 1.0),
    ]);
    shop.pay(&order.invoice).await;
    shop.until_paid(&order.hash).await;
    assert_eq!(shop.claim(json!({ "paymentHash": order.hash })).await.status, 200);
    let page = Page::of(&shop).await;
    page.assert(&[
        ("wiretoll_orders_total{state=\"creating\"}", 1.0),
        ("wiretoll_orders_total{state=\"pending\"}", 1.0),
        ("wiretoll_orders_total{state=\"paid\"}", 1.0),
        ("wiretoll_orders_total{state=\"expired\"}", 0.0),
        ("wiretoll_payments_total{provider=\"lightning\",outcome=\"applied\"}", 1.0),
        ("wiretoll_settle_lag_seconds_count", 1.0),
        ("wiretoll_overpaid_payments_total", 0.0),
        ("wiretoll_unapplied_settlements", 0.0),
        ("wiretoll_open_orders{state=\"pending\"}", 0.0),
        ("wiretoll_slots{server=\"eu-de\",state=\"held\"}", 1.0),
        ("wiretoll_slots{server=\"eu-de\",state=\"reserved\"}", 0.0),
        ("wiretoll_database_up", 1.0),
        ("wiretoll_lnd_call_seconds_count{method=\"AddInvoice\"}", 1.0),
        ("wiretoll_http_requests_total{route=\"/api/public/v1/subscription/create\",class=\"2xx\"}", 1.0),
        ("wiretoll_http_requests_total{route=\"/api/public/v1/subscription/claim\",class=\"2xx\"}", 1.0),
        ("wiretoll_http_requests_total{route=\"other\",class=\"4xx\"}", 0.0),
    ]);
    assert!(page.value("wiretoll_database_write_wait_seconds_count") > 2.0);
    assert!(page.value("process_resident_memory_bytes") > 1_000_000.0);
    assert!(page.text().contains(&format!("wiretoll_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))));
    assert!(page.text().ends_with("# EOF\n"), "it is whole");
}

/// Overpaid; paid late with nothing left to give; and what only a damaged ledger can hold.
async fn money_that_gave_nothing_is_told_by_reason(on: On) {
    let shop = Shop::open_with(on, |config| {
        with_metrics(config);
        one_slot(config);
    })
    .await;
    let late = shop.order().await;
    shop.node.backup("before");
    shop.advance(Duration::from_mins(16)).await;
    close_due_orders(shop.app()).await.unwrap();
    let order = shop.order().await;
    let more = PaymentOrder { amount_msat: Some(4_500_007), ..PaymentOrder::of(order.invoice.clone()) };
    shop.node.pay(more).await.unwrap();
    shop.until_paid(&order.hash).await;
    shop.node.inject(Fault::PauseCanceller).await.unwrap();
    shop.node.restore("before").await.unwrap();
    shop.pay(&late.invoice).await;
    shop.until_paid(&late.hash).await;
    let orphan = "INSERT INTO payments (id, provider, external_id, unit, amount, excess, settled_at, recorded_at, outcome) \
                  VALUES ('0190a8f2-0000-7000-8000-00000000000a', 'lightning', 'ab', 'msat', 1, 0, 1, 1, 'orphaned')";
    run(&mut connect(&shop).await, orphan).await;
    Page::of(&shop).await.assert(&[
        ("wiretoll_orders_total{state=\"expired\"}", 1.0),
        ("wiretoll_orders_total{state=\"paid\"}", 2.0),
        ("wiretoll_payments_total{provider=\"lightning\",outcome=\"refund_due\"}", 1.0),
        ("wiretoll_overpaid_payments_total", 1.0),
        ("wiretoll_overpaid_msat_total", 7.0),
        ("wiretoll_payments_with_open_excess{}", 1.0),
        ("wiretoll_paid_not_claimable{reason=\"refund_due\"}", 1.0),
        ("wiretoll_paid_not_claimable{reason=\"orphaned\"}", 1.0),
        ("wiretoll_paid_not_claimable{reason=\"underpaid\"}", 0.0),
        ("wiretoll_paid_not_claimable{reason=\"mismatched\"}", 0.0),
        ("wiretoll_paid_not_claimable{reason=\"server_without_key\"}", 0.0),
    ]);
    let resolve = "UPDATE payments SET resolved_at = 1, resolution = 'refunded' WHERE outcome <> 'orphaned'";
    run(&mut connect(&shop).await, resolve).await;
    Page::of(&shop).await.assert(&[
        ("wiretoll_paid_not_claimable{reason=\"refund_due\"}", 0.0),
        ("wiretoll_paid_not_claimable{reason=\"orphaned\"}", 1.0),
    ]);
}

async fn a_settlement_that_cannot_be_stored_is_told_of_until_it_is(on: On) {
    let shop = Shop::open_with(on, with_metrics).await;
    shop.buy().await;
    let order = shop.order().await;
    let unapplied = async || Page::of(&shop).await.value("wiretoll_unapplied_settlements");
    refuse(&shop, "payments", &format!("NEW.external_id = '{}'", order.hash)).await;
    shop.pay(&order.invoice).await;
    shop.until("it is told of", || async { unapplied().await > 0.0 }).await;
    allow(&shop, "payments").await;
    shop.until("it is stored, and told of no more", || async { unapplied().await < 1.0 }).await;
    shop.assert_applied_once(&order).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_on_a_server_without_its_key_are_told_of() {
    let mut shop = Shop::open_with(On::Sqlite, with_metrics).await;
    shop.buy().await;
    shop.stop().await;
    shop.config.servers[0].public_key = None;
    shop.start().await;
    Page::of(&shop).await.assert(&[("wiretoll_paid_not_claimable{reason=\"server_without_key\"}", 1.0)]);
}

async fn what_cannot_be_told_now_is_left_out(on: On) {
    let shop = Shop::open_with(on, with_metrics).await;
    shop.order().await;
    assert!(Page::of(&shop).await.find("wiretoll_open_orders{state=\"pending\"}").is_some());
    shop.app().store.close().await;
    let page = Page::of(&shop).await;
    page.assert(&[("wiretoll_database_up", 0.0), ("wiretoll_orders_total{state=\"pending\"}", 1.0)]);
    for gone in ["wiretoll_open_orders{", "wiretoll_open_invoices{", "wiretoll_slots{", "wiretoll_paid_not_claimable{"]
    {
        assert!(!page.text().contains(gone), "{gone} in\n{}", page.text());
    }
}

async fn a_node_that_is_down_is_seen(on: On) {
    let shop = Shop::open_with(on, with_metrics).await;
    shop.node.go_down().await.unwrap();
    shop.until("the metrics show it", || async {
        let page = Page::of(&shop).await;
        let failed =
            |method| page.find(&format!("wiretoll_lnd_call_errors_total{{method=\"{method}\",kind=\"unreachable\"}}"));
        page.value("wiretoll_sells") < 0.5 && page.value("wiretoll_stream_open") < 0.5 && failed("GetState").is_some()
    })
    .await;
    shop.node.come_up().await.unwrap();
    shop.until("the metrics show that it is back", || async {
        let page = Page::of(&shop).await;
        page.value("wiretoll_sells") > 0.5 && page.value("wiretoll_stream_open") > 0.5
    })
    .await;
}

async fn orders_that_stay_open_too_long_are_told_of(on: On) {
    let shop = Shop::open_with(on, with_metrics).await;
    shop.order().await;
    shop.node.go_down().await.unwrap();
    let overdue = async || Page::of(&shop).await.value("wiretoll_open_invoices{overdue=\"yes\"}");
    // 15 minutes to pay, 10 to close.
    shop.clock.advance(25 * 60_000);
    assert!(overdue().await < 0.5);
    shop.clock.advance(60_000);
    assert!(overdue().await > 0.5);
    Page::of(&shop).await.assert(&[("wiretoll_open_orders{state=\"pending\"}", 1.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_served_apart_from_the_shop_and_nothing_else_beside_them() {
    let shop = Shop::open_with(On::Sqlite, with_metrics).await;
    let own = format!("http://{}", shop.metrics_address().unwrap());
    assert_eq!(shop.get("/metrics").await.error(), "ERR_RESOURCE_NOT_FOUND");
    for path in ["/", "/health/ready", "/api/public/v1/servers"] {
        let answer = reqwest::get(format!("{own}{path}")).await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        assert!(answer.text().await.unwrap().starts_with("{\"error\":\"ERR_RESOURCE_NOT_FOUND\""));
    }
    let answer = reqwest::get(format!("{own}/metrics")).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let posted = reqwest::Client::new().post(format!("{own}/metrics")).send().await.unwrap();
    assert_eq!(posted.status(), 405);
    assert!(Shop::open(On::Sqlite).await.metrics_address().is_none(), "nobody asked for a listener");
}

/// Whatever strangers send, the series stay the same.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_makes_a_new_series_and_none_names_a_customer() {
    let shop = Shop::open_with(On::Sqlite, with_metrics).await;
    let series = |page: &Page| {
        let lines = page.text().lines().filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()));
        let mut series: Vec<String> = lines.collect();
        series.sort(); // as their order in a family is not promised
        series
    };
    let order = shop.buy().await;
    shop.claim(json!({ "paymentHash": order.hash, "claimToken": order.token })).await;
    let before = series(&Page::of(&shop).await);
    for path in
        ["/a", "/api/public/v1/subscription/x", "/api/public/v1/subscription/x/y", "/docs/x", "/api/public/v1/b"]
    {
        shop.get(path).await;
    }
    shop.check(&order.hash).await;
    let page = Page::of(&shop).await;
    assert_eq!(series(&page), before);
    for secret in [&order.hash[..16], &order.token, "203.0.113", "127.0.0.1"] {
        assert!(!page.text().contains(secret), "{secret}");
    }
}
