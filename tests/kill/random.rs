//! `kill -9` of service and node at random moments, while customers buy.

use std::time::Duration;

use crate::on_both_databases;
use crate::run::{Victims, long, run};
use crate::world::On;

const SHORT: Duration = Duration::from_secs(40);

on_both_databases!(
    killed_at_random_for_a_short_time,
    #[ignore = "takes WIRETOLL_KILL_MINUTES"]
    killed_at_random_for_a_long_time,
);

async fn killed_at_random_for_a_short_time(on: On) {
    run(on, Victims::Any, SHORT).await;
}

async fn killed_at_random_for_a_long_time(on: On) {
    run(on, Victims::Any, long()).await;
}
