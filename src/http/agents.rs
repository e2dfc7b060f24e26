//! What an agent asks its control plane, on a socket that only agents can reach: who opens it may read its server's keys.
//!
//! `GET /agent/v1/{server}/state?epoch=&since=&wait=` answers 200 with an [`Update`], or
//! 204 where nothing changed for `wait` seconds. `POST /agent/v1/{server}/report` takes a
//! [`Report`].

use std::io;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::web::{Bytes, Data, Path, PayloadConfig, Query};
use actix_web::{App as ActixApp, HttpResponse, HttpServer, web};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::error::Error;
use super::{HEAD_TIMEOUT, body, routing};
use crate::app::App;
use crate::app::desired_peers::{Known, desired_peers};
use crate::app::take_report::{Heard, take_report};
use crate::domain::desired::{Report, Update, millis};
use crate::domain::server::ServerId;
use crate::domain::time::Timestamp;

/// One agent needs two: a poll that waits, and a report.
const CONNECTIONS: usize = 16;
const LONGEST_WAIT_SECONDS: u64 = 60;
/// A change by another replica or by an operator's command is not announced here.
const LOOK_ANYWAY: Duration = Duration::from_millis(200);
/// After a restore an agent names every peer that the database forgot, up to a full /16.
const MAX_REPORT: usize = 32 * 1024 * 1024;

/// Who is served: the verbs, and the one server whose agent has the socket.
struct Agents {
    app: App,
    server: ServerId,
}

#[derive(Deserialize)]
struct Asked {
    epoch: Option<Uuid>,
    since: Option<i64>,
    wait: Option<u64>,
}

#[derive(Serialize)]
struct ReportTaken {
    /// What the agent has is not what it should have: it asks again without `since`.
    resync: bool,
    /// Our clock, as in an update.
    #[serde(with = "millis")]
    now: Timestamp,
    is_synchronised: bool,
}

/// A server on a socket that is bound already.
///
/// # Errors
/// When the listener cannot be used.
pub fn server(listener: UnixListener, app: App, server: ServerId) -> io::Result<Server> {
    let agents = Data::new(Agents { app, server });
    let application = move || {
        ActixApp::new()
            .app_data(agents.clone())
            .app_data(PayloadConfig::new(MAX_REPORT))
            .service(routing::get("/agent/v1/{server}/state", state))
            .service(routing::post("/agent/v1/{server}/report", report))
            .default_service(web::to(elsewhere))
            .wrap(from_fn(routing::json_errors))
    };
    let server = HttpServer::new(application)
        .workers(1)
        .max_connections(CONNECTIONS)
        .client_request_timeout(HEAD_TIMEOUT)
        .shutdown_timeout(1)
        .disable_signals()
        .listen_uds(listener)?;
    Ok(server.run())
}

async fn state(agents: Data<Agents>, path: Path<String>, asked: Query<Asked>) -> Result<HttpResponse, Error> {
    agents.check(&path)?;
    let known = asked.epoch.zip(asked.since).map(|(epoch, revision)| Known { epoch, revision });
    let wait = Duration::from_secs(asked.wait.unwrap_or(0).min(LONGEST_WAIT_SECONDS));
    match agents.update(known, wait).await? {
        Some(update) => Ok(body::private(&update)),
        None => Ok(HttpResponse::NoContent().finish()),
    }
}

async fn report(agents: Data<Agents>, path: Path<String>, sent: Bytes) -> Result<HttpResponse, Error> {
    agents.check(&path)?;
    let report: Report = serde_json::from_slice(&sent).map_err(|error| Error::invalid(error.to_string()))?;
    let heard = take_report(&agents.app, &agents.server, &report).await?;
    let (resync, clock) = (heard == Heard::AskForEverything, &agents.app.clock);
    Ok(body::private(&ReportTaken { resync, now: clock.now(), is_synchronised: clock.is_synchronised() }))
}

async fn elsewhere() -> Result<&'static str, Error> {
    Err(Error::not_found("only agents are served here"))
}

impl Agents {
    /// Refuses an agent of another server than the one that this socket is for.
    fn check(&self, asked: &str) -> Result<(), Error> {
        if asked == self.server.as_str() {
            return Ok(());
        }
        Err(Error::not_found(format!("this socket is for the agent of server {}", self.server)))
    }

    /// What the agent does not know yet, as soon as there is something.
    async fn update(&self, known: Option<Known>, wait: Duration) -> Result<Option<Update>, Error> {
        let mut waiter = self.app.server_changes.wait_for(self.server.clone());
        let deadline = Instant::now() + wait;
        loop {
            let found = desired_peers(&self.app, &self.server, known).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if found.is_some() || left.is_zero() {
                return Ok(found);
            }
            // Both ends of it mean the same: look again.
            let _ = timeout(left.min(LOOK_ANYWAY), waiter.changed()).await;
        }
    }
}
