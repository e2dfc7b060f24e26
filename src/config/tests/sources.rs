//! Where settings come from: the file, its folder and the environment.

use std::path::Path;

use super::{LEAST, now, parse_with};
use crate::config::{Config, Database, KeySource, LndTrust, MacaroonSource};

#[test]
fn the_environment_goes_before_the_file() {
    let config = parse_with(
        LEAST,
        &[
            ("WIRETOLL_LND__ADDRESS", "https://other:1"),
            ("WIRETOLL_LIMITS__CLAIM__BURST", "7"),
            ("WIRETOLL_ORDERS__REQUIRE_CLAIM_TOKEN", "true"),
            ("WIRETOLL_SERVERS__0__DOMAIN", "de2.example.net"),
            ("WIRETOLL_DATABASE__URL", "  "),
            ("WIRETOLL_PORT", "tcp://10.0.0.1:80"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    assert_eq!(config.lnd.address, "https://other:1");
    assert_eq!((config.limits.claim.burst, config.limits.claim.per_minute), (7, 30));
    assert!(config.orders.require_claim_token);
    assert_eq!(config.servers[0].domain, "de2.example.net");
    assert!(matches!(config.database, Database::Sqlite(_)));
}

#[test]
fn the_instance_key_may_come_from_the_environment_alone() {
    let key = format!("3:{}", "ab".repeat(32));
    let config = parse_with(LEAST, &[("WIRETOLL_INSTANCE_KEY", &key)]).unwrap();
    assert!(matches!(config.instance_key, KeySource::Given(ring) if ring.current().0 == 3));
}

#[test]
fn a_file_that_is_not_there_says_how_to_make_one() {
    let problems = Config::load(Some(Path::new("/nowhere/wiretoll.toml")), [], now()).unwrap_err();
    assert_eq!(problems.0[0].key, "/nowhere/wiretoll.toml");
    assert!(problems.to_string().contains("config example"));
}

#[test]
fn paths_are_relative_to_the_folder_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wiretoll.toml");
    std::fs::write(&file, LEAST).unwrap();
    let config = Config::load(Some(&file), [], now()).unwrap();
    assert_eq!(config.lnd.trust, LndTrust::PinnedCertificate(folder.path().join("tls.cert")));
    assert_eq!(config.lnd.macaroon, MacaroonSource::File(folder.path().join("wiretoll.macaroon")));
    assert_eq!(config.database, Database::Sqlite(folder.path().join("wiretoll.db")));
}
