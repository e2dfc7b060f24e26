//! `docs/BENCHMARKS.md` from `page.md`, and its plot.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use sqlx::{AnyConnection, Connection as _};

use crate::report::{Line, table, thousands};
use crate::{Bench, progress};

/// The page; the prose is written by hand, words in braces are filled in.
const PAGE: &str = include_str!("page.md");
/// Of another benchmark, `benches/wireguard`, and written by hand after its runs.
const WIREGUARD: &str = include_str!("wireguard.md");
/// Its end: what was found out about the targets that are missed. To be looked through after each whole run.
const MISSED: &str = include_str!("missed.md");

const ROW_HEIGHT: usize = 24;
const LABELS_WIDTH: usize = 470;
const BARS_WIDTH: usize = 360;
/// Bars end here, however far a target was passed.
const MOST: f64 = 4.0;

/// Replaces page and plot by what was measured now.
pub async fn write(bench: &Bench, lines: &[Line]) -> anyhow::Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let cores = std::thread::available_parallelism()?.to_string();
    let page = PAGE
        .replace("{table}", table(lines).trim_end())
        .replace("{cores}", &cores)
        .replace("{memory}", &memory()?)
        .replace("{kernel}", &kernel()?)
        .replace("{versions}", &versions(bench).await?)
        .replace("{wireguard}", WIREGUARD.trim_end())
        .replace("{missed}", MISSED.trim_end())
        .replace("{orders}", &thousands(usize::try_from(bench.orders)?))
        .replace("{repeats}", &bench.repeats.to_string())
        .replace("{seconds}", &bench.seconds.to_string())
        .replace("{connections}", &bench.connections.to_string());
    std::fs::write(docs.join("BENCHMARKS.md"), page)?;
    std::fs::write(docs.join("benchmarks.svg"), plot(lines))?;
    progress("docs/BENCHMARKS.md is written");
    Ok(())
}

/// Of the program, of what it was built with, and of the databases.
async fn versions(bench: &Bench) -> anyhow::Result<String> {
    let (program, rustc) = (first_line(&bench.program)?, first_line("rustc".as_ref())?);
    let sqlite = answer("sqlite::memory:", "SELECT sqlite_version()").await?;
    let postgres = match std::env::var("BENCH_POSTGRES_URL") {
        Ok(url) => format!(" and Postgres {}", answer(&url, "SHOW server_version").await?),
        Err(_) => String::new(),
    };
    Ok(format!("{program}, built with {rustc}, on SQLite {sqlite}{postgres}"))
}

/// What a program says when it is asked for its version.
fn first_line(program: &Path) -> anyhow::Result<String> {
    let said = Command::new(program).arg("--version").output()?;
    let text = String::from_utf8(said.stdout)?;
    Ok(text.lines().next().with_context(|| format!("{} tells no version", program.display()))?.to_owned())
}

async fn answer(url: &str, question: &'static str) -> anyhow::Result<String> {
    let mut connection = AnyConnection::connect(url).await?;
    let answer = sqlx::query_scalar(question).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(answer)
}

/// All there is, in GB.
fn memory() -> anyhow::Result<String> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let kilobytes: u64 = text.split_whitespace().nth(1).context("/proc tells no memory")?.parse()?;
    Ok((kilobytes / 1_048_576).to_string())
}

/// Its version without what a distribution adds, such as `6.1`.
fn kernel() -> anyhow::Result<String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(release.split('.').take(2).collect::<Vec<_>>().join("."))
}

/// A bar for each target: how far it is reached, with a line where it is met.
fn plot(lines: &[Line]) -> String {
    let rows: Vec<_> = lines.iter().filter_map(|line| Some((line, line.target.as_ref()?))).collect();
    let (width, height) = (LABELS_WIDTH + BARS_WIDTH + 70, rows.len() * ROW_HEIGHT + 40);
    let met_at = LABELS_WIDTH + bar(1.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>How far each target is reached</title>\n\
         <style>text {{ fill: #24292f }} .met {{ fill: #2f81b7 }} .missed {{ fill: #c4662b }} .line {{ stroke: #24292f }}\n\
         @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} .line {{ stroke: #e6edf3 }} }}</style>\n\
         <text x=\"{met_at}\" y=\"14\" text-anchor=\"middle\">target</text>\n"
    );
    for (n, (line, target)) in rows.iter().enumerate() {
        let top = 24 + n * ROW_HEIGHT;
        let (text_y, class) = (top + 14, if target.is_met() { "met" } else { "missed" });
        let (length, label_x) = (bar(target.reached), LABELS_WIDTH - 8);
        let value_x = LABELS_WIDTH + length + 6;
        let _ = writeln!(
            svg,
            "<text x=\"{label_x}\" y=\"{text_y}\" text-anchor=\"end\">({}) {}</text>\n\
             <rect class=\"{class}\" x=\"{LABELS_WIDTH}\" y=\"{top}\" width=\"{length}\" height=\"18\"/>\n\
             <text x=\"{value_x}\" y=\"{text_y}\">{:.2}</text>",
            line.figure, line.what, target.reached,
        );
    }
    let bottom = 24 + rows.len() * ROW_HEIGHT;
    let _ = write!(
        svg,
        "<line class=\"line\" x1=\"{met_at}\" y1=\"20\" x2=\"{met_at}\" y2=\"{bottom}\" stroke-dasharray=\"4 3\"/>\n</svg>\n"
    );
    svg
}

/// How long the bar is.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "pixels of a plot"
)]
fn bar(reached: f64) -> usize {
    (reached.clamp(0.0, MOST) / MOST * BARS_WIDTH as f64) as usize
}
