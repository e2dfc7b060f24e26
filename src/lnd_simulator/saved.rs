//! What earlier runs left in the data folder.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::error::SimulatorError;
use super::hash::Secret;
use super::journal::{Journal, Record};
use super::ledger::Ledger;
use super::registry::ledger_records;
use super::settings::{SimulatedNetwork, SimulatorSettings, StoreMode};

pub(super) struct Saved {
    pub(super) node_key: Option<Secret>,
    pub(super) root_keys: BTreeMap<String, Secret>,
    pub(super) clock_offset_ms: i64,
    pub(super) ledger: Ledger,
    made_for: Option<(SimulatedNetwork, StoreMode)>,
}

impl Saved {
    /// Reads the journal in the data folder, or begins with nothing.
    pub(super) fn load(settings: &SimulatorSettings) -> Result<Self, SimulatorError> {
        let records = match settings.data_dir.as_deref() {
            Some(folder) => read(folder).map_err(|source| SimulatorError::data_folder(folder, source))?,
            None => Vec::new(),
        };
        let mut saved = Self::empty(settings.store);
        for record in records {
            saved.apply(record);
        }
        saved.check(settings)?;
        Ok(saved)
    }

    fn empty(store: StoreMode) -> Self {
        Self {
            node_key: None,
            root_keys: BTreeMap::new(),
            clock_offset_ms: 0,
            ledger: Ledger::new(store),
            made_for: None,
        }
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Node { secret_key, network, store } => {
                self.node_key = Some(secret_key);
                self.made_for = Some((network, store));
            }
            Record::RootKey { id, key } => {
                self.root_keys.insert(id, key);
            }
            Record::RootKeyDeleted { id } => {
                self.root_keys.remove(&id);
            }
            Record::Clock { offset_ms } => self.clock_offset_ms = offset_ms,
            Record::Invoice(invoice) => self.ledger.put(invoice),
            Record::InvoiceDeleted { hash } => self.ledger.remove(hash),
            Record::Wiped => self.ledger = Ledger::new(self.ledger.store()),
            Record::Sequences { add, settle } => self.ledger.raise_sequences(add, settle),
        }
    }

    /// An invoice of one network or numbering means nothing in another.
    fn check(&self, settings: &SimulatorSettings) -> Result<(), SimulatorError> {
        match self.made_for {
            Some((network, store)) if (network, store) != (settings.network, settings.store) => {
                Err(SimulatorError::OtherNode { network, store })
            }
            _ => Ok(()),
        }
    }

    /// Rewrites the journal to what is true now.
    pub(super) fn compact(&self, settings: &SimulatorSettings, node_key: Secret) -> Result<Journal, SimulatorError> {
        let Some(folder) = settings.data_dir.as_deref() else {
            return Ok(Journal::in_memory());
        };
        let (network, store) = (settings.network, settings.store);
        let mut records = vec![Record::Node { secret_key: node_key, network, store }];
        let root_keys = self.root_keys.iter();
        records.extend(root_keys.map(|(id, key)| Record::RootKey { id: id.clone(), key: *key }));
        records.push(Record::Clock { offset_ms: self.clock_offset_ms });
        records.extend(ledger_records(&self.ledger));
        Journal::rewrite(folder, &records).map_err(|source| SimulatorError::data_folder(folder, source))
    }
}

fn read(folder: &Path) -> io::Result<Vec<Record>> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    Journal::read(folder)
}
