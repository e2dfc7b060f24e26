//! Loading the instance key; it is made by itself only when the database is empty.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::StartError;
use crate::config::KeySource;
use crate::domain::instance_key::{InstanceKey, KeyId, Keyring};
use crate::random;
use crate::store::Store;

const MISSING: &str = "is missing, and this database depends on it: restore it from its backup";

/// The keys that the configuration names; they are made where a database depends on none yet.
///
/// # Errors
/// A missing key where the database already depends on one: a new one would open nothing.
pub async fn load(source: &KeySource, store: &Store) -> Result<Keyring, StartError> {
    match find(source)? {
        Found::Keys(keyring) => Ok(keyring),
        Found::NoFile(path) => make(path, store).await,
    }
}

/// What there is of the keys that the configuration names.
pub enum Found<'a> {
    Keys(Keyring),
    NoFile(&'a Path),
}

impl Found<'_> {
    /// For those who make none.
    pub fn or_missing(self) -> Result<Keyring, StartError> {
        match self {
            Self::Keys(keyring) => Ok(keyring),
            Self::NoFile(path) => Err(problem(path, MISSING)),
        }
    }
}

/// # Errors
/// When the file cannot be read, or holds something else.
pub fn find(source: &KeySource) -> Result<Found<'_>, StartError> {
    match source {
        KeySource::Given(keyring) => Ok(Found::Keys(keyring.clone())),
        KeySource::File(path) => match std::fs::read_to_string(path) {
            Ok(text) => Ok(Found::Keys(parse(path, &text)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Found::NoFile(path)),
            Err(error) => Err(problem(path, &format!("cannot be read: {error}"))),
        },
    }
}

async fn make(path: &Path, store: &Store) -> Result<Keyring, StartError> {
    if !store.has_no_instance_key().await? {
        return Err(problem(path, MISSING));
    }
    let key = InstanceKey::from_bytes(random::bytes().map_err(|error| problem(path, &error.to_string()))?);
    let text = Keyring::file_text(KeyId(1), &key);
    write(path, &text).map_err(|error| problem(path, &format!("cannot be written: {error}")))?;
    tracing::warn!(path = %path.display(), "made a new instance key: back it up apart from the database");
    parse(path, &text)
}

/// Never overwrites: another process may have made one at the same moment.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn parse(path: &Path, text: &str) -> Result<Keyring, StartError> {
    Keyring::parse(text).map_err(|error| problem(path, &error.to_string()))
}

fn problem(path: &Path, what: &str) -> StartError {
    StartError::InstanceKey(format!("the instance key file {} {what}", path.display()))
}
