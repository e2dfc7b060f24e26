//! How the built program is run, in a folder of the test's.

use std::path::Path;
use std::process::Command;

/// `program` in `folder`, without settings of whoever runs the tests, and with the built program on its path.
pub fn command(program: &str, folder: &Path) -> Command {
    let built = Path::new(env!("CARGO_BIN_EXE_wiretoll")).parent().unwrap().display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command.current_dir(folder).env("PATH", format!("{}:{built}:{path}", folder.display())).env("NO_PROXY", "*");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WIRETOLL_") {
            command.env_remove(name);
        }
    }
    command
}
