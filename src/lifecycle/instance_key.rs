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

/// The keys that the configuration names.
///
/// # Errors
/// A missing key where the database already depends on one: a new one would open nothing.
pub async fn load(source: &KeySource, store: &Store) -> Result<Keyring, StartError> {
    match source {
        KeySource::Given(keyring) => Ok(keyring.clone()),
        KeySource::File(path) => match std::fs::read_to_string(path) {
            Ok(text) => parse(path, &text),
            Err(error) if error.kind() == ErrorKind::NotFound => make(path, store).await,
            Err(error) => Err(problem(path, &format!("cannot be read: {error}"))),
        },
    }
}

/// The keys that the configuration names; none is made.
pub fn existing(source: &KeySource) -> Result<Keyring, StartError> {
    match source {
        KeySource::Given(keyring) => Ok(keyring.clone()),
        KeySource::File(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
                ErrorKind::NotFound => problem(path, MISSING),
                _ => problem(path, &format!("cannot be read: {error}")),
            })?;
            parse(path, &text)
        }
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
