//! The agent dies in each gap between two of its effects; what stands goes on, and the next agent ends where it should.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;
use wiretoll::clock::Clock;
use wiretoll::crash::AGENT_POINTS;
use wiretoll::netfilter;

use super::faults::STATE;
use super::purchase::assert_all_stands;
use super::shop::Shop;
use super::until;
use crate::lab::{self, Lab, Line, PUBLIC, Place, VISITOR, dial};
use crate::process::command;

/// While somebody else buys.
const SALE: [&str; 8] = [
    "file.written",
    "file.renamed",
    "change.firewall",
    "change.flows",
    "change.peers",
    "change.verified",
    "change.stands",
    "change.told",
];
/// While somebody's time ends, or an address passes from one to another.
const END: [&str; 5] = ["change.stored", "change.firewall", "change.flows", "change.peers", "change.verified"];
/// While a machine that lost everything is restored.
const REBOOT: [&str; 8] = [
    "rebuild.guarded",
    "rebuild.firewall",
    "rebuild.interface",
    "rebuild.peers",
    "rebuild.flows",
    "restore.stands",
    "file.written",
    "file.renamed",
];
/// While the next agent makes anew what one that died had only put into its file.
const REBUILD: [&str; 4] = ["rebuild.firewall", "rebuild.forgotten", "rebuild.peers", "rebuild.flows"];
const LEASES: [&str; 1] = ["leases.renewed"];
/// While it tells what was used before its start, which begins the counters anew.
const USAGE: [&str; 1] = ["parting.told"];

/// A story dies at its points or fails; so what stands in the table, in the code and in the stories has been reached.
#[test]
fn every_point_of_the_table_stands_in_the_code_once_and_is_reached() {
    let table: BTreeSet<&str> = AGENT_POINTS.into();
    let told: BTreeSet<&str> = [&SALE[..], &END, &REBOOT, &REBUILD, &LEASES, &USAGE].concat().into_iter().collect();
    assert_eq!(told, table);
    let mut in_code: Vec<String> = Vec::new();
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/agent")).unwrap() {
        let code = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let points = code.split("crash_point!(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        in_code.extend(points);
    }
    in_code.sort();
    assert_eq!(in_code, table.into_iter().collect::<Vec<_>>());
}

/// Runs an agent that dies at this point, and waits until it has.
async fn dies_at(shop: &mut Shop, point: &str) {
    println!("the agent dies at {point}");
    shop.agent = None;
    let mut agent = command("wiretoll", shop.path("").as_path());
    agent.arg("agent").env("WIRETOLL_CRASH_AT", point).stdout(Stdio::null()).stderr(Stdio::null());
    let mut agent = agent.spawn().unwrap();
    until("the agent is dead", async || agent.try_wait().unwrap().is_some()).await;
}

/// Somebody on the internet who writes to a customer all the time: the flow is the customer's, behind the server's NAT.
struct Letters {
    _flow: TcpStream,
    written: Arc<AtomicUsize>,
    _writer: JoinSet<()>,
}

impl Letters {
    async fn to(customer: Ipv4Addr) -> Self {
        let from = Place::Visitor.socket(VISITOR.into());
        from.bind((VISITOR, 0).into()).unwrap();
        let from = from.listen(1).unwrap();
        let flow = Place::A.socket(VISITOR.into());
        flow.bind((customer, 0).into()).unwrap();
        let flow = flow.connect(from.local_addr().unwrap()).await.unwrap();
        let (mut end, _) = from.accept().await.unwrap();
        let (written, mut writer) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
        let count = Arc::clone(&written);
        writer.spawn(async move {
            while end.write_all(b"for A's eyes only\n").await.is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_millis(20)).await;
            }
            // Whoever has the address now, or the server, says that it knows of none of this.
            count.fetch_add(100, Ordering::SeqCst);
        });
        Self { _flow: flow, written, _writer: writer }
    }

    /// Until some more were sent.
    async fn go_on(&self) {
        let before = self.written.load(Ordering::SeqCst);
        until("letters are sent", async || self.written.load(Ordering::SeqCst) > before + 20 || before > 100).await;
    }
}

async fn visit(port: u16) -> Line {
    dial(Place::Visitor, VISITOR, PUBLIC, port).await.unwrap()
}

#[test]
fn while_somebody_buys() {
    lab::run(async |mut lab: Lab| {
        let mut shop = Shop::open(&lab).await;
        let first = shop.sell().await;
        first.bring_up(&lab.a).await;
        let _nodes = [lab.a.listen(lab.a.address.into()), lab.b.listen(lab.b.address.into())];
        let mut line = visit(first.port).await;
        for point in SALE {
            shop.agent = None;
            let claimed = shop.sell().await;
            dies_at(&mut shop, point).await;
            line.say("nobody is left").await.unwrap();
            shop.start_agent().await;
            line.say("the next one is at work").await.unwrap();
            assert_all_stands(&shop, &mut lab).await;
            if claimed.address == lab.b.address {
                claimed.bring_up(&lab.b).await;
                visit(claimed.port).await;
            }
        }
    });
}

