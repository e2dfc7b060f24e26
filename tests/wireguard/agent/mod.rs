//! What an agent makes of what it is told, and of what others do to its server.

mod control;

use std::process::Command;

use wiretoll::domain::desired::DesiredPeer;
use wiretoll::domain::keys::PrivateKey;

use control::ControlPlane;

use crate::lab::{self, GATEWAY, Lab, Line, PUBLIC, Place, VISITOR, dial, done};
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

        // By the control plane's word, which is refused as a whole.
        control.tell(&[a.clone(), DesiredPeer { address: a.address, ..b.clone() }]);
        agent.says("overlap");
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
