//! A receiver of webhooks: an HTTP server that keeps what it got and answers as it is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A message as it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

/// How requests to a path are answered; 204 at once where nothing is said.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub header: &'static str,
    pub after: Duration,
}

#[derive(Debug, Default)]
struct Kept {
    received: Vec<Received>,
    answers: HashMap<String, Answer>,
}

pub struct Receiver {
    address: String,
    kept: Arc<Mutex<Kept>>,
    /// Ends with it.
    _serving: JoinSet<()>,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self { status, header: "x-nothing: 1", after: Duration::ZERO }
    }
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let kept = Arc::new(Mutex::new(Kept::default()));
        let (mut serving, shared) = (JoinSet::new(), Arc::clone(&kept));
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, kept, _serving: serving }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    pub fn answers(&self, path: &str, answer: Answer) {
        self.kept.lock().unwrap().answers.insert(path.to_owned(), answer);
    }

    /// What came to a path, in the order in which it came.
    pub fn at(&self, path: &str) -> Vec<Received> {
        self.kept.lock().unwrap().received.iter().filter(|received| received.path == path).cloned().collect()
    }

    /// The types of what came to a path.
    pub fn types(&self, path: &str) -> Vec<String> {
        self.at(path).iter().map(Received::event_type).collect()
    }
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn event_type(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// Whether the public library of the specification takes one of its signatures, by the time that it names.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let at = self.header("webhook-timestamp").parse().unwrap();
        let expected = Webhook::new(secret).unwrap().sign(self.header("webhook-id"), at, self.body.as_bytes()).unwrap();
        self.header("webhook-signature").split(' ').any(|signature| signature == expected)
    }
}

async fn serve(mut stream: TcpStream, kept: Arc<Mutex<Kept>>) {
    let Some(received) = read(&mut stream).await else { return };
    let answer = {
        let mut kept = kept.lock().unwrap();
        let answer = kept.answers.get(&received.path).cloned().unwrap_or_else(|| Answer::status(204));
        kept.received.push(received);
        answer
    };
    tokio::time::sleep(answer.after).await;
    let Answer { status, header, .. } = answer;
    let reply = format!("HTTP/1.1 {status} So\r\n{header}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    // Whoever asked may have gone away.
    let _ = stream.write_all(reply.as_bytes()).await;
}

async fn read(stream: &mut TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).await.ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = HeaderMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(HeaderName::try_from(name).ok()?, HeaderValue::from_str(value).ok()?);
    }
    let length = headers.get("content-length")?.to_str().ok()?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.ok()?;
    Some(Received { path, headers, body: String::from_utf8(body).ok()? })
}
