//! LND's invoice registry: every change happens under one mutex, is durable, and is then announced.
//!
//! The announcements pass a channel of 100, which only a started node empties. That is why `AddInvoice` hangs in
//! `RPC_ACTIVE` after storing, and why the 101st hangs with the mutex in its hand.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::clock::SimulatorClock;
use super::due_queue::DueQueue;
use super::hash::{PaymentHash, Secret};
use super::invoice::{HtlcFailure, IncomingHtlc, Invoice, InvoiceState};
use super::journal::{Journal, Record};
use super::ledger::Ledger;
use super::settings::CanceledInvoices;
use crate::lnd_proto::lnrpc::WalletState;

/// How long a part waits for the rest of its payment.
pub(super) const HTLC_HOLD_MS: i64 = 120_000;

/// LND's channel of events that the loop has not taken yet.
const EVENT_CAPACITY: usize = 100;

/// The `Display` texts are LND's, and clients tell cases apart by them.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegistryError {
    #[error("unable to locate invoice")]
    NotFound,
    #[error("invoice with payment hash already exists")]
    AlreadyExists,
    #[error("invoice already settled")]
    AlreadySettled,
    #[error("invoice already canceled")]
    AlreadyCanceled,
    #[error("invoice still open")]
    StillOpen,
    #[error("cannot write the journal")]
    Journal(#[from] io::Error),
}

/// Why a payment did not arrive.
#[derive(Debug)]
pub(super) enum PaymentFailure {
    Rejected(HtlcFailure),
    Registry(RegistryError),
}

impl From<RegistryError> for PaymentFailure {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

/// Which invoices a cancellation may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CancelScope {
    /// What a client asks for.
    OpenOrAccepted,
    /// What the canceller does: a payment that waits for its settlement stays.
    OpenOnly,
}

pub(super) struct Registry {
    turn: tokio::sync::Mutex<()>,
    ledger: Mutex<Ledger>,
    pub(super) journal: Journal,
    clock: Arc<SimulatorClock>,
    wallet: watch::Receiver<WalletState>,
    events: mpsc::Sender<Arc<Invoice>>,
    pub(super) expiries: DueQueue<PaymentHash>,
    pub(super) releases: DueQueue<(PaymentHash, u64)>,
    next_htlc: AtomicU64,
    rules: RegistryRules,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct RegistryRules {
    pub(super) add_latency: Duration,
    pub(super) expiry_latency: Duration,
    pub(super) canceled_invoices: CanceledInvoices,
}

/// Proves that the registry's mutex is held.
struct Turn<'a>(#[expect(dead_code, reason = "it is held, not read")] tokio::sync::MutexGuard<'a, ()>);

impl Registry {
    /// Also returns where the events come out.
    pub(super) fn new(
        ledger: Ledger,
        journal: Journal,
        clock: Arc<SimulatorClock>,
        wallet: watch::Receiver<WalletState>,
        rules: RegistryRules,
    ) -> (Self, mpsc::Receiver<Arc<Invoice>>) {
        let (events, announced) = mpsc::channel(EVENT_CAPACITY);
        let next_htlc = ledger.all().flat_map(|invoice| &invoice.htlcs).map(|htlc| htlc.id + 1);
        let next_htlc = AtomicU64::new(next_htlc.max().unwrap_or(0));
        let registry = Self {
            turn: tokio::sync::Mutex::new(()),
            ledger: Mutex::new(ledger),
            journal,
            clock,
            wallet,
            events,
            expiries: DueQueue::new(),
            releases: DueQueue::new(),
            next_htlc,
            rules,
        };
        registry.schedule_all();
        (registry, announced)
    }

    /// Reads do not wait for the mutex, as LND's do not.
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn add(&self, invoice: Invoice) -> Result<Arc<Invoice>, RegistryError> {
        let invoice = self.insert(invoice).await?;
        self.schedule(&invoice);
        // LND hands the invoice to a canceller that does not listen before the node has started.
        let mut wallet = self.wallet.clone();
        let _ = wallet.wait_for(|state| *state == WalletState::ServerActive).await;
        Ok(invoice)
    }

