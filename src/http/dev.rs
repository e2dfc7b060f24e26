//! `POST /dev/pay`: the simulated node's payer, for building a client. Only `dev` and `demo` have it.

use actix_web::web::{Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::json;

use super::error::Error;
use super::{body, routing};
use crate::app;
use crate::lnd_simulator::Simulator;
use crate::lnd_simulator::payer::{PaymentOrder, PaymentOutcome};

#[derive(Debug, Deserialize)]
struct Pay {
    invoice: String,
}

/// Adds the payer's route.
pub fn routes(simulator: Simulator) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static {
    move |config| {
        config.app_data(Data::new(simulator)).service(routing::post("/dev/pay", pay));
    }
}

/// Answers when the settlement is durable in the node; the service hears of it as of any payment.
async fn pay(request: HttpRequest, payload: Payload, simulator: Data<Simulator>) -> Result<HttpResponse, Error> {
    let pay: Pay = body::read(&request, payload).await?;
    let outcome = simulator.pay(PaymentOrder::of(pay.invoice)).await;
    let outcome = outcome.map_err(|error| Error::invalid(format!("the simulated node could not pay: {error}")))?;
    match outcome {
        PaymentOutcome::Settled { payment_hash, .. } | PaymentOutcome::AlreadySettled { payment_hash } => {
            Ok(HttpResponse::Ok().json(json!({ "status": "settled", "paymentHash": payment_hash })))
        }
        PaymentOutcome::Unknown { .. } => Err(Error::not_found("the simulated node does not know this invoice")),
        PaymentOutcome::Closed { .. } => Err(conflict("this invoice is cancelled or expired")),
        PaymentOutcome::Held { .. } => Err(conflict("the simulated node holds this payment")),
        PaymentOutcome::Failed { reason } => Err(Error::invalid(format!("nothing was paid: {reason}"))),
    }
}

fn conflict(message: &str) -> Error {
    app::Error::Conflict(message.to_owned()).into()
}
