//! Nodes of a test's own: btcd on regtest, a payer and a payee with a channel between them, from the binaries in
//! `LND_BIN`. What was started ends with the test, by the handle of its process.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tonic::Request;
use tonic_prost::ProstCodec;

use crate::payee::{Payee, variable};
use crate::payer::LndPayer;
use crate::pinned::pinned_channel;

/// On a machine with much else to do a node needs a minute to start.
const PATIENCE: Duration = Duration::from_mins(5);

/// Below the ports that the system hands out by itself, so that a node finds its own free after a restart.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

const MACAROONS: &str = "data/chain/bitcoin/regtest";
const PERMISSIONS: [&str; 3] = ["info:read", "invoices:read", "invoices:write"];

pub struct Lab {
    pub payee: Lnd,
    payer: Lnd,
    chain: Chain,
    folder: TempDir,
}

/// How a node finds its wallet at a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wallet {
    Open,
    Locked,
}

pub struct Lnd {
    folder: PathBuf,
    pub rpc_port: u16,
    peer_port: u16,
    settings: Vec<String>,
    process: Option<Process>,
}

/// `lnrpc.ChangePasswordRequest`, as much as is needed of it.
#[derive(Clone, PartialEq, prost::Message)]
struct ChangePassword {
    #[prost(bytes = "vec", tag = "1")]
    current_password: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    new_password: Vec<u8>,
}

struct Chain {
    folder: PathBuf,
    rpc_port: u16,
    peer_port: u16,
    process: Option<Process>,
}

impl Lab {
    pub async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let mut chain = Chain::start(folder.path()).await;
        let mut payer = Lnd::new(&chain, "payer", &["--maxbackoff=2s"]);
        payer.run(Wallet::Open);
        payer.until_state("RPC_ACTIVE").await;
        chain.mine_for(payer.lncli(&["newaddress", "p2wkh"]).unwrap()["address"].as_str().unwrap()).await;
        let mut lab = Self { payee: Lnd::new(&chain, "payee", store()), payer, chain, folder };
        lab.payee.start().await;
        lab.open_channel(&lab.payee).await;
        lab.show(&lab.payee);
        lab
    }

    /// What a shop is told: an address, and files into which [`Self::show`] copies a node's credentials.
    pub fn payee(&self) -> Payee {
        let certificate = std::fs::read_to_string(self.payer.folder.join("tls.cert")).unwrap();
        let macaroon = hex::encode(std::fs::read(self.payer.macaroon("admin")).unwrap());
        Payee {
            address: format!("https://127.0.0.1:{}", self.payee.rpc_port),
            certificate: self.folder.path().join("tls.cert"),
            macaroon: self.folder.path().join("service.macaroon"),
            payer: LndPayer::new(&self.payer.address(), &certificate, macaroon),
        }
    }

    /// Gives the shop the credentials of `node`.
    pub fn show(&self, node: &Lnd) {
        self.show_certificate(node);
        self.show_macaroon(node, 7);
    }

    pub fn show_certificate(&self, node: &Lnd) {
        std::fs::copy(node.folder.join("tls.cert"), self.folder.path().join("tls.cert")).unwrap();
    }

    pub fn show_macaroon(&self, node: &Lnd, root_key: u8) {
        let (root_key, file) = (root_key.to_string(), self.folder.path().join("service.macaroon"));
        let bake = ["bakemacaroon", "--root_key_id", &root_key, "--save_to", file.to_str().unwrap()];
        node.lncli(&[&bake[..], &PERMISSIONS].concat()).unwrap();
    }

    /// Another payee with a channel, at the RPC port of the first.
    pub async fn another_payee(&self) -> Lnd {
        let mut other = Lnd::new(&self.chain, "other", store());
        other.start().await;
        self.open_channel(&other).await;
        other.stop().await;
        other.rpc_port = self.payee.rpc_port;
        other
    }

    /// Returns when both sides can use their channel, the payer has a route, and they agree on the height.
    pub async fn until_payable(&self, payee: &Lnd) {
        let key = payee.public_key();
        let address = format!("{key}@127.0.0.1:{}", payee.peer_port);
        until("the payee's side is active", || {
            // Two nodes that call each other at once may both hang up, and then wait longer than anybody here.
            let _ = self.payer.lncli(&["connect", &address]);
            payee.info()["num_active_channels"] == 1
        })
        .await;
        until("the payer's side is active", || {
            let channels = self.payer.lncli(&["listchannels", "--active_only", "--peer", &key]).unwrap_or_default();
            channels["channels"].as_array().is_some_and(|channels| !channels.is_empty())
        })
        .await;
        until("both are at the same height", || payee.info()["block_height"] == self.payer.info()["block_height"])
            .await;
        until("the payer has a route", || self.payer.lncli(&["queryroutes", &key, "4500"]).is_some()).await;
    }

    async fn open_channel(&self, payee: &Lnd) {
        for node in [&self.payer, payee] {
            until("the node has the chain", || node.info()["synced_to_chain"] == true).await;
        }
        until("the payer has money", || {
            let balance = self.payer.lncli(&["walletbalance"]).unwrap_or_default();
            balance["confirmed_balance"].as_str().is_some_and(|sats| sats.len() > 8)
        })
        .await;
        let key = payee.public_key();
        self.payer.lncli(&["connect", &format!("{key}@127.0.0.1:{}", payee.peer_port)]).unwrap();
        let open = ["openchannel", "--node_key", &key, "--local_amt", "16000000", "--push_amt", "4000000"];
        self.payer.lncli(&open).unwrap();
        until("the channel's transaction", || self.chain.btcctl(&["getrawmempool"]).contains('"')).await;
        self.chain.btcctl(&["generate", "6"]);
        self.until_payable(payee).await;
    }
}

