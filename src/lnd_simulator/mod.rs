//! A node that behaves like LND v0.21.2 towards a gRPC client: real TCP, TLS, macaroons and signed invoices.
//!
//! It serves `demo`, `dev` and the tests. It routes nothing: whoever pays, the HTLCs appear at the node. What it
//! copies was read in LND's source and tried against LND itself; `tests/lnd_facts` runs the same facts on both.
//! It shares only the generated code with the client in `lnd`, or one wrong belief would pass both.
//!
//! Paths through the code: `listener` (TCP, TLS) -> `gate` (state, macaroon) -> `*_rpc` -> `registry` (the one
//! mutex) -> `journal` (disk) -> `dispatcher` -> `subscriptions`. `inject` makes things go wrong.

mod add_invoice;
mod bolt11;
mod canceller;
mod clock;
mod connection;
mod control;
mod dispatcher;
mod due_queue;
pub mod error;
pub mod faults;
mod gate;
pub mod gossip;
mod hash;
mod inject;
mod invoice;
mod invoices_rpc;
mod journal;
mod ledger;
mod lightning_rpc;
mod listener;
pub mod macaroon;
pub mod methods;
mod node;
pub mod payer;
mod random;
mod registry;
mod restart;
mod root_keys;
mod router_rpc;
mod saved;
pub mod settings;
mod state_rpc;
mod streams;
pub mod subscriptions;
mod tasks;
mod tls;
mod wire;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use control::Control;
use error::SimulatorError;
use faults::Fault;
use gossip::Announcement;
use journal::Record;
use ledger::Ledger;
use listener::Listening;
use macaroon::{Macaroon, Permission};
use methods::Method;
use node::Node;
use payer::{PaymentOrder, PaymentOutcome};
use root_keys::DEFAULT_ROOT_KEY_ID;
use settings::SimulatorSettings;

/// What a service needs and no more, under a root key of its own.
const SERVICE_PERMISSIONS: [&str; 3] = ["info:read", "invoices:read", "invoices:write"];
const SERVICE_ROOT_KEY_ID: &str = "7";

/// LND's stock `invoice.macaroon`, which cannot call `GetInfo`.
const INVOICE_PERMISSIONS: [&str; 5] =
    ["address:read", "address:write", "invoices:read", "invoices:write", "onchain:read"];

/// LND's `admin.macaroon`.
const ADMIN_PERMISSIONS: [&str; 17] = [
    "address:read",
    "address:write",
    "info:read",
    "info:write",
    "invoices:read",
    "invoices:write",
    "macaroon:generate",
    "macaroon:read",
    "macaroon:write",
    "message:read",
    "message:write",
    "offchain:read",
    "offchain:write",
    "onchain:read",
    "onchain:write",
    "peers:read",
    "peers:write",
];

/// A running node. Clones are handles on the same one; it ends with [`Simulator::stop`] or with the last handle.
#[derive(Clone)]
pub struct Simulator(Arc<Owner>);

/// A handle that does not keep the node alive.
#[derive(Clone)]
struct SimulatorRef(Weak<Owner>);

struct Owner {
    node: Arc<Node>,
    address: SocketAddr,
    control: OnceLock<Control>,
    listening: tokio::sync::Mutex<Option<Listening>>,
    backups: Mutex<HashMap<String, Ledger>>,
}

