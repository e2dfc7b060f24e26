//! How clients read a JSON body: each reader gives the value or the reason why it is not acceptable.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use chrono::{DateTime, FixedOffset};
use serde_json::Value;

/// The value, or why the client refuses it.
pub type Checked<T> = Result<T, String>;

/// A string that is not empty; `pointer` is a JSON pointer such as `/peer/address`.
pub fn text<'a>(body: &'a Value, pointer: &str) -> Checked<&'a str> {
    let text = body.pointer(pointer).and_then(Value::as_str).ok_or_else(|| format!("{pointer} is not a string"))?;
    if text.is_empty() { Err(format!("{pointer} is empty")) } else { Ok(text) }
}

/// Text that has a form; the reason names where it stands.
pub fn formed<'a, T>(body: &'a Value, pointer: &str, form: impl Fn(&'a str) -> Checked<T>) -> Checked<T> {
    form(text(body, pointer)?).map_err(|reason| format!("{pointer}: {reason}"))
}

/// The same for a field that may be missing, or null.
pub fn formed_if_there<'a, T>(
    body: &'a Value,
    pointer: &str,
    form: impl Fn(&'a str) -> Checked<T>,
) -> Checked<Option<T>> {
    if body.pointer(pointer).is_none_or(Value::is_null) { Ok(None) } else { formed(body, pointer, form).map(Some) }
}

/// A JSON integer: no string, no fraction, no boolean.
pub fn integer(body: &Value, pointer: &str, range: RangeInclusive<u64>) -> Checked<u64> {
    let number = body.pointer(pointer).and_then(Value::as_u64).ok_or_else(|| format!("{pointer} is not an integer"))?;
    if range.contains(&number) { Ok(number) } else { Err(format!("{pointer} is out of range: {number}")) }
}

/// A finite number within a range.
pub fn number(body: &Value, pointer: &str, range: RangeInclusive<f64>) -> Checked<f64> {
    let number = body.pointer(pointer).and_then(Value::as_f64).ok_or_else(|| format!("{pointer} is not a number"))?;
    if range.contains(&number) { Ok(number) } else { Err(format!("{pointer} is out of range: {number}")) }
}

/// `^[...]{length}$`
pub fn spelt(text: &str, length: RangeInclusive<usize>, allowed: impl Fn(char) -> bool) -> Checked<()> {
    if !length.contains(&text.chars().count()) {
        return Err(format!("{text:?} has another length than {length:?}"));
    }
    text.chars().all(allowed).then_some(()).ok_or_else(|| format!("{text:?} has a character that is not allowed"))
}

/// `^[A-Za-z0-9+/]{43}=$`
pub fn wireguard_key(text: &str) -> Checked<&str> {
    let digits = text.strip_suffix('=').ok_or("a key ends with one =")?;
    spelt(digits, 43..=43, |c| c.is_ascii_alphanumeric() || c == '+' || c == '/').map(|()| text)
}

/// `^[0-9a-f]{64}$`
pub fn payment_hash(text: &str) -> Checked<&str> {
    spelt(text, 64..=64, |c| matches!(c, '0'..='9' | 'a'..='f')).map(|()| text)
}

/// An ISO 8601 time with an explicit zone, in one line.
pub fn iso_time(text: &str) -> Checked<DateTime<FixedOffset>> {
    if text.get(10..11) != Some("T") {
        return Err(format!("{text:?} is not an ISO time"));
    }
    DateTime::parse_from_rfc3339(text).map_err(|error| format!("{text:?} is not a time with a zone: {error}"))
}

/// `hostname:port` with exactly one colon, so no IPv6 literal.
pub fn endpoint(text: &str) -> Checked<()> {
    let (host, port) = text.split_once(':').ok_or("an endpoint has a colon")?;
    host_name(host)?;
    decimal(port).filter(|port| (1..=65_535).contains(port)).map(drop).ok_or_else(|| format!("{port:?} is not a port"))
}

