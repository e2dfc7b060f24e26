//! Keeps an eye on servers and their agents: keys that another replica heard, agents that fell silent, a new month.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::app::silent_agents::silent_agents;
use crate::app::{App, Error, unthrottle};
use crate::domain::server::ServerId;
use crate::stop::Stop;

const EVERY: Duration = Duration::from_secs(10);
const UNTHROTTLE_EVERY: Duration = Duration::from_mins(1);
/// An agent polls without end; leases go on without it, but nothing new is provisioned.
const SILENCE: Duration = Duration::from_mins(10);

pub async fn run(app: App, mut stop: Stop) {
    let mut silent = HashSet::new();
    let mut unthrottled: Option<Instant> = None;
    loop {
        if stop.or(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
        let round = async {
            report("keys of servers", app.read_server_keys().await);
            report("silent agents", notice(&app, &mut silent).await);
            if unthrottled.is_none_or(|then| then.elapsed() >= UNTHROTTLE_EVERY) {
                unthrottled = Some(Instant::now());
                report("slow peers", unthrottle::unthrottle(&app).await);
            }
        };
        if stop.or(round).await.is_none() {
            return;
        }
    }
}

/// Says once that an agent is silent, and once that it is heard again.
async fn notice(app: &App, known: &mut HashSet<ServerId>) -> Result<(), Error> {
    let silent = silent_agents(app, SILENCE).await?;
    for server in silent.difference(known) {
        tracing::error!(%server, "its agent was not heard for ten minutes: nothing new is provisioned there");
    }
    for server in known.difference(&silent) {
        tracing::info!(%server, "its agent is heard again");
    }
    *known = silent;
    Ok(())
}

fn report<T>(what: &'static str, done: Result<T, Error>) {
    if let Err(error) = done {
        tracing::warn!(what, error = %error, "servers could not be looked after");
    }
}
