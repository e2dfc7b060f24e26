//! The WireGuard keys of servers: as the configuration names them, or as their agents report them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{App, Error};
use crate::domain::Invalid;
use crate::domain::keys::PublicKey;
use crate::domain::server::{Server, ServerId};

/// What agents have reported, here or at another replica.
#[derive(Debug, Clone, Default)]
pub struct ServerKeys(Arc<RwLock<HashMap<ServerId, PublicKey>>>);

impl ServerKeys {
    fn get(&self, server: &ServerId) -> Option<PublicKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(server).copied()
    }

    pub fn learn(&self, server: ServerId, key: PublicKey) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(server, key);
    }
}

impl App {
    /// The key that customers' configs of this server hold; nothing is sold before it is known.
    pub fn server_key(&self, server: &Server) -> Option<PublicKey> {
        server.public_key.or_else(|| self.server_keys.get(&server.id))
    }

    /// Refuses a server's own key: the kernel ignores such a peer without a word.
    pub fn check_customer_key(&self, key: PublicKey) -> Result<(), Invalid> {
        if self.shop.servers.iter().any(|server| self.server_key(server) == Some(key)) {
            return Err(Invalid::new("wgPublicKey is a server's own key; send the public key of your own device"));
        }
        Ok(())
    }

    /// Reads what agents have reported; at the start, and again for what another replica heard.
    pub async fn read_server_keys(&self) -> Result<(), Error> {
        for state in self.store.server_states().await? {
            if let Some(key) = state.public_key.filter(|_| state.applied_revision >= 0) {
                self.server_keys.learn(state.id, key);
            }
        }
        Ok(())
    }
}
