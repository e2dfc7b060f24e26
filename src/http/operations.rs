//! Health, for whoever runs the program; and whom to tell of a hole in it.

use actix_web::HttpResponse;
use actix_web::web::{Data, ServiceConfig};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{Error, public_reason};
use super::security_txt::security_txt;
use super::{Shared, routing};
use crate::app::App;
use crate::app::node_health::NodeHealth;

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
    node: NodeCondition,
}

/// The Lightning node as this instance sees it; none of it takes the instance out of service.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeCondition {
    /// How far it had started when it was last looked at, as LND's `GetState` calls it; null if it did not say. Only in
    /// `SERVER_ACTIVE` are invoices made.
    #[schema(example = "SERVER_ACTIVE")]
    state: Option<String>,
    /// Since it last answered a call; null if it never has since the start. It is looked at every 30 seconds.
    #[schema(example = 7)]
    silent_seconds: Option<u64>,
    settlements: Following,
    /// Since the last event of the stream of settlements, or since the start.
    #[schema(example = 42)]
    last_settlement_seconds: u64,
}

/// Whether this instance hears of payments at once, or finds them by its sweeps only.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Following {
    /// The stream was opened, and an event has proven it.
    Live,
    /// The stream was opened; LND says nothing on it before the first event.
    Open,
    Closed,
}

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(routing::get("/health/live", live))
        .service(routing::get("/health/ready", ready))
        .service(routing::get("/.well-known/security.txt", security_txt));
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
///
/// The workers need no word here: the process ends with the first that ends. Nor does the database's writer, which may
/// have a queue under load: what it refuses is counted and has an alarm.
#[utoipa::path(
    get, path = "/health/ready", tag = "operations", operation_id = "ready",
    responses((status = 200, body = Readiness), (status = 503, description = "The database does not answer", body = super::error::ErrorBody)),
)]
pub async fn ready(shared: Data<Shared>) -> Result<HttpResponse, Error> {
    shared.app.store.ping().await?;
    let problem = shared.app.obstacle().map(|missing| public_reason(&missing));
    let status = if problem.is_none() { "ok" } else { "degraded" };
    Ok(HttpResponse::Ok().json(Readiness { status, problem, node: node_condition(&shared.app) }))
}

fn node_condition(app: &App) -> NodeCondition {
    NodeCondition {
        state: app.health.wallet().map(|state| state.to_string()),
        silent_seconds: app.node.silent_for().map(|silence| silence.as_secs()),
        settlements: Following::of(&app.health),
        last_settlement_seconds: app.health.stream_age().as_secs(),
    }
}

impl Following {
    fn of(node: &NodeHealth) -> Self {
        match (node.is_stream_open(), node.is_stream_live()) {
            (_, true) => Self::Live,
            (true, false) => Self::Open,
            (false, false) => Self::Closed,
        }
    }
}
