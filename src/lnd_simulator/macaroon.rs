//! Version 2 macaroons in LND's form: a bakery identifier (version 3) and a libmacaroons signature chain.

use std::fmt;
use std::net::IpAddr;

use chrono::DateTime;
use hmac::{Hmac, KeyInit, Mac};
use prost::Message;
use sha2::Sha256;

use super::hash::Secret;
use crate::lnd_proto::lnrpc::{MacaroonId, Op};

const FORMAT_V2: u8 = 2;
const IDENTIFIER_VERSION: u8 = 3;
const LOCATION: &str = "lnd";

const FIELD_END: u64 = 0;
const FIELD_LOCATION: u64 = 1;
const FIELD_IDENTIFIER: u64 = 2;
const FIELD_SIGNATURE: u64 = 6;

/// A credential; its bytes are what LND writes to a `.macaroon` file.
#[derive(Clone, PartialEq, Eq)]
pub struct Macaroon {
    identifier: Vec<u8>,
    caveats: Vec<Vec<u8>>,
    signature: [u8; 32],
}

/// What a macaroon may do, written as lncli takes it: `invoices:read` or `uri:/lnrpc.Lightning/GetInfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Permission {
    pub(super) entity: String,
    pub(super) action: String,
}

impl Permission {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (entity, action) = text.split_once(':')?;
        let whole = !entity.is_empty() && !action.is_empty();
        whole.then(|| Self { entity: entity.to_owned(), action: action.to_owned() })
    }
}

/// Where and when a macaroon is shown, for its caveats.
pub(super) struct Presentation {
    pub(super) peer: Option<IpAddr>,
    pub(super) now_ms: i64,
}

impl Macaroon {
    pub(super) fn bake(root_key: Secret, root_key_id: &str, nonce: Vec<u8>, permissions: &[Permission]) -> Self {
        let id = MacaroonId { nonce, storage_id: root_key_id.as_bytes().to_vec(), ops: operations(permissions) };
        let mut identifier = vec![IDENTIFIER_VERSION];
        identifier.extend(id.encode_to_vec());
        let signature = chain(root_key, &identifier, &[]);
        Self { identifier, caveats: Vec::new(), signature }
    }

    /// The binary form, which belongs into a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT_V2];
        push_field(&mut bytes, FIELD_LOCATION, LOCATION.as_bytes());
        push_field(&mut bytes, FIELD_IDENTIFIER, &self.identifier);
        push_varint(&mut bytes, FIELD_END);
        for caveat in &self.caveats {
            push_field(&mut bytes, FIELD_IDENTIFIER, caveat);
            push_varint(&mut bytes, FIELD_END);
        }
        push_varint(&mut bytes, FIELD_END);
        push_field(&mut bytes, FIELD_SIGNATURE, &self.signature);
        bytes
    }

    /// The form in which gRPC metadata carries it.
    pub fn to_hex(&self) -> String {
        hex::encode(self.to_bytes())
    }

    /// The error is LND's text.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, &'static str> {
        match bytes.split_first() {
            None => Err("empty macaroon data"),
            Some((&FORMAT_V2, rest)) => Reader(rest).macaroon(),
            Some(_) => Err("cannot determine data format of binary-encoded macaroon"),
        }
    }

    /// The error is LND's text.
    pub(super) fn id(&self) -> Result<MacaroonId, &'static str> {
        match self.identifier.split_first() {
            Some((&IDENTIFIER_VERSION, rest)) => MacaroonId::decode(rest).map_err(|_| "cannot unmarshal macaroon id"),
            _ => Err("invalid ID"),
        }
    }

    pub(super) fn is_signed_by(&self, root_key: Secret) -> bool {
        chain(root_key, &self.identifier, &self.caveats) == self.signature
    }

    /// The error is LND's text for the first caveat that does not hold.
    pub(super) fn check_caveats(&self, shown: &Presentation) -> Result<(), String> {
        for caveat in &self.caveats {
            let caveat = String::from_utf8_lossy(caveat);
            check_caveat(&caveat, shown).map_err(|why| format!("caveat \"{caveat}\" not satisfied: {why}"))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Macaroon {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Macaroon(..)")
    }
}

fn check_caveat(caveat: &str, shown: &Presentation) -> Result<(), &'static str> {
    match caveat.split_once(' ') {
        Some(("time-before", limit)) => {
            let limit = DateTime::parse_from_rfc3339(limit).map_err(|_| "cannot parse time")?;
            let fresh = shown.now_ms < limit.timestamp_millis();
            fresh.then_some(()).ok_or("macaroon has expired")
        }
        Some(("ipaddr", locked)) => {
            let same = shown.peer.is_some_and(|peer| peer.to_string() == locked);
            same.then_some(()).ok_or("macaroon locked to different IP address")
        }
        _ => Err("caveat not recognized"),
    }
}

