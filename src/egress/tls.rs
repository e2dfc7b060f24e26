//! Whom we believe to be who they say: the public authorities (Mozilla's list), and those of the operator.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Error;
use super::connect::told;
use super::target::Host;

/// What is wrong with `[egress] ca_file`.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("the certificates of [egress] ca_file, {}, cannot be read", .path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("[egress] ca_file, {}, holds no certificate of an authority", .0.display())]
    NoAuthority(PathBuf),
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

pub(super) fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, SetupError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca_file {
        add(&mut roots, path)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config).into())
}

fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), SetupError> {
    let unreadable = |source| SetupError::Unreadable { path: path.to_owned(), source };
    let text = std::fs::read(path).map_err(|error| unreadable(pem::Error::Io(error)))?;
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    match roots.add_parsable_certificates(certificates) {
        (added, 0) if added > 0 => Ok(()),
        _ => Err(SetupError::NoAuthority(path.to_owned())),
    }
}

/// The handshake, which proves that the far end is `host`.
pub(super) async fn secure(
    connector: &TlsConnector,
    host: &Host,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Error> {
    let secured = connector.connect(server_name(host)?, stream).await;
    secured.map_err(|error| match error.kind() {
        // What rustls refuses comes as invalid data; the rest is the connection's end.
        io::ErrorKind::InvalidData => told(&error, Error::Tls),
        _ => told(&error, Error::Unreachable),
    })
}

fn server_name(host: &Host) -> Result<ServerName<'static>, Error> {
    match host {
        Host::Address(address) => Ok(ServerName::from(IpAddr::to_canonical(address))),
        Host::Name(name) | Host::Onion(name) => {
            ServerName::try_from(name.clone()).map_err(|_| Error::Url("no certificate can have its host's name"))
        }
    }
}
