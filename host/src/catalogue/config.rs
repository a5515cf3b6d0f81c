//! Whether a config fits a plugin: checked against the JSON Schema of its manifest, with words for people.

use jsonschema::{Draft, ValidationError, error::ValidationErrorKind};
use serde::Serialize;
use serde_json::Value;

use super::manifest::{Kind, Manifest};
use crate::flow::schema;

/// Something wrong with a config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigFinding {
    /// JSON pointer of the field; empty for the config as a whole.
    pub pointer: String,
    /// What was expected, what was found.
    pub message: String,
    /// What to do, or empty.
    pub advice: String,
}

/// Findings of one config; more are not shown.
const MAX_FINDINGS: usize = 50;

/// Checks a config against the plugin's schema. Empty when it fits.
///
/// A manifest without this kind has no schema, so everything fits; that it is missing is a finding of its inspection.
pub fn validate_config(manifest: &Manifest, kind: Kind, config: &Value) -> Vec<ConfigFinding> {
    let Some(spec) = manifest.kind(kind) else {
        return Vec::new();
    };
    if !config.is_object() {
        return vec![finding(
            "",
            format!(
                "the config must be an object, but it is {}",
                describe(config)
            ),
            "",
        )];
    }
    let schema = &spec.config;
    let broken = |error: &dyn std::fmt::Display| {
        let message = format!(
            "the config schema of the plugin `{}` is broken: {error}",
            manifest.name
        );
        vec![finding(
            "",
            message,
            "this is a fault of the plugin: report it to its author",
        )]
    };
    if let Err(error) = schema::affordable(schema, Some(config)) {
        return broken(&error);
    }
    let validator = match schema::compiled(schema, Some(Draft::Draft202012)) {
        Ok(validator) => validator,
        Err(error) => return broken(&error),
    };
    let mut findings = Vec::new();
    for error in validator.iter_errors(config) {
        explain(schema, &error, &mut findings);
        if findings.len() >= MAX_FINDINGS {
            break;
        }
    }
    findings.truncate(MAX_FINDINGS);
    findings.dedup();
    findings
}

/// Whether a config schema is one that configs can be checked against.
///
/// # Errors
/// What is wrong with it, and where in it.
pub fn check_schema(schema: &Value) -> Result<(), String> {
    schema::affordable(schema, None).map_err(|error| error.to_string())?;
    let built = schema::compiled(schema, Some(Draft::Draft202012));
    built.map(drop).map_err(|error| {
        let place = error.instance_path().as_str();
        let message = shorten(error.to_string());
        if place.is_empty() {
            message
        } else {
            format!("{message} (at {place})")
        }
    })
}

fn finding(pointer: &str, message: impl Into<String>, advice: impl Into<String>) -> ConfigFinding {
    ConfigFinding {
        pointer: pointer.to_owned(),
        message: message.into(),
        advice: advice.into(),
    }
}

fn explain(schema: &Value, error: &ValidationError<'_>, findings: &mut Vec<ConfigFinding>) {
    let pointer = error.instance_path().as_str();
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let known = known_fields(schema, error.schema_path().as_str());
            for field in unexpected {
                let at = format!("{pointer}/{}", escape(field));
                findings.push(finding(
                    &at,
                    format!("unknown field `{field}`"),
                    suggest(field, &known),
                ));
            }
        }
        ValidationErrorKind::Required { property } => {
            let field = property.as_str().unwrap_or_default();
            findings.push(finding(
                pointer,
                format!("the field `{field}` is missing"),
                about(schema, error, field),
            ));
        }
        ValidationErrorKind::Enum { options } => {
            let options: Vec<_> = options
                .as_array()
                .into_iter()
                .flatten()
                .map(plain)
                .collect();
            let found = error.instance();
            let wrong = plain(found);
            let advice = nearest(&wrong, &options)
                .map(|near| format!("did you mean `{near}`?"))
                .unwrap_or_default();
            let message = format!(
                "must be one of {}, but is {}",
                options.join(", "),
                describe(found)
            );
            findings.push(finding(pointer, message, advice));
        }
        ValidationErrorKind::Type { .. } => {
            let message = format!(
                "must be {}, but is {}",
                expected(schema, error),
                describe(error.instance())
            );
            findings.push(finding(pointer, message, ""));
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            branches(schema, error, context, findings);
        }
        _ => findings.push(finding(pointer, shorten(error.to_string()), "")),
    }
}

