//! How `serve` ends.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::place::{Place, text};

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_streams_and_polls_and_then_the_program() {
    let place = Place::new().await;
    let (serve, api) = place.serve();
    let order = api.order().await;
    let path = format!("/api/public/v1/subscription/{}", text(&order, "paymentHash"));
    let mut stream = api.client.get(api.url(&format!("{path}/events"))).send().await.unwrap().bytes_stream();
    let first = stream.next().await.unwrap().unwrap();
    assert!(first.starts_with(b"event: status\n"));
    let mut polls = JoinSet::new();
    polls.spawn(api.client.get(api.url(&format!("{path}?wait=30"))).send());
    tokio::time::sleep(Duration::from_millis(500)).await; // so that the poll waits by now

    let began = Instant::now();
    assert!(serve.terminate().0.success());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let poll = timeout(Duration::from_secs(20), polls.join_next()).await.unwrap().unwrap().unwrap().unwrap();
    assert_eq!(poll.status(), 200);
    assert!(timeout(Duration::from_secs(20), stream.next()).await.unwrap().is_none(), "the stream ends cleanly");
}
