//! What an agent makes of what it is told, and of what others do to its server.

mod control;

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;
use wiretoll::domain::desired::DesiredPeer;
use wiretoll::domain::keys::PrivateKey;
use wiretoll::netfilter;

use control::{ControlPlane, Told};

use crate::lab::{self, GATEWAY, LISTEN_PORT, Lab, Line, PUBLIC, Place, VISITOR, dial, done};
use crate::process::Process;
use crate::story::until;

/// An agent that keeps customer A, who is connected.
async fn with_a(lab: &Lab) -> (ControlPlane, Process) {
    let control = ControlPlane::listen(lab);
    control.tell(&[control.peer(&lab.a)]);
    let agent = control.start_agent();
    until("all of it stands", async || control.is_applied()).await;
    lab.a.connect_with(&lab.private_key, &control.peer(&lab.a).preshared_key);
    until("A is connected", async || lab.a.pings(lab.a.address.into(), GATEWAY.into())).await;
    (control, agent)
}

async fn visit(lab: &Lab) -> Line {
    dial(Place::Visitor, VISITOR, PUBLIC, lab.a.public_port).await.unwrap()
}

#[test]
fn scenario_32_nobody_takes_a_customers_address() {
    lab::run(async |mut lab: Lab| {
        let (control, agent) = with_a(&lab).await;
        let _node = lab.a.listen(lab.a.address.into());
        let mut line = visit(&lab).await;
        let (a, b) = (control.peer(&lab.a), control.peer(&lab.b));

        // By the control plane's word: whoever would take it is left out.
        control.tell(&[a.clone(), DesiredPeer { address: a.address, ..b.clone() }]);
        agent.says("left out");
        assert_eq!(lab.peers().await.len(), 1);
        line.say("A's address is A's").await.unwrap();

        // By hand: WireGuard moves it without a word. The next change mends that.
        let thief = PrivateKey::from_random([66; 32]).public_key().to_string();
        done(Command::new("wg").args(["set", "wg0", "peer", &thief, "allowed-ips", "10.9.0.2/32"]));
        line.say("stolen").await.unwrap_err();
        control.tell(&[a, b]);
        until("all of it stands", async || control.is_applied()).await;
        assert_eq!(lab.peers().await.len(), 2);
        visit(&lab).await.say("A's address is A's again").await.unwrap();
        assert_eq!(control.troubles(), "");
    });
}

fn listed(words: &[&str]) -> String {
    String::from_utf8(Place::Server.command(words).output().unwrap().stdout).unwrap()
}

/// Each of these was done by hand, and by other programs, on somebody's server.
#[test]
fn a_server_that_was_disturbed_is_mended_in_place() {
    lab::run(async |mut lab: Lab| {
        let (control, agent) = with_a(&lab).await;
        let _nodes = [lab.a.listen(lab.a.address.into()), lab.a.listen(lab.a.address6.into())];
        let mut line = visit(&lab).await;
        let index = listed(&["cat", "/sys/class/net/wg0/ifindex"]);
        let session = lab.peers().await[0].last_handshake;
        let peers = [control.peer(&lab.a)];
        for disturbance in [
            "nft delete element inet wgsub live6 '{ fd66::2 }'",
            "nft delete element inet wgsub live4 '{ 10.9.0.2 }'; nft add element inet wgsub live4 '{ 10.9.0.2 timeout 99d }'",
            "nft delete element inet wgsub fwd6 '{ tcp . 35002 }'",
            "nft delete element inet wgsub up4 '{ 10.9.0.2 }'",
            "nft add element inet wgsub slow_up4 '{ 10.9.0.2 }'",
            "nft add element inet wgsub slow_down6 '{ fd66::2 }'",
            // What nobody would miss: sets and leases stay.
            "nft flush chain inet wgsub pre",
            "nft flush chain inet wgsub through",
            "nft flush chain inet wgsub post",
            "nft 'chain inet wgsub forward { policy drop; }'",
            "nft insert rule inet wgsub through tcp dport 9735 drop",
            "nft flush table inet wgsub",
            "ip link set wg0 mtu 1280",
            "ip address del fd66::1/64 dev wg0",
            "ip address add 10.8.0.1/24 dev wg0",
        ] {
            println!("{disturbance}");
            done(Command::new("sh").args(["-c", disturbance]));
            control.tell(&peers);
            agent.says("was not as it should be, and was put right");
            until("it is at work again", async || line.say("on and on").await.is_ok()).await;
        }
        // This one may cost the line: what arrives while nothing translates, be it a late ACK, is answered with a reset.
        println!("nft delete table inet wgsub");
        done(Command::new("nft").args(["delete", "table", "inet", "wgsub"]));
        control.tell(&peers);
        agent.says("was not as it should be, and was put right");
        visit(&lab).await.say("open again").await.unwrap();
        // These two cost the session, by themselves.
        for disturbance in ["ip link set wg0 down", "wg set wg0 private-key /proc/self/fd/0 < /run/other.key"] {
            println!("{disturbance}");
            std::fs::write("/run/other.key", PrivateKey::from_random([5; 32]).expose()).unwrap();
            done(Command::new("sh").args(["-c", disturbance]));
            control.tell(&peers);
            agent.says("was not as it should be, and was put right");
        }
        assert_eq!(listed(&["wg", "show", "wg0", "public-key"]).trim(), lab.private_key.public_key().to_string());
        let shown = listed(&["ip", "-o", "link", "show", "dev", "wg0"]);
        assert!(shown.contains("mtu 1420") && shown.contains(",UP"), "{shown}");
        assert_eq!(listed(&["cat", "/sys/class/net/wg0/ifindex"]), index, "it is the same interface");
        let peer = lab.peers().await.remove(0);
        assert!(lab::received(&peer.public_key) > 0 && peer.last_handshake >= session, "and the same peer");
        // Nothing to do, nothing said.
        control.tell(&[]);
        until("all of it is gone", async || control.is_applied()).await;
        assert!(lab.peers().await.is_empty());
    });
}

