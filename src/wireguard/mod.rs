//! WireGuard: the text of a customer's config, and the interface of a server.

pub mod config_text;
pub mod interface;
