//! A real node as a shop sells over it, with the node that pays it; and what the database says of an order.

use std::path::PathBuf;
use std::time::Duration;

use wiretoll::clock::Clock;
use wiretoll::config::Config;
use wiretoll::domain::order::OrderState;
use wiretoll::domain::payment::Payment;
use wiretoll::lnd_simulator::Simulator;

use crate::payer::LndPayer;
use crate::shop::{Bought, Node, Shop};

#[derive(Clone)]
pub struct Payee {
    pub address: String,
    pub certificate: PathBuf,
    pub macaroon: PathBuf,
    pub payer: LndPayer,
}

impl Payee {
    /// The two nodes that the environment describes.
    pub fn of_environment() -> Self {
        let certificate = std::fs::read_to_string(variable("PAYER_LND_TLS_CERT")).unwrap();
        let macaroon = hex::encode(std::fs::read(variable("PAYER_LND_MACAROON")).unwrap());
        Self {
            address: variable("LND_ADDR"),
            certificate: variable("LND_TLS_CERT").into(),
            macaroon: variable("LND_MACAROON").into(),
            payer: LndPayer::new(&variable("PAYER_LND_ADDR"), &certificate, macaroon),
        }
    }

    /// Opens a shop that sells over it, on SQLite.
    pub async fn shop(self) -> Shop<Self> {
        self.shop_with(|_| {}).await
    }

    pub async fn shop_with(self, change: impl FnOnce(&mut Config)) -> Shop<Self> {
        Shop::open_over(self, Clock::System, tempfile::tempdir().unwrap(), change).await
    }
}

impl Node for Payee {
    async fn settings(&self) -> [(&'static str, String); 3] {
        [
            ("WIRETOLL_LND__ADDRESS", self.address.clone()),
            ("WIRETOLL_LND__CERTIFICATE_FILE", self.certificate.display().to_string()),
            ("WIRETOLL_LND__MACAROON_FILE", self.macaroon.display().to_string()),
        ]
    }

    fn simulated(&self) -> Option<Simulator> {
        None
    }

    async fn pay(&self, invoice: &str) -> bool {
        self.payer.pay(invoice).await.unwrap()
    }
}

pub async fn is_open(shop: &Shop<Payee>, order: &Bought) -> bool {
    matches!(shop.stored(order).await.state, OrderState::Pending(_))
}

/// Buys until the stream brings the news and the position moves there; returns the settle index.
///
/// Right after a start the service may sell before it follows: such a payment is found all the same, but moves nothing.
pub async fn buy_until_followed(shop: &Shop<Payee>) -> u64 {
    shop.until("the position is at the last payment", || async {
        let order = shop.buy().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        shop.position().await.is_some_and(|position| position.payment_hash == order.payment_hash())
    })
    .await;
    shop.position().await.unwrap().settle_index
}

/// The one payment of an order.
pub async fn payment(shop: &Shop<Payee>, order: &Bought) -> Payment {
    let mut payments = shop.app().store.payments_of(shop.stored(order).await.id).await.unwrap();
    assert_eq!(payments.len(), 1, "{payments:?}");
    payments.remove(0)
}

pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; the head of tests/real_lnd/main.rs lists it"))
}
