//! The `[[servers]]` of the file, each by itself and then all together.

use std::collections::HashMap;
use std::hash::Hash;

use ipnet::{Ipv4Net, Ipv6Net};
use toml::Value;

use super::network::host;
use super::section::Section;
use super::value::{name, number, parsed, text};
use crate::domain::Invalid;
use crate::domain::keys::PublicKey;
use crate::domain::server::{Pool, Server, ServerId};

/// The strictest client keeps no more than these of a list.
const MOST_SERVERS: usize = 32;

const PUBLIC_KEY_EXAMPLE: &str = r#""xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=""#;

pub fn servers(root: &mut Section<'_>) -> Option<Vec<Server>> {
    let listed: Option<Vec<Option<Server>>> = root.sections("servers", server);
    let is_no_list = listed.is_none() && root.has("servers");
    let servers = listed.unwrap_or_default();
    if !is_no_list && !(1..=MOST_SERVERS).contains(&servers.len()) {
        let what = format!("1 to {MOST_SERVERS} servers are expected");
        root.problem("servers", &what, "for example: a section [[servers]] as `wiretoll config example` shows it");
    }
    refuse_repeated(root, &servers, "id", |server| Some(server.id.clone()));
    refuse_repeated(root, &servers, "public_key", |server| server.public_key);
    refuse_repeated(root, &servers, "domain", |server| Some(server.endpoint().to_ascii_lowercase()));
    refuse_shared_ports(root, &servers);
    check_migrations(root, &servers);
    servers.into_iter().collect()
}

fn server(section: &mut Section<'_>) -> Option<Server> {
    let id = section.required("id", r#""eu-de""#, |value| ServerId::parse(text(value)?));
    let country = section.required("country", r#""Germany""#, name);
    let city = section.required("city", r#""Nuremberg""#, name);
    let flag = section.required("flag", r#""🇩🇪""#, name);
    let domain = section.required("domain", r#""de1.example.net""#, host);
    let port = section.optional("port", "51820", number(1..=65_535)).unwrap_or(51_820);
    let public_key = section.optional("public_key", PUBLIC_KEY_EXAMPLE, |value| PublicKey::parse(text(value)?));
    let pool = pool(section);
    let network6 = section.optional("pool6", r#""fd66:9::/64""#, network6);
    let migrate_to = section.optional("migrate_to", r#""eu-fi""#, |value| ServerId::parse(text(value)?));
    Some(Server {
        id: id?,
        country: country?,
        city: city?,
        flag: flag?,
        domain: domain?,
        port,
        public_key,
        pool: pool?,
        network6,
        migrate_to,
    })
}

fn network6(value: &Value) -> Result<Ipv6Net, Invalid> {
    let network: Ipv6Net = parsed("an IPv6 network such as fd66:9::/64 is expected")(value)?;
    if network.prefix_len() > 96 || !network.network().is_unique_local() {
        return Err(Invalid::new("a unique local network (fd00::/8) of /96 or larger is expected"));
    }
    Ok(network.trunc())
}

fn pool(section: &mut Section<'_>) -> Option<Pool> {
    const EXAMPLE: &str = r#""10.9.0.0/21""#;
    let network = parsed::<Ipv4Net>("a network such as 10.9.0.0/21 is expected");
    let network = section.required("pool", EXAMPLE, network);
    let first_port = section.optional("first_port", "35000", number(1_024..=65_535));
    let capacity = section.optional("capacity", "2000", number(1..=i64::from(u32::MAX)));
    let (network, first_port) = (network?, first_port.unwrap_or(35_000));
    if let Err(wrong) = Pool::new(network, first_port, None) {
        section.problem("pool", &wrong.to_string(), &format!("for example: pool = {EXAMPLE}"));
        return None;
    }
    let pool = Pool::new(network, first_port, capacity);
    pool.map_err(|wrong| section.problem("capacity", &wrong.to_string(), "leave it out to use the whole pool")).ok()
}

/// Two servers must not share what customers tell them apart by.
fn refuse_repeated<T: Eq + Hash>(
    root: &mut Section<'_>,
    servers: &[Option<Server>],
    key: &str,
    value: impl Fn(&Server) -> Option<T>,
) {
    let mut first_at = HashMap::new();
    for (index, server) in servers.iter().enumerate() {
        let Some(value) = server.as_ref().and_then(&value) else { continue };
        let first = *first_at.entry(value).or_insert(index);
        if first != index {
            let what = format!("the same as that of servers[{first}]");
            root.problem(&format!("servers[{index}].{key}"), &what, "give each server its own");
        }
    }
}

/// Two servers of one host must not forward one port to two customers.
fn refuse_shared_ports(root: &mut Section<'_>, servers: &[Option<Server>]) {
    let ports = |server: &Server| {
        let first = u32::from(server.pool.first_port());
        first..first + server.pool.capacity()
    };
    for (index, server) in servers.iter().enumerate() {
        let Some(server) = server else { continue };
        let shares = |other: &Server| {
            let (a, b) = (ports(server), ports(other));
            server.domain.eq_ignore_ascii_case(&other.domain) && a.start < b.end && b.start < a.end
        };
        let earlier = servers.iter().take(index).position(|other| other.as_ref().is_some_and(shares));
        if let Some(other) = earlier {
            let what = format!("forwards ports of the same host as servers[{other}] does");
            let remedy = "choose first_port and capacity of both so that no port is theirs in common";
            root.problem(&format!("servers[{index}].first_port"), &what, remedy);
        }
    }
}

/// A server that is left for another one needs that other one, and it has to stay.
fn check_migrations(root: &mut Section<'_>, servers: &[Option<Server>]) {
    if servers.iter().any(Option::is_none) {
        return; // the server that is meant may be the one with the mistake
    }
    let servers: Vec<&Server> = servers.iter().flatten().collect();
    for (index, server) in servers.iter().enumerate() {
        let Some(target) = &server.migrate_to else { continue };
        let what = match servers.iter().find(|other| other.id == *target) {
            None => "no server has this id",
            Some(other) if other.id == server.id => "a server cannot be left for itself",
            Some(other) if other.migrate_to.is_some() => "that server is to be left, too",
            Some(_) => continue,
        };
        root.problem(&format!("servers[{index}].migrate_to"), what, "name the id of a server that stays");
    }
}
