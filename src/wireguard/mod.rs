//! WireGuard as customers meet it: the text of their config.

pub mod config_text;
