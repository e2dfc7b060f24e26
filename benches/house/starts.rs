//! (d) How long a start takes and how much memory it needs, empty and with many orders.

use wiretoll::lnd_simulator::methods::Method;

use crate::process::Server;
use crate::report::median;
use crate::shop::{Node, Shop};
use crate::{Bench, progress};

/// What was measured on one shop.
#[derive(Debug)]
pub struct Starts {
    rounds: Vec<Start>,
}

/// One start: milliseconds and megabytes.
#[derive(Debug)]
struct Start {
    ready: f64,
    memory: f64,
    /// The most until the orders that were found had been compared with the node.
    memory_swept: f64,
    /// A bare actix-web server until it answers, and its memory.
    floor_ready: f64,
    floor_memory: f64,
}

pub async fn measure(bench: &Bench, name: &str, shop: &Shop, node: &Node) -> anyhow::Result<Starts> {
    let mut rounds = Vec::new();
    for n in 1..=bench.repeats {
        let mut floor = Server::floor(1, &bench.folder)?;
        let floor_ready = floor.until_it_answers("/", "x").await?.as_secs_f64() * 1000.0;
        let (floor_memory, _) = floor.memory()?;
        let mut server = shop.launch(node)?;
        let ready = server.until_ready().await?.as_secs_f64() * 1000.0;
        let (memory, _) = server.memory()?;
        node.until_calm().await;
        let (_, memory_swept) = server.memory()?;
        let asked = node.simulator.calls(Method::LookupInvoice);
        let start = Start { ready, memory, memory_swept, floor_ready, floor_memory };
        progress(&format!(
            "(d) {name}, {n} of {}: ready in {ready:.0} ms with {memory:.0} MB, {memory_swept:.0} MB after its sweep \
             ({asked} look-ups so far); floor {floor_ready:.0} ms, {floor_memory:.0} MB",
            bench.repeats,
        ));
        rounds.push(start);
    }
    Ok(Starts { rounds })
}

impl Starts {
    /// Milliseconds, of the service and of the floor.
    pub fn ready(&self) -> (f64, f64) {
        (self.median(|start| start.ready), self.median(|start| start.floor_ready))
    }

    /// Megabytes when it is ready, of the service and of the floor.
    pub fn memory(&self) -> (f64, f64) {
        (self.median(|start| start.memory), self.median(|start| start.floor_memory))
    }

    /// The most megabytes until its first sweep was over.
    pub fn memory_swept(&self) -> f64 {
        self.median(|start| start.memory_swept)
    }

    fn median(&self, of: impl Fn(&Start) -> f64) -> f64 {
        median(self.rounds.iter().map(of))
    }
}
