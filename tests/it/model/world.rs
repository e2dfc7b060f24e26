//! What happens without anybody: sweeps, closings, restarts of either side, and a restored backup.

use std::collections::BTreeMap;

use wiretoll::app::apply_invoice::apply_invoice;
use wiretoll::app::settle::Progress;
use wiretoll::app::{close_orders, reconcile};
use wiretoll::domain::settle_progress::SettleProgress;
use wiretoll::lifecycle;
use wiretoll::lnd::{InvoiceState, NodeInvoice, Settlement};
use wiretoll::lnd_simulator::faults::Fault;

use super::Story;
use super::books::{Fact, Order};
use super::node::fact;
use crate::database::copy;

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

    /// An event of the stream. The position does not pass one that was not told, unless a sweep has found it.
    pub async fn follow(&self, invoice: &NodeInvoice) {
        let InvoiceState::Settled(Settlement { settle_index, .. }) = invoice.state else { return };
        let known = SettleProgress::from(self.app.store.cursor(self.node.id).await.unwrap());
        let mut next = known.after(settle_index, invoice.payment_hash);
        if self.untold.is_none() {
            next = next.over_gaps(settle_index);
        }
        let moved = next.position().filter(|position| known.position() != Some(*position));
        let progress = moved.map(|position| Progress::Node { node: self.node.id, position });
        apply_invoice(&self.app, invoice, progress).await.unwrap();
    }

    /// The stream replays from where the database stands, or nothing; then the first sweep finds what was missed.
    pub async fn follow_again(&mut self) {
        if !self.node_is_up {
            return;
        }
        self.untold = None;
        if let Some(position) = self.app.store.cursor(self.node.id).await.unwrap() {
            for (number, invoice) in self.replayed(position).await {
                self.follow(&invoice).await;
                self.books.hear(number, &fact(&invoice), self.now());
            }
        }
        let listed = self.listed().await;
        assert_eq!(reconcile::catch_up(&self.app).await.unwrap(), 0);
        for (number, fact) in listed {
            self.books.hear(number, &fact, self.now());
        }
    }

    pub async fn reopen(&mut self) {
        self.app.store.close().await;
        self.open().await;
        self.follow_again().await;
    }

    pub async fn open(&mut self) {
        self.app = lifecycle::open(&self.config, self.shop.clock.clone()).await.unwrap();
        self.app.health.saw(&self.node, self.app.shop.network);
    }

    pub async fn back_up(&mut self) {
        // Postgres copies a database that nobody has open.
        self.app.store.close().await;
        self.backup = Some((copy(&self.config.database).await, self.books.clone()));
        self.open().await;
    }

    pub async fn restore(&mut self) {
        let Some((backup, books)) = self.backup.clone() else { return };
        (self.config.database, self.books, self.untold) = (copy(&backup).await, books, None);
        self.reopen().await;
    }
}
