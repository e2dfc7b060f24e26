//! The way to the control plane: HTTP over a socket in the file system.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use uuid::Uuid;

use crate::domain::desired::{Report, Update, millis};
use crate::domain::server::ServerId;
use crate::domain::time::Timestamp;

const CONNECT: Duration = Duration::from_secs(5);
/// For everything but the wait of a poll.
const ANSWER: Duration = Duration::from_secs(30);
/// unix(7): 108 bytes with the zero at their end.
const LONGEST_SOCKET: usize = 107;
/// A snapshot of a full /16 is some 15 MB.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Asks and tells the control plane.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    client: Client,
    base: String,
}

/// Why it was not heard.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("the service does not answer: does `wiretoll serve` run, and is its [agent] socket the same?")]
    Unreachable(#[from] reqwest::Error),
    #[error(
        "the path {} is longer than the {LONGEST_SOCKET} bytes that a socket's may have: give [agent] socket a shorter one, \
         here and where the service runs",
        .0.display()
    )]
    PathTooLong(PathBuf),
    /// Not now, in its own words.
    #[error("{0}")]
    Busy(String),
    /// In its own words.
    #[error("{0}")]
    Refused(String),
    #[error("the control plane's answer is longer than it can be")]
    TooLong,
    #[error("the control plane's answer makes no sense")]
    Unreadable(#[from] serde_json::Error),
}

/// What it says to a report.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct ReportTaken {
    /// Ask for everything again.
    pub resync: bool,
    #[serde(with = "millis")]
    pub now: Timestamp,
    /// As in an update.
    #[serde(default)]
    pub is_synchronised: bool,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl ControlPlane {
    pub fn new(socket: &Path, server: &ServerId) -> Result<Self, ControlError> {
        if socket.as_os_str().len() > LONGEST_SOCKET {
            return Err(ControlError::PathTooLong(socket.to_owned()));
        }
        let client = Client::builder().unix_socket(socket).no_proxy().connect_timeout(CONNECT).build()?;
        Ok(Self { client, base: format!("http://control.plane/agent/v1/{server}") })
    }

    /// What is not known yet; none after `wait` without a change.
    pub async fn poll(&self, known: Option<(Uuid, i64)>, wait: Duration) -> Result<Option<Update>, ControlError> {
        let mut query = format!("wait={}", wait.as_secs());
        if let Some((epoch, revision)) = known {
            query = format!("{query}&epoch={epoch}&since={revision}");
        }
        let request = self.client.get(format!("{}/state?{query}", self.base)).timeout(wait + ANSWER);
        let answer = checked(request.send().await?).await?;
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&body(answer).await?)?))
    }

    pub async fn report(&self, report: &Report) -> Result<ReportTaken, ControlError> {
        let request = self.client.post(format!("{}/report", self.base)).json(report).timeout(ANSWER);
        let answer = checked(request.send().await?).await?;
        Ok(serde_json::from_slice(&body(answer).await?)?)
    }
}

async fn checked(answer: Response) -> Result<Response, ControlError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let said = serde_json::from_slice::<Refusal>(&body(answer).await?);
    let said = said.map_or_else(|_| format!("the control plane answers {status}"), |said| said.message);
    // What it cannot do now it may do later.
    Err(if status.is_server_error() { ControlError::Busy(said) } else { ControlError::Refused(said) })
}

async fn body(mut answer: Response) -> Result<Vec<u8>, ControlError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(ControlError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_whose_path_is_too_long_is_told_before_anything_is_done() {
        let server = ServerId::parse("eu-de").unwrap();
        let path = |length: usize| PathBuf::from("/".repeat(length));
        assert!(ControlPlane::new(&path(107), &server).is_ok());
        let refused = ControlPlane::new(&path(108), &server).unwrap_err();
        assert!(refused.to_string().contains("107 bytes"), "{refused}");
    }
}
