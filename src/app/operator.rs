//! What the verbs that somebody asks for by hand have in common: who did it and why stays in an event, and a repeat
//! changes nothing.

use serde_json::{Value, json};

use super::authenticate::Authenticated;
use crate::domain::note::Note;

/// Whose word it was.
#[derive(Debug, Clone, Copy)]
pub enum By<'a> {
    Operator(Option<&'a Note>),
    /// A server's agent, by what it reported.
    Agent,
    /// An owner, by their credential.
    Account(&'a Authenticated),
}

/// What became of an operator's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Now,
    /// It was so already.
    Before,
}

impl By<'_> {
    /// An event's data: these facts, which are an object, with who and why.
    pub fn tells(self, facts: &Value) -> Value {
        let mut data = facts.as_object().cloned().unwrap_or_default();
        match self {
            By::Operator(note) => {
                data.insert("by".into(), json!("operator"));
                data.extend(note.map(|note| ("note".into(), json!(note.as_str()))));
            }
            By::Agent => {
                data.insert("by".into(), json!("agent"));
            }
            By::Account(owner) => {
                data.insert("by".into(), json!("account"));
                data.insert("byAccount".into(), json!(owner.account));
                data.insert("byCredential".into(), json!(owner.credential.to_string()));
            }
        }
        Value::Object(data)
    }
}
