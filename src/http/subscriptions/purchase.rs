//! How `create` and `renew` are asked: by a customer, who may ask the same again.

use actix_web::HttpRequest;
use actix_web::web::Payload;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::app::place_order::Customer;
use crate::http::auth::{OptionalPermit, Orders};
use crate::http::error::Error;
use crate::http::{Shared, body, idempotency};

/// What is wanted, and by whom; `route` names the request among those that an `Idempotency-Key` may stand for.
///
/// # Errors
/// 429 for a customer who asks too often, and those of [`body::read`] and [`idempotency::key_of`].
pub async fn read<T: DeserializeOwned + Serialize>(
    shared: &Shared,
    permit: &OptionalPermit<Orders>,
    route: &'static str,
    request: &HttpRequest,
    payload: Payload,
) -> Result<(T, Customer), Error> {
    let client = shared.client(request);
    if permit.is_anonymous() {
        shared.limits.create.admit(client)?;
    }
    let wanted = body::read(request, payload).await?;
    let idempotency_key = idempotency::key_of(request, permit.account(), route, &wanted)?;
    Ok((
        wanted,
        Customer { address_prefix: client.to_string(), account: permit.account(), idempotency_key, callback: None },
    ))
}
