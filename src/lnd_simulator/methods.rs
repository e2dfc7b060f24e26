//! The methods that the node serves, and what each asks of a macaroon.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// Named as LND names them, also in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Method {
    AddInvoice,
    LookupInvoice,
    ListInvoices,
    SubscribeInvoices,
    GetInfo,
    GetNodeInfo,
    CancelInvoice,
    SubscribeSingleInvoice,
    LookupInvoiceV2,
    AddHoldInvoice,
    SettleInvoice,
    SendPaymentV2,
    GetState,
    SubscribeState,
}

impl Method {
    /// The path of the call, which is also the action of a `uri:` permission.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::AddInvoice => "/lnrpc.Lightning/AddInvoice",
            Self::LookupInvoice => "/lnrpc.Lightning/LookupInvoice",
            Self::ListInvoices => "/lnrpc.Lightning/ListInvoices",
            Self::SubscribeInvoices => "/lnrpc.Lightning/SubscribeInvoices",
            Self::GetInfo => "/lnrpc.Lightning/GetInfo",
            Self::GetNodeInfo => "/lnrpc.Lightning/GetNodeInfo",
            Self::CancelInvoice => "/invoicesrpc.Invoices/CancelInvoice",
            Self::SubscribeSingleInvoice => "/invoicesrpc.Invoices/SubscribeSingleInvoice",
            Self::LookupInvoiceV2 => "/invoicesrpc.Invoices/LookupInvoiceV2",
            Self::AddHoldInvoice => "/invoicesrpc.Invoices/AddHoldInvoice",
            Self::SettleInvoice => "/invoicesrpc.Invoices/SettleInvoice",
            Self::SendPaymentV2 => "/routerrpc.Router/SendPaymentV2",
            Self::GetState => "/lnrpc.State/GetState",
            Self::SubscribeState => "/lnrpc.State/SubscribeState",
        }
    }

    /// Entity and action; `None` is open to everybody, also while the wallet is locked.
    pub(super) fn permission(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::AddInvoice
            | Self::CancelInvoice
            | Self::LookupInvoiceV2
            | Self::AddHoldInvoice
            | Self::SettleInvoice => Some(("invoices", "write")),
            Self::LookupInvoice | Self::ListInvoices | Self::SubscribeInvoices | Self::SubscribeSingleInvoice => {
                Some(("invoices", "read"))
            }
            Self::GetInfo | Self::GetNodeInfo => Some(("info", "read")),
            Self::SendPaymentV2 => Some(("offchain", "write")),
            Self::GetState | Self::SubscribeState => None,
        }
    }
}

/// How often each method was called, whatever came of it.
#[derive(Default)]
pub(super) struct CallCounts(Mutex<HashMap<Method, u64>>);

impl CallCounts {
    pub(super) fn count(&self, method: Method) {
        *self.lock().entry(method).or_default() += 1;
    }

    pub(super) fn of(&self, method: Method) -> u64 {
        self.lock().get(&method).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Method, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
