//! Tells of events: fans them out, and sends what is due, each endpoint by itself.
//!
//! An attempt takes a place of its endpoint's, of its account's, of its host's and of all; whoever is slow takes its own
//! places and nobody else's. Nothing is written while nothing is due.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::app::fan_out::fan_out;
use crate::app::send_webhooks::{claim_due, send_claimed};
use crate::app::{App, Error};
use crate::domain::webhook::Owner;
use crate::stop::Stop;
use crate::store::DueEndpoint;

const EVERY: Duration = Duration::from_millis(500);
/// For what is being sent when the program ends; what takes longer is sent again later.
const FAREWELL: Duration = Duration::from_secs(2);
/// Attempts at a time.
const OF_ALL: usize = 64;
/// The rest are the operator's: customers choose whom they have called, and how slow that is.
const OF_CUSTOMERS: usize = 56;
const OF_ACCOUNT: usize = 8;
const OF_HOST: usize = 8;
const OF_ENDPOINT: usize = 4;
/// Endpoints of one look.
const PAGE: usize = 256;

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
    let mut taken = places_for_due(app, places).await?;
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: Vec<_> = taken.iter().map(|(endpoint, free)| (*endpoint, free.len())).collect();
    let claimed = claim_due(app, &wanted).await?;
    let with_place = |(endpoint, delivery)| Some((delivery, taken.get_mut(&endpoint)?.pop()?));
    Ok(claimed.into_iter().filter_map(with_place).collect())
}

/// Page after page, while there are places: all of the longest overdue may be of one host, which has none left.
async fn places_for_due(app: &App, places: &Places) -> Result<HashMap<Uuid, Vec<Place>>, Error> {
    let (now, mut taken, mut after) = (app.clock.now(), HashMap::new(), None);
    loop {
        let page = app.store.due_endpoints(now, after.as_ref(), PAGE).await?;
        for endpoint in &page {
            let wanted = usize::try_from(endpoint.count).unwrap_or(usize::MAX);
            let free: Vec<_> = std::iter::from_fn(|| places.take(endpoint)).take(wanted).collect();
            if !free.is_empty() {
                taken.insert(endpoint.id, free);
            }
        }
        let is_last = page.len() < PAGE;
        // The operator's come first, and are looked at whatever customers have taken.
        let goes_on = |last: &DueEndpoint| last.owner.is_operator() || !places.are_taken(&Share::Customers);
        after = page.into_iter().last().filter(goes_on);
        if is_last || after.is_none() {
            return Ok(taken);
        }
    }
}

fn report<T>(what: &'static str, done: Result<T, Error>) {
    if let Err(error) = done {
        tracing::warn!(what, error = %error, "webhooks could not be tended");
    }
}

/// Who is being called, and how often. Clones share it.
#[derive(Debug, Clone, Default)]
struct Places(Arc<Mutex<HashMap<Share, usize>>>);

/// Of what an attempt takes a place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Share {
    All,
    Customers,
    /// The operator's hosts are counted for themselves: a customer may have the same one called.
    OperatorsHost(String),
    Host(String),
    Account(Uuid),
    Endpoint(Uuid),
}

/// A place that is taken until it is dropped.
#[derive(Debug)]
struct Place {
    places: Places,
    shares: Vec<Share>,
}

impl Share {
    fn of(endpoint: &DueEndpoint) -> Vec<Self> {
        let host = endpoint.url.host().to_owned();
        let mut shares = vec![Self::All, Self::Endpoint(endpoint.id)];
        if endpoint.owner.is_operator() {
            shares.push(Self::OperatorsHost(host));
        } else {
            shares.extend([Self::Customers, Self::Host(host)]);
        }
        if let Owner::Account(account) = endpoint.owner {
            shares.push(Self::Account(account));
        }
        shares
    }

    const fn places(&self) -> usize {
        match self {
            Self::All => OF_ALL,
            Self::Customers => OF_CUSTOMERS,
            Self::OperatorsHost(_) | Self::Host(_) => OF_HOST,
            Self::Account(_) => OF_ACCOUNT,
            Self::Endpoint(_) => OF_ENDPOINT,
        }
    }

