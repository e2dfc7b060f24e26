//! `api-key`, `account` and `audit`, beside a service that runs on the same database.

use reqwest::Method;
use serde_json::{Value, json};

use crate::api::Api;
use crate::place::{Place, text};

/// What follows a word at the beginning of a line.
fn after<'t>(said: &'t str, word: &str) -> &'t str {
    said.lines().find_map(|line| line.strip_prefix(word)).unwrap_or_else(|| panic!("no {word}: {said}")).trim()
}

async fn ask(api: &Api, key: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let request = api.client.request(method, api.url(path)).bearer_auth(key);
    let request = body.iter().fold(request, reqwest::RequestBuilder::json);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_used_listed_and_revoked() {
    let place = Place::new().await;
    let (_serve, api) = place.serve();
    api.order().await; // it can be paid
    let mut said = String::new();
    let mut ok = |arguments: &[&str]| {
        let (code, told) = place.run(arguments, &[]);
        assert_eq!(code, 0, "{arguments:?}: {told}");
        said += &told;
        told
    };

    let (code, made) = place.run(&["api-key", "create", "--name", "Alice", "--scopes", "admin"], &[]);
    assert_eq!(code, 0, "{made}");
    let (account, id, key) = (after(&made, "account "), after(&made, "key id "), after(&made, "key  "));
    assert!(key.starts_with("sk_test_") && key.len() == 72, "{made}");
    assert!(after(&made, "scopes ") == "admin" && made.ends_with("it is not shown again.\n"), "{made}");
    let create =
        ["api-key", "create", "--name", "her shop", "--scopes", "orders,keys", "--account", account, "--quiet"];
    let (code, second) = place.run(&create, &[]);
    let second = second.trim();
    assert!(code == 0 && second.starts_with("sk_test_") && second.lines().count() == 1, "{second}");
    let order = json!({ "serverId": "eu-de", "duration": 1 });
    let (status, order) = ask(&api, second, Method::POST, "/api/public/v1/subscription/create", Some(order)).await;
    assert_eq!(status, 200, "{order}");
    place.pay(&order).await;
    api.until_paid(&order).await;

    let keys: Value = serde_json::from_str(&ok(&["api-key", "list", "--account", account, "--json"])).unwrap();
    assert_eq!((&keys[0]["name"], &keys[1]["name"]), (&json!("her shop"), &json!("Alice")));
    assert!(keys[0]["lastUsedAt"].is_string() && keys[1]["lastUsedAt"].is_null(), "{keys}");
    let listed = ok(&["api-key", "list"]);
    assert!(listed.contains(&format!("{}...", &key[..16])) && listed.contains(" good "), "{listed}");
    let page = ok(&["api-key", "list", "--limit", "1"]);
    let more = format!("there may be more: --before {}\n", text(&keys[0], "apiKeyId"));
    assert!(page.ends_with(&more) && !page.contains(id), "{page}");
    assert!(ok(&["api-key", "list", "--before", text(&keys[0], "apiKeyId")]).contains(id));
    let shown = ok(&["account", "show", account]);
    for part in ["subscription  ", "her shop", "never used", "account.api_key_created"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(ok(&["account", "list"]).contains(account));
    let accounts: Value = serde_json::from_str(&ok(&["account", "list", "--json"])).unwrap();
    assert_eq!(accounts[0]["accountId"], account);

    let second_id = text(&keys[0], "apiKeyId");
    let revoke = ["api-key", "revoke", second_id, "--note", "found in a public repository"];
    assert_eq!(ok(&revoke), "revoked: it is good for nothing any more\n");
    assert_eq!(ok(&revoke), "it was revoked before; nothing was changed\n");
    assert_eq!(ask(&api, second, Method::GET, "/api/v1/account", None).await.0, 401);
    assert_eq!(ask(&api, key, Method::GET, "/api/v1/account", None).await.0, 200);
    assert!(ok(&["api-key", "list"]).contains(" revoked "));
    assert!(ok(&["account", "show", account]).contains("found in a public repository"));
    for secret in [key, second] {
        assert!(!said.contains(&secret[16..]), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_word_about_accounts_says_what_to_do() {
    let place = Place::new().await;
    let (_serve, _api) = place.serve();
    let nobody = "0190a8f2-0000-7000-8000-00000000000a";
    for (arguments, code, expected) in [
        (
            vec!["api-key", "create", "--name", "x", "--scopes", "orders", "--account", nobody],
            1,
            "no key was made: no account has this id",
        ),
        (
            vec!["api-key", "create", "--name", "x", "--scopes", "everything"],
            2,
            "orders, subscriptions, referrals, webhooks, keys, admin",
        ),
        (vec!["api-key", "create", "--name", "", "--scopes", "orders"], 2, "1 to 100 characters"),
        (vec!["api-key", "create", "--scopes", "orders"], 2, "--name"),
        (vec!["api-key", "revoke", nobody, "--note", "x"], 1, "nothing was changed: no API key has this id"),
        (vec!["api-key", "revoke", nobody], 2, "--note"),
        (vec!["account", "show", nobody], 1, "no account has this id"),
        (vec!["audit", "list", "--by", "somebody"], 2, "operator, account, agent"),
        (vec!["audit", "list", "--since", "yesterday"], 2, "2026-11-22"),
    ] {
        let (found, said) = place.run(&arguments, &[]);
        assert!(found == code && said.contains(expected), "{arguments:?}: {found} {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_did_what_is_found_by_actor_account_subject_and_time() {
    let place = Place::new().await;
    let (_serve, api) = place.serve();
    let note = ["--note", "a customer of ours"];
    let create = ["api-key", "create", "--name", "Alice", "--scopes", "admin"];
    let (_, made) = place.run(&[&create[..], &note].concat(), &[]);
    let (account, key) = (after(&made, "account "), after(&made, "key  "));
    let new = json!({ "name": "another", "scopes": ["orders"] });
    let (status, another) = ask(&api, key, Method::POST, "/api/v1/account/api-keys", Some(new)).await;
    assert_eq!(status, 200, "{another}");
    let hook = json!({ "url": "https://example.net/hooks?token=hunter2" });
    let (status, hook) = ask(&api, key, Method::POST, "/api/v1/account/webhooks", Some(hook)).await;
    assert_eq!(status, 200, "{hook}");
    assert_eq!(place.run(&["server", "drain", "eu-de"], &[]).0, 0);

    let types = |options: &[&str]| {
        let (code, said) = place.run(&[&["audit", "list", "--json"], options].concat(), &[]);
        assert_eq!(code, 0, "{said}");
        // Beside a full page it says how to ask for more.
        let acts: Vec<Value> = serde_json::from_str(said.split("there may be more").next().unwrap()).unwrap();
        acts.iter().map(|act| text(act, "type").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(types(&["--limit", "3"]), ["server.drained", "webhook.added", "account.api_key_created"]);
    assert_eq!(types(&["--by", "account"]), ["webhook.added", "account.api_key_created"]);
    assert_eq!(types(&["--account", account]), types(&["--by", "account"]));
    assert_eq!(types(&["--about", "eu-de"]), ["server.drained"]);
    assert_eq!(types(&["--about", text(&hook, "id")]), ["webhook.added"]);
    assert_eq!(types(&["--since", "2999-01-01"]), [""; 0]);
    let (_, listed) = place.run(&["audit", "list"], &[]);
    for part in [format!("account {account}"), "a customer of ours".into(), "API key ".into(), "example.net".into()] {
        assert!(listed.contains(&part), "{part}: {listed}");
    }
    for secret in [&key[16..], &text(&another, "key")[16..], text(&hook, "secret"), "hunter2"] {
        assert!(!listed.contains(secret), "{listed}");
    }
}
