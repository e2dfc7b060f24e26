//! What can go wrong with the firewall, said so that an operator knows what to do.

use std::io;

use rustix::io::Errno;

use crate::netlink;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the program {program} is missing: install the Debian package {package}")]
    Missing { program: &'static str, package: &'static str },
    #[error("changing the firewall needs the capability CAP_NET_ADMIN: run as root or grant it to the service")]
    NotPermitted,
    #[error("{program} refused: {message}")]
    Refused { program: &'static str, message: String },
    #[error(transparent)]
    Kernel(netlink::Error),
    #[error("{0} did not end in time")]
    TooSlow(&'static str),
    #[error("cannot run {program}")]
    Run { program: &'static str, source: io::Error },
}

impl From<netlink::Error> for Error {
    fn from(error: netlink::Error) -> Self {
        if error.is(Errno::PERM) { Self::NotPermitted } else { Self::Kernel(error) }
    }
}
