//! The simulator's HTTP control, for tests that know the node only from outside.
//!
//! | request | body | does |
//! |---|---|---|
//! | `GET /node` | | address, public key, seed, certificate and macaroons |
//! | `POST /pay` | `{"invoice": "lnbc...", "amount_msat", "parts", "withheld_parts"}` | pays, answers when it is durable |
//! | `POST /clock/advance` | `{"seconds": 3600}` | moves the node's clock and cancels what expires by it |
//! | `POST /faults` | `{"fault": "...", ...}` | injects a [`Fault`] |
//! | `POST /restart` | `{"down_milliseconds": 500}` | goes down and comes up again |
//! | `POST /wipe` | | empties the invoice database |
//! | `POST /backup`, `POST /restore` | `{"name": "..."}` | keeps the database, and brings it back |

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, JsonConfig};
use actix_web::{App, HttpResponse, HttpServer, ResponseError, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinSet;

use super::error::SimulatorError;
use super::faults::Fault;
use super::payer::{PaymentOrder, PaymentOutcome};
use super::{Simulator, SimulatorRef};

#[derive(Deserialize)]
struct Advance {
    seconds: u64,
}

#[derive(Deserialize)]
struct Restart {
    #[serde(default)]
    down_milliseconds: u64,
}

#[derive(Deserialize)]
struct BackupName {
    name: String,
}

#[derive(Serialize)]
struct NodeDescription {
    address: String,
    public_key: String,
    seed: u64,
    network: &'static str,
    tls_certificate: String,
    service_macaroon: String,
    invoice_macaroon: String,
    admin_macaroon: String,
}

/// The control port; it closes when this is dropped.
pub(super) struct Control {
    pub(super) address: SocketAddr,
    handle: ServerHandle,
    task: JoinSet<()>,
}

impl Control {
    pub(super) fn open(simulator: &Simulator, address: SocketAddr) -> Result<Self, SimulatorError> {
        let listen = |source| SimulatorError::Listen { address, source };
        let (bound, server) = server(simulator.downgrade(), address).map_err(listen)?;
        let handle = server.handle();
        let mut task = JoinSet::new();
        task.spawn(async move {
            if let Err(error) = server.await {
                tracing::warn!(%error, "the simulator's control stopped");
            }
        });
        Ok(Self { address: bound, handle, task })
    }

    /// Returns when the port is closed.
    pub(super) async fn close(&self) {
        self.handle.stop(false).await;
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // The command is sent by the call; the server's task has to live on to carry it out, and then ends.
        drop(self.handle.stop(false));
        self.task.detach_all();
    }
}

fn server(simulator: SimulatorRef, address: SocketAddr) -> io::Result<(SocketAddr, Server)> {
    let weak = Data::new(simulator);
    let app = move || {
        App::new()
            .app_data(weak.clone())
            .app_data(
                JsonConfig::default()
                    .content_type_required(false)
                    .content_type(|_| true)
                    .error_handler(|error, _| bad_json(&error).into()),
            )
            .route("/node", web::get().to(node))
            .route("/pay", web::post().to(pay))
            .route("/clock/advance", web::post().to(advance))
            .route("/faults", web::post().to(inject))
            .route("/restart", web::post().to(restart))
            .route("/wipe", web::post().to(wipe))
            .route("/backup", web::post().to(backup))
            .route("/restore", web::post().to(restore))
    };
    let server = HttpServer::new(app).workers(1).disable_signals().bind(address)?;
    let bound = server.addrs().first().copied().unwrap_or(address);
    Ok((bound, server.run()))
}

async fn node(simulator: Data<SimulatorRef>) -> Result<HttpResponse, SimulatorError> {
    let simulator = simulator.upgrade()?;
    Ok(HttpResponse::Ok().json(NodeDescription {
        address: simulator.address().to_string(),
        public_key: simulator.public_key(),
        seed: simulator.seed(),
        network: simulator.network(),
        tls_certificate: simulator.tls_certificate_pem(),
        service_macaroon: simulator.service_macaroon().await?.to_hex(),
        invoice_macaroon: simulator.invoice_macaroon().await?.to_hex(),
        admin_macaroon: simulator.admin_macaroon().await?.to_hex(),
    }))
}

async fn pay(simulator: Data<SimulatorRef>, order: Json<PaymentOrder>) -> Result<HttpResponse, SimulatorError> {
    let outcome = simulator.upgrade()?.pay(order.into_inner()).await?;
    let status = match &outcome {
        PaymentOutcome::Settled { .. } | PaymentOutcome::AlreadySettled { .. } => StatusCode::OK,
        PaymentOutcome::Held { .. } => StatusCode::ACCEPTED,
        PaymentOutcome::Unknown { .. } => StatusCode::NOT_FOUND,
        PaymentOutcome::Closed { .. } => StatusCode::CONFLICT,
        PaymentOutcome::Failed { .. } => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Ok(HttpResponse::build(status).json(outcome))
}

async fn advance(simulator: Data<SimulatorRef>, by: Json<Advance>) -> Result<HttpResponse, SimulatorError> {
    simulator.upgrade()?.advance(Duration::from_secs(by.seconds)).await?;
    Ok(done())
}

async fn inject(simulator: Data<SimulatorRef>, fault: Json<Fault>) -> Result<HttpResponse, SimulatorError> {
    simulator.upgrade()?.inject(fault.into_inner()).await?;
    Ok(done())
}

async fn restart(simulator: Data<SimulatorRef>, restart: Json<Restart>) -> Result<HttpResponse, SimulatorError> {
    let down = Duration::from_millis(restart.down_milliseconds);
    simulator.upgrade()?.restart(down).await?;
    Ok(done())
}

async fn wipe(simulator: Data<SimulatorRef>) -> Result<HttpResponse, SimulatorError> {
    simulator.upgrade()?.wipe().await?;
    Ok(done())
}

async fn backup(simulator: Data<SimulatorRef>, backup: Json<BackupName>) -> Result<HttpResponse, SimulatorError> {
    simulator.upgrade()?.backup(&backup.name);
    Ok(done())
}

async fn restore(simulator: Data<SimulatorRef>, backup: Json<BackupName>) -> Result<HttpResponse, SimulatorError> {
    simulator.upgrade()?.restore(&backup.name).await?;
    Ok(done())
}

fn done() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "done"}))
}

fn bad_json(error: &actix_web::error::JsonPayloadError) -> SimulatorError {
    SimulatorError::Refused(error.to_string())
}

impl ResponseError for SimulatorError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Permission(_) | Self::WalletState(_) | Self::Refused(_) => StatusCode::BAD_REQUEST,
            Self::NoBackup => StatusCode::NOT_FOUND,
            Self::Stopped => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code()).json(json!({"error": self.to_string()}))
    }
}
