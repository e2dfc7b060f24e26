//! What can go wrong with the firewall, said so that an operator knows what to do.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the program {program} is missing: install the Debian package {package}")]
    Missing { program: &'static str, package: &'static str },
    #[error("changing the firewall needs the capability CAP_NET_ADMIN: run as root or grant it to the service")]
    NotPermitted,
    #[error("{program} refused: {message}")]
    Refused { program: &'static str, message: String },
    #[error("{0} did not end in time")]
    TooSlow(&'static str),
    #[error("{0} printed more than makes sense")]
    TooMuch(&'static str),
    #[error("cannot read what nft lists")]
    Unreadable(#[from] serde_json::Error),
    #[error("cannot run {program}")]
    Run { program: &'static str, source: io::Error },
}
