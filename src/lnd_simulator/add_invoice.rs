//! `AddInvoice`'s checks in LND's order, with LND's texts, and the signed invoice that comes of it.

use super::bolt11::{self, Terms};
use super::hash::{PaymentHash, Secret, WrongLength};
use super::invoice::{Invoice, InvoiceKind, InvoiceState};
use super::node::Node;
use crate::lnd_proto::{invoicesrpc, lnrpc};

const MAX_MEMO_BYTES: usize = 1024;
const SATS_PER_BTC: u64 = 100_000_000;
const MAX_SATS: u64 = 100_000 * SATS_PER_BTC;
const DEFAULT_EXPIRY_SECONDS: i64 = 86_400;
const MAX_EXPIRY_SECONDS: i64 = 31_536_000;
const DEFAULT_CLTV_EXPIRY: u64 = 80;
const MIN_CLTV_EXPIRY: u64 = 24;
const MAX_CLTV_EXPIRY: u64 = 65_535;

/// What `AddInvoice` and `AddHoldInvoice` have in common.
pub(super) struct NewInvoice {
    memo: String,
    description_hash: Vec<u8>,
    value_msat: u64,
    expiry: i64,
    cltv_expiry: u64,
    key: InvoiceKey,
}

enum InvoiceKey {
    Preimage(Secret),
    /// A hold invoice's hash, whose preimage somebody else knows.
    Hash(PaymentHash),
}

impl NewInvoice {
    pub(super) fn regular(node: &Node, request: lnrpc::Invoice) -> Result<Self, String> {
        let value_msat = amount(request.value, request.value_msat)?;
        let preimage = match request.r_preimage.as_slice() {
            [] => Secret(node.random.bytes32()),
            given => Secret::try_from(given)
                .map_err(|WrongLength(length)| format!("invalid preimage length of {length}, want 32"))?,
        };
        if request.is_amp || request.is_blinded || !request.fallback_addr.is_empty() {
            return Err("the simulated node makes neither AMP nor blinded invoices nor fallback addresses".to_owned());
        }
        Ok(Self {
            memo: request.memo,
            description_hash: request.description_hash,
            value_msat,
            expiry: request.expiry,
            cltv_expiry: request.cltv_expiry,
            key: InvoiceKey::Preimage(preimage),
        })
    }

    pub(super) fn hold(request: invoicesrpc::AddHoldInvoiceRequest) -> Result<Self, String> {
        let hash = payment_hash(&request.hash)?;
        Ok(Self {
            memo: request.memo,
            description_hash: request.description_hash,
            value_msat: amount(request.value, request.value_msat)?,
            expiry: request.expiry,
            cltv_expiry: request.cltv_expiry,
            key: InvoiceKey::Hash(hash),
        })
    }

    /// Checks the terms and signs them with the node's key.
    pub(super) fn sign(self, node: &Node) -> Result<Invoice, String> {
        let description_hash = self.check_description()?;
        check_amount(self.value_msat)?;
        let expiry_seconds = expiry(self.expiry)?;
        let cltv_expiry = cltv_expiry(self.cltv_expiry)?;
        let (hash, preimage, kind) = self.key.parts();
        let payment_addr = Secret(node.random.bytes32());
        let created_at_ms = node.clock.now_ms();
        let terms = Terms {
            currency: node.settings.network.currency(),
            hash,
            payment_addr,
            value_msat: self.value_msat,
            memo: &self.memo,
            description_hash,
            created_at_seconds: created_at_ms.div_euclid(1000).unsigned_abs(),
            expiry_seconds: expiry_seconds.unsigned_abs(),
            cltv_expiry,
        };
        let payment_request = bolt11::sign(&terms, &node.identity().secret_key)?;
        if hash == Secret([0; 32]).payment_hash() {
            return Err("cannot use hash of all-zeroes preimage".to_owned());
        }
        Ok(Invoice {
            hash,
            preimage,
            memo: self.memo,
            description_hash,
            value_msat: self.value_msat,
            created_at_ms,
            expiry_seconds,
            cltv_expiry,
            payment_request,
            payment_addr,
            add_index: 0,
            kind,
            state: InvoiceState::Open,
            htlcs: Vec::new(),
        })
    }

