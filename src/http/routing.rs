//! Paths with their methods, and JSON for everything that falls beside them.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{FromRequest, Handler, Resource, Responder, guard, web};

use super::error::Error;

/// A path that is read. `HEAD` is answered as `GET` without its body.
pub fn get<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let route = web::route().guard(guard::Any(guard::Get()).or(guard::Head())).to(handler);
    web::resource(path).route(route).default_service(web::to(async || refuse_method("GET, HEAD")))
}

/// A path that is posted to.
pub fn post<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path).route(web::post().to(handler)).default_service(web::to(async || refuse_method("POST")))
}

/// A path that is read, or posted to.
pub fn get_and_post<F, G, Read, Posted>(path: &str, read: F, posted: G) -> Resource
where
    F: Handler<Read>,
    Read: FromRequest + 'static,
    F::Output: Responder + 'static,
    G: Handler<Posted>,
    Posted: FromRequest + 'static,
    G::Output: Responder + 'static,
{
    let reading = web::route().guard(guard::Any(guard::Get()).or(guard::Head())).to(read);
    let other = web::to(async || refuse_method("GET, HEAD, POST"));
    web::resource(path).route(reading).route(web::post().to(posted)).default_service(other)
}

/// A path whose thing is read, changed in part, or deleted.
pub fn get_patch_and_delete<F, G, H, Read, Changed, Deleted>(path: &str, read: F, changed: G, deleted: H) -> Resource
where
    F: Handler<Read>,
    Read: FromRequest + 'static,
    F::Output: Responder + 'static,
    G: Handler<Changed>,
    Changed: FromRequest + 'static,
    G::Output: Responder + 'static,
    H: Handler<Deleted>,
    Deleted: FromRequest + 'static,
    H::Output: Responder + 'static,
{
    let reading = web::route().guard(guard::Any(guard::Get()).or(guard::Head())).to(read);
    let other = web::to(async || refuse_method("GET, HEAD, PATCH, DELETE"));
    let resource = web::resource(path).route(reading).route(web::patch().to(changed));
    resource.route(web::delete().to(deleted)).default_service(other)
}

/// A path whose thing can be deleted.
pub fn delete<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path).route(web::delete().to(handler)).default_service(web::to(async || refuse_method("DELETE")))
}

fn refuse_method(allow: &'static str) -> Result<&'static str, Error> {
    Err(Error::method_not_allowed(allow))
}

/// Any path that is not served.
pub async fn no_such_path() -> Result<&'static str, Error> {
    Err(nothing_there())
}

pub fn nothing_there() -> Error {
    Error::not_found("there is no such path; /docs lists what there is")
}

/// Gives the errors that a library answers by itself the form of ours.
pub async fn json_errors<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let response = next.call(request).await?;
    let status = response.status();
    let failed = status.is_client_error() || status.is_server_error();
    if !failed || is_json(&response) {
        return Ok(response.map_into_left_body());
    }
    let body = serde_json::to_vec(&Error::of_status(status).body())?;
    let mut response = response.map_body(|_, _| EitherBody::right(actix_web::body::BoxBody::new(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn is_json<B>(response: &ServiceResponse<B>) -> bool {
    response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}
