//! What the operator has to know: told once in the log when it begins and when it ends, and in every report meanwhile.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;

use super::control::ControlError;
use super::server::ServerError;
use crate::domain::interface_name::InterfaceName;
use crate::domain::trouble::Trouble;

const CONTROL: &str = "control";
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
const FORWARDING6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

/// What is wrong now, by what it is about.
#[derive(Debug, Default)]
pub struct Troubles(BTreeMap<&'static str, Trouble>);

impl Troubles {
    pub fn server(&mut self, error: Option<&ServerError>) {
        self.set("server", error.map(|error| with_causes(error)));
    }

    /// Returns whether it was written.
    pub fn file(&mut self, stored: io::Result<()>) -> bool {
        let is_stored = stored.is_ok();
        self.set("file", stored.err().map(|error| format!("the agent's own file cannot be written: {error}")));
        is_stored
    }

    pub fn withheld(&mut self, peers: usize) {
        let said = format!(
            "{peers} peers are kept until their time is over, though the database does not name them, or not for so long: \
             after a restore see `wiretoll payment list --open` and adopt what they paid; `wiretoll server \
             allow-removals` cuts them off"
        );
        self.set("removals", (peers > 0).then_some(said));
    }

    pub fn left_out(&mut self, peers: usize) {
        let said = format!(
            "{peers} peers are left out, because they have the server's own key, or another one's key, address or port"
        );
        self.set("impossible", (peers > 0).then_some(said));
    }

    /// Without forwarding the kernel drops every customer's packet.
    pub fn look_at_forwarding(&mut self) {
        let said =
            "this machine does not forward packets: sysctl -w net.ipv4.ip_forward=1, and keep it in /etc/sysctl.d";
        self.set("forwarding", is_off(FORWARDING).then(|| said.to_owned()));
    }

    /// The same of IPv6, where customers have it.
    pub fn look_at_forwarding6(&mut self, is_sold: bool) {
        let said = "this machine does not forward packets of IPv6, and the server has pool6: sysctl -w \
                    net.ipv6.conf.all.forwarding=1, and keep it in /etc/sysctl.d";
        self.set("forwarding6", (is_sold && is_off(FORWARDING6)).then(|| said.to_owned()));
    }

    /// Other firewalls that let no customer's packet through.
    pub fn neighbours(&mut self, chains: &[String], wireguard: &InterfaceName) {
        let said = format!(
            "another firewall drops forwarded packets that it does not know ({}): let it accept those from and to \
             {wireguard}, or customers have no traffic (for Docker: iptables -I DOCKER-USER -i {wireguard} -j ACCEPT, and \
             the same with -o)",
            chains.join(", ")
        );
        self.set("neighbours", (!chains.is_empty()).then_some(said));
    }

    /// The service's clock, where it is not believed.
    pub fn clock(&mut self, minutes_ahead: Option<i64>) {
        let said = |minutes| {
            format!(
                "the service's clock is {minutes} minutes ahead of the time that this server counts on: put it right, and \
                 have it kept right (see `timedatectl`), or in an hour it is believed, and whose time it says is over is \
                 cut off"
            )
        };
        self.set("clock", minutes_ahead.map(said));
    }

    /// Without the way out customers reach nobody.
    pub fn wan(&mut self, name: &InterfaceName, is_there: bool) {
        let said = format!(
            "there is no network interface {name} here, and customers' way to the internet is through it: set [agent] \
             wan_interface to the one that `ip route show default` names"
        );
        self.set("wan", (!is_there).then_some(said));
    }

    /// The service answers, and not that it took what it was told.
    pub fn control(&mut self, error: Option<&ControlError>) {
        self.set(CONTROL, error.map(|error| format!("the service does not take this agent's word: {error}")));
    }

    /// For the service, which need not hear what it says itself.
    pub fn list(&self) -> Vec<Trouble> {
        self.0.iter().filter(|(about, _)| **about != CONTROL).map(|(_, trouble)| trouble.clone()).collect()
    }

    fn set(&mut self, about: &'static str, trouble: Option<String>) {
        match trouble.map(|said| Trouble::new(&said)) {
            Some(trouble) if self.0.get(about) != Some(&trouble) => {
                tracing::error!(%trouble, "this server needs its operator");
                self.0.insert(about, trouble);
            }
            Some(_) => {}
            None => {
                if let Some(trouble) = self.0.remove(about) {
                    tracing::info!(%trouble, "is over");
                }
            }
        }
    }
}

fn is_off(setting: &str) -> bool {
    std::fs::read_to_string(setting).is_ok_and(|value| value.trim() == "0")
}

fn with_causes(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Invalid;

    #[test]
    fn an_error_s_causes_are_told_without_keys_and_addresses() {
        let mut troubles = Troubles::default();
        let cause = Invalid::new("10.9.0.2/32 and 10.9.0.2/32 overlap at 11111111111111111111111111111111111111111a8=");
        troubles.server(Some(&ServerError::Impossible(cause)));
        let told: Vec<String> = troubles.list().iter().map(ToString::to_string).collect();
        let expected = "what this server is to have cannot be: (left out)/32 and (left out)/32 overlap at (left out)=";
        assert_eq!(told, [expected]);
        troubles.server(None);
        assert!(troubles.list().is_empty());
    }
}
