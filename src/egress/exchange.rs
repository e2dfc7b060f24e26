//! One request and its answer on one connection, which ends with it (HTTP/1.1).
//!
//! A connection is used once: no pool could bring a later request to an address that was judged for another.

use std::pin::pin;

use futures_util::future::{Either, select};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::connect::told;
use super::target::Target;
use super::{Error, Method, Request, Response};

const MOST_HEADERS: usize = 100;
const MOST_HEADER_BYTES: usize = 64 * 1024;
const OURSELVES: &str = concat!("wiretoll/", env!("CARGO_PKG_VERSION"));

pub(super) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    target: &Target,
    request: Request,
) -> Result<Response, Error> {
    let limit = request.purpose.bounds().body;
    let request = message(target, request)?;
    let mut http = http1::Builder::new();
    http.max_headers(MOST_HEADERS).max_buf_size(MOST_HEADER_BYTES);
    let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let asked =
        pin!(async move { read(sender.send_request(request).await.map_err(|error| broken(&error))?, limit).await });
    // The connection moves only while it is waited for; it may end before all that came over it is read.
    match select(asked, pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, asked)) => asked.await,
    }
}

fn message(target: &Target, request: Request) -> Result<hyper::Request<Full<Bytes>>, Error> {
    let method = match request.method {
        Method::Get => hyper::Method::GET,
        Method::Post => hyper::Method::POST,
    };
    let mut message = hyper::Request::builder().method(method).uri(&target.path);
    message = message.header(HOST, &target.authority).header(USER_AGENT, OURSELVES);
    for (name, value) in request.headers {
        let name = HeaderName::try_from(name).map_err(|_| Error::Header)?;
        message = message.header(name, HeaderValue::try_from(value).map_err(|_| Error::Header)?);
    }
    message.body(Full::new(request.body.into())).map_err(|_| Error::Url("its path makes no sense"))
}

async fn read(answer: hyper::Response<Incoming>, limit: usize) -> Result<Response, Error> {
    let (head, mut incoming) = answer.into_parts();
    let mut body = Vec::new();
    while limit > 0
        && let Some(frame) = incoming.frame().await
    {
        let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() else { continue };
        if body.len() + data.len() > limit {
            return Err(Error::TooLarge);
        }
        body.extend_from_slice(&data);
    }
    Ok(Response { status: head.status.as_u16(), headers: head.headers, body })
}

/// Cut off, or no HTTP.
fn broken(error: &hyper::Error) -> Error {
    told(error, Error::Broken)
}
