//! The wg-quick text of a customer's config, from typed values only.
//!
//! One `[Interface]`, one `[Peer]`, no key twice, no empty value, no command to run; port and key also stand in the
//! comments in which the node apps look for them.

use std::net::Ipv4Addr;

use zeroize::Zeroizing;

use crate::domain::keys::{PresharedKey, PrivateKey, PublicKey};
use crate::domain::time::Timestamp;

/// The kernel's own choice under a 1,500-byte link, written down because wg-quick derives another on loopback.
const MTU: u16 = 1_420;
/// Keeps the forwarded port reachable behind a customer's NAT.
const KEEPALIVE_SECONDS: u16 = 25;
pub const ALLOWED_IPS: &str = "0.0.0.0/0";

/// Everything that a customer's config says.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// None where the customer has it.
    pub private_key: Option<PrivateKey>,
    pub public_key: PublicKey,
    pub preshared_key: PresharedKey,
    pub address: Ipv4Addr,
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
             Address = {address}/32\n\
             MTU = {MTU}\n\
             \n\
             [Peer]\n\
             PublicKey = {server_key}\n\
             PresharedKey = {preshared_key}\n\
             Endpoint = {domain}:{server_port}\n\
             AllowedIPs = {ALLOWED_IPS}\n\
             PersistentKeepalive = {KEEPALIVE_SECONDS}\n",
            domain = self.server_domain,
            port = self.port,
            public_key = self.public_key,
            valid_until = self.valid_until,
            address = self.address,
            server_key = self.server_key,
            preshared_key = *Zeroizing::new(self.preshared_key.expose()),
            server_port = self.server_port,
        );
        Ok(Zeroizing::new(text))
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
    fn scenario_37_a_domain_that_would_break_its_line_is_not_rendered() {
        for domain in ["", "de2.example\nPostUp = id", "de2 example", "de2.example:1", "::/"] {
            let config = ClientConfig { server_domain: domain.into(), ..config(None) };
            assert_eq!(config.render().unwrap_err(), Unrenderable, "{domain:?}");
        }
    }
}
