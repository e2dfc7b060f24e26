//! The files to deploy it with: what they set is known to the program, and they give it no right that it does not need.

use std::path::Path;
use std::process::Command;

use wiretoll::clock::Clock;
use wiretoll::config::Config;
use yaml_rust2::{Yaml, YamlLoader};

use crate::shop::{On, Shop};

fn deployed(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The settings that a file gives: a variable and its value each.
fn settings_in(text: &str, separator: char) -> Vec<(String, String)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let setting = |line: &str| {
        let (name, value) = line[line.find("WIRETOLL_")?..].split_once(separator)?;
        Some((name.to_owned(), value.trim().trim_end_matches('\\').trim().to_owned()))
    };
    lines.filter_map(setting).collect()
}

/// Every variable names a place in the configuration, and its value is one that is taken there.
#[test]
fn the_variables_of_the_deployed_files_are_settings() {
    for (file, separator) in [("Dockerfile", '='), ("deploy/docker-compose.yml", ':')] {
        let settings = settings_in(&deployed(file), separator);
        assert!(settings.len() >= 2, "{file}: {settings:?}");
        // What docker fills in.
        let filled = settings.into_iter().map(|(name, value)| {
            let value = value
                .strip_prefix("${")
                .and_then(|value| value.split_once(":-"))
                .map_or(value.clone(), |(_, default)| default.trim_end_matches('}').to_owned());
            (name, value)
        });
        let example = wiretoll::config::example();
        let parsed = Config::parse(example, Path::new("/etc/wiretoll"), filled, Clock::System.now());
        // The example's rate may be too old by now, which is no mistake of these files.
        assert!(parsed.is_ok(), "{file}: {}", parsed.unwrap_err());
    }
}

/// Docker is not at hand where the tests run; what the build reads is left out of its context by default.
#[test]
fn the_image_s_build_sees_every_crate_of_ours() {
    let context = deployed(".dockerignore");
    let manifest = deployed("Cargo.toml");
    let ours: Vec<_> = manifest.split("path = \"").skip(1).filter_map(|rest| rest.split_once('/')).collect();
    let folders = ours.into_iter().map(|(folder, _)| folder).filter(|folder| !["benches", "tests"].contains(folder));
    let folders: Vec<_> = folders.chain(["src", "migrations", "proto"]).collect();
    assert!(folders.contains(&"crates"), "{folders:?}");
    for folder in folders {
        assert!(context.lines().any(|line| line == format!("!{folder}")), "{folder} is not in .dockerignore");
    }
}

#[test]
fn the_container_may_do_nothing_that_it_need_not() {
    let compose = YamlLoader::load_from_str(&deployed("deploy/docker-compose.yml")).unwrap();
    let service = &compose[0]["services"]["wiretoll"];
    assert_eq!(service["read_only"], Yaml::Boolean(true));
    assert_eq!(service["cap_drop"][0].as_str(), Some("ALL"));
    assert_eq!(service["security_opt"][0].as_str(), Some("no-new-privileges:true"));
    let user = service["user"].as_str().unwrap();
    let mounts: Vec<_> = service["volumes"].as_vec().unwrap().iter().map(|mount| mount.as_str().unwrap()).collect();
    // All that can be written is the data; the socket of Docker itself is nowhere.
    let writable: Vec<_> = mounts.iter().filter(|mount| !mount.ends_with(":ro")).collect();
    assert_eq!(writable, [&"data:/var/lib/wiretoll"]);
    assert!(mounts.contains(&"./lnd:/run/lnd:ro"), "LND's certificate and macaroon: {mounts:?}");

    let dockerfile = deployed("Dockerfile");
    let stages: Vec<_> = dockerfile.lines().filter(|line| line.starts_with("FROM ")).collect();
    assert!(stages.len() == 2 && stages[0].ends_with(" AS build") && !stages[1].contains("rust"), "{stages:?}");
    let last = dockerfile.lines().rfind(|line| line.starts_with("USER "));
    assert_eq!(
        last,
        Some(format!("USER {user}").as_str()),
        "the number, so that Kubernetes can see that it is not root"
    );
}

/// The check of the compose file, run against a service as it would be in the container.
#[tokio::test(flavor = "multi_thread")]
async fn the_container_s_health_check_tells_a_healthy_service() {
    let compose = YamlLoader::load_from_str(&deployed("deploy/docker-compose.yml")).unwrap();
    let check = compose[0]["services"]["wiretoll"]["healthcheck"]["test"].as_vec().unwrap().clone();
    let words: Vec<_> = check.iter().map(|word| word.as_str().unwrap()).collect();
    let ["CMD", program, "-c", script] = words.as_slice() else { panic!("{words:?}") };
    let mut shop = Shop::open(On::Sqlite).await;
    let url = shop.url("");
    let port = url.rsplit_once(':').unwrap().1;
    let healthy = |port: &str| {
        let script = script.replace("/8080", &format!("/{port}"));
        assert!(script.contains(port));
        Command::new(program).args(["-c", &script]).output().unwrap().status.success()
    };
    assert!(healthy(port));
    assert!(!healthy("1"), "nobody listens there");
    shop.stop().await;
    assert!(!healthy(port), "it has stopped");
}

/// What the internet reaches may change nothing; what may change networks is reached by a socket alone.
#[test]
fn the_units_share_a_socket_and_no_capability() {
    let lines = |file: &str| deployed(file).lines().map(str::to_owned).collect::<Vec<_>>();
    let service = lines("deploy/systemd/wiretoll.service");
    let agent = lines("deploy/systemd/wiretoll-agent.service");
    let has = |unit: &[String], line: &str| unit.iter().any(|found| found == line);
    assert!(has(&service, "CapabilityBoundingSet=") && has(&service, "AmbientCapabilities="));
    assert!(has(&agent, "CapabilityBoundingSet=CAP_NET_ADMIN") && has(&agent, "AmbientCapabilities=CAP_NET_ADMIN"));
    assert!(has(&service, "RuntimeDirectory=wiretoll") && has(&agent, "SupplementaryGroups=wiretoll"));
    for unit in [&service, &agent] {
        for line in ["NoNewPrivileges=yes", "ProtectSystem=strict", "LimitCORE=0", "MemoryDenyWriteExecute=yes"] {
            assert!(has(unit, line), "{line}");
        }
        // Both ask the kernel whether its clock is kept right.
        assert!(has(unit, "SystemCallFilter=adjtimex clock_adjtime") && !has(unit, "ProtectClock=yes"));
    }
    // They start apart: customers are served from the agent's file whether or not the service runs.
    assert!(!agent.iter().any(|line| line.starts_with("Requires=") || line.starts_with("BindsTo=")));
}
