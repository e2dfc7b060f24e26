//! Reads one section of the file key by key, and goes on after a mistake so that all of them are found.
//!
//! A parser gives a typed value or says what was expected; a section adds where, and an example. What nobody has
//! asked for when a section is left is an unknown key.

use toml::{Table, Value};

use super::problem::Problem;
use crate::domain::Invalid;

/// Turns one value of the file into what it stands for; any `Fn(&Value) -> Result<T, Invalid>` does.
pub trait Parse<T>: Fn(&Value) -> Result<T, Invalid> {}

impl<T, F: Fn(&Value) -> Result<T, Invalid>> Parse<T> for F {}

/// A table of the file, with its place in it.
#[derive(Debug)]
pub struct Section<'p> {
    path: String,
    values: &'p Table,
    asked: Vec<&'static str>,
    problems: &'p mut Vec<Problem>,
}

/// Reads the whole file.
pub fn read_root<T>(values: &Table, problems: &mut Vec<Problem>, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
    Section::visit(String::new(), values, problems, read)
}

impl Section<'_> {
    /// A value that must be there.
    pub fn required<T>(&mut self, key: &'static str, example: &str, parse: impl Parse<T>) -> Option<T> {
        if !self.has(key) {
            self.asked.push(key);
            self.problem(key, "missing", &format!("for example: {key} = {example}"));
            return None;
        }
        self.optional(key, example, parse)
    }

    /// A value that may be left out; `None` also where it is wrong, which is then a problem.
    pub fn optional<T>(&mut self, key: &'static str, example: &str, parse: impl Parse<T>) -> Option<T> {
        self.asked.push(key);
        match parse(self.values.get(key)?) {
            Ok(value) => Some(value),
            Err(Invalid(what)) => {
                self.problem(key, &what, &format!("for example: {key} = {example}"));
                None
            }
        }
    }

    /// A section within this one; one that is left out is read as empty, so that its required keys are missed.
    pub fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> Option<T> {
        if self.has(key) {
            return self.optional_section(key, read);
        }
        self.asked.push(key);
        Some(Section::visit(self.at(key), &Table::new(), self.problems, read))
    }

    /// A section that may be left out as a whole.
    pub fn optional_section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> Option<T> {
        self.asked.push(key);
        let Some(values) = self.values.get(key)?.as_table() else {
            self.problem(key, "a section is expected here", &format!("for example: [{}]", self.at(key)));
            return None;
        };
        Some(Section::visit(self.at(key), values, self.problems, read))
    }

    /// A list of sections; `None` where it is left out or is no list.
    pub fn sections<T>(&mut self, key: &'static str, read: impl Fn(&mut Section<'_>) -> T) -> Option<Vec<T>> {
        self.asked.push(key);
        let value = self.values.get(key)?;
        let Some(tables) = value.as_array().and_then(|list| list.iter().map(Value::as_table).collect()) else {
            self.problem(key, "a list of sections is expected here", &format!("for example: [[{}]]", self.at(key)));
            return None;
        };
        let (tables, path): (Vec<&Table>, _) = (tables, self.at(key));
        let visit = |(index, values)| Section::visit(format!("{path}[{index}]"), values, self.problems, &read);
        Some(tables.into_iter().enumerate().map(visit).collect())
    }

    /// Keys that could be here, and that nobody asks for because they are not.
    pub fn left_out(&mut self, keys: &[&'static str]) {
        self.asked.extend(keys);
    }

    /// Whether the file gives this key, rightly or wrongly.
    pub fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// What the file gives for this key, unread.
    pub fn written(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// Notes a mistake that a parser cannot see, such as two keys that contradict each other.
    pub fn problem(&mut self, key: &str, what: &str, remedy: &str) {
        let problem = Problem::new(self.at(key), what, remedy);
        self.problems.push(problem);
    }

    fn visit<T>(
        path: String,
        values: &Table,
        problems: &mut Vec<Problem>,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        let mut section = Section { path, values, asked: Vec::new(), problems };
        let result = read(&mut section);
        section.refuse_unknown_keys();
        result
    }

    fn refuse_unknown_keys(mut self) {
        let values = self.values;
        let unknown: Vec<_> = values.keys().filter(|key| !self.asked.contains(&key.as_str())).collect();
        for key in unknown {
            let suggestion =
                nearest(key, &self.asked).map(|known| format!("did you mean {known}? ")).unwrap_or_default();
            let remedy = format!("{suggestion}the keys here are: {}", self.asked.join(", "));
            self.problem(key, "unknown key", &remedy);
        }
    }

    fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// The known key that was probably meant: at most half of it is different.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let distance = |known: &str| strsim::damerau_levenshtein(known, key);
    known.iter().copied().min_by_key(|known| distance(known)).filter(|known| distance(known) * 2 <= known.len())
}
