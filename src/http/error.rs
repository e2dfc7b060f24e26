//! Every error as JSON `{error, message}`: one table of codes, one `match` from what a verb refused.
//!
//! A failure of ours is logged here, once, with its causes; the client gets a sentence without them.

use std::borrow::Cow;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::{self, Unavailable};
use crate::domain::Invalid;
use crate::store;

/// When to try again after the database did not answer.
const DATABASE_RETRY: Duration = Duration::from_secs(10);
/// When a place for one more open invoice may have become free.
const OPEN_ORDERS_RETRY: Duration = Duration::from_mins(1);

/// What a request is answered with when it is not done.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    status: StatusCode,
    code: Code,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
    /// The methods of a path that was asked with another one.
    allow: Option<&'static str>,
}

/// The stable names of errors; clients act on some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    InvalidInput,
    Unauthorized,
    PaymentRequired,
    Forbidden,
    MigrationRequired,
    ResourceNotFound,
    MethodNotAllowed,
    Conflict,
    RateLimitExceeded,
    /// As clients of the ping know it: no code, but a sentence that they show.
    PingLimitExceeded,
    InternalError,
}

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody<'a> {
    /// A stable code that begins with `ERR_`.
    #[schema(value_type = String, example = "ERR_INVALID_INPUT")]
    error: &'a str,
    /// What is wrong, for people.
    #[schema(value_type = String, example = "duration must be one of 1, 3, 6, 12 months")]
    message: &'a str,
}

impl Code {
    const fn text(self) -> &'static str {
        match self {
            Self::InvalidInput => "ERR_INVALID_INPUT",
            Self::Unauthorized => "ERR_UNAUTHORIZED",
            Self::PaymentRequired => "ERR_PAYMENT_REQUIRED",
            Self::Forbidden => "ERR_FORBIDDEN",
            Self::MigrationRequired => "ERR_MIGRATION_REQUIRED",
            Self::ResourceNotFound => "ERR_RESOURCE_NOT_FOUND",
            Self::MethodNotAllowed => "ERR_METHOD_NOT_ALLOWED",
            Self::Conflict => "ERR_CONFLICT",
            Self::RateLimitExceeded => "ERR_RATE_LIMIT_EXCEEDED",
            Self::PingLimitExceeded => "Rate limited. Please wait a minute.",
            Self::InternalError => "ERR_INTERNAL_ERROR",
        }
    }

    /// The code of an answer that a library made.
    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthorized,
            StatusCode::NOT_FOUND => Self::ResourceNotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::TOO_MANY_REQUESTS => Self::RateLimitExceeded,
            status if status.is_server_error() => Self::InternalError,
            _ => Self::InvalidInput,
        }
    }
}

impl Error {
    fn new(status: StatusCode, code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), retry_after: None, allow: None }
    }

    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::InvalidInput, message)
    }

    /// No credential, or none that is good.
    pub fn unauthorized(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, message)
    }

    /// Whether it was the credential that was not good.
    pub fn is_unauthorized(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
    }

    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, Code::Forbidden, message)
    }

    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::ResourceNotFound, message)
    }

    /// `allow` is the list of methods as the `Allow` header spells it.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let message = format!("this path answers {allow} only");
        let error = Self::new(StatusCode::METHOD_NOT_ALLOWED, Code::MethodNotAllowed, message);
        Self { allow: Some(allow), ..error }
    }

    pub fn too_large(limit: usize) -> Self {
        let message = format!("the body is larger than {} KiB", limit / 1024);
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, Code::InvalidInput, message)
    }

    pub fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, Code::InvalidInput, "the body did not arrive in time")
    }

    pub fn rate_limited(wait: Duration) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, Code::RateLimitExceeded, "too many requests; slow down");
        error.retry_after(wait)
    }

    /// The error of a limit, as the clients of the ping show it.
    #[must_use]
    pub fn in_a_sentence(self) -> Self {
        Self { code: Code::PingLimitExceeded, ..self }
    }

    /// Something that is missing now and may be there later.
    pub fn unavailable(message: impl Into<Cow<'static, str>>, wait: Duration) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::InternalError, message).retry_after(wait)
    }

    /// Our own mistake: the client learns nothing but that.
    pub fn internal() -> Self {
        let message = "something went wrong on our side; please try again later";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::InternalError, message)
    }

    /// In place of an error body that a library made in its own form.
    pub fn of_status(status: StatusCode) -> Self {
        Self::new(status, Code::of_status(status), status.canonical_reason().unwrap_or("error"))
    }

    fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    pub fn body(&self) -> ErrorBody<'_> {
        ErrorBody { error: self.code.text(), message: &self.message }
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if let Some(wait) = self.retry_after {
            response.insert_header((RETRY_AFTER, whole_seconds(wait)));
        }
        if let Some(allow) = self.allow {
            response.insert_header((ALLOW, allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.append_header((WWW_AUTHENTICATE, "Bearer")).append_header((WWW_AUTHENTICATE, "Nostr"));
        }
        response.json(self.body())
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::invalid(invalid.0)
    }
}

