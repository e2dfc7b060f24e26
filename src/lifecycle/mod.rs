//! Starts everything, stops everything: first gently, then hard.

mod agents;
mod credentials;
mod database_lock;
mod instance_key;
mod metrics;
mod webhooks;

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, JoinSet};

use crate::app::ask_node::Questions;
use crate::app::changes::Changes;
use crate::app::live_rate::LastSaid;
use crate::app::look_up_node::NodeLookups;
use crate::app::node_health::NodeHealth;
use crate::app::ping_node::Pings;
use crate::app::server_keys::ServerKeys;
use crate::app::{App, Shop};
use crate::clock::Clock;
use crate::config::{Config, Database};
use crate::domain::instance_key::Keyring;
use crate::domain::server::ServerId;
use crate::domain::time::Timestamp;
use crate::egress::Egress;
use crate::http::limits::RateLimits;
use crate::http::{self, Shared};
use crate::lnd_simulator::Simulator;
use crate::metrics::Metrics;
use crate::stop::{self, Stop, Stopper};
use crate::store::{Store, Tx};
use crate::stripe::Stripe;
use crate::{egress, lnd, workers};
use agents::AgentsServer;
use metrics::MetricsServer;

/// How long requests and workers may take to end before they are cut off.
const SOFT: Duration = Duration::from_secs(10);

/// How often idle rate limits are forgotten.
const FORGET_IDLE: Duration = Duration::from_mins(1);

