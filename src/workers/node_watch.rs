//! Looks at the node now and then: who it is, and whether it can be paid.

use std::time::Duration;

use crate::app::App;
use crate::app::node_health::NodeHealth;
use crate::lnd::WalletState;
use crate::stop::Stop;

/// `GetInfo` reads every channel, so not more often than this while all is well.
const HEALTHY: Duration = Duration::from_secs(30);
const UNHEALTHY: Duration = Duration::from_secs(2);

pub async fn run(app: App, mut stop: Stop) {
    let mut was_healthy = None;
    while let Some(healthy) = stop.or(look(&app)).await {
        if was_healthy != Some(healthy) {
            report(&app, healthy);
        }
        was_healthy = Some(healthy);
        if stop.or(pause(&app.health)).await.is_none() {
            return;
        }
    }
}

/// A node that restarts has no channel for a moment, and whoever follows its settlements may be the one to see that:
/// then nothing is sold before the next look.
async fn pause(health: &NodeHealth) {
    // One that hangs is looked at often, so that its restart is seen.
    if !health.adding.is_open() {
        let _ = tokio::time::timeout(HEALTHY, health.lost()).await;
    }
    if health.adding.is_open() || health.payee().is_err() {
        tokio::time::sleep(UNHEALTHY).await;
    }
}

/// In `RPC_ACTIVE` a node takes an invoice, stores it and hangs; only one in `SERVER_ACTIVE` may be sold over.
async fn look(app: &App) -> bool {
    match app.node.state().await {
        Ok(WalletState::ServerActive) => ask_who_it_is(app).await,
        Ok(state) => app.health.failed(&format!("it is starting up ({state})"), Some(state)),
        Err(error) => app.health.failed(&error.to_string(), None),
    }
    app.obstacle().is_none()
}

async fn ask_who_it_is(app: &App) {
    match app.node.info().await {
        Ok(info) => app.health.saw(&info, app.shop.network),
        Err(error) => app.health.failed(&error.to_string(), Some(WalletState::ServerActive)),
    }
}

fn report(app: &App, healthy: bool) {
    match app.obstacle() {
        Some(missing) if !healthy => tracing::warn!(problem = %missing, "nothing can be sold"),
        _ => tracing::info!("the Lightning node answers and can be paid"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::domain::lightning::{Network, NodeId};
    use crate::lnd::NodeInfo;

    fn node(active_channels: u32) -> NodeInfo {
        NodeInfo { id: NodeId::from_bytes([2; 33]), network: Network::Regtest.name().to_owned(), active_channels }
    }

    async fn paused(health: &NodeHealth) -> Duration {
        let began = Instant::now();
        pause(health).await;
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_healthy_node_is_looked_at_now_and_then_and_another_one_soon() {
        let health = NodeHealth::default();
        assert_eq!(paused(&health).await, UNHEALTHY);
        health.saw(&node(1), Network::Regtest);
        assert_eq!(paused(&health).await, HEALTHY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_hangs_is_looked_at_often_until_its_restart_is_seen() {
        let health = NodeHealth::default();
        health.saw(&node(1), Network::Regtest);
        while !health.adding.is_open() {
            let call = health.adding.begin().unwrap();
            sleep(Duration::from_secs(20)).await;
            drop(call);
            health.saw(&node(1), Network::Regtest);
        }
        assert_eq!(paused(&health).await, UNHEALTHY);
        health.failed("it restarts", None);
        assert!(!health.adding.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn scenario_02_a_node_seen_without_its_channel_is_looked_at_again_soon() {
        let health = NodeHealth::default();
        health.saw(&node(1), Network::Regtest);
        let somebody_looks = async {
            sleep(Duration::from_secs(5)).await;
            health.saw(&node(0), Network::Regtest);
        };
        let (paused, ()) = tokio::join!(paused(&health), somebody_looks);
        assert_eq!(paused, Duration::from_secs(5) + UNHEALTHY);
    }
}
