//! The keys that macaroons are made with, each with an id by which all macaroons of it can be revoked.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::hash::Secret;
use super::macaroon::{Macaroon, Presentation};
use super::methods::Method;

/// What the default macaroons of LND are made with.
pub(super) const DEFAULT_ROOT_KEY_ID: &str = "0";

pub(super) struct RootKeys(Mutex<BTreeMap<String, Secret>>);

impl RootKeys {
    pub(super) fn new(keys: BTreeMap<String, Secret>) -> Self {
        Self(Mutex::new(keys))
    }

    pub(super) fn get(&self, id: &str) -> Option<Secret> {
        self.lock().get(id).copied()
    }

    pub(super) fn insert(&self, id: &str, key: Secret) {
        self.lock().insert(id.to_owned(), key);
    }

    pub(super) fn remove(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Whether the macaroon in the metadata allows `method`; the error is LND's text.
    pub(super) fn authorize(
        &self,
        metadata: &tonic::metadata::MetadataMap,
        method: Method,
        shown: &Presentation,
    ) -> Result<(), String> {
        let Some(permission) = method.permission() else {
            return Ok(());
        };
        let macaroon = Macaroon::from_bytes(&presented(metadata)?)?;
        let id = macaroon.id()?;
        let root_key_id = String::from_utf8_lossy(&id.storage_id);
        let Some(root_key) = self.get(&root_key_id) else {
            return Err(format!(
                "cannot retrieve macaroon: cannot get macaroon: \
                 root key with id {root_key_id} doesn't exist"
            ));
        };
        if !macaroon.is_signed_by(root_key) {
            return Err("verification failed: signature mismatch after caveat verification".to_owned());
        }
        macaroon.check_caveats(shown)?;
        let grants = |(entity, action): (&str, &str)| {
            let of_entity = id.ops.iter().filter(|op| op.entity == entity);
            of_entity.flat_map(|op| &op.actions).any(|granted| granted == action)
        };
        if grants(permission) || grants(("uri", method.path())) {
            return Ok(());
        }
        Err("permission denied".to_owned())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Secret>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn presented(metadata: &tonic::metadata::MetadataMap) -> Result<Vec<u8>, String> {
    let values: Vec<_> = metadata.get_all("macaroon").iter().collect();
    let [value] = values.as_slice() else {
        return Err(format!("expected 1 macaroon, got {}", values.len()));
    };
    hex::decode(value.as_bytes()).map_err(|error| match error {
        hex::FromHexError::InvalidHexCharacter { c, .. } => {
            format!("encoding/hex: invalid byte: U+{:04X} {c:?}", u32::from(c))
        }
        _ => "encoding/hex: odd length hex string".to_owned(),
    })
}