/// The table is there with all that is in its sets, but nothing asks them any more: so nobody's end is one.
#[test]
fn rules_that_were_flushed_are_noticed_and_leases_count_again() {
    lab::run(async |lab: Lab| {
        let (control, agent) = with_a(&lab).await;
        let suspended = DesiredPeer { traffic_until: None, ..control.peer(&lab.a) };
        control.tell(std::slice::from_ref(&suspended));
        until("nothing passes", async || !lab.a.pings(lab.a.address.into(), GATEWAY.into())).await;
        done(Command::new("nft").args(["flush", "table", "inet", "wgsub"]));
        until("it passes all the same", async || lab.a.pings(lab.a.address.into(), GATEWAY.into())).await;

        control.tell(&[suspended]);

        agent.says("was not as it should be, and was put right");
        assert!(!lab.a.pings(lab.a.address.into(), GATEWAY.into()));
    });
}

/// Clocks drift: a lease that is off is set right, and what was counted goes on.
#[test]
fn a_lease_that_is_off_costs_nobody_the_counters() {
    lab::run(async |lab: Lab| {
        let (control, agent) = with_a(&lab).await;
        let counted = async || netfilter::list().await.unwrap().unwrap().traffic[&lab.a.address.into()];
        let before = counted().await;
        assert!(before.up > 0);
        done(Command::new("sh").args([
            "-c",
            "nft delete element inet wgsub live4 '{ 10.9.0.2 }'; nft add element inet wgsub live4 '{ 10.9.0.2 timeout 40m }'",
        ]));

        control.tell(&[control.peer(&lab.a)]);

        agent.says("was not as it should be, and was put right");
        let left = netfilter::list().await.unwrap().unwrap().leases[&lab.a.address.into()];
        assert!(left > Duration::from_mins(58), "{left:?}");
        assert!(counted().await.up >= before.up);
    });
}

/// The service's clock, and with it the end of everybody, is two hours too late in the day.
#[test]
fn scenario_51_a_clock_that_jumps_ahead_ends_nobody() {
    lab::run(async |mut lab: Lab| {
        let (control, agent) = with_a(&lab).await;
        let _node = lab.a.listen(lab.a.address.into());
        let mut line = visit(&lab).await;
        let (a, b) = (control.peer(&lab.a), control.peer(&lab.b));

        control.with(|told| told.ahead_millis = 2 * 3_600_000);
        control.tell(&[a.clone(), b.clone()]);
        agent.says("is 120 minutes ahead");
        until("all of it stands", async || control.is_applied()).await;
        line.say("still within the hour that was sold").await.unwrap();
        assert_eq!(lab.peers().await.len(), 2);
        drop(agent);
        let agent = control.start_agent();
        agent.says("is 120 minutes ahead");
        line.say("also after a restart").await.unwrap();

        control.with(|told| told.ahead_millis = 0);
        control.tell(&[a]);
        agent.says("is over");
        until("all of it stands", async || control.is_applied()).await;
        assert_eq!(lab.peers().await.len(), 1);
    });
}

/// Nothing tells how long the machine was down, and the service began with the same wrong clock.
#[test]
fn scenario_51_after_a_reboot_a_clock_that_nobody_keeps_right_ends_nobody() {
    lab::run(async |mut lab: Lab| {
        let (control, agent) = with_a(&lab).await;
        let (a, b) = (control.peer(&lab.a), control.peer(&lab.b));
        drop(agent);
        control.edit_state(|state| state["uptime"] = Value::Null);
        control.with(|told| (told.ahead_millis, told.is_synchronised) = (2 * 3_600_000, false));

        let agent = control.start_agent();

        agent.says("is 120 minutes ahead");
        control.tell(&[a, b.clone()]);
        until("all of it stands", async || control.is_applied()).await;
        assert_eq!(lab.peers().await.len(), 2, "both still have an hour");
        assert!(control.troubles().contains("have it kept right"), "{}", control.troubles());

        control.with(|told| told.ahead_millis = 0);
        control.tell(&[b]);
        agent.says("is over");
        until("all of it stands", async || control.is_applied()).await;
        assert_eq!(lab.peers().await.len(), 1);
    });
}

