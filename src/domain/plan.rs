//! What is sold: months at a price.

use super::Invalid;
use super::money::{Price, Quote, Rate, Sats, within_bounds};

/// Bandwidth of one subscription per UTC calendar month, in GB of 10^9 bytes.
pub const BANDWIDTH_LIMIT_GB: u32 = 100;

/// The longest plan.
pub const MAX_MONTHS: u32 = 36;

/// One line of the price list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub months: u32,
    pub price: Price,
}

/// On which terms a month's bandwidth is sold once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BandwidthResets {
    pub price: Price,
    /// Of the month's amount: who used less needs none yet.
    pub from_percent: u32,
    /// For one subscription in a calendar month.
    pub per_month: u32,
}

/// The price list: each duration once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plans(Vec<Plan>);

impl Plans {
    pub fn new(mut plans: Vec<Plan>) -> Result<Self, Invalid> {
        plans.sort_by_key(|plan| plan.months);
        if plans.is_empty() {
            return Err(Invalid::new("no plan: nothing would be for sale"));
        }
        if let Some(plan) = plans.iter().find(|plan| plan.months == 0 || plan.months > MAX_MONTHS) {
            return Err(Invalid::new(format!("a plan of {} months: 1 to {MAX_MONTHS} are possible", plan.months)));
        }
        if plans.windows(2).any(|pair| matches!(pair, [a, b] if a.months == b.months)) {
            return Err(Invalid::new("two plans of the same duration"));
        }
        Ok(Self(plans))
    }

    /// The plan of that many months; the message lists what there is.
    pub fn find(&self, months: u32) -> Result<&Plan, Invalid> {
        self.0.iter().find(|plan| plan.months == months).ok_or_else(|| {
            let durations: Vec<_> = self.0.iter().map(|plan| plan.months.to_string()).collect();
            Invalid::new(format!("duration must be one of {} months", durations.join(", ")))
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Plan> {
        self.0.iter()
    }

    /// Whether any price needs an exchange rate.
    pub fn need_a_rate(&self) -> bool {
        self.0.iter().any(|plan| matches!(plan.price, Price::Usd(_)))
    }
}

/// What to ask for, at the rate of now.
///
/// # Errors
/// When a price in dollars has no usable rate, or the amount is out of bounds.
pub fn quote(price: Price, rate: Option<&Rate>) -> Result<Quote, Invalid> {
    match price {
        Price::Sats(amount) => Ok(Quote { amount: within_bounds(amount)?, usd: None, rate: None }),
        Price::Usd(usd) => {
            let rate = rate.ok_or_else(|| Invalid::new("no exchange rate"))?;
            let amount: Sats = rate.to_sats(usd)?;
            Ok(Quote { amount, usd: Some(usd), rate: Some(rate.clone()) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::UsdCents;

    fn plan(months: u32) -> Plan {
        Plan { months, price: Price::Usd(UsdCents::new(300)) }
    }

    #[test]
    fn a_price_list_names_each_duration_once_and_within_bounds() {
        assert!(Plans::new(vec![plan(1), plan(MAX_MONTHS)]).is_ok());
        for bad in [vec![], vec![plan(0)], vec![plan(MAX_MONTHS + 1)], vec![plan(3), plan(3)]] {
            assert!(Plans::new(bad).is_err());
        }
    }

    #[test]
    fn an_unknown_duration_says_what_there_is() {
        let plans = Plans::new(vec![plan(3), plan(1)]).unwrap();
        let message = plans.find(2).unwrap_err().to_string();
        assert_eq!(message, "duration must be one of 1, 3 months");
    }

    #[test]
    fn a_price_in_dollars_needs_a_rate() {
        assert!(quote(Price::Usd(UsdCents::new(300)), None).is_err());
        assert!(quote(Price::Sats(Sats::new(4_500)), None).is_ok());
    }
}
