//! `GET /subscription/{paymentHash}/events`: the checks of one order as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{Stream, stream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::check::{CheckResponse, admitted_name};
use super::watch::Watch;
use crate::app::check_order::check_order;
use crate::http::Shared;
use crate::http::error::{Error, ErrorBody};

/// Often enough for proxies that close what is silent for 30 or 60 s.
const COMMENT_INTERVAL: Duration = Duration::from_secs(15);
const TOO_MANY_WATCHERS_RETRY: Duration = Duration::from_secs(30);

/// What an open stream holds.
struct Events {
    watch: Watch,
    next: Next,
    _place: OwnedSemaphorePermit,
}

/// What the stream does next.
enum Next {
    /// Tells what is known already.
    Tell,
    /// Waits for a change.
    Wait,
    End,
}

/// Streams the checks of an order.
///
/// Each `status` event carries the body of a check. The stream ends after `paid` or the invoice's expiry, and when the
/// server stops; a comment line every 15 seconds keeps it open.
#[utoipa::path(
    get, path = "/api/public/v1/subscription/{paymentHash}/events", tag = "subscriptions", operation_id = "watchSubscription",
    security((), ("apiKey" = []), ("nostr" = [])),
    params(("paymentHash" = String, Path, description = "64 lowercase hexadecimal digits; or the id of an order that is paid by card")),
    responses(
        (status = 200, content_type = "text/event-stream", body = String, example = "event: status\ndata: {\"status\":\"paid\"}\n\n"),
        (status = 400, description = "`ERR_INVALID_INPUT`: not a payment hash", body = ErrorBody),
        (status = 401, description = "`ERR_UNAUTHORIZED`: a credential was sent and is not good", body = ErrorBody),
        (status = 404, description = "`ERR_RESOURCE_NOT_FOUND`: no order has this hash", body = ErrorBody),
        (status = 429, description = "`ERR_RATE_LIMIT_EXCEEDED`; see `Retry-After`", body = ErrorBody),
        (status = 503, description = "Too many streams are open; poll instead", body = ErrorBody),
    ),
)]
pub async fn events(shared: Data<Shared>, request: HttpRequest, path: Path<String>) -> Result<HttpResponse, Error> {
    let name = admitted_name(&shared, &request, &path).await?;
    let first = check_order(&shared.app, name).await?;
    let watch = Watch::begin(shared.into_inner(), name, first);
    let place = watch
        .place()
        .ok_or_else(|| Error::unavailable("too many event streams are open; poll instead", TOO_MANY_WATCHERS_RETRY))?;
    let response = HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-cache, no-transform"))
        // nginx would hold events back to fill its buffer.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(Events { watch, next: Next::Tell, _place: place }.into_stream());
    Ok(response)
}

impl Events {
    fn into_stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        stream::unfold(self, |mut events| async move { events.next().await.map(|chunk| (Ok(chunk), events)) })
    }

    async fn next(&mut self) -> Option<Bytes> {
        match self.next {
            Next::Tell => self.tell(),
            Next::Wait => self.wait().await,
            Next::End => None,
        }
    }

    fn tell(&mut self) -> Option<Bytes> {
        let seen = self.watch.seen();
        let event = event(seen)?;
        self.next = if seen.is_final() { Next::End } else { Next::Wait };
        Some(event)
    }

    /// The next change, or a comment line where there was none for a while.
    async fn wait(&mut self) -> Option<Bytes> {
        let comment_due = Instant::now() + COMMENT_INTERVAL;
        while Instant::now() < comment_due {
            // The order may have changed since it was first seen; and an order that is gone has no more events.
            if self.watch.look().await.ok()? {
                return self.tell();
            }
            self.watch.sleep(comment_due).await;
            if self.watch.is_stopping() {
                return None;
            }
        }
        Some(Bytes::from_static(b": still waiting\n\n"))
    }
}

fn event(seen: &CheckResponse) -> Option<Bytes> {
    let data = serde_json::to_string(seen).ok()?;
    Some(Bytes::from(format!("event: status\ndata: {data}\n\n")))
}
