//! What a Lightning node calls itself. Anybody may call a node anything, so it is made safe before anybody sees it.

use std::fmt;

/// The longest that a node may announce (BOLT 7).
const LONGEST: usize = 32;

/// Text of at most 32 bytes that cannot break a line, hide, or change the direction of what stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias(String);

impl Alias {
    /// Leaves out what cannot be shown safely.
    pub fn of(text: &str) -> Self {
        let shown: String = text.chars().filter(|c| !is_unsafe(*c)).collect();
        let shown = shown.trim();
        let end = (0..=LONGEST.min(shown.len())).rev().find(|at| shown.is_char_boundary(*at)).unwrap_or_default();
        Self(shown.get(..end).unwrap_or_default().trim_end().to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Control characters, and of Unicode's format characters all that change direction, join, separate or are not seen.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffd}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_alias_is_shown_as_it_is_where_it_is_harmless() {
        for harmless in ["alice", "Zürich ⚡ node", "节点", "<script>", "a'b\"c"] {
            assert_eq!(Alias::of(harmless).as_str(), harmless);
        }
    }

    #[test]
    fn what_would_hide_or_turn_text_around_is_left_out() {
        for (text, shown) in [
            ("a\0b\r\nc\u{1b}[2J\u{7f}\u{85}", "abc[2J"),
            ("\u{202e}evil\u{202c}", "evil"),
            ("\u{2066}a\u{2069}\u{200b}\u{feff}b", "ab"),
            ("a\u{2028}b\u{2029}c", "abc"),
            ("\u{e0041}tag\u{ad}", "tag"),
            ("  \t ", ""),
        ] {
            assert_eq!(Alias::of(text).as_str(), shown);
        }
    }

    #[test]
    fn thirty_two_bytes_fit_and_no_character_is_cut() {
        assert_eq!(Alias::of(&"a".repeat(32)).as_str(), "a".repeat(32));
        assert_eq!(Alias::of(&"a".repeat(33)).as_str(), "a".repeat(32));
        assert_eq!(Alias::of(&format!("{}é", "a".repeat(31))).as_str(), "a".repeat(31));
        assert_eq!(Alias::of(&format!("{}\u{202e}b", "a".repeat(31))).as_str(), format!("{}b", "a".repeat(31)));
    }

    proptest! {
        #[test]
        fn every_alias_is_short_and_the_same_when_read_again(text in any::<String>()) {
            let alias = Alias::of(&text);
            prop_assert!(alias.as_str().len() <= LONGEST && !alias.as_str().chars().any(is_unsafe));
            prop_assert_eq!(Alias::of(alias.as_str()), alias);
        }
    }
}
