//! The arrows of the house point one way (`src/lib.rs` draws them), and each foreign crate has its own rooms.
//!
//! Reads the source as text, which is enough to find every path that begins at the crate's root or in another crate.

use std::io;
use std::path::{Path, PathBuf};

/// From the door inwards. A module may use what stands in a later row, never its own row or an earlier one.
const ROWS: [&[&str]; 9] = [
    &["main"],
    &["cli"],
    &["lifecycle"],
    &["http", "workers", "agent"],
    &["app"],
    &["store", "lnd", "lightning_peer", "rates", "stripe", "wireguard", "netfilter"],
    &["egress"],
    &["config"],
    &["domain"],
];

/// Modules beside the rows, each with those that may use it (`*` is everybody), as prefixes of a path under `src`.
const BESIDE: [(&str, &[&str]); 9] = [
    ("backoff", &["*"]),
    ("clock", &["*"]),
    ("crash", &["app", "agent"]),
    ("metrics", &["*"]),
    ("netlink", &["wireguard", "netfilter"]),
    ("random", &["*"]),
    ("stop", &["*"]),
    ("lnd_proto", &["lnd", "lnd_simulator"]),
    ("lnd_simulator", &["cli", "lifecycle", "http/dev"]),
];

/// What the modules beside the rows may use.
const NEEDED_BESIDE: [(&str, &[&str]); 9] = [
    ("backoff", &["random"]),
    ("clock", &["domain"]),
    ("crash", &[]),
    ("metrics", &["domain"]),
    ("netlink", &[]),
    ("random", &[]),
    ("stop", &[]),
    ("lnd_proto", &[]),
    ("lnd_simulator", &["lnd_proto", "clock", "random"]),
];

/// Foreign crates, and the only places that may name them.
const ROOMS: [(&[&str], &[&str]); 9] = [
    (&["sqlx"], &["store"]),
    (&["actix_web", "actix_cors"], &["http", "lifecycle", "lnd_simulator"]),
    (&["tonic", "tonic_prost"], &["lnd", "lnd_simulator", "lnd_proto"]),
    (&["prometheus_client"], &["metrics"]),
    // LDK: a path of its own name would be that of a module of the domain, too.
    (&["lightning::ln", "lightning::sign", "lightning::util"], &["lightning_peer"]),
    (
        &[
            "netlink_sys",
            "netlink_packet_core",
            "netlink_packet_generic",
            "netlink_packet_netfilter",
            "netlink_packet_route",
            "netlink_packet_wireguard",
        ],
        &["netlink", "wireguard", "netfilter"],
    ),
    // Whoever asks the world does it through `egress`; the agent asks the service over a socket, the demo itself.
    (&["hyper", "hyper_util", "http_body_util", "webpki_roots", "tokio_socks", "url"], &["egress"]),
    (&["reqwest"], &["agent", "cli"]),
    // Other programs are run in one place, which bounds what they may print and how long they may take; and by the demo,
    // which builds its world with them.
    (&["tokio::process", "std::process::Command"], &["netfilter", "cli"]),
];

/// Words of asynchronous code, which these modules do without.
const ASYNC_WORDS: [&str; 5] = ["async", "await", "tokio", "futures_util", "reqwest"];
const SYNCHRONOUS: [&str; 2] = ["domain", "config"];

#[test]
fn the_house_keeps_its_layers() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&source).unwrap();
    let violations_of = |file: &PathBuf| {
        let place = file.strip_prefix(&source).unwrap().with_extension("");
        check(place.to_str().unwrap(), &std::fs::read_to_string(file).unwrap())
    };
    let violations: Vec<String> = files.iter().flat_map(violations_of).collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// Who did what, and what became of money, stays: an event is written once, and marked once as told.
#[test]
fn events_are_only_added() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in rust_files(&source).unwrap() {
        let text = std::fs::read_to_string(&file).unwrap();
        let marked = text.matches("UPDATE events SET fanned_out_at = $1 WHERE id IN").count();
        assert_eq!(text.matches("UPDATE events").count(), marked, "{}", file.display());
        assert!(!text.contains("DELETE FROM events"), "{}", file.display());
    }
}

fn rust_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

/// The violations of one file; `place` is its path under `src` without the extension, such as `http/dev`.
fn check(place: &str, source: &str) -> Vec<String> {
    let module = place.split_once('/').map_or(place, |(module, _)| module);
    if module == "lib" {
        return Vec::new(); // it declares them all
    }
    let without_comment = |line| str::split_once(line, "//").map_or(line, |(code, _)| code);
    let code = source.lines().map(without_comment).collect::<Vec<_>>().join("\n");
    let arrows = used_modules(place, &code).into_iter().filter(|used| used != module && !may_use(place, module, used));
    let crates = foreign_crates(module).filter(|name| names_crate(&code, name)).map(str::to_owned);
    let words = async_words(module, &code).map(str::to_owned);
    arrows.chain(crates).chain(words).map(|what| format!("{place} must do without {what}")).collect()
}

/// The crates that only other modules may name.
fn foreign_crates(module: &str) -> impl Iterator<Item = &'static str> {
    ROOMS.iter().filter(move |(_, rooms)| !rooms.contains(&module)).flat_map(|(crates, _)| crates.iter().copied())
}

