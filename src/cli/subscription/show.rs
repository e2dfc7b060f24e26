//! `subscription show`: one subscription with all that belongs to it. No secret is among it.

use clap::Args;

use crate::app::App;
use crate::app::find_subscription::SubscriptionName;
use crate::app::show_subscription::{ShownSubscription, show_subscription};
use crate::cli::explain::{delivery_lines, event_lines, grant_line};
use crate::cli::{ConfigFile, output, parse};
use crate::clock::Clock;
use crate::domain::subscription::Standing;
use crate::lifecycle;
use crate::store::{KeyHeld, Used};

#[derive(Debug, Args)]
#[command(after_help = "Example: by the public key of a customer who writes to you\n  \
    wiretoll subscription show hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=")]
pub struct Show {
    #[command(flatten)]
    config: ConfigFile,
    /// Its id, a WireGuard public key, or the payment hash of an order.
    #[arg(value_parser = parse::subscription_name)]
    subscription: SubscriptionName,
}

impl Show {
    pub async fn run(&self) -> anyhow::Result<()> {
        let app = lifecycle::inspect(&self.config.load_beside_database()?, Clock::System).await?;
        let shown = show_subscription(&app, self.subscription).await;
        app.store.close().await;
        output::print(lines(&app, &shown?).join("\n"))
    }
}

pub fn lines(app: &App, shown: &ShownSubscription) -> Vec<String> {
    let one = &shown.subscription;
    let stage = one.stage(app.clock.now(), app.shop.holds).name();
    let mut lines = vec![
        format!("subscription  {} on {}", one.id, one.server_id),
        format!("state         {stage}"),
        format!("ends          {}", one.ends_at),
    ];
    if one.standing == Standing::Held {
        let traffic = one.ends_at.plus_millis(app.shop.holds.grace_millis);
        lines.push(format!(
            "              traffic until {traffic}, slot and key until {}",
            one.hold_until(app.shop.holds)
        ));
    }
    if let Some(at) = one.suspended_at {
        lines.push(format!("suspended     since {at}"));
    }
    if let Some(order) = &shown.founder {
        let hash = order.payment_hash().map(|hash| format!(", payment hash {hash}")).unwrap_or_default();
        lines.push(format!("founded by    order {}{hash}", order.id));
    }
    lines.extend(shown.grants.iter().map(grant_line));
    lines.push(peer_line(shown));
    lines.extend(shown.keys.iter().map(key_line));
    lines.push(used_line(&shown.used));
    lines.extend(event_lines(&shown.events));
    lines.extend(delivery_lines(&shown.deliveries));
    lines
}

fn peer_line(shown: &ShownSubscription) -> String {
    let Some(peer) = &shown.peer else { return "peer          none: the slot was given back".to_owned() };
    let installed = match shown.installation {
        None => "no key yet",
        Some(found) if found.agent_seen_at.is_none() => "recorded; its server has no agent",
        Some(found) if found.is_installed() => "on its server",
        Some(_) => "not on its server yet",
    };
    let port = shown.port.map_or_else(|| "unknown".to_owned(), |port| port.to_string());
    format!("peer          slot {}, port {port}: {installed}", peer.slot.0)
}

fn key_line(key: &KeyHeld) -> String {
    let released = key.released_at.map(|at| format!(", given back {at}")).unwrap_or_default();
    format!("key           {} since {}{released}", key.public_key, key.bound_at)
}

fn used_line(used: &Used) -> String {
    let Some(until) = used.reported_at else { return "used          not known: no agent reports".to_owned() };
    let seen = used.handshake_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
    format!("used          {} bytes this month, last handshake {seen}, as reported until {until}", used.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    #[test]
    fn what_was_used_is_told_with_the_last_handshake() {
        let used = |reported_at, handshake_at| {
            let time = |seconds: Option<i64>| seconds.map(Timestamp::from_seconds);
            used_line(&Used { bytes: 5, resets: 0, reported_at: time(reported_at), handshake_at: time(handshake_at) })
        };
        assert_eq!(used(None, None), "used          not known: no agent reports");
        let reported = "as reported until 1970-01-01T00:02:01.000Z";
        assert_eq!(
            used(Some(121), None),
            format!("used          5 bytes this month, last handshake never, {reported}")
        );
        let seen = "last handshake 1970-01-01T00:01:00.000Z";
        assert_eq!(used(Some(121), Some(60)), format!("used          5 bytes this month, {seen}, {reported}"));
    }
}
