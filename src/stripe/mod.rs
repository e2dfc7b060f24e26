//! Stripe, for whoever pays by card: Checkout Sessions, made, looked up and closed; and its events, verified and read.
//!
//! A few calls of our own over [`Egress`], pinned to one version of the API. Every one of them can be repeated: making a
//! session carries the order's id as its idempotency key, so that a repeat ends at the same session.

mod message;
mod signature;

use form_urlencoded::{Serializer, byte_serialize};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::config::{SecretText, StripeSettings, TextSource};
use crate::domain::instance_key::KeyId;
use crate::domain::money::UsdCents;
use crate::domain::time::{SECOND, Timestamp};
use crate::egress::{self, Egress, Method, Purpose, Request};
use crate::metrics::Metrics;

pub use message::{About, Charge, Dispute, DisputeStatus, Event, PaymentStatus, Session, SessionStatus};
pub use signature::{Refusal, TOLERANCE, verify};

/// The operator's account at Stripe. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stripe {
    settings: StripeSettings,
    egress: Egress,
    metrics: Metrics,
}

/// What a page is to be made for.
#[derive(Debug, Clone)]
pub struct NewSession {
    pub order: Uuid,
    /// The instance key that its claim token derives from.
    pub key: KeyId,
    pub price: UsdCents,
    /// Shown on the page and on the receipt.
    pub description: String,
    pub expires_at: Timestamp,
}

/// Why Stripe did not do it. Its words about what was asked are kept for the operator; they name no secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("Stripe could not be asked")]
    Unanswered(#[from] egress::Error),
    #[error("Stripe is overloaded or broken: status {status}")]
    Unable { status: u16 },
    #[error("Stripe refuses the key ([stripe] key or key_file): {message}")]
    Credential { message: String },
    #[error("Stripe refuses: {message}")]
    Refused { message: String },
    #[error("Stripe's answer cannot be read")]
    Unreadable(#[source] serde_json::Error),
    #[error("the file {file} cannot be read")]
    File {
        file: String,
        #[source]
        source: std::io::Error,
    },
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: ErrorDetails,
}

#[derive(Deserialize)]
struct ErrorDetails {
    #[serde(default)]
    code: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// Some of many pages, the newest first.
#[derive(Debug, Clone, Deserialize)]
pub struct Listed {
    pub data: Vec<Session>,
    #[serde(default)]
    pub has_more: bool,
}

impl Error {
    /// Whether the same may succeed later.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unanswered(_) | Self::Unable { .. } | Self::Credential { .. } | Self::File { .. } => true,
            Self::Refused { .. } | Self::Unreadable(_) => false,
        }
    }

    /// The word in metrics.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Unanswered(_) => "unanswered",
            Self::Unable { .. } => "unable",
            Self::Credential { .. } => "credential",
            Self::Refused { .. } => "refused",
            Self::Unreadable(_) => "unreadable",
            Self::File { .. } => "file",
        }
    }
}

impl Stripe {
    pub fn new(settings: StripeSettings, egress: Egress) -> Self {
        Self { settings, egress, metrics: Metrics::default() }
    }

    /// Counts its calls there.
    #[must_use]
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    pub const fn settings(&self) -> &StripeSettings {
        &self.settings
    }

    /// Makes the page of an order, or finds the one that an earlier attempt made.
    pub async fn create_session(&self, new: &NewSession) -> Result<Session, Error> {
        let (order, price) = (new.order.to_string(), new.price.get().to_string());
        let (key, expires_at) = (new.key.0.to_string(), (new.expires_at.millis() / SECOND).to_string());
        let form = form(&[
            ("mode", "payment"),
            ("payment_method_types[0]", "card"),
            ("line_items[0][quantity]", "1"),
            ("line_items[0][price_data][currency]", "usd"),
            ("line_items[0][price_data][unit_amount]", &price),
            ("line_items[0][price_data][product_data][name]", &new.description),
            ("client_reference_id", &order),
            ("metadata[wiretoll_order]", &order),
            ("metadata[wiretoll_key]", &key),
            ("payment_intent_data[metadata][wiretoll_order]", &order),
            ("success_url", &self.settings.success_url),
            ("cancel_url", &self.settings.cancel_url),
            ("expires_at", &expires_at),
        ]);
        self.ask("create", Method::Post, "/v1/checkout/sessions", form, Some(&order)).await
    }

