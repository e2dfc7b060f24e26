//! Tells of events: fans them out, and sends what is due, each endpoint by itself.
//!
//! An attempt takes a place of its endpoint's, of its host's and of all; whoever is slow takes its own places and
//! nobody else's. Nothing is written while nothing is due.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::app::fan_out::fan_out;
use crate::app::send_webhooks::{claim_due, send_claimed};
use crate::app::{App, Error};
use crate::domain::webhook::WebhookUrl;
use crate::stop::Stop;

const EVERY: Duration = Duration::from_millis(500);
/// For what is being sent when the program ends; what takes longer is sent again later.
const FAREWELL: Duration = Duration::from_secs(2);
/// Attempts at a time.
const OF_ALL: usize = 64;
const OF_HOST: usize = 8;
const OF_ENDPOINT: usize = 4;
/// Endpoints of one look.
const AT_ONCE: u32 = 256;

pub async fn run(app: App, mut stop: Stop) {
    let places = Places::default();
    let mut sending = JoinSet::new();
    while stop.or(round(&app, &places, &mut sending)).await.is_some() {
        if stop.or(pause(&mut sending)).await.is_none() {
            break;
        }
    }
    let all = async { while sending.join_next().await.is_some() {} };
    // Whatever is cut off counts as lost when its lease ends.
    let _ = timeout(FAREWELL, all).await;
}

/// Until a place is free, or something new may be due.
async fn pause(sending: &mut JoinSet<()>) {
    let ended = async {
        if sending.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    };
    let _ = timeout(EVERY, ended).await;
    while sending.try_join_next().is_some() {}
}

async fn round(app: &App, places: &Places, sending: &mut JoinSet<()>) {
    report("fanned out", fan_out(app).await);
    match due(app, places).await {
        Ok(claimed) => {
            for (delivery, place) in claimed {
                sending.spawn(send(app.clone(), delivery, place));
            }
        }
        Err(error) => {
            report::<()>("claimed", Err(error));
            sleep(EVERY).await;
        }
    }
}

async fn send(app: App, delivery: Uuid, place: Place) {
    report("sent", send_claimed(&app, delivery).await);
    drop(place);
}

/// Deliveries that are claimed, each with its place.
async fn due(app: &App, places: &Places) -> Result<Vec<(Uuid, Place)>, Error> {
    let mut taken: HashMap<Uuid, Vec<Place>> = HashMap::new();
    for endpoint in app.store.due_endpoints(app.clock.now(), AT_ONCE).await? {
        let host = WebhookUrl::parse(&endpoint.url).map(|url| url.host().to_owned()).unwrap_or_default();
        let free = std::iter::from_fn(|| places.take(endpoint.id, &host)).take(OF_ENDPOINT).collect();
        taken.insert(endpoint.id, free);
    }
    taken.retain(|_, free: &mut Vec<Place>| !free.is_empty());
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: Vec<_> = taken.iter().map(|(endpoint, free)| (*endpoint, free.len())).collect();
    let claimed = claim_due(app, &wanted).await?;
    let with_place = |(endpoint, delivery)| Some((delivery, taken.get_mut(&endpoint)?.pop()?));
    Ok(claimed.into_iter().filter_map(with_place).collect())
}

fn report<T>(what: &'static str, done: Result<T, Error>) {
    if let Err(error) = done {
        tracing::warn!(what, error = %error, "webhooks could not be tended");
    }
}

/// Who is being called, and how often. Clones share it.
#[derive(Debug, Clone, Default)]
struct Places(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    hosts: HashMap<String, usize>,
    endpoints: HashMap<Uuid, usize>,
}

/// A place that is taken until it is dropped.
#[derive(Debug)]
struct Place {
    places: Places,
    endpoint: Uuid,
    host: String,
}

impl Places {
    /// None where the endpoint, its host or all have as many as they may have.
    fn take(&self, endpoint: Uuid, host: &str) -> Option<Place> {
        let mut taken = self.lock();
        let of_host = taken.hosts.get(host).copied().unwrap_or(0);
        let of_endpoint = taken.endpoints.get(&endpoint).copied().unwrap_or(0);
        if taken.all >= OF_ALL || of_host >= OF_HOST || of_endpoint >= OF_ENDPOINT {
            return None;
        }
        taken.all += 1;
        taken.hosts.insert(host.to_owned(), of_host + 1);
        taken.endpoints.insert(endpoint, of_endpoint + 1);
        Some(Place { places: self.clone(), endpoint, host: host.to_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Nothing that holds the lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all = taken.all.saturating_sub(1);
        let left = taken.hosts.get(&self.host).map_or(0, |n| n.saturating_sub(1));
        match left {
            0 => drop(taken.hosts.remove(&self.host)),
            left => drop(taken.hosts.insert(self.host.clone(), left)),
        }
        let left = taken.endpoints.get(&self.endpoint).map_or(0, |n| n.saturating_sub(1));
        match left {
            0 => drop(taken.endpoints.remove(&self.endpoint)),
            left => drop(taken.endpoints.insert(self.endpoint, left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenario_40_whoever_is_slow_takes_no_place_of_another() {
        let places = Places::default();
        let slow = Uuid::from_u128(1);
        let taken: Vec<_> = std::iter::from_fn(|| places.take(slow, "slow.example")).collect();
        assert_eq!(taken.len(), OF_ENDPOINT);
        assert!(places.take(Uuid::from_u128(2), "quick.example").is_some());
        drop(taken);
        assert!(places.take(slow, "slow.example").is_some());
    }

    #[test]
    fn a_host_and_all_of_them_have_their_bounds() {
        let places = Places::default();
        let on = |host: &str, n: u128| places.take(Uuid::from_u128(n), host);
        let of_one_host: Vec<_> = (0..100).filter_map(|n| on("a.example", n)).collect();
        assert_eq!(of_one_host.len(), OF_HOST);
        let others: Vec<_> = (100..300).filter_map(|n| on(&format!("{n}.example"), n)).collect();
        assert_eq!(of_one_host.len() + others.len(), OF_ALL);
        drop((of_one_host, others));
        let taken = places.lock();
        assert_eq!((taken.all, taken.hosts.len(), taken.endpoints.len()), (0, 0, 0));
    }
}
