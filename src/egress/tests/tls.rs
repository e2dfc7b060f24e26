//! Who is believed to be who they say.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsAcceptor;

use super::far_end::{FarEnd, hear};
use super::{OK, allowing, answering, get};
use crate::config::EgressRules;
use crate::egress::{Egress, Error, Purpose};

/// An authority whose certificate lies at `path`, and a server of that name which it vouches for.
async fn server(path: &Path, name: &str) -> FarEnd {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(path, authority.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    FarEnd::that(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return String::new() };
            let heard = hear(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            let _ = stream.shutdown().await;
            heard
        }
    })
    .await
}

#[tokio::test]
async fn a_server_is_believed_that_an_authority_of_the_operator_vouches_for_by_that_name_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let mut far = server(&file, "hooks.example").await;
    let believing = EgressRules { ca_file: Some(file), ..allowing(&["127.0.0.1/32"]) };
    for (rules, host, expected) in [
        (&believing, "hooks.example", Ok(200)),
        (&believing, "hooks.example.", Ok(200)),
        (&believing, "other.example", Err(Error::Tls)),
        (&allowing(&["127.0.0.1/32"]), "hooks.example", Err(Error::Tls)),
    ] {
        let (lookup, _) = answering(vec![vec![far.address]]);
        let egress = Egress::with_lookup(rules, lookup).unwrap();
        let answer = egress.send(get(Purpose::Webhook, format!("https://{host}:8443/hook"))).await;
        assert_eq!(answer.map(|answer| answer.status), expected, "{host}");
        assert_eq!(far.heard().await.starts_with("GET /hook HTTP/1.1\r\n"), expected.is_ok());
    }
}

#[tokio::test]
async fn an_address_is_believed_by_a_certificate_of_that_address() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let far = server(&file, "127.0.0.1").await;
    let egress = Egress::new(&EgressRules { ca_file: Some(file), ..allowing(&["127.0.0.1/32"]) }).unwrap();
    let port = far.address.port();
    assert_eq!(egress.send(get(Purpose::Webhook, format!("https://127.0.0.1:{port}/"))).await.unwrap().status, 200);
    let by_name = egress.send(get(Purpose::Webhook, format!("https://localhost:{port}/"))).await;
    assert_ne!(by_name.map(|answer| answer.status), Ok(200));
}

#[tokio::test]
async fn who_speaks_no_tls_is_told_from_one_who_ends_the_connection() {
    let plain = FarEnd::that(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 400 Plain\r\n\r\n").await.unwrap();
        String::new()
    })
    .await;
    let egress = Egress::new(&allowing(&["127.0.0.1/32"])).unwrap();
    let answer = egress.send(get(Purpose::Webhook, format!("https://{}/", plain.address))).await;
    assert_eq!(answer.unwrap_err(), Error::Tls);
    let closing = FarEnd::that(|stream| async move {
        drop(stream);
        String::new()
    })
    .await;
    let answer = egress.send(get(Purpose::Webhook, format!("https://{}/", closing.address))).await;
    assert_eq!(answer.unwrap_err(), Error::Unreachable);
}
