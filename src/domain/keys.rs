//! WireGuard keys: 32 bytes each, base64 in text, secrets hidden from `Debug` and wiped when dropped.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x25519_dalek::StaticSecret;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Invalid;

const KEY_LENGTH: usize = 32;

/// A Curve25519 public key, checked: canonical base64, not zero, not of low order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; KEY_LENGTH]);

/// All encodings of points of low order: 0, 1, the two of order eight, and p - 1, p, p + 1 (cr.yp.to/ecdh.html). Asking a
/// list is a thousandth of what trying an agreement costs, and every key of a server's list is asked.
const LOW_ORDER: [[u8; KEY_LENGTH]; 7] = [
    [0; KEY_LENGTH],
    with_ends(1, 0, 0),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
        0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44,
        0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    with_ends(0xec, 0xff, 0x7f),
    with_ends(0xed, 0xff, 0x7f),
    with_ends(0xee, 0xff, 0x7f),
];

const fn with_ends(first: u8, between: u8, last: u8) -> [u8; KEY_LENGTH] {
    let mut bytes = [between; KEY_LENGTH];
    bytes[0] = first;
    bytes[KEY_LENGTH - 1] = last;
    bytes
}

/// A Curve25519 private key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PrivateKey([u8; KEY_LENGTH]);

/// The symmetric key that a peer and its server share besides their key pairs.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct PresharedKey([u8; KEY_LENGTH]);

impl PublicKey {
    /// Parses 44 characters of standard base64, as `wg pubkey` prints them.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let key = Self(decode(text, "WireGuard public key")?);
        if key.is_low_order() {
            return Err(Invalid::new("this WireGuard public key is of low order: it would give no secrecy"));
        }
        Ok(key)
    }

    /// As an interface lists it, unchecked: whatever key is there has to be seen before it can be removed.
    pub const fn as_listed(bytes: [u8; KEY_LENGTH]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; KEY_LENGTH] {
        &self.0
    }

    /// Low-order points agree on the all-zero secret with everybody (RFC 7748 section 6.1).
    fn is_low_order(self) -> bool {
        let mut bytes = self.0;
        if let Some(last) = bytes.last_mut() {
            *last &= 0b0111_1111; // X25519 ignores the highest bit
        }
        LOW_ORDER.contains(&bytes)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl serde::Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl PrivateKey {
    /// Clamps 32 random bytes as `wg genkey` does.
    pub fn from_random(mut bytes: [u8; KEY_LENGTH]) -> Self {
        let [first, .., last] = &mut bytes;
        *first &= 0b1111_1000;
        *last = (*last & 0b0111_1111) | 0b0100_0000;
        Self(bytes)
    }

    pub fn parse(text: &str) -> Result<Self, Invalid> {
        decode(text, "WireGuard private key").map(Self)
    }

    pub const fn from_bytes(bytes: [u8; KEY_LENGTH]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; KEY_LENGTH] {
        &self.0
    }

    pub fn public_key(&self) -> PublicKey {
        PublicKey(x25519_dalek::PublicKey::from(&StaticSecret::from(self.0)).to_bytes())
    }

    /// The base64 text, for the one place that shows it: a customer's config.
    pub fn expose(&self) -> String {
        STANDARD.encode(self.0)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(hidden)")
    }
}

impl PresharedKey {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let key = decode(text, "WireGuard preshared key")?;
        Self::as_listed(key)
            .ok_or_else(|| Invalid::new("an all-zero preshared key means \"none\" to WireGuard; leave it out"))
    }

    /// As an interface lists it, where 32 zeros stand for none.
    pub fn as_listed(bytes: [u8; KEY_LENGTH]) -> Option<Self> {
        (bytes != [0; KEY_LENGTH]).then_some(Self(bytes))
    }

    pub const fn from_bytes(bytes: [u8; KEY_LENGTH]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; KEY_LENGTH] {
        &self.0
    }

    /// The base64 text, for a customer's config and the server's peer list.
    pub fn expose(&self) -> String {
        STANDARD.encode(self.0)
    }
}

impl fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresharedKey(hidden)")
    }
}

/// Strict base64: padding required, no stray bits, so that one key has one spelling.
fn decode(text: &str, what: &str) -> Result<[u8; KEY_LENGTH], Invalid> {
    let invalid = || Invalid::new(format!("not a {what}: expected 44 characters of base64, as `wg` prints them"));
    let bytes = STANDARD.decode(text).map_err(|_| invalid())?;
    bytes.try_into().map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7748 section 6.1, Alice's pair.
    #[test]
    fn the_list_of_low_orders_is_what_an_agreement_shows() {
        let agrees = |bytes: [u8; 32]| {
            let secret = StaticSecret::from([0x42; 32]);
            secret.diffie_hellman(&x25519_dalek::PublicKey::from(bytes)).was_contributory()
        };
        for low in LOW_ORDER {
            let mut with_highest_bit = low;
            with_highest_bit[31] |= 0x80;
            for bytes in [low, with_highest_bit] {
                assert!(!agrees(bytes) && PublicKey(bytes).is_low_order(), "{bytes:x?}");
            }
        }
        // Every other small number and every other number that is not below p.
        for n in 2..=255_u8 {
            let small = with_ends(n, 0, 0);
            assert!(agrees(small) && !PublicKey(small).is_low_order(), "{n}");
        }
        for n in 0xef..=0xff_u8 {
            let large = with_ends(n, 0xff, 0x7f);
            assert!(agrees(large) && !PublicKey(large).is_low_order(), "{n}");
        }
    }

    #[test]
    fn the_public_key_follows_from_the_private_key() {
        let private = hex::decode("77076d0a7318a57d3c16c17251b26645df4c7577d9a5ca6f0a0b6b3b6e2f0a2a");
        let pair = PrivateKey::from_bytes(private.unwrap().try_into().unwrap());
        assert_eq!(PublicKey::parse(&pair.public_key().to_string()).unwrap(), pair.public_key());
    }

    #[test]
    fn zero_low_order_and_non_canonical_keys_are_refused() {
        let low_order_points: [[u8; 32]; 2] = [[0; 32], {
            let mut one = [0; 32];
            one[0] = 1;
            one
        }];
        for point in low_order_points {
            assert!(PublicKey::parse(&STANDARD.encode(point)).is_err());
        }
        let good = PrivateKey::from_random([7; 32]).public_key().to_string();
        for bad in ["", "undefined", &good[..43], &good.to_lowercase()[1..], &format!("{good}\n")] {
            assert!(PublicKey::parse(bad).is_err(), "{bad:?}");
        }
        // The last character before the padding carries two unused bits: another spelling of the same bytes.
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let last = alphabet.find(good.as_bytes()[42] as char).unwrap();
        let twin = format!("{}{}=", &good[..42], alphabet.as_bytes()[last ^ 1] as char);
        assert!(PublicKey::parse(&twin).is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let private = PrivateKey::from_random([9; 32]);
        let preshared = PresharedKey::from_bytes([9; 32]);
        let shown = format!("{private:?} {preshared:?}");
        assert!(!shown.contains(&private.expose()) && !shown.contains(&preshared.expose()));
        assert_eq!(shown, "PrivateKey(hidden) PresharedKey(hidden)");
    }
}
