//! One server, one key, one agent.

use super::shop::Shop;
use crate::lab::{self, Lab};

const OTHER: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAUE=";

#[test]
fn a_key_is_exported_and_imported_and_another_one_only_on_purpose() {
    lab::run(async |lab: Lab| {
        let shop = Shop::prepare(&lab);
        assert_eq!(shop.wiretoll(&["agent", "key", "export", "backup"]).0, Some(0));
        let backup = std::fs::read_to_string(shop.path("backup")).unwrap();
        assert_eq!(backup.trim(), lab.private_key.expose().as_str());
        assert_ne!(shop.wiretoll(&["agent", "key", "export", "backup"]).0, Some(0), "a backup is not written over");

        std::fs::write(shop.path("other"), OTHER).unwrap();
        let (code, said) = shop.wiretoll(&["agent", "key", "import", "other"]);
        assert!(code != Some(0) && said.contains("--replace"), "{said}");
        assert_eq!(shop.wiretoll(&["agent", "key", "import", "--replace", "other"]).0, Some(0));
        assert_eq!(shop.wiretoll(&["agent", "key", "import", "--replace", "backup"]).0, Some(0));
        let kept = std::fs::read_to_string(shop.path("agent/wireguard.key")).unwrap();
        assert_eq!(kept.trim(), backup.trim());
    });
}

#[test]
fn an_agent_with_another_key_than_the_server_is_sold_with_ends_and_says_what_to_do() {
    lab::run(async |lab: Lab| {
        let mut shop = Shop::open(&lab).await;
        shop.agent = None;
        std::fs::write(shop.path("other"), OTHER).unwrap();
        assert_eq!(shop.wiretoll(&["agent", "key", "import", "--replace", "other"]).0, Some(0));

        let (code, said) = shop.wiretoll(&["agent"]);

        assert_ne!(code, Some(0));
        assert!(said.contains("wiretoll agent key import"), "{said}");
    });
}

#[test]
fn a_second_agent_waits_and_the_first_goes_on() {
    lab::run(async |lab: Lab| {
        let shop = Shop::open(&lab).await;
        let copy = shop.path("copy");
        std::fs::create_dir(&copy).unwrap();
        std::fs::copy(shop.path("agent/wireguard.key"), copy.join("wireguard.key")).unwrap();
        let config = std::fs::read_to_string(shop.path("wiretoll.toml")).unwrap();
        std::fs::write(shop.path("second.toml"), config + "state_folder = \"copy\"\nsocket = \"agent.sock\"\n")
            .unwrap();

        let second = shop.run_agent(&["--config", "second.toml"]);

        second.says("another agent speaks for server");
        assert!(shop.sell().await.is_provisioned, "the first one is at work");
    });
}
