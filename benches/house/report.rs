//! One table of everything that was measured, for the terminal and for `docs/BENCHMARKS.md`.

use std::fmt::Write as _;

/// One figure beside its floor.
#[derive(Debug, Clone)]
pub struct Line {
    /// Which figure of the issue it belongs to, such as `a`.
    pub figure: char,
    pub what: String,
    pub measured: String,
    pub floor: String,
    /// The figure as a ratio to its floor.
    pub ratio: f64,
    pub target: Option<Target>,
}

/// What a line has to reach.
#[derive(Debug, Clone)]
pub struct Target {
    pub text: String,
    /// How far it is reached: 1 is exactly, more is better.
    pub reached: f64,
}

impl Target {
    pub fn at_least(wanted: f64, value: f64, unit: &str) -> Self {
        Self { text: format!("at least {wanted}{unit}"), reached: value / wanted }
    }

    pub fn at_most(wanted: f64, value: f64, unit: &str) -> Self {
        Self { text: format!("at most {wanted}{unit}"), reached: wanted / value }
    }

    pub fn is_met(&self) -> bool {
        self.reached >= 1.0
    }
}

impl Line {
    fn verdict(&self) -> &'static str {
        match &self.target {
            None => "",
            Some(target) if target.is_met() => "met",
            Some(_) => "MISSED",
        }
    }

    fn cells(&self) -> [String; 7] {
        let target = self.target.as_ref().map_or_else(String::new, |target| target.text.clone());
        [
            format!("({})", self.figure),
            self.what.clone(),
            self.measured.clone(),
            self.floor.clone(),
            format!("{:.2}", self.ratio),
            target,
            self.verdict().to_owned(),
        ]
    }
}

const HEADINGS: [&str; 7] = ["", "figure", "measured", "floor", "ratio", "target", ""];

/// The table, in columns; it is Markdown, too.
pub fn table(lines: &[Line]) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(lines.iter().map(Line::cells));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let mut text = String::new();
    for (n, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
        if n == 0 {
            for width in widths {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            }
            text.push_str("|\n");
        }
    }
    text
}

/// The middle of some values; of two, the lower.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// `1,000,000`.
pub fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
