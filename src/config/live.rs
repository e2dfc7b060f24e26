//! `[rate.live]`: the exchanges that are asked, and when they are believed.

use std::time::Duration;

use toml::Value;

use super::prices::dollars;
use super::section::Section;
use super::settings::millis;
use super::value::{duration, number, text};
use super::{LiveRates, LiveSource, PinnedRate, RateSource};
use crate::domain::Invalid;
use crate::domain::money::UsdCents;
use crate::domain::rate::{Exchange, RateRules};

const LEAST: i64 = 2;
const MAX_AGE: Duration = Duration::from_mins(10);
const MAX_DEVIATION_PERCENT: u32 = 3;
// A price that is off by ten passes neither while a bitcoin costs between 50,000 and 200,000 dollars.
const FLOOR: UsdCents = UsdCents::new(2_000_000);
const CEILING: UsdCents = UsdCents::new(50_000_000);

/// Reads every key, and only then gives up.
pub fn live(section: &mut Section<'_>) -> Option<LiveRates> {
    let chosen = section.required("sources", r#"["bitstamp", "coinbase", "kraken"]"#, exchanges);
    let at = |section: &mut Section<'_>, key, standard: &str| {
        section.optional(key, &format!("{standard:?}"), base_url).unwrap_or_else(|| standard.to_owned())
    };
    let urls = [
        (Exchange::Bitstamp, at(section, "bitstamp_url", "https://www.bitstamp.net")),
        (Exchange::Coinbase, at(section, "coinbase_url", "https://api.exchange.coinbase.com")),
        (Exchange::Kraken, at(section, "kraken_url", "https://api.kraken.com")),
    ];
    let rules = rules(section)?;
    let chosen = chosen?;
    let sources = urls.into_iter().filter(|(exchange, _)| chosen.contains(exchange));
    let sources = sources.map(|(exchange, url)| LiveSource { exchange, url }).collect();
    Some(LiveRates { sources, pinned: None, rules })
}

fn rules(section: &mut Section<'_>) -> Option<RateRules> {
    let least = section.optional("least", "2", number(1..=4)).unwrap_or(LEAST);
    let max_age = section.optional("max_age", r#""10m""#, duration("2m"..="1h")).unwrap_or(MAX_AGE);
    let deviation = section.optional("max_deviation_percent", "3", number(1..=20));
    let floor = section.optional("floor", r#""20000""#, dollars).unwrap_or(FLOOR);
    let ceiling = section.optional("ceiling", r#""500000""#, dollars).unwrap_or(CEILING);
    if floor >= ceiling {
        section.problem("floor", "not below the ceiling", "dollars for one bitcoin that are less than it ever costs");
        return None;
    }
    let max_deviation_percent = deviation.unwrap_or(MAX_DEVIATION_PERCENT);
    let least = usize::try_from(least).ok()?;
    Some(RateRules { least, max_age_millis: millis(max_age), max_deviation_percent, floor, ceiling })
}

/// With the pinned rate as one more source, where there is one.
pub fn with(rate: &mut Section<'_>, live: LiveRates, pinned: Option<PinnedRate>) -> Option<RateSource> {
    let sources = live.sources.len() + usize::from(pinned.is_some());
    if live.rules.least > sources {
        let what = format!("more than the {sources} sources that there are");
        rate.problem("live.least", &what, "name more sources, or need fewer of them");
        return None;
    }
    let implausible = |pinned: &PinnedRate| !live.rules.is_plausible(UsdCents::new(pinned.rate.cents_per_btc));
    if pinned.as_ref().is_some_and(implausible) {
        rate.problem(
            "usd_per_btc",
            "below floor or above ceiling of [rate.live]",
            "move floor or ceiling, or leave it out",
        );
        return None;
    }
    Some(RateSource::Live(LiveRates { pinned, ..live }))
}

fn exchanges(value: &Value) -> Result<Vec<Exchange>, Invalid> {
    let names: Vec<&str> = match value {
        Value::Array(list) => list.iter().map(text).collect::<Result<_, _>>()?,
        value => text(value)?.split(',').map(str::trim).collect(),
    };
    let known = || Exchange::ALL.map(Exchange::name).join(", ");
    let find = |name: &&str| Exchange::ALL.into_iter().find(|exchange| exchange.name() == *name);
    let found: Option<Vec<Exchange>> = names.iter().map(find).collect();
    let found = found.filter(|found| !found.is_empty());
    let mut found = found.ok_or_else(|| Invalid::new(format!("a list of exchanges is expected, of: {}", known())))?;
    found.sort_unstable();
    found.dedup();
    if found.len() == names.len() { Ok(found) } else { Err(Invalid::new("an exchange is named twice")) }
}

fn base_url(value: &Value) -> Result<String, Invalid> {
    let url = text(value)?;
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '@' | '\\');
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(is_plain) => {
            Ok(url.trim_end_matches('/').to_owned())
        }
        _ => Err(Invalid::new("the beginning of a URL is expected, with https://, without ? and #")),
    }
}
