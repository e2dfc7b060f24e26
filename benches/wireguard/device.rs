//! An interface of the server's with nothing on it: the kernel's where it has WireGuard, else a daemon's.

use std::process::Command;

use super::lab::{Daemon, Place, done, kernel_has_wireguard};

pub enum Device {
    Kernel(String),
    Userspace { _daemon: Daemon },
}

impl Device {
    pub fn make(interface: &str) -> Self {
        if !kernel_has_wireguard() {
            return Self::Userspace { _daemon: Daemon::start(Place::Server, interface) };
        }
        Place::Server.ip(&format!("link add {interface} type wireguard\n"));
        Self::Kernel(interface.to_owned())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let Self::Kernel(interface) = self else { return };
        // With ten thousand peers on it the kernel takes minutes to delete it.
        let empty = "/run/nobody.conf";
        std::fs::write(empty, "[Interface]\n").expect("a file");
        done(Command::new("wg").args(["syncconf", interface, empty]));
        Place::Server.ip(&format!("link del {interface}\n"));
    }
}
