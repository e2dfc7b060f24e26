//! One connection to the node, with the certificate and the macaroon that were current when it was made.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

use super::Error;
use super::macaroon::Macaroon;
use super::pin::Pins;
use crate::config::{Lnd, LndTrust, MacaroonSource};

// Together below the shortest deadline of a call, so that a dead node is told from a slow one. tonic needs both: its
// other timeouts do not bound a TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_millis(2_500);

// LND ends connections that ping more often than every 5 s, or without an active stream.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// A channel whose requests carry the macaroon, where the call needs one.
pub(super) type Authorized = InterceptedService<Channel, Credential>;

/// A connection that is made by the first call on it.
pub(super) struct Connection {
    channel: Channel,
    source: MacaroonSource,
    macaroon: OnceCell<AsciiMetadataValue>,
}

/// What a request shows to be let in: the macaroon, or nothing.
#[derive(Clone)]
pub(super) struct Credential(Option<AsciiMetadataValue>);

impl Connection {
    /// For calls with one answer.
    pub(super) async fn for_calls(settings: &Lnd) -> Result<Self, Error> {
        Ok(Self::on(&endpoint(settings).await?, settings))
    }

    /// For a stream, which may be silent for days: pings find out that it is dead, and no timeout ends it.
    pub(super) async fn for_stream(settings: &Lnd) -> Result<Self, Error> {
        let endpoint = endpoint(settings)
            .await?
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(false);
        Ok(Self::on(&endpoint, settings))
    }

    fn on(endpoint: &Endpoint, settings: &Lnd) -> Self {
        let channel = endpoint.connect_lazy();
        Self { channel, source: settings.macaroon.clone(), macaroon: OnceCell::new() }
    }

    /// For the calls that LND answers to anybody: they must work while there is no macaroon yet.
    pub(super) fn anonymous(&self) -> Authorized {
        InterceptedService::new(self.channel.clone(), Credential(None))
    }

    pub(super) async fn authorized(&self) -> Result<Authorized, Error> {
        let read = async || Macaroon::read(&self.source).await?.header();
        let macaroon = self.macaroon.get_or_try_init(read).await?.clone();
        Ok(InterceptedService::new(self.channel.clone(), Credential(Some(macaroon))))
    }
}

impl Interceptor for Credential {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(macaroon) = &self.0 {
            request.metadata_mut().insert("macaroon", macaroon.clone());
        }
        Ok(request)
    }
}

async fn endpoint(settings: &Lnd) -> Result<Endpoint, Error> {
    let unusable = |e: &dyn Display| Error::Settings(format!("{}: {e}", settings.address));
    // Without TLS the macaroon would travel in the open.
    if !settings.address.starts_with("https://") {
        return Err(unusable(&"LND is only spoken to over https://"));
    }
    let endpoint = Endpoint::from_shared(settings.address.clone()).map_err(|e| unusable(&e))?;
    let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT);
    let tls = ClientTlsConfig::new().timeout(HANDSHAKE_TIMEOUT);
    match &settings.trust {
        LndTrust::PublicCa => endpoint.tls_config(tls.with_webpki_roots()),
        LndTrust::PinnedCertificate(path) => {
            let remedy = "[lnd] certificate_file names a copy of the node's own tls.cert, which LND keeps in ~/.lnd";
            let unusable = |e: &dyn Display| Error::Settings(format!("{}: {e}; {remedy}", path.display()));
            let pem = tokio::fs::read(path).await.map_err(|e| unusable(&e))?;
            let pins = Pins::parse(&pem).map_err(|e| unusable(&e))?;
            endpoint.tls_config_with_verifier(tls, Arc::new(pins))
        }
    }
    .map_err(|e| unusable(&e))
}
