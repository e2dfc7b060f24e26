//! Host names and the URLs made of them, checked as strictly as WireGuard's and LND's clients read them.

use std::net::Ipv6Addr;

use toml::Value;

use super::value::text;
use crate::domain::Invalid;
use crate::domain::host::is_name_or_ipv4;

/// A host name or an IPv4 address: no colon, no white space, nothing that could begin a line of a config file.
pub fn host(value: &Value) -> Result<String, Invalid> {
    let host = text(value)?;
    if is_name_or_ipv4(host) {
        Ok(host.to_owned())
    } else {
        Err(Invalid::new("a host name is expected: letters, digits, hyphens and dots; no port, no scheme"))
    }
}

/// `https://host:port`, the form of LND's gRPC address.
pub fn https_address(value: &Value) -> Result<String, Invalid> {
    let address = text(value)?;
    let authority = address.strip_prefix("https://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    let parts = authority.and_then(|authority| authority.rsplit_once(':'));
    match parts {
        Some((host, port)) if is_host_or_ipv6(host) && is_port(port) => {
            Ok(address.strip_suffix('/').unwrap_or(address).to_owned())
        }
        _ => {
            Err(Invalid::new("an address is expected that begins with https:// and ends with a port; LND has no other"))
        }
    }
}

/// A scheme, a host and perhaps a port, as browsers spell an origin: lowercase, without the scheme's own port and without
/// a slash at the end.
pub fn origin(value: &Value) -> Result<String, Invalid> {
    let origin = text(value)?;
    let (usual, authority) = match origin.split_once("://") {
        Some(("https", authority)) => (":443", authority),
        Some(("http", authority)) => (":80", authority),
        _ => ("", ""),
    };
    let named = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => is_host_or_ipv6(host) && is_port(port),
        _ => is_host_or_ipv6(authority),
    };
    let is_plain = !origin.bytes().any(|byte| byte.is_ascii_uppercase());
    if named && is_plain && !authority.ends_with(usual) {
        return Ok(origin.to_owned());
    }
    Err(Invalid::new(
        "an origin is expected: http:// or https:// and a host in lowercase, with a port only where it is not the usual \
         one, and nothing behind it",
    ))
}

fn is_host_or_ipv6(host: &str) -> bool {
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bracketed.map_or_else(|| is_name_or_ipv4(host), |inner| inner.parse::<Ipv6Addr>().is_ok())
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    #[test]
    fn a_host_is_a_name_or_an_ipv4_address_and_nothing_else() {
        for good in ["de1.example.net", "203.0.113.7"] {
            assert_eq!(host(&value(good)), Ok(good.to_owned()));
        }
        for bad in ["", "de1.example.net:51820", "https://a.example", "::1", "a\nPostUp = reboot"] {
            assert!(host(&value(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_origin_has_one_spelling() {
        for good in [
            "https://shop.example",
            "http://abcdef.onion",
            "http://127.0.0.1:8080",
            "https://[::1]:8443",
            "http://[::1]",
        ] {
            assert_eq!(origin(&value(good)), Ok(good.to_owned()), "{good}");
        }
        for bad in [
            "",
            "https://",
            "shop.example",
            "ftp://shop.example",
            "https://shop.example/",
            "https://shop.example/api",
            "https://Shop.example",
            "HTTPS://shop.example",
            "https://shop.example:443",
            "http://shop.example:80",
            "https://shop.example:0",
            "https://user@shop.example",
            "https://shop.example?x",
            "https://shop example",
        ] {
            assert!(origin(&value(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn lnd_s_address_has_tls_and_a_port() {
        for good in ["https://127.0.0.1:10009", "https://lnd.example:10009/", "https://[::1]:10009"] {
            assert!(https_address(&value(good)).is_ok(), "{good}");
        }
        assert_eq!(https_address(&value("https://a:1/")), Ok("https://a:1".to_owned()));
        for bad in [
            "",
            "https://",
            "https://a",
            "https://a:",
            "https://a:0",
            "https://a:65536",
            "https://a:+1",
            "http://a:10009",
            "a:10009",
            "https://::1:10009",
            "https://user:password@a:10009",
            "https://a:10009/path",
            "https://a:1\n",
        ] {
            assert!(https_address(&value(bad)).is_err(), "{bad:?}");
        }
    }
}
