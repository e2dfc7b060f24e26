//! What is no mistake, and still keeps something from being sold, or takes something away: `config check` says so.

use std::iter;
use std::net::SocketAddr;

use super::{Agent, Config, PinnedRate, RateSource};
use crate::domain::money::{Price, Rate};
use crate::domain::server::ServerId;
use crate::domain::time::Timestamp;

/// Where LND and every other node takes connections of its peers, unless it is told otherwise.
const NODE_PORT: u16 = 9_735;

impl Config {
    /// One sentence for each thing that would not be sold now, and for each that selling would take away.
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        // The agent of this machine brings its server's key itself.
        let has_agent = |id: &ServerId| self.agent.as_ref().is_some_and(|agent| agent.server == *id);
        let keyless = self.servers.iter().filter(|server| server.public_key.is_none() && !has_agent(&server.id));
        let keyless = keyless.map(|server| {
            format!(
                "server {} has no public_key, so nothing is sold on it: enter the key that `wg show` prints",
                server.id
            )
        });
        keyless.chain(self.rate_warning(now)).chain(self.card_warning()).chain(self.port_warnings()).collect()
    }

    /// Customers' ports are forwarded before this machine sees what arrives there.
    fn port_warnings(&self) -> Vec<String> {
        let Some(agent) = &self.agent else { return Vec::new() };
        let Some(server) = self.servers.iter().find(|server| server.id == agent.server) else { return Vec::new() };
        let listeners = [("[service] listen", Some(self.service.listen)), ("[metrics] listen", self.metrics)];
        let reachable =
            listeners.into_iter().filter_map(|(whose, at)| Some((whose, at?))).filter(|(_, at)| agent.forwards(*at));
        let own = reachable.map(|(whose, at)| (whose, at.port()));
        let covered = iter::once(("a Lightning node on this machine", NODE_PORT))
            .chain(own)
            .filter(|(_, port)| server.pool.slot_of_port(*port).is_some());
        let warnings = covered.map(|(whose, port)| {
            format!(
                "the customers' ports of server {} cover {port}, the port of {whose}: once it is sold, what arrives there \
                 goes to a customer; choose another first_port or capacity",
                server.id
            )
        });
        warnings.collect()
    }

    fn card_warning(&self) -> Option<String> {
        self.stripe.as_ref()?;
        let in_sats = self.plans.iter().filter(|plan| matches!(plan.price, Price::Sats(_)));
        let months: Vec<_> = in_sats.map(|plan| plan.months.to_string()).collect();
        (!months.is_empty()).then(|| {
            let months = months.join(", ");
            format!("plans priced in sats are not sold by card (those of {months} months): give their prices in usd")
        })
    }

    fn rate_warning(&self, now: Timestamp) -> Option<String> {
        if !self.plans.need_a_rate() {
            return None;
        }
        let (pinned, live) = match self.rate.as_ref()? {
            RateSource::Pinned(pinned) => (pinned, false),
            RateSource::Live(live) => (live.pinned.as_ref()?, true),
        };
        let why = pinned.usable(now).err()?;
        if live {
            return Some(format!("the pinned rate is no source of the live one any more: {why}"));
        }
        Some(format!("nothing priced in dollars is sold: {why}; set usd_per_btc and as_of in [rate] anew"))
    }
}

impl Agent {
    /// Whether customers' ports are of an address that is listened on here.
    fn forwards(&self, listener: SocketAddr) -> bool {
        let ip = listener.ip();
        ip.is_unspecified() || ip == self.public_address || self.public_address6.is_some_and(|own| ip == own)
    }
}

impl PinnedRate {
    /// The rate, while a price may be made of it.
    ///
    /// # Errors
    /// Says why not: it is older than its `max_age`, or from the future.
    pub fn usable(&self, now: Timestamp) -> Result<&Rate, String> {
        let age = now.since(self.rate.as_of);
        let max_age = i64::try_from(self.max_age.as_millis()).unwrap_or(i64::MAX);
        if age > max_age {
            return Err(format!("the exchange rate set by the operator is from {}", self.rate.as_of));
        }
        if age < 0 {
            return Err("the exchange rate set by the operator is dated in the future".to_owned());
        }
        Ok(&self.rate)
    }
}
