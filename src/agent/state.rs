//! The agent's own file: what is to stand. From it everything is restored when nobody can be asked.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::parting::Parting;
use super::time::{ServerTime, Uptime};
use crate::crash::crash_point;
use crate::domain::desired::{Desired, Peers, by_id, millis};
use crate::domain::keys::PublicKey;
use crate::domain::time::Timestamp;

const FILE: &str = "state.json";
/// Written whole beside it, then renamed: a crash or a full disk leaves the file as it was.
const NEW_FILE: &str = "state.json.new";

/// What an agent knows of its server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The key that this was applied with: a customer's config names it.
    pub server_key: PublicKey,
    pub desired: Desired,
    /// Peers that stay although the control plane does not name them.
    #[serde(with = "by_id")]
    pub withheld: Peers,
    /// The control plane's time when this was written.
    #[serde(with = "millis")]
    pub seen_at: Timestamp,
    /// The machine's when this was written.
    #[serde(default)]
    pub uptime: Option<Uptime>,
    /// Which life of the firewall's counters is running.
    pub counter_run: Uuid,
    /// What was counted in lives before it.
    #[serde(default)]
    pub parting: Parting,
}

impl State {
    /// Says when it is written, and what is counted by then.
    pub fn mark(&mut self, time: ServerTime, counter_run: Uuid, parting: &Parting) {
        self.seen_at = time.now();
        self.uptime = time.uptime();
        self.counter_run = counter_run;
        self.parting.clone_from(parting);
    }
}

/// Where it is kept.
#[derive(Debug, Clone)]
pub struct StateFile {
    folder: PathBuf,
}

impl StateFile {
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// None before anything was ever applied.
    ///
    /// # Errors
    /// When it is there and cannot be read: starting empty would take away what was sold.
    pub fn load(&self) -> io::Result<Option<State>> {
        let text = match std::fs::read(self.folder.join(FILE)) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(serde_json::from_slice(&text)?))
    }

    /// Durable when it is done. It holds preshared keys: only its owner can read it.
    pub async fn store(&self, state: &State) -> io::Result<()> {
        let text = Zeroizing::new(serde_json::to_vec(state)?);
        let folder = self.folder.clone();
        // A flush holds its thread up.
        let write = move || replace_file(&folder, NEW_FILE, FILE, &text);
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }
}

/// Writes a file that only its owner can read, all of it or nothing.
pub fn replace_file(folder: &Path, new_name: &str, name: &str, contents: &[u8]) -> io::Result<()> {
    let new = folder.join(new_name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(contents)?;
    file.sync_all()?;
    crash_point!("file.written");
    std::fs::rename(&new, folder.join(name))?;
    crash_point!("file.renamed");
    File::open(folder)?.sync_all()
}

/// What to do about a folder that cannot be used; nothing where nobody knows.
pub fn remedy(folder: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => give_back(folder),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            format!(
                ": it is damaged; mv {0}/{FILE} {0}/{FILE}.damaged, and the service tells everything anew",
                folder.display()
            )
        }
        _ => String::new(),
    }
}

fn give_back(folder: &Path) -> String {
    let user = rustix::process::geteuid().as_raw();
    let folder = folder.display();
    format!(
        ": this program runs as user {user}, and files in there belong to another, perhaps since it was tried as root; \
         chown -R {user} {folder}"
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::domain::desired::Terms;

    fn state(revision: i64) -> State {
        let terms = Terms { listen_port: 51_820, network: "10.9.0.0/24".parse().unwrap(), network6: None };
        State {
            server_key: crate::domain::keys::PrivateKey::from_random([7; 32]).public_key(),
            desired: Desired { epoch: Uuid::from_u128(1), revision, terms, peers: Peers::new() },
            withheld: Peers::new(),
            seen_at: Timestamp::from_millis(5),
            uptime: None,
            counter_run: Uuid::from_u128(2),
            parting: Parting::default(),
        }
    }

    #[tokio::test]
    async fn what_was_stored_is_loaded_and_nobody_else_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(folder.path().to_owned());
        assert_eq!(file.load().unwrap(), None);
        file.store(&state(1)).await.unwrap();
        file.store(&state(2)).await.unwrap();
        assert_eq!(file.load().unwrap(), Some(state(2)));
        let mode = std::fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn files_of_somebody_elses_are_told_with_what_to_do() {
        let remedy = |kind| remedy(Path::new("/var/lib/wiretoll-agent"), &io::Error::from(kind));
        let said = remedy(io::ErrorKind::PermissionDenied);
        let user = rustix::process::geteuid().as_raw();
        assert!(said.ends_with(&format!("chown -R {user} /var/lib/wiretoll-agent")), "{said}");
        assert_eq!(remedy(io::ErrorKind::NotFound), "");
        assert!(remedy(io::ErrorKind::InvalidData).contains("mv /var/lib/wiretoll-agent/state.json "));
    }

    #[tokio::test]
    async fn a_crash_while_it_is_written_leaves_the_one_before_and_a_torn_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(folder.path().to_owned());
        file.store(&state(1)).await.unwrap();
        std::fs::write(folder.path().join(NEW_FILE), "{\"desired\":").unwrap();
        assert_eq!(file.load().unwrap(), Some(state(1)));
        for torn in ["", "{\"desired\":", "{}", "nothing"] {
            std::fs::write(folder.path().join(FILE), torn).unwrap();
            let error = file.load().unwrap_err();
            assert!(remedy(folder.path(), &error).contains("it is damaged"), "{torn:?}: {error:?}");
        }
    }
}
