//! What an operator does to one subscription, each with a note that stays in its events.

use anyhow::Context as _;
use clap::Args;

use crate::app::App;
use crate::app::close_orders::OpenInvoices;
use crate::app::extend::extend;
use crate::app::find_subscription::SubscriptionName;
use crate::app::operator::Effect;
use crate::app::rekey::rekey;
use crate::app::revoke::revoke;
use crate::app::suspend::{Traffic, set_traffic};
use crate::cli::subscription::told::{Takes, Told};
use crate::cli::{ConfigFile, output, parse};
use crate::clock::Clock;
use crate::domain::keys::PublicKey;
use crate::domain::note::Note;
use crate::domain::subscription::Span;
use crate::lifecycle;

const UNCHANGED: &str = "nothing was changed";

#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("span").required(true).args(["days", "months"]),
    after_help = "The time counts from the present end, or from now where that has passed. After its hold, it gets a \
    slot again, with another address and port, and the founding order's claim tells these.\n\n\
    Example: for an outage\n  \
    wiretoll subscription extend 0190a8f2-0000-7000-8000-00000000000a --days 3 \\\n    --note \"outage of 20 November\""
)]
pub struct Extend {
    #[command(flatten)]
    which: Which,
    /// Days of 24 hours.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: Option<u32>,
    /// Calendar months.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=120))]
    months: Option<u32>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The status of its key says `disabled`. Nothing more of it is sold meanwhile: open invoices are \
    cancelled at LND, and a payment that settles all the same extends it in full. It says whether the server has done \
    it; a repeat asks again.\n\n\
    Example:\n  wiretoll subscription suspend 0190a8f2-0000-7000-8000-00000000000a \\\n    --note \"sends spam, wrote to them\""
)]
pub struct Suspend {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    wiretoll subscription resume 0190a8f2-0000-7000-8000-00000000000a \\\n    --note \"mended on their side\"")]
pub struct Resume {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Its peer leaves the server, and its slot rests from then on. Nobody can buy or renew for its keys \
    again. Its open invoices are cancelled at LND; a payment that settles all the same is a refund that is due. There \
    is no way back.\n\n\
    Example:\n  wiretoll subscription revoke 0190a8f2-0000-7000-8000-00000000000a \\\n    --note \"abuse report 4711\""
)]
pub struct Revoke {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Without --public-key the present key is taken away, and the next claim of the order that founded it \
    binds a new one: the way out where a key that was made here is erased, or a key has leaked. Address and port stay. \
    The old key stays this subscription's, so that nobody else gets in by it.\n\n\
    Example: the customer lost their config and claims again\n  \
    wiretoll subscription rekey 0190a8f2-0000-7000-8000-00000000000a \\\n    --note \"lost their disk\""
)]
pub struct Rekey {
    #[command(flatten)]
    which: Which,
    /// The customer's new WireGuard public key.
    #[arg(long, value_name = "PUBLIC KEY", value_parser = parse::public_key)]
    public_key: Option<PublicKey>,
}

/// About which subscription, and why.
#[derive(Debug, Args)]
struct Which {
    #[command(flatten)]
    config: ConfigFile,
    /// Its id, a WireGuard public key, or the payment hash of an order.
    #[arg(value_parser = parse::subscription_name)]
    subscription: SubscriptionName,
    /// Why, in 1 to 500 characters on one line; nothing secret. It is kept in its events.
    #[arg(long, value_parser = parse::note)]
    note: Note,
}

impl Which {
    async fn app(&self) -> anyhow::Result<App> {
        Ok(lifecycle::operate(&self.config.load_beside_database()?, Clock::System).await?)
    }

    /// Says what was done, and whether its server has it.
    async fn tell(&self, app: &App, told: Told<'_>) -> anyhow::Result<()> {
        let text = told.text(app, self.subscription).await;
        app.store.close().await;
        output::print(text.with_context(|| format!("{}; whether its server has it could not be asked", told.done))?)
    }
}

fn invoices(of: OpenInvoices) -> String {
    format!("open invoices: {} closed by LND, {} that end with their time", of.closed, of.open)
}

impl Extend {
    pub async fn run(&self) -> anyhow::Result<()> {
        let span = match (self.days, self.months) {
            (Some(days), _) => Span::Days(days),
            (None, Some(months)) => Span::Months(months),
            (None, None) => anyhow::bail!("say how long: --days or --months"),
        };
        let app = self.which.app().await?;
        let extension = extend(&app, self.which.subscription, span, &self.which.note).await.context(UNCHANGED)?;
        let done = format!("extended: it ended {}, and ends {}", extension.old_end, extension.new_end);
        self.which.tell(&app, Told { done: &done, means: "it lasts so long there", takes: Takes::Nothing }).await
    }
}

impl Suspend {
    pub async fn run(&self) -> anyhow::Result<()> {
        let app = self.which.app().await?;
        let stopped = set_traffic(&app, self.which.subscription, Traffic::Stops, Some(&self.which.note)).await;
        let stopped = stopped.context(UNCHANGED)?;
        let what = match stopped.effect {
            Effect::Now => "suspended",
            Effect::Before => "it was suspended already",
        };
        let done = format!("{what}; {}", invoices(stopped.invoices));
        self.which.tell(&app, Told { done: &done, means: "none of its traffic passes", takes: Takes::Traffic }).await
    }
}

impl Resume {
    pub async fn run(&self) -> anyhow::Result<()> {
        let app = self.which.app().await?;
        let resumed = set_traffic(&app, self.which.subscription, Traffic::PassesAgain, Some(&self.which.note)).await;
        let done = match resumed.context(UNCHANGED)?.effect {
            Effect::Now => "resumed",
            Effect::Before => "it was not suspended",
        };
        let means = "its traffic passes for as long as it lasts";
        self.which.tell(&app, Told { done, means, takes: Takes::Nothing }).await
    }
}

impl Revoke {
    pub async fn run(&self) -> anyhow::Result<()> {
        let app = self.which.app().await?;
        let revocation = revoke(&app, self.which.subscription, &self.which.note).await.context(UNCHANGED)?;
        let what = match revocation.effect {
            Effect::Now => "revoked",
            Effect::Before => "it was revoked already",
        };
        let done = format!("{what}; {}", invoices(revocation.invoices));
        self.which.tell(&app, Told { done: &done, means: "its peer is gone", takes: Takes::Traffic }).await
    }
}

impl Rekey {
    pub async fn run(&self) -> anyhow::Result<()> {
        let app = self.which.app().await?;
        rekey(&app, self.which.subscription, self.public_key, &self.which.note).await.context(UNCHANGED)?;
        let (done, means) = match self.public_key {
            Some(key) => ("rekeyed".to_owned(), format!("it answers to {key}, and not to its old key")),
            None => (
                "rekeyed: the next claim of the order that founded it binds a key".to_owned(),
                "its old key is gone".to_owned(),
            ),
        };
        self.which.tell(&app, Told { done: &done, means: &means, takes: Takes::Traffic }).await
    }
}
