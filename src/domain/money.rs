//! Amounts and the one conversion between them.

use std::fmt;

use super::Invalid;
use super::time::Timestamp;

const SATS_PER_BTC: u128 = 100_000_000;

/// The most that one order may cost: 1 BTC. LND wraps amounts silently far above it (its `value` is multiplied by 1,000).
pub const MAX_ORDER: Sats = Sats(100_000_000);

/// Whole satoshis, the unit of every price on Lightning here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Sats(u64);

/// Thousandths of a satoshi, the unit of LND's amounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Msats(u64);

/// US cents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsdCents(u64);

/// An amount, in the unit of the rail that it is asked for or arrives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    Msats(Msats),
    UsdCents(UsdCents),
    /// In the smallest units of a currency in which nothing is sold.
    Foreign(u64, Currency),
}

/// Three lowercase letters (ISO 4217).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Currency([u8; 3]);

impl Amount {
    /// The bare number.
    pub const fn get(self) -> u64 {
        match self {
            Self::Msats(msats) => msats.get(),
            Self::UsdCents(cents) => cents.get(),
            Self::Foreign(units, _) => units,
        }
    }

    /// What is here beyond a price; None where it is less, or in another unit.
    pub const fn excess_over(self, price: Self) -> Option<Self> {
        match (self, price) {
            (Self::Msats(Msats(here)), Self::Msats(Msats(price))) if here >= price => {
                Some(Self::Msats(Msats(here - price)))
            }
            (Self::UsdCents(UsdCents(here)), Self::UsdCents(UsdCents(price))) if here >= price => {
                Some(Self::UsdCents(UsdCents(here - price)))
            }
            _ => None,
        }
    }

    /// Nothing, in the same unit.
    #[must_use]
    pub const fn nothing(self) -> Self {
        match self {
            Self::Msats(_) => Self::Msats(Msats(0)),
            Self::UsdCents(_) => Self::UsdCents(UsdCents(0)),
            Self::Foreign(_, currency) => Self::Foreign(0, currency),
        }
    }
}

impl Currency {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let letters: Option<[u8; 3]> = text.as_bytes().try_into().ok();
        let known = letters.filter(|letters| letters.iter().all(u8::is_ascii_lowercase));
        known.map(Self).ok_or_else(|| Invalid::new("three lowercase letters of a currency are expected"))
    }

    pub fn code(&self) -> &str {
        // Letters of ASCII, as they were parsed.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Sats {
    pub const fn new(sats: u64) -> Self {
        Self(sats)
    }

    pub const fn get(self) -> u64 {
        self.0
    }

    /// Exact: a price never exceeds [`MAX_ORDER`], far from the edge of 64 bits.
    pub const fn to_msats(self) -> Msats {
        Msats(self.0.saturating_mul(1000))
    }
}

impl Msats {
    pub const fn new(msats: u64) -> Self {
        Self(msats)
    }

    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whole satoshis, rounded up.
    pub const fn to_sats_rounded_up(self) -> Sats {
        Sats(self.0.div_ceil(1000))
    }
}

impl UsdCents {
    pub const fn new(cents: u64) -> Self {
        Self(cents)
    }

    pub const fn get(self) -> u64 {
        self.0
    }

    /// Parses dollars such as `8.55`, `3` or `0.50`.
    pub fn parse_dollars(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new("not an amount in dollars such as \"8.55\"");
        let (whole, cents) = text.split_once('.').unwrap_or((text, "00"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(cents) || cents.len() != 2 {
            return Err(invalid());
        }
        let whole: u64 = whole.parse().map_err(|_| invalid())?;
        let cents: u64 = cents.parse().map_err(|_| invalid())?;
        whole.checked_mul(100).and_then(|c| c.checked_add(cents)).map(Self).ok_or_else(invalid)
    }

    /// Parses dollars with any number of decimals, as exchanges write them; what is less than a cent is dropped.
    pub fn parse_decimal(text: &str) -> Result<Self, Invalid> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| (1..=20).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(decimals) {
            return Err(Invalid::new("not a decimal number of dollars"));
        }
        let cents: String = decimals.chars().chain("00".chars()).take(2).collect();
        Self::parse_dollars(&format!("{whole}.{cents}"))
    }
}

impl fmt::Display for Sats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sat", self.0)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Msats(msats) => write!(f, "{} msat", msats.0),
            Self::UsdCents(cents) => write!(f, "${cents}"),
            Self::Foreign(units, currency) => write!(f, "{units} {}", currency.code()),
        }
    }
}

impl fmt::Display for UsdCents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// What a plan costs, in the unit in which the operator set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Price {
    Sats(Sats),
    Usd(UsdCents),
}

/// US cents for one bitcoin, where the figure came from and when it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    pub cents_per_btc: u64,
    pub source: String,
    pub as_of: Timestamp,
}

/// What a customer is asked for, with the rate that made it; a price in sats has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    pub amount: Sats,
    pub usd: Option<UsdCents>,
    pub rate: Option<Rate>,
}

