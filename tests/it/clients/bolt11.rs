//! An invoice as StartOS reads it before paying: lower case, at most 4,000 characters, a bech32 checksum that holds,
//! and an amount and payment hash that are those of the body around it (BOLT 11).

use super::rules::Checked;

const LONGEST: usize = 4_000;
const CHARSET: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const CHECKSUM_WORDS: usize = 6;
const TIMESTAMP_WORDS: usize = 7;
/// 65 bytes of signature in words of five bits.
const SIGNATURE_WORDS: usize = 104;
const PAYMENT_HASH_TAG: u8 = 1;
/// 32 bytes, padded to whole words.
const PAYMENT_HASH_WORDS: usize = 52;
/// Longest first: `bc` begins `bcrt`.
const NETWORKS: [&str; 5] = ["bcrt", "bc", "tbs", "tb", "sb"];

/// BOLT 11's own example: a cup of coffee for 2,500 millionths of a bitcoin; with its amount and hash.
pub const COFFEE: &str = "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh";
pub const COFFEE_SATS: u64 = 250_000;
pub const COFFEE_HASH: &str = "0001020304050607080900010203040506070809000102030405060708090102";

/// Whether an invoice is for this amount and hash.
pub fn is_for(invoice: &str, sats: u64, hash: &str) -> Checked<()> {
    let (prefix, words) = bech32(invoice)?;
    if amount_msat(prefix)? != sats * 1_000 {
        return Err(format!("the invoice is not for {sats} sats"));
    }
    if payment_hash(&words)? == hash { Ok(()) } else { Err("the invoice has another payment hash".into()) }
}

/// The human-readable part, and the words of five bits before the checksum.
fn bech32(invoice: &str) -> Checked<(&str, Vec<u8>)> {
    if invoice.len() > LONGEST || invoice.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("the invoice is too long or not in lower case".into());
    }
    let (prefix, data) = invoice.rsplit_once('1').ok_or("no separator")?;
    let word = |c: char| CHARSET.find(c).and_then(|at| u8::try_from(at).ok());
    let mut words: Vec<u8> = data.chars().map(word).collect::<Option<_>>().ok_or("not in the alphabet of bech32")?;
    let spread = prefix.bytes().map(|b| b >> 5).chain([0]).chain(prefix.bytes().map(|b| b & 31));
    if polymod(spread.chain(words.iter().copied())) != 1 {
        return Err("the checksum does not hold".into());
    }
    words.truncate(words.len() - CHECKSUM_WORDS);
    Ok((prefix, words))
}

/// BIP 173.
fn polymod(words: impl Iterator<Item = u8>) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    words.fold(1, |sum, word| {
        let shifted = ((sum & 0x01ff_ffff) << 5) ^ u32::from(word);
        let taps = GENERATOR.iter().enumerate().filter(|(bit, _)| (sum >> 25 >> bit) & 1 == 1);
        taps.fold(shifted, |sum, (_, generator)| sum ^ generator)
    })
}

fn amount_msat(prefix: &str) -> Checked<u64> {
    let rest = prefix.strip_prefix("ln").ok_or("not a Lightning invoice")?;
    let amount = NETWORKS.iter().find_map(|network| rest.strip_prefix(network)).ok_or("no such network")?;
    let (digits, unit) = amount.split_at(amount.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let count: u64 = digits.parse().map_err(|_| "no amount")?;
    let msat_per_unit = match unit {
        "" => 100_000_000_000,
        "m" => 100_000_000,
        "u" => 100_000,
        "n" => 100,
        "p" if count.is_multiple_of(10) => return Ok(count / 10),
        _ => return Err(format!("{unit:?} is not a multiplier")),
    };
    count.checked_mul(msat_per_unit).ok_or_else(|| "an amount beyond all bitcoin".into())
}

fn payment_hash(words: &[u8]) -> Checked<String> {
    let end = words.len().checked_sub(SIGNATURE_WORDS).ok_or("no signature")?;
    let mut fields = words.get(TIMESTAMP_WORDS..end).ok_or("no timestamp")?;
    while let [tag, high, low, rest @ ..] = fields {
        let length = usize::from(*high) * 32 + usize::from(*low);
        let (value, next) = rest.split_at_checked(length).ok_or("a field that is cut off")?;
        if *tag == PAYMENT_HASH_TAG && length == PAYMENT_HASH_WORDS {
            return Ok(hex(value));
        }
        fields = next;
    }
    Err("no payment hash".into())
}

/// The first 32 bytes of words of five bits.
fn hex(words: &[u8]) -> String {
    let bit = |at: usize| (words[at / 5] >> (4 - at % 5)) & 1;
    let nibble = |at: usize| (0..4).fold(0, |sum, next| (sum << 1) | bit(at * 4 + next));
    (0..64).filter_map(|at| char::from_digit(nibble(at).into(), 16)).collect()
}

#[test]
fn the_specification_s_example_is_accepted() {
    assert_eq!(is_for(COFFEE, COFFEE_SATS, COFFEE_HASH), Ok(()));
}

#[test]
fn any_other_amount_hash_or_spelling_is_refused() {
    assert!(is_for(COFFEE, COFFEE_SATS + 1, COFFEE_HASH).unwrap_err().contains("sats"));
    assert!(is_for(COFFEE, COFFEE_SATS, &"0".repeat(64)).unwrap_err().contains("another payment hash"));
    assert!(is_for(&COFFEE.to_uppercase(), COFFEE_SATS, COFFEE_HASH).unwrap_err().contains("lower case"));
    assert!(is_for(&format!("{COFFEE}{}", "q".repeat(LONGEST)), COFFEE_SATS, COFFEE_HASH).is_err());
    for text in ["", "lnbc", "lightning", "1", &COFFEE[..200], &format!("{COFFEE} ")] {
        assert!(is_for(text, COFFEE_SATS, COFFEE_HASH).is_err(), "{text:?}");
    }
}

#[test]
fn any_changed_character_breaks_the_checksum() {
    for at in 10..COFFEE.len() {
        let other = if COFFEE[at..].starts_with('q') { "p" } else { "q" };
        let damaged = format!("{}{other}{}", &COFFEE[..at], &COFFEE[at + 1..]);
        assert!(is_for(&damaged, COFFEE_SATS, COFFEE_HASH).is_err(), "{damaged}");
    }
}

#[test]
fn an_amount_has_one_of_four_units() {
    for (prefix, msat) in [("lnbcrt45u", 4_500_000), ("lnbc1m", 100_000_000), ("lntb7n", 700), ("lnbc10p", 1)] {
        assert_eq!(amount_msat(prefix), Ok(msat), "{prefix}");
    }
    for prefix in ["lnbc", "bc45u", "lnxx45u", "lnbc45x", "lnbc5p", "lnbc45uu"] {
        assert!(amount_msat(prefix).is_err(), "{prefix}");
    }
}