/// Of several allowed forms the one is explained that was most likely meant: the one that goes wrong deepest, then the
/// one with fewest errors.
fn branches(
    schema: &Value,
    error: &ValidationError<'_>,
    context: &[Vec<ValidationError<'static>>],
    findings: &mut Vec<ConfigFinding>,
) {
    let here = error.instance_path().as_str().len();
    let depth = |branch: &[ValidationError<'_>]| {
        branch
            .iter()
            .map(|error| error.instance_path().as_str().len())
            .max()
            .unwrap_or(0)
    };
    let object = error.instance().is_object();
    let meant = context
        .iter()
        .filter(|branch| {
            let mistyped = |error: &ValidationError<'_>| {
                matches!(error.kind(), ValidationErrorKind::Type { .. })
                    && error.instance_path().as_str().len() == here
            };
            !branch.iter().any(mistyped)
        })
        .max_by_key(|branch| (depth(branch), std::cmp::Reverse(branch.len())));
    match meant {
        Some(branch) if object || depth(branch) > here || branch.len() == 1 => {
            for error in branch {
                explain(schema, error, findings);
            }
        }
        _ => {
            let message = format!(
                "{} fits none of the allowed forms",
                describe(error.instance())
            );
            findings.push(finding(error.instance_path().as_str(), message, ""));
        }
    }
}

/// The fields of the schema that refused one: `additionalProperties` stands beside `properties`.
fn known_fields(schema: &Value, path: &str) -> Vec<String> {
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let fields = schema
        .pointer(parent)
        .and_then(|parent| parent.get("properties"))
        .and_then(Value::as_object);
    fields
        .map(|fields| fields.keys().cloned().collect())
        .unwrap_or_default()
}

fn suggest(field: &str, known: &[String]) -> String {
    match nearest(field, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "remove it".to_owned(),
        None => format!("the fields here are {}", known.join(", ")),
    }
}

pub(crate) fn nearest<'a>(word: &str, known: &'a [String]) -> Option<&'a String> {
    let near = |other: &'a String| {
        let likeness = strsim::jaro_winkler(&word.to_lowercase(), &other.to_lowercase());
        (likeness > 0.8).then_some((likeness, other))
    };
    known
        .iter()
        .filter_map(near)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, other)| other)
}

/// What the schema says about a missing field.
fn about(schema: &Value, error: &ValidationError<'_>, field: &str) -> String {
    let path = error.schema_path().as_str();
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let description = schema.pointer(parent).and_then(|parent| {
        parent
            .get("properties")?
            .get(field)?
            .get("description")?
            .as_str()
    });
    description.map_or_else(
        || format!("add `{field}`"),
        |text| format!("add `{field}`: {text}"),
    )
}

/// The type that the schema wants, in words.
fn expected(schema: &Value, error: &ValidationError<'_>) -> String {
    let wanted = schema.pointer(error.schema_path().as_str());
    let names: Vec<_> = match wanted {
        Some(Value::String(name)) => vec![article(name)],
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .map(article)
            .collect(),
        _ => vec!["of another type"],
    };
    names.join(" or ")
}

fn article(name: &str) -> &'static str {
    match name {
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "an object",
        "null" => "null",
        _ => "of another type",
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {}", shorten(format!("{text:?}"))),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn shorten(text: String) -> String {
    if text.chars().count() <= 200 {
        text
    } else {
        text.chars().take(199).chain(['…']).collect()
    }
}

