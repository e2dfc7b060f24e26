//! Prices in dollars at what exchanges say: three stand-ins on this machine that answer in their published shapes.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use wiretoll::app::live_rate::{Failure, ask_exchange};
use wiretoll::config::{Config, LiveRates, LiveSource, PinnedRate, RateSource};
use wiretoll::domain::money::{Price, Rate, UsdCents};
use wiretoll::domain::order::Rail;
use wiretoll::domain::plan::{Plan, Plans};
use wiretoll::domain::rate::{Exchange, RateRules};
use wiretoll::domain::time::{MINUTE, Timestamp};
use wiretoll::lnd_simulator::methods::Method;

use crate::on_both_databases;
use crate::shop::{Bought, On, Shop};

on_both_databases!(
    an_order_is_made_at_the_median_and_keeps_its_sources_and_age,
    scenario_17_live_prices_in_doubt_make_no_order,
    scenario_17_live_prices_that_age_meanwhile_end_the_sale,
);

const RULES: RateRules = RateRules {
    least: 2,
    max_age_millis: 10 * MINUTE,
    max_deviation_percent: 3,
    floor: UsdCents::new(2_000_000),
    ceiling: UsdCents::new(50_000_000),
};

/// Nobody listens there.
pub fn nobody_answers() -> LiveRates {
    live("http://127.0.0.1:1")
}

fn live(url: &str) -> LiveRates {
    let source = |exchange| LiveSource { exchange, url: url.to_owned() };
    LiveRates { sources: Exchange::ALL.map(source).into(), pinned: None, rules: RULES }
}

/// What Bitstamp, Coinbase and Kraken answer: a status and a body each.
#[derive(Clone, Default)]
struct Answers(Arc<Mutex<[(u16, String); 3]>>);

impl Answers {
    fn set(&self, answers: [(u16, String); 3]) {
        *self.0.lock().unwrap() = answers;
    }

    fn to(&self, request: &str) -> (u16, String) {
        let paths =
            ["GET /api/v2/ticker/btcusd/ ", "GET /products/BTC-USD/ticker ", "GET /0/public/Ticker?pair=XBTUSD "];
        let asked = paths.iter().position(|path| request.starts_with(path)).expect(request);
        self.0.lock().unwrap()[asked].clone()
    }
}

struct Exchanges {
    address: SocketAddr,
    answers: Answers,
    _serving: JoinSet<()>,
}

impl Exchanges {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, answers, mut serving) = (listener.local_addr().unwrap(), Answers::default(), JoinSet::new());
        let source = answers.clone();
        serving.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let read = stream.read(&mut request).await.unwrap_or(0);
                if read > 0 {
                    let (status, body) = source.to(str::from_utf8(&request[..read]).unwrap());
                    let length = body.len();
                    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}");
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        });
        Self { address, answers, _serving: serving }
    }

    /// Each with its price as it stands in the JSON, told at that time.
    fn say(&self, prices: [&str; 3], at: Timestamp) {
        self.answers.set(bodies(prices, at).map(|body| (200, body)));
    }

    /// A shop with prices in dollars, which asks these.
    fn ask_here(&self, config: &mut Config) {
        let plan = Plan { months: 1, price: Price::Usd(UsdCents::new(300)) };
        config.plans = Plans::new(vec![plan]).unwrap();
        config.egress.allow = vec!["127.0.0.1/32".parse().unwrap()];
        config.rate = Some(RateSource::Live(live(&format!("http://{}", self.address))));
    }
}

