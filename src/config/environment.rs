//! Settings from environment variables: `WIRETOLL_<SECTION>__<KEY>` replaces or adds a key of the file.
//!
//! Variables without `__` are not settings: container platforms set such ones by themselves (`WIRETOLL_PORT`).
//! An empty variable counts as unset, because that is how a compose file passes on one that nobody gave.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::problem::Problem;

const PREFIX: &str = "WIRETOLL_";

/// The variable that holds the instance key itself, the only one that is no key of the file.
pub const INSTANCE_KEY: &str = "WIRETOLL_INSTANCE_KEY";

/// `SECTION__INDEX__KEY`, and no setting lies deeper.
const DEEPEST: usize = 3;

/// The variables that are ours, sorted so that a report is the same at every run.
#[derive(Debug)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let ours = |(name, value): &(String, String)| name.starts_with(PREFIX) && !value.trim().is_empty();
        Self(variables.into_iter().filter(ours).collect())
    }

    pub fn instance_key(&self) -> Option<&str> {
        self.0.get(INSTANCE_KEY).map(String::as_str)
    }

    /// Writes the settings over those of the file.
    pub fn apply(&self, file: &mut Table, problems: &mut Vec<Problem>) {
        for (name, keys, value) in self.settings() {
            if keys.len() > DEEPEST || set(file, &keys, value).is_none() {
                let remedy = "for example: WIRETOLL_LND__ADDRESS; WIRETOLL_SERVERS__0__DOMAIN for a server of the file";
                problems.push(Problem::new(name, "names no place in the configuration", remedy));
            }
        }
    }

    /// Says at each problem which variable gave the value.
    pub fn attribute(&self, problems: &mut [Problem]) {
        let variables: BTreeMap<String, &str> =
            self.settings().map(|(name, keys, _)| (spelt_as_in_the_file(&keys), name)).collect();
        for problem in problems {
            problem.variable = variables.get(&problem.key).map(|name| (*name).to_owned());
        }
    }

    fn settings(&self) -> impl Iterator<Item = (&str, Vec<String>, &str)> {
        self.0.iter().filter_map(|(name, value)| {
            let setting = name.strip_prefix(PREFIX)?.to_ascii_lowercase();
            let keys: Vec<String> = setting.split("__").map(str::to_owned).collect();
            (keys.len() > 1).then_some((name.as_str(), keys, value.as_str()))
        })
    }
}

/// `None` where a key leads through something that is neither a section nor an entry of a list.
fn set(table: &mut Table, keys: &[String], value: &str) -> Option<()> {
    let (first, rest) = keys.split_first()?;
    if first.is_empty() {
        return None;
    }
    if rest.is_empty() {
        table.insert(first.clone(), Value::String(value.to_owned()));
        return Some(());
    }
    match table.entry(first.clone()).or_insert_with(|| Value::Table(Table::new())) {
        Value::Table(inner) => set(inner, rest, value),
        Value::Array(list) => {
            let (index, rest) = rest.split_first()?;
            set(list.get_mut(index.parse::<usize>().ok()?)?.as_table_mut()?, rest, value)
        }
        _ => None,
    }
}

/// `["servers", "0", "domain"]` is `servers[0].domain`.
fn spelt_as_in_the_file(keys: &[String]) -> String {
    let spelt = |key: &String| key.parse::<usize>().map_or(format!(".{key}"), |index| format!("[{index}]"));
    let path: String = keys.iter().map(spelt).collect();
    path.trim_start_matches('.').to_owned()
}
