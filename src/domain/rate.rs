//! From what several sources say a bitcoin costs to one rate, or to the reason why there is none.
//!
//! The rate is the median of those that are fresh, and enough of them must be near it: one source that is wrong, by
//! however much, then neither makes a price nor keeps one from being made.

use super::money::{Rate, UsdCents};
use super::time::Timestamp;

/// An exchange that anybody may ask for its price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exchange {
    Bitstamp,
    Coinbase,
    Kraken,
}

impl Exchange {
    pub const ALL: [Self; 3] = [Self::Bitstamp, Self::Coinbase, Self::Kraken];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Bitstamp => "bitstamp",
            Self::Coinbase => "coinbase",
            Self::Kraken => "kraken",
        }
    }
}

/// When a price is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateRules {
    /// So many sources must be fresh and agree.
    pub least: usize,
    pub max_age_millis: i64,
    /// From the median of the fresh ones.
    pub max_deviation_percent: u32,
    /// Nothing below or above is a price of a bitcoin.
    pub floor: UsdCents,
    pub ceiling: UsdCents,
}

/// Why there is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    #[error("{needed} sources are needed, and {} {} fresh", .fresh.len(), if .fresh.len() == 1 { "is" } else { "are" })]
    TooFew { fresh: Vec<String>, needed: usize },
    #[error("the sources differ too much: {needed} must agree, and {agreeing} do")]
    Apart { agreeing: usize, needed: usize },
}

impl RateRules {
    /// What is from the future is as doubtful as what is too old.
    pub const fn is_fresh(&self, as_of: Timestamp, now: Timestamp) -> bool {
        let age = now.since(as_of);
        age >= 0 && age <= self.max_age_millis
    }

    pub fn is_plausible(&self, price: UsdCents) -> bool {
        (self.floor..=self.ceiling).contains(&price)
    }

    /// One rate of those that are fresh.
    pub fn agree(&self, fresh: &[Rate]) -> Result<Rate, Doubt> {
        let needed = self.least;
        let median = median(fresh)
            .filter(|_| fresh.len() >= needed)
            .ok_or_else(|| Doubt::TooFew { fresh: fresh.iter().map(|rate| rate.source.clone()).collect(), needed })?;
        let agreeing: Vec<&Rate> = fresh.iter().filter(|rate| self.is_near(rate.cents_per_btc, median)).collect();
        // A median of two that are far apart is near to none of them.
        let oldest = agreeing.iter().map(|rate| rate.as_of).min();
        match oldest {
            Some(as_of) if agreeing.len() >= needed => {
                Ok(Rate { cents_per_btc: median, source: named(&agreeing), as_of })
            }
            _ => Err(Doubt::Apart { agreeing: agreeing.len(), needed }),
        }
    }

    fn is_near(&self, cents: u64, median: u64) -> bool {
        u128::from(cents.abs_diff(median)) * 100 <= u128::from(median) * u128::from(self.max_deviation_percent)
    }
}

/// The middle one, or half-way between the two in the middle, rounded down: fewer cents are more sats.
fn median(rates: &[Rate]) -> Option<u64> {
    let mut cents: Vec<u64> = rates.iter().map(|rate| rate.cents_per_btc).collect();
    cents.sort_unstable();
    let upper = *cents.get(cents.len() / 2)?;
    let lower = *cents.get((cents.len() - 1) / 2)?;
    Some(lower.midpoint(upper))
}

