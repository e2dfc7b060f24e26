//! Where what a command prints goes.

use std::io::pipe;
use std::path::Path;
use std::process::{Output, Stdio};

use tempfile::TempDir;

use crate::place::Place;
use crate::program::wiretoll;

/// The exit code of a command, and what it said on standard error.
fn printing_to(output: impl Into<Stdio>, folder: &Path, arguments: &[&str]) -> (i32, String) {
    let Output { status, stderr, .. } =
        wiretoll(folder, arguments).stdout(output).stderr(Stdio::piped()).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

/// As in `wiretoll order list | head -1`, when `head` is the first to end.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_ends_a_command_quietly() {
    let place = Place::new().await;
    let (_serve, api) = place.serve();
    api.order().await;
    for arguments in [["order", "list"].as_slice(), &["openapi"], &["config", "example"], &["config", "check"]] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        assert_eq!(printing_to(writer, place.folder.path(), arguments), (0, String::new()), "{arguments:?}");
    }
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let (code, said) = printing_to(writer, place.folder.path(), &["payment", "list", "--after", "nonsense"]);
    assert!(code == 2 && !said.is_empty(), "its own mistakes are told: {said}");
}

#[test]
fn a_full_disk_is_an_error() {
    let folder = TempDir::new().unwrap();
    for arguments in [["openapi"].as_slice(), &["config", "example"], &["demo", "--no-qr"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let (code, said) = printing_to(full, folder.path(), arguments);
        assert_eq!(code, 1, "{said}");
        assert_eq!(said, "wiretoll: standard output cannot be written: No space left on device (os error 28)\n");
    }
}
