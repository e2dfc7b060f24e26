//! How fast a WireGuard server is kept, beside the tools that are used by hand: `cargo bench --bench wireguard`.
//!
//! Words after `--` are the only parts that are measured: `throughput`, `peers`, `lapses`, `agent`, `claims`. Where the kernel has
//! WireGuard that is what is measured, as `scripts/kernel-wireguard.sh` does; else it is wireguard-go.
//!
//! It runs itself again in namespaces of its own, which are the server, as the tests in `tests/wireguard` do; so it needs
//! root or user namespaces, their programs and `conntrack`, and changes nothing on the machine. Each figure stands beside a floor of the same run,
//! measured in turn with it; medians of the rounds.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement ends where something is not as it should be, and prints what it measured"
)]

mod agent;
mod claims;
mod device;
mod figures;
#[path = "../../tests/wireguard/lab/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests use the rest")]
mod lab;
mod lapses;
mod peers;
#[path = "../../tests/wireguard/story/sales.rs"]
mod sales;
mod throughput;

use std::process::ExitCode;

use figures::Figures;

const INSIDE: &str = "WIRETOLL_LAB";
const ROUNDS: usize = 5;
/// Programs that one part alone needs; Debian's packages have the same names.
const NEEDED: [(&str, &str); 2] = [("throughput", "iperf3"), ("lapses", "conntrack")];

fn main() -> ExitCode {
    // `cargo bench` adds an argument of its own; `cargo test --all-targets` runs benches without it.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let is_wanted = |part: &str| arguments.len() == 1 || arguments.iter().any(|argument| argument == part);
    if std::env::var_os(INSIDE).is_none() {
        if let Err(missing) = possible(is_wanted) {
            eprintln!("nothing can be measured: {missing}");
            return ExitCode::FAILURE;
        }
        let mut command = lab::unshare();
        command.arg(std::env::current_exe().expect("a program has a path")).args(&arguments).env(INSIDE, "1");
        let ended = command.status().expect("unshare can be started");
        return if ended.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut figures = Figures::default();
        let mut lab = lab::Lab::new().await;
        if is_wanted("throughput") {
            throughput::measure(&mut lab, &mut figures).await;
        }
        if is_wanted("peers") {
            peers::measure(&mut figures).await;
        }
        if is_wanted("lapses") {
            lapses::measure(&mut figures).await;
        }
        if is_wanted("agent") {
            agent::measure(&mut figures).await;
        }
        if is_wanted("claims") {
            claims::measure(&mut figures).await;
        }
        print!("{}", figures.table());
    });
    ExitCode::SUCCESS
}

/// Before minutes have gone by.
fn possible(is_wanted: impl Fn(&str) -> bool) -> Result<(), String> {
    lab::possible()?;
    match NEEDED.iter().find(|(part, program)| is_wanted(part) && !lab::has(program)) {
        Some((part, program)) => {
            Err(format!("{part} needs {program}: apt-get install {program}, or name the other parts"))
        }
        None => Ok(()),
    }
}
