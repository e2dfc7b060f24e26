//! Streams of invoices, which begin as late as LND's do.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{self, Stream, StreamExt};
use tonic::{Response, Status};

use super::invoice::Invoice;
use super::node::Node;
use super::subscriptions::Subscription;
use crate::lnd_proto::lnrpc;

pub(super) type MessageStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
pub(super) type InvoiceStream = MessageStream<lnrpc::Invoice>;

/// Answers only when there is a first message: grpc-go sends the headers with it, so a client's call does not
/// return before.
pub(super) async fn deferred(node: Arc<Node>, subscription: Subscription) -> Result<Response<InvoiceStream>, Status> {
    let mut listener = Listener { node, subscription };
    match listener.next().await {
        None => Ok(Response::new(stream::empty().boxed())),
        Some(Err(status)) => Err(status),
        Some(Ok(first)) => {
            let is_last = listener.ends_after(&first);
            let first = stream::iter([Ok(first.to_wire())]);
            if is_last {
                return Ok(Response::new(first.boxed()));
            }
            Ok(Response::new(first.chain(listener.into_stream()).boxed()))
        }
    }
}

struct Listener {
    node: Arc<Node>,
    subscription: Subscription,
}

impl Listener {
    async fn next(&mut self) -> Option<Result<Arc<Invoice>, Status>> {
        let item = self.subscription.next().await?;
        let delay = self.node.faults.event_delay();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        Some(item)
    }

    /// A stream of a single invoice ends when nothing more can happen to it.
    fn ends_after(&self, invoice: &Invoice) -> bool {
        self.subscription.is_single() && !invoice.is_pending()
    }

    fn into_stream(self) -> impl Stream<Item = Result<lnrpc::Invoice, Status>> + Send {
        stream::unfold(Some(self), |listener| async move {
            let mut listener = listener?;
            match listener.next().await? {
                Ok(invoice) => {
                    let rest = (!listener.ends_after(&invoice)).then_some(listener);
                    Some((Ok(invoice.to_wire()), rest))
                }
                Err(status) => Some((Err(status), None)),
            }
        })
    }
}