fn async_words(module: &str, code: &str) -> impl Iterator<Item = &'static str> {
    let forbidden: &[&str] = if SYNCHRONOUS.contains(&module) { &ASYNC_WORDS } else { &[] };
    forbidden.iter().copied().filter(|forbidden| code.split(|c| !is_word(c)).any(|word| word == *forbidden))
}

fn may_use(place: &str, module: &str, used: &str) -> bool {
    let row = |name: &str| ROWS.iter().position(|row| row.contains(&name));
    if let Some((_, needed)) = NEEDED_BESIDE.iter().find(|(name, _)| *name == module) {
        return needed.contains(&used);
    }
    if let Some((_, users)) = BESIDE.iter().find(|(name, _)| *name == used) {
        let named = |user: &&str| *user == "*" || place == *user || place.starts_with(&format!("{user}/"));
        return module != "domain" && users.iter().any(named);
    }
    // A module that no row names yet has no place in the house: whoever adds it decides which.
    row(module).zip(row(used)).is_some_and(|(user, used)| user < used)
}

/// Top-level modules that the code names by a path from the root: `crate::x`, `wiretoll::{x, y}`, `super::super::x`.
fn used_modules(place: &str, code: &str) -> Vec<String> {
    let depth = place.trim_end_matches("/mod").split('/').count();
    let roots = ["crate::".to_owned(), "wiretoll::".to_owned(), "super::".repeat(depth)];
    let after_root = roots.iter().flat_map(|root| code.match_indices(root).map(|(at, root)| &code[at + root.len()..]));
    let is_module = |name: &String| {
        ROWS.iter().any(|row| row.contains(&name.as_str())) || BESIDE.iter().any(|(module, _)| *module == name)
    };
    after_root.flat_map(first_names).filter(is_module).collect()
}

/// The names right behind a root: one, or the first of each path in braces.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut names, mut start) = (0, Vec::new(), 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                names.push(name(&group[start..at]));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names
}

fn names_crate(code: &str, name: &str) -> bool {
    let path = |at: usize| code[at + name.len()..].starts_with("::") && !code[..at].ends_with(is_word);
    code.match_indices(name).any(|(at, _)| path(at)) || code.contains(&format!("use {name};"))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn arrows_that_point_inwards_are_accepted() {
    for (place, code) in [
        ("main", "use wiretoll::cli;"),
        ("http/claim", "use crate::{app::claim, domain::{keys, time}, clock};"),
        ("http/dev", "use crate::lnd_simulator::Node;"),
        ("app/settle", "// crate::http decides how it looks\nuse crate::store::Store; use crate::app::claim;"),
        (
            "lightning_peer",
            "use lightning::sign::KeysManager; use crate::domain::lightning::NodeId; use crate::random;",
        ),
        ("lnd/client", "use tonic::Request; use crate::lnd_proto::lnrpc; use super::cursor;"),
        ("lnd_simulator/control", "use actix_web::web; use crate::clock::Clock; use super::super::random;"),
        ("store/orders", "use sqlx::Row; fn sqlx_free() {}"),
        ("config/load", "use crate::domain::plan; let asynchronous = 1;"),
        ("domain/order", "use super::keys; use crate::domain::money;"),
        ("wireguard/interface/netlink", "use netlink_sys::Socket; use crate::domain::keys;"),
        ("netfilter/child", "use tokio::process::Command; use std::process::Stdio;"),
        ("lnd/client", "use crate::egress::Egress;"),
        ("egress/connect", "use crate::config::EgressRules; use tokio_socks::tcp::Socks5Stream;"),
        ("main", "use std::process::ExitCode;"),
    ] {
        assert_eq!(check(place, code), [""; 0], "{place}: {code}");
    }
}

#[test]
fn arrows_that_point_elsewhere_are_found() {
    for (place, code) in [
        ("app/settle", "use crate::http::errors;"),
        ("app/settle", "use crate::{clock::Clock, workers};"),
        ("http/claim", "use crate::workers::sweep;"),
        ("http/claim", "use crate::lnd_simulator::Node;"),
        ("store/mod", "let x = crate::lnd::Client::new();"),
        ("store/orders", "use super::super::app;"),
        ("config/mod", "use super::store;"),
        ("domain/order", "use crate::clock::Clock;"),
        ("domain/order", "pub async fn pay() {}"),
        ("config/load", "tokio::fs::read(path)"),
        ("lnd_simulator/node", "use crate::domain::money;"),
        ("lnd_simulator/node", "use crate::lnd::Client;"),
        ("app/settle", "use crate::lnd_proto::lnrpc;"),
        ("app/settle", "let row: sqlx::AnyRow;"),
        ("workers/sweep", "use tonic::Code;"),
        ("cli/serve", "use actix_web;"),
        ("helpers", "use crate::domain::money;"),
        ("metrics/table", "use crate::app::App;"),
        ("netfilter/table", "use crate::wireguard::interface::Interface;"),
        ("lnd/call", "use netlink_packet_core::Nla;"),
        ("wireguard/interface/link", "tokio::process::Command::new(name)"),
        ("app/settle", "use std::process::Command;"),
        ("app/ping_node", "use lightning::ln::peer_handler::PeerManager;"),
        ("egress/connect", "use crate::store::Store;"),
        ("workers/sweep", "reqwest::get(url)"),
        ("store/orders", "use hyper::client::conn::http1;"),
        ("app/settle", "let counter: prometheus_client::metrics::counter::Counter;"),
    ] {
        assert_eq!(check(place, code).len(), 1, "{place}: {code}");
    }
}