/// The payee's database; LND's default is bbolt.
fn store() -> &'static [&'static str] {
    match std::env::var("LND_STORE").as_deref() {
        Err(_) | Ok("bbolt") => &[],
        Ok("kvsqlite") => &["--db.backend=sqlite"],
        Ok("sqlite") => &["--db.backend=sqlite", "--db.use-native-sql"],
        Ok(other) => panic!("LND_STORE={other}"),
    }
}

impl Lnd {
    fn new(chain: &Chain, name: &str, more: &[&str]) -> Self {
        let folder = chain.folder.with_file_name(name);
        std::fs::create_dir(&folder).unwrap();
        let mut settings: Vec<_> = [
            "--bitcoin.regtest --bitcoin.node=btcd --btcd.rpcuser=lab --btcd.rpcpass=lab --norest --nobootstrap",
            "--tlsdisableautofill --trickledelay=50 --gossip.sub-batch-delay=5ms --bitcoin.defaultchanconfs=1",
        ]
        .iter()
        .flat_map(|some| some.split(' '))
        .chain(more.iter().copied())
        .map(ToOwned::to_owned)
        .collect();
        settings.push(format!("--btcd.rpchost=127.0.0.1:{}", chain.rpc_port));
        settings.push(format!("--btcd.rpccert={}", chain.folder.join("rpc.cert").display()));
        Self { folder, rpc_port: free_port(), peer_port: free_port(), settings, process: None }
    }

    pub async fn start(&mut self) {
        self.run(Wallet::Open);
        self.until_state("SERVER_ACTIVE").await;
    }

    pub fn run(&mut self, wallet: Wallet) {
        let mut command = Command::new(program("lnd"));
        command.args(&self.settings).arg(format!("--lnddir={}", self.folder.display()));
        command.arg(format!("--rpclisten=127.0.0.1:{}", self.rpc_port));
        command.arg(format!("--listen=127.0.0.1:{}", self.peer_port));
        if wallet == Wallet::Open {
            command.arg("--noseedbackup");
        }
        self.process = Some(Process::start(command, &self.folder));
    }

    pub async fn stop(&mut self) {
        self.process.take().expect("the node runs").stop().await;
    }

    /// Without a word to anybody.
    pub fn kill(&mut self) {
        self.process = None;
    }

    pub async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    pub async fn until_state(&self, state: &str) {
        until(state, || self.lncli(&["state"]).is_some_and(|answer| answer["state"] == state)).await;
    }

    /// Gives the wallet a password, which unlocks it: one that LND made by itself (`--noseedbackup`) has two, so that
    /// `UnlockWallet` refuses either, and an empty current password stands for both here.
    pub async fn unlock(&self) {
        let certificate = std::fs::read_to_string(self.folder.join("tls.cert")).unwrap();
        let mut client = tonic::client::Grpc::new(pinned_channel(&self.address(), &certificate));
        client.ready().await.unwrap();
        let path = "/lnrpc.WalletUnlocker/ChangePassword".parse().unwrap();
        let new = ChangePassword { current_password: Vec::new(), new_password: b"at least eight".to_vec() };
        client.unary(Request::new(new), path, ProstCodec::<ChangePassword, ()>::default()).await.unwrap();
    }