    async fn insert(&self, mut invoice: Invoice) -> Result<Arc<Invoice>, RegistryError> {
        let turn = self.turn().await;
        pause(self.rules.add_latency).await;
        if self.ledger().get(invoice.hash).is_some() {
            return Err(RegistryError::AlreadyExists);
        }
        invoice.add_index = self.ledger().next_add_index();
        let invoice = self.store(&turn, invoice).await?;
        self.announce(&turn, &invoice).await;
        Ok(invoice)
    }

    /// Asking again for a canceled invoice is fine.
    pub(super) async fn cancel(&self, hash: PaymentHash, scope: CancelScope) -> Result<(), RegistryError> {
        let turn = self.turn().await;
        if scope == CancelScope::OpenOnly {
            pause(self.rules.expiry_latency).await;
        }
        let invoice = self.find(hash)?;
        match (invoice.state, scope) {
            (InvoiceState::Settled { .. }, _) => return Err(RegistryError::AlreadySettled),
            (InvoiceState::Canceled { .. }, _) | (InvoiceState::Accepted, CancelScope::OpenOnly) => {
                return Ok(());
            }
            _ => {}
        }
        let canceled = Invoice::clone(&invoice).cancel(self.clock.now_ms());
        let canceled = self.store(&turn, canceled).await?;
        self.announce(&turn, &canceled).await;
        if self.rules.canceled_invoices == CanceledInvoices::DeleteAtOnce {
            self.delete(&turn, hash).await?;
        }
        Ok(())
    }

    /// What the canceller does with one invoice that is past its expiry.
    pub(super) async fn expire(&self, hash: PaymentHash) -> Result<(), RegistryError> {
        match self.cancel(hash, CancelScope::OpenOnly).await {
            // Paid in time, or cancelled by somebody and deleted.
            Err(RegistryError::AlreadySettled | RegistryError::NotFound) => Ok(()),
            result => result,
        }
    }

    pub(super) async fn settle_hold(&self, preimage: Secret) -> Result<(), RegistryError> {
        let turn = self.turn().await;
        let invoice = self.find(preimage.payment_hash())?;
        match invoice.state {
            InvoiceState::Open => return Err(RegistryError::StillOpen),
            InvoiceState::Canceled { .. } => return Err(RegistryError::AlreadyCanceled),
            // Settling twice is fine.
            InvoiceState::Settled { .. } => return Ok(()),
            InvoiceState::Accepted => {}
        }
        let mut invoice = Invoice::clone(&invoice);
        invoice.preimage = Some(preimage);
        let settle_index = self.ledger().next_settle_index();
        let settled = invoice.settle(settle_index, self.clock.now_ms());
        let settled = self.store(&turn, settled).await?;
        self.announce(&turn, &settled).await;
        Ok(())
    }

    /// One part of a payment arrives; the invoice as it is afterwards.
    pub(super) async fn receive(
        &self,
        hash: PaymentHash,
        amount_msat: u64,
        total_msat: u64,
        block_height: u32,
    ) -> Result<Arc<Invoice>, PaymentFailure> {
        let turn = self.turn().await;
        let before = self.find(hash)?;
        let htlc = IncomingHtlc {
            id: self.next_htlc.fetch_add(1, Ordering::Relaxed),
            amount_msat,
            total_msat,
            at_ms: self.clock.now_ms(),
            block_height,
        };
        let settle_index = self.ledger().next_settle_index();
        let after = Invoice::clone(&before).receive(htlc, settle_index).map_err(PaymentFailure::Rejected)?;
        let after = self.store(&turn, after).await?;
        if after.state == InvoiceState::Open {
            self.releases.push(htlc.at_ms + HTLC_HOLD_MS, (hash, htlc.id));
        } else {
            self.announce(&turn, &after).await;
        }
        Ok(after)
    }

