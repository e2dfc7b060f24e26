//! Which figure is measured on which database, and what the table says of it.

use std::time::Duration;

use crate::checks::{self, Against, Checks};
use crate::creates::{self, AtOnce, SLOW_NODE, Serial};
use crate::process::Server;
use crate::report::{Line, Target, thousands};
use crate::settlements::{self, Settlements};
use crate::shop::{Engine, Node, Shop};
use crate::starts::{self, Starts};
use crate::{Bench, progress};

/// What (e) compares with.
const FEW: u32 = 1_000;

/// (a) to (c) on one database.
#[derive(Debug)]
struct Measured {
    name: String,
    checks: Option<Checks>,
    at_once: Option<AtOnce>,
    serial: Option<Serial>,
    settlements: Option<Settlements>,
}

/// The two nodes: one that answers at once, and one whose disk is slow.
struct Nodes {
    fast: Node,
    slow: Node,
}

/// Measures what is wanted; one line of the table for each figure.
pub async fn measure(bench: &Bench) -> anyhow::Result<Vec<Line>> {
    let nodes = Nodes {
        fast: Node::start(&bench.folder.join("node"), Duration::ZERO).await?,
        slow: Node::start(&bench.folder.join("slow-node"), SLOW_NODE).await?,
    };
    let mut lines = Vec::new();
    let many = format!("SQLite, {}", count(bench.orders));
    let shop = open(bench, &many, "sqlite", Engine::Sqlite, &nodes, bench.orders).await?;
    if bench.wants('d') {
        let empty = open(bench, "SQLite, empty", "empty", Engine::Sqlite, &nodes, 0).await?;
        lines.extend(start_lines("empty", &starts::measure(bench, "empty", &empty, &nodes.fast).await?, 100.0, 20.0));
        let full = starts::measure(bench, &many, &shop, &nodes.fast).await?;
        lines.extend(start_lines(&many, &full, 2000.0, 100.0));
    }
    let sqlite = on_one(bench, &many, &shop, &nodes, 1).await?;
    lines.extend(sqlite.lines(true));
    if bench.wants('e') {
        let few = format!("SQLite, {}", count(FEW));
        let shop = open(bench, &few, "sqlite-few", Engine::Sqlite, &nodes, FEW).await?;
        let few = on_one(bench, &few, &shop, &nodes, 1).await?;
        lines.extend(few.lines(false));
        lines.extend(growth(&few, &sqlite));
    }
    if bench.wants('f') {
        let name = format!("Postgres, {}", count(bench.orders));
        let shop = open(bench, &name, "postgres", Engine::Postgres, &nodes, bench.orders).await?;
        lines.extend(on_one(bench, &name, &shop, &nodes, 1).await?.lines(false));
        lines.extend(on_one(bench, &format!("{name}, two replicas"), &shop, &nodes, 2).await?.lines(false));
    }
    lines.sort_by_key(|line| line.figure);
    Ok(lines)
}

async fn open(
    bench: &Bench,
    name: &str,
    folder: &str,
    engine: Engine,
    nodes: &Nodes,
    orders: u32,
) -> anyhow::Result<Shop> {
    progress(&format!("filling: {name} orders"));
    let began = tokio::time::Instant::now();
    let shop = Shop::open(bench, folder, engine, &nodes.fast, orders).await?;
    progress(&format!("filled in {:.0} s", began.elapsed().as_secs_f64()));
    Ok(shop)
}

