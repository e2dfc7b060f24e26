//! Two services on one Postgres and one node, killed in turn while customers buy at either.

use std::time::Duration;

use crate::run::{Victims, long, run};
use crate::world::{On, postgres_url};

const SHORT: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread")]
async fn scenario_49_two_replicas_are_killed_in_turn_for_a_short_time() {
    if postgres_url().is_some() {
        run(On::Postgres, Victims::ServicesInTurn, SHORT).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes WIRETOLL_KILL_MINUTES"]
async fn scenario_49_two_replicas_are_killed_in_turn_for_a_long_time() {
    assert!(postgres_url().is_some(), "TEST_POSTGRES_URL is not set");
    run(On::Postgres, Victims::ServicesInTurn, long()).await;
}
