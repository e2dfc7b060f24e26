//! `server`, `subscription` and `db`, beside a service that runs on the same database.

use std::path::Path;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::place::{Place, text};
use crate::program::run;

#[tokio::test(flavor = "multi_thread")]
async fn servers_and_subscriptions_are_operated_beside_the_service() {
    let place = Place::new().await;
    let (_serve, api) = place.serve();
    let order = api.order().await;
    place.pay(&order).await;
    api.until_paid(&order).await;
    api.claim(&order).await;
    let ok = |arguments: &[&str]| {
        let (code, said) = place.run(arguments, &[]);
        assert_eq!(code, 0, "{arguments:?}: {said}");
        said
    };
    let listed = |arguments: &[&str]| -> Value { serde_json::from_str(&ok(arguments)).unwrap() };

    let said = ok(&["server", "drain", "eu-de", "--note", "the contract ends"]);
    assert_eq!(said, "server eu-de is drained: nothing new is sold there\n");
    assert!(ok(&["server", "drain", "eu-de"]).contains("already drained"));
    let servers = listed(&["server", "list", "--json"]);
    assert_eq!((&servers[0]["takesOrders"], &servers[0]["slotsHeld"]), (&json!(false), &json!(1)));
    assert!(ok(&["server", "list"]).contains("never"), "no agent spoke");
    ok(&["server", "undrain", "eu-de"]);
    ok(&["server", "allow-removals", "eu-de"]);
    assert_eq!(ok(&["server", "takeover", "eu-de"]), "the next agent that speaks for eu-de is its agent\n");
    let said = ok(&["server", "takeover", "eu-de", "--no-agent", "--note", "by hand"]);
    assert_eq!(said, "server eu-de has no agent; 0 slots rest from now\n");
    ok(&["db", "restored", "--note", "a trial"]);
    let told = ok(&["explain", "eu-de"]);
    for event in [
        "server.drained",
        "the contract ends",
        "server.removals_allowed",
        "server.taken_over",
        "server.epoch_began",
        "a trial",
    ] {
        assert!(told.contains(event), "{event}: {told}");
    }

    let hash = text(&order, "paymentHash");
    let found = listed(&["subscription", "list", "--server", "eu-de", "--state", "active", "--json"]);
    let id = text(&found[0], "subscriptionId");
    assert_eq!((&found[0]["orderId"], found.as_array().unwrap().len()), (&order["orderId"], 1));
    let said = ok(&["subscription", "extend", id, "--days", "3", "--note", "an outage"]);
    assert!(said.starts_with("extended: it ended "), "{said}");
    ok(&["subscription", "suspend", hash, "--note", "spam"]);
    assert!(ok(&["subscription", "list"]).contains("suspended"));
    ok(&["subscription", "resume", id, "--note", "mended"]);
    ok(&["subscription", "rekey", id, "--note", "lost their disk"]);
    let shown = ok(&["subscription", "show", hash]);
    for part in ["3 days at", "by the operator", "no key yet", "an outage", "spam", "mended", "lost their disk", hash] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let port = shown.split("port ").nth(1).unwrap().split(':').next().unwrap();
    let had = listed(&["subscription", "port", "eu-de", port, "--at", "2999-01-01", "--json"]);
    assert_eq!(had, json!([{ "subscriptionId": id, "from": had[0]["from"], "until": null, "paymentHash": hash }]));
    assert!(ok(&["subscription", "port", "eu-de", port, "--at", "2001-01-01"]).starts_with("nobody had port"));
    let said = ok(&["subscription", "revoke", id, "--note", "abuse report 4711"]);
    let by_hand = "no agent speaks for server eu-de: make its WireGuard do the same by hand";
    assert_eq!(said, format!("revoked; open invoices: 0 closed by LND, 0 that end with their time; {by_hand}\n"));
    let told = ok(&["explain", hash]);
    assert!(told.contains("subscription.revoked") && told.contains(r#""by":"operator""#), "{told}");
    let (code, said) = place.run(&["subscription", "resume", id, "--note", "no"], &[]);
    assert!(code == 1 && said.contains("nothing was changed") && said.contains("revoked by the operator"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_found_by_what_an_operator_sees_of_it() {
    let place = Place::new().await;
    let (_serve, api) = place.serve();
    let order = api.order().await;
    place.pay(&order).await;
    api.until_paid(&order).await;
    let config = api.claim(&order).await;
    let ok = |arguments: &[&str]| {
        let (code, said) = place.run(arguments, &[]);
        assert_eq!(code, 0, "{arguments:?}: {said}");
        said
    };
    let found: Value = serde_json::from_str(&ok(&["subscription", "list", "--json"])).unwrap();
    let (id, key) = (text(&found[0], "subscriptionId"), text(&found[0], "publicKey"));
    let port = found[0]["port"].to_string();
    assert!(
        config.contains(&format!("myPubKey: {key}")) && config.contains(&format!("Forwarding: {port}")),
        "{config}"
    );
    assert!(config.contains(&format!("Address = {}/32", text(&found[0], "address"))), "{config}");
    let listed = ok(&["subscription", "list", "--server", "eu-de"]);
    assert!(listed.contains(&format!("{}  {port}  {}\n", text(&found[0], "address"), &key[..8])), "{listed}");
    for name in [id, key] {
        let told = ok(&["explain", name]);
        for part in [format!("subscription  {id} on eu-de"), "1 month at".into(), text(&order, "paymentHash").into()] {
            assert!(told.contains(&part), "{part}: {told}");
        }
    }
    assert!(ok(&["explain", text(&order, "orderId")]).contains("bought        1 month on eu-de for "));

    let day = &text(&found[0], "createdAt")[..10];
    assert!(ok(&["subscription", "port", "eu-de", &port, "--at", day]).contains(id), "at some time of that day");
    let before = format!("{day}T00:00:00Z");
    assert!(ok(&["subscription", "port", "eu-de", &port, "--at", &before]).starts_with("nobody had port"));
    let (code, said) = place.run(&["subscription", "list", "--server", "eu-xx"], &[]);
    assert_eq!((code, said.as_str()), (1, "wiretoll: no server is called eu-xx; there are: eu-de, us-east\n"));
    let (code, said) = place.run(&["subscription", "list", "--full-hash"], &[]);
    assert!(code == 2 && said.contains("unexpected argument"), "it lists no hashes: {said}");
}

#[test]
fn the_server_s_key_is_saved_and_taken_over_and_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let agent = "[agent]\nserver = \"eu-de\"\nwan_interface = \"eth0\"\npublic_address = \"203.0.113.7\"\n";
    std::fs::write(folder.path().join("wiretoll.toml"), agent).unwrap();
    let key = wiretoll::domain::keys::PrivateKey::from_random([7; 32]);
    std::fs::write(folder.path().join("key"), key.expose()).unwrap();
    let (code, said) = run(folder.path(), &["agent", "key", "export", "saved"], &[]);
    assert!(code == 1 && said.contains("there is no key yet"), "{said}");
    let (code, said) = run(folder.path(), &["agent", "key", "import", "key"], &[]);
    assert!(code == 0 && said.contains(&key.public_key().to_string()) && said.contains("systemctl restart"), "{said}");
    let (code, said) = run(folder.path(), &["agent", "key", "export", "saved"], &[]);
    assert!(code == 0 && said.contains(&key.public_key().to_string()) && !said.contains(&key.expose()), "{said}");
    assert_eq!(std::fs::read_to_string(folder.path().join("saved")).unwrap().trim(), key.expose());
}

/// What is in the database is not yet on the server: the command says which of both it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_called_done_where_the_server_s_agent_says_so() {
    let place = Place::new().await;
    let config = std::fs::read_to_string(place.path("wiretoll.toml")).unwrap();
    let agent = "[agent]\nserver = \"eu-de\"\nwan_interface = \"eth0\"\npublic_address = \"203.0.113.7\"\n\
                 socket = \"agent.sock\"\n";
    place.write("wiretoll.toml", format!("{config}\n{agent}"));
    let (_serve, api) = place.serve();
    let order = api.order().await;
    place.pay(&order).await;
    api.until_paid(&order).await;
    api.claim(&order).await;
    let hash = text(&order, "paymentHash");
    let change = |verb: &'static str| {
        let (code, said) = place.run(&["subscription", verb, hash, "--note", "spam"], &[]);
        assert_eq!(code, 0, "{verb}: {said}");
        said
    };
    let agent = Agent::at(&place.path("agent.sock"));
    let applied = agent.obey(&Value::Null, 0).await;

    let said = change("suspend");
    let revision = applied["revision"].as_i64().unwrap() + 1;
    for part in ["suspended; ", "NOT confirmed", &format!("{revision} or more as APPLIED"), "kernel ends its traffic"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("none of its traffic passes"), "{said}");
    let (_, listed) = place.run(&["server", "list", "--json"], &[]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((&listed[0]["behind"], &listed[1]["behind"]), (&json!(1), &Value::Null));
    assert_eq!(listed[0]["troubles"], json!(["nft refused: (left out)"]));
    let (_, listed) = place.run(&["server", "list"], &[]);
    assert!(listed.ends_with("\neu-de: nft refused: (left out)\n"), "{listed}");
    let mut applied = agent.obey(&applied, 0).await;
    let said = change("suspend");
    let none_open = "open invoices: 0 closed by LND, 0 that end with their time";
    let confirmed = "the agent of eu-de has confirmed it: none of its traffic passes";
    assert_eq!(said, format!("it was suspended already; {none_open}; {confirmed}\n"));

    for (verb, done) in
        [("resume", "its traffic passes"), ("rekey", "its old key is gone"), ("revoke", "its peer is gone")]
    {
        // It hears of the change while the command waits.
        let (agent, known) = (agent.clone(), applied.clone());
        let mut obeyed = JoinSet::new();
        obeyed.spawn(async move { agent.obey(&known, 30).await });
        let said = change(verb);
        assert!(said.contains(&format!("the agent of eu-de has confirmed it: {done}")), "{said}");
        applied = obeyed.join_next().await.unwrap().unwrap();
    }
}

/// The word of an agent that has no WireGuard.
#[derive(Clone)]
struct Agent(reqwest::Client);

impl Agent {
    fn at(socket: &Path) -> Self {
        Self(reqwest::Client::builder().unix_socket(socket).build().unwrap())
    }

    /// Hears what is new after `known`, and says that it stands so.
    async fn obey(&self, known: &Value, wait: u32) -> Value {
        let since = known["epoch"].as_str().map(|epoch| format!("epoch={epoch}&since={}", known["revision"]));
        let asked = format!("http://agent/agent/v1/eu-de/state?wait={wait}&{}", since.unwrap_or_default());
        let told: Value = self.0.get(asked).send().await.unwrap().json().await.unwrap();
        let report = json!({
            "protocol": 1, "agent_id": "0190a8f2-0000-7000-8000-00000000000a",
            "public_key": "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=",
            "applied": { "epoch": told.get("epoch"), "revision": told.get("revision"), "digest": null },
            "troubles": ["nft refused: 10.9.0.2"],
        });
        let said = self.0.post("http://agent/agent/v1/eu-de/report").json(&report).send().await.unwrap();
        assert_eq!(said.status().as_u16(), 200);
        told
    }
}
