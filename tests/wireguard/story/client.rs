//! A customer's machine, which does with a config what `wg-quick` would, and a plain HTTP client in any room of the lab.

use std::net::Ipv4Addr;
use std::process::Command;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::{PATIENCE, until};
use crate::lab::{GATEWAY, Node, PUBLIC, Place, done};

/// One claim's answer.
pub struct Sold {
    pub hash: String,
    pub port: u16,
    pub address: Ipv4Addr,
    pub public_key: String,
    pub is_provisioned: bool,
    pub config: String,
}

impl Sold {
    pub fn read(hash: &str, claim: &Value) -> Self {
        let text = |pointer: &str| claim.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
        Self {
            hash: hash.to_owned(),
            port: u16::try_from(claim["vpnPort"].as_u64().unwrap()).unwrap(),
            address: text("/peer/address").split('/').next().unwrap().parse().unwrap(),
            public_key: text("/peer/publicKey"),
            is_provisioned: claim["isProvisioned"].as_bool().unwrap(),
            config: text("/config"),
        }
    }

    /// `wg-quick up`, and the first answer from the other end. The lab gave the node its addresses and routes already,
    /// so that it need not give up its way to the server; they must be those that were sold.
    pub async fn bring_up(&self, node: &Node) {
        assert_eq!(self.address, node.address);
        let own = [format!("{}/32", node.address), format!("{}/128", node.address6)];
        let addresses = self.values("Address");
        assert!(!addresses.is_empty() && addresses.iter().all(|address| own.contains(address)), "{addresses:?}");
        self.set_config(node);
        until("the gateway answers in the tunnel", async || node.pings(node.address.into(), GATEWAY.into())).await;
    }

    /// What `wg-quick` makes of the file, on an interface without a session.
    pub fn set_config(&self, node: &Node) {
        let (file, stripped) = (format!("/run/{}.conf", self.port), format!("/run/{}.stripped", self.port));
        std::fs::write(&file, &self.config).unwrap();
        let output = Command::new("wg-quick").args(["strip", &file]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::write(&stripped, output.stdout).unwrap();
        done(Command::new("wg").args(["setconf", node.interface(), &stripped]));
    }

    /// All values of a key, each of which may hold several.
    pub fn values(&self, key: &str) -> Vec<String> {
        let lines = self.config.lines().filter_map(|line| line.split_once('='));
        let values = lines.filter(|(name, _)| name.trim() == key).flat_map(|(_, value)| value.split(','));
        values.map(|value| value.trim().to_owned()).collect()
    }
}

/// Asks over a connection of its own; status and body.
pub async fn ask(from: Place, port: u16, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let address = if from == Place::Server { Ipv4Addr::LOCALHOST } else { PUBLIC };
    let exchange = async {
        let mut stream = from.socket(address.into()).connect((address, port).into()).await?;
        let body = body.to_string();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = timeout(PATIENCE, exchange).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
}
