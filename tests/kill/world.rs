//! A folder with a node and a shop: processes of their own, on addresses that stay the same over every restart.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use sqlx::any::install_default_drivers;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;
use wiretoll::app::bandwidth::{bandwidth_limit, month_of};
use wiretoll::clock::Clock;
use wiretoll::config::Config;
use wiretoll::lnd::Node;

use crate::PATIENCE;
use crate::books::Books;
use crate::checker::{self, Findings};
use crate::client::{Client, Config as Claimed};
use crate::program::Program;
use crate::stripe::Stripe;

const SHOP: &str = include_str!("../../fixtures/kill.toml");

/// Which database a test runs on.
#[derive(Debug, Clone, Copy)]
pub enum On {
    Sqlite,
    Postgres,
}

/// Writes each test once and runs it on both databases.
#[macro_export]
macro_rules! on_both_databases {
    ($($(#[$attribute:meta])* $test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")] $(#[$attribute])*
            async fn $test() { super::$test($crate::world::On::Sqlite).await; })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")] $(#[$attribute])*
            async fn $test() {
                match $crate::world::postgres_url() {
                    Some(_) => super::$test($crate::world::On::Postgres).await,
                    None => eprintln!("not run: TEST_POSTGRES_URL is not set; ./scripts/test.sh sets it"),
                }
            })+
        }
    };
}

pub struct World {
    folder: TempDir,
    on: On,
    /// `WIRETOLL_*`: the node's address and the database.
    settings: Vec<(String, String)>,
    node_address: SocketAddr,
    control: SocketAddr,
    addresses: Vec<SocketAddr>,
    pub stripe: Arc<Stripe>,
    pub node: Program,
    /// In the order of their addresses; none where one is down.
    pub services: Vec<Option<Program>>,
}

