//! What `order list` and `payment list` have in common: how many are shown, and how.

use clap::Args;
use serde_json::Value;

use super::output;
use super::table::table;

/// As much of a payment hash as tells two apart.
const PREFIX: usize = 8;

#[derive(Debug, Args)]
pub struct Listing {
    /// At most so many, 1 to 1000.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Whole payment hashes, not their beginnings: who knows one may claim its order.
    #[arg(long)]
    full_hash: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What can be listed, in `N` columns.
pub trait Listed<const N: usize> {
    const HEADING: [&'static str; N];

    fn row(&self, listing: &Listing) -> [String; N];
    fn as_json(&self, listing: &Listing) -> Value;
    /// The option that asks for those after this one.
    fn option_for_more(&self) -> String;
}

impl Listing {
    pub fn print<const N: usize, T: Listed<N>>(&self, found: &[T]) -> anyhow::Result<()> {
        if self.json {
            let found: Vec<_> = found.iter().map(|one| one.as_json(self)).collect();
            return output::print(serde_json::to_string_pretty(&found)?);
        }
        let rows: Vec<_> = found.iter().map(|one| one.row(self)).collect();
        output::print(table(T::HEADING, &rows).join("\n"))?;
        let last = found.last().filter(|_| found.len() == self.limit as usize);
        last.map_or(Ok(()), |last| output::print(format_args!("there may be more: {}", last.option_for_more())))
    }

    pub fn hash(&self, whole: &str) -> String {
        if self.full_hash { whole.to_owned() } else { whole.chars().take(PREFIX).collect() }
    }
}
