//! What can go wrong between us and the node, told apart by what to do about it.
//!
//! LND answers nearly everything with the gRPC code `Unknown` and a text, so the texts are what we go by
//! (as v0.21.2 writes them). A status that LND sent has no source; one that the transport made up has one.

use std::error::Error as StdError;
use std::io;

use tonic::{Code, Status};

/// Texts of errors are shown to operators; a node, or a proxy in its place, decides how long they are.
const MAX_TEXT: usize = 300;

/// Why a call to the node has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No connection, or it broke; whether the node acted on the call is unknown.
    #[error("LND cannot be reached: {0}")]
    Unreachable(String),
    /// No answer by the deadline; whether the node acted on the call is unknown.
    #[error("LND did not answer {method} in time")]
    TimedOut { method: &'static str },
    /// Starting up or shutting down.
    #[error("LND is not ready: {0}")]
    NotReady(String),
    #[error("LND's wallet is locked")]
    Locked,
    #[error("LND does not accept the macaroon: {0}")]
    BadMacaroon(String),
    #[error("the macaroon does not permit {method}")]
    PermissionDenied { method: &'static str },
    /// Not the pinned certificate, or none that a public authority vouches for. A locked node that runs with
    /// `tlsencryptkey` shows a passing certificate, too.
    #[error("the node's certificate is not trusted: {0}")]
    UntrustedCertificate(String),
    /// The address, the certificate file or the macaroon in the configuration cannot be used.
    #[error("the settings for LND cannot be used: {0}")]
    Settings(String),
    #[error("LND has an invoice of this payment hash already")]
    AlreadyExists,
    /// The node knows nothing of that name; look-ups and cancelling answer it in their own words.
    #[error("LND does not know it: {0}")]
    NotFound(String),
    #[error("LND refused {method}: {text}")]
    Rejected { method: &'static str, text: String },
    /// An answer that LND should never give.
    #[error("LND's answer makes no sense: {0}")]
    Malformed(String),
}

impl Error {
    /// Whether the same call may succeed later without anybody changing the settings.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::TimedOut { .. } | Self::NotReady(_) | Self::Locked)
    }

    /// Whether the operator's certificate or macaroon is at fault. Both files are read again before the next call.
    pub const fn is_credential(&self) -> bool {
        matches!(
            self,
            Self::BadMacaroon(_) | Self::PermissionDenied { .. } | Self::UntrustedCertificate(_) | Self::Settings(_)
        )
    }

    /// Whether it says nothing about the invoice in question: a call about another one would end in the same way.
    pub const fn is_of_the_node(&self) -> bool {
        self.is_retryable() || self.is_credential()
    }

    /// What kind of failure the operator counts it as; nothing where it is an answer about an invoice.
    pub(super) fn failure(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable(_) => Some("unreachable"),
            Self::TimedOut { .. } => Some("timed_out"),
            Self::NotReady(_) => Some("not_ready"),
            Self::Locked => Some("locked"),
            Self::BadMacaroon(_) | Self::PermissionDenied { .. } => Some("macaroon"),
            Self::UntrustedCertificate(_) => Some("certificate"),
            Self::Settings(_) => Some("settings"),
            Self::Malformed(_) => Some("malformed"),
            Self::Rejected { text, .. } if text.contains("already settled") => None,
            Self::Rejected { .. } => Some("rejected"),
            Self::AlreadyExists | Self::NotFound(_) => None,
        }
    }

    /// Whether the connection that it happened on is not to be used again.
    pub(super) const fn ends_connection(&self) -> bool {
        self.is_credential() || matches!(self, Self::Unreachable(_) | Self::TimedOut { .. })
    }

    pub(super) fn malformed(text: impl Into<String>) -> Self {
        Self::Malformed(text.into())
    }

    /// What a failed call of `method` means.
    pub(super) fn of(method: &'static str, status: &Status) -> Self {
        if let Some(reason) = untrusted_certificate(status) {
            return Self::UntrustedCertificate(reason);
        }
        let text = readable(status.message());
        match status.code() {
            _ if status.source().is_some() => Self::Unreachable(readable(&root_cause(status))),
            Code::Unavailable | Code::Cancelled => Self::Unreachable(text),
            Code::NotFound => Self::NotFound(text),
            // tonic's own: a message beyond the limit that we set.
            Code::OutOfRange => Self::Malformed(text),
            _ => Self::said(method, text),
        }
    }

    /// What LND means by `text`.
    fn said(method: &'static str, text: String) -> Self {
        let says = |part: &str| text.contains(part);
        if says("wallet locked") {
            return Self::Locked;
        }
        // "macaroon store is locked": LND while it shuts down, which is not the macaroon's fault.
        if says("waiting to start")
            || says("wallet not created")
            || says("in the process of starting up")
            || says("macaroon store is locked")
        {
            return Self::NotReady(text);
        }
        if says("permission denied") {
            return Self::PermissionDenied { method };
        }
        if says("already exists") {
            return Self::AlreadyExists;
        }
        if says("unable to locate invoice") || says("there are no existing invoices") {
            return Self::NotFound(text);
        }
        if says("macaroon") || says("verification failed") || says("caveat") {
            return Self::BadMacaroon(text);
        }
        Self::Rejected { method, text }
    }
}