    fn check_description(&self) -> Result<Option<PaymentHash>, String> {
        let memo_length = self.memo.len();
        if memo_length > MAX_MEMO_BYTES {
            return Err(format!("memo too large: {memo_length} bytes (maxsize={MAX_MEMO_BYTES})"));
        }
        match self.description_hash.as_slice() {
            [] => Ok(None),
            given => match PaymentHash::try_from(given) {
                Ok(hash) => Ok(Some(hash)),
                Err(WrongLength(length)) => Err(format!("description hash is {length} bytes, must be 32")),
            },
        }
    }
}

impl InvoiceKey {
    fn parts(self) -> (PaymentHash, Option<Secret>, InvoiceKind) {
        match self {
            Self::Preimage(preimage) => (preimage.payment_hash(), Some(preimage), InvoiceKind::Regular),
            Self::Hash(hash) => (hash, None, InvoiceKind::Hold),
        }
    }
}

/// The error is LND's text.
pub(super) fn payment_hash(bytes: &[u8]) -> Result<PaymentHash, String> {
    PaymentHash::try_from(bytes).map_err(|WrongLength(length)| format!("invalid hash length of {length}, want 32"))
}

fn amount(sats: i64, msats: i64) -> Result<u64, String> {
    if sats != 0 && msats != 0 {
        return Err("sat and msat arguments are mutually exclusive".to_owned());
    }
    if sats < 0 || msats < 0 {
        return Err("amount cannot be negative".to_owned());
    }
    // LND multiplies without a look at the size, so a huge amount comes out small.
    Ok(match sats {
        0 => msats.unsigned_abs(),
        _ => sats.unsigned_abs().wrapping_mul(1000),
    })
}

fn check_amount(value_msat: u64) -> Result<(), String> {
    let signed = value_msat.cast_signed();
    if signed < 0 {
        return Err(format!("payments of negative value are not allowed, value is {signed}"));
    }
    let sats = value_msat / 1000;
    if sats > MAX_SATS {
        return Err(format!("invoice amount {} is too large, max is {}", in_btc(sats), in_btc(MAX_SATS)));
    }
    Ok(())
}

fn in_btc(sats: u64) -> String {
    let (whole, rest) = (sats / SATS_PER_BTC, sats % SATS_PER_BTC);
    match rest {
        0 => format!("{whole} BTC"),
        _ => format!("{whole}.{rest:08} BTC"),
    }
}

fn expiry(seconds: i64) -> Result<i64, String> {
    match seconds {
        ..=0 => Ok(DEFAULT_EXPIRY_SECONDS),
        1..=MAX_EXPIRY_SECONDS => Ok(seconds),
        _ => Err(format!(
            "expiry of {} seconds greater than max expiry of {} seconds",
            go_float(seconds),
            go_float(MAX_EXPIRY_SECONDS)
        )),
    }
}

/// How Go prints a whole number that it keeps as a float: from 2^21 on with an exponent.
fn go_float(number: i64) -> String {
    let digits = number.to_string();
    if digits.len() < 8 {
        return digits;
    }
    let (first, rest) = digits.split_at(1);
    let rest = rest.trim_end_matches('0');
    let point = if rest.is_empty() { "" } else { "." };
    format!("{first}{point}{rest}e+{:02}", digits.len() - 1)
}

fn cltv_expiry(blocks: u64) -> Result<u64, String> {
    match blocks {
        0 => Ok(DEFAULT_CLTV_EXPIRY),
        MIN_CLTV_EXPIRY..=MAX_CLTV_EXPIRY => Ok(blocks),
        1..MIN_CLTV_EXPIRY => Err(format!("CLTV delta of {blocks} must be greater than minimum of {MIN_CLTV_EXPIRY}")),
        _ => Err(format!("CLTV delta of {blocks} is too large, max accepted is: {MAX_CLTV_EXPIRY}")),
    }
}