fn escape(field: &str) -> String {
    field.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn findings(config: &Value) -> Vec<ConfigFinding> {
        let manifest = json!({ "name": "csv", "version": "0.1.0", "kinds": { "source": { "config": {
            "type": "object",
            "additionalProperties": false,
            "required": ["files"],
            "properties": {
                "files": { "type": "array", "minItems": 1, "items": { "type": "string" }, "description": "paths or globs" },
                "delimiter": { "type": "string", "maxLength": 1 },
                "header": { "enum": ["first-row", "none"] },
                "types": { "oneOf": [
                    { "type": "string", "enum": ["text", "detect"] },
                    { "type": "object", "additionalProperties": false,
                      "properties": { "columns": { "type": "array", "items": { "type": "string" } } } },
                ] },
            },
        } } } });
        let manifest = Manifest::parse(manifest.to_string().as_bytes()).unwrap();
        validate_config(&manifest, Kind::Source, config)
    }

    fn one(config: &Value) -> ConfigFinding {
        let mut all = findings(config);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    #[test]
    fn a_config_that_fits_has_no_findings() {
        assert_eq!(
            findings(&json!({ "files": ["a.csv"], "header": "none", "types": "text" })),
            []
        );
        assert_eq!(
            findings(&json!({ "files": ["a.csv"], "types": { "columns": ["a"] } })),
            []
        );
    }

    #[test]
    fn a_typo_is_named_with_what_was_meant() {
        let typo = one(&json!({ "files": ["a"], "delimitr": ";" }));
        assert_eq!(
            (typo.pointer.as_str(), typo.advice.as_str()),
            ("/delimitr", "did you mean `delimiter`?")
        );
        let other = one(&json!({ "files": ["a"], "zzz": 1 }));
        assert!(
            other.advice.contains("delimiter, files"),
            "{}",
            other.advice
        );
        let deep = one(&json!({ "files": ["a"], "types": { "colums": [] } }));
        assert_eq!(
            (deep.pointer.as_str(), deep.advice.as_str()),
            ("/types/colums", "did you mean `columns`?")
        );
    }

    #[test]
    fn missing_mistyped_and_wrong_values_say_what_was_expected() {
        let missing = one(&json!({}));
        assert!(
            missing.message.contains("`files` is missing")
                && missing.advice.contains("paths or globs")
        );
        let mistyped = one(&json!({ "files": "a.csv" }));
        assert_eq!(
            mistyped.message,
            "must be a list, but is the text \"a.csv\""
        );
        assert_eq!(one(&json!({ "files": ["a", 3] })).pointer, "/files/1");
        let wrong = one(&json!({ "files": ["a"], "header": "first_row" }));
        assert!(wrong.message.starts_with("must be one of first-row, none"));
        assert_eq!(wrong.advice, "did you mean `first-row`?");
        assert_eq!(
            one(&json!({ "files": ["a"], "delimiter": ";;" })).pointer,
            "/delimiter"
        );
        assert!(one(&json!(["files"])).message.contains("must be an object"));
        assert_eq!(
            one(&json!({ "files": ["a"], "types": 3 })).pointer,
            "/types"
        );
        assert_eq!(
            one(&json!({ "files": ["a"], "types": "txt" })).advice,
            "did you mean `text`?"
        );
    }

    #[test]
    fn a_broken_schema_is_the_plugins_fault() {
        let manifest =
            br#"{"name":"x","version":"0.1.0","kinds":{"sink":{"config":{"type":"objekt"}}}}"#;
        let manifest = Manifest::parse(manifest).unwrap();
        let all = validate_config(&manifest, Kind::Sink, &json!({}));
        assert!(
            all[0]
                .message
                .contains("schema of the plugin `x` is broken"),
            "{all:?}"
        );
        assert_eq!(validate_config(&manifest, Kind::Source, &json!({})), []);
    }
}
