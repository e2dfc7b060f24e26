//! What an operator gets to read, and what it never shows.

use insta::assert_snapshot;

use super::{LEAST, parse, parse_with};

#[test]
fn a_wrong_variable_is_named() {
    let problems = parse_with(
        LEAST,
        &[
            ("WIRETOLL_INSTANCE_KEY", "secret"),
            ("WIRETOLL_LND__ADRESS", "secret"),
            ("WIRETOLL_ORDERS__INVOICE_LIFETIME", "secret"),
            ("WIRETOLL_SERVERS__0__DOMAIN", "secret\n"),
            ("WIRETOLL_SERVERS__1__DOMAIN", "secret"),
            ("WIRETOLL_LND__NETWORK__X__Y", "secret"),
        ],
    );
    assert_snapshot!(problems.unwrap_err(), @r#"
    6 mistakes in the configuration:
      WIRETOLL_LND__NETWORK__X__Y: names no place in the configuration
        for example: WIRETOLL_LND__ADDRESS; WIRETOLL_SERVERS__0__DOMAIN for a server of the file
      WIRETOLL_SERVERS__1__DOMAIN: names no place in the configuration
        for example: WIRETOLL_LND__ADDRESS; WIRETOLL_SERVERS__0__DOMAIN for a server of the file
      WIRETOLL_INSTANCE_KEY: an instance key is a line such as 1:<64 hexadecimal digits>
        for example: 1:<64 hexadecimal digits>, as the file of an instance key has it
      lnd.adress (from WIRETOLL_LND__ADRESS): unknown key
        did you mean address? the keys here are: address, public_ca, certificate_file, macaroon, macaroon_file, network
      orders.invoice_lifetime (from WIRETOLL_ORDERS__INVOICE_LIFETIME): a duration from 1m to 24h is expected: a number and s, m, h or d
        for example: invoice_lifetime = "15m"
      servers[0].domain (from WIRETOLL_SERVERS__0__DOMAIN): a host name is expected: letters, digits, hyphens and dots; no port, no scheme
        for example: domain = "de1.example.net"
    "#);
}

#[test]
fn every_mistake_of_a_file_is_reported_at_once() {
    let text = r#"
        colour = "red"
        database = "sqlite:a.db"

        [service]
        listen = 8080
        nmae = "Tolls"

        [lnd]
        address = "lnd:10009"
        macaroon = "secret"
        network = "bitcoin"

        [orders]
        invoice_lifetime = "2 days"

        [[plans]]
        months = 1

        [[servers]]
        id = "e"
        country = "Germany"
        flag = "🇩🇪"
        domain = "de1.example.net:51820"
        public_key = "secret"
        pool = "8.8.8.0/24"
    "#;
    assert_snapshot!(parse(text).unwrap_err(), @r#"
    15 mistakes in the configuration:
      service.listen: text in quotes is expected; this is of type integer
        for example: listen = "127.0.0.1:8080"
      service.nmae: unknown key
        did you mean name? the keys here are: name, listen, trusted_proxies, origins, security_contact, data_folder
      database: a section is expected here
        for example: [database]
      lnd.address: an address is expected that begins with https:// and ends with a port; LND has no other
        for example: address = "https://127.0.0.1:10009"
      lnd.certificate_file: missing: how do we know that it is your node?
        for example: certificate_file = "/home/lnd/.lnd/tls.cert"; or public_ca = true behind a proxy
      lnd.macaroon: the macaroon's bytes are expected in hexadecimal or base64
        for example: macaroon = "0201036c6e64..."
      lnd.network: not one of mainnet, testnet, signet, regtest, simnet
        for example: network = "mainnet"
      orders.invoice_lifetime: a duration from 1m to 24h is expected: a number and s, m, h or d
        for example: invoice_lifetime = "15m"
      plans[0].usd: a plan has one price, either in dollars or in sats
        for example: usd = "8.55", which needs a [rate]; or sats = 12000
      servers[0].id: a server id has 2 to 32 characters of A-Z, a-z, 0-9, _ and -
        for example: id = "eu-de"
      servers[0].city: missing
        for example: city = "Nuremberg"
      servers[0].domain: a host name is expected: letters, digits, hyphens and dots; no port, no scheme
        for example: domain = "de1.example.net"
      servers[0].public_key: not a WireGuard public key: expected 44 characters of base64, as `wg` prints them
        for example: public_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
      servers[0].pool: the address pool is a private network between /12 and /29, such as 10.9.0.0/21
        for example: pool = "10.9.0.0/21"
      colour: unknown key
        the keys here are: service, log, metrics, database, instance_key, lnd, orders, holds, limits, egress, tools, plans, rate, bandwidth_reset, referral, stripe, servers, webhooks, agent
    "#);
}

#[test]
fn a_syntax_error_has_a_line_and_a_column_and_shows_no_secret() {
    let problems = parse("[lnd]\nmacaroon = 02010secret\n").unwrap_err();
    assert_snapshot!(problems, @r#"
    one mistake in the configuration:
      line 2, column 12: not TOML: unexpected leading zero, expected nothing
        for example: text in quotes, key = "value"; see https://toml.io
    "#);
}

#[test]
fn no_problem_shows_what_was_read() {
    let secret = "hunter2hunter2";
    for line in LEAST.lines().filter(|line| line.contains('=')) {
        let (key, _) = line.split_once('=').unwrap();
        for value in [format!("\"{secret}\""), format!("\"{secret}"), format!("\"\\n{secret}\""), secret.to_owned()] {
            let report = parse(&LEAST.replace(line, &format!("{key}= {value}"))).map_err(|wrong| wrong.to_string());
            assert!(!report.is_err_and(|report| report.contains(secret)), "{key}= {value}");
        }
    }
}
