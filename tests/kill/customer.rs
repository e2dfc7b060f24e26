//! Somebody who buys, renews and claims, in all the ways in which people do, on Lightning and by card.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use wiretoll::clock::Clock;

use crate::client::{Client, Config, Order, Payment, Wish, a_key};
use crate::run::{Account, Tally, count};
use crate::world::use_up;

/// So many milliseconds at most an event is late, so that a later one may come first.
const LATE_MILLIS: u64 = 3_000;

pub struct Customer {
    pub client: Client,
    pub chance: fastrand::Rng,
    pub tally: Arc<Tally>,
    pub accounts: Vec<Account>,
    pub database: String,
    pub configs: Vec<Config>,
    /// What Stripe tells meanwhile.
    pub tellings: JoinSet<()>,
}

impl Customer {
    pub async fn live(mut self, end: Instant) -> Vec<Config> {
        while Instant::now() < end {
            self.buy().await;
        }
        while let Some(told) = self.tellings.join_next().await {
            told.unwrap();
        }
        self.configs
    }

    async fn buy(&mut self) {
        let server = *self.chance.choice(&["eu-de", "eu-de", "us-east", "us-east", "ch-zh"]).unwrap();
        let key = self.chance.bool().then(|| a_key(&mut self.chance));
        let wish = Wish::to_buy(server, self.months(), key.as_deref(), &mut self.chance);
        let wish = self.who_buys(wish);
        let Some((order, paid)) = self.order_and_pay(&wish).await else { return };
        let Some(config) = self.claim(&order).await else { return };
        while self.chance.u8(0..10) < 4 {
            self.buy_more(server, key.as_deref(), &config).await;
        }
        let after = self.claim(&order).await.expect("it was claimed before");
        assert_eq!(after, config, "the same claim after renewals");
        self.configs.push(config);
        if let Some(paid) = paid {
            self.want_back(&paid);
        }
    }

    fn months(&mut self) -> u32 {
        *self.chance.choice(&[1, 3]).unwrap()
    }

    /// A stranger, a friend of somebody's, or somebody with an account.
    fn who_buys(&mut self, wish: Wish) -> Wish {
        let wish = self.by_card_or_not(wish);
        let account = self.chance.choice(&self.accounts).unwrap().clone();
        match self.chance.u8(0..8) {
            0 => wish.of(&account.key),
            1..4 => wish.naming(&account.code),
            _ => wish,
        }
    }

    fn by_card_or_not(&mut self, wish: Wish) -> Wish {
        if self.chance.bool() { wish.by_card() } else { wish }
    }

    async fn buy_more(&mut self, server: &str, key: Option<&str>, config: &Config) {
        let months = self.months();
        // Whoever brought the key may also order anew with it: that extends what the key has.
        let again = match (key, self.chance.u8(0..4)) {
            (_, 0) => {
                use_up(&self.database, &config.subscription).await;
                count(&self.tally.resets);
                Wish::to_reset(&config.public_key, &mut self.chance)
            }
            (Some(key), 1..3) => {
                let wish = Wish::to_buy(server, months, Some(key), &mut self.chance);
                self.by_card_or_not(wish)
            }
            _ => {
                let wish = Wish::to_renew(&config.public_key, months, &mut self.chance);
                self.by_card_or_not(wish)
            }
        };
        if let Some((_, Some(paid))) = self.order_and_pay(&again).await
            && self.chance.u8(0..4) == 0
        {
            self.want_back(&paid);
        }
    }

    /// The order, if it was paid and shown as paid; by card with its page.
    async fn order_and_pay(&mut self, wish: &Wish) -> Option<(Order, Option<Value>)> {
        if self.chance.u8(0..5) == 0 {
            self.client.hang_up(wish, Duration::from_millis(self.chance.u64(0..60))).await;
        }
        let Some(order) = self.client.order(wish).await else {
            count(&self.tally.sold_out);
            // There may be a place again once an order there expired.
            sleep(Duration::from_millis(self.chance.u64(0..500))).await;
            return None;
        };
        count(&self.tally.orders);
        let paid = if order.is_by_card() {
            Some(self.pay_by_card(&order).await?)
        } else if self.pay(&order).await? == Payment::Refused {
            count(&self.tally.refused);
            return None;
        } else {
            None
        };
        count(&self.tally.paid);
        // A repeated request, too, does not make a second one.
        if self.chance.u8(0..5) == 0 {
            self.client.order(wish).await;
        }
        self.client.until_paid(&order.name).await;
        Some((order, paid))
    }