#[test]
fn scenario_51_an_agent_that_starts_again_and_again_gives_no_time_away() {
    lab::run(async |mut lab: Lab| {
        let (control, agent) = with_a(&lab).await;
        drop(agent);
        // As if the machine had run for two hours since.
        control.edit_state(|state| {
            let then = state.pointer_mut("/uptime/millis").unwrap();
            *then = json!(then.as_i64().unwrap() - 2 * 3_600_000);
        });
        std::fs::remove_file(control.folder.path().join("agent.sock")).unwrap();

        let agent = control.start_agent();

        agent.says("what stood before was restored");
        assert!(lab.peers().await.is_empty(), "its hour is over");
    });
}

/// Ended, it would only be silent.
#[test]
fn an_agent_that_cannot_restore_says_why_and_goes_on_trying() {
    lab::run(async |mut lab: Lab| {
        let (control, agent) = with_a(&lab).await;
        drop(agent);
        lab.lose_interface();
        let taken = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, LISTEN_PORT)).unwrap();
        control.with(|told| told.reports.clear());

        let _agent = control.start_agent();

        until("it is told", async || control.troubles().contains("another program listens")).await;
        assert!(!control.is_applied());
        drop(taken);
        until("all of it stands", async || control.is_applied()).await;
        assert_eq!(control.troubles(), "");
    });
}

/// A machine that is back at once finds its own silence not over yet: the service refuses it for so long.
#[test]
fn an_agent_that_waits_for_its_turn_goes_on_restoring() {
    lab::run(async |mut lab: Lab| {
        let (control, agent) = with_a(&lab).await;
        drop(agent);
        lab.lose_interface();
        let taken = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, LISTEN_PORT)).unwrap();
        control.with(|told| told.is_deaf = true);
        let agent = control.start_agent();
        agent.says("another program listens");
        agent.says("not accepted yet");

        drop(taken);

        let is_up = || listed(&["ip", "-o", "link", "show", "dev", "wg0"]).contains(",UP");
        until("the interface is up", async || is_up()).await;
        lab.a.connect_with(&lab.private_key, &control.peer(&lab.a).preshared_key);
        until("A is connected", async || lab.a.pings(lab.a.address.into(), GATEWAY.into())).await;
        control.with(|told| {
            told.is_deaf = false;
            told.reports.clear();
        });
        until("all of it stands", async || control.is_applied()).await;
        assert_eq!(control.troubles(), "");
    });
}

#[test]
fn an_agent_that_is_refused_while_it_runs_says_so_once_and_when_it_is_over() {
    lab::run(async |lab: Lab| {
        let (control, agent) = with_a(&lab).await;
        control.with(|told| told.is_deaf = true);
        control.tell(&[control.peer(&lab.b)]);
        agent.says("the service does not take this agent's word");

        control.with(|told| told.is_deaf = false);

        until("all of it stands", async || control.is_applied()).await;
        assert_eq!(control.troubles(), "", "nothing that the service said itself");
        let (_, said) = agent.terminate();
        let told: Vec<_> = said.iter().filter(|line| line.contains("does not take this agent's word")).collect();
        assert!(matches!(&told[..], [over] if over.contains("is over")), "{told:?}");
    });
}

#[test]
fn what_was_used_before_counters_go_is_told() {
    lab::run(async |lab: Lab| {
        let (control, agent) = with_a(&lab).await;
        let _node = lab.a.listen(lab.a.address.into());
        let id = control.peer(&lab.a).id;
        let told = || {
            let used =
                |told: &mut Told| told.reports.iter().flat_map(|report| &report.usage).rfind(|u| u.peer == id).cloned();
            control.with(used)
        };
        visit(&lab).await.say(&"x".repeat(100_000)).await.unwrap();

        // The whole table is made anew.
        Place::Server.ip("link set wg0 mtu 1300\n");
        control.tell(&[control.peer(&lab.a)]);
        agent.says("was not as it should be, and was put right");
        until("it is told", async || told().is_some_and(|usage| usage.bytes > 200_000)).await;
        let first = told().unwrap();

        visit(&lab).await.say(&"x".repeat(50_000)).await.unwrap();
        control.tell(&[]);
        until("it is told", async || told().is_some_and(|usage| usage.run != first.run && usage.bytes > 100_000)).await;
        assert!(told().unwrap().bytes < first.bytes);
    });
}

