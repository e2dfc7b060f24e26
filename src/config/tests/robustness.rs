//! Nothing that a file or a variable says makes the loader panic.

use proptest::prelude::*;

use super::{LEAST, parse, parse_with};
use crate::config::example;

proptest! {
    #[test]
    fn no_text_makes_the_loader_panic(text in any::<String>()) {
        let _ = parse(&text);
    }

    /// Files that are nearly right reach further than random text does.
    #[test]
    fn no_damaged_file_makes_the_loader_panic(
        start in 0_usize..4_000, length in 0_usize..200, patch in "[ -~\n🇩]{0,12}",
    ) {
        let (before, rest): (String, String) = (example().chars().take(start).collect(), example().chars().skip(start).collect());
        let after: String = rest.chars().skip(length).collect();
        let _ = parse(&format!("{before}{patch}{after}"));
    }

    #[test]
    fn no_environment_makes_the_loader_panic(
        name in "(LND|SERVERS|PLANS|LIMITS|RATE|_|__|[A-Z0-9_])(__([A-Z_]{0,9}|[0-9]{1,22})){0,4}", value in any::<String>(),
    ) {
        let _ = parse_with(LEAST, &[(&format!("WIRETOLL_{name}"), &value)]);
    }
}
