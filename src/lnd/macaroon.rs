//! The macaroon: what it permits, read locally (never by trying), and how it travels.
//!
//! LND makes binary macaroons of version 2: the byte 2, then fields of type, length and data (libmacaroons'
//! `doc/format.txt`). The identifier is of LND's bakery version 3: the byte 3, then the protobuf `MacaroonId`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use prost::Message;
use tonic::metadata::AsciiMetadataValue;
use zeroize::Zeroizing;

use super::Error;
use crate::config::MacaroonSource;
use crate::lnd_proto::lnrpc::MacaroonId;

/// Bakes a macaroon for what the client does; its own root key lets it be revoked alone.
pub const BAKE: &str =
    "lncli bakemacaroon --root_key_id 7 --save_to wiretoll.macaroon info:read invoices:read invoices:write";

const GET_INFO: &str = "uri:/lnrpc.Lightning/GetInfo";

/// Every call of the client that needs a macaroon, each with the permission that covers it.
const USED: [(&str, &str); 6] = [
    ("uri:/lnrpc.Lightning/AddInvoice", "invoices:write"),
    ("uri:/lnrpc.Lightning/LookupInvoice", "invoices:read"),
    ("uri:/lnrpc.Lightning/ListInvoices", "invoices:read"),
    ("uri:/lnrpc.Lightning/SubscribeInvoices", "invoices:read"),
    ("uri:/invoicesrpc.Invoices/CancelInvoice", "invoices:write"),
    (GET_INFO, "info:read"),
];

/// Not needed to sell, but unable to move money: the rest of LND's stock `invoice.macaroon`, and the look-up of public
/// data that customers may ask for, which is refused where the macaroon names single methods and not this one.
const HARMLESS: [&str; 4] = ["address:read", "address:write", "onchain:read", "uri:/lnrpc.Lightning/GetNodeInfo"];

// Field types of the format.
const END: u64 = 0;
const IDENTIFIER: u64 = 2;
const SIGNATURE: u64 = 6;

/// A macaroon of version 2; whoever holds it may do what it permits.
#[derive(Clone)]
pub struct Macaroon {
    bytes: Zeroizing<Vec<u8>>,
    identifier: Vec<u8>,
}

/// What a macaroon permits, as `entity:action` or `uri:/package.Service/Method`; caveats can only narrow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions(Vec<String>);

impl Macaroon {
    /// Reads the operator's macaroon: LND's binary file, or hexadecimal or base64 text in a file or the configuration.
    pub async fn read(source: &MacaroonSource) -> Result<Self, Error> {
        match source {
            MacaroonSource::Text(text) => Self::parse(text.expose().as_bytes()),
            MacaroonSource::File(path) => {
                let unusable = |e: &dyn fmt::Display| Error::Settings(format!("{}: {e}", path.display()));
                let bytes = tokio::fs::read(path).await.map(Zeroizing::new).map_err(|e| unusable(&e))?;
                Self::parse(&bytes).map_err(|error| match error {
                    Error::Settings(why) => unusable(&why),
                    other => other,
                })
            }
        }
    }

    /// Parses any of the three spellings.
    pub fn parse(spelling: &[u8]) -> Result<Self, Error> {
        let bytes =
            Zeroizing::new(if spelling.first() == Some(&2) { spelling.to_vec() } else { decode_text(spelling)? });
        let identifier =
            identifier(&bytes).ok_or_else(|| Error::Settings("not a macaroon of version 2".into()))?.to_vec();
        Ok(Self { bytes, identifier })
    }

    /// What it permits, for a macaroon that LND itself has made.
    pub fn permissions(&self) -> Result<Permissions, Error> {
        let unknown = || Error::Settings("not a macaroon made by LND: its permissions cannot be read".into());
        let id = self.identifier.strip_prefix(&[3]).ok_or_else(unknown)?;
        let id = MacaroonId::decode(id).map_err(|_| unknown())?;
        let names = |op: &crate::lnd_proto::lnrpc::Op| {
            op.actions.iter().map(|action| format!("{}:{action}", op.entity)).collect::<Vec<_>>()
        };
        Ok(Permissions(id.ops.iter().flat_map(names).collect()))
    }

    /// The value of the `macaroon` header: hexadecimal, and marked so that no layer below logs it.
    pub(super) fn header(&self) -> Result<AsciiMetadataValue, Error> {
        let digits = Zeroizing::new(hex::encode(&self.bytes));
        let mut value = AsciiMetadataValue::try_from(digits.as_str())
            .map_err(|_| Error::Settings("the macaroon does not fit into a header".into()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Macaroon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Macaroon(hidden)")
    }
}

impl Permissions {
    /// Whether it permits anything that we do not know to leave the node's money where it is.
    pub fn can_spend(&self) -> bool {
        !self.beyond_selling().is_empty()
    }

    /// The permissions that a seller must not have: all but those that the client uses and a few that move no money.
    pub fn beyond_selling(&self) -> Vec<&str> {
        let known =
            |name: &str| HARMLESS.contains(&name) || USED.iter().any(|(uri, simple)| name == *uri || name == *simple);
        self.0.iter().map(String::as_str).filter(|name| !known(name)).collect()
    }

    /// What the client calls and this does not permit, as `uri:` permissions.
    pub fn missing(&self) -> Vec<&'static str> {
        USED.iter().filter(|(uri, simple)| !self.has(uri) && !self.has(simple)).map(|(uri, _)| *uri).collect()
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|permission| permission == name)
    }
}

