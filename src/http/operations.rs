//! Health, for whoever runs the program.

use actix_web::HttpResponse;
use actix_web::web::{Data, ServiceConfig};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{Error, public_reason};
use super::{Shared, routing};

#[derive(Debug, Serialize, ToSchema)]
pub struct Liveness {
    #[schema(value_type = String, example = "ok")]
    status: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// `ok`, or `degraded`: everything but a sale works.
    #[schema(value_type = String, example = "ok")]
    status: &'static str,
    /// Why nothing can be sold now; the log says more.
    #[schema(example = "the Lightning node does not answer")]
    problem: Option<String>,
}

pub fn routes(config: &mut ServiceConfig) {
    config.service(routing::get("/health/live", live)).service(routing::get("/health/ready", ready));
}

/// Whether the process answers at all.
#[utoipa::path(
    get, path = "/health/live", tag = "operations", operation_id = "live",
    responses((status = 200, body = Liveness)),
)]
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(Liveness { status: "ok" })
}

/// Whether requests should come here: claims and checks need only the database, so a node that is down is told of but
/// does not take the instance out of service.
#[utoipa::path(
    get, path = "/health/ready", tag = "operations", operation_id = "ready",
    responses((status = 200, body = Readiness), (status = 503, description = "The database does not answer", body = super::error::ErrorBody)),
)]
pub async fn ready(shared: Data<Shared>) -> Result<HttpResponse, Error> {
    shared.app.store.ping().await?;
    let problem = shared.app.obstacle().map(|missing| public_reason(&missing));
    let status = if problem.is_none() { "ok" } else { "degraded" };
    Ok(HttpResponse::Ok().json(Readiness { status, problem }))
}
