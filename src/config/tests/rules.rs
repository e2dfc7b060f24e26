//! One test a rule, at its edges.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{KEY, LEAST, OTHER_SERVER, assert_edges, least_and, least_with, now, parse, wrong_keys};
use crate::config::RateSource;
use crate::config::{CardMode, Database, EgressRules, KeySource, LndTrust, LogFormat, MacaroonSource, Quota};
use crate::domain::money::{Price, Sats, UsdCents};
use crate::domain::plan::BandwidthResets;

#[test]
fn what_is_left_out_has_the_documented_default() {
    let config = parse(LEAST).unwrap();
    assert_eq!(config.service.name, "wiretoll");
    assert_eq!(config.service.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.metrics, None);
    assert_eq!(config.database, Database::Sqlite(PathBuf::from("/etc/wiretoll/wiretoll.db")));
    assert!(matches!(&config.instance_key, KeySource::File(file) if file == Path::new("/etc/wiretoll/instance.key")));
    assert_eq!(config.orders.invoice_lifetime, Duration::from_mins(15));
    assert_eq!(config.limits.check, Quota { burst: 600, per_minute: 600 });
    assert_eq!(config.servers[0].endpoint(), "de1.example.net:51820");
    assert_eq!(config.servers[0].pool.first_port(), 35_000);
}

#[test]
fn the_standard_plans_are_the_contract_s() {
    let file = least_with("[[plans]]\n    months = 1\n    sats = 4500", "");
    assert_eq!(wrong_keys(&file), ["rate"]);
    let rate = "[rate]\nusd_per_btc = 100000\nas_of = 2026-11-22T12:00:00Z\nmax_age = '24h'";
    let config = parse(&format!("{file}\n{rate}")).unwrap();
    let plans: Vec<_> = config.plans.iter().map(|plan| (plan.months, plan.price)).collect();
    let usd = |cents| Price::Usd(UsdCents::new(cents));
    assert_eq!(plans, [(1, usd(300)), (3, usd(855)), (6, usd(1_620)), (12, usd(2_880))]);
    let Some(RateSource::Pinned(pinned)) = config.rate else { panic!("no rate") };
    assert_eq!(pinned.rate.cents_per_btc, 10_000_000);
}

#[test]
fn a_bandwidth_reset_has_the_contract_s_terms_where_there_is_a_rate_for_them() {
    const RATE: &str = "[rate]\nusd_per_btc = 100000\nas_of = 2026-11-22T12:00:00Z\nmax_age = '24h'";
    let resets = |file: &str| parse(file).unwrap().resets;
    let standard = BandwidthResets { price: Price::Usd(UsdCents::new(100)), from_percent: 70, per_month: 2 };
    assert_eq!((resets(LEAST), resets(&least_and(RATE))), (None, Some(standard)));
    assert_eq!(resets(&least_and(&format!("{RATE}\n[bandwidth_reset]\nper_month = 0"))), None);
    let sats = BandwidthResets { price: Price::Sats(Sats::new(900)), from_percent: 0, per_month: 1_000 };
    assert_eq!(resets(&least_and("[bandwidth_reset]\nsats = 900\nfrom_percent = 0\nper_month = 1000")), Some(sats));
    let wrong = |line: &str| wrong_keys(&least_and(&format!("[bandwidth_reset]\n{line}")));
    assert_eq!(wrong("usd = '1.00'"), ["bandwidth_reset.usd"], "without a rate");
    assert_eq!(wrong("sats = 1\nusd = '1.00'"), ["bandwidth_reset.usd"]);
    assert_eq!(wrong("per_month = 1001\nsats = 1"), ["bandwidth_reset.per_month"]);
    assert_eq!(wrong("from_percent = 101\nsats = 1"), ["bandwidth_reset.from_percent"]);
}

