//! Accounts and the API keys by which they are known.
//!
//! A key is `sk_live_` or `sk_test_` and 256 random bits in hexadecimal digits. It is shown once; what is kept is its
//! hash, and its beginning, by which people tell keys apart.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Invalid;
use super::lightning::Network;
use super::nip98::NostrKey;
use super::note::one_line;
use super::time::Timestamp;

const SECRET_LENGTH: usize = 32;
/// Of the whole text: the mode and 8 digits, which leave 224 bits to be guessed.
const BEGINNING: usize = 16;
const MAX_NAME: usize = 100;

/// What a credential may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Create and renew.
    Orders,
    /// List, claim, look after and adopt subscriptions.
    Subscriptions,
    Referrals,
    Webhooks,
    /// Make and revoke credentials, with no more scopes than one's own.
    Keys,
    /// Everything that the account may do, also what is added later.
    Admin,
}

/// At least one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

/// Where a key works: a test key can never reach money, so it may lie in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// On mainnet.
    Live,
    /// On every other network.
    Test,
}

/// A key as its owner has it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ApiKey {
    #[zeroize(skip)]
    mode: Mode,
    secret: [u8; SECRET_LENGTH],
}

/// SHA-256 of a key's text.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKeyHash([u8; 32]);

/// What an owner calls a key: 1 to 100 characters on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName(String);

/// An owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: Uuid,
    pub created_at: Timestamp,
}

/// A key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredApiKey {
    pub id: Uuid,
    pub account: Uuid,
    pub name: KeyName,
    pub mode: Mode,
    pub beginning: String,
    pub scopes: Scopes,
    pub created_at: Timestamp,
    /// To the minute.
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// A Nostr key that is an account's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredNostrKey {
    pub key: NostrKey,
    pub account: Uuid,
    pub created_at: Timestamp,
    /// To the minute.
    pub last_used_at: Option<Timestamp>,
}

impl Scope {
    pub const ALL: [Self; 6] =
        [Self::Orders, Self::Subscriptions, Self::Referrals, Self::Webhooks, Self::Keys, Self::Admin];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Subscriptions => "subscriptions",
            Self::Referrals => "referrals",
            Self::Webhooks => "webhooks",
            Self::Keys => "keys",
            Self::Admin => "admin",
        }
    }

    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|scope| scope.name() == text);
        found.ok_or_else(|| Invalid::new(format!("a scope is one of {}", Self::ALL.map(Self::name).join(", "))))
    }
}

impl Scopes {
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Result<Self, Invalid> {
        let mut scopes: Vec<_> = scopes.into_iter().collect();
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() {
            return Err(Invalid::new(format!("at least one scope of {}", Scope::ALL.map(Scope::name).join(", "))));
        }
        Ok(Self(scopes))
    }

    /// Everything: what the owner of a Nostr key may do.
    pub fn all() -> Self {
        Self(vec![Scope::Admin])
    }

    /// Names that are separated by blanks, as they are stored.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        Self::new(text.split_whitespace().map(Scope::parse).collect::<Result<Vec<_>, _>>()?)
    }

    pub fn allow(&self, scope: Scope) -> bool {
        self.0.contains(&scope) || self.0.contains(&Scope::Admin)
    }

    /// Whether who has these may give the others away.
    pub fn contain(&self, others: &Self) -> bool {
        others.iter().all(|scope| self.allow(scope))
    }

    pub fn iter(&self) -> impl Iterator<Item = Scope> {
        self.0.iter().copied()
    }

    pub fn names(&self) -> Vec<&'static str> {
        self.iter().map(Scope::name).collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(" "))
    }
}

impl Mode {
    pub const fn of(network: Network) -> Self {
        match network {
            Network::Mainnet => Self::Live,
            Network::Testnet | Network::Signet | Network::Regtest | Network::Simnet => Self::Test,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }

    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let found = [Self::Live, Self::Test].into_iter().find(|mode| mode.name() == text);
        found.ok_or_else(|| Invalid::new("a key is live or test"))
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Live => "sk_live_",
            Self::Test => "sk_test_",
        }
    }
}

impl ApiKey {
    pub const fn new(mode: Mode, secret: [u8; SECRET_LENGTH]) -> Self {
        Self { mode, secret }
    }

