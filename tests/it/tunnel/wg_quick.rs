//! A config as wg-quick reads it, but with nothing overlooked: each key once, none unknown, none empty.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use wiretoll::domain::keys::{PresharedKey, PrivateKey, PublicKey};

#[derive(Debug)]
pub struct WgQuick {
    pub private_key: PrivateKey,
    pub addresses: Vec<IpAddr>,
    pub server_key: PublicKey,
    pub preshared_key: Option<PresharedKey>,
    pub endpoint: String,
    pub allowed_ips: Vec<IpNet>,
}

/// What stands under each section's name.
type Sections<'a> = BTreeMap<&'a str, BTreeMap<&'a str, &'a str>>;

impl WgQuick {
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut sections = sections(text)?;
        let mut take = |section: &str, key: &str| sections.get_mut(section).and_then(|it| it.remove(key));
        let mut need = |section, key| take(section, key).ok_or_else(|| format!("no {key} in [{section}]"));
        let config = Self {
            private_key: read(need("Interface", "PrivateKey")?, PrivateKey::parse)?,
            addresses: list(need("Interface", "Address")?, own_address)?,
            server_key: read(need("Peer", "PublicKey")?, PublicKey::parse)?,
            endpoint: need("Peer", "Endpoint")?.to_owned(),
            allowed_ips: list(need("Peer", "AllowedIPs")?, |it| it.parse().map_err(|_| format!("{it}: no network")))?,
            preshared_key: take("Peer", "PresharedKey").map(|it| read(it, PresharedKey::parse)).transpose()?,
        };
        let is_number = |text: &str, least, most| text.parse().is_ok_and(|it: u16| (least..=most).contains(&it));
        let is_odd = |value: Option<&str>, is_right: &dyn Fn(&str) -> bool| value.is_some_and(|it| !is_right(it));
        if is_odd(take("Interface", "MTU"), &|it| is_number(it, 1_280, 1_420))
            || is_odd(take("Interface", "Table"), &|it| it == "off")
            || !is_number(take("Peer", "PersistentKeepalive").unwrap_or_default(), 1, 60)
        {
            return Err("a size, a table or a time that is none".into());
        }
        match sections.values().flat_map(BTreeMap::keys).next() {
            Some(unknown) => Err(format!("{unknown} is no key of such a config")),
            None => Ok(config),
        }
    }
}

fn sections(text: &str) -> Result<Sections<'_>, String> {
    let mut sections = Sections::new();
    let mut here = None;
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).filter(|it| !it.is_empty()) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            if !["Interface", "Peer"].contains(&name) || sections.insert(name, BTreeMap::new()).is_some() {
                return Err(format!("[{name}] is unknown or there twice"));
            }
            here = Some(name);
            continue;
        }
        let (key, value) = line.split_once('=').ok_or_else(|| format!("no key and value: {line}"))?;
        let section = here.and_then(|name| sections.get_mut(name)).ok_or("a key before any section")?;
        if value.trim().is_empty() || section.insert(key.trim(), value.trim()).is_some() {
            return Err(format!("{key} is empty or there twice"));
        }
    }
    Ok(sections)
}

fn read<T>(text: &str, parse: impl Fn(&str) -> Result<T, wiretoll::domain::Invalid>) -> Result<T, String> {
    parse(text).map_err(|invalid| invalid.to_string())
}

fn list<T>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(|part| parse(part.trim())).collect()
}

/// One address, and no network of others'.
fn own_address(text: &str) -> Result<IpAddr, String> {
    let network: IpNet = text.parse().map_err(|_| format!("{text}: no address"))?;
    if network.prefix_len() == network.max_prefix_len() {
        return Ok(network.addr());
    }
    Err(format!("{text} is more than one address"))
}
