//! The wg-quick text of a customer's config, from typed values only.
//!
//! One `[Interface]`, one `[Peer]`, no key twice, no empty value, no command to run; port and key also stand in the
//! comments in which the node apps look for them.

use std::net::{Ipv4Addr, Ipv6Addr};

use zeroize::Zeroizing;

use crate::domain::keys::{PresharedKey, PrivateKey, PublicKey};
use crate::domain::time::Timestamp;

/// The kernel's own choice under a 1,500-byte link, written down because wg-quick derives another on loopback.
const MTU: u16 = 1_420;
/// Keeps the forwarded port reachable behind a customer's NAT.
const KEEPALIVE_SECONDS: u16 = 25;
/// A customer whose host has IPv6 switched off cannot bring an IPv6 route up: so it is only there when it is asked for.
const ALLOWED_IPS: &str = "0.0.0.0/0";
const ALLOWED_IPS_WITH_IPV6: &str = "0.0.0.0/0, ::/0";

/// What a customer may want otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// An IPv6 address besides.
    pub ipv6: bool,
    /// No routes by wg-quick: for hosts that route by themselves, such as containers and node apps.
    pub table_off: bool,
}

/// Everything that a customer's config says.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// None where the customer has it.
    pub private_key: Option<PrivateKey>,
    pub public_key: PublicKey,
    pub preshared_key: PresharedKey,
    pub address: Ipv4Addr,
    /// Only where it was asked for.
    pub address6: Option<Ipv6Addr>,
    pub table_off: bool,
    /// The public port that is forwarded to the customer.
    pub port: u16,
    pub server_domain: String,
    pub server_port: u16,
    pub server_key: PublicKey,
    pub valid_until: Timestamp,
}

/// A value that would break out of its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server's domain is not a host name")]
pub struct Unrenderable;

impl ClientConfig {
    /// The config text; without a private key the line stands as a comment for the customer to fill in.
    ///
    /// # Errors
    /// When the server's domain could not be a host name: it must not smuggle a line into the text.
    pub fn render(&self) -> Result<Zeroizing<String>, Unrenderable> {
        if !is_host_name(&self.server_domain) {
            return Err(Unrenderable);
        }
        let private_key = match &self.private_key {
            Some(key) => format!("PrivateKey = {}", *Zeroizing::new(key.expose())),
            None => "# PrivateKey = the private key of your wgPublicKey".to_owned(),
        };
        let text = format!(
            "# wiretoll WireGuard configuration\n\
             # Server: {domain}\n\
             # Port Forwarding: {port}\n\
             # myPubKey: {public_key}\n\
             # Valid Until: {valid_until}\n\
             \n\
             [Interface]\n\
             {private_key}\n\
             Address = {addresses}\n\
             {table}\
             MTU = {MTU}\n\
             \n\
             [Peer]\n\
             PublicKey = {server_key}\n\
             PresharedKey = {preshared_key}\n\
             Endpoint = {domain}:{server_port}\n\
             AllowedIPs = {allowed_ips}\n\
             PersistentKeepalive = {KEEPALIVE_SECONDS}\n",
            domain = self.server_domain,
            port = self.port,
            public_key = self.public_key,
            valid_until = self.valid_until,
            addresses = self.addresses(),
            table = if self.table_off { "Table = off\n" } else { "" },
            allowed_ips = self.allowed_ips(),
            server_key = self.server_key,
            preshared_key = *Zeroizing::new(self.preshared_key.expose()),
            server_port = self.server_port,
        );
        Ok(Zeroizing::new(text))
    }

    /// What goes into the tunnel.
    pub const fn allowed_ips(&self) -> &'static str {
        if self.address6.is_some() { ALLOWED_IPS_WITH_IPV6 } else { ALLOWED_IPS }
    }

    fn addresses(&self) -> String {
        match self.address6 {
            Some(address6) => format!("{}/32, {address6}/128", self.address),
            None => format!("{}/32", self.address),
        }
    }

    /// `host:port` of the server.
    pub fn endpoint(&self) -> String {
        format!("{}:{}", self.server_domain, self.server_port)
    }
}

fn is_host_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(private_key: Option<PrivateKey>) -> ClientConfig {
        let mine = PrivateKey::from_random([1; 32]);
        ClientConfig {
            private_key,
            public_key: mine.public_key(),
            preshared_key: PresharedKey::from_bytes([2; 32]),
            address: Ipv4Addr::new(10, 9, 0, 7),
            address6: None,
            table_off: false,
            port: 35_825,
            server_domain: "de2.example.net".into(),
            server_port: 51_820,
            server_key: PrivateKey::from_random([3; 32]).public_key(),
            valid_until: Timestamp::parse("2027-01-31T12:00:00Z").unwrap(),
        }
    }

    #[test]
    fn a_server_made_config_is_whole() {
        let text = config(Some(PrivateKey::from_random([1; 32]))).render().unwrap();
        insta::assert_snapshot!(*text, @r"
        # wiretoll WireGuard configuration
        # Server: de2.example.net
        # Port Forwarding: 35825
        # myPubKey: pOCSkrZRwni5dyxWn1+puxPZBrRqtoyd+dwrRAn4ogk=
        # Valid Until: 2027-01-31T12:00:00.000Z

        [Interface]
        PrivateKey = AAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAUE=
        Address = 10.9.0.7/32
        MTU = 1420

        [Peer]
        PublicKey = Xf7dO2vUf2+ijuFdlp1bsOpTd01Ii9r53xxuASSz7yI=
        PresharedKey = AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=
        Endpoint = de2.example.net:51820
        AllowedIPs = 0.0.0.0/0
        PersistentKeepalive = 25
        ");
    }

    #[test]
    fn without_the_private_key_its_line_is_a_comment() {
        let text = config(None).render().unwrap();
        assert!(!text.lines().any(|line| line.starts_with("PrivateKey")));
        assert!(text.contains("# PrivateKey = "));
    }

    #[test]
    fn ipv6_and_routes_by_somebody_else_are_there_for_who_asks() {
        let address6 = Some("fd66:9::7".parse().unwrap());
        let text = ClientConfig { address6, table_off: true, ..config(None) }.render().unwrap();
        assert!(text.contains("\nAddress = 10.9.0.7/32, fd66:9::7/128\nTable = off\nMTU = 1420\n"), "{}", *text);
        assert!(text.contains("\nAllowedIPs = 0.0.0.0/0, ::/0\n"));
    }

    #[test]
    fn scenario_37_a_domain_that_would_break_its_line_is_not_rendered() {
        for domain in ["", "de2.example\nPostUp = id", "de2 example", "de2.example:1", "::/"] {
            let config = ClientConfig { server_domain: domain.into(), ..config(None) };
            assert_eq!(config.render().unwrap_err(), Unrenderable, "{domain:?}");
        }
    }
}