/// (a), (c) and (b) on one database, in this order, because (b) leaves many open orders behind.
async fn on_one(bench: &Bench, name: &str, shop: &Shop, nodes: &Nodes, replicas: usize) -> anyhow::Result<Measured> {
    let mut measured = Measured { name: name.to_owned(), checks: None, at_once: None, serial: None, settlements: None };
    let servers = serve(shop, &nodes.fast, replicas).await?;
    settlements::sell_one(&nodes.fast, &servers).await?;
    if bench.wants('a') {
        measured.checks = Some(checks::measure(bench, name, shop, &servers).await?);
    }
    if bench.wants('c') {
        measured.settlements = Some(settlements::measure(bench, name, &nodes.fast, &servers).await?);
    }
    if bench.wants('b') {
        measured.at_once = Some(creates::at_once(bench, name, shop, &nodes.fast, &servers).await?);
        drop(servers);
        let servers = serve(shop, &nodes.slow, replicas).await?;
        measured.serial = Some(creates::serial(bench, name, shop, &nodes.slow, &servers).await?);
    }
    Ok(measured)
}

async fn serve(shop: &Shop, node: &Node, replicas: usize) -> anyhow::Result<Vec<Server>> {
    let mut servers = Vec::new();
    for _ in 0..replicas {
        servers.push(shop.serve(node).await?);
    }
    Ok(servers)
}

fn count(orders: u32) -> String {
    thousands(usize::try_from(orders).unwrap_or(usize::MAX))
}

impl Measured {
    /// The lines of (a) to (c); of another database than the main one they belong to (e) or (f) and have no target.
    fn lines(&self, is_main: bool) -> Vec<Line> {
        let mut lines = self.check_lines();
        lines.extend(self.create_lines());
        lines.extend(self.settlement_line());
        if !is_main {
            for line in &mut lines {
                line.figure = if self.name.starts_with("SQLite") { 'e' } else { 'f' };
                line.target = None;
            }
        }
        lines
    }

    fn check_lines(&self) -> Vec<Line> {
        let Some(checks) = &self.checks else { return Vec::new() };
        let mut lines = Vec::new();
        for (what, against, wanted) in [("open orders", &checks.open, 0.8), ("all orders", &checks.all, 0.4)] {
            let (service, floor) = against.both(|round| round.per_second);
            let ratio = against.throughput();
            lines.push(Line {
                figure: 'a',
                what: format!("checks of {what}, {}", self.name),
                measured: format!("{service:.0}/s"),
                floor: format!("{floor:.0}/s"),
                ratio,
                target: Some(Target::at_least(wanted, ratio, " of the floor")),
            });
            let (service, floor) = against.processor();
            lines.push(Line {
                figure: 'a',
                what: format!("their processor time in the server, {}", self.name),
                measured: format!("{service:.1} us"),
                floor: format!("{floor:.1} us"),
                ratio: service / floor,
                target: None,
            });
        }
        let (service, floor) = checks.open.both(crate::load::Measured::p99);
        let ratio = checks.open.p99();
        lines.push(Line {
            figure: 'a',
            what: format!("p99 of checks of open orders, {}", self.name),
            measured: format!("{service:.2} ms"),
            floor: format!("{floor:.2} ms"),
            ratio,
            target: Some(Target::at_most(3.0, ratio, "x the floor")),
        });
        lines
    }

    fn create_lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        if let Some(serial) = &self.serial {
            let ((service, raw), ratio) = (serial.rates(), serial.throughput());
            lines.push(Line {
                figure: 'b',
                what: format!("creates, serial node of 10 ms, {}", self.name),
                measured: format!("{service:.1}/s"),
                floor: format!("{raw:.1}/s"),
                ratio,
                target: Some(Target::at_least(0.95, ratio, " of AddInvoice")),
            });
            let ((service, raw), added) = (serial.alone(), serial.added());
            lines.push(Line {
                figure: 'b',
                what: format!("a create alone, median, {}", self.name),
                measured: format!("{service:.2} ms"),
                floor: format!("{raw:.2} ms"),
                ratio: service / raw,
                target: Some(Target::at_most(2.0, added, &format!(" ms more; it is {added:.2}"))),
            });
        }
        if let Some(at_once) = &self.at_once {
            let (service, raw) = at_once.rates();
            lines.push(Line {
                figure: 'b',
                what: format!("creates, node that answers at once, {}", self.name),
                measured: format!("{service:.0}/s"),
                floor: format!("{raw:.0}/s"),
                ratio: at_once.throughput(),
                target: Some(Target::at_least(2000.0, service, "/s")),
            });
        }
        lines
    }

    fn settlement_line(&self) -> Option<Line> {
        let settlements = self.settlements.as_ref()?;
        let ((visible, flush), (median, _)) = (settlements.p99(), settlements.median());
        Some(Line {
            figure: 'c',
            what: format!("settlement to paid in a check, p99 at 200/s, {}", self.name),
            measured: format!("{visible:.1} ms (median {median:.1})"),
            floor: format!("{flush:.2} ms, one page flushed"),
            ratio: visible / flush,
            target: Some(Target::at_most(25.0, visible, " ms")),
        })
    }
}

