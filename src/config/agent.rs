//! The `[agent]` of the file: the WireGuard server on this machine, and where its agent meets the control plane.

use std::path::{Path, PathBuf};

use toml::Value;

use super::section::Section;
use super::value::{flag, number, parsed, path, text};
use super::{Agent, Egress};
use crate::domain::Invalid;
use crate::domain::interface_name::InterfaceName;
use crate::domain::server::ServerId;

const MOST_CONNECTIONS: i64 = 65_535;

pub fn agent(section: &mut Section<'_>, folder: &Path, data_folder: &Path) -> Option<Agent> {
    let server = section.required("server", r#""eu-de""#, |value| ServerId::parse(text(value)?));
    let wan_interface = section.required("wan_interface", r#""eth0""#, interface_name);
    let public_address = section.required(
        "public_address",
        r#""203.0.113.7""#,
        parsed("the IPv4 address is expected at which customers' ports arrive on this machine"),
    );
    let public_address6 =
        section.optional("public_address6", r#""2001:db8::7""#, parsed("an IPv6 address of this machine is expected"));
    let interface =
        section.optional("interface", r#""wg0""#, interface_name).or_else(|| InterfaceName::parse("wg0").ok());
    let socket = section.optional("socket", r#""/run/wiretoll/agent.sock""#, path);
    let state_folder = section.optional("state_folder", r#""/var/lib/wiretoll-agent""#, path);
    let egress = egress(section);
    let at = |given: Option<PathBuf>, standard: &str| match given {
        Some(path) => folder.join(path),
        None => data_folder.join(standard),
    };
    Some(Agent {
        server: server?,
        socket: at(socket, "agent.sock"),
        state_folder: at(state_folder, "agent"),
        interface: interface?,
        wan_interface: wan_interface?,
        public_address: public_address?,
        public_address6,
        egress,
    })
}

fn egress(section: &mut Section<'_>) -> Egress {
    let standard = Egress::default();
    Egress {
        allowed: section.optional("egress", "true", flag).unwrap_or(standard.allowed),
        connections_per_customer: section
            .optional("connections_per_customer", "2000", number(1..=MOST_CONNECTIONS))
            .unwrap_or(standard.connections_per_customer),
        throttled_kbit_per_second: section
            .optional("throttled_kbit_per_second", "1000", number(8..=1_000_000))
            .unwrap_or(standard.throttled_kbit_per_second),
    }
}

fn interface_name(value: &Value) -> Result<InterfaceName, Invalid> {
    InterfaceName::parse(text(value)?)
}
