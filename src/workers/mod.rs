//! Reconcilers: each takes no input, may run anywhere any number of times, and is woken by a signal or a timer.
//!
//! Every replica runs all of them; settlement is a compare-and-set, so nobody has to lead.

mod cards;
mod closer;
mod neighbours;
mod node_watch;
mod rates;
mod replicas;
mod servers;
mod settlements;
pub mod sweeper;
mod webhooks;

use tokio::task::JoinSet;

use crate::app::App;
use crate::stop::Stop;
use crate::store::Engine;

/// Starts every worker; each ends soon after the signal.
pub fn start(app: &App, stop: &Stop) -> JoinSet<()> {
    let mut workers = JoinSet::new();
    let sweeps = sweeper::Sweeps::default();
    workers.spawn(node_watch::run(app.clone(), stop.clone()));
    workers.spawn(settlements::run(app.clone(), sweeps.clone(), stop.clone()));
    workers.spawn(sweeper::run(app.clone(), sweeps, sweeper::EVERY, stop.clone()));
    workers.spawn(closer::run(app.clone(), stop.clone()));
    workers.spawn(cards::run(app.clone(), stop.clone()));
    workers.spawn(rates::run(app.clone(), stop.clone()));
    workers.spawn(servers::run(app.clone(), stop.clone()));
    workers.spawn(webhooks::run(app.clone(), stop.clone()));
    match app.store.engine() {
        Engine::Postgres => workers.spawn(replicas::run(app.clone(), stop.clone())),
        Engine::Sqlite => workers.spawn(neighbours::run(app.clone(), stop.clone())),
    };
    workers
}
