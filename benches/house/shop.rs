//! A shop to measure: a simulated node over real TLS, a configuration, and a database that was sold from for a while.
//!
//! The limits are on. Checks come from many customer networks, as the trusted proxy tells them, within the default limit
//! of checks for a network; only the limits for one order and for creates are raised, because here one order is asked
//! about as often as those of a hundred customers.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};
use tokio::time::{Instant, sleep};
use wiretoll::clock::Clock;
use wiretoll::config::{Config, Lnd, LndTrust, MacaroonSource, SecretText};
use wiretoll::lnd::Node as NodeClient;
use wiretoll::lnd_simulator::Simulator;
use wiretoll::lnd_simulator::methods::Method;
use wiretoll::lnd_simulator::settings::SimulatorSettings;

use crate::Bench;
use crate::fill::{self, Stock};
use crate::process::Server;

/// Half of the servers hold what was sold before; the other half is sold from while it is measured.
pub const SERVERS: u32 = 16;
pub const SLOTS_EACH: u32 = 30_000;
/// The first server of the half that is sold from.
pub const FIRST_FOR_SALE: u32 = SERVERS / 2;

const LIMITS: &str = r"
[limits]
open_orders = 1000000
check_per_hash = { burst = 1000000, per_minute = 1000000 }
create = { burst = 1000000, per_minute = 1000000 }
";

/// Which database the orders are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// A simulated node in this process, and what a client needs to reach it.
pub struct Node {
    pub simulator: Simulator,
    folder: PathBuf,
    macaroon: String,
}

pub struct Shop {
    pub config: Config,
    pub stock: Stock,
    program: PathBuf,
    file: PathBuf,
    database_url: String,
}

impl Node {
    /// `latency` is how long one `AddInvoice` holds the node.
    pub async fn start(folder: &Path, latency: Duration) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let settings = SimulatorSettings { add_invoice_latency: latency, ..SimulatorSettings::default() };
        let simulator = Simulator::start(settings).await?;
        std::fs::write(folder.join("tls.cert"), simulator.tls_certificate_pem())?;
        let macaroon = simulator.service_macaroon().await?.to_hex();
        Ok(Self { simulator, folder: folder.to_owned(), macaroon })
    }

    /// The client of the service, on a connection of its own.
    pub fn client(&self, config: &Config) -> NodeClient {
        let trust = LndTrust::PinnedCertificate(self.folder.join("tls.cert"));
        let macaroon = MacaroonSource::Text(SecretText::new(self.macaroon.clone()));
        let address = format!("https://{}", self.simulator.address());
        NodeClient::new(&Lnd { address, trust, macaroon, network: config.lnd.network })
    }

    /// How the service reaches it.
    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("WIRETOLL_LND__ADDRESS", format!("https://{}", self.simulator.address())),
            ("WIRETOLL_LND__CERTIFICATE_FILE", self.folder.join("tls.cert").display().to_string()),
            ("WIRETOLL_LND__MACAROON", self.macaroon.clone()),
        ]
    }

    /// Waits until nobody has asked it about invoices for a while: the sweeps after a start are over.
    pub async fn until_calm(&self) {
        let calls = || [Method::LookupInvoice, Method::ListInvoices].map(|method| self.simulator.calls(method));
        let (mut before, mut since) = (calls(), Instant::now());
        while since.elapsed() < Duration::from_secs(2) {
            sleep(Duration::from_millis(100)).await;
            if calls() != before {
                (before, since) = (calls(), Instant::now());
            }
        }
    }
}

impl Shop {
    /// A new shop in which `orders` orders were placed before.
    pub async fn open(bench: &Bench, name: &str, engine: Engine, node: &Node, orders: u32) -> anyhow::Result<Self> {
        let folder = &bench.folder.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir_all(folder)?;
        let file = folder.join("wiretoll.toml");
        std::fs::write(&file, configuration(folder)?)?;
        let database_url = match engine {
            Engine::Sqlite => format!("sqlite:{}", folder.join("orders.db").display()),
            Engine::Postgres => fresh_postgres(orders).await?,
        };
        let mut settings = node.settings();
        settings.push(("WIRETOLL_DATABASE__URL", database_url.clone()));
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value));
        let config = Config::load(Some(&file), settings, Clock::System.now())?;
        let stock = fill::fill(&config, &database_url, orders).await?;
        Ok(Self { config, stock, program: bench.program.clone(), file, database_url })
    }

    /// Starts the service on it, beside this node; a second one on the same database is a replica.
    ///
    /// Returns once it can sell and has looked at the orders that it found.
    pub async fn serve(&self, node: &Node) -> anyhow::Result<Server> {
        let mut server = self.launch(node)?;
        server.until_ready().await?;
        node.until_calm().await;
        Ok(server)
    }

    /// Starts the service without waiting for anything.
    pub fn launch(&self, node: &Node) -> anyhow::Result<Server> {
        let mut settings = node.settings();
        settings.push(("WIRETOLL_DATABASE__URL", self.database_url.clone()));
        Server::wiretoll(&self.program, &self.file, settings)
    }
}

fn configuration(folder: &Path) -> anyhow::Result<String> {
    let folder = folder.display();
    let mut text = format!(
        "[service]\ndata_folder = \"{folder}\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n{LIMITS}\n[orders]\ninvoice_lifetime = \"24h\"\n\n\
         [lnd]\nnetwork = \"regtest\"\n\n[[plans]]\nmonths = 1\nsats = 4500\n",
    );
    for n in 0..SERVERS {
        let key = STANDARD.encode([u8::try_from(n + 1)?; 32]);
        let pool = Ipv4Addr::new(10, u8::try_from(n + 1)?, 0, 0);
        write!(
            text,
            "\n[[servers]]\nid = \"{}\"\ncountry = \"Germany\"\ncity = \"Nuremberg\"\nflag = \"🇩🇪\"\n\
             domain = \"de{n}.example.net\"\npublic_key = \"{key}\"\npool = \"{pool}/16\"\ncapacity = {SLOTS_EACH}\n",
            server_id(n),
        )?;
    }
    Ok(text)
}

pub fn server_id(n: u32) -> String {
    format!("eu-{n}")
}

/// A database of its own, named by its size; one of an earlier run makes room.
async fn fresh_postgres(orders: u32) -> anyhow::Result<String> {
    let url =
        std::env::var("BENCH_POSTGRES_URL").context("BENCH_POSTGRES_URL names no server; ./scripts/bench.sh does")?;
    let name = format!("wiretoll_bench_{orders}");
    let mut connection = AnyConnection::connect(&url).await?;
    for sql in [format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"), format!("CREATE DATABASE {name}")] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
    }
    connection.close().await?;
    let (server, _) = url.rsplit_once('/').context("BENCH_POSTGRES_URL has no database")?;
    Ok(format!("{server}/{name}"))
}
