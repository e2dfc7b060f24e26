//! What the operator's verbs have in common: who did it and why stays in an event, and a repeat changes nothing.

use serde_json::{Value, json};

use crate::domain::note::Note;

/// Whose word it was.
#[derive(Debug, Clone, Copy)]
pub enum By<'a> {
    Operator(Option<&'a Note>),
    /// A server's agent, by what it reported.
    Agent,
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
        let (by, note) = match self {
            By::Operator(note) => ("operator", note),
            By::Agent => ("agent", None),
        };
        data.insert("by".into(), json!(by));
        if let Some(note) = note {
            data.insert("note".into(), json!(note.as_str()));
        }
        Value::Object(data)
    }
}
