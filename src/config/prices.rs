//! What is asked for: the `[[plans]]`, and the `[rate]` that turns dollars into sats.

use toml::Value;

use super::live;
use super::section::Section;
use super::value::{duration, number, text};
use super::{PinnedRate, RateSource};
use crate::domain::Invalid;
use crate::domain::money::{Price, Rate, Sats, UsdCents, within_bounds};
use crate::domain::plan::{MAX_MONTHS, Plan, Plans, quote};
use crate::domain::time::Timestamp;

/// Months and US cents of the plans that are sold where the file names none.
const STANDARD_PLANS: [(u32, u64); 4] = [(1, 300), (3, 855), (6, 1_620), (12, 2_880)];

const RATE_REMEDY: &str = "for example: [rate] with usd_per_btc = \"100000\", as_of = \"2026-11-22T12:00:00Z\", \
                           max_age = \"24h\"; or give the prices in sats";

/// The price list and the rate belong together: what is asked in dollars must come out as a sum that can be asked.
pub fn prices(root: &mut Section<'_>, now: Timestamp) -> Option<(Plans, Option<RateSource>)> {
    let plans = plans(root);
    let rate = root.optional_section("rate", |section| rate(section, now));
    let plans = plans?;
    match &rate {
        None if plans.need_a_rate() && !root.has("rate") => {
            root.problem("rate", "missing, and there are prices in dollars", RATE_REMEDY);
        }
        Some(Some(RateSource::Pinned(pinned))) => {
            let remedy = "give the dollars for one whole bitcoin, such as \"100000\"";
            refuse_impossible_sums(root, &plans, "rate.usd_per_btc", pinned.rate.cents_per_btc, remedy);
        }
        Some(Some(RateSource::Live(live))) => {
            let remedy = "sums are the highest at the floor: give a higher one";
            refuse_impossible_sums(root, &plans, "rate.live.floor", live.rules.floor.get(), remedy);
        }
        _ => {}
    }
    Some((plans, rate.flatten()))
}

fn plans(root: &mut Section<'_>) -> Option<Plans> {
    let dollars = |(months, cents)| Some(Plan { months, price: Price::Usd(UsdCents::new(cents)) });
    let standard = || STANDARD_PLANS.map(dollars).into();
    let given: Option<Vec<Option<Plan>>> = root.sections("plans", plan);
    let plans: Vec<Plan> = given.unwrap_or_else(standard).into_iter().collect::<Option<_>>()?;
    let remedy = "for example: one section [[plans]] with months = 1 and usd = \"3.00\"";
    Plans::new(plans).map_err(|wrong| root.problem("plans", &wrong.to_string(), remedy)).ok()
}

fn plan(section: &mut Section<'_>) -> Option<Plan> {
    let months = section.required("months", "3", number(1..=i64::from(MAX_MONTHS)));
    let usd = section.optional("usd", r#""8.55""#, dollars);
    let sats = section.optional("sats", "12000", sats);
    if section.has("usd") == section.has("sats") {
        let remedy = "for example: usd = \"8.55\", which needs a [rate]; or sats = 12000";
        section.problem("usd", "a plan has one price, either in dollars or in sats", remedy);
        return None;
    }
    Some(Plan { months: months?, price: usd.map(Price::Usd).or(sats.map(Price::Sats))? })
}

pub fn sats(value: &Value) -> Result<Sats, Invalid> {
    within_bounds(Sats::new(number(0..=i64::MAX)(value)?))
}

pub fn dollars(value: &Value) -> Result<UsdCents, Invalid> {
    let amount = match value {
        Value::Integer(whole) => UsdCents::parse_dollars(&whole.to_string()),
        value => text(value).and_then(UsdCents::parse_dollars),
    };
    let above_zero = amount.ok().filter(|amount| amount.get() > 0);
    above_zero.ok_or_else(|| Invalid::new("dollars and cents are expected, in quotes and above zero"))
}

/// The pinned rate is needed where no exchange is asked; beside exchanges it is one more source, or left out as a whole.
fn rate(section: &mut Section<'_>, now: Timestamp) -> Option<RateSource> {
    let keys = ["usd_per_btc", "as_of", "max_age"];
    let is_live = section.has("live");
    let live = section.optional_section("live", live::live);
    if is_live && !keys.iter().any(|key| section.has(key)) {
        section.left_out(&keys);
        return live::with(section, live.flatten()?, None);
    }
    let pinned = pinned(section, now)?;
    if is_live { live::with(section, live.flatten()?, Some(pinned)) } else { Some(RateSource::Pinned(pinned)) }
}

/// Reads every key, and only then gives up.
fn pinned(section: &mut Section<'_>, now: Timestamp) -> Option<PinnedRate> {
    let usd_per_btc = section.required("usd_per_btc", r#""100000""#, dollars);
    let as_of = section.required("as_of", r#""2026-11-22T12:00:00Z""#, |value| past_time(value, now));
    let max_age = section.required("max_age", r#""24h""#, duration("1m"..="366d"));
    let rate = Rate { cents_per_btc: usd_per_btc?.get(), source: "pinned".to_owned(), as_of: as_of? };
    Some(PinnedRate { rate, max_age: max_age? })
}

fn past_time(value: &Value, now: Timestamp) -> Result<Timestamp, Invalid> {
    let time = match value {
        Value::Datetime(time) => Timestamp::parse(&time.to_string()),
        value => Timestamp::parse(text(value)?),
    }
    .map_err(|_| Invalid::new("a time with its zone is expected"))?;
    if time > now { Err(Invalid::new("this time is in the future")) } else { Ok(time) }
}

fn refuse_impossible_sums(root: &mut Section<'_>, plans: &Plans, key: &str, cents_per_btc: u64, remedy: &str) {
    let rate = Rate { cents_per_btc, source: key.to_owned(), as_of: Timestamp::EPOCH };
    for plan in plans.iter() {
        if let Err(wrong) = quote(plan.price, Some(&rate)) {
            let what = format!("at this rate the plan of {} months cannot be sold: {wrong}", plan.months);
            root.problem(key, &what, remedy);
        }
    }
}