impl World {
    /// A node whose clock is behind ours by so much, and a shop that is not open yet.
    pub async fn new(on: On, services: usize, behind: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("wiretoll.toml"), SHOP).unwrap();
        let (node_address, control) = (free_address(), free_address());
        let addresses: Vec<_> = (0..services).map(|_| free_address()).collect();
        let stripe = Arc::new(Stripe::new(&addresses));
        let mut settings = vec![
            ("WIRETOLL_LND__ADDRESS".to_owned(), format!("https://{node_address}")),
            ("WIRETOLL_STRIPE__API_BASE".to_owned(), format!("http://{}", stripe.address())),
            ("WIRETOLL_RATE__AS_OF".to_owned(), Clock::System.now().to_string()),
        ];
        if matches!(on, On::Postgres) {
            settings.push(("WIRETOLL_DATABASE__URL".to_owned(), create_database("").await));
        }
        let mut node = start_node(folder.path(), node_address, control).await;
        if !behind.is_zero() {
            node.kill();
            let journal = folder.path().join("node/journal.jsonl");
            let line = format!("{{\"clock\":{{\"offset_ms\":-{}}}}}\n", behind.as_millis());
            std::fs::write(&journal, std::fs::read_to_string(&journal).unwrap() + &line).unwrap();
            node = start_node(folder.path(), node_address, control).await;
        }
        copy_macaroon(folder.path()).await;
        let services = addresses.iter().map(|_| None).collect();
        Self { folder, on, settings, node_address, control, addresses, stripe, node, services }
    }

    /// The service, and later on whoever takes its place.
    pub async fn open(on: On) -> Self {
        let mut world = Self::new(on, 1, Duration::ZERO).await;
        world.start_service(0).await;
        world
    }

    /// Adds sections to the configuration of the services to be started.
    pub fn configure(&self, sections: &str) {
        std::fs::write(self.folder.path().join("wiretoll.toml"), format!("{SHOP}\n{sections}")).unwrap();
    }

    /// A setting of the services to be started.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    pub fn client(&self, seed: u64) -> Client {
        Client::new(&self.addresses, self.control, Arc::clone(&self.stripe), seed)
    }

    /// Makes an account, by the operator's hand; the key that it is known by.
    pub async fn account(&self) -> String {
        let command = ["api-key", "create", "--name", "a customer's", "--scopes", "admin", "--quiet"];
        let log = format!("account-{}.log", fastrand::u64(..));
        Program::start(self.folder.path(), &log, &command, &self.settings).ends_well().await;
        let said = std::fs::read_to_string(self.folder.path().join(log)).unwrap();
        let key = said.lines().find(|line| line.starts_with("sk_test_"));
        key.unwrap_or_else(|| panic!("no key: {said}")).to_owned()
    }

    /// As if the customer had used most of what a month has.
    pub async fn use_up(&self, subscription: &str) {
        use_up(&self.database_url(), subscription).await;
    }

    pub async fn start_node(&mut self) {
        self.node = start_node(self.folder.path(), self.node_address, self.control).await;
    }

    /// Starts a service and waits until it listens.
    pub async fn start_service(&mut self, number: usize) {
        let mut service = self.service(number, None);
        service.listens(self.addresses[number]).await;
        self.services[number] = Some(service);
    }

    pub fn kill_service(&mut self, number: usize) {
        // Dropping it kills it.
        self.services[number] = None;
    }

    /// Runs the only service until it dies at `point`; `meanwhile` is what brings it there.
    pub async fn die_at<T>(&mut self, point: &str, meanwhile: impl Future<Output = T>) {
        self.kill_service(0);
        let mut service = self.service(0, Some(point));
        let died = service.dies(point);
        tokio::pin!(died, meanwhile);
        tokio::select! {
            () = &mut died => {}
            _ = &mut meanwhile => died.await,
        }
        let wrong = checker::check(&self.books(&[]).await).always;
        assert!(wrong.is_empty(), "right after {point}:\n{}", wrong.join("\n"));
    }

    fn service(&self, number: usize, crash_at: Option<&str>) -> Program {
        let mut settings = self.settings.clone();
        settings.push(("WIRETOLL_SERVICE__LISTEN".to_owned(), self.addresses[number].to_string()));
        settings.extend(crash_at.map(|point| ("WIRETOLL_CRASH_AT".to_owned(), point.to_owned())));
        Program::start(self.folder.path(), &format!("service-{number}.log"), &["serve"], &settings)
    }

    pub fn config(&self) -> Config {
        let file = self.folder.path().join("wiretoll.toml");
        Config::load(Some(&file), self.settings.clone(), Clock::System.now()).unwrap()
    }

    /// A connection of its own to the database.
    pub async fn database(&self) -> AnyConnection {
        install_default_drivers();
        AnyConnection::connect(&self.database_url()).await.unwrap()
    }

    pub fn database_url(&self) -> String {
        let url = self.settings.iter().find(|(name, _)| name == "WIRETOLL_DATABASE__URL").map(|(_, url)| url.clone());
        url.unwrap_or_else(|| format!("sqlite://{}", self.folder.path().join("wiretoll.db").display()))
    }

    /// Everything that node and database hold; the database as it is at one moment.
    pub async fn books(&self, claimed: &[Claimed]) -> Books {
        // Before the database, as what is taken is remembered there already.
        let taken = self.stripe.taken();
        let (config, mut database) = (self.config(), self.database().await);
        let begin = match self.on {
            On::Sqlite => "BEGIN",
            On::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        sqlx::raw_sql(begin).execute(&mut database).await.unwrap();
        Books::read((&Node::new(&config.lnd), &self.stripe), taken, &mut database, &config, claimed).await
    }

    /// Nothing is wrong that must never be, and soon nothing at all.
    pub async fn checks_out(&self, claimed: &[Claimed]) -> Books {
        let began = tokio::time::Instant::now();
        loop {
            let books = self.books(claimed).await;
            let Findings { always, at_rest } = checker::check(&books);
            assert!(always.is_empty(), "{} wrong:\n{}", always.len(), always.join("\n"));
            if at_rest.is_empty() {
                return books;
            }
            assert!(began.elapsed() < PATIENCE, "{} still wrong:\n{}", at_rest.len(), at_rest.join("\n"));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// A copy of the database as it is now; the service must not run.
    pub async fn backup(&self) -> String {
        match self.on {
            On::Sqlite => {
                let copy = self.folder.path().join("copy.db");
                let program = ["backup", copy.to_str().unwrap()];
                let mut backup = Program::start(self.folder.path(), "backup.log", &program, &self.settings);
                backup.ends_well().await;
                copy.display().to_string()
            }
            On::Postgres => create_database(&format!("TEMPLATE {}", name_of(&self.database_url()))).await,
        }
    }

    /// Goes on with the copy; the service must not run.
    pub fn restore(&mut self, copy: &str) {
        match self.on {
            On::Sqlite => {
                for leftover in ["wiretoll.db-wal", "wiretoll.db-shm"] {
                    let _ = std::fs::remove_file(self.folder.path().join(leftover));
                }
                std::fs::rename(copy, self.folder.path().join("wiretoll.db")).unwrap();
            }
            On::Postgres => {
                let (_, url) = self.settings.iter_mut().find(|(name, _)| name == "WIRETOLL_DATABASE__URL").unwrap();
                copy.clone_into(url);
            }
        }
    }
}

impl Drop for World {
    /// What a failed test leaves behind tells why.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("logs, database and node are kept in {}", self.folder.path().display());
        }
    }
}

