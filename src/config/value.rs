//! Parsers of single values. Numbers, truth values and lists may also be text: the environment knows nothing else.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use toml::Value;

use crate::domain::Invalid;

/// Clients and config files show names in one line.
const LONGEST_NAME: usize = 64;

pub fn text(value: &Value) -> Result<&str, Invalid> {
    value
        .as_str()
        .ok_or_else(|| Invalid::new(format!("text in quotes is expected; this is of type {}", value.type_str())))
}

/// One line of visible text: it is shown to customers, also within files where a line break would begin a command.
pub fn name(value: &Value) -> Result<String, Invalid> {
    let text = text(value)?;
    let breaks_a_line = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if text.trim().is_empty() || text.chars().count() > LONGEST_NAME || text.contains(breaks_a_line) {
        return Err(Invalid::new(format!("one line of 1 to {LONGEST_NAME} characters is expected")));
    }
    Ok(text.to_owned())
}

pub fn path(value: &Value) -> Result<PathBuf, Invalid> {
    let text = text(value)?;
    if text.is_empty() || text.contains(char::is_control) {
        return Err(Invalid::new("the path of a file is expected"));
    }
    Ok(PathBuf::from(text))
}

/// Anything with a `FromStr` whose own message would not help.
pub fn parsed<T: FromStr>(expected: &'static str) -> impl Fn(&Value) -> Result<T, Invalid> {
    move |value| text(value)?.parse().map_err(|_| Invalid::new(expected))
}

/// One of a few words.
pub fn one_of<T: Copy>(choices: &'static [(&'static str, T)]) -> impl Fn(&Value) -> Result<T, Invalid> {
    move |value| {
        let text = text(value)?;
        let found = choices.iter().find(|(name, _)| *name == text);
        let names = || choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        found.map(|(_, choice)| *choice).ok_or_else(|| Invalid::new(format!("not one of {}", names())))
    }
}

pub fn flag(value: &Value) -> Result<bool, Invalid> {
    match value {
        Value::Boolean(flag) => Some(*flag),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
    .ok_or_else(|| Invalid::new("true or false is expected"))
}

/// A whole number within bounds.
pub fn number<N: TryFrom<i64>>(bounds: RangeInclusive<i64>) -> impl Fn(&Value) -> Result<N, Invalid> {
    move |value| {
        let number = match value {
            Value::Integer(number) => Some(*number),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let within = number.filter(|number| bounds.contains(number)).and_then(|number| N::try_from(number).ok());
        let expected = || format!("a whole number from {} to {} is expected", bounds.start(), bounds.end());
        within.ok_or_else(|| Invalid::new(expected()))
    }
}

/// A length of time within bounds, such as `15m`.
pub fn duration(bounds: RangeInclusive<&'static str>) -> impl Fn(&Value) -> Result<Duration, Invalid> {
    move |value| {
        let (shortest, longest) = (parse_duration(bounds.start()), parse_duration(bounds.end()));
        let found = parse_duration(text(value)?);
        let within = found.filter(|found| shortest <= Some(*found) && Some(*found) <= longest);
        let expected = || {
            let (shortest, longest) = (bounds.start(), bounds.end());
            format!("a duration from {shortest} to {longest} is expected: a number and s, m, h or d")
        };
        within.ok_or_else(|| Invalid::new(expected()))
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    let number = number.bytes().all(|b| b.is_ascii_digit()).then(|| number.parse::<u64>().ok())??;
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// A list of what a parser of one reads.
pub fn list<T>(parse: impl Fn(&Value) -> Result<T, Invalid>) -> impl Fn(&Value) -> Result<Vec<T>, Invalid> {
    move |value| match value {
        Value::Array(list) => list.iter().map(&parse).collect(),
        value => text(value)?.split(',').map(|item| parse(&Value::String(item.trim().to_owned()))).collect(),
    }
}

/// Addresses and networks: a list, or text with commas between them. `everybody` says why a network of all addresses is
/// none of them.
pub fn networks(everybody: &'static str) -> impl Fn(&Value) -> Result<Vec<IpNet>, Invalid> {
    move |value| match value {
        Value::Array(list) => list.iter().map(|item| network(text(item)?, everybody)).collect(),
        value => text(value)?.split(',').map(|item| network(item.trim(), everybody)).collect(),
    }
}

fn network(text: &str, everybody: &'static str) -> Result<IpNet, Invalid> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let network: IpNet =
        text.parse().or_else(|_| address()).map_err(|_| Invalid::new("a list of addresses or networks is expected"))?;
    if network.prefix_len() == 0 { Err(Invalid::new(everybody)) } else { Ok(network) }
}
