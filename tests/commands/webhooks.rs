//! `webhook`, beside a service that runs on the same database.

use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::place::{Place, text};
use crate::receiver::{Answer, Receiver};

/// Of this machine alone, and for the operator's own webhooks.
const ALLOWED: (&str, &str) = ("WIRETOLL_EGRESS__ALLOW", "127.0.0.1");
/// In a URL, where some receivers have theirs.
const TOKEN: &str = "hunter2";

/// An operator who types commands, and all that those said.
struct Operator<'p> {
    place: &'p Place,
    said: String,
}

impl<'p> Operator<'p> {
    const fn at(place: &'p Place) -> Self {
        Self { place, said: String::new() }
    }

    fn run(&mut self, arguments: &[&str]) -> (i32, String) {
        let (code, said) = self.place.run(arguments, &[ALLOWED]);
        self.said += &said;
        (code, said)
    }

    fn ok(&mut self, arguments: &[&str]) -> String {
        let (code, said) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {said}");
        said
    }

    fn refused(&mut self, arguments: &[&str]) -> String {
        let (code, said) = self.run(arguments);
        assert_eq!(code, 1, "{arguments:?}: {said}");
        said
    }

    fn json(&mut self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(arguments)).unwrap()
    }
}

/// What follows a word at the beginning of a line.
fn after<'t>(said: &'t str, word: &str) -> &'t str {
    said.lines().find_map(|line| line.strip_prefix(word)).unwrap_or_else(|| panic!("no {word}: {said}")).trim()
}