    pub async fn session(&self, id: &str) -> Result<Session, Error> {
        self.ask("show", Method::Get, &format!("/v1/checkout/sessions/{}", encoded(id)), Vec::new(), None).await
    }

    /// The session that a payment was made in; none where it was not made on such a page.
    pub async fn session_of(&self, payment_intent: &str) -> Result<Option<Session>, Error> {
        let path = format!("/v1/checkout/sessions?limit=1&payment_intent={}", encoded(payment_intent));
        let listed: Listed = self.ask("list", Method::Get, &path, Vec::new(), None).await?;
        Ok(listed.data.into_iter().next())
    }

    /// Pages that were made at `since` or later and finished; the next ones are those after the last of these.
    pub async fn completed_since(&self, since: Timestamp, after: Option<&str>) -> Result<Listed, Error> {
        let since = since.millis() / SECOND;
        let after = after.map_or(String::new(), |id| format!("&starting_after={}", encoded(id)));
        let path = format!("/v1/checkout/sessions?limit=100&status=complete&created%5Bgte%5D={since}{after}");
        self.ask("list", Method::Get, &path, Vec::new(), None).await
    }

    /// Closes the page, so that nobody pays on it any more.
    ///
    /// # Errors
    /// [`Error::Refused`] for one that is not open: look it up.
    pub async fn expire_session(&self, id: &str) -> Result<Session, Error> {
        let path = format!("/v1/checkout/sessions/{}/expire", encoded(id));
        self.ask("expire", Method::Post, &path, Vec::new(), None).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        call: &'static str,
        method: Method,
        path: &str,
        body: Vec<u8>,
        idempotency_key: Option<&str>,
    ) -> Result<T, Error> {
        let answer = self.send(method, path, body, idempotency_key).await;
        self.metrics.stripe_call(call, answer.as_ref().err().map_or("answered", Error::kind));
        answer
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        idempotency_key: Option<&str>,
    ) -> Result<T, Error> {
        let key = read(&self.settings.key).await?;
        let mut headers = vec![
            ("authorization", format!("Bearer {}", key.expose())),
            ("stripe-version", self.settings.api_version.clone()),
        ];
        if !body.is_empty() {
            headers.push(("content-type", "application/x-www-form-urlencoded".to_owned()));
        }
        if let Some(key) = idempotency_key {
            headers.push(("idempotency-key", key.to_owned()));
        }
        let url = format!("{}{path}", self.settings.api_base);
        let response = self.egress.send(Request { purpose: Purpose::Stripe, method, url, headers, body }).await?;
        if !response.is_success() {
            return Err(refusal(response.status, &response.body));
        }
        serde_json::from_slice(&response.body).map_err(Error::Unreadable)
    }
}

/// The text of a setting, read anew each time where it is a file, so that it can be rotated without a restart.
pub async fn read(source: &TextSource) -> Result<SecretText, Error> {
    match source {
        TextSource::Text(text) => Ok(text.clone()),
        TextSource::File(path) => {
            let unreadable = |source| Error::File { file: path.display().to_string(), source };
            let text = tokio::fs::read_to_string(path).await.map_err(unreadable)?;
            Ok(SecretText::new(text.trim()))
        }
    }
}

/// By status: <https://docs.stripe.com/api/errors>. A conflict of idempotency keys passes: the first one still runs.
fn refusal(status: u16, body: &[u8]) -> Error {
    let details = serde_json::from_slice::<ErrorAnswer>(body).ok().map(|answer| answer.error);
    let said = details.as_ref().and_then(|details| details.message.clone()).unwrap_or_default();
    let code = details.and_then(|details| details.code.or(details.kind)).unwrap_or_default();
    let message = format!("status {status}, {code}: {said}");
    match status {
        401 | 403 => Error::Credential { message },
        409 | 429 | 500.. => Error::Unable { status },
        _ => Error::Refused { message },
    }
}

fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    Serializer::new(String::new()).extend_pairs(fields).finish().into_bytes()
}

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}
