//! The price of a plan, now. No invoice is made at a price that is in doubt.

use super::{App, Error, Unavailable};
use crate::config::RateSource;
use crate::domain::money::{Price, Quote, Rate};
use crate::domain::plan::{Plan, quote};

/// What to ask for a plan.
///
/// # Errors
/// [`Unavailable::NoRate`] when the price is in dollars and the rate is missing, too old or from the future.
pub fn price(app: &App, plan: &Plan) -> Result<Quote, Error> {
    quote_now(app, plan.price)
}

/// The same of any price.
pub fn quote_now(app: &App, price: Price) -> Result<Quote, Error> {
    let rate = usable_rate(app);
    let usable = rate.as_ref().ok().copied();
    quote(price, usable).map_err(|problem| match rate {
        Err(why) => Unavailable::NoRate(why).into(),
        Ok(_) => Unavailable::NoRate(problem.to_string()).into(),
    })
}

fn usable_rate(app: &App) -> Result<&Rate, String> {
    match &app.shop.rate {
        None => Err("none is configured".to_owned()),
        Some(RateSource::Pinned(pinned)) => pinned.usable(app.clock.now()),
    }
}