    /// Fails a part back whose payment never became complete; nobody is told.
    pub(super) async fn release(&self, hash: PaymentHash, htlc: u64) -> Result<(), RegistryError> {
        let turn = self.turn().await;
        let Ok(invoice) = self.find(hash) else {
            return Ok(());
        };
        if invoice.state == InvoiceState::Open {
            let released = Invoice::clone(&invoice).release(htlc, self.clock.now_ms());
            self.store(&turn, released).await?;
        }
        Ok(())
    }

    /// Puts `ledger` in the place of the node's, as restoring a backup of its database does.
    pub(super) async fn replace(&self, ledger: Ledger) -> Result<(), RegistryError> {
        let _turn = self.turn().await;
        let mut records = vec![Record::Wiped];
        records.extend(ledger_records(&ledger));
        self.journal.append_all(&records).await?;
        *self.ledger() = ledger;
        self.schedule_all();
        Ok(())
    }

    /// Makes the next settlement jump over `count` indices.
    pub(super) async fn skip_settle_indices(&self, count: u64) -> Result<(), RegistryError> {
        let _turn = self.turn().await;
        let (add, settle) = self.ledger().sequences();
        let settle = settle.saturating_add(count);
        self.journal.append(&Record::Sequences { add, settle }).await?;
        self.ledger().raise_sequences(add, settle);
        Ok(())
    }

    pub(super) async fn delete_canceled(&self) -> Result<(), RegistryError> {
        let turn = self.turn().await;
        let hashes: Vec<_> = self.ledger().all().filter(|it| it.is_canceled()).map(|it| it.hash).collect();
        for hash in hashes {
            self.delete(&turn, hash).await?;
        }
        Ok(())
    }

    async fn turn(&self) -> Turn<'_> {
        Turn(self.turn.lock().await)
    }

    fn find(&self, hash: PaymentHash) -> Result<Arc<Invoice>, RegistryError> {
        self.ledger().get(hash).ok_or(RegistryError::NotFound)
    }

    async fn store(&self, _: &Turn<'_>, invoice: Invoice) -> Result<Arc<Invoice>, RegistryError> {
        let invoice = Arc::new(invoice);
        self.journal.append(&Record::Invoice(invoice.clone())).await?;
        self.ledger().put(invoice.clone());
        Ok(invoice)
    }

    async fn delete(&self, _: &Turn<'_>, hash: PaymentHash) -> Result<(), RegistryError> {
        self.journal.append(&Record::InvoiceDeleted { hash }).await?;
        self.ledger().remove(hash);
        Ok(())
    }

    async fn announce(&self, _: &Turn<'_>, invoice: &Arc<Invoice>) {
        // The receiving end lives as long as the node does.
        let _ = self.events.send(invoice.clone()).await;
    }

    fn schedule_all(&self) {
        self.expiries.clear();
        self.releases.clear();
        let invoices: Vec<_> = self.ledger().all().cloned().collect();
        for invoice in invoices {
            self.schedule(&invoice);
        }
    }

    fn schedule(&self, invoice: &Invoice) {
        if invoice.state != InvoiceState::Open {
            return;
        }
        self.expiries.push(invoice.expires_at_ms(), invoice.hash);
        for htlc in &invoice.htlcs {
            self.releases.push(htlc.accepted_at_ms + HTLC_HOLD_MS, (invoice.hash, htlc.id));
        }
    }
}

/// The records that make `ledger` again.
pub(super) fn ledger_records(ledger: &Ledger) -> Vec<Record> {
    let (add, settle) = ledger.sequences();
    let invoices = ledger.all().cloned().map(Record::Invoice);
    invoices.chain([Record::Sequences { add, settle }]).collect()
}

async fn pause(latency: Duration) {
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
}
