//! How fast the house is: `./scripts/bench.sh` builds it, runs it and keeps what it says in `docs/BENCHMARKS.md`.
//!
//! The released program is measured as an operator runs it, in a process of its own: real HTTP, real SQLite with
//! `synchronous=FULL` or Postgres, and the simulated node over TLS, which runs in this process beside the load. Each
//! figure stands beside a floor that is measured in the same run, in turn with it, so that the machine counts for little.
//!
//! | file | what it is |
//! |---|---|
//! | `checks.rs` | (a) checks by payment hash |
//! | `creates.rs` | (b) orders against `AddInvoice` alone |
//! | `settlements.rs` | (c) from settlement to `paid` |
//! | `starts.rs` | (d) time and memory of a start |
//! | `figures.rs` | which of them on which database: the lines of the table, with (e) growth and (f) Postgres, replicas |
//! | `shop.rs`, `fill.rs` | what is measured: a shop with a million orders |
//! | `process.rs`, `load.rs`, `floor.rs` | servers as processes, the load on them, the bare server |
//! | `report.rs`, `document.rs` | the table, and the page with its plot |

#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for developers: it ends where something is not as it should be"
)]

mod checks;
mod creates;
mod document;
mod figures;
mod fill;
mod floor;
mod load;
mod process;
mod report;
mod settlements;
mod shop;
mod starts;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use load::Load;

/// Measures the service against floors of the same run and prints one table.
///
/// Without options everything is measured, which takes about half an hour, and docs/BENCHMARKS.md is written. With
/// fewer figures or orders only the table is printed, unless --write is given:
///
///   ./scripts/bench.sh --figure a --orders 100000 --repeats 1
#[derive(Debug, Parser)]
#[command(name = "bench.sh", verbatim_doc_comment)]
struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    size: Size,
    /// Cargo says this when it runs a benchmark, and not when it only tests that everything builds.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Args)]
struct Size {
    /// Measures only this figure, a to f; may be repeated. a: checks, b: creates, c: settlements, d: starts,
    /// e: growth from a thousand orders, f: Postgres and two replicas.
    #[arg(long, value_name = "LETTER", value_parser = figure)]
    figure: Vec<char>,
    /// Orders that were placed before; a tenth of them is pending.
    #[arg(long, value_name = "COUNT", default_value_t = ORDERS, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    orders: u32,
    /// Rounds of each measurement, of which the median counts.
    #[arg(long, value_name = "COUNT", default_value_t = REPEATS, value_parser = clap::value_parser!(u32).range(1..=99))]
    repeats: u32,
    /// How long one measurement lasts.
    #[arg(long, value_name = "SECONDS", default_value_t = SECONDS, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Connections that ask at a time.
    #[arg(long, value_name = "COUNT", default_value_t = CONNECTIONS, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections: u32,
    /// Writes docs/BENCHMARKS.md although less than everything is measured; the page says how much.
    #[arg(long)]
    write: bool,
    /// Measures this build of wiretoll, such as one of an earlier commit, instead of the one made now.
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_wiretoll"), hide_default_value = true)]
    program: PathBuf,
}

const ORDERS: u32 = 1_000_000;
const REPEATS: u32 = 3;
const SECONDS: u32 = 5;
const CONNECTIONS: u32 = 32;

#[derive(Debug, Subcommand)]
enum Part {
    /// The bare server that is the floor; the benchmark starts it by itself.
    #[command(hide = true)]
    Floor {
        #[arg(long)]
        port: u16,
        #[arg(long)]
        body_size: usize,
    },
}

/// What every measurement needs to know.
#[derive(Debug)]
pub struct Bench {
    pub folder: PathBuf,
    pub program: PathBuf,
    pub figures: Vec<char>,
    pub orders: u32,
    pub repeats: u32,
    pub seconds: u32,
    pub connections: u32,
}

impl Bench {
    fn new(size: &Size) -> anyhow::Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
        std::fs::create_dir_all(&folder)?;
        let figures = if size.figure.is_empty() { ('a'..='f').collect() } else { size.figure.clone() };
        let &Size { orders, repeats, seconds, connections, .. } = size;
        let program = size.program.canonicalize().with_context(|| format!("no program {}", size.program.display()))?;
        Ok(Self { folder, program, figures, orders, repeats, seconds, connections })
    }

    pub fn load(&self) -> Load {
        Load { connections: self.connections, duration: Duration::from_secs(self.seconds.into()) }
    }

    pub fn wants(&self, figure: char) -> bool {
        self.figures.contains(&figure)
    }

    /// Whether it is all of it, at full size: what the page in `docs` is made of.
    fn is_whole(&self) -> bool {
        self.figures.len() == 6 && self.orders == ORDERS && self.repeats >= REPEATS && self.seconds >= SECONDS
    }
}

fn figure(text: &str) -> Result<char, String> {
    match text.parse() {
        Ok(letter @ 'a'..='f') => Ok(letter),
        _ => Err("the figures are a, b, c, d, e and f".to_owned()),
    }
}

/// Tells what is done, while the table is not there yet.
pub fn progress(text: &str) {
    eprintln!("{text}");
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.part.is_none() && !options.bench {
        println!("nothing is measured by `cargo test`: run ./scripts/bench.sh");
        return ExitCode::SUCCESS;
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(Part::Floor { port, body_size }) = options.part {
        return actix_web::rt::System::new().block_on(floor::serve(port, body_size));
    }
    sqlx::any::install_default_drivers();
    let bench = Bench::new(&options.size)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let lines = runtime.block_on(figures::measure(&bench))?;
    println!("{}", report::table(&lines));
    if options.size.write || bench.is_whole() {
        runtime.block_on(document::write(&bench, &lines))?;
    }
    Ok(())
}
