//! From a file and the environment to a [`Config`], or to everything that is wrong with them.

use std::io::ErrorKind;
use std::path::Path;

use toml::{Table, Value};

use super::environment::{Environment, INSTANCE_KEY};
use super::problem::{Problem, Problems};
use super::section::{Section, read_root};
use super::{Agent, Config, Log, agent, bandwidth_reset, prices, servers, settings, stripe, webhooks};
use crate::domain::instance_key::Keyring;
use crate::domain::server::{Server, ServerId};
use crate::domain::time::Timestamp;

/// What a section needs besides its own keys.
struct Surroundings<'a> {
    folder: &'a Path,
    instance_key: Option<Keyring>,
    now: Timestamp,
}

impl Config {
    /// Reads the file at `path`, or nothing but the environment where there is none.
    ///
    /// Relative paths in it are relative to the folder of the file. `now` tells a rate from the future.
    ///
    /// # Errors
    /// Every mistake at once; a file that cannot be read, or is no TOML, hides the others.
    pub fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        now: Timestamp,
    ) -> Result<Self, Problems> {
        let Some(path) = path else { return Self::parse("", Path::new(""), environment, now) };
        let text = read_file(path)?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("")), environment, now)
    }

    /// [`Config::load`] with the text of the file and the folder that it lies in.
    pub fn parse(
        text: &str,
        folder: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        now: Timestamp,
    ) -> Result<Self, Problems> {
        let mut file = text.parse::<Table>().map_err(|error| syntax_problem(text, &error))?;
        let environment = Environment::new(environment);
        let mut problems = Vec::new();
        environment.apply(&mut file, &mut problems);
        let instance_key = given_instance_key(&environment, &mut problems);
        let around = Surroundings { folder, instance_key, now };
        let config = read_root(&file, &mut problems, |root| read(root, around));
        environment.attribute(&mut problems);
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(Problems(problems)),
        }
    }
}

/// Reads every section before it gives up on any.
fn read(root: &mut Section<'_>, around: Surroundings<'_>) -> Option<Config> {
    let folder = around.folder;
    let service = root.section("service", |section| settings::service(section, folder));
    let (service, data_folder) = service.unzip();
    let data_folder = data_folder.unwrap_or_else(|| folder.to_owned());
    let log = root.section("log", settings::log);
    let metrics = root.section("metrics", settings::metrics);
    if let (Some(service), Some(Some(metrics))) = (&service, metrics) {
        settings::refuse_one_port_for_two(root, service.listen, metrics);
    }
    let database = root.section("database", |section| settings::database(section, &data_folder));
    let read_key = |section: &mut Section<'_>| settings::instance_key(section, &data_folder, around.instance_key);
    let instance_key = root.section("instance_key", read_key);
    let lnd = root.section("lnd", |section| settings::lnd(section, folder)).flatten();
    let orders = root.section("orders", settings::orders);
    let holds = root.section("holds", settings::holds);
    let limits = root.section("limits", settings::limits);
    let egress = root.section("egress", |section| settings::egress(section, folder));
    let tools = root.section("tools", settings::tools);
    let prices = prices::prices(root, around.now);
    let resets = bandwidth_reset::resets(root);
    let bonuses = root.section("referral", settings::bonuses);
    let network = lnd.as_ref().map(|lnd| lnd.network);
    let stripe = root.optional_section("stripe", |section| stripe::stripe(section, folder, network));
    let servers = servers::servers(root);
    let webhooks = webhooks::webhooks(root, folder);
    let agent = root.optional_section("agent", |section| agent::agent(section, folder, &data_folder));
    check_agents_server(root);
    check_agents_addresses(root, agent.as_ref(), servers.as_deref());
    let (plans, rate) = prices?;
    Some(Config {
        service: service?,
        log: log?,
        metrics: metrics?,
        database: database?,
        instance_key: instance_key?,
        lnd: lnd?,
        orders: orders?,
        holds: holds?,
        limits: limits?,
        egress: egress?,
        tools: tools?,
        rate,
        plans,
        resets,
        bonuses: bonuses?,
        stripe: stripe.flatten(),
        servers: servers?,
        webhooks: webhooks?,
        agent: agent.flatten(),
    })
}

