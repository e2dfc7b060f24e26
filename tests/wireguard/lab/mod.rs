//! A small internet: a visitor, a VPN server and two customers.
//!
//! Each test runs itself again as a process with network, mount and process namespaces of its own, and that process
//! *is* the server. So whatever it starts is on the server; names and sockets of one test never meet those of
//! another; and when it ends, by whatever cause, the kernel removes all of it, daemons included.
//!
//! ```text
//! customer a (192.0.2.2) ---\
//!                            visitor (203.0.113.254) --- server (203.0.113.1), tunnel 10.9.0.1/21, fd66::1/64
//! customer b (192.0.2.6) ---/
//! ```

use std::ffi::OsString;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};
use std::time::Duration;

use wiretoll::config::Egress;
use wiretoll::domain::interface_name::InterfaceName;
use wiretoll::domain::keys::{PresharedKey, PrivateKey, PublicKey};
use wiretoll::domain::peer_diff::{PeerConfig, PeerStatus, diff};
use wiretoll::netfilter::{Customer, Firewall};
use wiretoll::wireguard::interface::{Error, Interface, Settings};

pub use line::{Echo, Line, dial};
pub use place::{Daemon, Place, done};

mod line;
mod place;

pub const VISITOR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 254);
pub const VISITOR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0xfe);
pub const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub const PUBLIC6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
pub const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd66, 0, 0, 0, 0, 0, 0, 1);
pub const LISTEN_PORT: u16 = 51_820;

const INSIDE: &str = "WIRETOLL_LAB";
const PROGRAMS: [&str; 9] = ["unshare", "nsenter", "ip", "ping", "wg", "wg-quick", "wireguard-go", "nft", "sysctl"];

pub struct Lab {
    pub interface: Interface,
    pub private_key: PrivateKey,
    pub a: Node,
    pub b: Node,
    daemons: Vec<Daemon>,
}

/// A customer's node.
pub struct Node {
    pub place: Place,
    pub private_key: PrivateKey,
    pub address: Ipv4Addr,
    pub address6: Ipv6Addr,
    pub public_port: u16,
}

/// Runs a test in a lab of its own. It finds its name by its type, so call it from the test function itself.
pub fn run<F: AsyncFnOnce(Lab)>(test: F) {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(async { test(Lab::new().await).await });
    }
    if let Err(missing) = possible() {
        return skip(&name_of::<F>(), &missing);
    }
    let output = unshare()
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &name_of::<F>(), "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let shown = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    println!("{shown}");
    assert!(output.status.success() && shown.contains("1 passed"), "the test failed in its lab");
}

/// Not where nothing may be skipped.
pub fn skip(test: &str, missing: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{missing}");
    // Past the capture of the test harness: a skipped test has to be seen.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {missing}");
}

/// `wireguard::peers::some_test::{{closure}}` is the test `peers::some_test`.
fn name_of<F>() -> String {
    let path = std::any::type_name::<F>().trim_end_matches("::{{closure}}");
    path.split_once("::").unwrap().1.to_owned()
}

pub fn unshare() -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--net", "--mount", "--pid", "--kill-child", "--mount-proc"]);
    command.env("PATH", path_with_system_folders());
    command
}

/// Debian keeps these programs where users do not look.
fn path_with_system_folders() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

/// Why there can be no lab here.
pub fn possible() -> Result<(), String> {
    if let Some(program) = PROGRAMS.iter().find(|program| !has(program)) {
        return Err(format!("the program {program} is missing"));
    }
    let probe = unshare().args(["sh", "-c", "ip tuntap add mode tun name probe0"]).output();
    match probe {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            Err(format!("no namespaces or no /dev/net/tun: {}", String::from_utf8_lossy(&output.stderr).trim()))
        }
        Err(error) => Err(format!("unshare: {error}")),
    }
}

pub fn has(program: &str) -> bool {
    std::env::split_paths(&path_with_system_folders()).any(|folder| folder.join(program).exists())
}

impl Lab {
    pub async fn new() -> Self {
        build();
        let name = "wg0";
        let mut daemons = Vec::new();
        if !kernel_has_wireguard() {
            daemons.push(Daemon::start(Place::Server, name));
        }
        for (place, name) in [(Place::A, "wga"), (Place::B, "wgb")] {
            daemons.push(Daemon::start(place, name));
        }
        let node = |place, n: u8| Node {
            place,
            private_key: PrivateKey::from_random([n; 32]),
            address: Ipv4Addr::new(10, 9, 0, n),
            address6: Ipv6Addr::new(0xfd66, 0, 0, 0, 0, 0, 0, u16::from(n)),
            public_port: 35_000 + u16::from(n),
        };
        let mut lab = Self {
            interface: Interface::new(InterfaceName::parse(name).unwrap()),
            private_key: PrivateKey::from_random([100; 32]),
            a: node(Place::A, 2),
            b: node(Place::B, 3),
            daemons,
        };
        let settings = lab.settings();
        raise(&mut lab.interface, &settings).await.unwrap();
        for node in [&lab.a, &lab.b] {
            node.set_up();
        }
        lab
    }