fn bodies([bitstamp, coinbase, kraken]: [&str; 3], at: Timestamp) -> [String; 3] {
    [
        format!(r#"{{"timestamp":"{}","last":{bitstamp},"bid":"1"}}"#, at.millis() / 1_000),
        format!(r#"{{"price":{coinbase},"time":"{at}","size":"0.1"}}"#),
        format!(r#"{{"error":[],"result":{{"XXBTZUSD":{{"c":[{kraken},"0.1"]}}}}}}"#),
    ]
}

async fn ask_all(shop: &Shop) -> Vec<Result<(), Failure>> {
    let Some(RateSource::Live(live)) = &shop.app().shop.rate else { panic!("no live rate") };
    let mut asked = Vec::new();
    for source in &live.sources {
        asked.push(ask_exchange(shop.app(), live, source).await);
    }
    asked
}

/// As it is stored with an order.
async fn rate_of(shop: &Shop, order: &Bought) -> Rate {
    let Rail::Lightning { quote, .. } = shop.stored(order).await.rail else { panic!("not over Lightning") };
    quote.rate.unwrap()
}

async fn an_order_is_made_at_the_median_and_keeps_its_sources_and_age(on: On) {
    let exchanges = Exchanges::open().await;
    let answers = exchanges.answers.clone();
    let shop = Shop::open_with(on, |config| exchanges.ask_here(config)).await;
    let now = shop.clock.now();
    let earlier = now.plus_millis(-MINUTE);
    answers.set(bodies(["\"100000.00\"", "\"101000.50\"", "\"10000.1\""], earlier).map(|body| (200, body)));
    assert_eq!(ask_all(&shop).await[..2], [Ok(()), Ok(())]);
    let order = shop.order().await;
    // Kraken's is off by ten, so below the floor; the others' middle is the rate.
    let rate = rate_of(&shop, &order).await;
    assert_eq!((rate.cents_per_btc, rate.source.as_str()), (10_050_025, "bitstamp+coinbase"));
    assert_eq!(rate.as_of, earlier);
    assert_eq!(order.body["amountSats"], 2_986);
    exchanges.say(["\"100000\"", "\"100100\"", "\"100200\""], now);
    assert_eq!(ask_all(&shop).await, [Ok(()), Ok(()), Ok(())]);
    let rate = rate_of(&shop, &shop.order().await).await;
    assert_eq!((rate.cents_per_btc, rate.source.as_str()), (10_010_000, "bitstamp+coinbase+kraken"));
}

async fn scenario_17_live_prices_in_doubt_make_no_order(on: On) {
    let exchanges = Exchanges::open().await;
    let mut shop = Shop::open_with(on, |config| exchanges.ask_here(config)).await;
    let now = shop.clock.now();
    let good = "\"100000\"";
    for prices in [
        [good, "\"0\"", "null"],
        [good, "\"NaN\"", "\"-100000\""],
        [good, "100000", "\"1e5\""],
        ["\"1000000\"", "\"1000000\"", "\"1000000\""],
        ["\"10000\"", "\"10000\"", "\"10000\""],
        [good, "\"110000\"", "\"121000\""],
    ] {
        exchanges.say(prices, now);
        shop.stop().await;
        shop.launch().await;
        shop.until("the node was seen", || async { shop.app().health.payee().is_ok() }).await;
        ask_all(&shop).await;
        refuses(&shop, &prices.join(" ")).await;
    }
    // Two that tell a price of long ago; then answers that are errors, whatever their status.
    let old = now.plus_millis(-RULES.max_age_millis - 1_000);
    let [bitstamp, coinbase, kraken] = bodies([good; 3], old);
    let failing = kraken.replace("\"error\":[]", "\"error\":[\"EService:Unavailable\"]");
    for (answers, name) in [
        ([(200, bitstamp.clone()), (200, coinbase.clone()), (200, kraken)], "stale"),
        ([(503, bitstamp), (200, coinbase), (200, failing)], "scenario 46"),
    ] {
        exchanges.answers.set(answers);
        shop.stop().await;
        shop.launch().await;
        shop.until("the node was seen", || async { shop.app().health.payee().is_ok() }).await;
        ask_all(&shop).await;
        refuses(&shop, name).await;
    }
    assert_eq!(shop.app().store.open_order_span().await.unwrap().0, 0);
    assert_eq!((shop.node.calls(Method::AddInvoice), shop.occupancy().await.reserved), (0, 0));
}

async fn refuses(shop: &Shop, why: &str) {
    let refused = shop.create(json!({ "serverId": "eu-de", "duration": 1 })).await;
    assert_eq!((refused.status, refused.error()), (503, "ERR_INTERNAL_ERROR"), "{why}: {}", refused.body);
    assert!(refused.headers.contains_key("retry-after"));
    let ready = shop.get("/health/ready").await.body;
    assert!(ready["problem"].as_str().unwrap().contains("no current exchange rate"), "{ready}");
}

async fn scenario_17_live_prices_that_age_meanwhile_end_the_sale(on: On) {
    let exchanges = Exchanges::open().await;
    let shop = Shop::open_with(on, |config| exchanges.ask_here(config)).await;
    exchanges.say(["\"100000\""; 3], shop.clock.now());
    ask_all(&shop).await;
    shop.order().await;
    shop.advance(Duration::from_millis(RULES.max_age_millis.unsigned_abs() + 1)).await;
    refuses(&shop, "too old").await;
    exchanges.say(["\"100000\""; 3], shop.clock.now());
    ask_all(&shop).await;
    shop.order().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_asks_by_itself_and_the_pinned_rate_is_one_more_source() {
    let exchanges = Exchanges::open().await;
    let mut shop = Shop::open_with(On::Sqlite, |_| {}).await;
    shop.stop().await;
    let now = shop.clock.now();
    exchanges.answers.set(bodies(["\"100000\"", "null", "null"], now).map(|body| (200, body)));
    exchanges.ask_here(&mut shop.config);
    let rate = Rate { cents_per_btc: 10_000_002, source: "pinned".into(), as_of: now.plus_millis(-30 * MINUTE) };
    if let Some(RateSource::Live(live)) = &mut shop.config.rate {
        live.pinned = Some(PinnedRate { rate, max_age: Duration::from_hours(1) });
    }
    shop.launch().await;
    shop.until("it can sell", || async { shop.app().obstacle().is_none() }).await;
    let rate = rate_of(&shop, &shop.order().await).await;
    assert_eq!((rate.cents_per_btc, rate.source.as_str()), (10_000_001, "bitstamp+pinned"));
}

/// The test above, in a process whose environment names a proxy.
#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_of_the_environment_is_asked() {
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let mut again = Command::new(std::env::current_exe().unwrap());
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        again.env(name, &url);
    }
    let name = "live_prices::the_service_asks_by_itself_and_the_pinned_rate_is_one_more_source";
    let ran = again.args(["--exact", name]).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(proxy.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}