fn start_lines(name: &str, starts: &Starts, most_ms: f64, most_megabytes: f64) -> [Line; 3] {
    let ((ready, floor_ready), (memory, floor_memory)) = (starts.ready(), starts.memory());
    let line = |what: String, measured: String, floor: String, ratio: f64, target: Option<Target>| Line {
        figure: 'd',
        what,
        measured,
        floor,
        ratio,
        target,
    };
    let swept = starts.memory_swept();
    [
        line(
            format!("start until ready, {name}"),
            format!("{ready:.0} ms"),
            format!("{floor_ready:.0} ms"),
            ready / floor_ready,
            Some(Target::at_most(most_ms, ready, " ms")),
        ),
        line(
            format!("memory when ready, {name}"),
            format!("{memory:.1} MB"),
            format!("{floor_memory:.1} MB"),
            memory / floor_memory,
            Some(Target::at_most(most_megabytes, memory, " MB")),
        ),
        line(
            format!("most memory until its first sweep is over, {name}"),
            format!("{swept:.1} MB"),
            format!("{floor_memory:.1} MB"),
            swept / floor_memory,
            None,
        ),
    ]
}

/// (e): each figure with few orders against the same with many, both as a ratio to their floors where they have one.
fn growth(few: &Measured, many: &Measured) -> Vec<Line> {
    let mut lines = Vec::new();
    if let (Some(few), Some(many)) = (&few.checks, &many.checks) {
        lines.extend(growth_of_checks("open", &few.open, &many.open));
        lines.extend(growth_of_checks("all", &few.all, &many.all));
    }
    if let (Some(few), Some(many)) = (&few.at_once, &many.at_once) {
        lines.push(fewer("creates, of AddInvoice", few.throughput(), many.throughput()));
    }
    if let (Some(few), Some(many)) = (&few.serial, &many.serial) {
        lines.push(longer("a create alone, median in ms", few.alone().0, many.alone().0));
    }
    if let (Some(few), Some(many)) = (&few.settlements, &many.settlements) {
        lines.push(longer("settlement to paid, median in ms", few.median().0, many.median().0));
        lines.push(longer("settlement to paid, p99 in ms", few.p99().0, many.p99().0));
    }
    lines
}

fn growth_of_checks(which: &str, few: &Against, many: &Against) -> [Line; 2] {
    [
        fewer(&format!("checks of {which} orders, of their floors"), few.throughput(), many.throughput()),
        longer(&format!("p99 of checks of {which} orders, of their floors"), few.p99(), many.p99()),
    ]
}

/// Growth of what each request costs, told by how many there are of them.
fn fewer(what: &str, few: f64, many: f64) -> Line {
    grown(what, few, many, few / many)
}

fn longer(what: &str, few: f64, many: f64) -> Line {
    grown(what, few, many, many / few)
}

fn grown(what: &str, few: f64, many: f64, growth: f64) -> Line {
    Line {
        figure: 'e',
        what: format!("growth of {what}"),
        measured: format!("{many:.2}"),
        floor: format!("{few:.2}"),
        ratio: growth,
        target: Some(Target::at_most(1.2, growth, "x")),
    }
}
