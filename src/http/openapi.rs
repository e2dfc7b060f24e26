//! The OpenAPI 3.1 document, made from the handlers themselves, and a page to read it on.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_ENCODING, ContentEncoding, LOCATION};
use actix_web::web::{Path, ServiceConfig};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::Config;

use super::error::{Error, ErrorBody};
use super::{account, operations, referrals, routing, security_txt, stripe, subscriptions as s, tools as t};

#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "wiretoll",
        description = "WireGuard subscriptions for Lightning payments: list the servers, create an order, pay its \
                       invoice, wait until it is paid, claim the config. Every error is JSON of `error` and `message`; \
                       unknown fields in requests are ignored.",
    ),
    paths(
        s::servers::servers,
        s::create::create,
        s::check::check,
        s::events::events,
        s::claim::claim,
        s::renew::renew,
        s::status::status,
        s::bandwidth_reset::bandwidth_reset,
        s::list::list,
        s::sync::sync,
        referrals::create,
        referrals::history,
        account::show::show,
        account::api_keys::list,
        account::api_keys::create,
        account::api_keys::revoke,
        account::nostr_keys::list,
        account::nostr_keys::add,
        account::nostr_keys::remove,
        account::adopt::adopt,
        account::webhooks::list,
        account::webhooks::create,
        account::webhooks::show,
        account::webhooks::change,
        account::webhooks::remove,
        account::webhooks::rotate,
        account::webhook_deliveries::test,
        account::webhook_deliveries::redeliver_all,
        account::webhook_deliveries::list,
        account::webhook_deliveries::redeliver_one,
        t::ping::ping,
        t::node_lookup::node_lookup,
        stripe::receive,
        operations::live,
        operations::ready,
        security_txt::security_txt,
    ),
    components(schemas(ErrorBody)),
    modifiers(&Credentials),
    tags(
        (name = "subscriptions", description = "Buy, renew and claim a WireGuard subscription"),
        (name = "referrals", description = "A code of one's own, and what purchases with it brought"),
        (name = "account", description = "For who has an API key: one's own keys, orders, subscriptions and webhooks"),
        (name = "tools", description = "For people who run Lightning nodes"),
        (name = "webhooks", description = "For Stripe"),
        (name = "operations", description = "For whoever runs the program"),
    ),
)]
struct Document;

/// The ways in which an owner makes themselves known.
#[derive(Debug)]
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let api_key = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API key: `sk_live_...`, or `sk_test_...` anywhere but on mainnet"));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("apiKey", SecurityScheme::Http(api_key.build()));
        let event = "`Nostr` and a signed event in base64 (NIP-98): kind 27235, `u` the exact URL, `method`, and `payload` where there is a body";
        let nostr = ApiKeyValue::with_description("Authorization", event);
        components.add_security_scheme("nostr", SecurityScheme::ApiKey(ApiKey::Header(nostr)));
    }
}

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(routing::get("/openapi.json", json))
        .service(routing::get("/docs", to_docs))
        .service(routing::get("/docs/{file:.*}", page));
}

/// The document as indented JSON.
///
/// # Errors
/// Never in practice: it holds no value that JSON cannot show.
pub fn document() -> Result<String, serde_json::Error> {
    Document::openapi().to_pretty_json()
}

async fn json() -> Result<HttpResponse, Error> {
    let document = document().map_err(|_| Error::internal())?;
    Ok(HttpResponse::Ok().content_type("application/json").body(document))
}

async fn to_docs() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((LOCATION, "/docs/")).finish()
}

/// A file of Swagger UI; its own service answers `HEAD` as if there were none.
async fn page(file: Path<String>) -> Result<HttpResponse, Error> {
    // It would otherwise send the document to a validator on the internet.
    let ui = Config::from("/openapi.json").validator_url("none").try_it_out_enabled(true);
    let found = utoipa_swagger_ui::serve(&file, Arc::new(ui)).map_err(|_| Error::internal())?;
    let file = found.ok_or_else(routing::nothing_there)?;
    let mut response = HttpResponse::Ok();
    if file.gzpipped {
        response.insert_header((CONTENT_ENCODING, ContentEncoding::Gzip));
    }
    Ok(response.content_type(file.content_type).body(file.bytes))
}