    pub fn settings(&self) -> Settings {
        Settings {
            private_key: self.private_key.clone(),
            listen_port: LISTEN_PORT,
            addresses: vec!["10.9.0.1/21".parse().unwrap(), "fd66::1/64".parse().unwrap()],
            mtu: 1_420,
        }
    }

    /// Makes these all the peers of the server.
    pub async fn set_peers(&mut self, desired: &[PeerConfig]) {
        let actual = self.interface.dump().await.unwrap();
        let changes = diff(desired, &actual, &self.private_key.public_key()).unwrap();
        self.interface.apply(&changes).await.unwrap();
        for node in [&self.a, &self.b] {
            if desired.iter().any(|peer| peer.public_key == node.private_key.public_key()) {
                node.connect(&self.private_key);
            }
        }
        self.wait_for_handshakes().await;
    }

    /// Of our nodes, as others have no node; the server cannot reach them before.
    async fn wait_for_handshakes(&mut self) {
        for _ in 0..200 {
            let nodes = [&self.a, &self.b].map(|node| node.private_key.public_key());
            let peers = self.interface.dump().await.unwrap();
            if peers.iter().all(|peer| peer.last_handshake.is_some() || !nodes.contains(&peer.public_key)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no handshake within two seconds");
    }

    /// Both customers connected, behind the firewall, with a lease of a day.
    pub async fn open(&mut self) {
        self.set_peers(&[self.a.config(), self.b.config()]).await;
        let customers = [self.a.customer(), self.b.customer()];
        wiretoll::netfilter::replace(&firewall(), &customers).await.unwrap();
    }

    pub async fn peers(&mut self) -> Vec<PeerStatus> {
        self.interface.dump().await.unwrap()
    }

    pub async fn peer(&mut self, public_key: &str) -> PeerStatus {
        self.peers().await.into_iter().find(|peer| peer.public_key.to_string() == public_key).unwrap()
    }

    /// As a reboot does: where the server has a daemon, it runs again and knows nothing.
    pub fn lose_interface(&mut self) {
        if kernel_has_wireguard() {
            Place::Server.ip("link del wg0\n");
        } else {
            drop(self.daemons.remove(0));
            self.daemons.insert(0, Daemon::start(Place::Server, "wg0"));
        }
    }

    /// Ends the server's daemon, if it has one.
    pub fn stop_daemon(&mut self) {
        if !kernel_has_wireguard() {
            drop(self.daemons.remove(0));
        }
    }
}

/// As an agent does for a server without peers.
pub async fn raise(interface: &mut Interface, settings: &Settings) -> Result<(), Error> {
    interface.prepare(settings).await?;
    interface.bring_up(settings).await
}

/// Bytes that the server has had from a peer, by WireGuard's own count, which ends with the peer.
pub fn received(key: &PublicKey) -> u64 {
    let output = Command::new("wg").args(["show", "wg0", "transfer"]).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let mut peers = shown.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    peers.find(|peer| peer[0] == key.to_string()).unwrap()[1].parse().unwrap()
}

/// Ends the firewall, as a reboot does.
pub fn remove_table() {
    done(Command::new("nft").args(["delete", "table", "inet", "wgsub"]));
}

pub fn firewall() -> Firewall {
    Firewall {
        wireguard_interface: InterfaceName::parse("wg0").unwrap(),
        wan_interface: InterfaceName::parse("wan0").unwrap(),
        public_address: PUBLIC,
        public_address6: Some(PUBLIC6),
        gateways: vec![GATEWAY.into(), GATEWAY6.into()],
        egress: Egress::default(),
    }
}

/// A second network of the server's, which the visitor reaches through it.
pub fn forward_for_others() {
    Place::Server
        .ip("link add lan0 type veth peer name e1 netns b\naddr add 172.16.0.1/30 dev lan0\nlink set lan0 up\n");
    Place::B.ip("addr add 172.16.0.2/30 dev e1\nlink set e1 up\nroute add 203.0.113.0/24 via 172.16.0.1\n");
    Place::Visitor.ip("route add 172.16.0.0/30 via 203.0.113.1\n");
}

impl Node {
    pub fn config(&self) -> PeerConfig {
        PeerConfig {
            public_key: self.private_key.public_key(),
            preshared_key: None,
            allowed_ips: vec![IpAddr::from(self.address).into(), IpAddr::from(self.address6).into()],
        }
    }

    pub fn customer(&self) -> Customer {
        Customer {
            address: self.address,
            address6: Some(self.address6),
            public_port: self.public_port,
            target_port: 9_735,
            lease: Some(Duration::from_hours(24)),
            throttled: false,
        }
    }

    pub fn leased(&self, milliseconds: u64) -> Customer {
        Customer { lease: Some(Duration::from_millis(milliseconds)), ..self.customer() }
    }

    /// Its Lightning node, which greets with the address that it sees.
    pub fn listen(&self, address: IpAddr) -> Echo {
        Echo::listen(self.place, address, 9_735)
    }

    pub fn pings(&self, from: IpAddr, to: IpAddr) -> bool {
        let (from, to) = (from.to_string(), to.to_string());
        let ping = ["ping", "-n", "-q", "-c1", "-W2", "-I", &from, &to];
        self.place.command(&ping).stdout(Stdio::null()).status().unwrap().success()
    }

    pub fn interface(&self) -> &'static str {
        if self.place == Place::A { "wga" } else { "wgb" }
    }

    /// As `wg-quick` would, but without giving up the way to the server.
    fn set_up(&self) {
        let name = self.interface();
        let key = format!("/run/{name}.key");
        std::fs::write(&key, self.private_key.expose()).unwrap();
        done(Command::new("wg").args(["set", name, "private-key", &key]));
        self.use_address(self.address, self.address6);
        self.place.ip(&format!(
            "link set {name} mtu 1420 up\nroute add 10.9.0.0/21 dev {name}\nroute add fd66::/64 dev {name}\n\
             route add default dev {name} table 7\nroute add ::/0 dev {name} table 7\n"
        ));
    }

    /// Not before the server knows it: WireGuard tries again only after five seconds.
    fn connect(&self, server: &PrivateKey) {
        self.connect_with(server, &PresharedKey::from_bytes([0; 32]));
    }

    /// All zeros are none.
    pub fn connect_with(&self, server: &PrivateKey, preshared_key: &PresharedKey) {
        let file = format!("/run/{}.psk", self.interface());
        std::fs::write(&file, preshared_key.expose()).unwrap();
        let server = server.public_key().to_string();
        let endpoint = format!("{PUBLIC}:{LISTEN_PORT}");
        let peer = ["set", self.interface(), "peer", &server, "preshared-key", &file, "endpoint", &endpoint];
        done(Command::new("wg").args(peer).args(["allowed-ips", "0.0.0.0/0,::/0", "persistent-keepalive", "25"]));
    }

    /// Takes an address of the tunnel, and answers from it.
    pub fn use_address(&self, address: Ipv4Addr, address6: Ipv6Addr) {
        let name = self.interface();
        self.place.ip(&format!(
            "link set {name} up\naddr add {address}/32 dev {name}\naddr add {address6}/128 dev {name} nodad\n\
             rule add from {address} table 7\n"
        ));
        // A rule's family does not follow from its address.
        done(&mut self.place.command(&["ip", "-6", "rule", "add", "from", &address6.to_string(), "table", "7"]));
    }
}

pub fn kernel_has_wireguard() -> bool {
    let probe = |verb: &str| {
        let words = ["link", verb, "wgprobe", "type", "wireguard"];
        Command::new("ip").args(words).stderr(Stdio::null()).status().unwrap().success()
    };
    probe("add") && probe("del")
}

/// The wires. The mounts come first: `/run` is ours alone, so no other test sees these names.
fn build() {
    done(Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/run"]));
    Place::Server.ip("netns add visitor\nnetns add a\nnetns add b\nlink set lo up\n\
         link add wan0 type veth peer name srv0 netns visitor\n\
         addr add 203.0.113.1/24 dev wan0\naddr add 2001:db8:1::1/64 dev wan0 nodad\nlink set wan0 up\n\
         route add default via 203.0.113.254\nroute add ::/0 via 2001:db8:1::fe\n");
    Place::Visitor.ip(
        "link set lo up\naddr add 203.0.113.254/24 dev srv0\naddr add 2001:db8:1::fe/64 dev srv0 nodad\n\
         link set srv0 up\nlink add a0 type veth peer name e0 netns a\nlink add b0 type veth peer name e0 netns b\n\
         addr add 192.0.2.1/30 dev a0\naddr add 192.0.2.5/30 dev b0\nlink set a0 up\nlink set b0 up\n",
    );
    for (place, own, visitor) in [(Place::A, "192.0.2.2", "192.0.2.1"), (Place::B, "192.0.2.6", "192.0.2.5")] {
        place.ip(&format!(
            "link set lo up\naddr add {own}/30 dev e0\nlink set e0 up\nroute add default via {visitor}\n"
        ));
    }
    let forwarding = ["sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"];
    for place in [Place::Server, Place::Visitor] {
        done(&mut place.command(&forwarding));
    }
    // As strict as a distribution may have it.
    done(&mut Place::Server.command(&["sysctl", "-q", "-w", "net.ipv4.conf.all.rp_filter=1"]));
}
