//! What the operator does with the ledger's payments.

use wiretoll::app::Error;
use wiretoll::app::adopt_payment::{Adoption, AmountCheck, Bought, adopt_payment};
use wiretoll::app::resolve_payment::{PaymentName, Resolved, resolve_payment};
use wiretoll::domain::note::Note;
use wiretoll::domain::order::ClaimBy;
use wiretoll::domain::server::ServerId;

use super::Story;
use super::customers::months_for;
use super::node::fact;

impl Story<'_> {
    pub async fn adopt(&mut self, number: usize) {
        let bought =
            Bought::New { server: ServerId::parse("eu-de").unwrap(), public_key: None, claim_by: ClaimBy::PaymentHash };
        // A reset's amount pays for no plan.
        let fitting = months_for(self.made[number].price_msat);
        let months = fitting.unwrap_or(1);
        let payment = PaymentName::PaymentHash(self.made[number].hash);
        let adoption = Adoption { payment, months, bought, amount: AmountCheck::Fits };
        let adopted = adopt_payment(&self.app, &adoption).await;
        let invoice = if self.node_is_up { self.look_up(number).await } else { None };
        let expected = invoice.filter(|_| fitting.is_some()).is_some_and(|invoice| {
            self.books.adopt(number, months, invoice.created_at, &fact(&invoice), self.shop.clock.now())
        });
        assert_eq!(adopted.is_ok(), expected, "{adopted:?}");
    }

    pub async fn resolve(&mut self, number: usize) {
        let note = Note::parse("dealt with").unwrap();
        let name = PaymentName::PaymentHash(self.made[number].hash);
        let resolved = match resolve_payment(&self.app, name, &note).await {
            Ok(Resolved::Now(_)) => Some(true),
            Ok(Resolved::Before(_)) => Some(false),
            Err(Error::Invalid(_) | Error::NotFound(_)) => None,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(resolved, self.books.resolve(number));
    }
}
