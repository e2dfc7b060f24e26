//! What the service must make of what happened: the rules of orders, slots, keys and money once more, in memory.
//!
//! What the node says (when an invoice was paid, and with how much) is taken as given; what follows is predicted.

use std::collections::BTreeMap;

use wiretoll::app::bandwidth::month_of;
use wiretoll::domain::keys::PublicKey;
use wiretoll::domain::payment::Outcome;
use wiretoll::domain::time::{DAY, MINUTE, SECOND, Timestamp};

/// The slots of the one server.
pub const POOL: usize = 4;
pub const HOLD: i64 = 30 * DAY;
pub const GB: i64 = 1_000_000_000;

/// The database as it should be; orders are named by when they were first made.
#[derive(Debug, Clone, Default)]
pub struct Books {
    pub orders: BTreeMap<usize, Order>,
    pub subscriptions: Vec<Subscription>,
    pub payments: BTreeMap<usize, Payment>,
    /// By subscription and month.
    pub used: BTreeMap<(usize, String), Used>,
    /// Until when released slots rest.
    resting: Vec<Timestamp>,
}

#[derive(Debug, Clone)]
pub struct Order {
    pub buys: Buys,
    pub key: Option<PublicKey>,
    pub created_at: Timestamp,
    pub state: &'static str,
    pub closed_at: Timestamp,
    pub reserved: bool,
    pub subscription: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
pub enum Buys {
    Months(u32),
    /// For this subscription.
    More(usize, u32),
    /// Of this subscription.
    Reset(usize),
}

/// What a subscription used in a month.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    pub bytes: i64,
    pub forgiven: i64,
    pub resets: u32,
}

