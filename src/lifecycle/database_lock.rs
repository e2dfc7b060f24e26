//! Keeps a second service off a SQLite database. Two that share one do not hear of each other's changes, as two on
//! Postgres do.
//!
//! The lock is advisory, on a file beside the database, and ends with the process however that ends. The database's own
//! file is left alone: when a process closes any handle of that, its locks of SQLite are lost. Commands that run beside
//! a service (`backup`, `order`, `payment`, `explain`) take none.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::StartError;
use crate::config::Database;

/// Locks the database for as long as the file is open; on Postgres, which is made for several, there is nothing to lock.
///
/// # Errors
/// When another process has the lock, or the file cannot be made.
pub fn lock(database: &Database) -> Result<Option<File>, StartError> {
    let Database::Sqlite(database) = database else { return Ok(None) };
    let path = beside(database);
    let failed = |source: io::Error| StartError::DatabaseLock { path: path.clone(), source };
    // Nobody else may open it: whoever can, can lock it.
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(StartError::DatabaseInUse { database: database.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// One file whichever link leads to the database.
fn beside(database: &Path) -> PathBuf {
    let mut path: OsString = database.canonicalize().unwrap_or_else(|_| database.to_owned()).into();
    path.push(".lock");
    path.into()
}
