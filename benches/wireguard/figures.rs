//! What was measured, as a table.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug, Default)]
pub struct Figures(Vec<Row>);

#[derive(Debug)]
struct Row {
    name: String,
    measured: String,
    floor: String,
    ratio: Option<f64>,
    target: String,
}

/// How a figure compares.
pub enum Target {
    /// Of measured to floor, at most.
    AtMost(f64),
    /// Of measured to floor, at least.
    AtLeast(f64),
    /// More than the floor, in milliseconds, at most.
    MoreBy(f64),
    /// In milliseconds, whatever the floor is.
    Within(f64),
    None,
}

impl Figures {
    /// Times, the shorter the better.
    pub fn times(&mut self, name: impl Into<String>, measured: Duration, floor: Duration, target: &Target) {
        let (measured, floor) = (millis(measured), millis(floor));
        self.add(name.into(), format!("{measured:.2} ms"), format!("{floor:.2} ms"), (measured, floor), target);
    }

    /// Rates, the more the better.
    pub fn rates(&mut self, name: impl Into<String>, unit: &str, measured: f64, floor: f64, target: &Target) {
        self.add(name.into(), format!("{measured:.0} {unit}"), format!("{floor:.0} {unit}"), (measured, floor), target);
    }

    fn add(&mut self, name: String, measured: String, floor: String, values: (f64, f64), target: &Target) {
        let ratio = values.0 / values.1;
        let verdict = |met: bool| if met { "met" } else { "MISSED" };
        let target = match target {
            Target::AtMost(most) => format!("at most {most:.1} of it: {}", verdict(ratio <= *most)),
            Target::AtLeast(least) => format!("at least {least} of it: {}", verdict(ratio >= *least)),
            Target::MoreBy(most) => {
                let more = values.0 - values.1;
                format!("at most {most:.0} ms more, it is {more:.2}: {}", verdict(more <= *most))
            }
            Target::Within(most) => format!("within {most:.0} ms: {}", verdict(values.0 <= *most)),
            Target::None => String::new(),
        };
        eprintln!("{name}: {measured}, floor {floor}, {ratio:.2} {target}");
        self.0.push(Row { name, measured, floor, ratio: Some(ratio), target });
    }

    pub fn table(&self) -> String {
        let mut text = String::from("| figure | measured | by hand | ratio | target |\n|---|---|---|---|---|\n");
        for row in &self.0 {
            let ratio = row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
            let _ = writeln!(text, "| {} | {} | {} | {ratio} | {} |", row.name, row.measured, row.floor, row.target);
        }
        text
    }
}

pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// How long it took, and what came of it.
pub async fn timed<T>(work: impl Future<Output = T>) -> (Duration, T) {
    let began = Instant::now();
    let done = work.await;
    (began.elapsed(), done)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
