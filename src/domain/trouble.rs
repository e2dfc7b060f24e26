//! What a server's agent cannot do, in words for the operator.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Deserializer, Serialize};

const LONGEST: usize = 500;
const LEFT_OUT: &str = "(left out)";

/// One line that names no key and no address, whatever a program that it repeats may have said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Trouble(String);

impl Trouble {
    pub fn new(said: &str) -> Self {
        let words: Vec<String> = said.split_whitespace().map(discreet).collect();
        Self(words.join(" ").chars().take(LONGEST).collect())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Trouble {
    /// An agent of another version may be less careful.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(&String::deserialize(deserializer)?))
    }
}

/// A word without the keys and addresses in it.
fn discreet(word: &str) -> String {
    let without_keys = without(word, |c| c.is_ascii_alphanumeric() || "+/".contains(c), is_key);
    let without_ipv6 = without(&without_keys, |c| c.is_ascii_hexdigit() || ":.".contains(c), is_ipv6);
    without(&without_ipv6, |c| c.is_ascii_digit() || c == '.', is_ipv4)
}

/// The text with every run of such characters left out that is a secret.
fn without(text: &str, belongs: impl Fn(char) -> bool, is_secret: impl Fn(&str) -> bool) -> String {
    let mut said = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| belongs(c) != belongs(first)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        said.push_str(if is_secret(run) { LEFT_OUT } else { run });
        rest = after;
    }
    said
}

/// 32 bytes, as WireGuard writes them or in hexadecimal as its daemon does.
fn is_key(run: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| run.bytes().any(|byte| kind(&byte));
    run.len() >= 40 && (has(u8::is_ascii_digit) || (has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase)))
}

fn is_ipv6(run: &str) -> bool {
    let bare = run.trim_end_matches('.');
    let same_without = |end: char| bare.strip_suffix(end).or_else(|| bare.strip_prefix(end)).unwrap_or(bare);
    [bare, same_without(':')].iter().any(|text| text.parse::<Ipv6Addr>().is_ok())
}

fn is_ipv4(run: &str) -> bool {
    run.trim_matches('.').parse::<Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::keys::PrivateKey;

    #[test]
    fn what_a_program_repeats_loses_its_addresses_and_keys() {
        let key = PrivateKey::from_random([7; 32]).public_key().to_string();
        for (said, told) in [
            ("nft refused: /dev/stdin:3:1-20: no such file", "nft refused: /dev/stdin:3:1-20: no such file"),
            ("{ tcp . 35001 : 10.9.0.2 . 9735 }", "{ tcp . 35001 : (left out) . 9735 }"),
            (
                "10.9.0.2/32 and fd66::2/128: see 192.0.2.1:51820.",
                "(left out)/32 and (left out)/128: see (left out):51820.",
            ),
            ("endpoint=[2001:db8::7]:51820, \"10.9.0.2\"", "endpoint=[(left out)]:51820, \"(left out)\""),
            ("line one\nline two", "line one line two"),
        ] {
            assert_eq!(Trouble::new(said).as_str(), told);
        }
        for said in [format!("the peer {key} is there twice"), format!("public_key={key}: {key}."), format!("({key})")]
        {
            let told = Trouble::new(&said);
            assert!(!told.as_str().contains(&key[..20]), "{told}");
        }
        assert_eq!(Trouble::new(&hex::encode([7; 32])).as_str(), LEFT_OUT);
        assert_eq!(Trouble::new(&"ü".repeat(501)).as_str().chars().count(), LONGEST);
    }

    #[test]
    fn what_comes_from_another_agent_is_read_as_carefully() {
        let read: Vec<Trouble> = serde_json::from_str(r#"["10.9.0.2 is gone"]"#).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), r#"["(left out) is gone"]"#);
    }

    proptest! {
        #[test]
        fn no_address_and_no_key_gets_through(
            four: [u8; 4], six: [u16; 8], seed in 1_u8.., before in "|=|\\(|\"|, |is ", after in "|\\)|\"|, |;|\\.|:|/32",
        ) {
            let key = PrivateKey::from_random([seed; 32]).public_key().to_string();
            for secret in [Ipv4Addr::from(four).to_string(), Ipv6Addr::from(six).to_string(), key] {
                let told = Trouble::new(&format!("{before}{secret}{after}"));
                prop_assert!(!told.as_str().contains(&secret), "{told}");
            }
        }
    }
}
