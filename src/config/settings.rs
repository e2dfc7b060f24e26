//! The sections that say how the service runs: `service`, `log`, `metrics`, `database`, `instance_key`, `lnd`, `orders`,
//! `holds`, `limits`, `egress`, `tools` and `referral`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use toml::Value;

use super::network::{https_address, origin};
use super::section::Section;
use super::value::{duration, flag, list, name, networks, number, one_of, parsed, path, text};
use super::{
    Database, EgressRules, KeySource, Limits, Lnd, LndTrust, Log, LogFormat, MacaroonSource, Orders, Pingable, Quota,
    SecretText, Service, Tools,
};
use crate::domain::Invalid;
use crate::domain::instance_key::Keyring;
use crate::domain::lightning::{Network, NodeId};
use crate::domain::referral::Bonuses;
use crate::domain::subscription::Holds;

const LOG_FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

const LOG_LEVELS: [(&str, tracing::Level); 5] = [
    ("error", tracing::Level::ERROR),
    ("warn", tracing::Level::WARN),
    ("info", tracing::Level::INFO),
    ("debug", tracing::Level::DEBUG),
    ("trace", tracing::Level::TRACE),
];

const PINGABLE: [(&str, Pingable); 3] =
    [("anybody", Pingable::Anybody), ("own_servers", Pingable::OwnServers), ("nobody", Pingable::Nobody)];

const MOST_REQUESTS: i64 = 1_000_000;
const LONGEST_CONTACT: usize = 256;
const MOST_BONUS_MONTHS: i64 = 1_000;