    /// Makes LND make another certificate at its next start.
    pub fn delete_certificate(&self) {
        for name in ["tls.cert", "tls.key"] {
            std::fs::remove_file(self.folder.join(name)).unwrap();
        }
    }

    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.rpc_port)
    }

    pub fn public_key(&self) -> String {
        self.info()["identity_pubkey"].as_str().unwrap().to_owned()
    }

    pub fn delete_root_key(&self, root_key: &str) {
        self.lncli(&["deletemacaroonid", root_key]).unwrap();
    }

    /// Null while the node does not answer.
    fn info(&self) -> Value {
        self.lncli(&["getinfo"]).unwrap_or_default()
    }

    fn macaroon(&self, name: &str) -> PathBuf {
        self.folder.join(MACAROONS).join(format!("{name}.macaroon"))
    }

    /// None where it failed.
    fn lncli(&self, arguments: &[&str]) -> Option<Value> {
        let answer = self.lncli_command(arguments).output().unwrap();
        answer.status.success().then(|| serde_json::from_slice(&answer.stdout).unwrap_or_default())
    }

    fn lncli_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("lncli"));
        command.arg("--network=regtest").arg(format!("--lnddir={}", self.folder.display()));
        command.arg(format!("--rpcserver=127.0.0.1:{}", self.rpc_port)).args(arguments);
        command
    }
}

impl Chain {
    async fn start(folder: &Path) -> Self {
        let folder = folder.join("btcd");
        std::fs::create_dir(&folder).unwrap();
        let mut chain = Self { folder, rpc_port: free_port(), peer_port: free_port(), process: None };
        chain.run(&[]).await;
        chain
    }

    /// Gives `address` the first coins; on regtest a channel wants more than 432 blocks below it (segwit).
    async fn mine_for(&mut self, address: &str) {
        self.process.take().unwrap().stop().await;
        self.run(&[format!("--miningaddr={address}")]).await;
        self.btcctl(&["generate", "450"]);
    }

    async fn run(&mut self, more: &[String]) {
        let mut command = Command::new(program("btcd"));
        command.args(self.arguments()).args(["--txindex", "--nobanning", "--nostalldetect", "--rejectnonstd"]);
        command.args(["--trickleinterval=100ms", "--rpcmaxwebsockets=50"]);
        command.arg(format!("--datadir={}", self.folder.join("data").display()));
        command.arg(format!("--logdir={}", self.folder.join("log").display()));
        command.arg(format!("--rpckey={}", self.folder.join("rpc.key").display()));
        command.arg(format!("--rpclisten=127.0.0.1:{}", self.rpc_port));
        command.arg(format!("--listen=127.0.0.1:{}", self.peer_port)).args(more);
        self.process = Some(Process::start(command, &self.folder));
        until("btcd answers", || !self.btcctl(&["getblockcount"]).is_empty()).await;
    }

    /// Empty where it failed.
    fn btcctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(program("btcctl"));
        command.args(self.arguments()).arg(format!("--rpcserver=127.0.0.1:{}", self.rpc_port)).args(arguments);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    fn arguments(&self) -> [String; 5] {
        [
            "--regtest".into(),
            "--rpcuser=lab".into(),
            "--rpcpass=lab".into(),
            format!("--configfile={}", self.folder.join("none.conf").display()),
            format!("--rpccert={}", self.folder.join("rpc.cert").display()),
        ]
    }
}

/// A process that does not outlive this.
struct Process(Child);

impl Process {
    fn start(mut command: Command, folder: &Path) -> Self {
        let log = File::options().create(true).append(true).open(folder.join("output")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }

    /// Tells it to end, and waits until it has.
    async fn stop(mut self) {
        let told = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap();
        assert!(told.success());
        until("the process ends", || self.0.try_wait().unwrap().is_some()).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already is only waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let patience = async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, patience).await.is_ok(), "it did not happen in time: {what}");
}

fn program(name: &str) -> PathBuf {
    Path::new(&variable("LND_BIN")).join(name)
}

fn free_port() -> u16 {
    loop {
        let chance = u16::from_le_bytes(wiretoll::random::bytes().unwrap());
        let port = PORTS.start + chance % (PORTS.end - PORTS.start);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