/// Digits only: `parse` would take a sign.
fn decimal(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

pub fn host_name(text: &str) -> Checked<()> {
    let label = |label: &str| spelt(label, 1..=63, |c| c.is_ascii_alphanumeric() || c == '-');
    text.split('.').try_for_each(label)
}

/// An IP address with an optional prefix length.
pub fn network(text: &str) -> Checked<()> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.parse().map_err(|_| format!("{address:?} is not an IP address"))?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let fits = prefix.is_none_or(|prefix| decimal(prefix).is_some_and(|bits| bits <= most));
    fits.then_some(()).ok_or_else(|| format!("{text:?} has no such prefix length"))
}

/// Networks between commas.
pub fn networks(text: &str) -> Checked<()> {
    text.split(',').map(str::trim).try_for_each(network)
}

/// Any error's body: a code that begins with `ERR_`, and a message for people.
pub fn api_error(body: &Value) -> Checked<&str> {
    text(body, "/message")?;
    let code = text(body, "/error")?;
    if code.starts_with("ERR_") { Ok(code) } else { Err(format!("{code:?} is not a code of the contract")) }
}

/// "No such key" only where the status is 404 and `error` is exactly this; any other answer is a failure.
pub fn is_not_found(status: u16, body: &Value) -> bool {
    status == 404 && body.get("error").and_then(Value::as_str) == Some("ERR_RESOURCE_NOT_FOUND")
}

/// Holds a validator to what it must refuse: a good body, without each of `required` and with each of `changes`.
pub fn assert_refuses<T>(
    good: &Value,
    validate: impl Fn(&Value) -> Checked<T>,
    required: &[&str],
    changes: &[(&str, Value)],
) {
    if let Err(reason) = validate(good) {
        panic!("the good body is refused: {reason}");
    }
    for pointer in required {
        let body = without(good, pointer);
        assert!(validate(&body).is_err(), "accepted without {pointer}");
    }
    for (pointer, value) in changes {
        let mut body = good.clone();
        *body.pointer_mut(pointer).expect("a field of the good body") = value.clone();
        assert!(validate(&body).is_err(), "accepted with {pointer} = {value}");
    }
}

fn without(body: &Value, pointer: &str) -> Value {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let mut body = body.clone();
    let fields = body.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
    fields.shift_remove(name).expect("a field of the good body");
    body
}

/// Holds a form to what it must accept and refuse.
fn assert_form<T>(form: impl Fn(&'static str) -> Checked<T>, good: &[&'static str], bad: &[&'static str]) {
    for text in good {
        assert!(form(text).is_ok(), "{text:?} is refused");
    }
    for text in bad {
        assert!(form(text).is_err(), "{text:?} is accepted");
    }
}

#[test]
fn forms_refuse_what_is_not_of_them() {
    assert_form(
        wireguard_key,
        &["xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="],
        &[
            "",
            "undefined",
            "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg",
            "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8D==",
            "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\n",
            "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp-_g=",
        ],
    );
    assert_form(
        payment_hash,
        &["66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"],
        &["", "66687AADF862BD776C8FC18B8E9F8E20089714856EE233B3902A591D0D5F2925", "66687a", "66687aadf862bd77zz"],
    );
    assert_form(
        iso_time,
        &["2026-12-22T12:00:00.000Z", "2026-12-22T12:00:00+01:00"],
        &["", "2026-12-22T12:00:00", "2026-12-22", "2026-12-22 12:00:00Z", "1798027200", "2026-12-22T12:00:00Z\n"],
    );
    assert_form(
        endpoint,
        &["de2.example.net:51820"],
        &[
            "",
            "de2.example.net",
            "[2001:db8::1]:51820",
            "de2:1:2",
            ":51820",
            "de2:0",
            "de2:65536",
            "de2 x:1",
            "de2..x:1",
        ],
    );
    assert_form(networks, &["0.0.0.0/0", "0.0.0.0/0, ::/0", "10.9.0.7"], &["", "::/", "0.0.0.0/33", "0.0.0.0/0,", "x"]);
}
