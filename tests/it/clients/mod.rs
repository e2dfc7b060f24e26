//! Today's clients, each as what it sends and what it accepts.
//!
//! A validator is written from the client's stated rules and knows none of our types. It returns the reason of a
//! refusal, and has a table of bad bodies that it must refuse: a validator that cannot fail proves nothing.
//!
//! | file | requests |
//! |---|---|
//! | [`umbrel`] | servers, create, check, claim with empty keys, renew by label, check of a renewal, status |
//! | [`startos`] | servers, create and claim with its own key, check, renew by domain, status |
//! | [`startos_older`] | status |
//! | [`raspiblitz`] | create, check, claim with an order id, renew, status |
//! | [`bash`] | none: it reads the config text |
//! | [`browser`] | a page of another origin; headers and errors that an app passes on |
//! | [`cadence`] | how often each of them polls |

mod bash;
mod bolt11;
mod browser;
mod cadence;
mod raspiblitz;
mod rules;
mod startos;
mod startos_older;
mod umbrel;
