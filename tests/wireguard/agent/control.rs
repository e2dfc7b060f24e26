//! A control plane of the test's: an agent on the lab's server is told what the test says, and its words are kept.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use uuid::Uuid;
use wiretoll::clock::Clock;
use wiretoll::domain::desired::{Change, Desired, DesiredPeer, Report, Snapshot, TakenAway, Terms, Update};
use wiretoll::domain::keys::PresharedKey;
use wiretoll::domain::time::Timestamp;
use wiretoll::domain::trouble::Trouble;

use crate::lab::{LISTEN_PORT, Lab, Node, PUBLIC, PUBLIC6, done};
use crate::process::{Process, command};

/// What it says and has heard.
pub struct Told {
    pub desired: Desired,
    /// How far its clock is ahead of the right one.
    pub ahead_millis: i64,
    /// Whether it says that something keeps its clock right.
    pub is_synchronised: bool,
    pub reports: Vec<Report>,
    /// Whether it refuses reports.
    pub is_deaf: bool,
}

impl Told {
    fn now(&self) -> Timestamp {
        Clock::System.now().plus_millis(self.ahead_millis)
    }
}

pub struct ControlPlane {
    pub folder: TempDir,
    told: Arc<Mutex<Told>>,
}

impl ControlPlane {
    /// It has nobody yet. The agent's key is that of the lab's interface.
    pub fn listen(lab: &Lab) -> Self {
        let folder = TempDir::new_in("/run").unwrap();
        let config = format!(
            "[agent]\nserver = \"eu-de\"\nsocket = \"agent.sock\"\nstate_folder = \"state\"\ninterface = \"wg0\"\n\
             wan_interface = \"wan0\"\npublic_address = \"{PUBLIC}\"\npublic_address6 = \"{PUBLIC6}\"\n"
        );
        std::fs::write(folder.path().join("wiretoll.toml"), config).unwrap();
        std::fs::write(folder.path().join("key"), lab.private_key.expose()).unwrap();
        done(command("wiretoll", folder.path()).args(["agent", "key", "import", "key"]));
        let (network, network6) = ("10.9.0.0/21".parse().unwrap(), "fd66::/64".parse().ok());
        let terms = Terms { listen_port: LISTEN_PORT, network, network6 };
        let desired = Desired { epoch: Uuid::from_u128(1), revision: 0, terms, peers: [].into() };
        let told = Told { desired, ahead_millis: 0, is_synchronised: true, reports: Vec::new(), is_deaf: false };
        let told = Arc::new(Mutex::new(told));
        let (socket, heard) = (folder.path().join("agent.sock"), Arc::clone(&told));
        // On a thread of its own, as a test may wait for what the agent says.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { accept(UnixListener::bind(socket).unwrap(), heard).await });
        });
        Self { folder, told }
    }

    pub fn start_agent(&self) -> Process {
        Process::start(command("wiretoll", self.folder.path()).arg("agent"))
    }

    /// Changes what the agent's own file says.
    pub fn edit_state(&self, edit: impl FnOnce(&mut Value)) {
        let file = self.folder.path().join("state/state.json");
        let mut state: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        edit(&mut state);
        std::fs::write(&file, state.to_string()).unwrap();
    }

    /// From now on the server is to have exactly these.
    pub fn tell(&self, peers: &[DesiredPeer]) {
        self.with(|told| {
            told.desired.revision += 1;
            told.desired.peers = peers.iter().map(|peer| (peer.id, peer.clone())).collect();
        });
    }

    pub fn with<T>(&self, act: impl FnOnce(&mut Told) -> T) -> T {
        act(&mut self.told.lock().unwrap())
    }

    /// Whether the agent has said that all of it stands.
    pub fn is_applied(&self) -> bool {
        self.with(|told| {
            let mut applied = told.reports.iter().filter_map(|report| report.applied.as_ref());
            applied.next_back().is_some_and(|applied| applied.revision == told.desired.revision)
        })
    }

    pub fn troubles(&self) -> String {
        self.with(|told| told.reports.last().map(|report| words(&report.troubles)).unwrap_or_default())
    }

    /// Sold for an hour, counted from what it says that the time is.
    pub fn peer(&self, node: &Node) -> DesiredPeer {
        DesiredPeer {
            id: Uuid::from_u128(u128::from(node.public_port)),
            public_key: node.private_key.public_key(),
            preshared_key: PresharedKey::as_listed([9; 32]).unwrap(),
            address: node.address,
            address6: Some(node.address6),
            public_port: node.public_port,
            target_port: 9_735,
            traffic_until: Some(self.with(|told| told.now().plus_millis(3_600_000))),
            throttled: false,
        }
    }
}

fn words(troubles: &[Trouble]) -> String {
    troubles.iter().map(Trouble::as_str).collect::<Vec<_>>().join("; ")
}

async fn accept(listener: UnixListener, told: Arc<Mutex<Told>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let told = Arc::clone(&told);
        connections.spawn(async move { drop(converse(stream, &told).await) });
    }
}

async fn converse(stream: UnixStream, told: &Mutex<Told>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = String::new();
        let (mut line, mut length) = (String::new(), 0);
        while stream.read_line(&mut line).await? > 0 && line != "\r\n" {
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            request.push_str(&line);
            line.clear();
        }
        if request.is_empty() {
            return Ok(());
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let answer = answer(&request, &body, told).await;
        stream.get_mut().write_all(answer.as_bytes()).await?;
    }
}

async fn answer(request: &str, body: &[u8], told: &Mutex<Told>) -> String {
    let found = if request.starts_with("POST") {
        let mut told = told.lock().unwrap();
        if told.is_deaf {
            return "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned();
        }
        told.reports.push(serde_json::from_slice(body).unwrap());
        let word = json!({ "resync": false, "now": told.now().millis(), "is_synchronised": told.is_synchronised });
        Some(word.to_string())
    } else {
        news(request, &told.lock().unwrap())
    };
    let Some(found) = found else {
        tokio::time::sleep(Duration::from_millis(50)).await;
        return "HTTP/1.1 204 No Content\r\n\r\n".to_owned();
    };
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{found}", found.len())
}

fn news(request: &str, told: &Told) -> Option<String> {
    if request.contains(&format!("since={} ", told.desired.revision)) {
        return None;
    }
    let change = Change::Snapshot(Snapshot::new(told.desired.clone(), false, TakenAway::default()));
    Some(serde_json::to_string(&Update { now: told.now(), is_synchronised: told.is_synchronised, change }).unwrap())
}
