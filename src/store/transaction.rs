//! A write transaction on a connection of its own, which is rolled back when it is dropped.

use std::ops::{Deref, DerefMut};

use sqlx::{AnyConnection, Executor as _};
use tokio::runtime::Handle;

use super::connections::{Connections, Lease};

/// What was begun and not ended.
#[derive(Debug)]
pub struct Transaction {
    /// None once it ended.
    lease: Option<Lease>,
}

impl Transaction {
    pub async fn begin(connections: &Connections, statement: &'static str) -> sqlx::Result<Self> {
        // Before the statement: a caller that goes away while it runs rolls back what it began.
        let mut begun = Self { lease: Some(connections.lease().await?) };
        begun.execute(statement).await?;
        Ok(begun)
    }

    pub async fn commit(mut self) -> sqlx::Result<()> {
        self.execute("COMMIT").await?;
        self.lease.take().map(Lease::put_back);
        Ok(())
    }

    pub async fn rollback(mut self) -> sqlx::Result<()> {
        self.execute("ROLLBACK").await?;
        self.lease.take().map(Lease::put_back);
        Ok(())
    }
}

impl Drop for Transaction {
    /// The connection is kept where it can be rolled back. Without a runtime it is closed, which rolls back, too.
    fn drop(&mut self) {
        if let (Some(mut lease), Ok(runtime)) = (self.lease.take(), Handle::try_current()) {
            runtime.spawn(async move {
                match lease.execute("ROLLBACK").await {
                    Ok(_) => lease.put_back(),
                    Err(_) => lease.give_up(),
                }
            });
        }
    }
}

#[expect(
    clippy::expect_used,
    reason = "only what ends a transaction takes its connection, and it takes the transaction too"
)]
impl Deref for Transaction {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        self.lease.as_ref().expect("a transaction has its connection until it ends")
    }
}

#[expect(clippy::expect_used, reason = "as above")]
impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        self.lease.as_mut().expect("a transaction has its connection until it ends")
    }
}