/// Told out of turn, or by an agent after one that told it already, a life of the counters would count twice or never.
#[test]
fn several_lives_of_the_counters_are_told_in_turn_once_they_are_heard() {
    lab::run(async |lab: Lab| {
        let (control, mut agent) = with_a(&lab).await;
        let _node = lab.a.listen(lab.a.address.into());
        let a = control.peer(&lab.a);
        control.with(|told| {
            told.is_deaf = true;
            told.reports.clear();
        });
        for (kilobytes, mtu) in [(300, 1300), (200, 1310), (100, 1320)] {
            visit(&lab).await.say(&"x".repeat(kilobytes * 1000)).await.unwrap();
            Place::Server.ip(&format!("link set wg0 mtu {mtu}\n"));
            control.tell(std::slice::from_ref(&a));
            agent.says("was not as it should be, and was put right");
        }
        for _ in 0..2 {
            drop(agent);
            agent = control.start_agent();
            agent.says("what stood before was restored");
        }
        assert!(control.with(|told| told.reports.is_empty()));

        control.with(|told| told.is_deaf = false);
        control.tell(&[]);
        until("all of it is told", async || used(&control, a.id) > 1_200_000).await;
        let lives = lives(&control, a.id);
        assert!(lives.len() <= 3, "older ones as one: {lives:?}");
        assert!(used(&control, a.id) < 1_400_000, "there and back again, and nothing twice: {lives:?}");

        let file = control.folder.path().join("state/state.json");
        let is_kept = || std::fs::read_to_string(&file).unwrap().contains("\"run\":");
        until("what was told is not kept", async || !is_kept()).await;
        control.with(|told| told.reports.clear());
        drop(agent);
        let _agent = control.start_agent();
        until("all of it stands", async || control.is_applied()).await;
        assert!(used(&control, a.id) < 10_000, "none of it is told again");
    });
}

fn used(control: &ControlPlane, id: Uuid) -> u64 {
    lives(control, id).iter().map(|(_, bytes)| bytes).sum()
}

/// The runs of a peer's counters in the order in which they were told, each once, with the most that was told of it.
fn lives(control: &ControlPlane, id: Uuid) -> Vec<(Uuid, u64)> {
    let usages: Vec<_> = control.with(|told| told.reports.iter().flat_map(|report| report.usage.clone()).collect());
    let mut lives: Vec<(Uuid, u64)> = Vec::new();
    for usage in usages.into_iter().filter(|usage| usage.peer == id) {
        match lives.iter().position(|(run, _)| *run == usage.run) {
            None => lives.push((usage.run, usage.bytes)),
            Some(last) => {
                assert_eq!(last, lives.len() - 1, "an earlier life is told of after a later one");
                lives[last].1 = lives[last].1.max(usage.bytes);
            }
        }
    }
    lives
}

/// Clients that come from elsewhere end what they do at the start with a ping of it.
#[test]
fn a_server_of_another_pool_answers_at_10_9_0_1_too() {
    lab::run(async |lab: Lab| {
        let control = ControlPlane::listen(&lab);
        control.with(|told| told.desired.terms.network = "10.8.0.0/21".parse().unwrap());
        let address = Ipv4Addr::new(10, 8, 0, 2);
        let a = DesiredPeer { address, ..control.peer(&lab.a) };
        control.tell(std::slice::from_ref(&a));
        let _agent = control.start_agent();
        until("all of it stands", async || control.is_applied()).await;

        lab.a.use_address(address, "fd66::8:2".parse().unwrap());
        lab.a.connect_with(&lab.private_key, &a.preshared_key);

        until("it answers", async || lab.a.pings(address.into(), GATEWAY.into())).await;
        assert!(lab.a.pings(address.into(), Ipv4Addr::new(10, 8, 0, 1).into()), "and at the pool's own");
    });
}

#[test]
fn what_is_set_up_wrong_is_told_at_the_start() {
    lab::run(async |lab: Lab| {
        let control = ControlPlane::listen(&lab);
        let file = control.folder.path().join("wiretoll.toml");
        let config = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, config.replace("wan0", "eth7").replace("203.0.113.1", "203.0.113.9")).unwrap();
        done(Command::new("sh").args([
            "-c",
            "nft 'add table ip others; add chain ip others forward { type filter hook forward priority 0; policy drop; }'
             sysctl -q -w net.ipv6.conf.all.forwarding=0",
        ]));

        let agent = control.start_agent();

        agent.says("none of this machine's");
        agent.says("another firewall drops forwarded packets");
        agent.says("no network interface eth7");
        for trouble in ["ip route show default", "ip others forward", "not forward packets of IPv6"] {
            until("the service is told", async || control.troubles().contains(trouble)).await;
        }
    });
}