impl From<app::Error> for Error {
    fn from(error: app::Error) -> Self {
        use app::Error as Refusal;
        match error {
            Refusal::Invalid(invalid) => invalid.into(),
            Refusal::Unauthorized(message) => Self::unauthorized(message),
            Refusal::Forbidden(message) => Self::forbidden(message),
            Refusal::NotFound(message) => Self::not_found(message),
            Refusal::Unpaid => Self::new(StatusCode::PAYMENT_REQUIRED, Code::PaymentRequired, error.to_string()),
            Refusal::Conflict(message) => Self::new(StatusCode::CONFLICT, Code::Conflict, message),
            Refusal::MigrationRequired { .. } => {
                Self::new(StatusCode::FORBIDDEN, Code::MigrationRequired, error.to_string())
            }
            Refusal::Revoked | Refusal::Suspended => Self::forbidden(error.to_string()),
            Refusal::TooManyOpen(_) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, Code::RateLimitExceeded, error.to_string())
                    .retry_after(OPEN_ORDERS_RETRY)
            }
            Refusal::TooManyResets { wait } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, Code::RateLimitExceeded, error.to_string()).retry_after(wait)
            }
            Refusal::Unavailable(missing) => missing.into(),
            Refusal::Store(error) => error.into(),
            Refusal::Broken(_) | Refusal::Secret(_) | Refusal::Random(_) | Refusal::Config(_) => {
                log(&error);
                Self::internal()
            }
        }
    }
}

impl From<Unavailable> for Error {
    fn from(missing: Unavailable) -> Self {
        // An agent is no customer, and tells its own operator.
        if !matches!(missing, Unavailable::AnotherAgent(_)) {
            tracing::warn!(error = %missing, "a customer was turned away");
        }
        Self::unavailable(public_reason(&missing), missing.retry_after())
    }
}

impl From<store::Error> for Error {
    /// A database that does not answer is a dependency; a row that cannot be is our bug.
    fn from(error: store::Error) -> Self {
        log(&error);
        match error {
            store::Error::Database(_) => Self::unavailable("the database does not answer", DATABASE_RETRY),
            store::Error::Constraint(_) | store::Error::Corrupt(_) | store::Error::Refused(_) => Self::internal(),
        }
    }
}

/// Names what is missing. What the node's client says about it may hold addresses, and stays in the log.
pub fn public_reason(missing: &Unavailable) -> String {
    match missing {
        Unavailable::NodeDown(_) => "the Lightning node does not answer".to_owned(),
        other => other.to_string(),
    }
}

fn log(error: &dyn std::error::Error) {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    tracing::error!(error = %error, causes = causes.join(": "), "a request failed");
}

/// Never 0: a client that takes it at its word would come back at once.
fn whole_seconds(wait: Duration) -> String {
    wait.as_millis().div_ceil(1000).max(1).to_string()
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody;

    use super::*;
    use crate::domain::server::ServerId;

    fn shown(error: impl Into<Error>) -> (u16, Option<String>, String) {
        let response = error.into().error_response();
        let retry = response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let body = response.into_body().try_into_bytes().unwrap();
        (status, retry, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn every_refusal_has_its_status_code_and_wait() {
        let eu = ServerId::parse("eu-de").unwrap();
        let cases: [(app::Error, u16, Option<&str>, &str); 13] = [
            (Invalid::new("bad").into(), 400, None, "ERR_INVALID_INPUT"),
            (app::Error::Unauthorized("who?".into()), 401, None, "ERR_UNAUTHORIZED"),
            (app::Error::Forbidden("not this".into()), 403, None, "ERR_FORBIDDEN"),
            (app::Error::Unpaid, 402, None, "ERR_PAYMENT_REQUIRED"),
            (app::Error::MigrationRequired { to: eu.clone() }, 403, None, "ERR_MIGRATION_REQUIRED"),
            (app::Error::Revoked, 403, None, "ERR_FORBIDDEN"),
            (app::Error::Suspended, 403, None, "ERR_FORBIDDEN"),
            (app::Error::NotFound("nothing"), 404, None, "ERR_RESOURCE_NOT_FOUND"),
            (app::Error::Conflict("key mismatch".into()), 409, None, "ERR_CONFLICT"),
            (app::Error::TooManyOpen(40), 429, Some("60"), "ERR_RATE_LIMIT_EXCEEDED"),
            (app::Error::TooManyResets { wait: Duration::from_hours(1) }, 429, Some("3600"), "ERR_RATE_LIMIT_EXCEEDED"),
            (Unavailable::SoldOut(eu).into(), 503, Some("300"), "ERR_INTERNAL_ERROR"),
            (store::Error::Refused("secret detail".into()).into(), 500, None, "ERR_INTERNAL_ERROR"),
        ];
        for (error, status, retry, code) in cases {
            let (shown_status, shown_retry, body) = shown(error);
            assert_eq!((shown_status, shown_retry.as_deref()), (status, retry), "{body}");
            assert!(body.starts_with(&format!(r#"{{"error":"{code}","message":""#)), "{body}");
        }
    }

    #[test]
    fn what_a_dependency_says_stays_inside() {
        let (_, _, node) = shown(Unavailable::NodeDown("connect 10.0.0.3:10009: refused".into()));
        let (_, _, store) = shown(store::Error::Database("password=hunter2".into()));
        assert!(!node.contains("10.0.0.3") && !store.contains("hunter2"));
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        assert_eq!(whole_seconds(Duration::ZERO), "1");
        assert_eq!(whole_seconds(Duration::from_millis(2_001)), "3");
    }
}
