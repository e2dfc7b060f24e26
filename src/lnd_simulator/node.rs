//! The simulated node: its identity, its parts, and the tasks that keep it going.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::canceller::Canceller;
use super::clock::SimulatorClock;
use super::connection::Connections;
use super::error::SimulatorError;
use super::faults::Faults;
use super::gossip::{Announcement, Gossip, NEIGHBOURS};
use super::hash::Secret;
use super::invoice::Invoice;
use super::journal::Record;
use super::ledger::Ledger;
use super::macaroon::{Macaroon, Permission};
use super::methods::CallCounts;
use super::random::{SeededRandom, fresh_seed};
use super::registry::{Registry, RegistryRules};
use super::root_keys::RootKeys;
use super::saved::Saved;
use super::settings::{CanceledInvoices, SimulatorSettings};
use super::subscriptions::Subscriptions;
use super::tasks::Tasks;
use super::tls::Tls;
use crate::lnd_proto::lnrpc::WalletState;

/// High enough for segwit to be active on regtest.
pub(super) const BLOCK_HEIGHT: u32 = 500;

pub(super) struct Node {
    pub(super) settings: SimulatorSettings,
    pub(super) seed: u64,
    pub(super) random: SeededRandom,
    pub(super) clock: Arc<SimulatorClock>,
    pub(super) wallet: watch::Sender<WalletState>,
    pub(super) registry: Registry,
    pub(super) subscriptions: Subscriptions,
    pub(super) connections: Connections,
    pub(super) canceller: Canceller,
    pub(super) tls: Tls,
    pub(super) root_keys: RootKeys,
    pub(super) faults: Faults,
    pub(super) gossip: Gossip,
    pub(super) chain_synced: watch::Sender<bool>,
    pub(super) active_channels: watch::Sender<u32>,
    pub(super) calls: CallCounts,
    /// When its channels can be used: after a start the peers have to find each other first.
    pub(super) channels_active_from: watch::Sender<Instant>,
    /// While LND shuts down, its macaroon store is already closed.
    pub(super) macaroon_store: watch::Sender<MacaroonStore>,
    pub(super) tasks: Tasks,
    /// Two macaroons that are baked at once must come of one root key.
    baking: tokio::sync::Mutex<()>,
    identity: Mutex<Identity>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MacaroonStore {
    Open,
    Locked,
}

#[derive(Clone, Copy)]
pub(super) struct Identity {
    pub(super) secret_key: SecretKey,
    pub(super) public_key: PublicKey,
}

impl Identity {
    fn from_secret(secret: Secret) -> Option<Self> {
        let secret_key = SecretKey::from_slice(&secret.0).ok()?;
        let public_key = PublicKey::from_secret_key(&Secp256k1::signing_only(), &secret_key);
        Some(Self { secret_key, public_key })
    }

    fn random(random: &SeededRandom) -> (Secret, Self) {
        loop {
            // All but one in 2^128 draws are valid keys.
            let secret = Secret(random.bytes32());
            if let Some(identity) = Self::from_secret(secret) {
                return (secret, identity);
            }
        }
    }
}

impl Node {
    /// The node as its data folder describes it, or a new one; with where its events come out.
    pub(super) fn open(
        settings: SimulatorSettings,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Arc<Invoice>>), SimulatorError> {
        let saved = Saved::load(&settings)?;
        let seed = match settings.seed {
            Some(seed) => seed,
            None => fresh_seed().map_err(|error| SimulatorError::Randomness(io::Error::other(error)))?,
        };
        let random = SeededRandom::new(seed, saved.ledger.sequences().0);
        let known = saved.node_key.and_then(|key| Some((key, Identity::from_secret(key)?)));
        let (node_key, identity) = known.unwrap_or_else(|| Identity::random(&random));
        let journal = saved.compact(&settings, node_key)?;
        let clock = Arc::new(SimulatorClock::with_offset_ms(saved.clock_offset_ms));
        let tls = Tls::open(settings.data_dir.as_deref(), clock.now_ms()).map_err(SimulatorError::Certificate)?;
        let wallet = watch::Sender::new(WalletState::RpcActive);
        let (registry, events) =
            Registry::new(saved.ledger, journal, clock.clone(), wallet.subscribe(), rules(&settings));
        let node = Self {
            seed,
            random,
            clock,
            wallet,
            registry,
            subscriptions: Subscriptions::new(settings.teardown_blindness),
            connections: Connections::default(),
            canceller: Canceller::default(),
            tls,
            root_keys: RootKeys::new(saved.root_keys),
            faults: Faults::default(),
            gossip: Gossip::default(),
            chain_synced: watch::Sender::new(true),
            active_channels: watch::Sender::new(1),
            calls: CallCounts::default(),
            channels_active_from: watch::Sender::new(Instant::now()),
            macaroon_store: watch::Sender::new(MacaroonStore::Open),
            tasks: Tasks::on_this_runtime(),
            baking: tokio::sync::Mutex::new(()),
            identity: Mutex::new(identity),
            settings,
        };
        Ok((Arc::new(node), events))
    }

