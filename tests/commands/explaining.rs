//! `explain`, `openapi` and `backup`.

use serde_json::Value;
use tempfile::TempDir;

use crate::place::{Place, text};
use crate::program::{dev, run};

#[tokio::test(flavor = "multi_thread")]
async fn explain_and_log_tell_the_story_and_no_secret() {
    let place = Place::new().await;
    let (serve, api) = place.serve();
    let order = api.order().await;
    let (hash, id) = (text(&order, "paymentHash"), text(&order, "orderId"));
    let (code, before) = place.run(&["explain", hash], &[]);
    assert!(code == 0 && before.contains("state         pending") && before.contains("LND now       open"), "{before}");

    place.pay(&order).await;
    api.until_paid(&order).await;
    let config = api.claim(&order).await;
    let (code, after) = place.run(&["explain", hash], &[]);
    assert_eq!(code, 0, "{after}");
    for part in
        ["state         paid", "LND now       settled", "order.created", "order.paid", "payment       4500000 msat"]
    {
        assert!(after.contains(part), "{part}: {after}");
    }
    assert_eq!(place.run(&["explain", "--config", "wiretoll.toml", id], &[]), (0, after.clone()));
    let log = serve.terminate().1.join("\n");
    assert!(log.contains("a payment settled") && log.contains(id), "{log}");
    for secret in secrets(&place, &order, &config) {
        assert!([&before, &after, &log].iter().all(|text| !text.contains(&secret)), "{secret}\n{after}\n{log}");
    }

    for unknown in ["00".repeat(32).as_str(), "0190a8f2-0000-7000-8000-00000000000a"] {
        let (code, said) = place.run(&["explain", unknown], &[]);
        assert_eq!(
            (code, said.as_str()),
            (
                1,
                "wiretoll: no order, payment, subscription, account, API key or webhook is known by this id, hash or key\n"
            )
        );
    }
    assert_eq!(place.run(&["explain", "nonsense"], &[]).0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_webhooks_and_accounts_are_explained_with_who_did_what() {
    let place = Place::new().await;
    let (_serve, _api) = place.serve();
    let ok = |arguments: &[&str]| {
        let (code, said) = place.run(arguments, &[]);
        assert_eq!(code, 0, "{arguments:?}: {said}");
        said
    };
    let key = ok(&["api-key", "create", "--name", "Alice", "--scopes", "admin", "--quiet"]);
    let listed: Value = serde_json::from_str(&ok(&["api-key", "list", "--json"])).unwrap();
    let (key_id, account) = (text(&listed[0], "apiKeyId"), text(&listed[0], "accountId"));
    let added = ok(&["webhook", "add", "https://example.net/hooks", "--account", account, "--note", "on request"]);
    let webhook = added.lines().next().unwrap().trim_start_matches("webhook ").to_owned();
    ok(&["webhook", "rotate", &webhook]);
    ok(&["api-key", "revoke", key_id, "--note", "it leaked"]);

    let of_key = ok(&["explain", key_id]);
    for part in ["(Alice)", account, "account.api_key_created", "account.api_key_revoked", "it leaked"] {
        assert!(of_key.contains(part), "{part}: {of_key}");
    }
    let of_webhook = ok(&["explain", &webhook]);
    for part in ["https://example.net/hooks", "webhook.added", "webhook.rotated", "on request"] {
        assert!(of_webhook.contains(part), "{part}: {of_webhook}");
    }
    let of_account = ok(&["account", "show", account]);
    for part in ["https://example.net/hooks", "account.api_key_revoked", "webhook.rotated"] {
        assert!(of_account.contains(part), "{part}: {of_account}");
    }
    ok(&["webhook", "remove", &webhook]);
    let of_removed = ok(&["explain", &webhook]);
    assert!(
        of_removed.contains(&format!("{webhook}: removed")) && of_removed.contains("webhook.removed"),
        "{of_removed}"
    );
    assert!([of_key, of_webhook, of_account, of_removed].iter().all(|said| !said.contains(key.trim())));
}

/// All that must stay secret of an order, as it lies in the node, the config and the answer to the customer.
fn secrets(place: &Place, order: &Value, config: &str) -> Vec<String> {
    let journal = std::fs::read_to_string(place.path("node/journal.jsonl")).unwrap();
    let preimages = journal.split(r#""preimage":""#).skip(1).map(|rest| rest[..64].to_owned());
    let keys = config.lines().filter_map(|line| line.split_once("Key = "));
    let keys = keys.filter(|(name, _)| !name.starts_with("Public")).map(|(_, key)| key.to_owned());
    let instance_key = std::fs::read_to_string(place.path("instance.key")).unwrap();
    let instance_key = instance_key.lines().last().unwrap().trim_start_matches("1:").to_owned();
    let macaroon = hex::encode(std::fs::read(place.path("wiretoll.macaroon")).unwrap());
    let others = [instance_key, macaroon, text(order, "claimToken").to_owned(), text(order, "invoice").to_owned()];
    let secrets: Vec<_> = preimages.chain(keys).chain(others).collect();
    assert!(secrets.len() >= 7 && secrets.iter().all(|secret| secret.len() >= 44), "{secrets:?}");
    secrets
}

#[tokio::test(flavor = "multi_thread")]
async fn openapi_is_what_is_served_and_its_page_needs_no_internet() {
    let data = TempDir::new().unwrap();
    let (_dev, api) = dev(data.path());
    let (code, printed) = run(data.path(), &["openapi"], &[]);
    assert_eq!(code, 0);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert!(text(&printed, "openapi").starts_with("3.1"));
    let (status, served) = api.get("/openapi.json").await;
    assert_eq!((status, serde_json::from_str::<Value>(&served).unwrap()), (200, printed));

    let (status, page) = api.get("/docs").await; // redirected
    assert_eq!(status, 200);
    let references: Vec<_> =
        ["src=\"", "href=\""].iter().flat_map(|attribute| quoted_after(&page, attribute)).collect();
    assert!(references.len() >= 5, "{page}");
    for reference in references {
        assert!(!reference.contains("//"), "{reference}");
        let (status, file) = api.get(&format!("/docs/{}", reference.trim_start_matches("./"))).await;
        assert!(status == 200 && !file.is_empty(), "{reference}");
        if reference.ends_with("initializer.js") {
            assert!(file.contains("\"/openapi.json\"") && !file.contains("://"), "{file}");
        }
        // Nothing is imported or fetched by a style from elsewhere.
        let is_style = reference.split('.').next_back() == Some("css");
        assert!(!is_style || !file.contains("url(http") && !file.contains("@import"), "{reference}");
    }
}

fn quoted_after<'t>(text: &'t str, marker: &str) -> Vec<&'t str> {
    text.split(marker).skip(1).filter_map(|rest| rest.split_once('"')).map(|(quoted, _)| quoted).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_made_while_serving_and_holds_the_orders() {
    let place = Place::new().await;
    let (code, said) = place.run(&["backup", "copy.db"], &[]);
    assert!(code == 1 && said.contains("there is no database at"), "{said}");
    assert!(!place.path("copy.db").exists() && !place.path("wiretoll.db").exists());

    let (_serve, api) = place.serve();
    let order = api.order().await;
    let (code, said) = place.run(&["backup", "copy.db"], &[]);
    assert!(code == 0 && said.contains("copied to copy.db"), "{said}");
    let on_the_copy = [("WIRETOLL_DATABASE__URL", "sqlite:copy.db")];
    let (code, story) = place.run(&["explain", text(&order, "paymentHash")], &on_the_copy);
    assert!(code == 0 && story.contains("state         pending"), "{story}");

    let before = std::fs::read(place.path("copy.db")).unwrap();
    let (code, said) = place.run(&["backup", "copy.db"], &[]);
    assert!(code == 1 && said.contains("copy.db exists already"), "{said}");
    assert_eq!(std::fs::read(place.path("copy.db")).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_postgres_is_left_to_pg_dump() {
    let Ok(server) = std::env::var("TEST_POSTGRES_URL") else { return };
    let place = Place::new().await;
    let url = fresh_postgres(&server).await;
    let (code, said) = place.run(&["backup", "copy.db"], &[("WIRETOLL_DATABASE__URL", &url)]);
    assert!(code == 1 && said.contains("back it up with pg_dump"), "{said}");
    assert!(!place.path("copy.db").exists());
    assert_eq!(place.run(&["config", "check"], &[("WIRETOLL_DATABASE__URL", &url)]).0, 0);
}

async fn fresh_postgres(server: &str) -> String {
    use sqlx::Connection as _;
    let name = format!("commands_{}", hex::encode(wiretoll::random::bytes::<16>().unwrap()));
    let mut connection = sqlx::PgConnection::connect(server).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let (server, _) = server.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}