fn decode_text(text: &[u8]) -> Result<Vec<u8>, Error> {
    let invalid = || Error::Settings("neither a binary macaroon nor one in hexadecimal or base64".into());
    let text = text.trim_ascii();
    if text.iter().all(u8::is_ascii_hexdigit) {
        return hex::decode(text).map_err(|_| invalid());
    }
    let standard = |byte: &u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => *other,
    };
    let digits: Zeroizing<Vec<u8>> = Zeroizing::new(text.iter().filter(|b| **b != b'=').map(standard).collect());
    STANDARD_NO_PAD.decode(&*digits).map_err(|_| invalid())
}

/// The identifier, where `bytes` are a whole macaroon from version to signature.
fn identifier(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.strip_prefix(&[2])?;
    let mut identifier = None;
    // The head ends with one END, every caveat with one, and all caveats with another.
    loop {
        match field(&mut rest)? {
            (IDENTIFIER, data) => identifier = identifier.or(Some(data)),
            (SIGNATURE, data) => return identifier.filter(|_| data.len() == 32 && rest.is_empty()),
            _ => {}
        }
    }
}

/// Takes the next field off `rest`: its type and its data, which END has none of.
fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
    let kind = varint(rest)?;
    if kind == END {
        return Some((END, &[]));
    }
    let length = usize::try_from(varint(rest)?).ok()?;
    let (data, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some((kind, data))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    prost::encoding::decode_varint(rest).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lnd_proto::lnrpc::Op;

    fn op(entity: &str, actions: &[&str]) -> Op {
        Op { entity: entity.into(), actions: actions.iter().map(ToString::to_string).collect() }
    }

    /// As LND writes one, with one caveat.
    fn bake(ops: Vec<Op>) -> Vec<u8> {
        let id = MacaroonId { nonce: vec![7; 16], storage_id: b"7".to_vec(), ops };
        let id = [&[3], id.encode_to_vec().as_slice()].concat();
        let caveat = b"ipaddr 127.0.0.1";
        let mut bytes = b"\x02\x01\x03lnd\x02".to_vec();
        prost::encoding::encode_varint(id.len() as u64, &mut bytes);
        bytes.extend(id);
        bytes.extend([0, 2, u8::try_from(caveat.len()).unwrap()]);
        bytes.extend(caveat);
        bytes.extend([0, 0, 6, 32]);
        bytes.extend([9; 32]);
        bytes
    }

    fn permissions(ops: Vec<Op>) -> Permissions {
        Macaroon::parse(&bake(ops)).unwrap().permissions().unwrap()
    }

    #[test]
    fn what_the_bake_line_makes_is_enough_and_not_too_much() {
        let ops = permissions(vec![op("info", &["read"]), op("invoices", &["read", "write"])]);
        assert!(!ops.can_spend() && ops.missing().is_empty());
    }

    #[test]
    fn the_stock_invoice_macaroon_sells_but_does_not_tell_who_the_node_is() {
        let stock = permissions(vec![
            op("address", &["read", "write"]),
            op("invoices", &["read", "write"]),
            op("onchain", &["read"]),
        ]);
        assert!(!stock.can_spend());
        assert_eq!(stock.missing(), [GET_INFO]);
    }

    #[test]
    fn whatever_may_move_money_is_named() {
        let admin = permissions(vec![op("invoices", &["read"]), op("offchain", &["read", "write"])]);
        assert_eq!(admin.beyond_selling(), ["offchain:read", "offchain:write"]);
        for (entity, action) in [
            ("onchain", "write"),
            ("macaroon", "generate"),
            ("signer", "generate"),
            ("peers", "write"),
            ("uri", "/routerrpc.Router/SendPaymentV2"),
            ("a permission of the future", "read"),
        ] {
            assert!(permissions(vec![op(entity, &[action])]).can_spend(), "{entity}:{action}");
        }
    }

    #[test]
    fn a_macaroon_by_uri_is_judged_like_one_by_entity() {
        let uris: Vec<_> = USED.iter().map(|(uri, _)| uri.trim_start_matches("uri:")).collect();
        let tight = permissions(vec![op("uri", &uris)]);
        assert!(!tight.can_spend() && tight.missing().is_empty());
    }

    #[test]
    fn file_hexadecimal_and_base64_are_one_macaroon() {
        let binary = bake(vec![op("info", &["read"])]);
        let expected = hex::encode(&binary);
        let padded = base64::engine::general_purpose::STANDARD.encode(&binary);
        let url = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&binary);
        for spelling in
            [binary, format!("{expected}\n").into(), expected.to_uppercase().into(), padded.into(), url.into()]
        {
            let header = Macaroon::parse(&spelling).unwrap().header().unwrap();
            assert_eq!(header.to_str().unwrap(), expected);
            assert!(header.is_sensitive());
        }
    }

    #[test]
    fn what_is_not_a_macaroon_is_refused() {
        let cut = bake(vec![op("info", &["read"])]);
        let version_1 = b"0021location lnd\n";
        for bad in [b"".as_slice(), b"\x02", b"02", b"zz", version_1, &cut[..cut.len() - 1]] {
            assert!(Macaroon::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Macaroon::parse(&bytes);
            bytes.splice(0..0, [2, 2]);
            let _ = Macaroon::parse(&bytes).map(|macaroon| macaroon.permissions());
        }
    }
}
