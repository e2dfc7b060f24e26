//! The operator's settings, as typed values. [`Config`] is what the rest of the house reads.
//!
//! They come from a TOML file and from the environment, which overrides it: `WIRETOLL_LND__ADDRESS` is the key
//! `address` of the section `[lnd]`. [`Config::load`] reports every mistake at once, and shows no value that it
//! read: any of them may be a secret, pasted into the wrong line.

mod agent;
mod bandwidth_reset;
mod environment;
mod example;
mod live;
mod load;
mod network;
mod prices;
mod problem;
mod section;
mod servers;
mod settings;
mod stripe;
#[cfg(test)]
mod tests;
mod value;
mod warnings;
mod webhooks;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::domain::instance_key::Keyring;
use crate::domain::interface_name::InterfaceName;
use crate::domain::lightning::{Network, NodeId};
use crate::domain::money::Rate;
use crate::domain::plan::{BandwidthResets, Plans};
use crate::domain::rate::{Exchange, RateRules};
use crate::domain::referral::Bonuses;
use crate::domain::server::{Server, ServerId};
use crate::domain::subscription::Holds;
use crate::domain::webhook::{EventFilter, WebhookUrl};
use crate::domain::webhook_secret::WebhookSecret;

pub use example::example;
pub use load::AgentConfig;
pub use problem::{Problem, Problems};
pub use stripe::{CardMode, StripeSettings, TextSource, webhook_secrets};

/// Everything that `serve` needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    pub service: Service,
    pub log: Log,
    /// Where Prometheus may ask; nowhere unless it is set.
    pub metrics: Option<SocketAddr>,
    pub database: Database,
    pub instance_key: KeySource,
    pub lnd: Lnd,
    pub orders: Orders,
    pub holds: Holds,
    pub limits: Limits,
    pub egress: EgressRules,
    pub tools: Tools,
    pub rate: Option<RateSource>,
    pub plans: Plans,
    /// None where none is sold.
    pub resets: Option<BandwidthResets>,
    /// Of referrals.
    pub bonuses: Bonuses,
    /// The account for cards, where they are taken.
    pub stripe: Option<StripeSettings>,
    pub servers: Vec<Server>,
    /// Where the operator is told of events.
    pub webhooks: Vec<ConfiguredWebhook>,
    /// The WireGuard server on this machine, where its agent is to be served.
    pub agent: Option<Agent>,
}

/// The service itself: its name and where it listens.
#[derive(Debug, Clone)]
pub struct Service {
    /// Begins the memo of every invoice: `<name> subscription <order id>`.
    pub name: String,
    pub listen: SocketAddr,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How this service is reached, such as `https://shop.example`: what signed requests must name. None takes none.
    pub origins: Vec<String>,
    /// Where whoever found a hole writes to: an address that `security.txt` names.
    pub security_contact: Option<String>,
}

/// What is logged, and in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
    /// The least severe level that is written.
    pub level: tracing::Level,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line, for collectors.
    Json,
}

/// A WireGuard server on this machine, and the agent that keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub server: ServerId,
    /// Where agent and control plane meet: a socket in the file system.
    pub socket: PathBuf,
    /// The server's key, and what was last applied.
    pub state_folder: PathBuf,
    pub interface: InterfaceName,
    pub wan_interface: InterfaceName,
    /// Where customers' ports arrive on this machine.
    pub public_address: Ipv4Addr,
    pub public_address6: Option<Ipv6Addr>,
    pub egress: Egress,
}

/// What customers may do to the rest of the world through the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Egress {
    /// Whether they may connect to the outside at all; answers to what came in always pass.
    pub allowed: bool,
    pub connections_per_customer: u32,
    /// Each way, for those who are over their month's bandwidth.
    pub throttled_kbit_per_second: u32,
}

/// Whom the service itself may ask, besides everybody with a public address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EgressRules {
    /// Addresses that are no public ones, and may be asked all the same, also without TLS, where the operator named them.
    pub allow: Vec<IpNet>,
    /// The same where somebody else did: a customer for their webhooks, anybody for a node to be called.
    pub allow_customers: Vec<IpNet>,
    /// Authorities that are believed besides the public ones.
    pub ca_file: Option<PathBuf>,
    /// A SOCKS5 proxy through which onion hosts are probed.
    pub onion_proxy: Option<SocketAddr>,
    /// Addresses that are never asked, whoever names them.
    pub refuse: Vec<IpNet>,
}

/// What anybody may have done for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tools {
    pub ping: Pingable,
    /// Nodes whose owners do not want it.
    pub never_ping: Vec<NodeId>,
}

/// The Lightning nodes that are called for whoever asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pingable {
    #[default]
    Anybody,
    /// Nodes at the domain of one of our servers, which is where customers' nodes are.
    OwnServers,
    Nobody,
}

