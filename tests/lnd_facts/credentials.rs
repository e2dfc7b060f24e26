//! TLS, macaroons and what the node says of itself.

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use wiretoll::lnd_proto::lnrpc;
use wiretoll::lnd_proto::lnrpc::WalletState;

use crate::node::Node;
use crate::payer::with_macaroon;

pub async fn a_client_that_takes_the_certificate_for_a_ca_is_refused(node: &Node) {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&node.certificate_pem));
    let endpoint = Endpoint::from_shared(node.address.clone()).unwrap().tls_config(tls).unwrap();

    let error = endpoint.connect().await.unwrap_err();

    assert!(format!("{error:?}").contains("CaUsedAsEndEntity"), "{error:?}");
}

pub async fn the_state_service_wants_no_macaroon(node: &Node) {
    let state = node.state().get_state(lnrpc::GetStateRequest {}).await.unwrap().into_inner();

    assert_eq!(state.state(), WalletState::ServerActive);
}

async fn refusal(node: &Node, request: Request<lnrpc::GetInfoRequest>) -> String {
    let status: Status = node.lightning().get_info(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unknown);
    status.message().to_owned()
}

pub async fn exactly_one_macaroon_is_expected(node: &Node) {
    let without = Request::new(lnrpc::GetInfoRequest {});
    let mut two = node.request(lnrpc::GetInfoRequest {});
    two.metadata_mut().append("macaroon", node.macaroon.parse().unwrap());

    assert_eq!(refusal(node, without).await, "expected 1 macaroon, got 0");
    assert_eq!(refusal(node, two).await, "expected 1 macaroon, got 2");
}

pub async fn a_macaroon_is_lower_or_upper_case_hex(node: &Node) {
    let ask = |macaroon: &str| with_macaroon(lnrpc::GetInfoRequest {}, macaroon);
    node.lightning().get_info(ask(&node.macaroon.to_uppercase())).await.unwrap();

    assert_eq!(refusal(node, ask("zz")).await, "encoding/hex: invalid byte: U+007A 'z'");
    assert_eq!(refusal(node, ask("abc")).await, "encoding/hex: odd length hex string");
    assert_eq!(refusal(node, ask("")).await, "empty macaroon data");
    assert_eq!(refusal(node, ask("ff00")).await, "cannot determine data format of binary-encoded macaroon");
}

pub async fn a_macaroon_that_was_tampered_with_is_refused(node: &Node) {
    let mut bytes = hex::decode(&node.macaroon).unwrap();
    *bytes.last_mut().unwrap() ^= 1;

    let refusal = refusal(node, with_macaroon(lnrpc::GetInfoRequest {}, &hex::encode(bytes))).await;

    assert_eq!(refusal, "verification failed: signature mismatch after caveat verification");
}

pub async fn a_macaroon_can_be_restricted_by_its_holder(node: &Node) {
    let ask = |caveat: &str| with_macaroon(lnrpc::GetInfoRequest {}, &restricted(&node.macaroon, caveat.as_bytes()));
    for holds in ["time-before 2100-01-01T00:00:00Z", "ipaddr 127.0.0.1"] {
        node.lightning().get_info(ask(holds)).await.unwrap();
    }

    for (caveat, why) in [
        ("time-before 2020-01-01T00:00:00Z", "macaroon has expired"),
        ("ipaddr 192.0.2.1", "macaroon locked to different IP address"),
        ("never heard", "caveat not recognized"),
    ] {
        let told = refusal(node, ask(caveat)).await;
        assert_eq!(told, format!("caveat \"{caveat}\" not satisfied: {why}"));
    }
}

/// Adds a caveat as any holder of a macaroon can: the old signature is the key of the new one.
fn restricted(macaroon: &str, caveat: &[u8]) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let bytes = hex::decode(macaroon).unwrap();
    let (body, signature) = bytes.split_at(bytes.len() - 32);
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(signature).unwrap();
    mac.update(caveat);
    let mut longer = body[..body.len() - 3].to_vec();
    longer.extend([2, u8::try_from(caveat.len()).unwrap()]);
    longer.extend(caveat);
    longer.extend([0, 0, 6, 32]);
    longer.extend(mac.finalize().into_bytes());
    hex::encode(longer)
}

pub async fn the_stock_invoice_macaroon_cannot_call_get_info(node: &Node) {
    let get_info = with_macaroon(lnrpc::GetInfoRequest {}, &node.invoice_macaroon);
    let invoice = lnrpc::Invoice { value_msat: 1000, ..Default::default() };
    let add = with_macaroon(invoice, &node.invoice_macaroon);

    assert_eq!(refusal(node, get_info).await, "permission denied");
    node.lightning().add_invoice(add).await.unwrap();
}

pub async fn the_service_macaroon_cannot_pay(node: &Node) {
    let mut router = wiretoll::lnd_proto::routerrpc::router_client::RouterClient::new(node.channel.clone());
    let request = node.request(wiretoll::lnd_proto::routerrpc::SendPaymentRequest::default());

    let status = router.send_payment_v2(request).await.unwrap_err();

    assert_eq!((status.code(), status.message()), (Code::Unknown, "permission denied"));
}

pub async fn a_macaroon_names_its_root_key_and_permissions(node: &Node) {
    use prost::Message as _;
    // Version 2, location "lnd", then the identifier: version 3 and a MacaroonId.
    let bytes = hex::decode(&node.macaroon).unwrap();
    assert_eq!(&bytes[..7], b"\x02\x01\x03lnd\x02");
    let identifier = &bytes[8..8 + usize::from(bytes[7])];
    assert_eq!(identifier[0], 3);

    let id = lnrpc::MacaroonId::decode(&identifier[1..]).unwrap();

    assert_eq!((id.nonce.len(), id.storage_id.as_slice()), (16, b"7".as_slice()));
    let ops: Vec<_> = id.ops.iter().map(|op| format!("{}:{}", op.entity, op.actions.join(","))).collect();
    assert_eq!(ops, ["info:read", "invoices:read,write"]);
}

pub async fn get_info_names_the_node_and_its_network(node: &Node) {
    let info = node.lightning().get_info(node.request(lnrpc::GetInfoRequest {})).await.unwrap().into_inner();

    assert_eq!(info.identity_pubkey, node.public_key);
    assert_eq!(info.chains.iter().map(|chain| chain.network.as_str()).collect::<Vec<_>>(), [node.network.as_str()]);
    assert!(info.synced_to_chain && info.wallet_synced);
    assert!(info.version.starts_with("0.21."));
    assert!(info.uris.is_empty());
}

pub async fn a_method_that_is_not_served_is_unimplemented(node: &Node) {
    let mut client = tonic::client::Grpc::new(node.channel.clone());
    client.ready().await.unwrap();
    let path = "/lnrpc.Lightning/SendPaymentSync".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<lnrpc::GetInfoRequest, lnrpc::GetInfoResponse>::default();

    let status = client.unary(node.request(lnrpc::GetInfoRequest {}), path, codec).await.unwrap_err();

    assert_eq!(status.code(), Code::Unimplemented);
}
