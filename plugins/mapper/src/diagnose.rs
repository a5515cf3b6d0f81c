//! What is wrong with a mapping, where, and what to do about it.

use std::fmt;

/// A place in the mapping text. Both count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pos {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One thing that is wrong with a mapping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pos}: {message}")]
pub(crate) struct Problem {
    pub(crate) pos: Pos,
    pub(crate) message: String,
    /// What to do about it, or empty.
    pub(crate) advice: String,
}

impl Problem {
    pub(crate) fn new(pos: Pos, message: impl Into<String>) -> Self {
        Self {
            pos,
            message: message.into(),
            advice: String::new(),
        }
    }

    pub(crate) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    /// `unknown rule "sett"`, with the nearest of the known names as advice.
    pub(crate) fn unknown(pos: Pos, what: &str, found: &str, known: &[&str]) -> Self {
        let problem = Self::new(pos, format!("unknown {what} `{found}`"));
        match nearest(found, known) {
            Some(name) => problem.advice(format!("did you mean `{name}`?")),
            None if known.is_empty() => problem,
            None => problem.advice(format!("known here: {}", known.join(", "))),
        }
    }
}

pub(crate) type Compiled<T> = Result<T, Problem>;

/// The known name that `found` is most likely a misspelling of.
pub(crate) fn nearest<'k>(found: &str, known: &[&'k str]) -> Option<&'k str> {
    let limit = (found.chars().count() / 3).max(2);
    let squash = |text: &str| text.to_lowercase().replace(['_', ' '], "-");
    let wanted = squash(found);
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&wanted, &squash(name)), *name))
        .filter(|(distance, name)| *distance <= limit && *distance < name.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The first characters of a text that may be long, for messages.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_nearest_name_only_when_it_is_near() {
        assert_eq!(nearest("renam", &["remove", "rename"]), Some("rename"));
        assert_eq!(nearest("for_each", &["for-each", "emit"]), Some("for-each"));
        assert_eq!(nearest("Set", &["set", "put"]), Some("set"));
        assert_eq!(nearest("xylophone", &["set", "put"]), None);
        assert_eq!(nearest("a", &["do"]), None);
    }

    #[test]
    fn shortens_at_a_character_border() {
        assert_eq!(shorten("äöü", 2), "äö...");
        assert_eq!(shorten("äöü", 3), "äöü");
    }
}
