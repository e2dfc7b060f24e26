//! The commented file that `wiretoll config example` prints.

/// Every setting with its default, and what an operator has to fill in.
pub fn example() -> &'static str {
    include_str!("example.toml")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::config::{Config, RateSource};
    use crate::domain::time::Timestamp;

    fn parse(text: &str) -> Result<Config, String> {
        let now = Timestamp::parse("2026-11-22T12:00:00Z").unwrap();
        Config::parse(text, Path::new("/etc/wiretoll"), [], now).map_err(|problems| problems.to_string())
    }

    /// Of a section that is an example as a whole, this shows a key that may be left out.
    const DEFAULT: &str = "# Default: ";

    /// The key of a line that shows a setting, in whichever of the four forms of the file.
    fn documented_key(line: &str) -> Option<&str> {
        let marked = line.strip_prefix("# Example: ").or(line.strip_prefix(DEFAULT));
        let setting = marked.or(line.strip_prefix('#')).unwrap_or(line);
        let (key, _) = setting.split_once(" = ")?;
        key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_').then_some(key)
    }

    fn header(line: &str) -> Option<&str> {
        // A section that is not there by default is an example, too.
        let line = line.strip_prefix("# Example: ").unwrap_or(line);
        line.strip_prefix('[').map(|line| line.trim_matches(['[', ']']))
    }

    /// Section to the keys that the file shows in it.
    fn documented() -> BTreeMap<String, Vec<String>> {
        let (mut sections, mut section) = (BTreeMap::<_, Vec<String>>::new(), String::new());
        for line in example().lines() {
            if let Some(name) = header(line) {
                section = name.to_owned();
            } else if let Some(key) = documented_key(line) {
                sections.entry(section.clone()).or_default().push(key.to_owned());
            }
        }
        sections.into_iter().map(|(section, keys)| (section, sorted(keys))).collect()
    }

    fn sorted(mut keys: Vec<String>) -> Vec<String> {
        keys.sort();
        keys.dedup();
        keys
    }

    /// The keys that the loader knows in a section, by its own answer to one that it does not.
    fn known(section: &str) -> Vec<String> {
        let header = match section {
            "plans" | "servers" | "webhooks" => format!("[[{section}]]"),
            section => format!("[{section}]"),
        };
        let report = parse(&format!("{header}\nunknown = 1")).unwrap_err();
        let (_, keys) = report.split_once("the keys here are: ").unwrap();
        let keys = keys.lines().next().unwrap().split(", ").map(str::to_owned);
        // [limits] has sections of its own, which the file shows as such.
        sorted(keys.filter(|key| !documented().contains_key(&format!("{section}.{key}"))).collect())
    }

    #[test]
    fn it_is_right_as_it_stands() {
        assert!(parse(example()).is_ok(), "{}", parse(example()).unwrap_err());
    }

    #[test]
    fn what_it_calls_a_default_is_one() {
        let uncomment = |line: &str| match documented_key(line) {
            Some(_) if !line.starts_with("# ") => format!("{}\n", line.trim_start_matches('#')),
            _ => format!("{line}\n"),
        };
        let uncommented: String = example().lines().map(uncomment).collect();
        assert_ne!(uncommented, example());
        assert_eq!(format!("{:?}", parse(&uncommented)), format!("{:?}", parse(example())));
    }

    /// The example with a section that is one as a whole: the lines that are needed, and its defaults where they are wanted.
    fn with_section(needed: &[&str], also_defaults: bool) -> Config {
        let mut within = false;
        let mut uncomment = |line: &str| {
            within = if header(line).is_some() { line.ends_with(needed[0]) } else { within };
            let is_needed = |text: &&str| within && needed.iter().any(|needed| text.starts_with(needed));
            let default = line.strip_prefix(DEFAULT).filter(|_| within && also_defaults);
            let text = line.strip_prefix("# Example: ").filter(is_needed).or(default).unwrap_or(line);
            format!("{text}\n")
        };
        let text: String = example().lines().map(&mut uncomment).collect();
        parse(&text).unwrap()
    }

    #[test]
    fn what_it_calls_a_default_of_a_section_that_is_an_example_is_one() {
        let agent = ["[agent]", "server", "wan_interface", "public_address "];
        let agents = [false, true].map(|defaults| format!("{:?}", with_section(&agent, defaults).agent.unwrap()));
        assert_eq!(agents[0], agents[1]);
        let rates = [false, true].map(|defaults| with_section(&["[rate.live]", "sources"], defaults).rate.unwrap());
        assert!(matches!(&rates[0], RateSource::Live(_)));
        assert_eq!(rates[0], rates[1]);
    }

    #[test]
    fn the_plans_and_their_rate_show_the_default_too() {
        let plans = example().find("[[plans]]").unwrap();
        let servers = example().find("[[servers]]").unwrap();
        let without_plans = format!("{}{}", &example()[..plans], &example()[servers..]);
        assert_eq!(parse(&without_plans).unwrap().plans, parse(example()).unwrap().plans);
    }

    #[test]
    fn it_shows_every_key_and_no_other() {
        for (section, keys) in documented() {
            assert_eq!(keys, known(&section), "[{section}]");
        }
        let report = parse("unknown = 1").unwrap_err();
        let (_, sections) = report.split_once("the keys here are: ").unwrap();
        for section in sections.lines().next().unwrap().split(", ") {
            assert!(documented().contains_key(section), "[{section}]");
        }
    }
}
