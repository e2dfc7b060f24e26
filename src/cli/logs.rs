//! Where log lines go: standard error, as text for people or JSON for collectors.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// The database driver and HTTP/2 tell too much, and some of it is nobody's business.
const QUIET: [&str; 6] = ["sqlx=warn", "h2=warn", "hyper=warn", "rustls=warn", "tower=warn", "actix_server=warn"];

/// Starts logging; a second call changes nothing.
pub fn start(log: &Log) {
    let filter = QUIET.iter().filter_map(|quiet| quiet.parse().ok()).fold(
        EnvFilter::default().add_directive(tracing_subscriber::filter::LevelFilter::from_level(log.level).into()),
        EnvFilter::add_directive,
    );
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It tells of a full disk by `eprintln!`, which panics at the same disk, and ends whoever wanted to log.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let _ = match log.format {
        LogFormat::Text => subscriber.try_init(),
        LogFormat::Json => subscriber.json().try_init(),
    };
}
