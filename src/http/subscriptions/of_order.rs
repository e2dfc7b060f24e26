//! `/subscription/{paymentHash}` and what is below it, told apart by hand: actix matches a path with a variable part by
//! a regular expression, which takes longer than all the rest of a check, and customers who wait ask here all the time.

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::web::{Data, Path, Query};
use actix_web::{FromRequest, HttpRequest, HttpResponse};

use super::{check, events, sync};
use crate::http::Shared;
use crate::http::auth::Permit;
use crate::http::error::Error;
use crate::http::routing::nothing_there;

enum Asked {
    Check(String),
    Events(String),
    Sync(String),
}

/// Whatever no fixed path of the API is.
pub async fn of_order(shared: Data<Shared>, request: HttpRequest) -> Result<HttpResponse, Error> {
    let asked = asked(request.match_info().unprocessed()).ok_or_else(nothing_there)?;
    let allowed = matches!(*request.method(), Method::GET | Method::HEAD);
    match asked {
        Asked::Sync(_) if request.method() != Method::POST => Err(Error::method_not_allowed("POST")),
        Asked::Check(_) | Asked::Events(_) if !allowed => Err(Error::method_not_allowed("GET, HEAD")),
        Asked::Sync(hash) => {
            let permit = Permit::from_request(&request, &mut Payload::None).await?;
            sync::sync(shared, permit, hash).await
        }
        Asked::Check(hash) => {
            let query = Query::from_query(request.query_string()).map_err(|e| Error::invalid(e.to_string()))?;
            check::check(shared, request, Path::from(hash), query).await
        }
        Asked::Events(hash) => events::events(shared, request, Path::from(hash)).await,
    }
}

/// The last part of a path below the API's base.
fn asked(path: &str) -> Option<Asked> {
    let order = path.strip_prefix("/subscription/")?;
    match order.split_once('/') {
        None if !order.is_empty() => Some(Asked::Check(order.to_owned())),
        Some((hash, "sync")) if !hash.is_empty() => Some(Asked::Sync(hash.to_owned())),
        Some((hash, "events")) if !hash.is_empty() => Some(Asked::Events(hash.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_s_paths_are_told_apart() {
        assert!(matches!(asked("/subscription/ab"), Some(Asked::Check(hash)) if hash == "ab"));
        assert!(matches!(asked("/subscription/ab/events"), Some(Asked::Events(hash)) if hash == "ab"));
        assert!(matches!(asked("/subscription/ab/sync"), Some(Asked::Sync(hash)) if hash == "ab"));
        for path in [
            "",
            "/",
            "/subscription",
            "/subscription/",
            "/subscription/ab/",
            "/subscription/a/b",
            "/subscription//events",
        ] {
            assert!(asked(path).is_none(), "{path}");
        }
    }
}