/// Without the service: what the agent took away does not come back with the agent.
#[test]
fn while_somebodys_time_ends() {
    lab::run(async |mut lab: Lab| {
        let mut shop = Shop::open(&lab).await;
        let (going, staying) = (shop.sell().await, shop.sell().await);
        going.bring_up(&lab.a).await;
        staying.bring_up(&lab.b).await;
        let _nodes = [lab.a.listen(lab.a.address.into()), lab.b.listen(lab.b.address.into())];
        let end = shop.number("SELECT min(ends_at) FROM subscriptions").await;
        let mut stays = visit(staying.port).await;
        for point in END {
            let mut ends = visit(going.port).await;
            shop.agent = None;
            // Not so long ago that its hold would be over, too.
            let now = Clock::System.now().millis();
            shop.change(going.port, &format!("ends_at = {now}")).await;
            dies_at(&mut shop, point).await;
            shop.service = None;

            shop.spawn_agent();
            until("the peer is gone", async || lab.peers().await.len() == 1).await;
            shop.agent.as_ref().unwrap().says("what stood before was restored");
            ends.say("after the end").await.unwrap_err();
            stays.say("on and on").await.unwrap();

            shop.start_service();
            shop.until_applied().await;
            assert_all_stands(&shop, &mut lab).await;
            shop.change(going.port, &format!("ends_at = {end}")).await;
            shop.until_applied().await;
            going.bring_up(&lab.a).await;
        }
    });
}

/// Two customers have each other's address from one moment to the next: whatever dies, neither gets what was the other's.
#[test]
fn while_an_address_passes_to_another() {
    lab::run(async |mut lab: Lab| {
        let mut shop = Shop::open(&lab).await;
        let (a, b) = (shop.sell().await, shop.sell().await);
        b.bring_up(&lab.b).await;
        lab.b.use_address(lab.a.address, lab.a.address6);
        let once = END.iter().map(|point| vec![*point]);
        let twice = REBUILD.iter().map(|point| vec!["change.stored", *point]);
        for points in once.chain(twice) {
            // Anew: a session that was lost is noticed only after a quarter of a minute.
            a.bring_up(&lab.a).await;
            let letters = Letters::to(lab.a.address).await;
            shop.agent = None;
            shop.exchange(a.port, b.port).await;
            for point in points {
                dies_at(&mut shop, point).await;
            }
            shop.start_agent().await;

            letters.go_on().await;
            let listing = netfilter::list().await.unwrap().unwrap();
            assert_eq!(listing.traffic[&lab.a.address.into()].down, 0, "nothing of it reached the next one");
            assert_all_stands(&shop, &mut lab).await;
            shop.exchange(a.port, b.port).await;
            shop.until_applied().await;
        }
    });
}

#[test]
fn while_a_machine_is_restored() {
    lab::run(async |mut lab: Lab| {
        let mut shop = Shop::open(&lab).await;
        let sold = shop.sell().await;
        sold.bring_up(&lab.a).await;
        let _node = lab.a.listen(lab.a.address.into());
        for point in REBOOT {
            shop.agent = None;
            shop.service = None;
            lab.lose_interface();
            lab::remove_table();
            dies_at(&mut shop, point).await;

            shop.spawn_agent();
            shop.agent.as_ref().unwrap().says("what stood before was restored");
            sold.bring_up(&lab.a).await;
            visit(sold.port).await;
            shop.start_service();
            shop.until_applied().await;
            assert_all_stands(&shop, &mut lab).await;
        }
    });
}

#[test]
fn while_leases_are_counted_anew() {
    lab::run(async |mut lab: Lab| {
        let mut shop = Shop::open(&lab).await;
        let sold = shop.sell().await;
        for point in LEASES {
            shop.agent = None;
            let mut state: Value = serde_json::from_slice(&std::fs::read(shop.path(STATE)).unwrap()).unwrap();
            // Believed at once, whatever keeps the machine's clock: not ten minutes ago.
            state["seen_at"] = json!(Clock::System.now().millis() - 5 * 60_000);
            state["uptime"] = Value::Null;
            std::fs::write(shop.path(STATE), state.to_string()).unwrap();
            dies_at(&mut shop, point).await;
            shop.start_agent().await;
            assert_all_stands(&shop, &mut lab).await;
        }
        sold.bring_up(&lab.a).await;
    });
}

/// What was heard, and is still in the file of an agent that died, is told again.
#[test]
fn while_what_was_used_is_told() {
    const KILOBYTES: usize = 100;
    lab::run(async |lab: Lab| {
        let mut shop = Shop::open(&lab).await;
        let sold = shop.sell().await;
        sold.bring_up(&lab.a).await;
        let _node = lab.a.listen(lab.a.address.into());
        let this_month = async |shop: &Shop| shop.number("SELECT coalesce(sum(bytes), 0) FROM monthly_usage").await;
        let told_again = USAGE.repeat(3);
        for point in &told_again {
            visit(sold.port).await.say(&"x".repeat(KILOBYTES * 1_000)).await.unwrap();
            dies_at(&mut shop, point).await;
        }

        shop.start_agent().await;

        let is_kept = |shop: &Shop| std::fs::read_to_string(shop.path(STATE)).unwrap().contains("\"run\":");
        until("all of it is told", async || !is_kept(&shop)).await;
        // There and back again, and what TCP and IP add.
        let sent = 2 * 1_000 * i64::try_from(KILOBYTES * told_again.len()).unwrap();
        let counted = this_month(&shop).await;
        assert!((sent..sent + sent / 10).contains(&counted), "{counted} of {sent}");
    });
}
