//! `webhook ...`: endpoints of the operator and of accounts, and what was told to them. They run beside a service.

mod change;
mod deliveries;
mod list;

pub use deliveries::outcome;
pub use list::line;

use clap::Subcommand;
use uuid::Uuid;

use crate::app::change_webhook::Whose;
use crate::app::operator::By;
use crate::domain::webhook::Owner;

#[derive(Debug, Subcommand)]
pub enum WebhookCommand {
    /// Lists webhooks: yours, those of the configuration, and those of accounts.
    List(list::List),
    /// Adds a webhook, and prints its secret once.
    Add(change::Add),
    /// Tells a webhook elsewhere, or of other events.
    Change(change::Change),
    /// Tells a webhook nothing, until it is enabled again.
    Disable(change::Disable),
    /// Removes a webhook with its deliveries.
    Remove(change::Remove),
    /// Gives a webhook another secret; for a day both sign.
    Rotate(change::Rotate),
    /// Tells a webhook that was disabled of events again.
    Enable(change::Enable),
    /// Lists deliveries, the newest first.
    Deliveries(deliveries::Deliveries),
    /// Delivers once more, whatever became of it.
    Redeliver(deliveries::Redeliver),
    /// Sends a test to a webhook at once, and says what came of it.
    Test(deliveries::Test),
}

impl WebhookCommand {
    pub async fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run().await,
            Self::Add(add) => add.run().await,
            Self::Change(change) => change.run().await,
            Self::Disable(disable) => disable.run().await,
            Self::Remove(remove) => remove.run().await,
            Self::Rotate(rotate) => rotate.run().await,
            Self::Enable(enable) => enable.run().await,
            Self::Deliveries(deliveries) => deliveries.run().await,
            Self::Redeliver(redeliver) => redeliver.run().await,
            Self::Test(test) => test.run().await,
        }
    }
}

/// The operator may change whatever is anybody's.
const WHOSE: Whose = Whose::Anybodys;
/// For what takes no note.
const BY: By<'static> = By::Operator(None);

fn owner(account: Option<Uuid>) -> Owner {
    account.map_or(Owner::Operator, Owner::Account)
}
