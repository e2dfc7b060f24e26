//! What survives a `kill -9`: one JSON line per change, flushed before anybody hears of the change.
//!
//! Each line holds the whole new state of what it is about, so the last one wins, a torn last line is dropped,
//! and a start rewrites the file to what is still true.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::hash::{PaymentHash, Secret};
use super::invoice::Invoice;
use super::settings::{SimulatedNetwork, StoreMode};

const FILE_NAME: &str = "journal.jsonl";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record {
    /// The node that all later lines belong to; another one means that the node was swapped.
    Node {
        secret_key: Secret,
        network: SimulatedNetwork,
        store: StoreMode,
    },
    RootKey {
        id: String,
        key: Secret,
    },
    RootKeyDeleted {
        id: String,
    },
    Clock {
        offset_ms: i64,
    },
    Invoice(Arc<Invoice>),
    InvoiceDeleted {
        hash: PaymentHash,
    },
    /// All invoices are gone, indices start anew.
    Wiped,
    /// The highest indices ever given, for when their invoices are deleted.
    Sequences {
        add: u64,
        settle: u64,
    },
}

pub(super) struct Journal {
    file: Option<Arc<Mutex<File>>>,
}

impl Journal {
    pub(super) fn in_memory() -> Self {
        Self { file: None }
    }

    /// All that earlier runs wrote to `data_dir`, oldest first.
    pub(super) fn read(data_dir: &Path) -> io::Result<Vec<Record>> {
        match std::fs::read(data_dir.join(FILE_NAME)) {
            Ok(bytes) => parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file by `records` and goes on after them.
    pub(super) fn rewrite(data_dir: &Path, records: &[Record]) -> io::Result<Self> {
        let path = data_dir.join(FILE_NAME);
        let mut text = Vec::new();
        for record in records {
            push_line(&mut text, record)?;
        }
        write_private(&path, &text)?;
        let file = OpenOptions::new().append(true).open(path)?;
        Ok(Self { file: Some(Arc::new(Mutex::new(file))) })
    }

    /// Returns once the record is on the disk.
    pub(super) async fn append(&self, record: &Record) -> io::Result<()> {
        self.append_all(std::slice::from_ref(record)).await
    }

    /// Returns once all records are on the disk; they are flushed together.
    pub(super) async fn append_all(&self, records: &[Record]) -> io::Result<()> {
        let Some(file) = self.file.clone() else {
            return Ok(());
        };
        let mut lines = Vec::new();
        for record in records {
            push_line(&mut lines, record)?;
        }
        let write = move || {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.write_all(&lines)?;
            file.sync_data()
        };
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }
}

/// Puts a file with mode 0600 in place, whole or not at all.
pub(super) fn write_private(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut draft_name = path.as_os_str().to_owned();
    draft_name.push(".new");
    let draft = PathBuf::from(draft_name);
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(contents)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn push_line(buffer: &mut Vec<u8>, record: &Record) -> io::Result<()> {
    serde_json::to_writer(&mut *buffer, record)?;
    buffer.push(b'\n');
    Ok(())
}

fn parse(bytes: &[u8]) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).peekable();
    while let Some(line) = lines.next() {
        match serde_json::from_slice(line) {
            Ok(record) => records.push(record),
            // The process was killed while it wrote, so nobody was told of this change.
            Err(_) if lines.peek().is_none() => break,
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_dropped() {
        let mut bytes = b"{\"clock\":{\"offset_ms\":7}}\n".to_vec();
        // Torn in the middle of a character, too.
        bytes.extend(b"{\"clock\":{\"\xc3");

        let records = parse(&bytes).unwrap();

        assert!(matches!(records.as_slice(), [Record::Clock { offset_ms: 7 }]));
    }

    #[test]
    fn a_torn_line_in_the_middle_is_an_error() {
        assert!(parse(b"{\"clock\":{\"off\n\"wiped\"\n").is_err());
    }
}
