//! TCP connections of lines: what is said comes back, or an error says that the flow ended.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Place;

/// Over the loopback of one machine an answer takes a millisecond.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Greets everybody with the address that it sees, and repeats their lines.
pub struct Echo(#[expect(dead_code, reason = "its task ends when it is dropped")] JoinSet<()>);

/// The dialling side.
#[derive(Debug)]
pub struct Line {
    stream: BufReader<TcpStream>,
    /// The address that the other side saw.
    pub seen_as: IpAddr,
}

impl Echo {
    pub fn listen(place: Place, address: IpAddr, port: u16) -> Self {
        let socket = place.socket(address);
        socket.set_reuseaddr(true).unwrap();
        socket.bind(SocketAddr::new(address, port)).unwrap();
        let listener = socket.listen(64).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener));
        Self(tasks)
    }
}

async fn accept(listener: TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((stream, from)) = listener.accept().await {
        connections.spawn(async move { drop(repeat(stream, from.ip()).await) });
    }
}

async fn repeat(stream: TcpStream, from: IpAddr) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(format!("{from}\n").as_bytes()).await?;
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line).await? > 0 {
        stream.write_all(&line).await?;
        line.clear();
    }
    Ok(())
}

/// Connects from an address of `place`.
pub async fn dial(place: Place, from: impl Into<IpAddr>, to: impl Into<IpAddr>, port: u16) -> io::Result<Line> {
    let (from, to) = (from.into(), to.into());
    let socket = place.socket(to);
    socket.bind(SocketAddr::new(from, 0))?;
    let stream = timeout(PATIENCE, socket.connect(SocketAddr::new(to, port))).await??;
    stream.set_nodelay(true)?;
    let mut line = Line { stream: BufReader::new(stream), seen_as: from };
    line.seen_as = line.hear().await?.parse().unwrap();
    Ok(line)
}

impl Line {
    /// Says it and waits until it comes back.
    pub async fn say(&mut self, text: &str) -> io::Result<()> {
        self.write(text).await?;
        assert_eq!(self.hear().await?, text);
        Ok(())
    }

    pub async fn write(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(format!("{text}\n").as_bytes()).await
    }

    async fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if timeout(PATIENCE, self.stream.read_line(&mut line)).await?? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}
