//! `subscription`: what an operator asks about subscriptions, and does to one. They run beside a service.

mod change;
mod list;
mod port;
pub mod show;
mod told;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum SubscriptionCommand {
    /// Lists subscriptions, the newest first.
    List(list::List),
    /// All that is known about one.
    Show(show::Show),
    /// Lets it last longer, without a payment.
    Extend(change::Extend),
    /// Lets no traffic of it pass; its slot and key stay, and its time runs on.
    Suspend(change::Suspend),
    /// Lets the traffic of a suspended one pass again.
    Resume(change::Resume),
    /// Ends it for good.
    Revoke(change::Revoke),
    /// Binds another key, or lets the customer's next claim bind one.
    Rekey(change::Rekey),
    /// Who had a public port, for an abuse report.
    Port(port::Port),
}

impl SubscriptionCommand {
    pub async fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Extend(extend) => extend.run().await,
            Self::Suspend(suspend) => suspend.run().await,
            Self::Resume(resume) => resume.run().await,
            Self::Revoke(revoke) => revoke.run().await,
            Self::Rekey(rekey) => rekey.run().await,
            Self::Port(port) => port.run().await,
        }
    }
}
