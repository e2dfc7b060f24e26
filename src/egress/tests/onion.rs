//! Onion hosts, through a proxy that speaks SOCKS5 (RFC 1928).

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::allowing;
use super::far_end::FarEnd;
use crate::config::EgressRules;
use crate::egress::{Egress, Error, Purpose};

const HOST: &str = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion";

/// Takes one wish, and either refuses it or says `hello` as the far end.
async fn serve(mut stream: TcpStream, verdict: u8) -> String {
    let mut greeting = [0; 3];
    if stream.read_exact(&mut greeting).await.is_err() || greeting != [5, 1, 0] {
        return "not SOCKS5 without a password".to_owned();
    }
    stream.write_all(&[5, 0]).await.unwrap();
    let mut head = [0; 5];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[..4], [5, 1, 0, 3], "CONNECT to a name");
    let mut rest = vec![0; usize::from(head[4]) + 2];
    stream.read_exact(&mut rest).await.unwrap();
    let (name, port) = rest.split_at(usize::from(head[4]));
    stream.write_all(&[5, verdict, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    format!("{}:{}", String::from_utf8_lossy(name), u16::from_be_bytes([port[0], port[1]]))
}

fn through(proxy: &FarEnd) -> Egress {
    Egress::new(&EgressRules { onion_proxy: Some(proxy.address), ..EgressRules::default() }).unwrap()
}

#[tokio::test]
async fn an_onion_host_is_probed_through_the_operator_s_proxy_by_its_name() {
    let mut proxy = FarEnd::that(|stream| serve(stream, 0)).await;
    let mut stream = through(&proxy).connect(Purpose::Probe, HOST, 9735).await.unwrap();
    let mut said = [0; 5];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"hello");
    assert_eq!(proxy.heard().await, format!("{HOST}:9735"));
}

#[tokio::test]
async fn a_proxy_that_cannot_reach_it_or_that_is_missing_is_told() {
    let refusing = FarEnd::that(|stream| serve(stream, 4)).await;
    assert_eq!(through(&refusing).connect(Purpose::Probe, HOST, 9735).await.unwrap_err(), Error::Unreachable);
    let without = Egress::new(&allowing(&["127.0.0.1/32"])).unwrap();
    assert_eq!(without.connect(Purpose::Probe, HOST, 9735).await.unwrap_err(), Error::Onion);
}

#[tokio::test]
async fn the_proxy_is_for_probes_of_onion_hosts_and_for_nothing_else() {
    let mut proxy = FarEnd::that(|stream| serve(stream, 0)).await;
    let egress = through(&proxy);
    for purpose in [Purpose::Webhook, Purpose::Price, Purpose::Stripe] {
        assert_eq!(egress.connect(purpose, HOST, 9735).await.unwrap_err(), Error::Onion);
        assert_eq!(egress.check(purpose, &format!("https://{HOST}/")), Err(Error::Onion));
    }
    for host in ["127.0.0.1", "localhost", "10.0.0.1", "[::1]"] {
        assert_eq!(egress.connect(Purpose::Probe, host, 9735).await.unwrap_err(), Error::Address, "{host}");
    }
    assert_eq!(egress.connect(Purpose::Probe, HOST, 22).await.unwrap_err(), Error::Port);
    drop(egress);
    let mut own = TcpStream::connect(proxy.address).await.unwrap();
    own.write_all(b"own").await.unwrap();
    assert_eq!(proxy.heard().await, "not SOCKS5 without a password");
}