    pub(super) fn identity(&self) -> Identity {
        *self.lock_identity()
    }

    pub(super) fn is_running(&self) -> bool {
        *self.wallet.borrow() == WalletState::ServerActive
    }

    /// Brings a node up as LND does once its wallet is open.
    pub(super) async fn activate(&self) -> Result<(), SimulatorError> {
        if self.settings.canceled_invoices != CanceledInvoices::Keep {
            self.registry.delete_canceled().await?;
        }
        self.wallet.send_replace(WalletState::ServerActive);
        Ok(())
    }

    /// The node knows itself and its neighbours from their gossip.
    pub(super) fn hear_gossip(&self) {
        let public_key = self.identity().public_key.to_string();
        let (alias, channels) = (self.settings.alias.as_str(), *self.active_channels.borrow());
        let itself = Announcement { public_key: &public_key, alias, addresses: &[], channels };
        for announced in [itself].iter().chain(&NEIGHBOURS) {
            self.gossip.learn(announced, self.clock.now_seconds());
        }
    }

    /// Another node takes the place of this one: new key, no invoices.
    pub(super) async fn swap(&self) -> Result<(), SimulatorError> {
        let (secret_key, identity) = Identity::random(&self.random);
        let (network, store) = (self.settings.network, self.settings.store);
        let record = Record::Node { secret_key, network, store };
        self.registry.journal.append(&record).await.map_err(SimulatorError::Journal)?;
        *self.lock_identity() = identity;
        self.hear_gossip();
        self.registry.replace(Ledger::new(store)).await?;
        Ok(())
    }

    pub(super) async fn bake(&self, root_key_id: &str, permissions: &[Permission]) -> Result<Macaroon, SimulatorError> {
        let _turn = self.baking.lock().await;
        let root_key = match self.root_keys.get(root_key_id) {
            Some(key) => key,
            None => self.new_root_key(root_key_id).await?,
        };
        let nonce = self.random.bytes32().into_iter().take(16).collect();
        Ok(Macaroon::bake(root_key, root_key_id, nonce, permissions))
    }

    async fn new_root_key(&self, id: &str) -> Result<Secret, SimulatorError> {
        let key = Secret(self.random.bytes32());
        let record = Record::RootKey { id: id.to_owned(), key };
        self.registry.journal.append(&record).await.map_err(SimulatorError::Journal)?;
        self.root_keys.insert(id, key);
        Ok(key)
    }

    pub(super) async fn revoke(&self, root_key_id: &str) -> Result<(), SimulatorError> {
        let record = Record::RootKeyDeleted { id: root_key_id.to_owned() };
        self.registry.journal.append(&record).await.map_err(SimulatorError::Journal)?;
        self.root_keys.remove(root_key_id);
        Ok(())
    }

    fn lock_identity(&self) -> MutexGuard<'_, Identity> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rules(settings: &SimulatorSettings) -> RegistryRules {
    RegistryRules {
        add_latency: settings.add_invoice_latency,
        expiry_latency: settings.expiry_latency,
        canceled_invoices: settings.canceled_invoices,
    }
}