async fn until(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if happened().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("it did not happen in a minute: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_added_tried_told_and_repeated() {
    let (place, receiver) = (Place::new().await, Receiver::start().await);
    let (_serve, api) = place.serve_with(&[ALLOWED]);
    let order = api.order().await;
    let mut operator = Operator::at(&place);
    let path = format!("/hooks?token={TOKEN}");
    let url = receiver.url(&path);
    let host = receiver.url("").replace("http://", "");

    let added = place.run(&["webhook", "add", &url, "--events", "order.paid", "--note", "the books"], &[ALLOWED]);
    assert_eq!(added.0, 0, "{}", added.1);
    let (id, secret) = (after(&added.1, "webhook "), after(&added.1, "secret "));
    assert!(Webhook::new(secret).is_ok() && added.1.ends_with("it is not shown again.\n"), "{}", added.1);
    let said = operator.ok(&["webhook", "test", id]);
    assert_eq!(said, "delivered: delivered (204)\n");
    assert!(receiver.at(&path)[0].is_signed_with(secret));

    place.pay(&order).await;
    api.until_paid(&order).await;
    until("it was told", async || receiver.types(&path).contains(&"order.paid".to_owned())).await;
    let order_id = text(&order, "orderId");
    let told = operator.json(&["webhook", "deliveries", "--webhook", id, "--about", order_id, "--json"]);
    assert_eq!(
        (told.as_array().unwrap().len(), &told[0]["type"], &told[0]["host"]),
        (1, &json!("order.paid"), &json!(host))
    );
    let delivery = text(&told[0], "id");
    let explained = operator.ok(&["explain", order_id]);
    assert!(explained.contains(&format!("to {host} ({id})")), "{explained}");
    let listed = operator.ok(&["webhook", "deliveries", "--type", "order.paid"]);
    assert!(listed.contains(delivery) && listed.contains(&format!("order {order_id}")), "{listed}");

    assert_eq!(operator.ok(&["webhook", "redeliver", delivery]), "1 will be delivered again by the service\n");
    until("it was told again", async || receiver.types(&path).iter().filter(|one| *one == "order.paid").count() == 2)
        .await;
    let ids: Vec<_> = receiver.at(&path)[1..].iter().map(|told| told.header("webhook-id").to_owned()).collect();
    assert_eq!(ids[0], ids[1], "by which its receiver knows it");

    receiver.answers(&path, Answer::status(500));
    let said = operator.refused(&["webhook", "test", id]);
    assert!(said.starts_with("wiretoll: it was not delivered: refused (500); the service tries again at 20"), "{said}");
    assert!(operator.ok(&["webhook", "list"]).contains(" failing since 20"));
    let waiting = operator.json(&["webhook", "deliveries", "--state", "pending", "--json"]);
    assert_eq!((&waiting[0]["outcome"], &waiting[0]["status"]), (&json!("refused"), &json!(500)));

    let said = operator.ok(&["explain", order_id]) + &operator.ok(&["webhook", "deliveries", "--json"]);
    assert!(!said.contains(TOKEN), "whom, and not by which URL: {said}");
    assert!(!operator.said.contains(secret), "{}", operator.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_rotated_changed_disabled_enabled_and_removed() {
    let (place, receiver) = (Place::new().await, Receiver::start().await);
    let (_serve, _api) = place.serve_with(&[ALLOWED]);
    let mut operator = Operator::at(&place);
    let added = place.run(&["webhook", "add", &receiver.url("/a")], &[ALLOWED]).1;
    let (id, old) = (after(&added, "webhook "), after(&added, "secret "));
    let rotated = place.run(&["webhook", "rotate", id, "--note", "it was in a chat"], &[ALLOWED]).1;
    let new = after(&rotated, "secret ");
    assert!(rotated.contains("the one before signs besides until 20") && new != old, "{rotated}");
    operator.ok(&["webhook", "test", id]);
    let test = receiver.at("/a").remove(0);
    assert!(test.is_signed_with(old) && test.is_signed_with(new));

    let elsewhere = receiver.url("/b");
    let change = ["webhook", "change", id, "--url", &elsewhere, "--events", "order.*,server.*"];
    let told = format!("webhook {id} tells {elsewhere} of order.*,server.*");
    assert_eq!(operator.ok(&change), format!("{told}\n"));
    assert_eq!(operator.ok(&change), format!("{told} already\n"));
    let (code, said) = operator.run(&["webhook", "change", id]);
    assert!(code == 2 && said.contains("--url") && said.contains("--events"), "{said}");
    assert_eq!(operator.ok(&["webhook", "disable", id, "--note", "it moves"]), format!("webhook {id} is disabled\n"));
    let said = operator.refused(&["webhook", "test", id]);
    assert_eq!(said, "wiretoll: nothing was sent: this webhook is disabled: enable it first\n");
    let listed = operator.ok(&["webhook", "list"]);
    assert!(listed.contains(": by hand ") && listed.contains(&elsewhere) && listed.contains(" you "), "{listed}");
    assert_eq!(operator.ok(&["webhook", "enable", id]), format!("webhook {id} is enabled\n"));
    assert_eq!(operator.ok(&["webhook", "enable", id]), format!("webhook {id} is already enabled\n"));

    receiver.answers("/b", Answer::status(410));
    let said = operator.refused(&["webhook", "test", id]);
    assert!(said.starts_with("wiretoll: it was not delivered: gone (410)"), "{said}");
    assert!(operator.ok(&["webhook", "list"]).contains(": it answered 410 "));
    let as_json = operator.json(&["webhook", "list", "--json"]);
    assert_eq!((&as_json[0]["kind"], &as_json[0]["disabledBecause"]), (&json!("operator"), &json!("gone")));
    receiver.answers("/b", Answer::status(204));
    operator.ok(&["webhook", "enable", id]);
    let said = operator.ok(&["webhook", "redeliver", "--failed-of", id]);
    assert_eq!(said, "1 will be delivered again by the service\n");

    let acts = operator.ok(&["audit", "list", "--about", id, "--by", "operator"]);
    for act in ["added", "rotated", "changed", "disabled", "enabled", "redelivered", "test"] {
        assert!(acts.contains(&format!(" webhook.{act} ")), "{act}: {acts}");
    }
    assert!(acts.contains("it was in a chat") && acts.contains("it moves"), "{acts}");
    assert_eq!(operator.ok(&["webhook", "remove", id]), format!("removed: webhook {id}\n"));
    assert!(!operator.ok(&["webhook", "list"]).contains(id));
    assert!(!operator.said.contains(old) && !operator.said.contains(new), "{}", operator.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_webhook_is_refused_with_what_to_do() {
    let place = Place::new().await;
    let (_serve, _api) = place.serve();
    let mut operator = Operator::at(&place);
    let nobody = "0190a8f2-0000-7000-8000-00000000000a";
    let one = "https://example.net/hooks";
    for (arguments, expected) in [
        (vec!["add", "https://10.0.0.7/"], "nothing was added: this URL is not called: the host has no public address"),
        (
            vec!["add", "https://example.net:25/"],
            "nothing was added: this URL is not called: this port is not connected to",
        ),
        (
            vec!["add", one, "--events", "order.payed"],
            "order.payed is no type of event that is told here; name one such",
        ),
        (vec!["add", one, "--account", nobody], "nothing was added: no account has this id"),
        (vec!["add", one, "--account", nobody, "--events", "server.*"], "server.* is no type of event"),
        (vec!["remove", nobody], "nothing was removed: no webhook has this id"),
        (vec!["rotate", nobody], "the secret is what it was: no webhook has this id"),
        (vec!["enable", nobody], "nothing was changed: no webhook has this id"),
        (vec!["test", nobody], "nothing was sent: no webhook has this id"),
        (vec!["redeliver", nobody], "nothing is delivered again: no delivery has this id"),
        (vec!["redeliver", "--failed-of", nobody], "nothing is delivered again: no webhook has this id"),
    ] {
        let said = operator.refused(&[&["webhook"], arguments.as_slice()].concat());
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    for (arguments, expected) in [
        (["add", "example.net"], "begins with https://"),
        (["test", "the-first"], "WEBHOOK ID"),
        (["deliveries", "--state=lost"], "pending, delivered, failed"),
    ] {
        let (code, said) = operator.run(&[&["webhook"], arguments.as_slice()].concat());
        assert!(code == 2 && said.contains(expected), "{arguments:?}: {said}");
    }
    for _ in 0..10 {
        operator.ok(&["webhook", "add", one]);
    }
    let said = operator.refused(&["webhook", "add", one]);
    assert_eq!(said, "wiretoll: nothing was added: there are 10 webhooks already: remove one first\n");
    // Two things that are called so would not be two.
    let (code, said) = operator.run(&["webhook", "redeliver"]);
    assert!(code == 2 && said.contains("--failed-of"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_s_webhooks_are_changed_there() {
    let (place, receiver) = (Place::new().await, Receiver::start().await);
    let config = std::fs::read_to_string(place.path("wiretoll.toml")).unwrap();
    let url = receiver.url("/hooks");
    place.write("webhook.secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
    place
        .write("wiretoll.toml", format!("{config}\n[[webhooks]]\nurl = \"{url}\"\nsecret_file = \"webhook.secret\"\n"));
    let (_serve, _api) = place.serve_with(&[ALLOWED]);
    let mut operator = Operator::at(&place);
    let listed = operator.json(&["webhook", "list", "--json"]);
    let id = text(&listed[0], "id");
    assert!(operator.ok(&["webhook", "list"]).contains("you (configuration)"));
    for arguments in
        [vec!["remove", id], vec!["rotate", id], vec!["disable", id], vec!["change", id, "--events", "order.*"]]
    {
        let said = operator.refused(&[&["webhook"], arguments.as_slice()].concat());
        assert!(said.contains("this webhook is in the configuration: change it there, and restart"), "{said}");
    }
    operator.ok(&["webhook", "test", id]);
    assert!(receiver.at("/hooks")[0].is_signed_with("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
}
