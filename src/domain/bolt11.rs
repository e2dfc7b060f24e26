//! Invoices as LND hands them out (BOLT 11), parsed and checked before a customer sees one.

use std::str::FromStr;

use lightning_invoice::{Bolt11Invoice, Currency};

use super::Invalid;
use super::lightning::{Network, NodeId, PaymentHash};
use super::money::Msats;
use super::time::Timestamp;

/// The longest invoice that clients accept.
const MAX_LENGTH: usize = 4_000;

/// A parsed invoice: its signature, checksum and required fields held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    text: String,
    payment_hash: PaymentHash,
    amount: Option<Msats>,
    network: Network,
    payee: NodeId,
    expires_at: Timestamp,
}

/// What an invoice must say for us to show it.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    pub payment_hash: PaymentHash,
    pub amount: Msats,
    pub network: Network,
    pub payee: NodeId,
}

impl Invoice {
    /// Parses a BOLT 11 text, lower case as LND writes it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > MAX_LENGTH || text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(Invalid::new("not a BOLT11 invoice: too long or not in lower case"));
        }
        let parsed = Bolt11Invoice::from_str(text).map_err(|e| Invalid::new(format!("not a BOLT11 invoice: {e}")))?;
        let expires_at = parsed.expires_at().ok_or_else(|| Invalid::new("an invoice that expires beyond all time"))?;
        Ok(Self {
            text: text.to_owned(),
            payment_hash: PaymentHash::from_slice(parsed.payment_hash().as_ref())?,
            amount: parsed.amount_milli_satoshis().map(Msats::new),
            network: network_of(&parsed.currency()),
            payee: NodeId::from_bytes(parsed.get_payee_pub_key().serialize()),
            expires_at: Timestamp::from_seconds(i64::try_from(expires_at.as_secs()).unwrap_or(i64::MAX)),
        })
    }

    /// The check before an invoice is stored and shown.
    ///
    /// Without an explicit payee field any signature recovers some key, so the payee is compared with the node's identity.
    pub fn check(self, expected: &Expected, now: Timestamp) -> Result<Self, Invalid> {
        let wrong = |what: &str| Err(Invalid::new(format!("LND returned an invoice with another {what}")));
        if self.payment_hash != expected.payment_hash {
            return wrong("payment hash");
        }
        if self.amount != Some(expected.amount) {
            return wrong("amount");
        }
        if self.network != expected.network {
            return wrong("network");
        }
        if self.payee != expected.payee {
            return wrong("payee");
        }
        if self.expires_at <= now {
            return Err(Invalid::new("LND returned an invoice that has expired already"));
        }
        Ok(self)
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub const fn payment_hash(&self) -> PaymentHash {
        self.payment_hash
    }

    pub const fn amount(&self) -> Option<Msats> {
        self.amount
    }

    /// The node that made it.
    pub const fn payee(&self) -> NodeId {
        self.payee
    }

    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

/// `simnet` parses, though `Bolt11Invoice::network` would call it regtest: so the currency is what counts.
const fn network_of(currency: &Currency) -> Network {
    match currency {
        Currency::Bitcoin => Network::Mainnet,
        Currency::BitcoinTestnet => Network::Testnet,
        Currency::Signet => Network::Signet,
        Currency::Regtest => Network::Regtest,
        Currency::Simnet => Network::Simnet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BOLT 11's own example: "2500u", one minute, a cup of coffee.
    const COFFEE: &str = "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh";

    fn expected() -> Expected {
        Expected {
            payment_hash: PaymentHash::parse("0001020304050607080900010203040506070809000102030405060708090102")
                .unwrap(),
            amount: Msats::new(250_000_000),
            network: Network::Mainnet,
            payee: NodeId::parse("03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad").unwrap(),
        }
    }

    #[test]
    fn the_specification_s_example_is_accepted_as_what_it_is() {
        let invoice = Invoice::parse(COFFEE).unwrap();
        let issued = Timestamp::from_seconds(1_496_314_658);
        assert_eq!(invoice.expires_at(), issued.plus_millis(60_000));
        assert!(invoice.check(&expected(), issued).is_ok());
    }

    #[test]
    fn any_difference_from_what_was_asked_for_is_refused() {
        let issued = Timestamp::from_seconds(1_496_314_658);
        let differences = [
            Expected { payment_hash: PaymentHash::from_bytes([0; 32]), ..expected() },
            Expected { amount: Msats::new(250_000_001), ..expected() },
            Expected { network: Network::Testnet, ..expected() },
            Expected { payee: NodeId::from_bytes([2; 33]), ..expected() },
        ];
        for difference in differences {
            assert!(Invoice::parse(COFFEE).unwrap().check(&difference, issued).is_err(), "{difference:?}");
        }
        let at_expiry = issued.plus_millis(60_000);
        assert!(Invoice::parse(COFFEE).unwrap().check(&expected(), at_expiry).is_err());
    }

    #[test]
    fn a_damaged_invoice_is_refused() {
        let flipped = COFFEE.replace("2500u1p", "2500u1q");
        for bad in ["", "lnbc", &flipped, &COFFEE.to_uppercase(), &COFFEE[..200]] {
            assert!(Invoice::parse(bad).is_err(), "{bad}");
        }
    }
}
