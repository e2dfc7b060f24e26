//! A panic while a request is handled becomes a JSON 500; without this the connection closes with no answer.

use std::panic::AssertUnwindSafe;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use futures_util::FutureExt;

use super::error::Error;

/// Unwind safe by assertion: what a handler leaves half-done is its own, and a dropped transaction rolls back.
pub async fn caught<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    let handled = async move { next.call(request).await };
    AssertUnwindSafe(handled).catch_unwind().await.unwrap_or_else(|_| {
        // The panic hook has printed where and why.
        tracing::error!("a handler panicked");
        Err(Error::internal().into())
    })
}