#[test]
fn every_setting_is_read_to_its_own_place() {
    let text = r#"
        service = { name = "Tolls", listen = "[::1]:80", trusted_proxies = ["10.0.0.1", "fd00::/8"], origins = ["https://a.example"], data_folder = "/data" }
        log = { format = "json", level = "debug" }
        metrics.listen = "[::1]:9273"
        database.url = "sqlite:orders.db"
        instance_key.file = "root.key"
        lnd = { address = "https://lnd:10009", public_ca = true, macaroon = "0201", network = "mainnet" }
        orders = { invoice_lifetime = "24h", require_claim_token = true, private_route_hints = true }
        holds = { slot = "1s", quarantine = "2s", private_key = "1h" }
        limits = { create = { burst = 1, per_minute = 2 }, check_per_hash = { burst = 3 }, check = { per_minute = 4 },
                   claim = { burst = 5 }, status = { per_minute = 6 }, open_orders = 7 }
        plans = [{ months = 36, sats = 100000000 }]
        servers = [{ id = "aa", country = "C", city = "D", flag = "F", domain = "a.example", port = 1, pool = "10.1.0.0/29",
                     public_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", first_port = 1024, capacity = 5 }]
    "#;
    let config = parse(text).unwrap();
    assert_eq!(config.service.trusted_proxies.len(), 2);
    assert_eq!(config.service.origins, ["https://a.example"]);
    assert_eq!((config.log.format, config.log.level), (LogFormat::Json, tracing::Level::DEBUG));
    assert_eq!(config.metrics, Some("[::1]:9273".parse().unwrap()));
    assert_eq!(config.database, Database::Sqlite(PathBuf::from("/data/orders.db")));
    assert!(matches!(&config.instance_key, KeySource::File(file) if file == Path::new("/data/root.key")));
    assert_eq!(config.lnd.trust, LndTrust::PublicCa);
    assert!(matches!(&config.lnd.macaroon, MacaroonSource::Text(text) if text.expose() == "0201"));
    assert!(config.orders.require_claim_token && config.orders.private_route_hints);
    assert_eq!((config.holds.hold_millis, config.holds.quarantine_millis), (1_000, 2_000));
    assert_eq!(config.holds.private_key_millis, 3_600_000);
    let limits = config.limits;
    assert_eq!((limits.create, limits.check_per_hash.burst), (Quota { burst: 1, per_minute: 2 }, 3));
    assert_eq!((limits.check.per_minute, limits.claim.burst, limits.status.per_minute), (4, 5, 6));
    assert_eq!(limits.open_orders, 7);
    assert_eq!(config.plans.find(36).unwrap().price, Price::Sats(Sats::new(100_000_000)));
    assert_eq!(
        (config.servers[0].pool.capacity(), config.servers[0].public_key.unwrap().to_string().as_str()),
        (5, KEY)
    );
}

#[test]
fn durations_and_numbers_keep_within_their_bounds() {
    let orders = |value: &str| least_and(&format!("[orders]\ninvoice_lifetime = '{value}'"));
    let too_much =
        ["59s", "86401s", "25h", "", "m", "15", "15 m", "+15m", "-15m", "1.5h", "99999999999999999999h", "15ä"];
    assert_edges("orders.invoice_lifetime", &["1m", "60s", "24h", "1d"], &too_much, orders);
    let open = |value: &str| least_and(&format!("[limits]\nopen_orders = {value}"));
    assert_edges("limits.open_orders", &["1", "1000000", "'40'"], &["0", "1000001", "-1", "1.0", "true", "'x'"], open);
    let port = |value: &str| least_and(&format!("port = {value}"));
    assert_edges("servers[0].port", &["1", "65535"], &["0", "65536"], port);
    let first_port = |value: &str| least_and(&format!("first_port = {value}"));
    assert_edges("servers[0].first_port", &["1024", "65535"], &["1023", "65536"], first_port);
    let capacity = |value: &str| least_and(&format!("capacity = {value}"));
    assert_edges("servers[0].capacity", &["1", "2045"], &["0", "2046", "4294967296"], capacity);
}

#[test]
fn the_node_is_named_once_and_believed_for_one_reason() {
    let address = |value: &str| least_with("https://127.0.0.1:10009", value);
    assert_edges("lnd.address", &["https://lnd:1"], &["http://lnd:1", "lnd:1", "https://lnd"], address);
    let network = |value: &str| least_with("regtest", value);
    assert_edges("lnd.network", &["mainnet", "testnet", "signet", "simnet"], &["main", "Mainnet", ""], network);
    let trust = |value: &str| least_with("certificate_file = \"tls.cert\"", value);
    let (pinned, both) = ("certificate_file = '/a'\npublic_ca = false", "certificate_file = '/a'\npublic_ca = true");
    assert_edges("lnd.certificate_file", &[pinned, "public_ca = true"], &["", "public_ca = false", both], trust);
    let macaroon = |value: &str| least_with("macaroon_file = \"wiretoll.macaroon\"", &format!("macaroon = '{value}'"));
    assert_edges("lnd.macaroon", &["0201", "AgEDbG5kAg=="], &["", "0", "AgEDbG5kAg", "not one"], macaroon);
    assert_eq!(wrong_keys(&least_with("network =", "macaroon = '02'\nnetwork =")), ["lnd.macaroon"]);
    assert_eq!(wrong_keys(&least_with("macaroon_file = \"wiretoll.macaroon\"", "")), ["lnd.macaroon_file"]);
}

#[test]
fn metrics_are_served_where_it_is_said_and_nowhere_else() {
    let listen = |value: &str| least_and(&format!("[metrics]\nlisten = '{value}'"));
    let wrong = ["", "9273", "127.0.0.1", "localhost:9273", "127.0.0.1:65536", "http://127.0.0.1:9273"];
    assert_edges("metrics.listen", &["127.0.0.1:9273", "[::]:65535", "0.0.0.0:0"], &wrong, listen);
    assert_eq!(wrong_keys(&least_and("[metrics]\nlisten = 9273")), ["metrics.listen"]);
    assert_eq!(parse(&least_and("[metrics]")).unwrap().metrics, None);
}

#[test]
fn the_service_and_its_metrics_have_a_port_each() {
    let beside = |service: &'static str| {
        move |metrics: &str| format!("service.listen = '{service}'\nmetrics.listen = '{metrics}'\n{LEAST}")
    };
    let (right, wrong) = (["127.0.0.1:81", "127.0.0.2:80", "[::1]:80"], ["127.0.0.1:80", "0.0.0.0:80"]);
    assert_edges("metrics.listen", &right, &wrong, beside("127.0.0.1:80"));
    assert_edges("metrics.listen", &["[::1]:80"], &["127.0.0.1:80", "0.0.0.0:80"], beside("0.0.0.0:80"));
    assert_edges("metrics.listen", &["127.0.0.1:0"], &[], beside("127.0.0.1:0"));
    let beside_the_default = least_and("[metrics]\nlisten = '127.0.0.1:8080'");
    assert_eq!(wrong_keys(&beside_the_default), ["metrics.listen"]);
}

#[test]
fn a_database_is_a_file_or_postgres() {
    let file = |value: &str| least_and(&format!("[database]\nurl = '{value}'"));
    let right = ["sqlite:a.db", "sqlite://a.db", "sqlite:///var/a.db", "postgres://u:p@h/d", "postgresql://h/d"];
    let wrong =
        ["", "sqlite:", "sqlite://", "sqlite::memory:", "sqlite:a.db?mode=ro", "mysql://h/d", "a.db", "postgres://"];
    assert_edges("database.url", &right, &wrong, file);
    let absolute = parse(&file("sqlite:///var/a.db")).unwrap();
    assert_eq!(absolute.database, Database::Sqlite(PathBuf::from("/var/a.db")));
}

#[test]
fn nothing_that_reaches_a_customer_s_file_can_begin_a_line_in_it() {
    let domain = |value: &str| least_with("\"de1.example.net\"", &format!("\"{value}\""));
    let wrong = ["a\\nPostUp = reboot", "a\\r", "a:51820", "a b", ""];
    assert_edges("servers[0].domain", &["203.0.113.7", "DE1.example.net"], &wrong, domain);
    let city = |value: &str| least_with("\"Nuremberg\"", &format!("\"{value}\""));
    let (longest, too_long) = ("ü".repeat(64), "ü".repeat(65));
    let wrong = ["", " ", "a\\nb", "a\\u0085b", "a\\u2028b", "\\u0000", &too_long];
    assert_edges("servers[0].city", &["São Paulo", &longest], &wrong, city);
    let name = |value: &str| least_and(&format!("[service]\nname = \"{value}\""));
    assert_edges("service.name", &["Tolls & Co."], &["", "a\\nb"], name);
}

#[test]
fn origins_are_a_list_of_them() {
    let file = |value: &str| least_and(&format!("[service]\norigins = {value}"));
    let right = ["[]", "['https://a.example']", "'https://a.example, http://b.onion'"];
    assert_edges("service.origins", &right, &["['https://a.example/']", "['a.example']", "[1]", "1", "''"], file);
}

#[test]
fn a_security_contact_is_an_address_of_mail_or_of_a_page() {
    let file = |value: &str| least_and(&format!("[service]\nsecurity_contact = \"{value}\""));
    let (longest, too_long) = (format!("https://{}", "a".repeat(248)), format!("https://{}", "a".repeat(249)));
    let right = ["mailto:security@a.example", "https://a.example/security", &longest];
    let wrong =
        ["", "security@a.example", "mailto:", "https://", "http://a.example", "mailto:a b", "mailto:a\\nb", &too_long];
    assert_edges("service.security_contact", &right, &wrong, file);
}

#[test]
fn what_an_account_earns_is_bounded() {
    let file = |value: &str| least_and(&format!("[referral]\nmost_months = {value}"));
    assert_edges("referral.most_months", &["1", "1000"], &["0", "1001", "'a'"], file);
}

#[test]
fn proxies_are_networks_but_never_everybody() {
    let file = |value: &str| least_and(&format!("[service]\ntrusted_proxies = {value}"));
    let right = ["[]", "['10.0.0.1']", "['10.0.0.0/8', '::1']", "'10.0.0.1, fd00::/8'"];
    assert_edges("service.trusted_proxies", &right, &["['0.0.0.0/0']", "['::/0']", "['a']", "[1]", "1"], file);
}

#[test]
fn what_may_be_asked_besides_public_addresses_is_named_and_never_everything() {
    let allow = |value: &str| least_and(&format!("[egress]\nallow = {value}"));
    let right = ["[]", "['127.0.0.1']", "['10.0.0.0/8', 'fd00::/8']", "'127.0.0.1, ::1'"];
    assert_edges("egress.allow", &right, &["['0.0.0.0/0']", "['::/0']", "['localhost']", "[1]"], allow);
    let customers = |value: &str| least_and(&format!("[egress]\nallow_customers = {value}"));
    assert_edges("egress.allow_customers", &right, &["['0.0.0.0/0']", "['::/0']", "['localhost']", "[1]"], customers);
    let proxy = |value: &str| least_and(&format!("[egress]\nonion_proxy = '{value}'"));
    let wrong = ["", "9050", "localhost:9050", "socks5://127.0.0.1:9050"];
    assert_edges("egress.onion_proxy", &["127.0.0.1:9050", "[::1]:9050"], &wrong, proxy);
    let rules = parse(&least_and("[egress]\nca_file = 'ca.pem'")).unwrap().egress;
    assert_eq!(rules, EgressRules { ca_file: Some("/etc/wiretoll/ca.pem".into()), ..EgressRules::default() });
    assert_eq!(parse(LEAST).unwrap().egress, EgressRules::default());
}

#[test]
fn who_is_called_for_others_is_one_of_three_and_who_is_not_is_named() {
    let ping = |value: &str| least_and(&format!("[tools]\nping = '{value}'"));
    assert_edges("tools.ping", &["anybody", "own_servers", "nobody"], &["", "true", "Anybody"], ping);
    let never = |value: &str| least_and(&format!("[tools]\nnever_ping = {value}"));
    let key = format!("['{}']", "02".repeat(33));
    assert_edges("tools.never_ping", &["[]", &key], &["''", "['']", "['02']", "[1]"], never);
    let refuse = |value: &str| least_and(&format!("[egress]\nrefuse = {value}"));
    assert_edges("egress.refuse", &["['203.0.113.0/24', '::1']"], &["['0.0.0.0/0']", "['a.example']"], refuse);
}

#[test]
fn a_plan_has_one_price_and_each_duration_one_plan() {
    let price = |value: &str| least_with("sats = 4500", value);
    assert_edges("plans[0].usd", &[], &["", "sats = 1\nusd = '1.00'"], price);
    assert_edges("plans[0].sats", &["sats = 1"], &["sats = 0", "sats = 100000001", "sats = '1.0'"], price);
    let usd = ["usd = 3.0", "usd = '3.0'", "usd = '0.00'", "usd = -1"];
    assert!(usd.iter().all(|usd| wrong_keys(&price(usd)) == ["plans[0].usd"]));
    assert_edges("plans[0].months", &["1", "36"], &["0", "37"], |value| {
        least_with("months = 1", &format!("months = {value}"))
    });
    assert_eq!(wrong_keys(&least_and("[[plans]]\nmonths = 1\nsats = 2")), ["plans"]);
    let none = format!("plans = []\n{}", LEAST.replace("[[plans]]\n    months = 1\n    sats = 4500", ""));
    assert_eq!(wrong_keys(&none), ["plans"]);
}

#[test]
fn a_rate_is_of_the_past_and_makes_sums_that_can_be_asked() {
    let file = |rate: &str, as_of: &str, max_age: &str| {
        let file = least_with("sats = 4500", "usd = '28.80'");
        format!("{file}\n[rate]\nusd_per_btc = {rate}\nas_of = {as_of}\nmax_age = '{max_age}'")
    };
    let at = "2026-11-22T12:00:00Z";
    let rates = ["0", "'0'", "-1", "100000.5", "'1e5'", "28", "'28.79'"];
    assert_edges("rate.usd_per_btc", &["100000", "'100000.50'", "'28.80'"], &rates, |rate| file(rate, at, "24h"));
    let right = [at, "'2026-11-22T12:00:00Z'", "2026-11-22T13:00:00+01:00", "2026-11-22 12:00:00Z"];
    let wrong = ["'2026-11-22T12:00:00.001Z'", "2026-11-22T12:00:00", "2026-11-22", "'yesterday'", "1"];
    assert_edges("rate.as_of", &right, &wrong, |as_of| file("100000", as_of, "24h"));
    assert_edges("rate.max_age", &["1m", "366d"], &["59s", "367d"], |max_age| file("100000", at, max_age));
    assert_eq!(wrong_keys(&least_and("[rate]")), ["rate.usd_per_btc", "rate.as_of", "rate.max_age"]);
}

#[test]
fn a_live_rate_has_sources_enough_and_bounds() {
    let usd = least_with("sats = 4500", "usd = '28.80'");
    let live = |keys: &str| format!("{usd}\n[rate.live]\nsources = ['kraken', 'coinbase']\n{keys}");
    let Some(RateSource::Live(read)) = parse(&live("kraken_url = 'http://[::1]:8080/'")).unwrap().rate else {
        panic!()
    };
    let sources: Vec<_> = read.sources.iter().map(|source| (source.exchange.name(), source.url.as_str())).collect();
    assert_eq!(sources, [("coinbase", "https://api.exchange.coinbase.com"), ("kraken", "http://[::1]:8080")]);
    assert_eq!((read.pinned, read.rules.least, read.rules.max_age_millis), (None, 2, 600_000));
    let list = |value: &str| format!("{usd}\n[rate.live]\nleast = 1\nsources = {value}");
    let wrong = ["[]", "['mtgox']", "['kraken', 'kraken']", "[1]", "''"];
    assert_edges("rate.live.sources", &["['kraken']", "'kraken, bitstamp'"], &wrong, list);
    assert_edges("rate.live.least", &["1", "2"], &["0", "3", "5"], |value| live(&format!("least = {value}")));
    let age = |value: &str| live(&format!("max_age = '{value}'"));
    assert_edges("rate.live.max_age", &["2m", "1h"], &["119s", "61m"], age);
    let deviation = |value: &str| live(&format!("max_deviation_percent = {value}"));
    assert_edges("rate.live.max_deviation_percent", &["1", "20"], &["0", "21"], deviation);
    // At the floor a plan costs the most sats: no more than a bitcoin.
    assert_edges("rate.live.floor", &["'28.80'", "499999"], &["'28.79'", "500000", "'0'"], |value| {
        live(&format!("floor = {value}"))
    });
    let wrong = ["", "kraken.com", "ftp://a", "https://", "https:///a", "https://a?b", "https://u@a", "https://a b"];
    assert_edges("rate.live.kraken_url", &["https://a", "http://127.0.0.1:1/b"], &wrong, |v| {
        live(&format!("kraken_url = '{v}'"))
    });
    assert_eq!(wrong_keys(&format!("{usd}\n[rate.live]")), ["rate.live.sources"]);
}

#[test]
fn the_pinned_rate_is_a_source_of_the_live_one_or_is_left_out_as_a_whole() {
    let usd = least_with("sats = 4500", "usd = '28.80'");
    let beside =
        |pinned: &str| format!("{usd}\n[rate]\n{pinned}\n[rate.live]\nsources = ['kraken', 'bitstamp']\nleast = 3");
    let pinned = "usd_per_btc = 100000\nas_of = 2026-11-22T12:00:00Z\nmax_age = '24h'";
    assert!(parse(&beside(pinned)).is_ok());
    assert_eq!(wrong_keys(&beside("")), ["rate.live.least"]);
    assert_eq!(wrong_keys(&beside("usd_per_btc = 100000")), ["rate.as_of", "rate.max_age"]);
    assert_eq!(wrong_keys(&beside(&pinned.replace("100000", "19999"))), ["rate.usd_per_btc"]);
}

#[test]
fn servers_differ_in_what_customers_tell_them_apart_by() {
    let two = format!("{}\npublic_key = '{KEY}'\n{OTHER_SERVER}\npublic_key = '{KEY}'", LEAST.trim_end());
    assert_eq!(wrong_keys(&two), ["servers[1].public_key"]);
    assert_eq!(wrong_keys(&least_and(OTHER_SERVER)), [""; 0]);
    assert_eq!(wrong_keys(&least_and(&OTHER_SERVER.replace("eu-fi", "eu-de"))), ["servers[1].id"]);
    let same_host = OTHER_SERVER.replace("fi1", "DE1");
    assert_eq!(wrong_keys(&least_and(&same_host)), ["servers[1].domain", "servers[1].first_port"]);
    let beside = |first_port| least_and(&format!("{same_host}\nport = 51821\nfirst_port = {first_port}"));
    assert_eq!(wrong_keys(&beside(37_044)), ["servers[1].first_port"]);
    assert_eq!(wrong_keys(&beside(37_045)), [""; 0]);
}

#[test]
fn customers_ports_that_cover_the_machine_s_own_are_warned_of() {
    const AGENT: &str = "[agent]\nserver = 'eu-de'\nwan_interface = 'eth0'\npublic_address = '203.0.113.7'";
    // A pool of 2,045 ports.
    let covers = |port: u16, first_port: u16, more: &str| {
        let config = parse(&least_and(&format!("first_port = {first_port}\n{more}"))).unwrap();
        config.warnings(now()).iter().any(|warning| warning.contains(&format!("cover {port}, the port of ")))
    };
    let node = |first_port| covers(9_735, first_port, AGENT);
    assert_eq!([7_690, 7_691, 9_735, 9_736].map(node), [false, true, true, false]);
    assert!(!covers(9_735, 9_000, ""), "without an agent that is another machine");
    let listens = |at: &str| {
        let listen = format!("{AGENT}\n[service]\nlisten = '{at}'");
        [6_035, 6_036, 8_080, 8_081].map(|first_port| covers(8_080, first_port, &listen))
    };
    for outside in ["0.0.0.0:8080", "[::]:8080", "203.0.113.7:8080"] {
        assert_eq!(listens(outside), [false, true, true, false], "{outside}");
    }
    assert_eq!(listens("127.0.0.1:8080"), [false; 4], "nobody comes to that from outside");
    assert!(covers(9_273, 9_000, &format!("{AGENT}\n[metrics]\nlisten = '0.0.0.0:9273'")));
}

#[test]
fn one_to_32_servers_are_sold() {
    let (head, _) = LEAST.split_once("[[servers]]").unwrap();
    assert_eq!(wrong_keys(head), ["servers"]);
    assert_eq!(wrong_keys(&format!("servers = []\n{head}")), ["servers"]);
    let many = |count: usize| {
        let numbered = |n| OTHER_SERVER.replace("eu-fi", &format!("s-{n}")).replace("fi1", &format!("s{n}"));
        format!("{head}{}", (0..count).map(numbered).collect::<String>())
    };
    assert_eq!(wrong_keys(&many(32)), [""; 0]);
    assert_eq!(wrong_keys(&many(33)), ["servers"]);
}

#[test]
fn customers_are_sent_to_a_server_that_stays() {
    let to = |target: &str| format!("{}\nmigrate_to = '{target}'\n{OTHER_SERVER}", LEAST.trim_end());
    assert_edges("servers[0].migrate_to", &["eu-fi"], &["eu-de", "eu-at", "e"], to);
    let circle = format!("{}\nmigrate_to = 'eu-de'", to("eu-fi"));
    assert_eq!(wrong_keys(&circle), ["servers[0].migrate_to", "servers[1].migrate_to"]);
}

#[test]
fn an_unknown_server_of_the_agent_is_told_beside_other_mistakes() {
    let agent = "[agent]\nserver = \"eu-xx\"\nwan_interface = \"eth0\"";
    assert_eq!(wrong_keys(&least_and(agent)), ["agent.public_address", "agent.server"]);
    let other = least_and(agent).replace("domain = \"de1.example.net\"", "domain = \"de1:1\"");
    assert_eq!(wrong_keys(&other), ["servers[0].domain", "agent.public_address", "agent.server"]);
}

#[test]
fn cards_need_an_account_whose_mode_fits_the_network() {
    let pages = "success_url = 'https://a.example/paid'\ncancel_url = 'https://a.example/no'";
    let with = |key: &str, secret: &str, more: &str| {
        least_and(&format!("[stripe]\nkey = {key}\nwebhook_secret = {secret}\n{pages}\n{more}"))
    };
    let (key, secret) = ("'rk_test_1'", "'whsec_1'");
    assert_edges(
        "stripe.key",
        &[key, "'sk_test_1'"],
        &["'rk_live_1'", "'rk_test_'", "''", "'rk_test_1 2'", "1"],
        |key| with(key, secret, ""),
    );
    let wrong = ["'whsec_'", "'x'", "''", "'whsec_1 whsec_2 whsec_3'"];
    assert_edges("stripe.webhook_secret", &[secret, "'whsec_1 whsec_2'"], &wrong, |secret| with(key, secret, ""));
    let lifetime = |value: &str| with(key, secret, &format!("session_lifetime = {value}"));
    assert_edges("stripe.session_lifetime", &["'33m'", "'23h'"], &["'32m'", "'24h'"], lifetime);
    let stripe = parse(&with(key, secret, "api_base = 'https://stripe.example/'")).unwrap().stripe.unwrap();
    assert_eq!((stripe.api_base.as_str(), stripe.mode), ("https://stripe.example", CardMode::Test));
    assert!(!format!("{stripe:?}").contains("rk_test") && !format!("{stripe:?}").contains("whsec"));
    assert_eq!(
        wrong_keys(&least_and("[stripe]")),
        ["stripe.key_file", "stripe.webhook_secret_file", "stripe.success_url", "stripe.cancel_url"]
    );
    assert!(parse(LEAST).unwrap().stripe.is_none());
}