/// Where orders live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// One file beside the program.
    Sqlite(PathBuf),
    /// A `postgres://` URL; it may hold a password, so it is never shown.
    Postgres(SecretText),
}

/// Where the instance key comes from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// Made by itself, with mode 0600, only when the database is empty.
    File(PathBuf),
    /// Given in the environment.
    Given(Keyring),
}

/// How to reach the operator's node.
#[derive(Debug, Clone)]
pub struct Lnd {
    /// `https://host:10009`.
    pub address: String,
    pub trust: LndTrust,
    pub macaroon: MacaroonSource,
    pub network: Network,
}

/// Why we believe that it is the operator's node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LndTrust {
    /// LND's own `tls.cert`, read again at every connection; a PEM file with two certificates allows both.
    PinnedCertificate(PathBuf),
    /// A certificate by a public authority, for a node behind a proxy.
    PublicCa,
}

/// The macaroon, read again at every connection where it is a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MacaroonSource {
    /// LND's binary file.
    File(PathBuf),
    /// Hexadecimal or base64 text.
    Text(SecretText),
}

/// An endpoint of the operator's.
#[derive(Debug, Clone)]
pub struct ConfiguredWebhook {
    pub url: WebhookUrl,
    pub events: EventFilter,
    pub secret: WebhookSecretSource,
}

/// What such an endpoint's messages are signed with; a file is read at each start.
#[derive(Debug, Clone)]
pub enum WebhookSecretSource {
    Text(WebhookSecret),
    File(PathBuf),
}

/// Text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

/// How orders are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orders {
    pub invoice_lifetime: Duration,
    /// Refuses claims that show only the payment hash.
    pub require_claim_token: bool,
    /// Hop hints for a node with private channels only.
    pub private_route_hints: bool,
}

/// Where the exchange rate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RateSource {
    Pinned(PinnedRate),
    Live(LiveRates),
}

/// Exchanges that are asked, and what is believed of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveRates {
    pub sources: Vec<LiveSource>,
    /// One more source, while it is not too old.
    pub pinned: Option<PinnedRate>,
    pub rules: RateRules,
}

/// An exchange, and where it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSource {
    pub exchange: Exchange,
    /// Before the path, such as `https://api.kraken.com`.
    pub url: String,
}

/// An exchange rate that the operator set by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedRate {
    pub rate: Rate,
    /// No invoice is made at a rate older than this.
    pub max_age: Duration,
}

/// Bounds on what one client may do; every one is for an address prefix (/24, /56) unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// create, renew and bandwidth-reset.
    pub create: Quota,
    pub check_per_hash: Quota,
    pub check: Quota,
    pub claim: Quota,
    pub status: Quota,
    /// All requests of one account by API keys, in place of those above.
    pub api_key: Quota,
    /// The same for requests that are signed with a Nostr key.
    pub nostr: Quota,
    /// Accounts that are founded by a signed request.
    pub new_account: Quota,
    /// Tests and repeats that one account asks for: each makes us call whom it has named.
    pub webhook_calls: Quota,
    /// Credentials that are not good.
    pub failed_authentication: Quota,
    pub ping: Quota,
    /// Of all prefixes together.
    pub ping_in_all: Quota,
    pub node_lookup: Quota,
    /// Of all prefixes together.
    pub node_lookup_in_all: Quota,
    /// Invoices that one prefix may have open at a time.
    pub open_orders: u32,
}

/// So many at once, then so many a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub burst: u32,
    pub per_minute: u32,
}

impl SecretText {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretText(hidden)")
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: tracing::Level::INFO }
    }
}

impl Default for Orders {
    fn default() -> Self {
        Self { invoice_lifetime: Duration::from_mins(15), require_claim_token: false, private_route_hints: false }
    }
}

impl Default for Egress {
    fn default() -> Self {
        Self { allowed: true, connections_per_customer: 2_000, throttled_kbit_per_second: 1_000 }
    }
}

impl Default for Limits {
    /// What today's clients need, and little more: the fastest polls every 3 s.
    fn default() -> Self {
        let steady = |burst, per_minute| Quota { burst, per_minute };
        Self {
            create: steady(20, 20),
            check_per_hash: steady(60, 30),
            check: steady(600, 600),
            claim: steady(30, 30),
            status: steady(30, 30),
            api_key: steady(600, 600),
            nostr: steady(120, 120),
            new_account: steady(10, 2),
            webhook_calls: steady(10, 10),
            failed_authentication: steady(20, 20),
            ping: steady(3, 3),
            ping_in_all: steady(20, 60),
            node_lookup: steady(3, 3),
            node_lookup_in_all: steady(20, 60),
            open_orders: 40,
        }
    }
}
