//! The name of a network interface.

use std::fmt;

use super::Invalid;

/// What the kernel keeps of a name (`IFNAMSIZ` without the final zero).
const LONGEST: usize = 15;

/// Up to 15 letters, digits, `_`, `-` and `.`: fewer than the kernel would take, so that none can break out of a path
/// or of a firewall script.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(String);

impl InterfaceName {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        if text.is_empty() || text.len() > LONGEST || !plain || text.starts_with(['.', '-']) {
            return Err(Invalid::new(format!(
                "not a name of a network interface: expected 1 to {LONGEST} letters, digits, \"_\", \"-\" or \".\""
            )));
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_break_out_are_refused() {
        for good in ["wg0", "eth0.100", "enp3s0f1", "wg_de-2"] {
            assert_eq!(InterfaceName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "..", "-f", "wg0\" accept", "a/b", "wg 0", "wg0\n", "sixteen-letters-", "wgé"] {
            assert!(InterfaceName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
