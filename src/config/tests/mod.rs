//! Through the front door: a file's text and variables in, a [`Config`] or its mistakes out.

mod report;
mod robustness;
mod rules;
mod sources;

use std::path::Path;

use super::{Config, Problems};
use crate::domain::time::Timestamp;

/// The least that an operator has to say; it sells for sats, so that it needs no rate.
const LEAST: &str = r#"
    [lnd]
    address = "https://127.0.0.1:10009"
    certificate_file = "tls.cert"
    macaroon_file = "wiretoll.macaroon"
    network = "regtest"

    [[plans]]
    months = 1
    sats = 4500

    [[servers]]
    id = "eu-de"
    country = "Germany"
    city = "Nuremberg"
    flag = "🇩🇪"
    domain = "de1.example.net"
    pool = "10.9.0.0/21"
"#;

const OTHER_SERVER: &str = r#"
    [[servers]]
    id = "eu-fi"
    country = "Finland"
    city = "Helsinki"
    flag = "🇫🇮"
    domain = "fi1.example.net"
    pool = "10.9.0.0/21"
"#;

const KEY: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

fn now() -> Timestamp {
    Timestamp::parse("2026-11-22T12:00:00Z").unwrap()
}

fn parse_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, Problems> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(text, Path::new("/etc/wiretoll"), environment, now())
}

fn parse(text: &str) -> Result<Config, Problems> {
    parse_with(text, &[])
}

/// The keys at which `text` is wrong.
fn wrong_keys(text: &str) -> Vec<String> {
    parse(text).map_or_else(|problems| problems.0.into_iter().map(|problem| problem.key).collect(), |_| Vec::new())
}

/// [`LEAST`] with one line in another form.
fn least_with(line: &str, instead: &str) -> String {
    assert!(LEAST.contains(line), "{line}");
    LEAST.replace(line, instead)
}

fn least_and(more: &str) -> String {
    format!("{LEAST}\n{more}")
}

/// Each key with one value that is right at the very edge and some that are wrong beyond it.
fn assert_edges(key: &str, right: &[&str], wrong: &[&str], file_with: impl Fn(&str) -> String) {
    for value in right {
        assert_eq!(wrong_keys(&file_with(value)), [""; 0], "{key} = {value}");
    }
    for value in wrong {
        assert_eq!(wrong_keys(&file_with(value)), [key], "{key} = {value}");
    }
}