impl Rate {
    /// Satoshis for so many cents, rounded up: the operator never gets less than the price.
    ///
    /// # Errors
    /// When the rate is zero or the amount is zero or above [`MAX_ORDER`]: no invoice at a bad price.
    pub fn to_sats(&self, price: UsdCents) -> Result<Sats, Invalid> {
        if self.cents_per_btc == 0 {
            return Err(Invalid::new("the exchange rate is zero"));
        }
        let sats = (u128::from(price.0) * SATS_PER_BTC).div_ceil(u128::from(self.cents_per_btc));
        within_bounds(Sats(u64::try_from(sats).unwrap_or(u64::MAX)))
    }
}

/// An amount that an invoice may be made for: 1 sat to [`MAX_ORDER`].
pub fn within_bounds(amount: Sats) -> Result<Sats, Invalid> {
    if amount.0 == 0 || amount > MAX_ORDER {
        return Err(Invalid::new(format!("{amount} is not between 1 sat and {MAX_ORDER}")));
    }
    Ok(amount)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(cents_per_btc: u64) -> Rate {
        Rate { cents_per_btc, source: "test".into(), as_of: Timestamp::EPOCH }
    }

    #[test]
    fn three_dollars_at_100_000_are_3_000_sats() {
        assert_eq!(rate(10_000_000).to_sats(UsdCents(300)), Ok(Sats(3_000)));
    }

    #[test]
    fn a_fraction_of_a_sat_is_rounded_up() {
        assert_eq!(rate(9_999_999).to_sats(UsdCents(300)), Ok(Sats(3_001)));
    }

    #[test]
    fn scenario_17_a_zero_rate_or_a_price_of_nothing_makes_no_amount() {
        assert!(rate(0).to_sats(UsdCents(300)).is_err());
        assert!(rate(10_000_000).to_sats(UsdCents(0)).is_err());
    }

    #[test]
    fn the_upper_bound_is_exactly_one_bitcoin() {
        assert_eq!(within_bounds(MAX_ORDER), Ok(MAX_ORDER));
        assert!(within_bounds(Sats(MAX_ORDER.0 + 1)).is_err());
        assert!(within_bounds(Sats(0)).is_err());
    }

    #[test]
    fn dollars_are_parsed_to_the_cent() {
        assert_eq!(UsdCents::parse_dollars("8.55"), Ok(UsdCents(855)));
        assert_eq!(UsdCents::parse_dollars("3"), Ok(UsdCents(300)));
        for bad in ["", ".", "1.5", "1.555", "-1", "1,00", "1e3", "184467440737095517"] {
            assert!(UsdCents::parse_dollars(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn amounts_of_two_rails_are_never_held_against_each_other() {
        let (msats, cents) = (Amount::Msats(Msats(300)), Amount::UsdCents(UsdCents(300)));
        assert_eq!((msats.excess_over(cents), cents.excess_over(msats)), (None, None));
        assert_eq!(cents.excess_over(cents), Some(cents.nothing()));
    }

    #[test]
    fn scenario_17_an_exchange_s_decimals_are_read_without_rounding_up() {
        let read = |text| UsdCents::parse_decimal(text).map(UsdCents::get);
        for (text, cents) in [("95123.40000", 9_512_340), ("95123.4", 9_512_340), ("95123", 9_512_300), ("0.019", 1)] {
            assert_eq!(read(text), Ok(cents), "{text}");
        }
        for bad in ["", ".", "1.", ".5", "-1", "+1", "NaN", "inf", "1e5", "1,000", " 1", "1 ", "0x10", "1.2.3", "null"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read("184467440737095516.15").is_ok() && read("184467440737095516.16").is_err());
        assert!(read(&"9".repeat(21)).is_err());
    }

    proptest! {
        /// The sats of a price are worth at least the price, and one sat less would not be.
        #[test]
        fn scenario_18_a_quote_is_the_least_amount_that_covers_the_price(
            cents in 1_u64..10_000_000, cents_per_btc in 100_000_000_000_u64 / 1_000..100_000_000_000,
        ) {
            let sats = u128::from(rate(cents_per_btc).to_sats(UsdCents(cents)).unwrap().get());
            let worth = |sats: u128| sats * u128::from(cents_per_btc);
            let price = u128::from(cents) * SATS_PER_BTC;
            prop_assert!(worth(sats) >= price && worth(sats - 1) < price);
        }

        /// What arrived is the price and the excess, to the msat; less than the price has no excess.
        #[test]
        fn scenario_18_price_and_excess_are_what_arrived(price in 1_u64..=100_000_000_000, arrived in 0_u64..=200_000_000_000) {
            let excess = Amount::Msats(Msats(arrived)).excess_over(Amount::Msats(Msats(price)));
            prop_assert_eq!(excess.is_some(), arrived >= price);
            prop_assert_eq!(excess.map_or(0, Amount::get) + price.min(arrived), arrived);
        }

        #[test]
        fn scenario_18_sats_survive_the_way_to_msats_and_back(sats in 1_u64..=100_000_000) {
            prop_assert_eq!(Sats(sats).to_msats().to_sats_rounded_up(), Sats(sats));
        }
    }
}
