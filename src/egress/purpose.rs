//! What a connection is for, and the bounds that follow from it.

use std::time::Duration;

/// Why somebody else is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// An endpoint of the operator's.
    Webhook,
    /// An endpoint of an account's, or the callback of an order.
    CustomersWebhook,
    /// An exchange that is asked for its rate.
    Price,
    Stripe,
    /// A Lightning node whose address somebody wants tried.
    Probe,
}

/// The bounds of one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Of looking its name up, connecting and TLS together.
    pub(super) connect: Duration,
    /// Of everything, to the last byte of the answer.
    pub(super) total: Duration,
    /// The most bytes of a body; of 0, none is read, and its length does not matter.
    pub(super) body: usize,
}

impl Purpose {
    pub(super) const fn bounds(self) -> Bounds {
        let (connect, total, body) = match self {
            // Nobody is shown what an endpoint says, so it is not read.
            Self::Webhook | Self::CustomersWebhook => (5, 15, 0),
            Self::Price => (5, 10, 64 * 1024),
            Self::Stripe => (5, 30, 1024 * 1024),
            // The longer one is for an onion host, whose circuit has to be built.
            Self::Probe => (20, 45, 0),
        };
        Bounds { connect: Duration::from_secs(connect), total: Duration::from_secs(total), body }
    }

    /// Whether the operator chose whom to ask. Otherwise it was a customer, or anybody at all.
    pub(super) const fn is_the_operators(self) -> bool {
        match self {
            Self::Webhook | Self::Price | Self::Stripe => true,
            Self::CustomersWebhook | Self::Probe => false,
        }
    }

    /// Where somebody else chose the port, none below 1024 but the web's: there are mail, SSH and the like.
    pub(super) const fn may_ask(self, port: u16) -> bool {
        match self {
            Self::Webhook | Self::CustomersWebhook => matches!(port, 80 | 443 | 1024..),
            Self::Price | Self::Stripe => port != 0,
            Self::Probe => port >= 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_choose_no_port_of_another_service() {
        let asked = |purpose: Purpose| [0, 22, 25, 80, 443, 1023, 1024, 65_535].map(|port| purpose.may_ask(port));
        assert_eq!(asked(Purpose::Webhook), [false, false, false, true, true, false, true, true]);
        assert_eq!(asked(Purpose::Probe), [false, false, false, false, false, false, true, true]);
        assert_eq!(asked(Purpose::Stripe), [false, true, true, true, true, true, true, true]);
    }
}
