//! What an operator says about something that they did.

use super::Invalid;

/// Why, or what was done, such as `refunded by hand`: 1 to 500 characters on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note(String);

const MAX_NOTE: usize = 500;

impl Note {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let line = one_line(text, MAX_NOTE).ok_or_else(|| {
            Invalid::new(format!("a note is one line of 1 to {MAX_NOTE} characters that says what was done"))
        })?;
        Ok(Self(line.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text without white space around it, where it is one line of 1 to `most` characters.
pub(super) fn one_line(text: &str, most: usize) -> Option<&str> {
    let text = text.trim();
    ((1..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_one_line_within_its_bounds() {
        assert_eq!(Note::parse("  refunded \n").unwrap().as_str(), "refunded");
        assert!(Note::parse(&"ü".repeat(500)).is_ok());
        for bad in ["", " \t", "one\ntwo", &"ü".repeat(501)] {
            assert!(Note::parse(bad).is_err(), "{bad:?}");
        }
    }
}
