//! Somebody on this machine who takes connections, counts them, and says what a test wants.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub struct FarEnd {
    pub address: SocketAddr,
    heard: mpsc::UnboundedReceiver<String>,
    connections: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl FarEnd {
    /// Hears one request a connection, says `answer` to it, and then no more.
    pub async fn that_says(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::that(move |mut stream| {
            let answer = answer.clone();
            async move {
                let heard = hear(&mut stream).await;
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
                heard
            }
        })
        .await
    }

    /// Does whatever it is told with each connection, one after the other.
    pub async fn that<F: Future<Output = String> + Send>(handle: impl Fn(TcpStream) -> F + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, heard) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let mut serving = JoinSet::new();
        let count = Arc::clone(&connections);
        serving.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let _ = tell.send(handle(stream).await);
            }
        });
        Self { address, heard, connections, _serving: serving }
    }

    /// What the next connection brought.
    pub async fn heard(&mut self) -> String {
        self.heard.recv().await.unwrap()
    }

    /// Connections that came before one that this makes: they are taken in their order.
    pub async fn connections(&mut self) -> usize {
        while self.heard.try_recv().is_ok() {}
        let mut own = TcpStream::connect(self.address).await.unwrap();
        own.write_all(b"own\r\n\r\n").await.unwrap();
        while self.heard().await != "own\r\n\r\n" {}
        self.connections.load(Ordering::Relaxed) - 1
    }
}

/// Reads to the end of the head and of the body that it announces.
pub async fn hear(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut heard = Vec::new();
    while !is_whole(&heard) {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await.unwrap();
        if read == 0 {
            break;
        }
        heard.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(heard).unwrap()
}

fn is_whole(heard: &[u8]) -> bool {
    let text = String::from_utf8_lossy(heard);
    let Some((fields, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = fields.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}
