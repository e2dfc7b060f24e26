//! Asking exchanges what a bitcoin costs: where, and how each answers.
//!
//! An answer counts only where it is whole: a status of 200 with an error inside is a failure, and a price is text that
//! is a decimal number, never a float.

mod answers;

use crate::domain::money::UsdCents;
use crate::domain::rate::Exchange;
use crate::domain::time::Timestamp;
use crate::egress::{self, Egress, Method, Purpose, Request};

pub use answers::read;

/// What an exchange said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// For one bitcoin.
    pub price: UsdCents,
    /// When it held, where the exchange tells.
    pub at: Option<Timestamp>,
}

/// Why an exchange said nothing that counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("it was not reached: {0}")]
    Unreached(#[from] egress::Error),
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("it answered with an error")]
    Refused,
    #[error("its answer has no price in it")]
    Unreadable,
}

impl Error {
    /// One word, for counting.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unreached(_) => "unreached",
            Self::Status(_) | Self::Refused => "refused",
            Self::Unreadable => "unreadable",
        }
    }
}

const fn path(exchange: Exchange) -> &'static str {
    match exchange {
        Exchange::Bitstamp => "/api/v2/ticker/btcusd/",
        Exchange::Coinbase => "/products/BTC-USD/ticker",
        Exchange::Kraken => "/0/public/Ticker?pair=XBTUSD",
    }
}

/// Asks an exchange once, at `base`.
///
/// # Errors
/// When there was no answer with a price in it.
pub async fn ask(egress: &Egress, exchange: Exchange, base: &str) -> Result<Said, Error> {
    let url = format!("{base}{}", path(exchange));
    let headers = vec![("accept", "application/json".to_owned())];
    let answer =
        egress.send(Request { purpose: Purpose::Price, method: Method::Get, url, headers, body: Vec::new() }).await?;
    if answer.status != 200 {
        return Err(Error::Status(answer.status));
    }
    read(exchange, &answer.body)
}
