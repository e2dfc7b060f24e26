//! What an operator is told of a change: it is in the database, and its server has it, or not yet.

use crate::app::find_subscription::{SubscriptionName, find_subscription};
use crate::app::wait_installed::{Reached, wait_until_applied};
use crate::app::{App, Error};
use crate::domain::subscription::Subscription;

/// A change as it is told.
pub struct Told<'a> {
    /// What is in the database, such as "suspended".
    pub done: &'a str,
    /// What that means on the server, once it is there.
    pub means: &'a str,
    /// Whether it takes something away, which the kernel's lease does, too, in the end.
    pub takes: Takes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    Traffic,
    Nothing,
}

impl Told<'_> {
    /// Waits for the server's agent as a claim does, and says what it said.
    ///
    /// # Errors
    /// When the database cannot be asked: the change is in it all the same.
    pub async fn text(&self, app: &App, name: SubscriptionName) -> Result<String, Error> {
        let subscription = find_subscription(app, name).await?;
        let reached = wait_until_applied(app, &subscription).await?;
        Ok(self.so_far(app, &subscription, reached))
    }

    fn so_far(&self, app: &App, subscription: &Subscription, reached: Reached) -> String {
        let (done, server) = (self.done, &subscription.server_id);
        match reached {
            Reached::Server => format!("{done}; the agent of {server} has confirmed it: {}", self.means),
            Reached::NoAgent => {
                format!("{done}; no agent speaks for server {server}: make its WireGuard do the same by hand")
            }
            Reached::NotYet { agent_heard_at, revision } => format!(
                "{done}; the agent of {server}, last heard {agent_heard_at}, has NOT confirmed it yet: it has once \
                 `wiretoll server list` shows {revision} or more as APPLIED there{}",
                self.lease(app, subscription)
            ),
        }
    }

    fn lease(&self, app: &App, subscription: &Subscription) -> String {
        match self.takes {
            Takes::Nothing => String::new(),
            Takes::Traffic => {
                let until = subscription.ends_at.plus_millis(app.shop.holds.grace_millis);
                format!("; the kernel ends its traffic by itself at {until}")
            }
        }
    }
}
