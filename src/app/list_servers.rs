//! The servers on which something can be bought now.

use super::{App, Error};
use crate::domain::server::{Server, ServerId};
use crate::store::Occupancy;

/// Servers with a key and a slot that may be reserved, in the order of the configuration.
pub async fn list_servers(app: &App) -> Result<Vec<&Server>, Error> {
    let occupancy = app.store.occupancy(app.clock.now()).await?;
    let sellable = |server: &&Server| {
        app.server_key(server).is_some() && server.migrate_to.is_none() && takes_orders(&occupancy, &server.id)
    };
    Ok(app.shop.servers.iter().filter(sellable).collect())
}

fn takes_orders(occupancy: &[Occupancy], server: &ServerId) -> bool {
    let known = occupancy.iter().find(|known| known.server == *server);
    known.is_some_and(Occupancy::takes_orders)
}
