//! The price of a plan, now. No invoice is made at a price that is in doubt.

use super::live_rate::live_rate;
use super::request_checkout::account;
use super::{App, Error, Unavailable};
use crate::config::RateSource;
use crate::domain::Invalid;
use crate::domain::money::{Price, Quote, Rate, UsdCents};
use crate::domain::order::PayBy;
use crate::domain::plan::{Plan, quote};

/// A price on its rail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    OnLightning(Quote),
    ByCard(UsdCents),
}

/// What to ask for a price on a rail.
///
/// # Errors
/// Those of [`quote_now`]; [`Error::Invalid`] by card where this shop takes none, or has set the price in sats.
pub fn price_on(app: &App, price: Price, pay_by: PayBy) -> Result<Asked, Error> {
    match (pay_by, price) {
        (PayBy::Lightning, _) => quote_now(app, price).map(Asked::OnLightning),
        (PayBy::Card, Price::Usd(cents)) => account(app).map(|_| Asked::ByCard(cents)),
        (PayBy::Card, Price::Sats(_)) => {
            account(app)?;
            Err(Invalid::new("this is sold on Lightning only: its price is in sats").into())
        }
    }
}

/// What to ask for a plan on Lightning.
///
/// # Errors
/// [`Unavailable::NoRate`] when the price is in dollars and the rate is missing, too old or from the future, or its
/// sources do not agree on one.
pub fn price(app: &App, plan: &Plan) -> Result<Quote, Error> {
    quote_now(app, plan.price)
}

/// The same of any price.
pub fn quote_now(app: &App, price: Price) -> Result<Quote, Error> {
    let rate = usable_rate(app);
    let usable = rate.as_ref().ok();
    quote(price, usable).map_err(|problem| match rate {
        Err(why) => Unavailable::NoRate(why).into(),
        Ok(_) => Unavailable::NoRate(problem.to_string()).into(),
    })
}

fn usable_rate(app: &App) -> Result<Rate, String> {
    match &app.shop.rate {
        None => Err("none is configured".to_owned()),
        Some(RateSource::Pinned(pinned)) => pinned.usable(app.clock.now()).cloned(),
        Some(RateSource::Live(live)) => live_rate(app, live),
    }
}