/// The service, and the folder of its database and instance key.
pub fn service(section: &mut Section<'_>, folder: &Path) -> (Service, PathBuf) {
    let name = section.optional("name", r#""wiretoll""#, name).unwrap_or_else(|| "wiretoll".to_owned());
    let listen = section.optional("listen", r#""127.0.0.1:8080""#, listen_address);
    let trusted_proxies = section.optional("trusted_proxies", r#"["127.0.0.1", "10.0.0.0/24"]"#, proxies);
    let origins = section.optional("origins", r#"["https://shop.example"]"#, list(origin));
    let contact = section.optional("security_contact", r#""mailto:security@shop.example""#, contact);
    let data_folder = section.optional("data_folder", r#""/var/lib/wiretoll""#, path).unwrap_or_default();
    let service = Service {
        name,
        listen: listen.unwrap_or_else(|| ([127, 0, 0, 1], 8080).into()),
        trusted_proxies: trusted_proxies.unwrap_or_default(),
        origins: origins.unwrap_or_default(),
        security_contact: contact,
    };
    // `components` drops the `.` that says "here".
    (service, folder.join(data_folder).components().collect())
}

/// One line of RFC 9116.
fn contact(value: &Value) -> Result<String, Invalid> {
    let contact = text(value)?;
    let is_uri =
        ["mailto:", "https://"].iter().any(|scheme| contact.len() > scheme.len() && contact.starts_with(scheme));
    if is_uri && contact.len() <= LONGEST_CONTACT && contact.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(contact.to_owned());
    }
    Err(Invalid::new(format!("mailto: or https:// and at most {LONGEST_CONTACT} visible characters are expected")))
}

fn proxies(value: &Value) -> Result<Vec<IpNet>, Invalid> {
    networks("a network of all addresses would let everybody choose an address to be limited by")(value)
}

fn listen_address(value: &Value) -> Result<SocketAddr, Invalid> {
    parsed("an address and a port to listen on are expected")(value)
}

pub fn log(section: &mut Section<'_>) -> Log {
    let standard = Log::default();
    Log {
        format: section.optional("format", r#""json""#, one_of(&LOG_FORMATS)).unwrap_or(standard.format),
        level: section.optional("level", r#""debug""#, one_of(&LOG_LEVELS)).unwrap_or(standard.level),
    }
}

/// None by default: a port that nobody asked for could be another program's, and its reader is not known.
pub fn metrics(section: &mut Section<'_>) -> Option<SocketAddr> {
    section.optional("listen", r#""127.0.0.1:9273""#, listen_address)
}

/// One of the two could not listen; port 0 is any that is free.
pub fn refuse_one_port_for_two(root: &mut Section<'_>, service: SocketAddr, metrics: SocketAddr) {
    let (one, other) = (service.ip(), metrics.ip());
    let meet = one == other || one.is_ipv4() == other.is_ipv4() && (one.is_unspecified() || other.is_unspecified());
    if meet && service.port() == metrics.port() && service.port() != 0 {
        let remedy = "for example: listen = \"127.0.0.1:9273\"";
        root.problem("metrics.listen", "the service listens on this port ([service] listen)", remedy);
    }
}

pub fn database(section: &mut Section<'_>, data_folder: &Path) -> Database {
    let url = section.optional("url", r#""sqlite:wiretoll.db""#, database_url);
    match url.unwrap_or_else(|| Database::Sqlite(PathBuf::from("wiretoll.db"))) {
        Database::Sqlite(file) => Database::Sqlite(data_folder.join(file)),
        postgres @ Database::Postgres(_) => postgres,
    }
}

fn database_url(value: &Value) -> Result<Database, Invalid> {
    let url = text(value)?;
    let after = |schemes: &[&str]| schemes.iter().find_map(|scheme| url.strip_prefix(scheme)).filter(|s| !s.is_empty());
    if after(&["postgres://", "postgresql://"]).is_some() {
        return Ok(Database::Postgres(SecretText::new(url)));
    }
    let file =
        after(&["sqlite://", "sqlite:"]).ok_or_else(|| Invalid::new("neither a sqlite: nor a postgres:// URL"))?;
    if file.contains(":memory:") || file.contains('?') || file.contains(char::is_control) {
        return Err(Invalid::new(
            "after sqlite: the path of a file is expected, without options; orders must outlive us",
        ));
    }
    Ok(Database::Sqlite(PathBuf::from(file)))
}

/// The environment's key goes before the file.
pub fn instance_key(section: &mut Section<'_>, data_folder: &Path, given: Option<Keyring>) -> KeySource {
    let file = section.optional("file", r#""instance.key""#, path);
    let file = data_folder.join(file.unwrap_or_else(|| PathBuf::from("instance.key")));
    given.map_or(KeySource::File(file), KeySource::Given)
}

pub fn lnd(section: &mut Section<'_>, folder: &Path) -> Option<Lnd> {
    let address = section.required("address", r#""https://127.0.0.1:10009""#, https_address);
    let trust = lnd_trust(section, folder);
    let macaroon = macaroon(section, folder);
    let network = section.required("network", r#""mainnet""#, |value| text(value)?.parse::<Network>());
    Some(Lnd { address: address?, trust: trust?, macaroon: macaroon?, network: network? })
}

fn lnd_trust(section: &mut Section<'_>, folder: &Path) -> Option<LndTrust> {
    const EXAMPLE: &str = r#""/home/lnd/.lnd/tls.cert""#;
    let public_ca = section.optional("public_ca", "true", flag);
    let certificate = section.optional("certificate_file", EXAMPLE, path);
    match (public_ca, section.has("certificate_file")) {
        (Some(true), false) => return Some(LndTrust::PublicCa),
        (Some(true), true) => {
            let remedy = "leave one of them out: certificate_file pins one certificate, public_ca believes them all";
            section.problem("certificate_file", "given beside public_ca", remedy);
        }
        (Some(false) | None, false) => {
            let remedy = format!("for example: certificate_file = {EXAMPLE}; or public_ca = true behind a proxy");
            section.problem("certificate_file", "missing: how do we know that it is your node?", &remedy);
        }
        (Some(false) | None, true) => {}
    }
    Some(LndTrust::PinnedCertificate(folder.join(certificate?)))
}

fn macaroon(section: &mut Section<'_>, folder: &Path) -> Option<MacaroonSource> {
    const EXAMPLE: &str = r#""wiretoll.macaroon""#;
    let in_text = section.optional("macaroon", r#""0201036c6e64...""#, macaroon_text);
    let file = section.optional("macaroon_file", EXAMPLE, path);
    match (section.has("macaroon"), section.has("macaroon_file")) {
        (true, true) => section.problem("macaroon", "given twice", "leave out either macaroon or macaroon_file"),
        (false, false) => {
            section.problem("macaroon_file", "missing", &format!("for example: macaroon_file = {EXAMPLE}"));
        }
        _ => {}
    }
    let file = file.map(|file| MacaroonSource::File(folder.join(file)));
    file.or(in_text.map(MacaroonSource::Text))
}

fn macaroon_text(value: &Value) -> Result<SecretText, Invalid> {
    let text = text(value)?.trim();
    let is_encoded = hex::decode(text).is_ok() || STANDARD.decode(text).is_ok();
    if text.is_empty() || !is_encoded {
        return Err(Invalid::new("the macaroon's bytes are expected in hexadecimal or base64"));
    }
    Ok(SecretText::new(text))
}

pub fn orders(section: &mut Section<'_>) -> Orders {
    let standard = Orders::default();
    let invoice_lifetime = section.optional("invoice_lifetime", r#""15m""#, duration("1m"..="24h"));
    let require_claim_token = section.optional("require_claim_token", "true", flag);
    let private_route_hints = section.optional("private_route_hints", "true", flag);
    Orders {
        invoice_lifetime: invoice_lifetime.unwrap_or(standard.invoice_lifetime),
        require_claim_token: require_claim_token.unwrap_or(standard.require_claim_token),
        private_route_hints: private_route_hints.unwrap_or(standard.private_route_hints),
    }
}

pub fn holds(section: &mut Section<'_>) -> Holds {
    let standard = Holds::default();
    let grace = section.optional("grace", r#""1d""#, duration("0s"..="366d"));
    let slot = section.optional("slot", r#""30d""#, duration("0s"..="366d"));
    let quarantine = section.optional("quarantine", r#""1d""#, duration("0s"..="366d"));
    let private_key = section.optional("private_key", r#""7d""#, duration("1h"..="366d"));
    let deliveries = section.optional("deliveries", r#""30d""#, duration("1d"..="366d"));
    Holds {
        grace_millis: grace.map_or(standard.grace_millis, millis),
        hold_millis: slot.map_or(standard.hold_millis, millis),
        quarantine_millis: quarantine.map_or(standard.quarantine_millis, millis),
        private_key_millis: private_key.map_or(standard.private_key_millis, millis),
        deliveries_millis: deliveries.map_or(standard.deliveries_millis, millis),
    }
}

pub fn bonuses(section: &mut Section<'_>) -> Bonuses {
    let bonus = section.optional("bonus", r#""3=1, 6=2, 12=3""#, |value| match value {
        Value::String(text) => Bonuses::parse(text),
        _ => Err(Invalid::new("text is expected")),
    });
    let mut bonuses = bonus.unwrap_or_default();
    if let Some(most) = section.optional("most_months", "24", number(1..=MOST_BONUS_MONTHS)) {
        bonuses.most_months = most;
    }
    bonuses
}

/// A duration was read within bounds that are far from 64 bits of milliseconds.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub fn limits(section: &mut Section<'_>) -> Limits {
    let standard = Limits::default();
    Limits {
        create: quota(section, "create", standard.create),
        check_per_hash: quota(section, "check_per_hash", standard.check_per_hash),
        check: quota(section, "check", standard.check),
        claim: quota(section, "claim", standard.claim),
        status: quota(section, "status", standard.status),
        api_key: quota(section, "api_key", standard.api_key),
        nostr: quota(section, "nostr", standard.nostr),
        new_account: quota(section, "new_account", standard.new_account),
        webhook_calls: quota(section, "webhook_calls", standard.webhook_calls),
        failed_authentication: quota(section, "failed_authentication", standard.failed_authentication),
        ping: quota(section, "ping", standard.ping),
        ping_in_all: quota(section, "ping_in_all", standard.ping_in_all),
        node_lookup: quota(section, "node_lookup", standard.node_lookup),
        node_lookup_in_all: quota(section, "node_lookup_in_all", standard.node_lookup_in_all),
        open_orders: section.optional("open_orders", "40", number(1..=MOST_REQUESTS)).unwrap_or(standard.open_orders),
    }
}

fn quota(limits: &mut Section<'_>, key: &'static str, standard: Quota) -> Quota {
    let read = |section: &mut Section<'_>| Quota {
        burst: section.optional("burst", "20", number(1..=MOST_REQUESTS)).unwrap_or(standard.burst),
        per_minute: section.optional("per_minute", "20", number(1..=MOST_REQUESTS)).unwrap_or(standard.per_minute),
    };
    limits.section(key, read).unwrap_or(standard)
}

pub fn egress(section: &mut Section<'_>, folder: &Path) -> EgressRules {
    let everybody = "a network of all addresses would let strangers reach every host of yours";
    let allow = section.optional("allow", r#"["127.0.0.1", "10.0.0.0/24"]"#, networks(everybody));
    let customers = section.optional("allow_customers", r#"["10.0.0.7"]"#, networks(everybody));
    let nobody = "without any address nobody could be asked";
    let ca_file = section.optional("ca_file", r#""/etc/wiretoll/ca.pem""#, path);
    let proxy = parsed("the address and port of a SOCKS5 proxy are expected");
    EgressRules {
        allow: allow.unwrap_or_default(),
        allow_customers: customers.unwrap_or_default(),
        ca_file: ca_file.map(|file| folder.join(file)),
        onion_proxy: section.optional("onion_proxy", r#""127.0.0.1:9050""#, proxy),
        refuse: section.optional("refuse", r#"["203.0.113.0/24"]"#, networks(nobody)).unwrap_or_default(),
    }
}

pub fn tools(section: &mut Section<'_>) -> Tools {
    let ping = section.optional("ping", r#""own_servers""#, one_of(&PINGABLE));
    let never_ping = section.optional("never_ping", r#"["02c6047f..."]"#, node_ids);
    Tools { ping: ping.unwrap_or_default(), never_ping: never_ping.unwrap_or_default() }
}

fn node_ids(value: &Value) -> Result<Vec<NodeId>, Invalid> {
    let list = value.as_array().ok_or_else(|| Invalid::new("a list of the public keys of nodes is expected"))?;
    list.iter().map(|item| NodeId::parse(text(item)?)).collect()
}
