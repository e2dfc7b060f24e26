//! What lists have in common: how many are shown, and how.

use clap::Args;
use serde_json::Value;

use super::output;
use super::table::table;

/// As much of a payment hash or a key as tells two apart.
const PREFIX: usize = 8;

#[derive(Debug, Args)]
pub struct Listing {
    /// At most so many, 1 to 1000.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// How payment hashes are shown.
#[derive(Debug, Clone, Copy, Args)]
pub struct Hashes {
    /// Whole payment hashes, not their beginnings: who knows one may claim its order.
    #[arg(long)]
    full_hash: bool,
}

/// What can be listed, in `N` columns.
pub trait Listed<const N: usize> {
    const HEADING: [&'static str; N];

    fn row(&self) -> [String; N];
    fn as_json(&self) -> Value;
    /// The option that asks for those after this one.
    fn option_for_more(&self) -> String;
}

impl Listing {
    pub fn print<const N: usize, T: Listed<N>>(&self, found: &[T]) -> anyhow::Result<()> {
        let last = found.last().filter(|_| found.len() == self.limit as usize);
        let more = last.map(|last| format!("there may be more: {}", last.option_for_more()));
        if self.json {
            let found: Vec<_> = found.iter().map(Listed::as_json).collect();
            output::print(serde_json::to_string_pretty(&found)?)?;
            more.iter().for_each(output::note);
            return Ok(());
        }
        let rows: Vec<_> = found.iter().map(Listed::row).collect();
        output::print(table(T::HEADING, &rows).join("\n"))?;
        more.map_or(Ok(()), output::print)
    }
}

/// One with the way in which its hash is shown.
#[derive(Debug)]
pub struct Hashed<T> {
    pub one: T,
    pub hashes: Hashes,
}

impl Hashes {
    pub fn with_each<T>(self, found: Vec<T>) -> Vec<Hashed<T>> {
        found.into_iter().map(|one| Hashed { one, hashes: self }).collect()
    }

    pub fn show(self, whole: &str) -> String {
        if self.full_hash { whole.to_owned() } else { beginning(whole) }
    }
}

pub fn beginning(whole: &str) -> String {
    whole.chars().take(PREFIX).collect()
}
