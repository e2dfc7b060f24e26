//! A small internet for the demo, in namespaces that vanish with it: nothing on the machine is changed.
//!
//! ```text
//! customer (192.0.2.2) --- visitor (203.0.113.254) --- this process, the server (203.0.113.1)
//! ```

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::timeout;

pub const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub const INTERFACE: &str = "wg0";
pub const WAN: &str = "wan0";

const INSIDE: &str = "WIRETOLL_DEMO_INSIDE";
const CUSTOMER: &str = "customer";
const VISITOR: &str = "visitor";
const CUSTOMERS_INTERFACE: &str = "wgc";
const NEEDED: &str = "the demo with WireGuard needs root or user namespaces, /dev/net/tun, and the programs ip, wg, ping, \
    nft and, where the kernel has no WireGuard, wireguard-go (Debian: iproute2 wireguard-tools iputils-ping nftables \
    wireguard-go)";
const PATIENCE: Duration = Duration::from_secs(10);

/// The wires and daemons; the daemons end with it.
pub struct World(#[expect(dead_code, reason = "they end when it is dropped")] Vec<Daemon>);

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this program again in namespaces of its own, with the same arguments.
pub fn enter() -> anyhow::Result<ExitStatus> {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(OsString::from(":/usr/sbin:/sbin"));
    command.args(["--net", "--mount", "--pid", "--kill-child", "--mount-proc"]).env("PATH", path).env(INSIDE, "1");
    command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).status().context(NEEDED)
}

impl World {
    /// The namespaces with their wires, and a WireGuard daemon for each end that needs one.
    pub fn build() -> anyhow::Result<Self> {
        run(&mut words("mount -t tmpfs tmpfs /run"))?;
        batch(
            None,
            &format!(
                "netns add {VISITOR}\nnetns add {CUSTOMER}\nlink set lo up\n\
             link add {WAN} type veth peer name srv0 netns {VISITOR}\naddr add {PUBLIC}/24 dev {WAN}\nlink set {WAN} up\n\
             route add default via 203.0.113.254\n"
            ),
        )?;
        batch(
            Some(VISITOR),
            &format!(
                "link set lo up\naddr add 203.0.113.254/24 dev srv0\nlink set srv0 up\n\
             link add c0 type veth peer name e0 netns {CUSTOMER}\naddr add 192.0.2.1/30 dev c0\nlink set c0 up\n"
            ),
        )?;
        batch(
            Some(CUSTOMER),
            "link set lo up\naddr add 192.0.2.2/30 dev e0\nlink set e0 up\nroute add default via 192.0.2.1\n",
        )?;
        for place in [None, Some(VISITOR)] {
            run(within(place, "sysctl").args(["-q", "-w", "net.ipv4.ip_forward=1"]))?;
        }
        let mut daemons = Vec::new();
        if !kernel_has_wireguard()? {
            daemons.push(daemon(None, INTERFACE)?);
        }
        daemons.push(daemon(Some(CUSTOMER), CUSTOMERS_INTERFACE)?);
        Ok(Self(daemons))
    }

    /// Brings a claimed config up at the customer, as wg-quick would, and waits for the first answer of the gateway.
    pub fn connect(config: &str, folder: &Path) -> anyhow::Result<Ipv4Addr> {
        let value = |key: &str| {
            let line = config.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
            line.with_context(|| format!("the config has no {key}"))
        };
        let (key, psk) = (folder.join("customer.key"), folder.join("customer.psk"));
        std::fs::write(&key, value("PrivateKey")?)?;
        std::fs::write(&psk, value("PresharedKey")?)?;
        let port = value("Endpoint")?.rsplit(':').next().context("the endpoint has no port")?;
        let mut set = within(Some(CUSTOMER), "wg");
        set.args(["set", CUSTOMERS_INTERFACE, "private-key"]).arg(&key).args(["peer", value("PublicKey")?]);
        set.arg("preshared-key").arg(&psk).args(["endpoint", &format!("{PUBLIC}:{port}")]);
        run(set.args(["allowed-ips", value("AllowedIPs")?, "persistent-keepalive", "25"]))?;
        let address: Ipv4Addr = value("Address")?.trim_end_matches("/32").parse()?;
        batch(
            Some(CUSTOMER),
            &format!(
                "addr add {address}/32 dev {CUSTOMERS_INTERFACE}\nlink set {CUSTOMERS_INTERFACE} mtu 1420 up\n\
             route add 10.9.0.0/21 dev {CUSTOMERS_INTERFACE}\nroute add default dev {CUSTOMERS_INTERFACE} table 7\n\
             rule add from {address} table 7\n"
            ),
        )?;
        run(within(Some(CUSTOMER), "ping").args(["-n", "-q", "-c1", "-W10", "10.9.0.1"]).stdout(Stdio::null()))?;
        Ok(address)
    }

