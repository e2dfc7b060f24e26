//! LND's gRPC messages, clients and servers, generated from `proto/` by `build.rs`.
//!
//! Only `lnd`, which speaks to a node, and `lnd_simulator`, which stands in for one, use it.

#![expect(
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    unused_qualifications,
    reason = "generated code"
)]

/// Package `lnrpc`: invoices, node information, wallet state.
pub mod lnrpc {
    tonic::include_proto!("lnrpc");
}

/// Package `invoicesrpc`: cancelling, hold invoices, single-invoice subscriptions.
pub mod invoicesrpc {
    tonic::include_proto!("invoicesrpc");
}

/// Package `routerrpc`: paying an invoice.
pub mod routerrpc {
    tonic::include_proto!("routerrpc");
}

/// Messages that carry a preimage or a macaroon's nonce say their name and nothing else.
macro_rules! hide_in_debug {
    ($($message:ty),+) => {
        $(impl std::fmt::Debug for $message {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($message), "(hidden)"))
            }
        })+
    };
}

hide_in_debug!(lnrpc::Invoice, lnrpc::Payment, lnrpc::MacaroonId, invoicesrpc::SettleInvoiceMsg);
