//! The service over HTTP, as a client sees it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::place::text;

/// A running API, as a client sees it.
pub struct Api {
    base: String,
    pub client: reqwest::Client,
}

impl Api {
    pub fn at(address: &str) -> Self {
        Self { base: format!("http://{address}"), client: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        let response = self.client.get(self.url(path)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let response = self.client.post(self.url(path)).json(&body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// Orders one month, as soon as the node can be paid.
    pub async fn order(&self) -> Value {
        let body = json!({ "serverId": "eu-de", "duration": 1 });
        let mut answer = (0, Value::Null);
        for _ in 0..100 {
            answer = self.post("/api/public/v1/subscription/create", body.clone()).await;
            if answer.0 != 503 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(answer.0, 200, "{}", answer.1);
        answer.1
    }

    pub async fn until_paid(&self, order: &Value) {
        let path = format!("/api/public/v1/subscription/{}?wait=5", text(order, "paymentHash"));
        for _ in 0..10 {
            let (_, check) = self.get(&path).await;
            if check.contains(r#""status":"paid""#) {
                return;
            }
        }
        panic!("it was never paid: {order}");
    }

    /// The config of an order that is paid.
    pub async fn claim(&self, order: &Value) -> String {
        let (status, claim) =
            self.post("/api/public/v1/subscription/claim", json!({ "paymentHash": order["paymentHash"] })).await;
        assert_eq!(status, 200, "{claim}");
        text(&claim, "config").to_owned()
    }

    pub async fn dev_pay(&self, order: &Value) -> (u16, Value) {
        self.post("/dev/pay", json!({ "invoice": order["invoice"] })).await
    }
}
