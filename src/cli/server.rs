//! `server list`, `drain`, `undrain`, `allow-removals` and `takeover`. They run beside a service.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::table::table;
use super::{ConfigFile, output, parse};
use crate::app::allow_removals::allow_removals;
use crate::app::drain::{Sales, set_sales};
use crate::app::operator::Effect;
use crate::app::take_over::{Successor, take_over};
use crate::clock::Clock;
use crate::domain::keys::PublicKey;
use crate::domain::note::Note;
use crate::domain::server::{Server, ServerId};
use crate::domain::time::Timestamp;
use crate::lifecycle;
use crate::store::{Occupancy, ServerState};

#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Lists the servers: their slots, and what their agents have said.
    List(List),
    /// Sells nothing new on a server; renewals and claims go on.
    Drain(Drain),
    /// Sells on a drained server again.
    Undrain(Undrain),
    /// Lets a server's agent take many peers away at once, for ten minutes.
    AllowRemovals(AllowRemovals),
    /// Lets another machine's agent speak for a server at once, or says that it has none any more.
    Takeover(Takeover),
}

#[derive(Debug, Args)]
#[command(
    after_help = "APPLIED is the revision of its peers that the agent has installed, of the one that it is to have; \
    BEHIND is how many changes that is. TROUBLES are told below the list. WITHHELD peers are those that it keeps \
    although they are not to be there any more, because they are many at once: see \
    `wiretoll server allow-removals --help`.\n\n\
    Example:\n  wiretoll server list --json"
)]
pub struct List {
    #[command(flatten)]
    config: ConfigFile,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "It leaves the list of servers at once, and ordering there answers 503 like a server that is sold \
    out. Invoices that were shown before can still be paid, and bring what they promise.\n\n\
    Example: before the machine is given up\n  wiretoll server drain eu-de --note \"contract ends in March\""
)]
pub struct Drain {
    #[command(flatten)]
    word: Word,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wiretoll server undrain eu-de")]
pub struct Undrain {
    #[command(flatten)]
    word: Word,
}

#[derive(Debug, Args)]
#[command(
    after_help = "An agent that is told of more than 20 removals at once, and of more than a fifth of all peers, \
    keeps those peers, and `wiretoll server list` shows how many. Look first why they are to go; then this lets \
    it.\n\n\
    Example:\n  wiretoll server allow-removals eu-de --note \"the trial of October ended\""
)]
pub struct AllowRemovals {
    #[command(flatten)]
    word: Word,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Only one agent may speak for a server, and another one waits until it was silent for 90 s. Stop the old one first \
    and bring its key to the new machine (`wiretoll agent key`); then this lets the new one in at once. Until it speaks \
    nothing counts as installed. Every slot stays with its customer, and slots of peers that were taken away stay taken until \
    the new agent says that they are gone.\n\n\
    With --no-agent nobody will say so: these slots rest from now, and then they are sold again, so see to it that the \
    old machine is off, or its peers are gone. What is sold from now on is for you to set up by hand, and the server's \
    public_key must be in the configuration.\n\n\
    Example: the machine burnt down, and its successor has the key\n  \
    wiretoll server takeover eu-de --note \"moved to the new machine\""
)]
pub struct Takeover {
    #[command(flatten)]
    word: Word,
    /// No agent speaks for it any more.
    #[arg(long)]
    no_agent: bool,
}

/// About which server, and why.
#[derive(Debug, Args)]
struct Word {
    #[command(flatten)]
    config: ConfigFile,
    #[arg(value_name = "SERVER ID", value_parser = parse::server_id)]
    server: ServerId,
    /// Why, in 1 to 500 characters on one line; nothing secret. It is kept in the server's events.
    #[arg(long, value_parser = parse::note)]
    note: Option<Note>,
}

impl ServerCommand {
    pub async fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run().await,
            Self::Drain(Drain { word }) => word.set_sales(Sales::Stop).await,
            Self::Undrain(Undrain { word }) => word.set_sales(Sales::Resume).await,
            Self::AllowRemovals(AllowRemovals { word }) => word.allow_removals().await,
            Self::Takeover(Takeover { word, no_agent: false }) => word.take_over(Successor::Agent).await,
            Self::Takeover(Takeover { word, no_agent: true }) => word.take_over(Successor::Operator).await,
        }
    }
}

impl Word {
    async fn set_sales(&self, sales: Sales) -> anyhow::Result<()> {
        let app = lifecycle::operate(&self.config.load_beside_database()?, Clock::System).await?;
        let done = set_sales(&app, &self.server, sales, self.note.as_ref()).await;
        app.store.close().await;
        let done = done.context("nothing was changed")?;
        let state = match sales {
            Sales::Stop => "drained: nothing new is sold there",
            Sales::Resume => "open for sales",
        };
        let already = if done == Effect::Before { "already " } else { "" };
        output::print(format_args!("server {} is {already}{state}", self.server))
    }

