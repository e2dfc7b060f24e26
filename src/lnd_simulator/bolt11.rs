//! Signs BOLT11 payment requests as LND does.

use std::sync::LazyLock;

use bitcoin::hashes::{Hash as _, sha256};
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey, SignOnly};
use lightning_invoice::{
    Bolt11Invoice, Currency, Description, ExpiryTime, MinFinalCltvExpiryDelta, ParseOrSemanticError, PaymentSecret,
    PositiveTimestamp, RawBolt11Invoice, RawDataPart, RawHrp, Sha256, SiPrefix, TaggedField,
};
use lightning_types::features::Bolt11InvoiceFeatures;

use super::hash::{PaymentHash, Secret};

/// TLV onion and payment address required, MPP and route blinding optional, as LND 0.21 sets them.
pub(super) const FEATURE_BITS: [u32; 4] = [8, 14, 17, 25];

/// The longest text that fits the 10-bit length of a tagged field.
const MAX_DESCRIPTION_BYTES: usize = 639;

/// Making one takes longer than signing with it.
static SIGNER: LazyLock<Secp256k1<SignOnly>> = LazyLock::new(Secp256k1::signing_only);

/// What an invoice says to its payer.
pub(super) struct Terms<'a> {
    pub(super) currency: Currency,
    pub(super) hash: PaymentHash,
    pub(super) payment_addr: Secret,
    pub(super) value_msat: u64,
    pub(super) memo: &'a str,
    pub(super) description_hash: Option<PaymentHash>,
    pub(super) created_at_seconds: u64,
    pub(super) expiry_seconds: u64,
    pub(super) cltv_expiry: u64,
}

/// The error is LND's text.
pub(super) fn sign(terms: &Terms<'_>, key: &SecretKey) -> Result<String, String> {
    let timestamp = PositiveTimestamp::from_unix_timestamp(terms.created_at_seconds)
        .map_err(|_| format!("timestamp too big: {}", terms.created_at_seconds))?;
    let hrp = hrp(terms.currency.clone(), terms.value_msat);
    let tagged_fields = tagged_fields(terms)?.into_iter().map(Into::into).collect();
    let raw = RawBolt11Invoice { hrp, data: RawDataPart { timestamp, tagged_fields } };
    let signed = raw.sign(|message| Ok::<_, String>(SIGNER.sign_ecdsa_recoverable(message, key)))?;
    Ok(signed.to_string())
}

fn hrp(currency: Currency, value_msat: u64) -> RawHrp {
    // 1 msat is 10 pico-bitcoin; values above 100,000 BTC were refused before, so this cannot overflow.
    let pico_btc = value_msat.saturating_mul(10);
    let largest_that_divides = |prefix: &&SiPrefix| pico_btc.is_multiple_of(prefix.multiplier());
    let prefix = SiPrefix::values_desc().iter().find(largest_that_divides).copied();
    let amount = prefix.filter(|_| value_msat > 0);
    RawHrp { currency, raw_amount: amount.map(|prefix| pico_btc / prefix.multiplier()), si_prefix: amount }
}

fn tagged_fields(terms: &Terms<'_>) -> Result<Vec<TaggedField>, String> {
    let description = match terms.description_hash {
        Some(hash) => TaggedField::DescriptionHash(sha256_field(hash)),
        None => TaggedField::Description(description(terms.memo)?),
    };
    Ok(vec![
        TaggedField::PaymentHash(sha256_field(terms.hash)),
        description,
        TaggedField::ExpiryTime(ExpiryTime::from_seconds(terms.expiry_seconds)),
        TaggedField::MinFinalCltvExpiryDelta(MinFinalCltvExpiryDelta(terms.cltv_expiry)),
        TaggedField::PaymentSecret(PaymentSecret(terms.payment_addr.0)),
        TaggedField::Features(features()),
    ])
}

fn description(memo: &str) -> Result<Description, String> {
    if memo.len() > MAX_DESCRIPTION_BYTES {
        // LND counts the 5-bit groups that it could not write a length for.
        let groups = (memo.len() * 8).div_ceil(5);
        return Err(format!("data length too big to fit within 10 bits: {groups}"));
    }
    Description::new(memo.to_owned()).map_err(|error| error.to_string())
}

fn sha256_field(hash: PaymentHash) -> Sha256 {
    Sha256(sha256::Hash::from_byte_array(hash.0))
}

fn features() -> Bolt11InvoiceFeatures {
    let bits = FEATURE_BITS.iter().fold(0_u32, |bits, bit| bits | 1 << bit);
    Bolt11InvoiceFeatures::from_le_bytes(bits.to_le_bytes().to_vec())
}

/// What a payer reads out of a payment request.
pub(super) struct PaymentRequest {
    pub(super) hash: PaymentHash,
    /// 0 leaves the amount to the payer.
    pub(super) value_msat: u64,
    pub(super) payment_addr: Secret,
    pub(super) payee: PublicKey,
    pub(super) expires_at_seconds: u64,
}

/// The error says what is wrong with the text.
pub(super) fn parse(text: &str) -> Result<PaymentRequest, String> {
    let invoice: Bolt11Invoice = text.trim().parse().map_err(|error| describe(&error))?;
    let created = invoice.duration_since_epoch();
    Ok(PaymentRequest {
        hash: PaymentHash(invoice.payment_hash().to_byte_array()),
        value_msat: invoice.amount_milli_satoshis().unwrap_or(0),
        payment_addr: Secret(invoice.payment_secret().0),
        payee: invoice.get_payee_pub_key(),
        expires_at_seconds: created.saturating_add(invoice.expiry_time()).as_secs(),
    })
}

fn describe(error: &ParseOrSemanticError) -> String {
    format!("invalid payment request: {error}")
}
