//! Replays the inputs of the fuzzer, and those that it once found, through the same functions as it does.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../fuzz/src/lib.rs"]
mod parsers;

use parsers::TARGETS;

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A corpus that is only refused, or only accepted, would show half of a parser.
#[test]
fn every_input_of_the_corpus_keeps_what_its_target_asserts() {
    for (name, target) in TARGETS {
        let corpus = fuzz_folder().join("corpus").join(name);
        let (accepted, refused): (Vec<_>, Vec<_>) =
            names(&corpus).into_iter().partition(|file| target(&fs::read(corpus.join(file)).unwrap()));
        assert!(!accepted.is_empty() && !refused.is_empty(), "{name}: {accepted:?} accepted, {refused:?} refused");
    }
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    let targets = TARGETS.map(|(name, _)| name.to_owned());
    assert_eq!(names(&fuzz_folder().join("corpus")), targets);
    assert_eq!(names(&fuzz_folder().join("targets")), targets.clone().map(|name| format!("{name}.rs")));
    let manifest = fs::read_to_string(fuzz_folder().join("Cargo.toml")).unwrap();
    for name in targets {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in fuzz/Cargo.toml");
    }
}
