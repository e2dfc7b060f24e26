//! The operator's webhooks of the configuration, with their secrets where those are files of their own.

use std::path::Path;

use super::StartError;
use crate::app::App;
use crate::app::configured_webhooks::{Configured, sync_configured_webhooks};
use crate::config::{ConfiguredWebhook, WebhookSecretSource};
use crate::domain::webhook_secret::WebhookSecret;

pub async fn sync(app: &App, webhooks: &[ConfiguredWebhook]) -> Result<(), StartError> {
    let configured = webhooks.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(sync_configured_webhooks(app, &configured).await?)
}

/// What a start would refuse of them.
pub fn check(webhooks: &[ConfiguredWebhook]) -> Result<(), StartError> {
    webhooks.iter().try_for_each(|webhook| read(webhook).map(drop))
}

fn read(webhook: &ConfiguredWebhook) -> Result<Configured, StartError> {
    let secret = match &webhook.secret {
        WebhookSecretSource::Text(secret) => secret.clone(),
        WebhookSecretSource::File(file) => read_file(file)?,
    };
    Ok(Configured { url: webhook.url.clone(), events: webhook.events.clone(), secret })
}

fn read_file(file: &Path) -> Result<WebhookSecret, StartError> {
    let failed = |why: String| StartError::WebhookSecret { file: file.to_owned(), why };
    let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    WebhookSecret::parse(text.trim()).map_err(|wrong| failed(wrong.to_string()))
}
