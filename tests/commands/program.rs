//! The built program as a process.

use std::path::Path;
use std::process::{Command, Output};

use crate::api::Api;
use crate::place::Place;
use crate::process::{Process, command};

pub fn wiretoll(folder: &Path, arguments: &[&str]) -> Command {
    let mut program = command(env!("CARGO_BIN_EXE_wiretoll"), folder);
    program.args(arguments);
    program
}

/// Runs a command that ends by itself, and returns its exit code and what it said.
pub fn run(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let mut program = command("timeout", folder);
    program.args(["30", env!("CARGO_BIN_EXE_wiretoll")]).args(arguments).envs(variables.iter().copied());
    let Output { status, stdout, stderr } = program.output().unwrap();
    let code = status.code().unwrap();
    assert_ne!(code, 124, "{arguments:?} did not end");
    (code, String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

/// `dev` on a data folder.
pub fn dev(data: &Path) -> (Process, Api) {
    let arguments = ["dev", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()];
    let dev = Process::start(&mut wiretoll(data, &arguments));
    let api = Api::at(dev.says("API    http://").trim_end_matches("/api/public/v1/servers"));
    (dev, api)
}

impl Place {
    pub fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
        run(self.folder.path(), arguments, variables)
    }

    pub fn serve(&self) -> (Process, Api) {
        self.serve_with(&[])
    }

    pub fn serve_with(&self, variables: &[(&str, &str)]) -> (Process, Api) {
        let mut program = wiretoll(self.folder.path(), &["serve"]);
        program.envs(variables.iter().copied());
        let serve =
            Process::start(program.env("WIRETOLL_SERVICE__LISTEN", "127.0.0.1:0").env("WIRETOLL_LOG__LEVEL", "trace"));
        let api = Api::at(&serve.says("address="));
        (serve, api)
    }

    /// What `serve` says when it refuses to start.
    pub fn refused(&self, variables: &[(&str, &str)]) -> String {
        let (code, said) = self.run(&["serve"], &[&[("WIRETOLL_SERVICE__LISTEN", "127.0.0.1:0")], variables].concat());
        assert_eq!(code, 1, "{said}");
        said
    }
}
