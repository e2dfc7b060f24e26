//! A program that runs beside the test, whose every word is kept, and who asks it over HTTP.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use serde_json::Value;

use crate::command::command;
use crate::place::{Place, text};

pub const API: &str = "/api/public/v1/subscription";
/// As a proxy names it; a log is no place for it.
pub const CUSTOMER: &str = "203.0.113.77";
/// A condition that takes longer than this will never be true; a debug build on a busy machine is slow.
const PATIENCE: Duration = Duration::from_mins(1);

/// A program that runs beside the test, and writes all that it says into one file; killed when it is dropped.
pub struct Program {
    child: Child,
    pub log: PathBuf,
}

impl Program {
    pub fn start(program: &mut Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).unwrap();
        let child = program.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Self { child, log: log.to_owned() }
    }

    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// What follows the last `marker` that was said, up to the next character that is in no address.
    pub async fn says(&self, marker: &str) -> String {
        until(marker, async || self.said().contains(marker)).await;
        let said = self.said();
        let (_, rest) = said.rsplit_once(marker).unwrap();
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | ':')).collect()
    }

    pub fn signal(&self) {
        let signalled = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.child.id())).status().unwrap();
        assert!(signalled.success());
    }

    pub async fn ended(mut self) -> ExitStatus {
        let mut status = None;
        until("the program ends", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    pub async fn terminate(self) {
        self.signal();
        assert!(self.ended().await.success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub async fn until(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !happened().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waited).await.is_ok(), "it did not happen: {what}");
}

impl Place {
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut program = command(env!("CARGO_BIN_EXE_wiretoll"), self.folder.path());
        program.args(arguments);
        program.env("WIRETOLL_SERVICE__LISTEN", "127.0.0.1:0").env("WIRETOLL_METRICS__LISTEN", "127.0.0.1:0");
        program.env("WIRETOLL_SERVICE__TRUSTED_PROXIES", "127.0.0.0/8").env("WIRETOLL_LOG__LEVEL", "trace");
        program
    }

    /// `serve` until it can sell, with a log of its own.
    pub async fn serve(&self, log: &str, variables: &[(&str, &str)]) -> (Program, Api) {
        let program = Program::start(self.command(&["serve"]).envs(variables.iter().copied()), &self.path(log));
        let json = variables.contains(&("WIRETOLL_LOG__FORMAT", "json"));
        let metrics = program.says(if json { "\"metrics_address\":\"" } else { "metrics_address=" }).await;
        let address = program.says(if json { ",\"address\":\"" } else { " address=" }).await;
        let api = Api::at(&address, &metrics);
        until("it can sell", async || api.get("/health/ready").await.1.contains("\"ok\"")).await;
        (program, api)
    }
}

pub struct Api {
    pub base: String,
    metrics: String,
    pub client: reqwest::Client,
}

impl Api {
    pub fn at(address: &str, metrics: &str) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { base: format!("http://{address}"), metrics: format!("http://{metrics}/metrics"), client }
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.client.get(format!("{}{path}", self.base)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    pub fn request(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.client.post(format!("{}{path}", self.base)).header("X-Forwarded-For", CUSTOMER).json(body)
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let answer = self.request(path, &body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub async fn create(&self, idempotency_key: &str, body: Value) -> Value {
        let path = format!("{API}/create");
        let answer = self.request(&path, &body).header("Idempotency-Key", idempotency_key).send().await.unwrap();
        let (status, order) = (answer.status(), answer.json::<Value>().await.unwrap());
        assert_eq!(status, 200, "{order}");
        order
    }

    pub async fn until_paid(&self, order: &Value) {
        let path = format!("{API}/{}?wait=5", text(order, "paymentHash"));
        until("it is paid", async || self.get(&path).await.1.contains(r#""status":"paid""#)).await;
    }

    pub async fn metrics(&self) -> String {
        self.client.get(&self.metrics).send().await.unwrap().text().await.unwrap()
    }
}
