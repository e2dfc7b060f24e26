//! Sealing and opening what is secret at rest, each for one purpose so that rows cannot be swapped.

use super::{App, Error};
use crate::domain::instance_key::SecretError;
use crate::domain::keys::{PresharedKey, PrivateKey, PublicKey};
use crate::domain::order::Order;
use crate::domain::peer::Binding;
use crate::domain::webhook_secret::WebhookSecret;
use crate::random;
use crate::store::{NewBinding, SealedBinding, SealedKey, SealedSecret};
use uuid::Uuid;
use zeroize::Zeroizing;

/// A preshared key from the operating system's randomness: for what happens once, such as a claim.
pub fn new_preshared_key() -> Result<PresharedKey, Error> {
    Ok(PresharedKey::from_bytes(random::bytes()?))
}

/// What a settlement binds. It may come again, where a backup was restored: a preshared key that were another one then
/// would cut off whoever has the config.
pub fn settled_binding(app: &App, order: &Order, public_key: PublicKey) -> Result<Binding, Error> {
    let preshared_key = app.keyring.get(order.key_id)?.preshared_key(order.id, public_key);
    Ok(Binding { public_key, preshared_key })
}

pub fn seal_binding(
    app: &App,
    subscription: Uuid,
    key: PublicKey,
    preshared: &PresharedKey,
) -> Result<NewBinding, Error> {
    let key_id = app.keyring.current();
    let purpose = preshared_purpose(key);
    let sealed = app.keyring.get(key_id)?.seal(&purpose, preshared.as_bytes(), random::bytes()?)?;
    Ok(NewBinding { subscription, public_key: key, key_id, sealed_preshared_key: sealed })
}

pub fn open_binding(app: &App, sealed: &SealedBinding) -> Result<Binding, Error> {
    let key = app.keyring.get(sealed.key_id)?;
    let opened = key.open(&preshared_purpose(sealed.public_key), &sealed.sealed_preshared_key)?;
    let preshared_key = PresharedKey::from_bytes(to_array(opened)?);
    Ok(Binding { public_key: sealed.public_key, preshared_key })
}

pub fn seal_private_key(app: &App, order_id: Uuid, private: &PrivateKey) -> Result<SealedKey, Error> {
    let key_id = app.keyring.current();
    let purpose = private_purpose(private.public_key());
    let sealed = app.keyring.get(key_id)?.seal(&purpose, private.as_bytes(), random::bytes()?)?;
    Ok(SealedKey { order_id, key_id, sealed: Some(sealed) })
}

/// The private key, unless it was erased.
pub fn open_private_key(app: &App, public: PublicKey, key: &SealedKey) -> Result<Option<PrivateKey>, Error> {
    let Some(sealed) = &key.sealed else { return Ok(None) };
    let opened = app.keyring.get(key.key_id)?.open(&private_purpose(public), sealed)?;
    Ok(Some(PrivateKey::from_bytes(to_array(opened)?)))
}

pub fn new_webhook_secret() -> Result<WebhookSecret, Error> {
    Ok(WebhookSecret::from_key(random::bytes()?))
}

pub fn seal_webhook_secret(app: &App, endpoint: Uuid, secret: &WebhookSecret) -> Result<SealedSecret, Error> {
    let key_id = app.keyring.current();
    let sealed = app.keyring.get(key_id)?.seal(&webhook_purpose(endpoint), secret.as_bytes(), random::bytes()?)?;
    Ok(SealedSecret { key_id, sealed })
}

pub fn open_webhook_secret(app: &App, endpoint: Uuid, sealed: &SealedSecret) -> Result<WebhookSecret, Error> {
    let opened = app.keyring.get(sealed.key_id)?.open(&webhook_purpose(endpoint), &sealed.sealed)?;
    Ok(WebhookSecret::from_bytes(&Zeroizing::new(opened)).map_err(|_| SecretError::Sealed)?)
}

fn webhook_purpose(endpoint: Uuid) -> String {
    format!("secret of webhook {endpoint}")
}

fn preshared_purpose(key: PublicKey) -> String {
    format!("preshared key of {key}")
}

fn private_purpose(key: PublicKey) -> String {
    format!("private key of {key}")
}

fn to_array(opened: Vec<u8>) -> Result<[u8; 32], SecretError> {
    let opened = Zeroizing::new(opened);
    opened.as_slice().try_into().map_err(|_| SecretError::Sealed)
}