fn named(rates: &[&Rate]) -> String {
    let mut names: Vec<&str> = rates.iter().map(|rate| rate.source.as_str()).collect();
    names.sort_unstable();
    names.join("+")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: RateRules = RateRules {
        least: 2,
        max_age_millis: 1_000,
        max_deviation_percent: 3,
        floor: UsdCents::new(2_000_000),
        ceiling: UsdCents::new(50_000_000),
    };

    fn rates(cents: &[u64]) -> Vec<Rate> {
        let named = |(n, cents): (usize, &u64)| Rate {
            cents_per_btc: *cents,
            source: format!("s{n}"),
            as_of: Timestamp::from_millis(i64::try_from(n).unwrap()),
        };
        cents.iter().enumerate().map(named).collect()
    }

    fn agreed(cents: &[u64]) -> Result<u64, Doubt> {
        RULES.agree(&rates(cents)).map(|rate| rate.cents_per_btc)
    }

    #[test]
    fn the_rate_is_the_median_of_those_that_are_fresh_and_tells_whose_it_is() {
        let rate = RULES.agree(&rates(&[10_100, 10_000, 10_001])).unwrap();
        assert_eq!((rate.cents_per_btc, rate.source.as_str()), (10_001, "s0+s1+s2"));
        assert_eq!(rate.as_of, Timestamp::from_millis(0), "the oldest of them");
        assert_eq!(agreed(&[10_001, 10_000]), Ok(10_000));
    }

    #[test]
    fn scenario_17_one_source_that_is_off_by_ten_changes_nothing() {
        for wrong in [0, 1, 1_000, 100_000, u64::MAX] {
            let rate = RULES.agree(&rates(&[wrong, 10_000, 10_100])).unwrap();
            assert!((10_000..=10_100).contains(&rate.cents_per_btc));
            assert_eq!((rate.source.as_str(), rate.as_of), ("s1+s2", Timestamp::from_millis(1)));
        }
    }

    #[test]
    fn scenario_17_too_few_or_too_far_apart_is_no_rate() {
        let too_few =
            |fresh: &[&str]| Err(Doubt::TooFew { fresh: fresh.iter().map(ToString::to_string).collect(), needed: 2 });
        assert_eq!(agreed(&[]), too_few(&[]));
        assert_eq!(agreed(&[10_000]), too_few(&["s0"]));
        assert_eq!(agreed(&[10_000, 100_000]), Err(Doubt::Apart { agreeing: 0, needed: 2 }));
        assert_eq!(agreed(&[10_000, 11_000, 12_000]), Err(Doubt::Apart { agreeing: 1, needed: 2 }));
        // 3 % of the median, exactly and one more.
        assert_eq!(agreed(&[10_000, 10_300, 1]), Ok(10_000));
        assert_eq!(agreed(&[10_000, 10_301, 1]), Err(Doubt::Apart { agreeing: 1, needed: 2 }));
        assert_eq!(agreed(&[10_000, 10_300, 99_999]), Ok(10_300));
        assert_eq!(agreed(&[9_990, 10_300, 99_999]), Err(Doubt::Apart { agreeing: 1, needed: 2 }));
    }

    #[test]
    fn scenario_17_age_and_bounds_hold_to_the_edge() {
        let now = Timestamp::from_millis(10_000);
        let fresh = [8_999, 9_000, 10_000, 10_001].map(|at| RULES.is_fresh(Timestamp::from_millis(at), now));
        assert_eq!(fresh, [false, true, true, false]);
        let plausible = [0, 1_999_999, 2_000_000, 50_000_000, 50_000_001].map(|c| RULES.is_plausible(UsdCents::new(c)));
        assert_eq!(plausible, [false, false, true, true, false]);
    }

    proptest! {
        #[test]
        fn no_one_source_moves_the_rate_beyond_the_others(
            good in 2_000_000_u64..50_000_000, apart in 0_u64..20_000, wrong: u64, order in 0_usize..3,
        ) {
            let mut cents = vec![good, good + apart];
            cents.insert(order, wrong);
            let rate = agreed(&cents).unwrap();
            prop_assert!((good..=good + apart).contains(&rate), "{rate}");
        }

        #[test]
        fn a_rate_lies_between_its_sources_in_whatever_order_they_come(mut cents in prop::collection::vec(1_u64..1 << 40, 1..6)) {
            let forwards = agreed(&cents);
            cents.reverse();
            prop_assert_eq!(&forwards, &agreed(&cents));
            if let Ok(rate) = forwards {
                prop_assert!(cents.iter().any(|c| *c <= rate) && cents.iter().any(|c| *c >= rate));
            }
        }
    }
}
