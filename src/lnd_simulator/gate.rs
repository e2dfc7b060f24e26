//! What every call passes before its handler: injected faults, then the wallet's state, then the macaroon.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::connection::ConnectionControl;
use super::macaroon::Presentation;
use super::methods::Method;
use super::node::{MacaroonStore, Node};
use crate::lnd_proto::lnrpc::WalletState;

/// A call that was let in.
pub(super) struct Caller {
    node: Arc<Node>,
    method: Method,
    pub(super) connection: Option<ConnectionControl>,
}

impl Caller {
    /// Answers, unless the reply is to be lost: then the connection breaks instead.
    pub(super) async fn answer<T>(self, message: T) -> Result<Response<T>, Status> {
        if !self.node.faults.takes_reply(self.method) {
            return Ok(Response::new(message));
        }
        if let Some(connection) = &self.connection {
            connection.reset();
        }
        std::future::pending().await
    }
}

impl Node {
    pub(super) async fn admit<T>(self: &Arc<Self>, method: Method, request: &Request<T>) -> Result<Caller, Status> {
        self.calls.count(method);
        let delay = self.faults.delay(method);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if self.faults.is_unavailable() {
            return Err(Status::unavailable("the node cannot be reached"));
        }
        let connection = request.extensions().get::<ConnectionControl>().cloned();
        self.check_state(method).map_err(Status::unknown)?;
        self.check_macaroon(method, request, connection.as_ref()).map_err(Status::unknown)?;
        Ok(Caller { node: self.clone(), method, connection })
    }

    fn check_state(&self, method: Method) -> Result<(), &'static str> {
        if method.permission().is_none() {
            return Ok(());
        }
        match *self.wallet.borrow() {
            WalletState::WaitingToStart => Err("waiting to start, RPC services not available"),
            WalletState::NonExisting => Err("wallet not created, create one to enable full RPC access"),
            WalletState::Locked => Err("wallet locked, unlock it to enable full RPC access"),
            WalletState::Unlocked => {
                Err("the RPC server is in the process of starting up, but not yet ready to accept calls")
            }
            WalletState::RpcActive | WalletState::ServerActive => Ok(()),
        }
    }

    fn check_macaroon<T>(
        &self,
        method: Method,
        request: &Request<T>,
        connection: Option<&ConnectionControl>,
    ) -> Result<(), String> {
        let locked = *self.macaroon_store.borrow() == MacaroonStore::Locked;
        if locked && method.permission().is_some() {
            return Err("cannot retrieve macaroon: cannot get macaroon: macaroon store is locked".to_owned());
        }
        let shown = Presentation {
            peer: connection.and_then(ConnectionControl::peer).map(|peer| peer.ip()),
            now_ms: self.clock.now_ms(),
        };
        self.root_keys.authorize(request.metadata(), method, &shown)
    }
}
