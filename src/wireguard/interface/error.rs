//! What can go wrong with an interface, said so that an operator knows what to do.

use std::io;

use netlink_packet_core::DecodeError;
use rustix::io::Errno;

use crate::domain::interface_name::InterfaceName;
use crate::netlink;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("changing network interfaces needs the capability CAP_NET_ADMIN: run as root or grant it to the service")]
    NotPermitted,
    #[error(
        "this kernel has no WireGuard, and nothing answers at {socket}: load the module (modprobe wireguard), or start \
         the daemon: wireguard-go {name} (Debian package wireguard-go)"
    )]
    NoWireguard { name: InterfaceName, socket: String },
    #[error(
        "the WireGuard daemon's socket {socket} is not for user {user}: as root, after each start of the daemon, \
         chown {user} {socket}"
    )]
    SocketOfAnother { socket: String, user: u32 },
    #[error("there is no network interface {0}")]
    NoSuchDevice(InterfaceName),
    #[error("{0} is a network interface, but not one of WireGuard: choose another name")]
    NotWireguard(InterfaceName),
    #[error("another program listens on UDP port {0}")]
    PortTaken(u16),
    #[error("the list of peers changed while it was read, several times in a row")]
    Torn,
    #[error("the kernel refused to {doing}")]
    Refused { doing: &'static str, source: io::Error },
    #[error("the kernel's answer makes no sense")]
    Undecodable(#[source] DecodeError),
    #[error("the WireGuard daemon's answer makes no sense: {0}")]
    Unreadable(&'static str),
    #[error("the WireGuard daemon did not answer in time")]
    TooSlow,
    #[error("cannot talk to {0}")]
    Unreachable(&'static str, #[source] io::Error),
}

impl Error {
    /// A refusal, under its own name where it has one that an operator can act upon.
    pub(super) fn refused(doing: &'static str, source: io::Error) -> Self {
        match Errno::from_io_error(&source) {
            Some(Errno::PERM | Errno::ACCESS) => Self::NotPermitted,
            _ => Self::Refused { doing, source },
        }
    }

    pub(super) fn is(&self, errno: Errno) -> bool {
        matches!(self, Self::Refused { source, .. } if Errno::from_io_error(source) == Some(errno))
    }
}

impl From<netlink::Error> for Error {
    fn from(error: netlink::Error) -> Self {
        match error {
            netlink::Error::Refused { doing, source } => Self::refused(doing, source),
            netlink::Error::Torn => Self::Torn,
            netlink::Error::Undecodable(source) => Self::Undecodable(source),
            netlink::Error::Unreachable(source) => Self::Unreachable("the kernel over netlink", source),
        }
    }
}
