//! The `[bandwidth_reset]` of the file: what it costs to use a month's bandwidth once more.

use super::prices::{dollars, sats};
use super::section::Section;
use super::value::number;
use crate::domain::money::{Price, UsdCents};
use crate::domain::plan::BandwidthResets;

const STANDARD_PRICE: UsdCents = UsdCents::new(100);
const FROM_PERCENT: u32 = 70;
const PER_MONTH: u32 = 2;
/// As many as the clients believe.
const MOST_PER_MONTH: i64 = 1_000;

/// None where none is sold: `per_month = 0` says so, and so does a file without a rate that names no price.
pub fn resets(root: &mut Section<'_>) -> Option<BandwidthResets> {
    let has_rate = root.has("rate");
    let given = root.optional_section("bandwidth_reset", |section| terms(section, has_rate));
    let standard = || {
        let price = Price::Usd(STANDARD_PRICE);
        has_rate.then_some(BandwidthResets { price, from_percent: FROM_PERCENT, per_month: PER_MONTH })
    };
    given.unwrap_or_else(standard).filter(|terms| terms.per_month > 0)
}

fn terms(section: &mut Section<'_>, has_rate: bool) -> Option<BandwidthResets> {
    let from_percent = section.optional("from_percent", "70", number(0..=100)).unwrap_or(FROM_PERCENT);
    let per_month = section.optional("per_month", "2", number(0..=MOST_PER_MONTH)).unwrap_or(PER_MONTH);
    let price = price(section);
    let in_dollars = matches!(price, Some(Price::Usd(_)));
    if in_dollars && !has_rate && per_month > 0 {
        let remedy = "for example: a section [rate]; or sats = 1000 here; or per_month = 0, which sells none";
        section.problem("usd", "a price in dollars, and there is no [rate]", remedy);
    }
    Some(BandwidthResets { price: price?, from_percent, per_month })
}

fn price(section: &mut Section<'_>) -> Option<Price> {
    let usd = section.optional("usd", r#""1.00""#, dollars).map(Price::Usd);
    let sats = section.optional("sats", "1000", sats).map(Price::Sats);
    match (section.has("usd"), section.has("sats")) {
        (true, true) => {
            section.problem("usd", "a reset has one price, either in dollars or in sats", "leave out usd or sats");
            None
        }
        (false, false) => Some(Price::Usd(STANDARD_PRICE)),
        _ => usd.or(sats),
    }
}