impl Simulator {
    /// Starts a node in `SERVER_ACTIVE`, with what its data folder holds. Needs a Tokio runtime.
    pub async fn start(settings: SimulatorSettings) -> Result<Self, SimulatorError> {
        let (listen, control) = (settings.listen, settings.control);
        let (node, events) = Node::open(settings)?;
        let dispatching = node.clone();
        node.tasks.spawn(async move { dispatching.dispatch_events(events).await });
        let expiring = node.clone();
        node.tasks.spawn(async move { expiring.watch_expiries().await });
        let releasing = node.clone();
        node.tasks.spawn(async move { releasing.watch_releases().await });
        node.activate().await?;
        node.hear_gossip();
        let listening = Listening::open(&node, listen).await;
        let listening = listening.map_err(|source| SimulatorError::Listen { address: listen, source })?;
        let simulator = Self(Arc::new(Owner {
            node,
            address: listening.address,
            control: OnceLock::new(),
            listening: tokio::sync::Mutex::new(Some(listening)),
            backups: Mutex::default(),
        }));
        if let Some(address) = control {
            let opened = Control::open(&simulator, address)?;
            simulator.0.control.get_or_init(|| opened);
        }
        Ok(simulator)
    }

    /// Where gRPC listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Where the HTTP control listens, if it does.
    pub fn control_address(&self) -> Option<SocketAddr> {
        self.0.control.get().map(|control| control.address)
    }

    /// The certificate that a client has to pin.
    pub fn tls_certificate_pem(&self) -> String {
        self.node().tls.certificate_pem()
    }

    /// The certificate's file, when there is a data folder.
    pub fn tls_certificate_path(&self) -> Option<PathBuf> {
        self.node().tls.certificate_path()
    }

    /// The node's identity: 66 hex digits.
    pub fn public_key(&self) -> String {
        self.node().identity().public_key.to_string()
    }

    /// What all random choices of this run follow from.
    pub fn seed(&self) -> u64 {
        self.node().seed
    }

