//! Invoice streams as a test reads them.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::{Status, Streaming};
use wiretoll::lnd_proto::lnrpc;

/// Long enough for a payment over a real channel.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long nothing has to happen before we believe that nothing will.
pub const QUIET: Duration = Duration::from_millis(400);

/// Events as they come, from a call that runs on its own because it may not return before the first.
pub struct Events {
    received: mpsc::UnboundedReceiver<Event>,
    _call: JoinSet<()>,
}

#[derive(Debug)]
pub enum Event {
    /// The call has returned, headers are here.
    Headers,
    Invoice(Box<lnrpc::Invoice>),
    End(Result<(), Status>),
}

impl Events {
    pub fn of<F>(call: F) -> Self
    where
        F: Future<Output = Result<tonic::Response<Streaming<lnrpc::Invoice>>, Status>> + Send + 'static,
    {
        let (sender, received) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let end = match call.await {
                Ok(response) => {
                    let _ = sender.send(Event::Headers);
                    pump(response.into_inner(), &sender).await
                }
                Err(status) => Err(status),
            };
            let _ = sender.send(Event::End(end));
        });
        Self { received, _call: task }
    }

    pub async fn next(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.received.recv()).await.expect("an event in time").unwrap()
    }

    /// The next invoice; the headers that come before the first are passed over.
    pub async fn invoice(&mut self) -> lnrpc::Invoice {
        loop {
            match self.next().await {
                Event::Headers => {}
                Event::Invoice(invoice) => return *invoice,
                Event::End(end) => panic!("the stream ended: {end:?}"),
            }
        }
    }

    pub async fn invoices(&mut self, count: usize) -> Vec<lnrpc::Invoice> {
        let mut invoices = Vec::new();
        for _ in 0..count {
            invoices.push(self.invoice().await);
        }
        invoices
    }

    pub async fn end(&mut self) -> Result<(), Status> {
        loop {
            match self.next().await {
                Event::Headers => {}
                Event::Invoice(_) => panic!("one event too many"),
                Event::End(end) => return end,
            }
        }
    }

    pub async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(QUIET, self.received.recv()).await.is_err()
    }
}

async fn pump(mut stream: Streaming<lnrpc::Invoice>, sender: &mpsc::UnboundedSender<Event>) -> Result<(), Status> {
    while let Some(invoice) = stream.message().await? {
        let _ = sender.send(Event::Invoice(Box::new(invoice)));
    }
    Ok(())
}
