//! The rooms of the lab, and what runs in them.

use std::io::Write;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpSocket;

/// The rooms of the lab; `Server` is where the test itself is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Server,
    Visitor,
    A,
    B,
}

/// Killed, by its id, with its owner.
pub struct Daemon(Child);

impl Place {
    /// A command that runs there; for programs under test on the server it needs nothing of the kind.
    pub fn command(self, words: &[&str]) -> Command {
        let (program, arguments) = words.split_first().unwrap();
        let mut command = Command::new(program);
        if let Some(namespace) = self.namespace() {
            command = Command::new("nsenter");
            command.args([&format!("--net=/run/netns/{namespace}"), "--", program]);
        }
        command.args(arguments);
        command
    }

    /// A socket that belongs there, whoever uses it.
    pub fn socket(self, address: IpAddr) -> TcpSocket {
        let make = || if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
        let Some(namespace) = self.namespace() else { return make() };
        let namespace = std::fs::File::open(format!("/run/netns/{namespace}")).unwrap();
        let enter_and_make = || {
            rustix::thread::move_into_link_name_space(namespace.as_fd(), None).unwrap();
            make()
        };
        // Only this thread moves, and it ends here.
        std::thread::scope(|scope| scope.spawn(enter_and_make).join().unwrap())
    }

    pub fn ip(self, lines: &str) {
        let mut child = self.command(&["ip", "-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "ip refused:\n{lines}");
    }

    fn namespace(self) -> Option<&'static str> {
        match self {
            Self::Server => None,
            Self::Visitor => Some("visitor"),
            Self::A => Some("a"),
            Self::B => Some("b"),
        }
    }
}

impl Daemon {
    pub fn start(place: Place, interface: &str) -> Self {
        let mut command = place.command(&["wireguard-go", "-f", interface]);
        command.env("LOG_LEVEL", "error").env("WG_PROCESS_FOREGROUND", "1").stdin(Stdio::null());
        let daemon = Self(command.spawn().unwrap());
        let socket = format!("/var/run/wireguard/{interface}.sock");
        for _ in 0..500 {
            // Not once it is there: `wg` deletes a socket that nobody listens on yet.
            if UnixStream::connect(&socket).is_ok() {
                return daemon;
            }
            #[expect(clippy::disallowed_methods, reason = "nothing else runs yet")]
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("wireguard-go did not start");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs it to its good end.
pub fn done(command: &mut Command) {
    let status = command.stdin(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}
