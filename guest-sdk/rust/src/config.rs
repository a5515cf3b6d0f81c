//! Reads a plugin's config: errors name the field and say what to do.

use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

use crate::fault::{ConfigDetail, Fault, Result};

/// Reads the config of a plugin from its JSON text.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let message = plain_message(&error.inner().to_string());
        let advice = advice(&message);
        Fault::Config(ConfigDetail {
            field: pointer(error.path()),
            advice,
            message,
        })
    })?;
    reader
        .end()
        .map_err(|error| Fault::config(format!("the config is no JSON: {error}")))?;
    Ok(value)
}

/// serde's message without `at line 1 column 17`: the text came from the host, a person never saw these lines.
fn plain_message(message: &str) -> String {
    match message.rfind(" at line ") {
        Some(end) => message[..end].to_owned(),
        None => message.to_owned(),
    }
}

/// The path as a JSON pointer (RFC 6901).
fn pointer(path: &Path) -> String {
    use std::fmt::Write as _;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => {
                let _ = write!(pointer, "/{index}");
            }
            Segment::Map { key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

/// What to do about an error of serde, from its well-known wordings.
fn advice(message: &str) -> String {
    if let Some(rest) = message.strip_prefix("missing field ") {
        return format!("add {}", rest.split(',').next().unwrap_or(rest));
    }
    let Some(unknown) = quoted(message).next() else {
        return String::new();
    };
    if !(message.starts_with("unknown field") || message.starts_with("unknown variant")) {
        return String::new();
    }
    let known: Vec<&str> = quoted(message).skip(1).collect();
    let near = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(unknown, name), *name))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count() / 3)
        .min();
    match near {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None => "remove it, or see the plugin's config schema".to_owned(),
    }
}

/// The parts of a text in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        files: Vec<String>,
        #[serde(default, rename = "on/off")]
        on_off: Option<Mode>,
        #[serde(default)]
        delimiter: Option<char>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Mode {
        Append,
        Replace,
    }

    fn fault(text: &str) -> ConfigDetail {
        match parse::<Config>(text) {
            Err(Fault::Config(detail)) => detail,
            other => panic!("expected a config fault: {other:?}"),
        }
    }

    #[test]
    fn names_the_field_as_a_pointer() {
        let detail = fault(r#"{"files": ["a", 7]}"#);
        assert_eq!(detail.field, "/files/1");
        assert_eq!(
            detail.message,
            "invalid type: integer `7`, expected a string"
        );
    }

    #[test]
    fn suggests_what_was_meant() {
        let detail = fault(r#"{"files": [], "delimitter": ";"}"#);
        assert_eq!(detail.field, "/delimitter");
        assert_eq!(detail.advice, "did you mean `delimiter`?");
        let detail = fault(r#"{"files": [], "on/off": "apend"}"#);
        assert_eq!(
            (detail.field.as_str(), detail.advice.as_str()),
            ("/on~1off", "did you mean `append`?")
        );
    }

    #[test]
    fn says_what_is_missing_and_what_is_no_json() {
        assert_eq!(fault("{}").advice, "add `files`");
        assert_eq!(fault("").message, "missing field `files`");
        assert!(
            fault("{\"files\": []} x")
                .message
                .starts_with("the config is no JSON")
        );
        let config: Config =
            parse(r#"{"files": ["a"], "on/off": "replace", "delimiter": ";"}"#).unwrap();
        assert!(matches!(config.on_off, Some(Mode::Replace)));
        assert_eq!((config.files.len(), config.delimiter), (1, Some(';')));
        let config: Config = parse(r#"{"files": [], "on/off": "append"}"#).unwrap();
        assert!(matches!(config.on_off, Some(Mode::Append)));
    }
}
