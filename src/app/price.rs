//! The price of a plan, now. No invoice is made at a price that is in doubt.

use super::{App, Error, Unavailable};
use crate::config::{PinnedRate, RateSource};
use crate::domain::money::{Quote, Rate};
use crate::domain::plan::{Plan, quote};

/// What to ask for a plan.
///
/// # Errors
/// [`Unavailable::NoRate`] when the price is in dollars and the rate is missing, too old or from the future.
pub fn price(app: &App, plan: &Plan) -> Result<Quote, Error> {
    let rate = usable_rate(app);
    let usable = rate.as_ref().ok().copied();
    quote(plan.price, usable).map_err(|problem| match rate {
        Err(why) => Unavailable::NoRate(why).into(),
        Ok(_) => Unavailable::NoRate(problem.to_string()).into(),
    })
}

fn usable_rate(app: &App) -> Result<&Rate, String> {
    match &app.shop.rate {
        None => Err("none is configured".to_owned()),
        Some(RateSource::Pinned(pinned)) => usable_pinned(app, pinned),
    }
}

fn usable_pinned<'a>(app: &App, pinned: &'a PinnedRate) -> Result<&'a Rate, String> {
    let age = app.clock.now().since(pinned.rate.as_of);
    let max_age = i64::try_from(pinned.max_age.as_millis()).unwrap_or(i64::MAX);
    if age > max_age {
        return Err(format!("the one set by the operator is from {}", pinned.rate.as_of));
    }
    if age < 0 {
        return Err("the one set by the operator is dated in the future".to_owned());
    }
    Ok(&pinned.rate)
}