    /// Only the very text that was shown is a key: 64 lowercase hexadecimal digits after the mode.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new("an API key is sk_live_ or sk_test_ and 64 lowercase hexadecimal digits");
        let found =
            [Mode::Live, Mode::Test].into_iter().find_map(|mode| Some((mode, text.strip_prefix(mode.prefix())?)));
        let (mode, digits) = found.ok_or_else(invalid)?;
        if digits.bytes().any(|digit| digit.is_ascii_uppercase()) {
            return Err(invalid());
        }
        let mut secret = [0; SECRET_LENGTH];
        hex::decode_to_slice(digits, &mut secret).map_err(|_| invalid())?;
        Ok(Self { mode, secret })
    }

    pub const fn mode(&self) -> Mode {
        self.mode
    }

    pub fn hash(&self) -> ApiKeyHash {
        ApiKeyHash(Sha256::digest(self.expose()).into())
    }

    pub fn beginning(&self) -> String {
        self.expose().chars().take(BEGINNING).collect()
    }

    /// The text that its owner gets, once.
    pub fn expose(&self) -> String {
        format!("{}{}", self.mode.prefix(), hex::encode(self.secret))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(hidden)")
    }
}

impl ApiKeyHash {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).map_err(|_| Invalid::new("not the hash of an API key"))?;
        Ok(Self(hash))
    }

    /// Constant-time comparison.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for ApiKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ApiKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeyHash(hidden)")
    }
}

impl KeyName {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let line = one_line(text, MAX_NAME)
            .ok_or_else(|| Invalid::new(format!("a key's name is one line of 1 to {MAX_NAME} characters")))?;
        Ok(Self(line.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_is_hidden_and_kept_as_its_hash() {
        let key = ApiKey::new(Mode::Live, [7; 32]);
        assert_eq!(key.beginning(), "sk_live_07070707");
        assert_eq!(format!("{key:?} {:?}", key.hash()), "ApiKey(hidden) ApiKeyHash(hidden)");
        // A promise: another hash would shut out every key in the field.
        assert_eq!(key.hash().to_string(), hex::encode(Sha256::digest(format!("sk_live_{}", "07".repeat(32)))));
        assert!(key.hash().matches(&ApiKeyHash::parse(&key.hash().to_string()).unwrap()));
        assert!(!key.hash().matches(&ApiKey::new(Mode::Test, [7; 32]).hash()));
    }

    #[test]
    fn nothing_but_the_text_that_was_shown_is_a_key() {
        let digits = "0a".repeat(32);
        assert!(ApiKey::parse(&format!("sk_test_{digits}")).is_ok());
        for bad in [
            String::new(),
            digits.clone(),
            format!("sk_prod_{digits}"),
            format!("sk_live_{}", digits.to_uppercase()),
            format!("sk_live_{digits}0a"),
            format!("sk_live_{digits} "),
            format!("sk_live_{}", &digits[2..]),
            format!("SK_LIVE_{digits}"),
        ] {
            assert!(ApiKey::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_who_has_a_scope_gives_it_away() {
        let scopes = |text| Scopes::parse(text).unwrap();
        assert!(scopes("keys orders").contain(&scopes("orders")));
        assert!(!scopes("keys orders").contain(&scopes("orders webhooks")));
        assert!(!scopes("keys").contain(&scopes("admin")));
        assert!(Scopes::all().contain(&scopes("admin keys webhooks")));
        assert_eq!(scopes("webhooks orders orders").to_string(), "orders webhooks");
        for bad in ["", " ", "order", "orders,keys", "ORDERS"] {
            assert!(Scopes::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_is_one_line_within_its_bounds() {
        assert_eq!(KeyName::parse(" shop ").unwrap().as_str(), "shop");
        assert!(KeyName::parse(&"ü".repeat(100)).is_ok());
        for bad in ["", " ", "a\nb", &"ü".repeat(101)] {
            assert!(KeyName::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_read_back(secret in any::<[u8; 32]>(), live in any::<bool>()) {
            let key = ApiKey::new(if live { Mode::Live } else { Mode::Test }, secret);
            let read = ApiKey::parse(&key.expose()).unwrap();
            prop_assert_eq!(read.expose(), key.expose());
        }

        #[test]
        fn no_text_makes_it_panic(text in "(sk_live_)?.{0,80}") {
            let _ = ApiKey::parse(&text);
        }
    }
}