/// As if the customer had used most of what a month has.
pub async fn use_up(database: &str, subscription: &str) {
    let (month, used) = (month_of(Clock::System.now()), bandwidth_limit() / 10 * 9);
    let sql = format!(
        "INSERT INTO monthly_usage (subscription_id, month, bytes) VALUES ('{subscription}', '{month}', {used}) \
         ON CONFLICT (subscription_id, month) DO UPDATE SET bytes = excluded.bytes + monthly_usage.reset_bytes"
    );
    install_default_drivers();
    let mut database = AnyConnection::connect(database).await.unwrap();
    // Many write at once, and SQLite lets nobody wait for their turn forever.
    let began = tokio::time::Instant::now();
    while let Err(error) = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut database).await {
        assert!(began.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn start_node(folder: &Path, address: SocketAddr, control: SocketAddr) -> Program {
    let (address_text, control_text) = (address.to_string(), control.to_string());
    let arguments = ["simulator", "--data-dir", "node", "--listen", &address_text, "--control", &control_text];
    let mut node = Program::start(folder, "node.log", &arguments, &[]);
    // The control opens last.
    node.listens(control).await;
    node
}

/// A node writes its macaroon anew at each start; a service that starts at that moment shall not find it half written.
async fn copy_macaroon(folder: &Path) {
    let node = folder.join("node/wiretoll.macaroon");
    while std::fs::metadata(&node).map_or(0, |file| file.len()) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    std::fs::copy(node, folder.join("wiretoll.macaroon")).unwrap();
}

/// Below the ports that the system gives to connections, so that nobody takes it while its owner is down.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 17_000).unwrap();
    loop {
        let port = 12_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 18_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

pub fn postgres_url() -> Option<String> {
    std::env::var("TEST_POSTGRES_URL").ok()
}

/// A database of its own; the server that holds it is thrown away afterwards.
async fn create_database(like: &str) -> String {
    let url = postgres_url().expect("TEST_POSTGRES_URL");
    let name = format!("kill_{}", hex::encode(wiretoll::random::bytes::<16>().unwrap()));
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let sql = format!("CREATE DATABASE {name} {like}");
    // Connections of a process that was just killed may still be ending.
    let began = tokio::time::Instant::now();
    while let Err(error) = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut connection).await {
        assert!(began.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    connection.close().await.unwrap();
    let (server, _) = url.rsplit_once('/').expect("a URL with a database");
    format!("{server}/{name}")
}

fn name_of(url: &str) -> &str {
    url.rsplit_once('/').expect("a URL with a database").1
}