    async fn take_over(&self, successor: Successor) -> anyhow::Result<()> {
        let app = lifecycle::operate(&self.config.load_beside_database()?, Clock::System).await?;
        let freed = take_over(&app, &self.server, successor, self.note.as_ref()).await;
        app.store.close().await;
        let freed = freed.context("nothing was changed")?;
        match successor {
            Successor::Agent => {
                output::print(format_args!("the next agent that speaks for {} is its agent", self.server))
            }
            Successor::Operator => {
                output::print(format_args!("server {} has no agent; {freed} slots rest from now", self.server))
            }
        }
    }

    async fn allow_removals(&self) -> anyhow::Result<()> {
        let app = lifecycle::operate(&self.config.load_beside_database()?, Clock::System).await?;
        let allowed = allow_removals(&app, &self.server, self.note.as_ref()).await;
        app.store.close().await;
        let until = allowed.context("nothing was changed")?;
        output::print(format_args!("the agent of {} may take away what is not to be there, until {until}", self.server))
    }
}

const HEADING: [&str; 11] =
    ["SERVER", "HELD", "RESERVED", "SLOTS", "SALES", "KEY", "AGENT HEARD", "APPLIED", "BEHIND", "WITHHELD", "TROUBLES"];

/// A server as configuration, slots and agent show it.
struct Row {
    id: ServerId,
    /// Of the configuration, or else of its agent.
    public_key: Option<PublicKey>,
    occupancy: Occupancy,
    state: ServerState,
}

impl List {
    async fn run(&self) -> anyhow::Result<()> {
        let app = lifecycle::inspect(&self.config.load_beside_database()?, Clock::System).await?;
        let states = app.store.server_states().await?;
        let occupancy = app.store.occupancy(app.clock.now()).await?;
        app.store.close().await;
        let rows = app.shop.servers.iter().filter_map(|server| Row::of(server, &states, &occupancy));
        if self.json {
            let rows: Vec<_> = rows.map(|row| row.as_json()).collect();
            return output::print(serde_json::to_string_pretty(&rows)?);
        }
        let rows: Vec<_> = rows.collect();
        let cells: Vec<_> = rows.iter().map(Row::cells).collect();
        let mut lines = table(HEADING, &cells);
        lines.extend(rows.iter().flat_map(Row::trouble_lines));
        output::print(lines.join("\n"))
    }
}

impl Row {
    /// None before a service has entered the server into the database.
    fn of(server: &Server, states: &[ServerState], occupancy: &[Occupancy]) -> Option<Self> {
        let state = states.iter().find(|state| state.id == server.id)?;
        Some(Self {
            id: server.id.clone(),
            public_key: server.public_key.or(state.public_key),
            occupancy: occupancy.iter().find(|known| known.server == server.id)?.clone(),
            state: state.clone(),
        })
    }

    fn cells(&self) -> [String; 11] {
        let Self { occupancy, state, .. } = self;
        [
            self.id.to_string(),
            occupancy.held.to_string(),
            occupancy.reserved.to_string(),
            occupancy.total.to_string(),
            state.drained_at.map_or_else(|| "open".to_owned(), |at| format!("drained {at}")),
            if self.public_key.is_some() { "known" } else { "unknown" }.to_owned(),
            state.agent_seen_at.map_or_else(|| "never".to_owned(), |at: Timestamp| at.to_string()),
            self.applied().map_or_else(|| "-".to_owned(), |applied| format!("{applied} of {}", state.revision)),
            self.behind().map_or_else(|| "-".to_owned(), |behind| behind.to_string()),
            state.withheld_peers.to_string(),
            state.troubles.len().to_string(),
        ]
    }

    fn trouble_lines(&self) -> impl Iterator<Item = String> {
        self.state.troubles.iter().map(|trouble| format!("{}: {trouble}", self.id))
    }

    /// Where an agent ever spoke.
    fn behind(&self) -> Option<i64> {
        self.state.agent_seen_at.map(|_| self.state.behind())
    }

    /// Nothing is known to be installed before an agent says so.
    fn applied(&self) -> Option<i64> {
        Some(self.state.applied_revision).filter(|applied| *applied >= 0)
    }

    fn as_json(&self) -> Value {
        let Self { occupancy, state, .. } = self;
        json!({
            "serverId": self.id.as_str(),
            "slotsHeld": occupancy.held,
            "slotsReserved": occupancy.reserved,
            "slotsTotal": occupancy.total,
            "takesOrders": occupancy.takes_orders() && self.public_key.is_some(),
            "drainedAt": state.drained_at,
            "publicKey": self.public_key.map(|key| key.to_string()),
            "agentHeardAt": state.agent_seen_at,
            "appliedRevision": self.applied(),
            "revision": state.revision,
            "behind": self.behind(),
            "withheldPeers": state.withheld_peers,
            "troubles": state.troubles,
            "removalsAllowedUntil": state.removals_allowed_until,
        })
    }
}
