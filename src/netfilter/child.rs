//! `nft` as a child process: no shell, a script on standard input, no output, bounded complaint and time.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::error::Error;

const MOST_COMPLAINT: u64 = 16 * 1_024;
/// A table with 10,000 customers is replaced in a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where Debian has them; not every service has these in its PATH.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

#[derive(Debug, Clone, Copy)]
pub struct Program {
    pub name: &'static str,
    pub package: &'static str,
}

/// How a program ended.
pub struct Ended {
    pub success: bool,
    pub complaint: String,
}

impl Program {
    /// Runs the program; if the caller stops waiting, it is killed.
    pub async fn run(self, arguments: &[&str], input: &str) -> Result<Ended, Error> {
        let path = self.find().ok_or(Error::Missing { program: self.name, package: self.package })?;
        let child = Command::new(path)
            .args(arguments)
            .env_clear()
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| self.failed(source))?;
        timeout(PATIENCE, self.talk(child, input)).await.map_err(|_| Error::TooSlow(self.name))?
    }

    /// Writes and reads at the same time, so that neither side waits for the other's full pipe.
    async fn talk(self, mut child: Child, input: &str) -> Result<Ended, Error> {
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                // A program that ends early says why on its standard error.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
        };
        let ((), complaint) = tokio::join!(write, read(stderr));
        let complaint = complaint.map_err(|source| self.failed(source))?;
        let status = child.wait().await.map_err(|source| self.failed(source))?;
        Ok(Ended { success: status.success(), complaint: String::from_utf8_lossy(&complaint).into_owned() })
    }

    fn find(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(SYSTEM_FOLDERS.map(PathBuf::from));
        folders.filter(|folder| folder.is_absolute()).map(|folder| folder.join(self.name)).find(|file| is_file(file))
    }

    const fn failed(self, source: std::io::Error) -> Error {
        Error::Run { program: self.name, source }
    }
}

impl Ended {
    /// Why it did not succeed, without the lines of the script that `nft` repeats.
    pub fn refusal(&self, program: Program) -> Error {
        if self.complaint.contains("Operation not permitted") || self.complaint.contains("must be root") {
            return Error::NotPermitted;
        }
        let said = |line: &&str| line.contains("Error:") || line.contains("failed:");
        let first = self.complaint.lines().find(said).or_else(|| self.complaint.lines().next());
        Error::Refused { program: program.name, message: first.unwrap_or("it does not say why").to_owned() }
    }
}

/// The beginning; a pipe that is closed then ends who writes more.
async fn read(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(MOST_COMPLAINT).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_program_names_its_package() {
        let program = Program { name: "wiretoll-no-such-program", package: "nftables" };
        let error = program.run(&[], "").await.err().unwrap();
        assert!(error.to_string().contains("Debian package nftables"), "{error}");
    }

    #[tokio::test]
    async fn input_larger_than_a_pipe_arrives_whole_and_of_a_complaint_the_beginning() {
        let shell = Program { name: "sh", package: "dash" };
        let input = "0123456789\n".repeat(100_000);
        assert!(shell.run(&["-c", "test $(wc -c) = 1100000"], &input).await.unwrap().success);
        let ended = shell.run(&["-c", "cat >&2"], &input).await.unwrap();
        assert_eq!((ended.success, ended.complaint.len()), (false, 16 * 1_024));
    }

    #[tokio::test]
    async fn a_refusal_is_one_line_and_a_lack_of_rights_has_its_own() {
        let cat = Program { name: "cat", package: "coreutils" };
        let complaint = "/dev/stdin:1:1-4: Error: syntax error\nadd element { 10.9.0.2 }\n";
        let ended = Ended { success: false, complaint: complaint.to_owned() };
        assert_eq!(ended.refusal(cat).to_string(), "cat refused: /dev/stdin:1:1-4: Error: syntax error");
        let complaint = "Operation not permitted (you must be root)\n".to_owned();
        assert!(matches!(Ended { success: false, complaint }.refusal(cat), Error::NotPermitted));
        assert!(!cat.run(&["/no/such/file"], "").await.unwrap().success);
    }
}
