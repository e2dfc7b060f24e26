//! `GET /.well-known/security.txt` (RFC 9116): where whoever finds a hole writes to.

use actix_web::HttpResponse;
use actix_web::web::Data;

use super::Shared;
use super::error::{Error, ErrorBody};
use super::routing::nothing_there;
use crate::domain::time::DAY;

/// Far below the year that the RFC asks for, so that a copy is looked at again.
const GOOD_FOR: i64 = 90 * DAY;

/// Where whoever finds a hole in the service may write to.
#[utoipa::path(
    get, path = "/.well-known/security.txt", tag = "operations", operation_id = "securityTxt",
    responses(
        (status = 200, content_type = "text/plain", body = String, example = "Contact: mailto:security@shop.example\nExpires: 2027-02-20T12:00:00.000Z\nPreferred-Languages: en\n"),
        (status = 404, description = "`ERR_RESOURCE_NOT_FOUND`: the operator names no address", body = ErrorBody),
    ),
)]
pub async fn security_txt(shared: Data<Shared>) -> Result<HttpResponse, Error> {
    let contact = shared.security_contact.as_deref().ok_or_else(nothing_there)?;
    let expires = shared.app.clock.now().plus_millis(GOOD_FOR);
    let text = format!("Contact: {contact}\nExpires: {expires}\nPreferred-Languages: en\n");
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(text))
}
