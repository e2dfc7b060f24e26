//! `db restored`: the operator says what the service cannot always notice.

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{ConfigFile, output, parse};
use crate::app::desired_peers::begin_epoch;
use crate::app::operator::By;
use crate::clock::Clock;
use crate::domain::note::Note;
use crate::lifecycle;

#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Says that an older database was put back: no agent takes a peer away because of what that forgot.
    Restored(Restored),
}

#[derive(Debug, Args)]
#[command(
    after_help = "A restored database does not know who paid since the backup. Say so before you start the service \
    on it, or at once afterwards. Then every server's agent is told everything anew, and compares:\n\n\
    - a peer that it has and the database does not know stays until its time is over, whatever the database says;\n\
    - a peer on the slot of a paid order that nobody has claimed (in this database) gets that peer's key again, so that \
    the customer's config goes on;\n\
    - slots that were given away since the backup are not known: stop `create` and `renew` first, see \
    docs/OPERATING.md.\n\n\
    An agent that has seen a later revision than the database has makes this happen by itself; one that has not does \
    not. Doing it without need costs every agent one comparison and nobody their connection.\n\n\
    Example: the backup of last night was put back\n  \
    wiretoll db restored --note \"disk of db1 died, backup of 02:00\""
)]
pub struct Restored {
    #[command(flatten)]
    config: ConfigFile,
    /// What happened, in 1 to 500 characters on one line; nothing secret.
    #[arg(long, value_parser = parse::note)]
    note: Option<Note>,
}

impl DbCommand {
    pub async fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Restored(restored) => restored.run().await,
        }
    }
}

impl Restored {
    async fn run(&self) -> anyhow::Result<()> {
        let app = lifecycle::operate(&self.config.load_beside_database()?, Clock::System).await?;
        let begun = begin_epoch(&app, By::Operator(self.note.as_ref())).await;
        app.store.close().await;
        begun.context("nothing was changed")?;
        output::print("every agent is told everything anew, and takes nobody away for it")
    }
}
