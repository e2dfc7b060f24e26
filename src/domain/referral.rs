//! Referral codes, and what a purchase that names one brings its owner.

use std::fmt;

use super::Invalid;
use super::plan::MAX_MONTHS;
use super::time::DAY;

const LENGTHS: std::ops::RangeInclusive<usize> = 4..=32;
/// RFC 4648: no digit that is taken for a letter.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// 80 bits: nobody guesses another one's.
const RANDOM_LENGTH: usize = 10;

/// Purchases of so long count together for the most that an account earns.
pub const WINDOW: i64 = 365 * DAY;
const MOST_MONTHS: u32 = 24;

/// 4 to 32 characters of `A-Z 0-9 - _`; upper and lower case are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferralCode(String);

/// Months for the owner of a code, by the months that were bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bonuses {
    by_months: Vec<(u32, u32)>,
    /// What one account earns at most with purchases of [`WINDOW`].
    pub most_months: u32,
}

impl ReferralCode {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let code = text.to_ascii_uppercase();
        let allowed = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if LENGTHS.contains(&code.len()) && code.bytes().all(allowed) {
            Ok(Self(code))
        } else {
            Err(Invalid::new("a referral code has 4 to 32 characters of A-Z, 0-9, - and _"))
        }
    }

    /// 16 characters of base32.
    pub fn from_random(bytes: [u8; RANDOM_LENGTH]) -> Self {
        let bits = bytes.iter().fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
        let digit = |place: usize| BASE32.get(usize::try_from(bits >> (5 * place) & 31).unwrap_or(0)).copied();
        Self((0..RANDOM_LENGTH * 8 / 5).filter_map(digit).map(char::from).collect())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReferralCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Bonuses {
    /// Parses `3=1, 6=2, 12=3`: a purchase of 3 months brings 1. Nothing brings nothing.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).map(pair);
        let bonuses: Vec<_> = pairs.collect::<Result<_, _>>()?;
        let mut months: Vec<_> = bonuses.iter().map(|(months, _)| *months).collect();
        months.sort_unstable();
        months.dedup();
        if months.len() < bonuses.len() {
            return Err(Invalid::new("two bonuses for the same months"));
        }
        Ok(Self { by_months: bonuses, most_months: MOST_MONTHS })
    }

    /// What a purchase of so many months brings who has earned so many already, if anything.
    pub fn of(&self, bought: u32, earned: u32) -> Option<u32> {
        let (_, bonus) = self.by_months.iter().find(|(months, _)| *months == bought)?;
        Some(self.most_months.saturating_sub(earned).min(*bonus)).filter(|months| *months > 0)
    }
}

impl Default for Bonuses {
    fn default() -> Self {
        Self { by_months: vec![(3, 1), (6, 2), (12, 3)], most_months: MOST_MONTHS }
    }
}

fn pair(text: &str) -> Result<(u32, u32), Invalid> {
    let months = |text: &str| text.trim().parse().ok().filter(|months| (1..=MAX_MONTHS).contains(months));
    let pair = text.split_once('=').and_then(|(bought, bonus)| Some((months(bought)?, months(bonus)?)));
    pair.ok_or_else(|| Invalid::new(format!("months bought = months of bonus are expected, each 1 to {MAX_MONTHS}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_short_plain_and_has_no_case() {
        assert_eq!(ReferralCode::parse("Tunnel_2026-x"), ReferralCode::parse("TUNNEL_2026-X"));
        assert!(ReferralCode::parse("ABCD").is_ok() && ReferralCode::parse(&"A".repeat(32)).is_ok());
        for bad in ["", "ABC", &"A".repeat(33), "AB CD", "ÄÖÜX", "ABCD\n"] {
            assert!(ReferralCode::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_random_code_has_all_of_its_bits() {
        let code = |bytes| ReferralCode::from_random(bytes).to_string();
        assert_eq!((code([0; 10]).as_str(), code([255; 10]).as_str()), ("AAAAAAAAAAAAAAAA", "7777777777777777"));
        let mut one = [0; 10];
        one[0] = 128;
        assert_eq!(code(one), "AAAAAAAAAAAAAAAQ");
        assert!(ReferralCode::parse(&code([7; 10])).is_ok());
    }

    #[test]
    fn an_account_earns_so_much_and_no_more() {
        let bonuses = Bonuses::default();
        assert_eq!(
            [20, 21, 22, 23, 24, 25].map(|earned| bonuses.of(12, earned)),
            [Some(3), Some(3), Some(2), Some(1), None, None]
        );
    }

    #[test]
    fn bonuses_are_read_as_pairs() {
        assert_eq!(Bonuses::parse("3=1, 6=2,12 = 3"), Ok(Bonuses::default()));
        let bonuses = Bonuses::default();
        assert_eq!([1, 3, 6, 12].map(|months| bonuses.of(months, 0)), [None, Some(1), Some(2), Some(3)]);
        assert_eq!(Bonuses::parse("").unwrap().of(3, 0), None);
        assert!(Bonuses::parse("36=36").is_ok());
        for bad in ["3", "3=0", "0=1", "37=1", "3=37", "3=1,3=2", "3=1;6=2", "a=b"] {
            assert!(Bonuses::parse(bad).is_err(), "{bad}");
        }
    }
}
