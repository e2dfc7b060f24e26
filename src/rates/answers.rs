//! The bodies of the exchanges' answers, of which only what is needed is read.
//!
//! Kraken: <https://docs.kraken.com/api/docs/rest-api/get-ticker-information>; Coinbase:
//! <https://docs.cdp.coinbase.com/exchange/reference/exchangerestapi_getproductticker>; Bitstamp:
//! <https://www.bitstamp.net/api/#tag/Tickers>.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::{Error, Said};
use crate::domain::money::UsdCents;
use crate::domain::rate::Exchange;
use crate::domain::time::Timestamp;

#[derive(Deserialize)]
struct Kraken {
    error: Vec<IgnoredAny>,
    #[serde(default)]
    result: BTreeMap<String, KrakenPair>,
}

#[derive(Deserialize)]
struct KrakenPair {
    /// Price and volume of the last trade.
    c: (String, String),
}

#[derive(Deserialize)]
struct Coinbase {
    price: String,
    time: String,
}

#[derive(Deserialize)]
struct Bitstamp {
    last: String,
    /// Seconds.
    timestamp: String,
}

/// What the body of an exchange's answer says.
pub fn read(exchange: Exchange, body: &[u8]) -> Result<Said, Error> {
    match exchange {
        Exchange::Kraken => kraken(&parse(body)?),
        Exchange::Coinbase => {
            let Coinbase { price, time } = parse(body)?;
            said(&price, Some(Timestamp::parse(&time).map_err(|_| Error::Unreadable)?))
        }
        Exchange::Bitstamp => {
            let Bitstamp { last, timestamp } = parse(body)?;
            let seconds: u32 = timestamp.parse().map_err(|_| Error::Unreadable)?;
            said(&last, Some(Timestamp::from_seconds(seconds.into())))
        }
    }
}

/// An answer that tells of an error is none, whatever else is in it.
fn kraken(answer: &Kraken) -> Result<Said, Error> {
    if !answer.error.is_empty() {
        return Err(Error::Refused);
    }
    // One pair was asked for; it has another name in the answer.
    let mut pairs = answer.result.values();
    match (pairs.next(), pairs.next()) {
        (Some(pair), None) => said(&pair.c.0, None),
        _ => Err(Error::Unreadable),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|_| Error::Unreadable)
}

fn said(price: &str, at: Option<Timestamp>) -> Result<Said, Error> {
    let price = UsdCents::parse_decimal(price).ok().filter(|price| price.get() > 0);
    price.map(|price| Said { price, at }).ok_or(Error::Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kraken_says(price: &str) -> String {
        format!(
            r#"{{"error":[],"result":{{"XXBTZUSD":{{"a":["95000.20000","1","1.000"],"b":["95000.10000","2","2.000"],
                "c":[{price},"0.00044"],"v":["1","2"],"p":["1","2"],"t":[1,2],"l":["1","2"],"h":["1","2"],"o":"1"}}}}}}"#
        )
    }

    fn coinbase_says(price: &str) -> String {
        format!(
            r#"{{"ask":"1","bid":"1","volume":"1","trade_id":86326522,"price":{price},"size":"0.0069",
                "time":"2026-11-27T12:00:00.228263Z"}}"#
        )
    }

    fn bitstamp_says(price: &str) -> String {
        format!(
            r#"{{"timestamp":"1795780800","open":"1","high":"1","low":"1","last":{price},"volume":"1","vwap":"1",
                "bid":"1","ask":"1","side":"0","open_24":"1","percent_change_24":"-2.61"}}"#
        )
    }

    #[test]
    fn the_published_shapes_are_read() {
        let at = Timestamp::parse("2026-11-27T12:00:00.228Z").unwrap();
        let price = UsdCents::new(9_500_010);
        let quoted = "\"95000.10\"";
        let read = |exchange, body: String| read(exchange, body.as_bytes());
        assert_eq!(read(Exchange::Kraken, kraken_says(quoted)), Ok(Said { price, at: None }));
        assert_eq!(read(Exchange::Coinbase, coinbase_says(quoted)), Ok(Said { price, at: Some(at) }));
        let at = Timestamp::from_seconds(1_795_780_800);
        assert_eq!(read(Exchange::Bitstamp, bitstamp_says(quoted)), Ok(Said { price, at: Some(at) }));
    }

    #[test]
    fn scenario_17_what_is_no_price_is_none() {
        for bad in
            ["0", "\"0\"", "\"0.00\"", "\"0.001\"", "null", "\"\"", "\"NaN\"", "\"-95000\"", "95000.1", "\"1e5\"", "[]"]
        {
            assert!(read(Exchange::Kraken, kraken_says(bad).as_bytes()).is_err(), "{bad}");
            assert!(read(Exchange::Coinbase, coinbase_says(bad).as_bytes()).is_err(), "{bad}");
            assert!(read(Exchange::Bitstamp, bitstamp_says(bad).as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn scenario_46_an_answer_with_an_error_inside_is_none() {
        let body = kraken_says("\"95000.1\"").replace("\"error\":[]", "\"error\":[\"EService:Unavailable\"]");
        assert_eq!(read(Exchange::Kraken, body.as_bytes()), Err(Error::Refused));
        let bodies: [(Exchange, &str); 7] = [
            (Exchange::Kraken, r#"{"error":["EGeneral:Too many requests"]}"#),
            (Exchange::Kraken, r#"{"error":[],"result":{}}"#),
            (Exchange::Kraken, r#"{"result":{"XXBTZUSD":{"c":["1","1"]}}}"#),
            (Exchange::Coinbase, r#"{"message":"NotFound"}"#),
            (Exchange::Coinbase, r#"{"price":"1","time":"yesterday"}"#),
            (Exchange::Bitstamp, r#"{"status":"error","reason":"Invalid pair","code":"404"}"#),
            (Exchange::Bitstamp, r#"{"last":"1","timestamp":"-1"}"#),
        ];
        for (exchange, body) in bodies {
            assert!(read(exchange, body.as_bytes()).is_err(), "{body}");
        }
        let two = kraken_says("\"1\"").replace("\"result\":{", "\"result\":{\"other\":{\"c\":[\"2\",\"1\"]},");
        assert_eq!(read(Exchange::Kraken, two.as_bytes()), Err(Error::Unreadable));
    }
}
