//! The invoices of the node with their indices, and the ways in which LND's two stores read them.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use super::hash::{PaymentHash, Secret};
use super::invoice::{Invoice, InvoiceState};
use super::settings::StoreMode;

/// A copy is cheap enough to serve as a backup: invoices are shared, never changed.
#[derive(Clone)]
pub(super) struct Ledger {
    store: StoreMode,
    invoices: HashMap<PaymentHash, Arc<Invoice>>,
    by_payment_addr: HashMap<[u8; 32], PaymentHash>,
    by_add_index: BTreeMap<u64, PaymentHash>,
    by_settle_index: BTreeMap<u64, PaymentHash>,
    /// The highest index that was ever given, which outlives the invoice that had it.
    add_sequence: u64,
    settle_sequence: u64,
}

/// `ListInvoices`' question, defaults filled in.
#[derive(Debug, Clone, Copy)]
pub(super) struct InvoiceQuery {
    pub(super) index_offset: u64,
    pub(super) limit: usize,
    pub(super) order: PageOrder,
    pub(super) selection: Selection,
    pub(super) created_from: i64,
    /// Inclusive, in seconds.
    pub(super) created_to: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageOrder {
    Forward,
    /// Walks towards older invoices; the page itself is still in ascending order.
    Reversed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Selection {
    All,
    Pending,
}

impl Ledger {
    pub(super) fn new(store: StoreMode) -> Self {
        Self {
            store,
            invoices: HashMap::new(),
            by_payment_addr: HashMap::new(),
            by_add_index: BTreeMap::new(),
            by_settle_index: BTreeMap::new(),
            add_sequence: 0,
            settle_sequence: 0,
        }
    }

    pub(super) fn store(&self) -> StoreMode {
        self.store
    }

    pub(super) fn get(&self, hash: PaymentHash) -> Option<Arc<Invoice>> {
        self.invoices.get(&hash).cloned()
    }

    pub(super) fn by_payment_addr(&self, addr: Secret) -> Option<Arc<Invoice>> {
        self.get(*self.by_payment_addr.get(&addr.0)?)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Invoice>> {
        self.by_add_index.values().filter_map(|hash| self.invoices.get(hash))
    }

    /// On kv a store without buckets answers differently from one that is merely empty.
    pub(super) fn was_ever_used(&self) -> bool {
        self.add_sequence > 0
    }

    /// SQL numbers after the newest row that is left, so a deleted invoice's number is used again.
    pub(super) fn next_add_index(&self) -> u64 {
        match self.store {
            StoreMode::Kv => self.add_sequence + 1,
            StoreMode::Sql => self.by_add_index.keys().next_back().map_or(1, |newest| newest + 1),
        }
    }

    pub(super) fn next_settle_index(&self) -> u64 {
        self.settle_sequence + 1
    }

    pub(super) fn sequences(&self) -> (u64, u64) {
        (self.add_sequence, self.settle_sequence)
    }

    pub(super) fn raise_sequences(&mut self, add: u64, settle: u64) {
        self.add_sequence = self.add_sequence.max(add);
        self.settle_sequence = self.settle_sequence.max(settle);
    }

    pub(super) fn put(&mut self, invoice: Arc<Invoice>) {
        let hash = invoice.hash;
        self.raise_sequences(invoice.add_index, invoice.settle_index().unwrap_or(0));
        self.by_add_index.insert(invoice.add_index, hash);
        self.by_payment_addr.insert(invoice.payment_addr.0, hash);
        if let Some(index) = invoice.settle_index() {
            self.by_settle_index.insert(index, hash);
        }
        self.invoices.insert(hash, invoice);
    }

    pub(super) fn remove(&mut self, hash: PaymentHash) {
        let Some(invoice) = self.invoices.remove(&hash) else {
            return;
        };
        self.by_add_index.remove(&invoice.add_index);
        self.by_payment_addr.remove(&invoice.payment_addr.0);
        if let Some(index) = invoice.settle_index() {
            self.by_settle_index.remove(&index);
        }
    }

    /// What a subscriber hears first: additions, then settlements, each in the state of now.
    /// A settled invoice comes twice when both indices cover it; cancelled and accepted ones never come.
    pub(super) fn backlog(&self, add_index: u64, settle_index: u64) -> Vec<Arc<Invoice>> {
        let mut backlog = self.added_since(add_index);
        backlog.retain(|invoice| matches!(invoice.state, InvoiceState::Open | InvoiceState::Settled { .. }));
        backlog.extend(self.settled_since(settle_index));
        backlog
    }

    /// What a subscriber that knows `index` has missed; 0 means that it wants nothing.
    fn added_since(&self, index: u64) -> Vec<Arc<Invoice>> {
        self.resolve(self.since(&self.by_add_index, index))
    }

    /// In settle order on kv, in add order on SQL.
    fn settled_since(&self, index: u64) -> Vec<Arc<Invoice>> {
        let mut settled = self.resolve(self.since(&self.by_settle_index, index));
        if self.store == StoreMode::Sql {
            settled.sort_by_key(|invoice| invoice.add_index);
        }
        settled
    }

    fn since(&self, series: &BTreeMap<u64, PaymentHash>, index: u64) -> Vec<PaymentHash> {
        if index == 0 {
            return Vec::new();
        }
        match self.store {
            // LND seeks to the index and steps over what it finds there, even when that is the next one.
            StoreMode::Kv => series.range(index..).skip(1).map(|(_, hash)| *hash).collect(),
            // LND adds one as u64 and compares as i64: near the top this wraps and matches everything.
            StoreMode::Sql => match u64::try_from(index.wrapping_add(1).cast_signed()) {
                Ok(from) => series.range(from..).map(|(_, hash)| *hash).collect(),
                Err(_) => series.values().copied().collect(),
            },
        }
    }

    fn resolve(&self, hashes: Vec<PaymentHash>) -> Vec<Arc<Invoice>> {
        hashes.into_iter().filter_map(|hash| self.get(hash)).collect()
    }

    pub(super) fn page(&self, query: InvoiceQuery) -> Vec<Arc<Invoice>> {
        let matching = |invoice: &Arc<Invoice>| query.matches(invoice);
        match query.order {
            PageOrder::Forward => {
                let newer = self.by_add_index.range((Excluded(query.index_offset), Unbounded));
                let found = newer.filter_map(|(_, hash)| self.get(*hash));
                found.filter(matching).take(query.limit).collect()
            }
            PageOrder::Reversed => {
                let upper = match query.index_offset {
                    0 => Unbounded,
                    offset => Excluded(offset),
                };
                let older = self.by_add_index.range((Included(0), upper)).rev();
                let found = older.filter_map(|(_, hash)| self.get(*hash));
                let mut page: Vec<_> = found.filter(matching).take(query.limit).collect();
                page.reverse();
                page
            }
        }
    }
}

impl InvoiceQuery {
    fn matches(&self, invoice: &Invoice) -> bool {
        let created = invoice.created_at_ms.div_euclid(1000);
        let wanted = self.selection == Selection::All || invoice.is_pending();
        wanted && (self.created_from..=self.created_to).contains(&created)
    }
}
