//! An agent that starts from its file with 10,000 peers and nobody to ask: until everything stands.

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;
use wiretoll::agent::key::KeyFile;
use wiretoll::clock::Clock;
use wiretoll::domain::desired::{Desired, DesiredPeer, Terms};
use wiretoll::domain::interface_name::InterfaceName;
use wiretoll::domain::keys::{PresharedKey, PrivateKey};
use wiretoll::domain::peer_diff::{PeerConfig, diff};
use wiretoll::domain::time::DAY;
use wiretoll::netfilter;
use wiretoll::wireguard::interface::Interface;

use super::device::Device;
use super::figures::{Figures, Target, median, timed};
use super::peers::{bytes, wg};

const PEERS: u32 = 10_000;
const ROUNDS: usize = 3;
const INTERFACE: &str = "wgboot";
const FOLDER: &str = "/run/boot";

pub async fn measure(figures: &mut Figures) {
    std::fs::create_dir_all(FOLDER).expect("a folder");
    std::fs::write(format!("{FOLDER}/wiretoll.toml"), config(FOLDER, INTERFACE)).expect("a file");
    let (mut whole, mut by_hand, mut looked, mut looked_by_hand) = (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        std::fs::write(format!("{FOLDER}/state.json"), state()).expect("a file");
        let device = Device::make(INTERFACE);
        let began = Instant::now();
        let mut agent = start(FOLDER, "info");
        until(&mut agent, "what stood before was restored");
        whole.push(began.elapsed());
        agent.kill().expect("killed");
        agent.wait().expect("ended");
        looked.push(timed(look()).await.0);
        looked_by_hand.push(timed(async { look_by_hand() }).await.0);
        let dump = Command::new("wg").args(["showconf", INTERFACE]).output().expect("wg");
        std::fs::write("/run/boot.conf", &dump.stdout).expect("a file");
        let ruleset = Command::new("nft").args(["list", "table", "inet", "wgsub"]).output().expect("nft");
        std::fs::write("/run/boot.nft", &ruleset.stdout).expect("a file");
        drop(device);
        nft(&["delete", "table", "inet", "wgsub"]);
        let device = Device::make(INTERFACE);
        by_hand.push(timed(async { by_hand_once() }).await.0);
        nft(&["delete", "table", "inet", "wgsub"]);
        drop(device);
    }
    let name = "10,000 peers, forwards and leases restored by the agent, beside `wg setconf` and `nft -f`";
    figures.times(name, median(whole), median(by_hand), &Target::Within(1_000.0));
    let name = "10,000 customers' server looked at as a whole, beside `wg show dump` and `nft -j list`";
    figures.times(name, median(looked), median(looked_by_hand), &Target::AtMost(1.0));
}

/// What an agent reads every five minutes, and compares with what is to stand.
async fn look() {
    let mut interface = Interface::new(InterfaceName::parse(INTERFACE).expect("a name"));
    let peers: Vec<PeerConfig> = (0..PEERS).map(peer).map(|peer| config_of(&peer)).collect();
    let found = interface.dump().await.expect("read");
    let own = PrivateKey::from_random([1; 32]).public_key();
    assert!(diff(&peers, &found, &own).expect("peers that can be").is_empty());
    assert_eq!(netfilter::list().await.expect("listed").expect("a table").forwards.len(), PEERS as usize);
    assert!(netfilter::rules().await.expect("listed").is_some());
}

fn look_by_hand() {
    wg(&["show", INTERFACE, "dump"]);
    let listed = Command::new("nft").args(["-j", "list", "table", "inet", "wgsub"]).output();
    assert!(listed.is_ok_and(|listed| listed.status.success()));
}

fn config_of(peer: &DesiredPeer) -> PeerConfig {
    PeerConfig {
        public_key: peer.public_key,
        preshared_key: Some(peer.preshared_key.clone()),
        allowed_ips: vec![IpAddr::from(peer.address).into()],
    }
}

fn by_hand_once() {
    wg(&["setconf", INTERFACE, "/run/boot.conf"]);
    nft(&["-f", "/run/boot.nft"]);
}

pub fn nft(arguments: &[&str]) {
    let status = Command::new("nft").args(arguments).status();
    assert!(status.is_ok_and(|status| status.success()), "nft {arguments:?}");
}

/// The section of an agent alone.
pub fn config(folder: &str, interface: &str) -> String {
    format!(
        "[agent]\nserver = \"eu-de\"\ninterface = \"{interface}\"\nwan_interface = \"wan0\"\n\
         public_address = \"203.0.113.1\"\nsocket = \"{folder}/agent.sock\"\nstate_folder = \"{folder}\"\n"
    )
}

pub fn start(folder: &str, log_level: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wiretoll"));
    command.args(["agent", "--config", &format!("{folder}/wiretoll.toml")]);
    command.env("WIRETOLL_LOG__LEVEL", log_level);
    command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the agent starts")
}

/// Until it says so; what it says afterwards is thrown away.
pub fn until(child: &mut Child, marker: &str) -> String {
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let said = lines.by_ref().map_while(Result::ok).find(|line| line.contains(marker)).expect("it says so");
    std::thread::spawn(move || lines.for_each(drop));
    said
}

fn state() -> String {
    let peers = (0..PEERS).map(|n| {
        let peer = peer(n);
        (peer.id, peer)
    });
    let terms = Terms { listen_port: 51_999, network: "10.64.0.0/16".parse().expect("a network"), network6: None };
    let desired = Desired { epoch: Uuid::from_u128(1), revision: 1, terms, peers: peers.collect() };
    json!({ "server_key": KeyFile::new(Path::new(FOLDER)).load_or_make().expect("a key").public_key(), "desired": desired, "withheld": [], "seen_at": Clock::System.now().millis(), "counter_run": Uuid::from_u128(2) }).to_string()
}

fn peer(n: u32) -> DesiredPeer {
    DesiredPeer {
        id: Uuid::from_u128(u128::from(n) + 1),
        public_key: PrivateKey::from_random(bytes(n, 3)).public_key(),
        preshared_key: PresharedKey::from_bytes(bytes(n, 4)),
        address: Ipv4Addr::from_bits(Ipv4Addr::new(10, 64, 0, 2).to_bits() + n),
        address6: None,
        public_port: u16::try_from(20_000 + n).expect("a port"),
        target_port: 9_735,
        traffic_until: Some(Clock::System.now().plus_millis(30 * DAY)),
        throttled: false,
    }
}
