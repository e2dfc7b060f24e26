//! The section `[stripe]`: the operator's account for whoever pays by card. Without it no card is taken.
//!
//! Whether money or test cards pay follows from Lightning's network, so that no slip gives something away: on mainnet
//! the key is a live one, and elsewhere a test key.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Value;

use super::SecretText;
use super::section::Section;
use super::value::{duration, path, text};
use crate::domain::Invalid;
use crate::domain::lightning::Network;

/// The version that our own types were written for.
const API_VERSION: &str = "2025-09-30.clover";
const API_BASE: &str = "https://api.stripe.com";
/// Stripe's least is 30 minutes from when it is asked, which may be our two minutes for a repeat later.
const SESSION_LIFETIME: Duration = Duration::from_mins(35);
/// Two, while one is rotated.
pub const MOST_SECRETS: usize = 2;

/// An account at Stripe, and where its customers come back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripeSettings {
    pub key: TextSource,
    /// One, or two while it is rotated.
    pub webhook_secret: TextSource,
    pub mode: CardMode,
    /// Without a slash at its end.
    pub api_base: String,
    pub api_version: String,
    pub success_url: String,
    pub cancel_url: String,
    pub session_lifetime: Duration,
}

/// What pays: money, or Stripe's test cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardMode {
    Live,
    Test,
}

/// A secret, or the file that holds it, which is read again at every use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextSource {
    File(PathBuf),
    Text(SecretText),
}

impl CardMode {
    const fn of(network: Network) -> Self {
        match network {
            Network::Mainnet => Self::Live,
            Network::Testnet | Network::Signet | Network::Regtest | Network::Simnet => Self::Test,
        }
    }

    pub const fn is_live(self) -> bool {
        matches!(self, Self::Live)
    }

    /// Whether a key is one of this mode: restricted, or the account's secret one.
    ///
    /// # Errors
    /// Says which key is expected.
    pub fn check_key(self, key: &str) -> Result<(), Invalid> {
        let (prefixes, what) = match self {
            Self::Live => (["rk_live_", "sk_live_"], "on mainnet a live key is expected: rk_live_... (restricted)"),
            Self::Test => (["rk_test_", "sk_test_"], "on a test network a test key is expected: rk_test_..."),
        };
        let is_one = prefixes.iter().any(|prefix| key.len() > prefix.len() && key.starts_with(prefix));
        if is_one && is_plain(key) { Ok(()) } else { Err(Invalid::new(what)) }
    }
}

/// The secrets of a webhook, separated by white space.
///
/// # Errors
/// When it is not one or two of them.
pub fn webhook_secrets(text: &str) -> Result<Vec<&str>, Invalid> {
    let secrets: Vec<_> = text.split_whitespace().collect();
    let fits = |secret: &&str| secret.len() > "whsec_".len() && secret.starts_with("whsec_") && is_plain(secret);
    if !(1..=MOST_SECRETS).contains(&secrets.len()) || !secrets.iter().all(fits) {
        return Err(Invalid::new(
            "a secret whsec_... is expected; while it is rotated two of them, with a space between",
        ));
    }
    Ok(secrets)
}

/// Nothing that could end a header.
fn is_plain(secret: &str) -> bool {
    secret.bytes().all(|b| b.is_ascii_graphic())
}

pub fn stripe(section: &mut Section<'_>, folder: &Path, network: Option<Network>) -> Option<StripeSettings> {
    let mode = network.map(CardMode::of);
    let key_text = |value: &Value| {
        let key = text(value)?.trim();
        mode.map_or(Ok(()), |mode| mode.check_key(key))?;
        Ok(SecretText::new(key))
    };
    let secret_text = |value: &Value| webhook_secrets(text(value)?).map(|secrets| SecretText::new(secrets.join(" ")));
    let key = source(section, folder, ("key", "key_file"), r#""rk_live_...""#, key_text);
    let webhook_secret =
        source(section, folder, ("webhook_secret", "webhook_secret_file"), r#""whsec_...""#, secret_text);
    let api_base = section.optional("api_base", r#""https://api.stripe.com""#, base_url);
    let api_version = section.optional("api_version", r#""2025-09-30.clover""#, api_version);
    let success_url = section.required("success_url", r#""https://vpn.example.net/paid""#, page);
    let cancel_url = section.required("cancel_url", r#""https://vpn.example.net/cancelled""#, page);
    let session_lifetime = section.optional("session_lifetime", r#""35m""#, duration("33m"..="23h"));
    Some(StripeSettings {
        key: key?,
        webhook_secret: webhook_secret?,
        mode: mode?,
        api_base: api_base.unwrap_or_else(|| API_BASE.to_owned()),
        api_version: api_version.unwrap_or_else(|| API_VERSION.to_owned()),
        success_url: success_url?,
        cancel_url: cancel_url?,
        session_lifetime: session_lifetime.unwrap_or(SESSION_LIFETIME),
    })
}

/// One of two keys: the secret itself, or its file.
fn source(
    section: &mut Section<'_>,
    folder: &Path,
    (in_text, in_file): (&'static str, &'static str),
    example: &str,
    parse: impl Fn(&Value) -> Result<SecretText, Invalid>,
) -> Option<TextSource> {
    let given = section.optional(in_text, example, parse);
    let file = section.optional(in_file, &format!("\"stripe.{in_text}\""), path);
    match (section.has(in_text), section.has(in_file)) {
        (true, true) => section.problem(in_text, "given twice", &format!("leave out either {in_text} or {in_file}")),
        (false, false) => {
            section.problem(in_file, "missing", &format!("for example: {in_file} = \"stripe.{in_text}\""));
        }
        _ => {}
    }
    let file = file.map(|file| TextSource::File(folder.join(file)));
    file.or(given.map(TextSource::Text))
}

fn base_url(value: &Value) -> Result<String, Invalid> {
    let url = text(value)?;
    let rest = url.strip_prefix("https://").or(url.strip_prefix("http://"));
    let is_one = rest.is_some_and(|rest| !rest.is_empty()) && is_plain(url) && !url.contains(['?', '#']);
    if is_one { Ok(url.trim_end_matches('/').to_owned()) } else { Err(Invalid::new("an https:// URL is expected")) }
}

/// Shown to customers; Stripe replaces `{CHECKOUT_SESSION_ID}` in it.
fn page(value: &Value) -> Result<String, Invalid> {
    let url = text(value)?;
    let rest = url.strip_prefix("https://").or(url.strip_prefix("http://"));
    let is_one = rest.is_some_and(|rest| !rest.is_empty()) && is_plain(url) && url.len() <= 2_000;
    if is_one { Ok(url.to_owned()) } else { Err(Invalid::new("the URL of a page is expected")) }
}

fn api_version(value: &Value) -> Result<String, Invalid> {
    let version = text(value)?;
    let is_one = !version.is_empty() && version.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    if is_one { Ok(version.to_owned()) } else { Err(Invalid::new("a version of Stripe's API is expected")) }
}
