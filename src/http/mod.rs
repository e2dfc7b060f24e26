//! The API over HTTP: one folder an API family; here, what they share.
//!
//! A handler parses what it was sent into domain types, calls one verb of [`crate::app`], and writes down the answer.
//! It holds no rules. Every error is JSON, whoever makes it.

pub mod account;
pub mod agents;
pub mod auth;
pub mod body;
pub mod client_address;
pub mod dev;
pub mod error;
pub mod limits;
pub mod metrics;
pub mod openapi;
pub mod referrals;
pub mod stripe;
pub mod subscriptions;
pub mod tools;

mod cors;
mod failures;
mod idempotency;
mod operations;
mod panics;
mod requests;
mod routing;
mod security_txt;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{Server, Service as _, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::web::{Data, QueryConfig, ServiceConfig};
use actix_web::{App as ActixApp, HttpRequest, HttpServer, web};
use ipnet::IpNet;
use tokio::sync::{Semaphore, watch};

use crate::app::App;
use crate::config::{Limits, Service};
use client_address::AddressPrefix;
use error::Error;
use limits::RateLimits;

/// A request's head must arrive within this time of the first byte.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than a common proxy keeps its idle connections, so that it never picks one that is being closed.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// What is still answered after the stop; streams and long polls have ended by then of themselves.
const STOP_TIMEOUT_SECONDS: u64 = 10;
const CONNECTIONS_PER_WORKER: usize = 4_096;
/// Long polls and event streams that may be open at a time.
const MAX_WATCHERS: usize = 4_096;

/// What every handler may use; cheap to clone.
#[derive(Debug, Clone)]
pub struct Shared {
    pub app: App,
    pub limits: Arc<RateLimits>,
    trusted_proxies: Arc<[IpNet]>,
    /// What signed requests must name.
    origins: Arc<[String]>,
    security_contact: Option<Arc<str>>,
    /// True, or closed, when the server stops.
    stopping: watch::Receiver<bool>,
    watchers: Arc<Semaphore>,
}

impl Shared {
    /// `stopping` becomes true before the server is asked to stop: an open event stream would hold it up.
    pub fn new(app: App, limits: &Limits, service: &Service, stopping: watch::Receiver<bool>) -> Self {
        Self {
            app,
            limits: Arc::new(RateLimits::new(limits)),
            trusted_proxies: service.trusted_proxies.as_slice().into(),
            origins: service.origins.as_slice().into(),
            security_contact: service.security_contact.as_deref().map(Arc::from),
            stopping,
            watchers: Arc::new(Semaphore::new(MAX_WATCHERS)),
        }
    }

    /// Whom a request counts for.
    fn client(&self, request: &HttpRequest) -> AddressPrefix {
        AddressPrefix::of_request(request, &self.trusted_proxies)
    }
}

/// A server on a listener that is bound already; it runs when it is awaited or spawned, and leaves signals to others.
///
/// `more` adds routes of the caller's; they come first.
///
/// # Errors
/// When the listener cannot be used.
pub fn server<F>(listener: TcpListener, shared: Shared, more: F) -> io::Result<Server>
where
    F: FnOnce(&mut ServiceConfig) + Clone + Send + 'static,
{
    let server = HttpServer::new(move || application(shared.clone(), more.clone()))
        .client_request_timeout(HEAD_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        .tcp_nodelay(true)
        .shutdown_timeout(STOP_TIMEOUT_SECONDS)
        .max_connections(CONNECTIONS_PER_WORKER)
        .disable_signals()
        .listen(listener)?;
    Ok(server.run())
}

/// All routes with everything around them; what [`server`] runs and what a test can call without a socket.
pub fn application(
    shared: Shared,
    more: impl FnOnce(&mut ServiceConfig) + 'static,
) -> ActixApp<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody + 'static>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    let requests = shared.app.metrics.requests(&requests::ROUTES);
    ActixApp::new()
        .app_data(Data::new(shared))
        .app_data(QueryConfig::default().error_handler(|error, _| Error::invalid(error.to_string()).into()))
        .configure(more)
        .configure(tools::routes)
        .configure(subscriptions::routes)
        .configure(account::routes)
        .configure(referrals::routes)
        .configure(stripe::routes)
        .configure(operations::routes)
        .configure(openapi::routes)
        .default_service(web::to(routing::no_such_path))
        // The last one is the outermost.
        .wrap(from_fn(auth::signed::hash_body))
        .wrap(from_fn(panics::caught))
        .wrap(cors::policy())
        .wrap(from_fn(routing::json_errors))
        .wrap_fn(move |request, service| {
            let (requests, route) = (requests.clone(), requests::route_of(request.path()));
            let answer = service.call(request);
            async move {
                let answer = answer.await;
                let status =
                    answer.as_ref().map_or_else(|e| e.as_response_error().status_code(), ServiceResponse::status);
                requests.count(route, status.as_u16());
                answer
            }
        })
}

#[cfg(test)]
mod tests;