/// As they are written: another mistake in a server or in [agent] is no reason not to tell of this one.
fn check_agents_server(root: &mut Section<'_>) {
    let text = |value: &Value, key: &str| value.get(key)?.as_str().map(str::to_owned);
    let named = root.written("agent").and_then(|agent| text(agent, "server"));
    let servers = root.written("servers").and_then(Value::as_array);
    let (Some(named), Some(servers)) = (named, servers) else { return };
    let is_one = servers.iter().any(|server| text(server, "id").as_ref() == Some(&named));
    if ServerId::parse(&named).is_ok() && !is_one {
        root.problem("agent.server", "no server has this id", "name the id of one of [[servers]]");
    }
}

fn check_agents_addresses(root: &mut Section<'_>, agent: Option<&Option<Agent>>, servers: Option<&[Server]>) {
    let (Some(Some(agent)), Some(servers)) = (agent, servers) else { return };
    let server = servers.iter().find(|server| server.id == agent.server);
    if server.is_some_and(|server| server.network6.is_some()) && agent.public_address6.is_none() {
        let remedy = "give this machine's IPv6 address, or leave pool6 of the server out";
        root.problem("agent.public_address6", "missing, though the server has pool6", remedy);
    }
}

/// What `agent` needs to know: its own section of the file that `serve` reads, or of one with nothing else in it.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    pub log: Log,
    pub agent: Agent,
}

impl AgentConfig {
    /// Reads `[service] data_folder`, `[log]` and `[agent]` of the file at `path`, and leaves the rest to `serve`.
    ///
    /// # Errors
    /// Every mistake at once; a file that cannot be read, or is no TOML, hides the others.
    pub fn load(path: &Path, environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, Problems> {
        let text = read_file(path)?;
        let mut file = text.parse::<Table>().map_err(|error| syntax_problem(&text, &error))?;
        let environment = Environment::new(environment);
        let mut problems = Vec::new();
        environment.apply(&mut file, &mut problems);
        file.retain(|key, _| matches!(key, "service" | "log" | "agent"));
        let folder = path.parent().unwrap_or(Path::new(""));
        let config = read_root(&file, &mut problems, |root| read_agent(root, folder));
        environment.attribute(&mut problems);
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(Problems(problems)),
        }
    }
}

fn read_agent(root: &mut Section<'_>, folder: &Path) -> Option<AgentConfig> {
    let service = root.section("service", |section| settings::service(section, folder));
    let data_folder = service.map_or_else(|| folder.to_owned(), |(_, data_folder)| data_folder);
    let log = root.section("log", settings::log);
    let agent = root.optional_section("agent", |section| agent::agent(section, folder, &data_folder));
    if agent.is_none() && !root.has("agent") {
        root.problem("agent", "missing", "a section [agent] as `wiretoll config example` shows it");
    }
    Some(AgentConfig { log: log?, agent: agent.flatten()? })
}

fn read_file(path: &Path) -> Result<String, Problems> {
    std::fs::read_to_string(path).map_err(|error| {
        let what = format!("cannot be read: {error}");
        Problems(vec![Problem::new(path.display().to_string(), what, remedy_for(path, error.kind()))])
    })
}

/// A file that is there and cannot be read is not to be written over.
fn remedy_for(path: &Path, error: ErrorKind) -> String {
    let file = path.display();
    match error {
        ErrorKind::NotFound => format!("name it with --config, or make it: wiretoll config example > {file}"),
        ErrorKind::PermissionDenied => {
            format!("it belongs to another user: run this as that user, or let yours read it (ls -l {file})")
        }
        _ => "the name of a TOML file is expected".to_owned(),
    }
}

fn given_instance_key(environment: &Environment, problems: &mut Vec<Problem>) -> Option<Keyring> {
    let remedy = "for example: 1:<64 hexadecimal digits>, as the file of an instance key has it";
    let keyring = Keyring::parse(environment.instance_key()?);
    keyring.map_err(|wrong| problems.push(Problem::new(INSTANCE_KEY, wrong.to_string(), remedy))).ok()
}

/// Line and column without the line itself: it may hold a secret.
fn syntax_problem(text: &str, error: &toml::de::Error) -> Problems {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let what = format!("not TOML: {}", error.message().replace('\n', ", "));
    let remedy = "for example: text in quotes, key = \"value\"; see https://toml.io";
    Problems(vec![Problem::new(format!("line {line}, column {column}"), what, remedy)])
}
