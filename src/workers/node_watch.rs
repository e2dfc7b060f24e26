//! Looks at the node now and then: who it is, and whether it can be paid.

use std::time::Duration;

use crate::app::App;
use crate::lnd::{NodeInfo, WalletState};
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
        let pause = if app.health.payee().is_ok() { HEALTHY } else { UNHEALTHY };
        if stop.or(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

async fn look(app: &App) -> bool {
    match ready(app).await {
        Ok(info) => app.health.saw(&info, app.shop.network),
        Err(problem) => app.health.failed(&problem),
    }
    app.obstacle().is_none()
}

/// In `RPC_ACTIVE` a node takes an invoice, stores it and hangs; only one in `SERVER_ACTIVE` may be sold over.
async fn ready(app: &App) -> Result<NodeInfo, String> {
    match app.node.state().await {
        Ok(WalletState::ServerActive) => app.node.info().await.map_err(|error| error.to_string()),
        Ok(state) => Err(format!("it is starting up ({state:?})")),
        Err(error) => Err(error.to_string()),
    }
}

fn report(app: &App, healthy: bool) {
    match app.obstacle() {
        Some(missing) if !healthy => tracing::warn!(problem = %missing, "nothing can be sold"),
        _ => tracing::info!("the Lightning node answers and can be paid"),
    }
}
