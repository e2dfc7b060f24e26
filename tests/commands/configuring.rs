//! `config example` and `config check`.

use tempfile::TempDir;
use wiretoll::lnd::macaroon::BAKE;

use crate::place::{Place, config};
use crate::program::run;

#[tokio::test(flavor = "multi_thread")]
async fn serve_and_config_check_report_all_mistakes_at_once() {
    let place = Place::new().await;
    let wrong = config("127.0.0.1:1").replace("https://", "http://").replace("months = 1", "months = 0");
    let wrong = wrong.replacen("10.9.", "8.9.", 1);
    place.write("wrong.toml", wrong);
    for arguments in [["serve", "--config", "wrong.toml"].as_slice(), &["config", "check", "-c", "wrong.toml"]] {
        let (code, said) = place.run(arguments, &[]);
        assert_eq!(code, 1, "{said}");
        for mistake in ["3 mistakes", "lnd.address: ", "plans[0].months: ", "servers[0].pool: "] {
            assert!(said.contains(mistake), "{mistake}: {said}");
        }
    }
    let (code, said) = place.run(&["config", "check", "--config", "nowhere.toml"], &[]);
    assert!(code == 1 && said.contains("wiretoll config example > nowhere.toml"), "{said}");
    let (code, said) = place.run(&["config", "check", "--config", "."], &[]);
    assert!(code == 1 && said.contains("cannot be read") && !said.contains("config example"), "{said}");
    assert_eq!(place.run(&["config", "check"], &[]), (0, "wiretoll.toml is in order\n".to_owned()));
    assert!(!place.path("wiretoll.db").exists() && !place.path("instance.key").exists(), "it makes nothing");
    assert_eq!(place.run(&["config", "check"], &[("WIRETOLL_CONFIG", "wrong.toml")]).0, 1);
    let (code, said) = place.run(&["config", "check"], &[("WIRETOLL_LND__CERTIFICATE_FILE", "no.cert")]);
    assert!(code == 1 && said.contains("no.cert: No such file") && said.contains("LND keeps in ~/.lnd"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn config_check_reports_every_bad_file_at_once() {
    let place = Place::new().await;
    place.write("wiretoll.macaroon", "no macaroon");
    place.write("instance.key", "no key");
    let variables = [("WIRETOLL_LND__CERTIFICATE_FILE", "no.cert")];
    let (code, said) = place.run(&["config", "check"], &variables);
    assert_eq!(code, 1, "{said}");
    for mistake in ["wiretoll: 3 mistakes:", "\n  the settings", "wiretoll.macaroon: ", "no.cert: ", "instance.key "] {
        assert!(said.contains(mistake), "{mistake}: {said}");
    }
    assert!(!place.path("wiretoll.db").exists());

    place.write("wiretoll.macaroon", place.node.service_macaroon().await.unwrap().to_bytes());
    let (code, said) = place.run(&["config", "check"], &[]);
    assert!(code == 1 && said.starts_with("wiretoll: the instance key file ") && said.lines().count() == 1, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn config_check_says_what_would_not_be_sold() {
    let place = Place::new().await;
    let said = |variables: &[(&str, &str)]| {
        let (code, said) = place.run(&["config", "check"], variables);
        assert!(code == 0 && said.starts_with("wiretoll.toml is in order\n"), "{said}");
        said
    };
    assert_eq!(said(&[]).lines().count(), 1);
    let in_dollars = std::fs::read_to_string(place.path("wiretoll.toml")).unwrap();
    let in_dollars = in_dollars.replace("sats = 4500", "usd = \"3.00\"");
    let in_dollars = in_dollars.lines().filter(|line| !line.starts_with("public_key")).collect::<Vec<_>>().join("\n");
    let rate = "\n[rate]\nusd_per_btc = \"100000\"\nas_of = \"2026-01-01T00:00:00Z\"\nmax_age = \"24h\"\n";
    place.write("wiretoll.toml", in_dollars + rate);
    let both = said(&[]);
    assert!(both.contains("server eu-de has no public_key") && both.contains("from 2026-01-01"), "{both}");
    let now = wiretoll::clock::Clock::System.now().to_string();
    assert!(!said(&[("WIRETOLL_RATE__AS_OF", &now)]).contains("dollars"), "a fresh rate sells");
}

#[test]
fn the_example_is_what_the_loader_takes() {
    let folder = TempDir::new().unwrap();
    let (code, example) = run(folder.path(), &["config", "example"], &[]);
    assert_eq!((code, example.as_str()), (0, wiretoll::config::example()));
    std::fs::write(folder.path().join("wiretoll.toml"), example).unwrap();
    // Nothing is wrong with it but that there is no node: its macaroon is the first thing that is missed.
    let (code, checked) = run(folder.path(), &["config", "check"], &[]);
    assert!(code == 1 && checked.contains("wiretoll.macaroon: No such file") && checked.contains(BAKE), "{checked}");
}