    /// None for a customer who changed their mind.
    async fn pay(&mut self, order: &Order) -> Option<Payment> {
        let price = order.msat();
        Some(match self.chance.u8(0..20) {
            0..3 => return None,
            3..5 => {
                let client = &self.client;
                let (one, other) = tokio::join!(client.pay(order, price), client.pay(order, price));
                assert_eq!(one, other, "two payments of one invoice");
                one
            }
            5..7 => self.client.pay(order, price + self.chance.u64(1..price)).await,
            7..9 => {
                self.too_late(order).await;
                self.client.pay(order, price).await
            }
            _ => self.client.pay(order, price).await,
        })
    }

    /// About when the order can no longer be paid.
    async fn too_late(&mut self, order: &Order) {
        let over_in = order.expires_at.since(Clock::System.now());
        let later = u64::try_from(over_in).unwrap_or_default() + self.chance.u64(0..9_000);
        sleep_until(Instant::now() + Duration::from_millis(later)).await;
    }

    /// The page that was paid on for what it asked; none where the customer changed their mind, or came too late.
    async fn pay_by_card(&mut self, order: &Order) -> Option<Value> {
        let stripe = Arc::clone(&self.client.stripe);
        match self.chance.u8(0..20) {
            0..2 => return None,
            2..4 => {
                let ended = stripe.end(&order.name);
                self.stripe_tells(&ended);
                return None;
            }
            4 => {
                let paid = stripe.pay_too_little(&order.name)?;
                self.stripe_tells(&stripe.completed(&paid));
                self.client.until_expired(&order.name).await;
                return None;
            }
            5..7 => self.too_late(order).await,
            _ => {}
        }
        let Some(paid) = stripe.pay(&order.name) else {
            count(&self.tally.refused);
            return None;
        };
        count(&self.tally.by_card);
        self.stripe_tells(&stripe.completed(&paid));
        Some(paid)
    }

    /// Late, twice or never; what never comes is looked up.
    fn stripe_tells(&mut self, event: &Value) {
        let times = match self.chance.u8(0..6) {
            0 => 0,
            1 => 2,
            _ => 1,
        };
        for _ in 0..times {
            self.stripe_tells_late(event.clone());
        }
    }

    fn stripe_tells_late(&mut self, event: Value) {
        let (stripe, late) = (Arc::clone(&self.client.stripe), Duration::from_millis(self.chance.u64(0..LATE_MILLIS)));
        self.tellings.spawn(async move {
            sleep(late).await;
            stripe.tell(&event).await;
        });
    }

    /// Some of it, all of it, or by the bank: told in any order.
    fn want_back(&mut self, paid: &Value) {
        let stripe = Arc::clone(&self.client.stripe);
        let cents = paid["amount_total"].as_i64().unwrap();
        let events = match self.chance.u8(0..8) {
            0 => vec![stripe.refund(paid, 100)],
            1 => vec![stripe.refund(paid, 100), stripe.refund(paid, cents)],
            2 => vec![stripe.dispute(paid, "needs_response")],
            3 => vec![stripe.dispute(paid, "needs_response"), stripe.dispute(paid, "won")],
            4 => vec![stripe.dispute(paid, "needs_response"), stripe.dispute(paid, "lost")],
            5 => vec![stripe.dispute(paid, "needs_response"), stripe.refund(paid, cents)],
            _ => return,
        };
        count(&self.tally.went_back);
        // Nothing is looked up of these, so each comes in the end.
        for event in events {
            self.stripe_tells_late(event);
        }
    }

    /// The config, the same however often and at whichever service it is claimed.
    async fn claim(&mut self, order: &Order) -> Option<Config> {
        count(&self.tally.claims);
        let (one, other) = tokio::join!(self.client.claim(order), self.client.claim(order));
        assert_eq!(one, other, "two claims at once");
        if one.is_none() {
            count(&self.tally.refunds);
        }
        one
    }
}
