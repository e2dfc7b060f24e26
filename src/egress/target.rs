//! A URL or host that somebody gave, as what it leads to.
//!
//! It is read as browsers do (the URL standard), which knows an IPv4 address in every spelling; whatever it stands for
//! is judged as an address afterwards.

use std::net::IpAddr;

use url::Url;

use super::Error;

const LONGEST_URL: usize = 2048;

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    Address(IpAddr),
    /// To be looked up.
    Name(String),
    /// To be reached through the onion proxy; its name means nothing elsewhere.
    Onion(String),
}

/// What a request is made of, of its URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub host: Host,
    pub port: u16,
    pub tls: bool,
    /// The host as the far end is told it, with the port where that is not the scheme's own.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

impl Host {
    pub fn parse(text: &str) -> Result<Self, Error> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let host = url::Host::parse(text).map_err(|_| Error::Url("the host makes no sense"))?;
        Self::from_url(&host)
    }

    fn from_url<S: AsRef<str>>(host: &url::Host<S>) -> Result<Self, Error> {
        match host {
            url::Host::Ipv4(address) => Ok(Self::Address((*address).into())),
            url::Host::Ipv6(address) => Ok(Self::Address((*address).into())),
            url::Host::Domain(name) => Self::named(name.as_ref().trim_end_matches('.')),
        }
    }

    fn named(name: &str) -> Result<Self, Error> {
        let is_label = |label: &str| (1..=63).contains(&label.len());
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(Error::Url("the host is no name"));
        }
        let is_onion = name.rsplit('.').next() == Some("onion");
        Ok(if is_onion { Self::Onion(name.to_owned()) } else { Self::Name(name.to_owned()) })
    }
}

impl Target {
    /// Parses `http://` and `https://` URLs without a password.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > LONGEST_URL {
            return Err(Error::Url("it is longer than 2048 bytes"));
        }
        // Browsers forgive them; two readers of one URL must not differ.
        if text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err(Error::Url("it has white space, control characters or backslashes"));
        }
        let url = Url::parse(text).map_err(|_| Error::Url("it makes no sense"))?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(Error::Url("it does not begin with https://")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::Url("it has a user name or password")); // they would be logged with it
        }
        let host = url.host().ok_or(Error::Url("it has no host"))?;
        let port = url.port_or_known_default().ok_or(Error::Port)?;
        let authority = url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
        let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        Ok(Self { host: Host::from_url(&host)?, port, tls, authority, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(url: &str) -> Host {
        Target::parse(url).unwrap().host
    }

    #[test]
    fn a_url_is_taken_apart_into_what_is_connected_to_and_what_is_said() {
        let target = Target::parse("https://Hooks.Example:8443/a/b?c=%20d#e").unwrap();
        assert_eq!((target.host, target.port, target.tls), (Host::Name("hooks.example".into()), 8443, true));
        assert_eq!((target.authority.as_str(), target.path.as_str()), ("hooks.example:8443", "/a/b?c=%20d"));
        let plain = Target::parse("http://example.com").unwrap();
        assert_eq!(
            (plain.port, plain.tls, plain.authority.as_str(), plain.path.as_str()),
            (80, false, "example.com", "/")
        );
        assert_eq!(Target::parse("https://[2001:db8::1]:443/").unwrap().authority, "[2001:db8::1]");
    }

    #[test]
    fn scenario_43_an_address_is_seen_in_every_spelling() {
        let loopback = Host::Address([127, 0, 0, 1].into());
        for url in [
            "https://127.0.0.1/",
            "https://127.0.0.1./",
            "https://2130706433/",
            "https://017700000001/",
            "https://0x7f000001/",
            "https://0x7f.1/",
            "https://127.1/",
            "https://127.0.0.1:443/",
            "https://１２７.０.０.１/",
            "https://%31%32%37.0.0.1/",
        ] {
            assert_eq!(host(url), loopback, "{url}");
        }
        assert_eq!(host("https://[::ffff:127.0.0.1]/"), Host::Address("::ffff:127.0.0.1".parse().unwrap()));
        for (text, address) in [("::1", "::1"), ("[::1]", "::1"), ("0177.0.0.1", "127.0.0.1")] {
            assert_eq!(Host::parse(text), Ok(Host::Address(address.parse().unwrap())), "{text}");
        }
    }

    #[test]
    fn names_are_looked_up_as_they_are_and_onion_hosts_never_are() {
        assert_eq!(host("https://localhost./"), Host::Name("localhost".into()));
        assert_eq!(host("https://bücher.example/"), Host::Name("xn--bcher-kva.example".into()));
        assert_eq!(Host::parse("ABC.onion"), Ok(Host::Onion("abc.onion".into())));
        assert_eq!(Host::parse("abc.onion."), Ok(Host::Onion("abc.onion".into())));
        assert_eq!(Host::parse("abconion"), Ok(Host::Name("abconion".into())));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let longest = format!("https://a.example/{}", "a".repeat(LONGEST_URL - 18));
        assert!(Target::parse(&longest).is_ok());
        for bad in [
            "",
            "example.com",
            "//example.com",
            "ftp://example.com",
            "file:///etc/passwd",
            "https://",
            "https:///",
            "https://user@example.com/",
            "https://user:pass@example.com/",
            "https://:pass@example.com/",
            "https://example.com\\@127.0.0.1/",
            "https://exam ple.com",
            "https://example.com/\n",
            "\thttps://example.com",
            "https://example.com:0x50/",
            "https://example.com:65536/",
            "https://[::1",
            "https://[fe80::1%25eth0]/",
            "https://256.256.256.256/",
            "https://1.2.3.4.5/",
            "https://a..b/",
            "https://.a/",
            "javascript:alert(1)",
            &format!("{longest}a"),
            &format!("https://{}.example/", "a".repeat(64)),
        ] {
            assert!(Target::parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["", ".", "a b", "a/b", "a@b", "a:1", "[::1]:1", "1.2.3.4.5", "a\0"] {
            assert!(Host::parse(bad).is_err(), "{bad:?}");
        }
    }
}
