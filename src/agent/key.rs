//! The server's WireGuard key: made once, in a file that only the agent can read. Every config that was sold names it.

use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::state::{remedy, replace_file};
use crate::domain::Invalid;
use crate::domain::keys::PrivateKey;
use crate::random;

const FILE: &str = "wireguard.key";
const NEW_FILE: &str = "wireguard.key.new";

/// Where the key is kept.
#[derive(Debug, Clone)]
pub struct KeyFile {
    folder: PathBuf,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the server's WireGuard key cannot be read or written in {}{}", .folder.display(), remedy(.folder, .source))]
    Folder {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} does not hold a WireGuard key", .file.display())]
    Unreadable {
        file: PathBuf,
        #[source]
        source: Invalid,
    },
    #[error(
        "there is another key already ({0}), and customers' configs may name it; --replace if you are sure that none does"
    )]
    Another(crate::domain::keys::PublicKey),
}

impl KeyFile {
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    pub fn load(&self) -> Result<Option<PrivateKey>, KeyError> {
        match std::fs::read_to_string(self.folder.join(FILE)) {
            Ok(text) => self.parse(&Zeroizing::new(text)).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The key that is there, or a new one.
    pub fn load_or_make(&self) -> Result<PrivateKey, KeyError> {
        if let Some(key) = self.load()? {
            return Ok(key);
        }
        std::fs::create_dir_all(&self.folder).map_err(|error| self.failed(error))?;
        let key = PrivateKey::from_random(random::bytes().map_err(|error| self.failed(error))?);
        self.store(&key)?;
        tracing::info!(public_key = %key.public_key(), "a WireGuard key was made for this server; back it up");
        Ok(key)
    }

    /// Puts a key in place; another one that is there stays unless `replace` says otherwise.
    pub fn import(&self, key: &PrivateKey, replace: bool) -> Result<(), KeyError> {
        match self.load()? {
            Some(known) if known.public_key() != key.public_key() && !replace => {
                Err(KeyError::Another(known.public_key()))
            }
            _ => {
                std::fs::create_dir_all(&self.folder).map_err(|error| self.failed(error))?;
                self.store(key)
            }
        }
    }

    fn store(&self, key: &PrivateKey) -> Result<(), KeyError> {
        let text = Zeroizing::new(format!("{}\n", *Zeroizing::new(key.expose())));
        replace_file(&self.folder, NEW_FILE, FILE, text.as_bytes()).map_err(|error| self.failed(error))
    }

    fn parse(&self, text: &str) -> Result<PrivateKey, KeyError> {
        let file = self.folder.join(FILE);
        PrivateKey::parse(text.trim()).map_err(|source| KeyError::Unreadable { file, source })
    }

    fn failed(&self, source: io::Error) -> KeyError {
        KeyError::Folder { folder: self.folder.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_replaced_only_on_purpose() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(&folder.path().join("new"));
        let made = file.load_or_make().unwrap().public_key();
        assert_eq!(file.load_or_make().unwrap().public_key(), made);
        let other = PrivateKey::from_random([3; 32]);
        assert!(matches!(file.import(&other, false), Err(KeyError::Another(known)) if known == made));
        file.import(&other, true).unwrap();
        assert_eq!(file.load().unwrap().unwrap().public_key(), other.public_key());
    }
}
