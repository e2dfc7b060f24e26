//! The files for whoever watches the shop: every metric that they name is told by a shop that runs, with the labels that
//! they name, and every alarm has its section in the operator's handbook.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

use wiretoll::config::RateSource;

use crate::agent::Agent;
use crate::live_prices::nobody_answers;
use crate::metrics::{Page, with_metrics};
use crate::shop::{On, Shop};

const ALERTS: &str = include_str!("../../deploy/prometheus/alerts.yml");
const BOARD: &str = include_str!("../../deploy/grafana/wiretoll.json");
const HANDBOOK: &str = include_str!("../../docs/OPERATING.md");

/// Each metric with the names of its labels, as a page shows them.
type Shown = BTreeMap<String, BTreeSet<String>>;

fn rules() -> Vec<Yaml> {
    let files = YamlLoader::load_from_str(ALERTS).unwrap();
    let groups = files[0]["groups"].as_vec().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_vec().unwrap().clone()).collect()
}

/// Every expression of the board.
fn board_expressions() -> Vec<String> {
    let board: Value = serde_json::from_str(BOARD).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// The metrics of ours in an expression, each with the labels that its braces ask for.
fn metrics_in(expression: &str) -> Vec<(String, Vec<String>)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find(is_name) {
        let name: String = rest[at..].chars().take_while(|c| is_name(*c)).collect();
        rest = &rest[at + name.len()..];
        if name.starts_with("wiretoll_") || name.starts_with("process_") {
            let braces =
                rest.strip_prefix('{').and_then(|braces| braces.split_once('}')).map_or("", |(inner, _)| inner);
            let labels =
                braces.split(',').filter_map(|label| label.split_once(['=', '!'])).map(|(key, _)| key.to_owned());
            found.push((name, labels.filter(|key| key != "job" && key != "instance").collect()));
        }
    }
    found
}

fn shown(page: &Page) -> Shown {
    let mut shown = Shown::new();
    for line in page.text().lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let keys = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        shown.entry(name.to_owned()).or_default().extend(keys);
    }
    shown
}

/// A shop that has sold something, that asks an exchange in vain, that has an agent, and whose node has failed it once.
async fn a_page() -> Page {
    let shop = Shop::open_with(On::Sqlite, |config| {
        with_metrics(config);
        config.rate = Some(RateSource::Live(nobody_answers()));
    })
    .await;
    shop.until("an exchange was asked", || async {
        Page::of(&shop).await.text().contains("rate_source_failures_total{")
    })
    .await;
    shop.buy().await;
    Agent::of(shop.app()).work(shop.app()).await;
    shop.node.go_down().await.unwrap();
    shop.until("a call has failed", || async { Page::of(&shop).await.text().contains("lnd_call_errors_total{") }).await;
    Page::of(&shop).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_is_watched_is_told() {
    let shown = shown(&a_page().await);
    let alerts = rules().into_iter().map(|rule| rule["expr"].as_str().unwrap().to_owned());
    let mut watched = BTreeSet::new();
    for expression in alerts.chain(board_expressions()) {
        for (name, labels) in metrics_in(&expression) {
            let known = shown.get(&name).unwrap_or_else(|| panic!("no {name}, as in: {expression}"));
            assert!(
                labels.iter().all(|label| known.contains(label)),
                "{name} has {known:?}, and not all of {labels:?}"
            );
            watched.insert(name);
        }
    }
    assert!(watched.len() > 20, "{watched:?}");
    // And the other way: what is told is watched, or it is told for nothing.
    for name in shown.keys() {
        let of_histogram = name.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count");
        assert!(watched.iter().any(|watched| watched.starts_with(of_histogram)), "nobody watches {name}");
    }
}

#[test]
fn every_alarm_says_where_it_is_explained() {
    let sections: BTreeSet<_> = HANDBOOK.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let names: BTreeSet<_> = rules().iter().map(|rule| rule["alert"].as_str().unwrap().to_owned()).collect();
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        assert!(sections.contains(name), "docs/OPERATING.md has no section {name}");
        let runbook = rule["annotations"]["runbook"].as_str().unwrap();
        assert_eq!(runbook, format!("docs/OPERATING.md#{}", name.to_lowercase()));
        assert!(["critical", "warning"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
    }
    for section in sections {
        assert!(names.contains(section), "no alarm is called {section}");
    }
}

/// A section's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

#[test]
fn every_link_of_the_handbook_leads_somewhere() {
    let anchors: BTreeSet<_> = HANDBOOK
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches(['#', ' '])))
        .collect();
    let links = HANDBOOK.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut count = 0;
    for link in links {
        count += 1;
        match link.strip_prefix('#') {
            Some(inside) => assert!(anchors.contains(inside), "#{inside}"),
            None => assert!(docs.join(link).exists(), "{link}"),
        }
    }
    assert!(count > 20, "{count}");
}

/// A metric that the handbook names by its whole name is one.
#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_handbook_is_told() {
    let shown = shown(&a_page().await);
    let quoted = HANDBOOK.split('`').filter(|quoted| quoted.starts_with("wiretoll_"));
    let names: BTreeSet<_> = quoted.collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        assert!(shown.contains_key(name), "{name}");
    }
}
