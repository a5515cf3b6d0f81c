//! `${NAME}` in the texts of a flow file.
//!
//! - `${NAME}`: the value given with `--var NAME=...`, else the environment's. It must be there.
//! - `${NAME:-default}`: the default when it is absent or empty.
//! - `$${`: a literal `${`.
//!
//! What comes out is always text, also when the whole value is one variable: a field that wants a number wants a number
//! in the file, and the error about it says so.

use std::{collections::BTreeMap, env};

/// What opens the secret store: never the value of a variable, which might be given to a plugin.
const FORBIDDEN: &str = "CROSSDOCK_SECRETS_KEY";

/// Where the values of variables come from.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    given: BTreeMap<String, String>,
    environment: bool,
}

impl Variables {
    /// The given ones, then the environment of the process.
    pub fn new(given: BTreeMap<String, String>) -> Self {
        Self {
            given,
            environment: true,
        }
    }

    /// The given ones and no others.
    pub fn only(given: BTreeMap<String, String>) -> Self {
        Self {
            given,
            environment: false,
        }
    }

    /// The value of a variable. Values of the environment that are not UTF-8 do not count.
    pub fn get(&self, name: &str) -> Option<String> {
        let given = self.given.get(name).cloned();
        let from_environment = self.environment && name != FORBIDDEN;
        given.or_else(|| from_environment.then(|| env::var(name).ok()).flatten())
    }
}

/// Why a `${...}` cannot be replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VariableError {
    /// Not given, not in the environment, no default.
    #[error("the variable `{0}` has no value")]
    Missing(String),
    /// `${` without `}`.
    #[error("`${{` is not closed with `}}`")]
    Open,
    /// Not a name.
    #[error("`${{{0}}}` is no variable: a name has letters, digits and `_`")]
    Name(String),
}

impl VariableError {
    /// What to do.
    pub fn advice(&self) -> String {
        match self {
            Self::Missing(name) => {
                format!(
                    "pass --var {name}=... or set it in the environment, or give a default: ${{{name}:-...}}"
                )
            }
            Self::Open | Self::Name(_) => "write `$${` where a literal `${` is meant".to_owned(),
        }
    }

    /// What stands in the text, to find it there.
    pub(super) fn needle(&self) -> String {
        match self {
            Self::Missing(name) | Self::Name(name) => format!("${{{name}"),
            Self::Open => "${".to_owned(),
        }
    }
}

/// Replaces the variables of a text. Every problem is reported, not only the first.
pub fn substitute(text: &str, variables: &Variables) -> Result<String, Vec<VariableError>> {
    let mut out = String::with_capacity(text.len());
    let mut errors = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, tail) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &tail[2..];
            continue;
        }
        out.push_str(before);
        let Some((inner, after)) = tail[2..].split_once('}') else {
            errors.push(VariableError::Open);
            rest = "";
            break;
        };
        match value(inner, variables) {
            Ok(value) => out.push_str(&value),
            Err(error) => errors.push(error),
        }
        rest = after;
    }
    out.push_str(rest);
    if errors.is_empty() {
        Ok(out)
    } else {
        Err(errors)
    }
}

fn value(inner: &str, variables: &Variables) -> Result<String, VariableError> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(VariableError::Name(inner.to_owned()));
    }
    match (variables.get(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(VariableError::Missing(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(text: &str) -> Result<String, Vec<VariableError>> {
        let given = [("A", "1"), ("EMPTY", ""), ("NESTED", "${A}")];
        let given = given
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        substitute(text, &Variables::only(given))
    }

    #[test]
    fn variables_are_replaced() {
        for (text, expected) in [
            ("plain $ {A} $A", "plain $ {A} $A"),
            ("${A}", "1"),
            ("x${A}y${A}z", "x1y1z"),
            (
                "${EMPTY}|${EMPTY:-d}|${NO:-d e}|${NO:-}|${A:-d}",
                "|d|d e||1",
            ),
            ("$${A} $$${A}", "${A} $${A}"),
            ("${NESTED}", "${A}"),
        ] {
            assert_eq!(with(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn every_problem_is_reported() {
        let missing = |name: &str| VariableError::Missing(name.to_owned());
        assert_eq!(
            with("${NO} ${A} ${NOR}"),
            Err(vec![missing("NO"), missing("NOR")])
        );
        assert_eq!(
            with("${a.b} ${"),
            Err(vec![VariableError::Name("a.b".into()), VariableError::Open])
        );
        assert_eq!(with("${}"), Err(vec![VariableError::Name(String::new())]));
    }

    proptest! {
        #[test]
        fn a_text_without_dollar_stays_and_none_panics(text in "\\PC{0,40}", wild in "[$\\{\\}A:\\-a ]{0,20}") {
            if !text.contains('$') {
                prop_assert_eq!(with(&text), Ok(text));
            }
            let _ = with(&wild);
        }
    }
}