/// The errors behind a status, outermost first.
fn causes<'a>(status: &'a Status) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(status.source(), |error: &&'a (dyn StdError + 'static)| (*error).source())
}

fn root_cause(status: &Status) -> String {
    causes(status).last().map_or_else(|| status.message().to_owned(), ToString::to_string)
}

/// Why the certificate was refused, where that is what ended the handshake.
fn untrusted_certificate(status: &Status) -> Option<String> {
    causes(status).filter_map(tls_error).find_map(|error| match error {
        rustls::Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure) => {
            Some("it is not the pinned one".into())
        }
        rustls::Error::InvalidCertificate(reason) => Some(reason.to_string()),
        _ => None,
    })
}

/// tokio-rustls wraps TLS errors in I/O errors, whose `source` skips what they wrap.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    wrapped.map_or_else(|| error.downcast_ref(), |inner| inner.downcast_ref())
}

fn readable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Error {
        Error::of("AddInvoice", &Status::unknown(text))
    }

    #[test]
    fn the_texts_of_a_node_that_is_not_up_yet_are_worth_a_retry() {
        for text in [
            "waiting to start, RPC services not available",
            "wallet not created, create one to enable full RPC access",
            "wallet locked, unlock it to enable full RPC access",
            "the RPC server is in the process of starting up, but not yet ready to accept calls",
            "cannot retrieve macaroon: cannot get macaroon: macaroon store is locked",
        ] {
            assert!(said(text).is_retryable() && !said(text).is_credential(), "{text}");
        }
        assert_eq!(said("wallet locked, unlock it to enable full RPC access"), Error::Locked);
    }

    #[test]
    fn the_texts_about_a_macaroon_call_for_the_operator() {
        for text in [
            "expected 1 macaroon, got 0",
            "permission denied",
            "verification failed: signature mismatch after caveat verification",
            "cannot retrieve macaroon: cannot get macaroon: root key with id 7 doesn't exist",
            "caveat \"time-before 2026-01-01T00:00:00Z\" not satisfied: macaroon has expired",
        ] {
            assert!(said(text).is_credential() && !said(text).is_retryable(), "{text}");
        }
        assert_eq!(said("permission denied"), Error::PermissionDenied { method: "AddInvoice" });
    }

    #[test]
    fn what_lnd_says_about_an_invoice_is_told_apart() {
        assert_eq!(said("invoice with payment hash already exists"), Error::AlreadyExists);
        assert!(matches!(said("unable to locate invoice"), Error::NotFound(_)));
        assert!(matches!(said("there are no existing invoices"), Error::NotFound(_)));
        assert!(matches!(said("amount cannot be negative"), Error::Rejected { method: "AddInvoice", .. }));
        assert!(matches!(Error::of("LookupInvoice", &Status::not_found("any text")), Error::NotFound(_)));
    }

    #[test]
    fn transport_errors_are_worth_a_retry_whatever_their_code() {
        for status in [
            Status::unavailable("tcp connect error"),
            Status::cancelled("operation was canceled"),
            Status::from_error(Box::new(io::Error::other("broken pipe"))),
        ] {
            assert!(matches!(Error::of("GetInfo", &status), Error::Unreachable(_)), "{status:?}");
        }
    }

    #[test]
    fn a_text_is_cut_and_cannot_start_a_line_of_its_own() {
        let Error::Rejected { text, .. } = said(&format!("no\n{}", "x".repeat(5_000))) else { panic!() };
        assert!(text.len() <= MAX_TEXT && !text.contains('\n'));
    }
}
