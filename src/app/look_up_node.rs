//! Looking up a Lightning node in the graph that the operator's node has heard of.
//!
//! Each question costs the node a walk over the channels of the one that is asked for, so answers are kept for a minute
//! and a few are asked at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{App, Error, Unavailable};
use crate::domain::lightning::NodeId;
use crate::lnd::GraphNode;

const KEPT_FOR: Duration = Duration::from_mins(1);
/// About 2 MB at most.
const KEPT: usize = 1_000;
const AT_A_TIME: usize = 4;

/// What was looked up lately.
#[derive(Debug, Clone)]
pub struct NodeLookups {
    known: Arc<Mutex<HashMap<NodeId, Answer>>>,
    places: Arc<Semaphore>,
}

/// What the node said, and when; that it knows nothing is an answer, too.
#[derive(Debug, Clone)]
struct Answer {
    node: Option<GraphNode>,
    at: Instant,
}

impl Default for NodeLookups {
    fn default() -> Self {
        Self { known: Arc::default(), places: Arc::new(Semaphore::new(AT_A_TIME)) }
    }
}

impl NodeLookups {
    fn answer(&self, id: NodeId) -> Option<Answer> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&id).filter(|answer| answer.at.elapsed() < KEPT_FOR).cloned()
    }

    fn keep(&self, id: NodeId, node: Option<GraphNode>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT {
            known.retain(|_, answer| answer.at.elapsed() < KEPT_FOR);
        }
        if known.len() < KEPT {
            known.insert(id, Answer { node, at: Instant::now() });
        }
    }
}

/// A node with its addresses, as the operator's node knows it.
///
/// # Errors
/// [`Error::NotFound`] for a node that it has not heard of.
pub async fn look_up_node(app: &App, id: NodeId) -> Result<GraphNode, Error> {
    let node = match app.node_lookups.answer(id) {
        Some(answer) => answer.node,
        None => ask(app, id).await?,
    };
    node.ok_or(Error::NotFound("this Lightning node knows no node with this pubkey"))
}

async fn ask(app: &App, id: NodeId) -> Result<Option<GraphNode>, Error> {
    // Nobody closes the semaphore, so a place always comes.
    let _place = app.node_lookups.places.acquire().await.ok();
    let asked = app.node.graph_node(id).await;
    let node = asked.map_err(|error| Unavailable::NodeDown(error.to_string()))?;
    app.node_lookups.keep(id, node.clone());
    Ok(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> NodeId {
        let mut bytes = [2; 33];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        NodeId::from_bytes(bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_kept_for_a_minute_also_where_nothing_is_known() {
        let lookups = NodeLookups::default();
        lookups.keep(id(1), None);
        tokio::time::advance(Duration::from_millis(59_999)).await;
        assert!(lookups.answer(id(1)).is_some_and(|answer| answer.node.is_none()));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(lookups.answer(id(1)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_answers_are_kept_and_old_ones_make_room() {
        let lookups = NodeLookups::default();
        (0..=1_000).for_each(|n| lookups.keep(id(n), None));
        assert!(lookups.answer(id(999)).is_some() && lookups.answer(id(1_000)).is_none());
        tokio::time::advance(KEPT_FOR).await;
        lookups.keep(id(1_000), None);
        assert!(lookups.answer(id(1_000)).is_some());
        assert_eq!(lookups.known.lock().unwrap().len(), 1);
    }
}
