//! `GET /servers`: where a subscription can be bought now.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::list_servers::list_servers;
use crate::domain::server::Server;
use crate::http::Shared;
use crate::http::auth::{AnyScope, OptionalPermit};
use crate::http::error::{Error, ErrorBody};

#[derive(Debug, Serialize, ToSchema)]
pub struct ServersResponse {
    servers: Vec<ServerEntry>,
}

/// A server that has a place to sell.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServerEntry {
    #[schema(example = "eu-de")]
    id: String,
    #[schema(example = "Germany")]
    country: String,
    #[schema(example = "Nuremberg")]
    city: String,
    #[schema(example = "🇩🇪")]
    flag: String,
    #[schema(value_type = String, example = "online")]
    status: &'static str,
}

/// Lists the servers.
///
/// A server that is sold out, or not ready to be sold, is not in the list.
#[utoipa::path(
    get, path = "/api/public/v1/servers", tag = "subscriptions", operation_id = "listServers",
    security((), ("apiKey" = []), ("nostr" = [])),
    responses(
        (status = 200, body = ServersResponse),
        (status = 401, description = "`ERR_UNAUTHORIZED`: a credential was sent and is not good", body = ErrorBody),
        (status = 429, description = "Too many requests; see `Retry-After`", body = ErrorBody),
        (status = 500, description = "`ERR_INTERNAL_ERROR`: our mistake", body = ErrorBody),
        (status = 503, description = "The database does not answer; see `Retry-After`", body = ErrorBody),
    ),
)]
pub async fn servers(
    shared: Data<Shared>,
    permit: OptionalPermit<AnyScope>,
    request: HttpRequest,
) -> Result<HttpResponse, Error> {
    if permit.is_anonymous() {
        shared.limits.check.admit(shared.client(&request))?;
    }
    let servers = list_servers(&shared.app).await?;
    Ok(HttpResponse::Ok().json(ServersResponse { servers: servers.into_iter().map(ServerEntry::from).collect() }))
}

impl From<&Server> for ServerEntry {
    fn from(server: &Server) -> Self {
        Self {
            id: server.id.to_string(),
            country: server.country.clone(),
            city: server.city.clone(),
            flag: server.flag.clone(),
            status: "online",
        }
    }
}
