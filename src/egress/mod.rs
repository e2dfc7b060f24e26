//! Asking others: the one client for webhooks, prices, cards and probes.
//!
//! Who is asked was often chosen by a stranger. So a host is looked up once, every address of it is judged
//! (`addresses`), and only what was judged is connected to; no redirect is followed and no proxy of the environment is
//! used; a request has a deadline for all of it and a bound on its answer; and a failure tells its class, never what the
//! far end said.

mod addresses;
mod connect;
mod exchange;
mod purpose;
mod target;
#[cfg(test)]
mod tests;
mod tls;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::HeaderMap;
use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::config::EgressRules;
use addresses::{Checked, Reach};
use connect::Lookup;

pub use purpose::Purpose;
pub use target::{Host, Target};
pub use tls::SetupError;

/// The way out; cheap to clone.
#[derive(Clone)]
pub struct Egress {
    inner: Arc<Inner>,
}

struct Inner {
    allowed: Vec<IpNet>,
    allowed_customers: Vec<IpNet>,
    /// What the operator refuses besides, public or not.
    refused: Vec<IpNet>,
    onion_proxy: Option<SocketAddr>,
    tls: TlsConnector,
    lookup: Lookup,
}

/// What is asked; its headers and its body may hold secrets.
#[derive(Clone)]
pub struct Request {
    pub purpose: Purpose,
    pub method: Method,
    /// `https://`, or `http://` to what the operator allows.
    pub url: String,
    /// Besides `Host` and `User-Agent`.
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

/// What was answered, whatever its status; a redirect is an answer, too.
#[derive(Clone)]
pub struct Response {
    pub status: u16,
    headers: HeaderMap,
    /// Empty where the purpose has no use for it.
    pub body: Vec<u8>,
}

/// Why there was no answer: the class of it, which may be shown to whoever gave the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("this is no URL or host that can be asked: {0}")]
    Url(&'static str),
    // Both say the same: what names stand for inside of the operator's network is not told.
    #[error("the host has no public address")]
    Address,
    #[error("the host has no public address")]
    Unresolved,
    #[error("this port is not connected to")]
    Port,
    #[error("only https:// is asked")]
    PlainText,
    #[error("onion hosts cannot be reached from here")]
    Onion,
    #[error("a header cannot be sent")]
    Header,
    #[error("nobody takes connections there")]
    Unreachable,
    #[error("it took too long")]
    TimedOut,
    #[error("its certificate is not one for this host by a known authority, or its TLS is too old")]
    Tls,
    #[error("the answer is too large")]
    TooLarge,
    #[error("the connection ended early, or the answer is no HTTP")]
    Broken,
}

impl Egress {
    /// # Errors
    /// When the operator's authorities cannot be read.
    pub fn new(rules: &EgressRules) -> Result<Self, SetupError> {
        Self::with_lookup(rules, connect::system_lookup())
    }

    fn with_lookup(rules: &EgressRules, lookup: Lookup) -> Result<Self, SetupError> {
        let tls = tls::connector(rules.ca_file.as_deref())?;
        let rules = rules.clone();
        let inner = Inner {
            allowed: rules.allow,
            allowed_customers: rules.allow_customers,
            refused: rules.refuse,
            onion_proxy: rules.onion_proxy,
            tls,
            lookup,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What is no public address and may be asked all the same: whoever chose it decides.
    fn allowed(&self, purpose: Purpose) -> &[IpNet] {
        if purpose.is_the_operators() { &self.inner.allowed } else { &self.inner.allowed_customers }
    }

    /// Refuses a URL of which it is clear without looking its name up that it would not be asked.
    ///
    /// # Errors
    /// What [`Egress::send`] would say.
    pub fn check(&self, purpose: Purpose, url: &str) -> Result<(), Error> {
        self.target(purpose, url).map(drop)
    }

    /// Asks once. An answer of any status is one.
    ///
    /// # Errors
    /// When there was no whole answer within the purpose's bounds.
    pub async fn send(&self, request: Request) -> Result<Response, Error> {
        let target = self.target(request.purpose, &request.url)?;
        let total = request.purpose.bounds().total;
        timeout(total, self.ask(&target, request)).await.unwrap_or(Err(Error::TimedOut))
    }

    /// Connects, and leaves it to the caller what is said: the same rules hold for the address, and an onion host is
    /// reached through the operator's proxy where this is a probe.
    ///
    /// # Errors
    /// When the host is refused, or does not take the connection within the purpose's bounds.
    pub async fn connect(&self, purpose: Purpose, host: &str, port: u16) -> Result<TcpStream, Error> {
        let host = Host::parse(host)?;
        if !purpose.may_ask(port) {
            return Err(Error::Port);
        }
        let bounds = purpose.bounds();
        if let (Host::Onion(name), Purpose::Probe, Some(proxy)) = (&host, purpose, self.inner.onion_proxy) {
            let connected = timeout(bounds.total, connect::through(proxy, name, port)).await;
            return connected.unwrap_or(Err(Error::TimedOut));
        }
        let by = Instant::now() + bounds.connect;
        connect::connect(&self.resolve(purpose, &host, port, by).await?, by).await
    }

    fn target(&self, purpose: Purpose, url: &str) -> Result<Target, Error> {
        let target = Target::parse(url)?;
        if !purpose.may_ask(target.port) {
            return Err(Error::Port);
        }
        match &target.host {
            Host::Onion(_) => return Err(Error::Onion),
            Host::Address(address) => {
                let reach = addresses::judge(*address, self.allowed(purpose)).ok_or(Error::Address)?;
                refuse_plain_text(&target, reach)?;
            }
            Host::Name(_) if self.allowed(purpose).is_empty() => refuse_plain_text(&target, Reach::Public)?,
            Host::Name(_) => {} // what it stands for decides
        }
        Ok(target)
    }

    async fn ask(&self, target: &Target, request: Request) -> Result<Response, Error> {
        let by = Instant::now() + request.purpose.bounds().connect;
        let checked = self.resolve(request.purpose, &target.host, target.port, by).await?;
        refuse_plain_text(target, checked.reach())?;
        let stream = connect::connect(&checked, by).await?;
        if !target.tls {
            return exchange::exchange(stream, target, request).await;
        }
        let secured = timeout_at(by, tls::secure(&self.inner.tls, &target.host, stream)).await;
        exchange::exchange(secured.unwrap_or(Err(Error::TimedOut))?, target, request).await
    }

    async fn resolve(&self, purpose: Purpose, host: &Host, port: u16, by: Instant) -> Result<Checked, Error> {
        let found = timeout_at(by, connect::look_up(host, port, &self.inner.lookup)).await;
        let found = found.unwrap_or(Err(Error::TimedOut))?;
        let refused =
            |address: &SocketAddr| self.inner.refused.iter().any(|net| net.contains(&address.ip().to_canonical()));
        if found.iter().any(refused) {
            return Err(Error::Address);
        }
        Checked::judge(found, self.allowed(purpose))
    }
}

/// Without TLS anybody on the way reads and answers, so it is for what the operator named.
fn refuse_plain_text(target: &Target, reach: Reach) -> Result<(), Error> {
    if target.tls || reach == Reach::Allowed { Ok(()) } else { Err(Error::PlainText) }
}

impl Response {
    pub const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// A header, where it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").field("allowed", &self.inner.allowed).finish_non_exhaustive()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("purpose", &self.purpose).field("method", &self.method).finish_non_exhaustive()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("status", &self.status).finish_non_exhaustive()
    }
}