    /// A node of the customer's that says whom it sees; then a visitor from the internet who dials the public port.
    pub async fn visit(node: Ipv4Addr, public_port: u16) -> anyhow::Result<String> {
        let socket = socket_in(CUSTOMER)?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((node, 9_735)))?;
        let listener = socket.listen(1)?;
        let greet = async {
            let (mut visitor, from) = listener.accept().await?;
            let greeting = format!("hello from the node at {node}:9735, you are {}", from.ip());
            visitor.write_all(greeting.as_bytes()).await?;
            visitor.shutdown().await
        };
        let dial = async {
            let mut stream = socket_in(VISITOR)?.connect(SocketAddr::from((PUBLIC, public_port))).await?;
            let mut heard = String::new();
            stream.read_to_string(&mut heard).await?;
            Ok::<_, anyhow::Error>(heard)
        };
        let (greeted, heard) =
            timeout(PATIENCE, async { tokio::join!(greet, dial) }).await.context("nobody answered")?;
        greeted?;
        heard
    }
}

/// What a command prints.
pub fn shown(command: &str) -> anyhow::Result<String> {
    let output = words(command).output().context(NEEDED)?;
    anyhow::ensure!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

fn words(command: &str) -> Command {
    let mut words = command.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).stdin(Stdio::null());
    command
}

fn within(place: Option<&str>, program: &str) -> Command {
    let Some(place) = place else { return words(program) };
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{place}")).args(["--", program]).stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().context(NEEDED)?;
    anyhow::ensure!(status.success(), "{command:?} failed; {NEEDED}");
    Ok(())
}

fn batch(place: Option<&str>, lines: &str) -> anyhow::Result<()> {
    let mut child = within(place, "ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().context(NEEDED)?;
    child.stdin.take().context("ip listens")?.write_all(lines.as_bytes())?;
    anyhow::ensure!(child.wait()?.success(), "ip refused; {NEEDED}");
    Ok(())
}

fn kernel_has_wireguard() -> anyhow::Result<bool> {
    let mut probe = words("ip link add wgprobe type wireguard");
    if !probe.stderr(Stdio::null()).status().context(NEEDED)?.success() {
        return Ok(false);
    }
    run(&mut words("ip link del wgprobe"))?;
    Ok(true)
}

fn daemon(place: Option<&str>, interface: &str) -> anyhow::Result<Daemon> {
    let mut command = within(place, "wireguard-go");
    command.args(["-f", interface]).env("LOG_LEVEL", "error").env("WG_PROCESS_FOREGROUND", "1");
    let mut daemon = Daemon(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context(NEEDED)?);
    let socket = format!("/var/run/wireguard/{interface}.sock");
    for _ in 0..500 {
        if Path::new(&socket).exists() {
            return Ok(daemon);
        }
        anyhow::ensure!(daemon.0.try_wait()?.is_none(), "wireguard-go ended; {NEEDED}");
        #[expect(clippy::disallowed_methods, reason = "nothing else runs yet")]
        std::thread::sleep(Duration::from_millis(10));
    }
    anyhow::bail!("wireguard-go did not start; {NEEDED}")
}

/// A socket that belongs to another namespace: only the thread that makes it goes there.
fn socket_in(place: &str) -> anyhow::Result<TcpSocket> {
    let namespace = File::open(format!("/run/netns/{place}"))?;
    let made = std::thread::scope(|scope| {
        let enter = scope.spawn(|| {
            rustix::thread::move_into_link_name_space(namespace.as_fd(), None)?;
            TcpSocket::new_v4()
        });
        enter.join()
    });
    Ok(made.map_err(|_| anyhow::anyhow!("the thread ended"))??)
}
