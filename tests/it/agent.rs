//! A server's agent, played by the test: it keeps the state that it is told as a real one does, and reports it.

use std::collections::BTreeMap;

use uuid::Uuid;
use wiretoll::app::desired_peers::{Known, desired_peers};
use wiretoll::app::take_report::{Heard, take_report};
use wiretoll::app::{App, Error};
use wiretoll::domain::desired::{
    Applied, Change, Desired, DesiredPeer, PROTOCOL, Report, Usage, withhold_removals, yield_to,
};
use wiretoll::domain::keys::PublicKey;
use wiretoll::domain::server::ServerId;

/// What it was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Nothing,
    Delta,
    Snapshot,
}

pub struct Agent {
    pub id: Uuid,
    pub key: PublicKey,
    pub desired: Option<Desired>,
    pub withheld: BTreeMap<Uuid, DesiredPeer>,
}

pub fn eu_de() -> ServerId {
    ServerId::parse("eu-de").unwrap()
}

impl Agent {
    /// The agent of eu-de, with the key that the configuration names.
    pub fn of(app: &App) -> Self {
        let key = app.shop.server(&eu_de()).unwrap().public_key.unwrap();
        Self { id: app.new_id(), key, desired: None, withheld: BTreeMap::new() }
    }

    /// Asks once, and does as it is told.
    pub async fn poll(&mut self, app: &App) -> Told {
        let known = self.desired.as_ref().map(|it| Known { epoch: it.epoch, revision: it.revision });
        let Some(update) = desired_peers(app, &eu_de(), known).await.unwrap() else { return Told::Nothing };
        match update.change {
            Change::Delta(delta) => {
                yield_to(&mut self.withheld, delta.upsert.iter());
                self.withheld.retain(|id, _| !delta.remove.contains(id));
                self.desired.as_mut().unwrap().apply(delta).unwrap();
                Told::Delta
            }
            Change::Snapshot(snapshot) => {
                let (allowed, taken_away) = (snapshot.removals_allowed, snapshot.taken_away.clone());
                let next = snapshot.checked().unwrap();
                self.withheld = match &self.desired {
                    Some(before) if !allowed => withhold_removals(before, &next, update.now),
                    _ => BTreeMap::new(),
                };
                self.withheld.retain(|_, peer| !taken_away.has(peer));
                self.desired = Some(next);
                Told::Snapshot
            }
        }
    }

    pub fn report(&self) -> Report {
        Report {
            protocol: PROTOCOL,
            agent_id: self.id,
            public_key: self.key,
            applied: self.desired.as_ref().map(|it| Applied {
                epoch: it.epoch,
                revision: it.revision,
                digest: Some(it.digest()),
            }),
            usage: Vec::new(),
            withheld: self.withheld.values().cloned().collect(),
            troubles: Vec::new(),
        }
    }

    pub async fn say(&self, app: &App) -> Result<Heard, Error> {
        take_report(app, &eu_de(), &self.report()).await
    }

    /// Polls and reports.
    pub async fn work(&mut self, app: &App) -> Told {
        let told = self.poll(app).await;
        assert_eq!(self.say(app).await.unwrap(), Heard::Fine);
        told
    }

    pub async fn tell_usage(&self, app: &App, usage: Usage) {
        let report = Report { usage: vec![usage], ..self.report() };
        assert_eq!(take_report(app, &eu_de(), &report).await.unwrap(), Heard::Fine);
    }

    /// The peers that stand on the server.
    pub fn peers(&self) -> Vec<&DesiredPeer> {
        self.desired.iter().flat_map(|it| it.peers.values()).chain(self.withheld.values()).collect()
    }

    /// The one peer on the server.
    pub fn peer(&self) -> &DesiredPeer {
        match self.peers().as_slice() {
            [one] => one,
            other => panic!("not one peer: {other:?}"),
        }
    }
}
