//! `/metrics` for Prometheus, on a listener of its own: it is the operator's, not the customers'.

use std::io;
use std::net::TcpListener;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App as ActixApp, HttpResponse, HttpServer, web};
use tokio::sync::Mutex;

use super::error::Error;
use super::{HEAD_TIMEOUT, routing};
use crate::app::App;
use crate::app::measure::measure;
use crate::metrics::CONTENT_TYPE;

/// Two Prometheus servers and a curious person are far fewer.
const CONNECTIONS: usize = 64;

/// One page at a time, so that many who ask cost the database no more than one does.
struct Pages(Mutex<App>);

/// A server on a listener that is bound already.
///
/// # Errors
/// When the listener cannot be used.
pub fn server(listener: TcpListener, app: App) -> io::Result<Server> {
    let pages = Data::new(Pages(Mutex::new(app)));
    let application = move || {
        ActixApp::new()
            .app_data(pages.clone())
            .service(routing::get("/metrics", page))
            .default_service(web::to(elsewhere))
            .wrap(from_fn(routing::json_errors))
    };
    let server = HttpServer::new(application)
        .workers(1)
        .max_connections(CONNECTIONS)
        .client_request_timeout(HEAD_TIMEOUT)
        .shutdown_timeout(1)
        .disable_signals()
        .listen(listener)?;
    Ok(server.run())
}

async fn page(pages: Data<Pages>) -> Result<HttpResponse, Error> {
    let app = pages.0.lock().await;
    let readings = measure(&app).await;
    let text = app.metrics.show(&readings).map_err(|_| Error::internal())?;
    Ok(HttpResponse::Ok().content_type(CONTENT_TYPE).body(text))
}

async fn elsewhere() -> Result<&'static str, Error> {
    Err(Error::not_found("there is only /metrics here"))
}