#[derive(Debug, Clone)]
pub struct Subscription {
    pub founded_by: usize,
    pub ends_at: Timestamp,
    pub held: bool,
    pub bound: Option<PublicKey>,
    /// Keys that were ever bound, the last one last, each with when it was let go.
    keys: Vec<(PublicKey, Option<Timestamp>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment {
    pub amount: u64,
    pub excess: u64,
    pub outcome: Outcome,
    pub open: bool,
}

/// What the node says of an invoice.
#[derive(Debug, Clone, Copy)]
pub struct Fact {
    pub price: u64,
    pub expires_at: Timestamp,
    pub settled: Option<(u64, Timestamp)>,
    pub cancelled: bool,
}

impl Books {
    pub fn held(&self) -> usize {
        self.subscriptions.iter().filter(|subscription| subscription.held).count()
    }

    pub fn reserved(&self) -> usize {
        self.orders.values().filter(|order| order.reserved).count()
    }

    fn has_free(&self, now: Timestamp) -> bool {
        let resting = self.resting.iter().filter(|until| **until > now).count();
        self.held() + self.reserved() + resting < POOL
    }

    /// The subscription that holds a key, or else the one that held it last.
    pub fn owner(&self, key: PublicKey) -> Option<usize> {
        let owners = self.subscriptions.iter().enumerate().flat_map(|(number, subscription)| {
            let own = subscription.keys.iter().filter(move |(own, _)| *own == key);
            own.map(move |(_, released)| (released.map_or(i64::MAX, Timestamp::millis), number))
        });
        owners.max().map(|(_, number)| number)
    }

    fn holder(&self, key: PublicKey) -> Option<usize> {
        self.owner(key).filter(|owner| self.subscriptions[*owner].keys.contains(&(key, None)))
    }

    /// Whether the order is taken; it has no invoice yet.
    pub fn create(&mut self, number: usize, mut new: Order) -> bool {
        let needs_slot = match new.buys {
            Buys::Months(_) => true,
            Buys::Reset(_) => false,
            Buys::More(renewed, _) => {
                let renewed = &self.subscriptions[renewed];
                !renewed.held || new.created_at >= renewed.ends_at.plus_millis(HOLD)
            }
        };
        let unsold = POOL - self.held();
        if needs_slot && !(self.reserved() < unsold.div_ceil(2) && self.has_free(new.created_at)) {
            return false;
        }
        new.reserved = needs_slot;
        self.orders.insert(number, new);
        true
    }

    /// Whether a subscription may have its bandwidth once more, or why not.
    pub fn may_reset(&self, number: usize, now: Timestamp) -> Result<(), &'static str> {
        let (one, used) = (&self.subscriptions[number], self.used_in(number, now));
        let is_open = |order: &&Order| {
            matches!(order.buys, Buys::Reset(of) if of == number) && ["creating", "pending"].contains(&order.state)
        };
        let open = self.orders.values().filter(is_open).count();
        if now >= one.ends_at || used.bytes - used.forgiven < 70 * GB {
            Err("invalid")
        } else if usize::try_from(used.resets).unwrap() + open >= 2 {
            Err("too many")
        } else {
            Ok(())
        }
    }

    pub fn used_in(&self, number: usize, now: Timestamp) -> Used {
        self.used.get(&(number, month_of(now))).copied().unwrap_or_default()
    }

    fn reset(&mut self, number: usize, now: Timestamp) -> Option<usize> {
        if !self.subscriptions[number].held {
            return None;
        }
        let used = self.used.entry((number, month_of(now))).or_default();
        (used.forgiven, used.resets) = (used.bytes.max(used.forgiven + 100 * GB), used.resets + 1);
        Some(number)
    }

    /// The node's word on an order; final states stay.
    pub fn hear(&mut self, number: usize, fact: &Fact, now: Timestamp) {
        let Some(order) = self.orders.get(&number) else {
            if let Some((amount, _)) = fact.settled {
                let orphan = Payment { amount, excess: 0, outcome: Outcome::Orphaned, open: true };
                self.payments.entry(number).or_insert(orphan);
            }
            return;
        };
        if order.state == "paid" {
        } else if let Some((amount, at)) = fact.settled {
            self.pay(number, fact, amount, at, now);
        } else if fact.cancelled {
            self.close(number, now);
        }
    }

    fn pay(&mut self, number: usize, fact: &Fact, amount: u64, at: Timestamp, now: Timestamp) {
        let delivered = self.deliver(number, at, now);
        let late = at > fact.expires_at;
        let outcome = match (delivered, late) {
            (None, _) => Outcome::RefundDue,
            (Some(_), true) => Outcome::AppliedLate,
            (Some(_), false) => Outcome::Applied,
        };
        let order = self.orders.get_mut(&number).unwrap();
        (order.state, order.subscription, order.closed_at) = ("paid", delivered, now);
        let excess = amount - fact.price;
        let open = excess > 0 || delivered.is_none();
        self.payments.insert(number, Payment { amount, excess, outcome, open });
    }

    fn deliver(&mut self, number: usize, at: Timestamp, now: Timestamp) -> Option<usize> {
        let order = self.orders[&number].clone();
        let granted_at = at.max(order.created_at).min(now);
        let (target, months) = match order.buys {
            Buys::Reset(of) => return self.reset(of, now),
            Buys::More(renewed, months) => (Some(renewed), months),
            Buys::Months(months) => (order.key.and_then(|key| self.holder(key)), months),
        };
        let has_slot = target.is_some_and(|target| self.subscriptions[target].held) || self.take_slot(number, now);
        self.orders.get_mut(&number).unwrap().reserved = false;
        if !has_slot {
            return None;
        }
        let Some(target) = target else {
            let ends_at = granted_at.plus_months(months).unwrap();
            let new = Subscription { founded_by: number, ends_at, held: true, bound: None, keys: Vec::new() };
            self.subscriptions.push(new);
            let founded = self.subscriptions.len() - 1;
            order.key.map(|key| self.bind(founded, key));
            return Some(founded);
        };
        let was_held = std::mem::replace(&mut self.subscriptions[target].held, true);
        let last_key = self.subscriptions[target].keys.last().map(|(key, _)| *key);
        if let Some(key) = last_key.filter(|_| !was_held) {
            self.bind(target, key);
        }
        let extended = &mut self.subscriptions[target];
        extended.ends_at = extended.ends_at.max(granted_at).plus_months(months).unwrap();
        Some(target)
    }

    /// The order's own slot, or one that is free.
    fn take_slot(&self, number: usize, now: Timestamp) -> bool {
        self.orders[&number].reserved || self.has_free(now)
    }

    /// Whether the key is now the subscription's; another one may hold it.
    pub fn bind(&mut self, number: usize, key: PublicKey) -> bool {
        if self.holder(key).is_some_and(|holder| holder != number) {
            return false;
        }
        let subscription = &mut self.subscriptions[number];
        subscription.keys.retain(|(own, _)| *own != key);
        subscription.keys.push((key, None));
        subscription.bound = Some(key);
        true
    }

    fn close(&mut self, number: usize, now: Timestamp) {
        let order = self.orders.get_mut(&number).unwrap();
        let closed = match order.state {
            "creating" => "failed",
            "pending" => "expired",
            _ => return,
        };
        (order.state, order.closed_at, order.reserved) = (closed, now, false);
    }

    /// Orders that the service asks the node to cancel now.
    pub fn due(&self, facts: &BTreeMap<usize, Fact>, now: Timestamp) -> Vec<usize> {
        let is_due = |(number, order): &(&usize, &Order)| match order.state {
            "creating" => order.created_at < now.plus_millis(-2 * MINUTE),
            "pending" => facts[number].expires_at < now.plus_millis(-5 * SECOND),
            _ => false,
        };
        self.orders.iter().filter(is_due).map(|(number, _)| *number).collect()
    }

    /// Ends the holds that are over.
    pub fn release(&mut self, now: Timestamp) {
        for number in 0..self.subscriptions.len() {
            let hold_until = self.subscriptions[number].ends_at.plus_millis(HOLD);
            let keeps = |order: &Order| {
                matches!(order.buys, Buys::More(renewed, _) if renewed == number)
                    && ["creating", "pending"].contains(&order.state)
                    && order.created_at < hold_until
            };
            let kept = self.orders.values().any(keeps);
            let subscription = &mut self.subscriptions[number];
            if !subscription.held || hold_until >= now || kept {
                continue;
            }
            (subscription.held, subscription.bound) = (false, None);
            subscription.keys.iter_mut().for_each(|(_, released)| *released = Some(released.unwrap_or(now)));
            self.resting.push(now.plus_millis(DAY));
        }
    }

    /// What a claim answers: the bound key, or why not. `Ok(None)` is a key that the service makes now.
    pub fn claim(
        &mut self,
        number: usize,
        key: Option<PublicKey>,
        now: Timestamp,
    ) -> Result<Option<PublicKey>, &'static str> {
        let order = self.orders.get(&number).cloned().ok_or("not found")?;
        let forgotten = order.state == "expired" && now.since(order.closed_at) >= DAY;
        match order.state {
            "creating" | "failed" => return Err("not found"),
            _ if forgotten => return Err("not found"),
            _ if !matches!(order.buys, Buys::Months(_)) => return Err("invalid"),
            "paid" => {}
            _ => return Err("unpaid"),
        }
        let number_of = order.subscription.ok_or("refund due")?;
        let subscription = &self.subscriptions[number_of];
        match (subscription.held, subscription.bound, key) {
            (false, ..) => Err("not found"),
            (true, Some(bound), Some(key)) if bound != key => Err("conflict"),
            (true, Some(bound), _) => Ok(Some(bound)),
            (true, None, _) if subscription.founded_by != number => Err("not found"),
            (true, None, None) => Ok(None),
            (true, None, Some(key)) if self.bind(number_of, key) => Ok(Some(key)),
            (true, None, Some(_)) => Err("conflict"),
        }
    }

    /// Whether an orphan could be adopted, as a new subscription without a key.
    pub fn adopt(&mut self, number: usize, months: u32, made_at: Timestamp, fact: &Fact, now: Timestamp) -> bool {
        let orphaned = self.payments.get(&number).is_some_and(|it| it.outcome == Outcome::Orphaned && it.open);
        if !orphaned || !self.has_free(now) {
            return false;
        }
        self.orders.insert(number, Order::new(Buys::Months(months), None, made_at));
        self.hear(number, fact, now);
        true
    }

    /// What became of the operator's word: whether the payment waited, waits no more, or never did.
    pub fn resolve(&mut self, number: usize) -> Option<bool> {
        let payment = self.payments.get_mut(&number)?;
        let waited = payment.excess > 0 || payment.outcome.gave_nothing();
        waited.then(|| std::mem::replace(&mut payment.open, false))
    }
}

impl Order {
    pub const fn new(buys: Buys, key: Option<PublicKey>, created_at: Timestamp) -> Self {
        let (state, closed_at, reserved, subscription) = ("creating", created_at, false, None);
        Self { buys, key, created_at, state, closed_at, reserved, subscription }
    }
}
