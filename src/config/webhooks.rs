//! The `[[webhooks]]` of the file: where the operator is told of events.

use std::path::Path;

use toml::Value;

use super::section::Section;
use super::value::{path, text};
use super::{ConfiguredWebhook, WebhookSecretSource};
use crate::domain::Invalid;
use crate::domain::webhook::{EventFilter, Owner, WebhookUrl};
use crate::domain::webhook_secret::WebhookSecret;

const MOST_WEBHOOKS: usize = 10;

pub fn webhooks(root: &mut Section<'_>, folder: &Path) -> Option<Vec<ConfiguredWebhook>> {
    let listed: Option<Vec<Option<ConfiguredWebhook>>> = root.sections("webhooks", |section| webhook(section, folder));
    if listed.is_none() && root.has("webhooks") {
        return None;
    }
    let listed = listed.unwrap_or_default();
    if listed.len() > MOST_WEBHOOKS {
        let what = format!("at most {MOST_WEBHOOKS} webhooks are expected");
        root.problem("webhooks", &what, "let one endpoint of yours pass events on to the others");
    }
    for (index, one) in listed.iter().enumerate() {
        let is_same = |other: &Option<ConfiguredWebhook>| {
            one.is_some() && other.as_ref().map(|other| &other.url) == one.as_ref().map(|one| &one.url)
        };
        if listed.iter().take(index).any(is_same) {
            let remedy = "name all events of one URL in one section";
            root.problem(&format!("webhooks[{index}].url"), "the same as that of another webhook", remedy);
        }
    }
    listed.into_iter().collect()
}

fn webhook(section: &mut Section<'_>, folder: &Path) -> Option<ConfiguredWebhook> {
    let url = section.required("url", r#""https://example.net/hooks""#, |value| WebhookUrl::parse(text(value)?));
    let events = section.optional("events", r#"["order.*", "webhook.disabled"]"#, events);
    let secret = secret(section, folder);
    Some(ConfiguredWebhook { url: url?, events: events.unwrap_or_else(EventFilter::everything), secret: secret? })
}

/// A list, or text with commas between them.
fn events(value: &Value) -> Result<EventFilter, Invalid> {
    let patterns: Result<Vec<String>, Invalid> = match value {
        Value::Array(list) => list.iter().map(|item| Ok(text(item)?.to_owned())).collect(),
        value => Ok(text(value)?.split(',').map(|pattern| pattern.trim().to_owned()).collect()),
    };
    EventFilter::parse(&patterns?, Owner::Configuration)
}

fn secret(section: &mut Section<'_>, folder: &Path) -> Option<WebhookSecretSource> {
    const EXAMPLE: &str = r#""webhook.secret""#;
    let in_text = section.optional("secret", r#""whsec_...""#, |value| WebhookSecret::parse(text(value)?));
    let file = section.optional("secret_file", EXAMPLE, path);
    match (section.has("secret"), section.has("secret_file")) {
        (true, true) => section.problem("secret", "given twice", "leave out either secret or secret_file"),
        (false, false) => {
            let remedy =
                "make one: echo whsec_$(openssl rand -base64 32) > webhook.secret; secret_file = \"webhook.secret\"";
            section.problem("secret_file", "missing", remedy);
        }
        _ => {}
    }
    in_text.map(WebhookSecretSource::Text).or(file.map(|file| WebhookSecretSource::File(folder.join(file))))
}
