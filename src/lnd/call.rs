//! How a call with one answer is made: deadlines, bounded writes, and connections that are replaced when they fail.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;
use tonic::{Response, Status};

use super::Error;
use super::connection::{Authorized, Connection};
use crate::config::Lnd;

/// LND writes invoices one after the other; more at a time would only wait inside it.
const WRITES_AT_ONCE: usize = 8;

/// A method of LND's API.
#[derive(Debug, Clone, Copy)]
pub(super) struct Method {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Answered to anybody, also while the wallet is locked.
    Probe,
    Read,
    /// A read of many rows.
    Page,
    /// Takes its turn among the writes.
    Write,
}

/// The calls of a [`super::Node`]: its settings and its current connection.
pub(super) struct Calls {
    settings: Lnd,
    current: Mutex<Option<Arc<Connection>>>,
    writes: Semaphore,
}

/// Whether a connection has been used before; its credentials may have been replaced on disk since.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Age {
    Fresh,
    Used,
}

impl Kind {
    const fn deadline(self) -> Duration {
        match self {
            Self::Probe | Self::Read => Duration::from_secs(5),
            Self::Page | Self::Write => Duration::from_secs(20),
        }
    }
}

impl Calls {
    pub(super) fn new(settings: Lnd) -> Self {
        Self { settings, current: Mutex::new(None), writes: Semaphore::new(WRITES_AT_ONCE) }
    }

    pub(super) const fn settings(&self) -> &Lnd {
        &self.settings
    }

    /// Calls `method` by `rpc`.
    ///
    /// A certificate or macaroon that was replaced on disk is taken up here: the node refused the old one before it
    /// acted, so the call is repeated with what the files hold now.
    pub(super) async fn call<T, F>(&self, method: Method, rpc: impl Fn(Authorized) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let (connection, age) = self.connection().await?;
        match self.attempt(&connection, method, &rpc).await {
            Err(error) if error.is_credential() && age == Age::Used => {
                let (connection, _) = self.connection().await?;
                self.attempt(&connection, method, &rpc).await
            }
            outcome => outcome,
        }
    }

    async fn attempt<T, F>(
        &self,
        connection: &Arc<Connection>,
        method: Method,
        rpc: &impl Fn(Authorized) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let answer = async {
            // Nobody closes the semaphore, so a turn always comes.
            let _turn = if method.kind == Kind::Write { self.writes.acquire().await.ok() } else { None };
            let channel = match method.kind {
                Kind::Probe => connection.anonymous(),
                _ => connection.authorized().await?,
            };
            rpc(channel).await.map_err(|status| Error::of(method.name, &status))
        };
        let late = Err(Error::TimedOut { method: method.name });
        let outcome = timeout(method.kind.deadline(), answer).await.unwrap_or(late);
        if outcome.as_ref().is_err_and(Error::ends_connection) {
            self.drop_connection(connection).await;
        }
        outcome.map(Response::into_inner)
    }

    async fn connection(&self) -> Result<(Arc<Connection>, Age), Error> {
        let mut current = self.current.lock().await;
        if let Some(connection) = current.as_ref() {
            return Ok((Arc::clone(connection), Age::Used));
        }
        let connection = Arc::new(Connection::for_calls(&self.settings).await?);
        *current = Some(Arc::clone(&connection));
        Ok((connection, Age::Fresh))
    }

    /// Lets `failed` go, unless another call has replaced it already.
    async fn drop_connection(&self, failed: &Arc<Connection>) {
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|connection| Arc::ptr_eq(connection, failed)) {
            *current = None;
        }
    }
}
