//! Database and books, compared after each command.

use sqlx::AnyConnection;
use uuid::Uuid;
use wiretoll::app::bandwidth::month_of;
use wiretoll::domain::payment::Provider;
use wiretoll::domain::subscription::Standing;
use wiretoll::store::PaymentFilter;

use super::Story;
use super::command::Command;
use crate::database::{connect_to, number, run, url_of};

impl Story<'_> {
    pub async fn compare(&self, command: &Command) {
        let store = &self.app.store;
        for (number, made) in self.made.iter().enumerate() {
            let order = store.order_by_payment_hash(made.hash).await.unwrap();
            let expected = self.books.orders.get(&number);
            let state = order.as_ref().map(|order| order.state.name());
            assert_eq!(state, expected.map(|order| order.state), "order {number} after {command:?}");
            if let (Some(subscription), Some(order)) = (expected.and_then(|order| order.subscription), order) {
                self.compare_subscription(subscription, order.subscription_id.unwrap(), command).await;
            }
            let payment = store.payment(Provider::Lightning, &made.hash.to_string()).await.unwrap();
            let payment = payment.map(|it| (it.evidence.amount.get(), it.excess.get(), it.outcome, it.is_open()));
            let expected = self.books.payments.get(&number).map(|it| (it.amount, it.excess, it.outcome, it.open));
            assert_eq!(payment, expected, "payment {number} after {command:?}");
        }
        let counts = store.occupancy(self.now()).await.unwrap().remove(0);
        let counts = [counts.held, counts.reserved].map(|count| usize::try_from(count).unwrap());
        assert_eq!(counts, [self.books.held(), self.books.reserved()], "slots after {command:?}");
        self.audit().await;
    }

    pub async fn compare_subscription(&self, number: usize, id: Uuid, command: &Command) {
        let expected = &self.books.subscriptions[number];
        let found = self.app.store.subscription(id).await.unwrap().unwrap();
        assert_eq!(found.founded_by, self.made[expected.founded_by].id, "after {command:?}");
        assert_eq!(found.ends_at, expected.ends_at, "subscription {number} after {command:?}");
        assert_eq!(found.standing == Standing::Held, expected.held, "subscription {number} after {command:?}");
        let used = self.app.store.used(id, &month_of(self.now())).await.unwrap();
        let known = self.books.used_in(number, self.now());
        let expected_use = ((known.bytes - known.forgiven).max(0), known.resets);
        assert_eq!((used.bytes, used.resets), expected_use, "what subscription {number} used after {command:?}");
        let peer = self.app.store.peer_of(id).await.unwrap();
        assert_eq!(peer.is_some(), expected.held, "a slot is held as long as the subscription");
        let bound = peer.and_then(|peer| peer.binding).map(|binding| binding.public_key);
        assert_eq!(bound, expected.bound, "the key of subscription {number} after {command:?}");
    }

    pub async fn run(&self, sql: &str) {
        run(&mut self.database().await, sql).await;
    }

    async fn database(&self) -> AnyConnection {
        connect_to(&url_of(&self.config.database)).await
    }

    /// What holds whatever happened: every msat is accounted for once, and no slot is anybody's twice.
    pub async fn audit(&self) {
        let mut database = self.database().await;
        for (rule, broken) in [
            (
                "an applied payment is its order's price and an excess",
                "SELECT count(*) FROM payments p LEFT JOIN orders o \
              ON o.id = p.order_id WHERE p.outcome LIKE 'applied%' AND (o.state <> 'paid' OR o.id IS NULL OR p.amount <> o.amount_msat + p.excess)",
            ),
            (
                "a paid order has one payment and one grant, a reset no grant",
                "SELECT count(*) FROM orders o WHERE state = 'paid' AND \
              ((SELECT count(*) FROM payments WHERE order_id = o.id) <> 1 OR (SELECT count(*) FROM grants WHERE order_id = o.id) \
              <> CASE kind WHEN 'bandwidth_reset' THEN 0 ELSE 1 END)",
            ),
            (
                "only paid orders have grants",
                "SELECT count(*) FROM grants g JOIN orders o ON o.id = g.order_id WHERE o.state <> 'paid'",
            ),
            (
                "slots and peers name each other",
                "SELECT (SELECT count(*) FROM slots WHERE peer_id IS NOT NULL) - (SELECT count(*) FROM peers p \
              JOIN slots s ON s.peer_id = p.id AND s.server_id = p.server_id AND s.n = p.slot)",
            ),
            (
                "the counts are the peers",
                "SELECT abs(slots_held - (SELECT count(*) FROM peers WHERE holder_id IS NOT NULL)) + \
              abs(slots_reserved - (SELECT count(*) FROM peers WHERE reserved_by_order IS NOT NULL)) FROM servers",
            ),
            (
                "only open orders reserve",
                "SELECT count(*) FROM peers p JOIN orders o ON o.id = p.reserved_by_order WHERE o.state NOT IN ('creating', 'pending')",
            ),
            (
                "events of a subject are numbered without a gap",
                "SELECT count(*) FROM (SELECT 1 FROM events GROUP BY subject_kind, subject_id \
              HAVING max(sequence) <> count(*) - 1) AS odd",
            ),
        ] {
            assert_eq!(number(&mut database, broken).await, 0, "{rule}");
        }
        let open = PaymentFilter { open_only: true, at_most: 1_000, ..PaymentFilter::default() };
        let open = self.app.store.payments(&open).await.unwrap().len();
        assert_eq!(
            open,
            self.books.payments.values().filter(|payment| payment.open).count(),
            "what waits for the operator"
        );
    }
}