/// A service that listens and works.
#[derive(Debug)]
pub struct Running {
    pub address: SocketAddr,
    /// Where metrics can be asked for.
    pub metrics_address: Option<SocketAddr>,
    pub app: App,
    metrics: Option<MetricsServer>,
    agents: Option<AgentsServer>,
    stopper: Stopper,
    workers: JoinSet<()>,
    server: ServerHandle,
    serving: JoinHandle<std::io::Result<()>>,
    told: Told,
    /// Of the database.
    _lock: Option<File>,
}

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    #[error(
        "the database {} is used by another wiretoll that runs: stop that one first; several at once need Postgres",
        database.display()
    )]
    DatabaseInUse { database: PathBuf },
    #[error("the file {}, which keeps a second service off the database, cannot be opened and locked", path.display())]
    DatabaseLock {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{0}")]
    InstanceKey(String),
    #[error("{0}")]
    Macaroon(String),
    #[error("{0}")]
    Stripe(String),
    #[error(
        "customers have subscriptions on server {0}, which is not configured: enter it, with migrate_to if it is to end"
    )]
    MissingServer(ServerId),
    #[error("a worker ended by itself; the service cannot settle without it")]
    WorkerEnded,
    #[error(transparent)]
    Lnd(#[from] lnd::Error),
    #[error(transparent)]
    Egress(#[from] egress::SetupError),
    #[error(
        "cannot listen on {address}; choose another ([service] listen, or --listen of `dev`); port 0 is any that is free"
    )]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot listen for metrics on {address}; choose another address with [metrics] listen, or leave it out")]
    ListenForMetrics {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot wait for the agent on {}; choose another place with [agent] socket", .socket.display())]
    ListenForAgent {
        socket: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    App(#[from] crate::app::Error),
    #[error("the secret of a webhook in {} cannot be used: {why}", file.display())]
    WebhookSecret { file: PathBuf, why: String },
    #[error("signals cannot be waited for")]
    Signals(#[source] std::io::Error),
}

/// Opens the database, checks keys and servers, and builds what every verb needs. Nothing runs yet.
pub async fn open(config: &Config, clock: Clock) -> Result<App, StartError> {
    let store = Store::open(&config.database).await?;
    let keyring = instance_key::load(&config.instance_key, &store).await?;
    let mut tx = store.begin().await?;
    reconcile_servers(&mut tx, config, &keyring, clock.now()).await?;
    let app = app(config, clock, store, keyring)?;
    tx.ensure_epoch(app.new_id(), app.clock.now()).await?;
    tx.commit().await?;
    app.read_server_keys().await?;
    webhooks::sync(&app, &config.webhooks).await?;
    Ok(app)
}

/// Builds what a command needs that only looks: nothing is migrated, made or registered.
pub async fn inspect(config: &Config, clock: Clock) -> Result<App, StartError> {
    let store = Store::connect(&config.database).await?;
    store.check_schema().await?;
    let keyring = instance_key::find(&config.instance_key)?.or_missing()?;
    app(config, clock, store, keyring)
}

/// As [`inspect`], for a command that changes something beside a running service: the database must be of these keys.
pub async fn operate(config: &Config, clock: Clock) -> Result<App, StartError> {
    let app = inspect(config, clock).await?;
    let mut tx = app.store.begin().await?;
    tx.check_instance_keys(&app.keyring, app.clock.now()).await?;
    // A key that no service has registered yet must not be used before one has.
    tx.rollback().await?;
    // So that nobody is given a server's own key.
    app.read_server_keys().await?;
    Ok(app)
}

/// All that a start would refuse of macaroon, certificates, and instance key with the database; changes nothing.
pub async fn check(config: &Config, clock: &Clock) -> Vec<StartError> {
    let macaroon = credentials::check(&config.lnd).await;
    let certificate = lnd::check(&config.lnd).await.map_err(StartError::from);
    let egress = Egress::new(&config.egress).map(drop).map_err(StartError::from);
    let webhooks = webhooks::check(&config.webhooks);
    let database = check_database(config, clock).await;
    let stripe = credentials::check_stripe(config.stripe.as_ref()).await;
    [macaroon, certificate, egress, webhooks, stripe, database].into_iter().filter_map(Result::err).collect()
}

/// A database that is not set up yet has nothing to refuse.
async fn check_database(config: &Config, clock: &Clock) -> Result<(), StartError> {
    // Damaged ones are refused before there is a database, too.
    let keys = instance_key::find(&config.instance_key)?;
    if matches!(&config.database, Database::Sqlite(path) if !path.exists()) {
        return Ok(());
    }
    let store = Store::connect(&config.database).await?;
    if store.is_set_up().await {
        let keyring = keys.or_missing()?;
        let mut tx = store.begin().await?;
        reconcile_servers(&mut tx, config, &keyring, clock.now()).await?;
        tx.rollback().await?;
    }
    store.close().await;
    Ok(())
}

/// The keys that the database depends on, and the pools that addresses were sold from.
async fn reconcile_servers(tx: &mut Tx, config: &Config, keyring: &Keyring, now: Timestamp) -> Result<(), StartError> {
    tx.check_instance_keys(keyring, now).await?;
    // In the order in which everybody locks them.
    let mut servers: Vec<_> = config.servers.iter().collect();
    servers.sort_by_key(|server| &server.id);
    for server in servers {
        tx.sync_server(server, now).await?;
        tx.tell_terms(server, config.holds).await?;
    }
    let missing =
        tx.servers_in_use().await?.into_iter().find(|id| config.servers.iter().all(|server| server.id != *id));
    missing.map_or(Ok(()), |id| Err(StartError::MissingServer(id)))
}

fn app(config: &Config, clock: Clock, store: Store, keyring: Keyring) -> Result<App, StartError> {
    let metrics = Metrics::default();
    let egress = Egress::new(&config.egress)?;
    Ok(App {
        store: store.with_metrics(metrics.clone()),
        node: lnd::Node::new(&config.lnd).with_metrics(metrics.clone()),
        stripe: config
            .stripe
            .clone()
            .map(|settings| Stripe::new(settings, egress.clone()).with_metrics(metrics.clone())),
        egress,
        clock,
        keyring: Arc::new(keyring),
        shop: Arc::new(shop(config)),
        health: NodeHealth::default(),
        changes: Changes::default(),
        server_changes: Changes::default(),
        server_keys: ServerKeys::default(),
        questions_to_node: Questions::default(),
        questions_to_stripe: Questions::default(),
        node_lookups: NodeLookups::default(),
        pings: Pings::new(config.tools.clone()),
        metrics,
        last_said: LastSaid::default(),
    })
}

fn shop(config: &Config) -> Shop {
    Shop {
        name: config.service.name.clone(),
        network: config.lnd.network,
        plans: config.plans.clone(),
        resets: config.resets,
        bonuses: config.bonuses.clone(),
        servers: config.servers.clone(),
        rate: config.rate.clone(),
        orders: config.orders,
        holds: config.holds,
        open_orders: config.limits.open_orders,
    }
}

impl Running {
    /// Starts workers and HTTP server. A simulated node adds its payer's route, which no real service has.
    pub async fn start(config: &Config, clock: Clock, payer: Option<Simulator>) -> Result<Self, StartError> {
        // Before anything listens: a signal that comes early must be heard, too.
        let told = Told::new()?;
        credentials::check(&config.lnd).await?;
        credentials::check_stripe(config.stripe.as_ref()).await?;
        let lock = database_lock::lock(&config.database)?;
        let app = open(config, clock).await?;
        let (stopper, stop) = stop::channel();
        let shared = Shared::new(app.clone(), &config.limits, &config.service, stop.clone().into_receiver());
        let limits = Arc::clone(&shared.limits);
        let (address, server) = listen(config.service.listen, shared, payer)?;
        let handle = server.handle();
        let metrics = config.metrics.map(|wanted| MetricsServer::start(wanted, &app)).transpose()?;
        let agents = config.agent.as_ref().map(|agent| AgentsServer::start(agent, &app)).transpose()?;
        let metrics_address = metrics.as_ref().map(|metrics| metrics.address);
        let mut workers = workers::start(&app, &stop);
        workers.spawn(forget_idle(limits, stop));
        tracing::info!(%address, "wiretoll listens");
        let serving = run(server);
        Ok(Self {
            address,
            metrics_address,
            app,
            metrics,
            agents,
            stopper,
            workers,
            server: handle,
            serving,
            told,
            _lock: lock,
        })
    }

    /// Serves until the process is told to end (SIGTERM, SIGINT); a second signal cuts everything off.
    ///
    /// # Errors
    /// When a worker ended by itself: a shop that cannot settle must not sell, and a restart may mend it.
    pub async fn until_told(mut self) -> Result<(), StartError> {
        let ended = tokio::select! {
            () = self.told.once() => Ok(()),
            _ = self.workers.join_next() => Err(StartError::WorkerEnded),
        };
        // Before it is announced: whoever reads the line may act on it at once.
        let mut again = Told::new()?;
        tracing::info!("stopping; once more to stop at once");
        tokio::select! {
            () = self.stop() => {}
            () = again.once() => tracing::warn!("stopped hard"),
        }
        ended
    }

    /// Ends streams and polls at once, lets requests and workers finish, then closes the database.
    pub async fn stop(mut self) {
        self.stopper.stop();
        let gently = async {
            self.server.stop(true).await;
            while self.workers.join_next().await.is_some() {}
        };
        if tokio::time::timeout(SOFT, gently).await.is_err() {
            tracing::warn!("some requests or workers did not end in time and were cut off");
            self.server.stop(false).await;
            self.workers.shutdown().await;
        }
        self.serving.abort();
        if let Some(agents) = self.agents {
            agents.stop().await;
        }
        if let Some(metrics) = self.metrics {
            metrics.stop().await;
        }
        self.app.store.close().await;
    }
}

/// Returns when the process is told to end.
pub async fn told_to_end() -> Result<(), StartError> {
    Told::new()?.once().await;
    Ok(())
}

/// The signals that end the process.
#[derive(Debug)]
struct Told {
    terminate: Signal,
    interrupt: Signal,
}

impl Told {
    fn new() -> Result<Self, StartError> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(StartError::Signals)?,
            interrupt: signal(SignalKind::interrupt()).map_err(StartError::Signals)?,
        })
    }

    async fn once(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn listen(wanted: SocketAddr, shared: Shared, payer: Option<Simulator>) -> Result<(SocketAddr, Server), StartError> {
    let failed = |source| StartError::Listen { address: wanted, source };
    let listener = TcpListener::bind(wanted).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let server = match payer {
        Some(node) => http::server(listener, shared, http::dev::routes(node)),
        None => http::server(listener, shared, |_| {}),
    };
    Ok((address, server.map_err(failed)?))
}

/// Lets go of the rate limits of those who have not asked for a while.
async fn forget_idle(limits: Arc<RateLimits>, mut stop: Stop) {
    while stop.or(tokio::time::sleep(FORGET_IDLE)).await.is_some() {
        limits.forget_idle();
    }
}

#[expect(clippy::disallowed_methods, reason = "the server's own task, ended by `stop`")]
fn run(server: Server) -> JoinHandle<std::io::Result<()>> {
    tokio::spawn(server)
}
