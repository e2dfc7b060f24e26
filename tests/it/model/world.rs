//! What happens without anybody: sweeps, closings, restarts of either side, and a restored backup.

use std::collections::BTreeMap;

use wiretoll::app::apply_invoice::apply_invoice;
use wiretoll::app::{close_orders, reconcile};
use wiretoll::config::Database;
use wiretoll::lifecycle;
use wiretoll::lnd_simulator::faults::Fault;

use super::books::{Fact, Order};
use super::{Story, fresh_path};

impl Story<'_> {
    pub async fn sweep(&mut self) {
        let swept = reconcile::sweep(&self.app).await;
        if !self.node_is_up {
            assert!(swept.is_err() || !self.has_open_orders());
            return;
        }
        assert_eq!(swept.unwrap(), 0);
        let facts = self.facts().await;
        self.hear_of_open_orders(&facts);
    }

    pub fn has_open_orders(&self) -> bool {
        self.books.orders.values().any(|order| ["creating", "pending"].contains(&order.state))
    }

    pub fn hear_of_open_orders(&mut self, facts: &BTreeMap<usize, Fact>) {
        let now = self.now();
        let open = |order: &Order| ["creating", "pending"].contains(&order.state);
        let numbers: Vec<_> = self.books.orders.iter().filter(|(_, order)| open(order)).map(|(n, _)| *n).collect();
        for number in numbers {
            if let Some(fact) = facts.get(&number) {
                self.books.hear(number, fact, now);
            }
        }
        self.untold = None;
    }

    pub async fn close(&mut self) {
        let facts = if self.node_is_up { self.facts().await } else { BTreeMap::new() };
        close_orders::close_due_orders(&self.app).await.unwrap();
        if !self.node_is_up {
            return;
        }
        let now = self.now();
        for number in self.books.due(&facts, now) {
            let unknown = Fact { price: 0, expires_at: now, settled: None, cancelled: true };
            let mut fact = facts.get(&number).copied().unwrap_or(unknown);
            fact.cancelled = fact.settled.is_none();
            self.books.hear(number, &fact, now);
            self.untold = self.untold.filter(|untold| *untold != number);
        }
    }

    pub async fn node_up(&mut self) {
        self.shop.node.come_up().await.unwrap();
        self.shop.node.inject(Fault::PauseCanceller).await.unwrap();
        self.shop.until("the node answers", || async { self.app.node.info().await.is_ok() }).await;
        self.node_is_up = true;
        self.follow_again().await;
    }

    /// A stream replays from where the database stands, in the order of settlement; then comes the sweep.
    pub async fn follow_again(&mut self) {
        if !self.node_is_up {
            return;
        }
        let facts = self.facts().await;
        for (number, invoice) in self.settled().await {
            apply_invoice(&self.app, &invoice, None).await.unwrap();
            self.books.hear(number, &facts[&number], self.now());
        }
        assert_eq!(reconcile::catch_up(&self.app).await.unwrap(), 0);
        self.hear_of_open_orders(&facts);
    }

    pub async fn reopen(&mut self) {
        self.app.store.close().await;
        self.app = lifecycle::open(&self.config, self.shop.clock.clone()).await.unwrap();
        self.app.health.saw(&self.node, self.app.shop.network);
        self.follow_again().await;
    }

    pub async fn restore(&mut self) {
        let Some((backup, books)) = self.backup.clone() else { return };
        let path = fresh_path(self.shop);
        std::fs::copy(backup, &path).unwrap();
        (self.config.database, self.books, self.untold) = (Database::Sqlite(path), books, None);
        self.reopen().await;
    }
}