/// One entry per entity, as LND groups them.
fn operations(permissions: &[Permission]) -> Vec<Op> {
    let mut sorted = permissions.to_vec();
    sorted.sort_by(|a, b| (&a.entity, &a.action).cmp(&(&b.entity, &b.action)));
    sorted.dedup();
    let mut operations: Vec<Op> = Vec::new();
    for Permission { entity, action } in sorted {
        match operations.last_mut() {
            Some(last) if last.entity == entity => last.actions.push(action),
            _ => operations.push(Op { entity, actions: vec![action] }),
        }
    }
    operations
}

fn chain(root_key: Secret, identifier: &[u8], caveats: &[Vec<u8>]) -> [u8; 32] {
    let key = keyed_hash(b"macaroons-key-generator", &root_key.0);
    let first = keyed_hash(&key, identifier);
    caveats.iter().fold(first, |signature, caveat| keyed_hash(&signature, caveat))
}

fn keyed_hash(key: &[u8], text: &[u8]) -> [u8; 32] {
    // HMAC takes a key of any length, so the error cannot come; an all-zero tag would match nothing.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return [0; 32];
    };
    mac.update(text);
    mac.finalize().into_bytes().into()
}

fn push_field(bytes: &mut Vec<u8>, field: u64, data: &[u8]) {
    push_varint(bytes, field);
    push_varint(bytes, data.len() as u64);
    bytes.extend_from_slice(data);
}

fn push_varint(bytes: &mut Vec<u8>, value: u64) {
    prost::encoding::encode_varint(value, bytes);
}

/// Reads the fields of a macaroon off the front of its bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn macaroon(mut self) -> Result<Macaroon, &'static str> {
        let identifier = match self.field()? {
            (FIELD_LOCATION, _) => self.expect(FIELD_IDENTIFIER, "invalid macaroon header")?,
            (FIELD_IDENTIFIER, identifier) => identifier,
            _ => return Err("invalid macaroon header"),
        };
        self.expect(FIELD_END, "invalid macaroon header")?;
        let caveats = self.caveats()?;
        let signature = self.expect(FIELD_SIGNATURE, "unexpected field found instead of signature")?;
        let signature = signature.try_into().map_err(|_| "signature has unexpected length")?;
        Ok(Macaroon { identifier: identifier.to_vec(), caveats, signature })
    }

    fn caveats(&mut self) -> Result<Vec<Vec<u8>>, &'static str> {
        let mut caveats = Vec::new();
        loop {
            match self.field()? {
                (FIELD_END, _) => return Ok(caveats),
                (FIELD_IDENTIFIER, caveat) => caveats.push(caveat.to_vec()),
                _ => return Err("no identifier in caveat"),
            }
            self.expect(FIELD_END, "invalid field found in caveat")?;
        }
    }

    fn expect(&mut self, wanted: u64, otherwise: &'static str) -> Result<&'a [u8], &'static str> {
        match self.field()? {
            (field, data) if field == wanted => Ok(data),
            _ => Err(otherwise),
        }
    }

    fn field(&mut self) -> Result<(u64, &'a [u8]), &'static str> {
        let field = self.varint()?;
        if field == FIELD_END {
            return Ok((FIELD_END, &[]));
        }
        let length = usize::try_from(self.varint()?).map_err(|_| "varint value out of range")?;
        let (data, rest) = self.0.split_at_checked(length).ok_or("field data extends past end of buffer")?;
        self.0 = rest;
        Ok((field, data))
    }

    fn varint(&mut self) -> Result<u64, &'static str> {
        prost::encoding::decode_varint(&mut self.0).map_err(|_| "varint value extends past end of buffer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baked() -> Macaroon {
        let permissions = ["invoices:write", "info:read", "invoices:read"];
        let permissions: Vec<_> = permissions.iter().filter_map(|text| Permission::parse(text)).collect();
        Macaroon::bake(Secret([7; 32]), "0", vec![1; 16], &permissions)
    }

    #[test]
    fn bytes_come_back_as_the_same_macaroon() {
        let macaroon = baked();

        assert_eq!(Macaroon::from_bytes(&macaroon.to_bytes()), Ok(macaroon));
    }

    #[test]
    fn only_its_root_key_verifies_it() {
        assert!(baked().is_signed_by(Secret([7; 32])));
        assert!(!baked().is_signed_by(Secret([8; 32])));
    }

    #[test]
    fn permissions_are_grouped_by_entity() {
        let ops = baked().id().unwrap().ops;

        let text: Vec<_> = ops.iter().map(|op| format!("{}:{}", op.entity, op.actions.join(","))).collect();
        assert_eq!(text, ["info:read", "invoices:read,write"]);
    }
}
