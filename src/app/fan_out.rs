//! From events to deliveries, one for each endpoint that wants one, in the transaction that marks the event.

use super::{App, Error};
use crate::crash::crash_point;
use crate::domain::event::EventType;
use crate::domain::webhook::Endpoint;
use crate::store::{Tx, UntoldEvent};

/// Events of one transaction: settlements wait for it.
const AT_ONCE: u32 = 100;

/// Fans out all that is there; nothing is written where nothing is.
pub async fn fan_out(app: &App) -> Result<(), Error> {
    while app.store.has_untold_events().await? {
        fan_out_some(app).await?;
    }
    Ok(())
}

async fn fan_out_some(app: &App) -> Result<(), Error> {
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let untold = tx.take_untold_events(now, AT_ONCE).await?;
    for one in &untold {
        for endpoint in listeners(&mut tx, one).await? {
            tx.insert_delivery(app.new_id(), endpoint.id, one.event.id, now).await?;
        }
    }
    crash_point!("fan_out.before_commit");
    tx.commit_if(!untold.is_empty()).await?;
    crash_point!("fan_out.committed");
    Ok(())
}

/// Endpoints that may see the event and want it.
async fn listeners(tx: &mut Tx, untold: &UntoldEvent) -> Result<Vec<Endpoint>, Error> {
    let event_type = untold.event.event_type.as_str();
    if event_type == EventType::WebhookTest.name() {
        return Ok(Vec::new()); // it was entered for its endpoint by whoever asked for it
    }
    let order = Some(untold.subject_id.as_str()).filter(|_| untold.subject_kind == "order");
    let account = tx.owner_of(&untold.subject_kind, &untold.subject_id).await?;
    let mut listening = tx.listening_endpoints(order, account, untold.event.occurred_at).await?;
    listening.retain(|endpoint| endpoint.owner.may_see(event_type) && endpoint.events.wants(event_type));
    Ok(listening)
}