    /// LND's name of the network.
    pub fn network(&self) -> &'static str {
        self.node().settings.network.name()
    }

    /// How many invoice streams are open now.
    pub fn subscribers(&self) -> usize {
        self.node().subscriptions.count()
    }

    /// How often a method was called since the start, whatever came of it.
    pub fn calls(&self, method: Method) -> u64 {
        self.node().calls.of(method)
    }

    /// The node's time, in seconds since the Unix epoch.
    pub fn now_seconds(&self) -> i64 {
        self.node().clock.now_seconds()
    }

    /// Bakes a macaroon from permissions such as `invoices:read` or `uri:/lnrpc.Lightning/GetInfo`.
    pub async fn macaroon(&self, root_key_id: &str, permissions: &[&str]) -> Result<Macaroon, SimulatorError> {
        let parse = |text: &&str| Permission::parse(text).ok_or_else(|| SimulatorError::Permission((*text).to_owned()));
        let permissions = permissions.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        self.node().bake(root_key_id, &permissions).await
    }

    /// `info:read invoices:read invoices:write`, revocable alone by its root key id 7.
    pub async fn service_macaroon(&self) -> Result<Macaroon, SimulatorError> {
        self.macaroon(SERVICE_ROOT_KEY_ID, &SERVICE_PERMISSIONS).await
    }

    /// LND's stock `invoice.macaroon`.
    pub async fn invoice_macaroon(&self) -> Result<Macaroon, SimulatorError> {
        self.macaroon(DEFAULT_ROOT_KEY_ID, &INVOICE_PERMISSIONS).await
    }

    /// LND's `admin.macaroon`, which can also pay.
    pub async fn admin_macaroon(&self) -> Result<Macaroon, SimulatorError> {
        self.macaroon(DEFAULT_ROOT_KEY_ID, &ADMIN_PERMISSIONS).await
    }

    /// Pays an invoice; returns when the outcome is durable in the node.
    pub async fn pay(&self, order: PaymentOrder) -> Result<PaymentOutcome, SimulatorError> {
        self.run(|node| async move { node.pay(&order).await }).await
    }

    /// Moves the node's clock; returns when what falls due by it is done (unless the canceller is paused).
    pub async fn advance(&self, by: Duration) -> Result<(), SimulatorError> {
        self.run(move |node| async move {
            node.clock.advance(by);
            let record = Record::Clock { offset_ms: node.clock.offset_ms() };
            node.registry.journal.append(&record).await.map_err(SimulatorError::Journal)?;
            if node.is_running() {
                node.cancel_expired().await;
                node.release_overdue().await;
            }
            Ok(())
        })
        .await?
    }

    /// Makes something go wrong.
    pub async fn inject(&self, fault: Fault) -> Result<(), SimulatorError> {
        self.run(|node| async move { node.inject(fault).await }).await?
    }

    /// Goes down as LND does, stays away for `down`, and comes up on the same port.
    pub async fn restart(&self, down: Duration) -> Result<(), SimulatorError> {
        let owner = self.0.clone();
        self.run(move |node| async move {
            let mut listening = owner.listening.lock().await;
            node.go_down(listening.take()).await;
            tokio::time::sleep(down).await;
            *listening = Some(node.come_up(owner.address).await?);
            Ok(())
        })
        .await?
    }

    /// Goes down and stays down until [`Simulator::come_up`].
    pub async fn go_down(&self) -> Result<(), SimulatorError> {
        let owner = self.0.clone();
        self.run(move |node| async move {
            let listening = owner.listening.lock().await.take();
            node.go_down(listening).await;
        })
        .await
    }

    /// Comes up on the same port after [`Simulator::go_down`].
    pub async fn come_up(&self) -> Result<(), SimulatorError> {
        let owner = self.0.clone();
        self.run(move |node| async move {
            let mut listening = owner.listening.lock().await;
            if listening.is_none() {
                *listening = Some(node.come_up(owner.address).await?);
            }
            Ok(())
        })
        .await?
    }

    /// Empties the invoice database; the node stays who it is.
    pub async fn wipe(&self) -> Result<(), SimulatorError> {
        self.replace(Ledger::new(self.node().settings.store)).await
    }

    /// Keeps the invoice database as it is now under `name`, for as long as this process lives.
    pub fn backup(&self, name: &str) {
        let ledger = self.node().registry.ledger().clone();
        self.backups().insert(name.to_owned(), ledger);
    }

    /// Brings back what [`Simulator::backup`] kept; what came later is forgotten.
    pub async fn restore(&self, name: &str) -> Result<(), SimulatorError> {
        let backup = self.backups().get(name).cloned();
        self.replace(backup.ok_or(SimulatorError::NoBackup)?).await
    }

    /// Lets `GetNodeInfo` know another node.
    pub fn announce_node(&self, announced: &Announcement<'_>) {
        let node = self.node();
        node.gossip.learn(announced, node.clock.now_seconds());
    }

    /// Ends the node: streams first, then connections, port and tasks.
    pub async fn stop(&self) {
        let listening = self.0.listening.lock().await.take();
        self.node().go_down(listening).await;
        if let Some(control) = self.0.control.get() {
            control.close().await;
        }
        self.node().tasks.shut_down().await;
    }

    async fn replace(&self, ledger: Ledger) -> Result<(), SimulatorError> {
        self.run(|node| async move { node.registry.replace(ledger).await }).await??;
        Ok(())
    }

    /// Runs `work` on the node's own runtime, to its end even if the caller goes away.
    async fn run<F, T>(&self, work: impl FnOnce(Arc<Node>) -> F) -> Result<T, SimulatorError>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let node = self.node().clone();
        self.node().tasks.finish(work(node)).await.ok_or(SimulatorError::Stopped)
    }

    fn downgrade(&self) -> SimulatorRef {
        SimulatorRef(Arc::downgrade(&self.0))
    }

    fn node(&self) -> &Arc<Node> {
        &self.0.node
    }

    fn backups(&self) -> MutexGuard<'_, HashMap<String, Ledger>> {
        self.0.backups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimulatorRef {
    fn upgrade(&self) -> Result<Simulator, SimulatorError> {
        self.0.upgrade().map(Simulator).ok_or(SimulatorError::Stopped)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.node.connections.reset_all();
        self.node.tasks.abort();
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Simulator")
            .field("address", &self.address())
            .field("seed", &self.seed())
            .finish_non_exhaustive()
    }
}
