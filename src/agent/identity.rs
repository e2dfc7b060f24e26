//! Who this agent is: the same after a restart, another one after a reboot or on a copy of the machine.
//!
//! So an agent that was killed goes on at once, and two that would keep one server are told apart: on one machine by a
//! lock, on two by what the kernel drew at its start.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

use super::state::remedy;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const LOCK: &str = "lock";

/// An agent's name, and the lock that nobody else has while it runs.
#[derive(Debug)]
pub struct Identity {
    pub id: Uuid,
    _lock: File,
}

/// Why an agent must not run.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("another agent runs with the state folder {}; stop that one first", .0.display())]
    Another(PathBuf),
    #[error("the state folder {} cannot be used{}", .folder.display(), remedy(.folder, .source))]
    Folder {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Identity {
    pub fn take(folder: &Path) -> Result<Self, IdentityError> {
        let failed = |source| IdentityError::Folder { folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        // Nobody else may open it: whoever can, can lock it.
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(folder.join(LOCK)).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(IdentityError::Another(folder.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let boot = std::fs::read(BOOT_ID).map_err(failed)?;
        Ok(Self { id: name(&boot, &folder.canonicalize().map_err(failed)?), _lock: file })
    }
}

fn name(boot: &[u8], folder: &Path) -> Uuid {
    let mut hasher = Sha256::new();
    hasher.update(boot);
    hasher.update(folder.as_os_str().as_encoded_bytes());
    let digest = hasher.finalize();
    let mut bytes = [0; 16];
    for (byte, drawn) in bytes.iter_mut().zip(digest) {
        *byte = drawn;
    }
    Builder::from_random_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_the_same_again_and_nobody_else_has_it_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let first = Identity::take(folder.path()).unwrap();
        assert!(matches!(Identity::take(folder.path()), Err(IdentityError::Another(_))));
        let mode = std::fs::metadata(folder.path().join(LOCK)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let id = first.id;
        drop(first);
        assert_eq!(Identity::take(folder.path()).unwrap().id, id);
        assert_ne!(name(b"another boot", folder.path()), id);
    }
}
