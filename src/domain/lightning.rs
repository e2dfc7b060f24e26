//! Lightning's identifiers: payment hash, preimage, node identity, network (BOLT 2, 4, 7 and 11).

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Invalid;

/// SHA-256 of a preimage: names an invoice and, here, a Lightning order. Public: every hop of a payment sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PaymentHash([u8; 32]);

/// What settles an invoice. A secret until it is paid: whoever knows it could claim the payment on its way.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Preimage([u8; 32]);

/// A Lightning node's identity: a compressed secp256k1 public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId([u8; 33]);

/// The bitcoin network that an instance sells on; an invoice of any other is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Mainnet,
    Testnet,
    Signet,
    Regtest,
    Simnet,
}

impl PaymentHash {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn from_slice(bytes: &[u8]) -> Result<Self, Invalid> {
        let bytes = bytes.try_into().map_err(|_| Invalid::new("a payment hash has 32 bytes"))?;
        Ok(Self(bytes))
    }

    /// Parses 64 lowercase hexadecimal digits, the only spelling that clients use.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new("not a payment hash: expected 64 lowercase hexadecimal digits");
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(invalid());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| invalid())?;
        Ok(Self(bytes))
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight digits: enough to find an order in a log, too few to claim it.
    pub fn prefix(&self) -> String {
        self.to_string().chars().take(8).collect()
    }
}

impl fmt::Display for PaymentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PaymentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PaymentHash({}..)", self.prefix())
    }
}

impl Preimage {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn payment_hash(&self) -> PaymentHash {
        PaymentHash(Sha256::digest(self.0).into())
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Preimage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Preimage(hidden)")
    }
}

impl NodeId {
    /// Parses 66 hexadecimal digits, as `lncli getinfo` prints `identity_pubkey`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let mut bytes = [0; 33];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| Invalid::new("not a node id: expected 66 hexadecimal digits"))?;
        Ok(Self(bytes))
    }

    pub const fn from_bytes(bytes: [u8; 33]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 33] {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

impl Network {
    pub const ALL: [Self; 5] = [Self::Mainnet, Self::Testnet, Self::Signet, Self::Regtest, Self::Simnet];

    /// The name that LND's `GetInfo` and the configuration use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Testnet => "testnet",
            Self::Signet => "signet",
            Self::Regtest => "regtest",
            Self::Simnet => "simnet",
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Network {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|network| network.name() == text)
            .ok_or_else(|| Invalid::new("not one of mainnet, testnet, signet, regtest, simnet"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_hash_has_one_spelling() {
        let hash = PaymentHash::from_bytes([0xab; 32]);
        assert_eq!(PaymentHash::parse(&hash.to_string()), Ok(hash));
        for bad in [hash.to_string().to_uppercase(), "ab".repeat(31), "zz".repeat(32), String::new()] {
            assert!(PaymentHash::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_payment_hash_is_the_sha_256_of_its_preimage() {
        let hash = Preimage::from_bytes([0; 32]).payment_hash();
        assert_eq!(hash.to_string(), "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925");
    }

    #[test]
    fn debug_shows_neither_preimage_nor_whole_hash() {
        let preimage = Preimage::from_bytes([1; 32]);
        assert_eq!(format!("{preimage:?}"), "Preimage(hidden)");
        assert!(format!("{:?}", preimage.payment_hash()).len() < 32);
    }
}
