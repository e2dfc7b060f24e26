//! Types and rules: pure, synchronous, and without a database, a network or a clock of their own.

pub mod account;
pub mod alias;
pub mod audience;
pub mod bolt11;
pub mod desired;
pub mod event;
pub mod host;
pub mod impossible;
pub mod instance_key;
pub mod interface_name;
pub mod keys;
pub mod lightning;
pub mod money;
pub mod nip98;
pub mod node_address;
pub mod note;
pub mod order;
pub mod payment;
pub mod peer;
pub mod peer_diff;
pub mod plan;
pub mod rate;
pub mod referral;
pub mod retry_after;
pub mod server;
pub mod settle_progress;
pub mod subscription;
pub mod time;
pub mod trouble;
pub mod webhook;
pub mod webhook_body;
pub mod webhook_secret;

/// Text from outside that is not what it should be; the message names what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl Invalid {
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}