    fn is_taken(&self, taken: &HashMap<Self, usize>) -> bool {
        taken.get(self).is_some_and(|count| *count >= self.places())
    }
}

impl Places {
    /// None where any of its shares is taken.
    fn take(&self, endpoint: &DueEndpoint) -> Option<Place> {
        let shares = Share::of(endpoint);
        let mut taken = self.lock();
        if shares.iter().any(|share| share.is_taken(&taken)) {
            return None;
        }
        for share in &shares {
            *taken.entry(share.clone()).or_default() += 1;
        }
        Some(Place { places: self.clone(), shares })
    }

    fn are_taken(&self, share: &Share) -> bool {
        share.is_taken(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Share, usize>> {
        // Nothing that holds the lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        for share in &self.shares {
            match taken.get_mut(share) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(taken.remove(share)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;
    use crate::domain::webhook::WebhookUrl;

    fn endpoint(n: u128, owner: Owner, host: &str) -> DueEndpoint {
        let url = WebhookUrl::parse(&format!("https://{host}/hooks")).unwrap();
        DueEndpoint { id: Uuid::from_u128(n), owner, url, count: 100, due: Timestamp::EPOCH }
    }

    /// Somebody else's for each number.
    fn customers(n: u128, host: &str) -> DueEndpoint {
        endpoint(n, Owner::Order(Uuid::from_u128(n)), host)
    }

    fn all_of(places: &Places, endpoint: &DueEndpoint) -> Vec<Place> {
        std::iter::from_fn(|| places.take(endpoint)).collect()
    }

    #[test]
    fn scenario_40_whoever_is_slow_takes_no_place_of_another() {
        let places = Places::default();
        let slow = customers(1, "slow.example");
        let taken = all_of(&places, &slow);
        assert_eq!(taken.len(), OF_ENDPOINT);
        assert!(places.take(&customers(2, "quick.example")).is_some());
        drop(taken);
        assert!(places.take(&slow).is_some());
    }

    #[test]
    fn a_host_an_account_and_all_of_them_have_their_bounds() {
        let places = Places::default();
        let of_one_host: Vec<_> = (0..100).filter_map(|n| places.take(&customers(n, "a.example"))).collect();
        assert_eq!(of_one_host.len(), OF_HOST);
        let account = Owner::Account(Uuid::from_u128(7));
        let on_names_of_its_own = |n| places.take(&endpoint(n, account, &format!("{n}.b.example")));
        let of_one_account: Vec<_> = (100..200).filter_map(on_names_of_its_own).collect();
        assert_eq!(of_one_account.len(), OF_ACCOUNT);
        let others: Vec<_> = (200..400).filter_map(|n| places.take(&customers(n, &format!("{n}.example")))).collect();
        assert_eq!(of_one_host.len() + of_one_account.len() + others.len(), OF_CUSTOMERS);
        assert!(places.are_taken(&Share::Customers));
        drop((of_one_host, of_one_account, others));
        assert!(places.lock().is_empty());
    }

    #[test]
    fn scenario_40_customers_leave_the_operator_s_places_and_hosts_alone() {
        let places = Places::default();
        let of_their_host: Vec<_> = (0..100).filter_map(|n| places.take(&customers(n, "ops.example"))).collect();
        let others: Vec<_> = (100..300).filter_map(|n| places.take(&customers(n, &format!("{n}.example")))).collect();
        assert_eq!(of_their_host.len() + others.len(), OF_CUSTOMERS);
        assert_eq!(all_of(&places, &endpoint(300, Owner::Operator, "ops.example")).len(), OF_ENDPOINT);
        assert_eq!(all_of(&places, &endpoint(301, Owner::Configuration, "ops.example")).len(), OF_ENDPOINT);
        assert_eq!(OF_ALL - OF_CUSTOMERS, OF_HOST);
    }
}
