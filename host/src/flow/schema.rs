//! Every violation of a JSON Schema, in words: what was found, what was expected, the nearest known name.
//!
//! Used for flow files, connection files and the configs of plugins, so that all of them read alike.

mod cost;

use jsonschema::{
    Draft, JsonType, PatternOptions, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use super::{
    finding::{Finding, Location},
    near,
    place::{child, spoken},
};

/// Longer texts are cut when they are shown.
const MAX_SHOWN: usize = 60;

/// One violation of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer to the value that is wrong. For an unknown field, to that field.
    pub pointer: String,
    /// Whether the key of the value is meant (an unknown field, a missing one in this object).
    pub key: bool,
    /// `unknown-field`, `missing-field`, `wrong-type` or `wrong-value`.
    pub code: &'static str,
    /// One sentence.
    pub message: String,
    /// What to do, or empty.
    pub advice: String,
}

pub use cost::TooMuch;

/// A schema is none, or is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// It is none.
    #[error("the JSON Schema is malformed: {0}")]
    Malformed(String),
    /// It could keep the host busy without an end.
    #[error("the JSON Schema is refused: {0}")]
    TooMuch(#[from] TooMuch),
}

/// The JSON Schema of a Rust type.
pub fn of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// Most violations of a plugin's schema that are told.
const MAX_VIOLATIONS: usize = 100;
/// Steps back of one regular expression, and bytes that it may take once compiled and while it runs.
const BACKTRACKS: usize = 10_000;
const PATTERN_BYTES: usize = 512 << 10;

/// All violations of a schema of ours, in the order of its keywords.
///
/// # Errors
/// The schema itself is malformed.
pub fn violations_of_own(schema: &Value, value: &Value) -> Result<Vec<Violation>, SchemaError> {
    let validator = validator(schema, None)?;
    Ok(described(&validator, schema, value, usize::MAX))
}

/// The violations of a stranger's schema, in the order of its keywords and no more than a hundred. References to other
/// documents are not followed.
///
/// # Errors
/// The schema itself is malformed, or checking the value takes too long.
pub fn violations(schema: &Value, value: &Value) -> Result<Vec<Violation>, SchemaError> {
    cost::of_value(schema, value)?;
    let validator = validator(schema, None)?;
    Ok(described(&validator, schema, value, MAX_VIOLATIONS))
}

fn described(validator: &Validator, schema: &Value, value: &Value, most: usize) -> Vec<Violation> {
    let mut found = Vec::new();
    for error in validator.iter_errors(value) {
        describe(&error, schema, &mut found);
        if found.len() >= most {
            break;
        }
    }
    found.truncate(most);
    found.dedup();
    found
}

/// Checks values against a schema; of this draft where the schema does not name one.
///
/// # Errors
/// The schema is malformed, or one of its regular expressions takes too much memory.
pub fn validator(schema: &Value, draft: Option<Draft>) -> Result<Validator, SchemaError> {
    compiled(schema, draft).map_err(|error| SchemaError::Malformed(error.masked().to_string()))
}

/// The same with the error as the library gives it.
///
/// # Errors
/// As [`validator`].
pub fn compiled(schema: &Value, draft: Option<Draft>) -> Result<Validator, ValidationError<'_>> {
    let patterns = PatternOptions::fancy_regex()
        .backtrack_limit(BACKTRACKS)
        .size_limit(PATTERN_BYTES)
        .dfa_size_limit(PATTERN_BYTES);
    let options = jsonschema::options()
        .offline()
        .with_pattern_options(patterns);
    match draft {
        Some(draft) => options.with_draft(draft).build(schema),
        None => options.build(schema),
    }
}

/// Whether a stranger's schema can be used with this value, or with any value there may be.
///
/// # Errors
/// Checking the value takes too long.
pub fn affordable(schema: &Value, value: Option<&Value>) -> Result<(), TooMuch> {
    match value {
        Some(value) => cost::of_value(schema, value),
        None => cost::of_any(schema),
    }
}

/// Says of texts that should be something else, and come from a variable, why they are texts: what is written there,
/// `${N}`, looks like no text at all.
pub fn blame_variables(violations: &mut [Violation], is_varied: impl Fn(&str) -> bool) {
    for violation in violations {
        if violation.code == "wrong-type" && !violation.key && is_varied(&violation.pointer) {
            "what a variable gives is always a text: write the value itself here"
                .clone_into(&mut violation.advice);
        }
    }
}

/// All violations as findings whose codes start with `area`, at the places that `locate` knows. It is asked for a
/// pointer and whether the key is meant.
pub fn findings(
    area: &str,
    violations: &[Violation],
    locate: impl Fn(&str, bool) -> Option<Location>,
) -> Vec<Finding> {
    let finding = |violation: &Violation| {
        Finding::error(format!("{area}.{}", violation.code), &violation.message)
            .at(locate(&violation.pointer, violation.key))
            .advice(&violation.advice)
    };
    violations.iter().map(finding).collect()
}

fn describe(error: &ValidationError<'_>, schema: &Value, found: &mut Vec<Violation>) {
    let pointer = error.instance_path().as_str().to_owned();
    match error.kind() {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let known = known_fields(error, schema);
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            for name in unexpected {
                found.push(Violation {
                    pointer: child(&pointer, name),
                    key: true,
                    code: "unknown-field",
                    message: format!("unknown field `{name}`{}", inside(&pointer)),
                    advice: near::suggestion(name, "known fields", &known),
                });
            }
        }
        Kind::Required { property } => found.push(Violation {
            key: true,
            code: "missing-field",
            message: format!(
                "the field `{}` is missing{}",
                text_of(property),
                inside(&pointer)
            ),
            advice: field_description(error, schema, text_of(property)),
            pointer,
        }),
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            alternatives(error, context, schema, found);
        }
        kind => {
            let (code, expected) = expectation(kind, error, schema);
            let subject = subject(&pointer);
            // "must not be empty, not an empty text" says it twice.
            let whole = !expected.starts_with("must ") || expected.starts_with("must not ");
            let instead = if whole {
                String::new()
            } else {
                format!(", not {}", shown(error.instance()))
            };
            found.push(Violation {
                message: format!("{subject} {expected}{instead}"),
                key: false,
                code,
                advice: choice_advice(kind, error.instance()),
                pointer,
            });
        }
    }
}

/// Of several allowed shapes the one that was probably meant: whose type fits, so that its own violations tell more.
fn alternatives(
    error: &ValidationError<'_>,
    context: &[Vec<ValidationError<'static>>],
    schema: &Value,
    found: &mut Vec<Violation>,
) {
    let at = error.instance_path();
    let fits = |branch: &&Vec<ValidationError<'static>>| {
        !branch.iter().any(|inner| {
            inner.instance_path() == at
                && matches!(inner.kind(), Kind::Type { .. } | Kind::Constant { .. })
        })
    };
    let mut fitting: Vec<_> = context.iter().filter(fits).collect();
    fitting.sort_by_key(|branch| branch.len());
    if let Some(branch) = fitting.first() {
        for inner in *branch {
            describe(inner, schema, found);
        }
        return;
    }
    let mut expected: Vec<String> = Vec::new();
    for inner in context
        .iter()
        .flatten()
        .filter(|inner| inner.instance_path() == at)
    {
        let words = expectation(inner.kind(), inner, schema).1;
        let words = words.strip_prefix("must be ").unwrap_or(&words).to_owned();
        if words != "nothing" && !expected.contains(&words) {
            expected.push(words);
        }
    }
    found.push(Violation {
        pointer: at.as_str().to_owned(),
        key: false,
        code: "wrong-type",
        message: format!(
            "{} must be {}, not {}",
            subject(at.as_str()),
            expected.join(" or "),
            shown(error.instance())
        ),
        advice: String::new(),
    });
}

/// A code and what was expected: `must be a whole number`.
fn expectation(kind: &Kind, error: &ValidationError<'_>, schema: &Value) -> (&'static str, String) {
    let example = || {
        sibling(error, schema, "examples")
            .and_then(|list| list.get(0))
            .map(shown_plain)
    };
    let words = match kind {
        Kind::Type { kind } => {
            let example = example()
                .map(|example| format!(" such as `{example}`"))
                .unwrap_or_default();
            return ("wrong-type", format!("must be {}{example}", types(kind)));
        }
        Kind::Enum { options } => format!("must be one of {}", choices(options)),
        Kind::Constant { expected_value } => format!("must be `{}`", shown_plain(expected_value)),
        Kind::Pattern { pattern } => match example() {
            Some(example) => format!("must look like `{example}`"),
            None => format!("must match the pattern `{pattern}`"),
        },
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::MinLength { limit: 1 } => "must not be empty".to_owned(),
        Kind::MinLength { limit } => format!("must have at least {limit} characters"),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters"),
        Kind::MinItems { limit } => format!("must have at least {limit} {}", items(*limit)),
        Kind::MaxItems { limit } => format!("must have at most {limit} {}", items(*limit)),
        Kind::AdditionalItems { limit } => format!("must have at most {limit} items"),
        Kind::MinProperties { limit } => format!("must have at least {limit} fields"),
        Kind::MaxProperties { limit } => format!("must have at most {limit} fields"),
        Kind::UniqueItems => "must not hold the same value twice".to_owned(),
        Kind::Format { format } => format!("must be a valid {format}"),
        Kind::FalseSchema => "is not allowed here".to_owned(),
        Kind::OneOfMultipleValid { .. } => {
            "fits several of the allowed shapes; it must fit one".to_owned()
        }
        Kind::Not { .. } => "must not have this value".to_owned(),
        other => format!("breaks the rule `{}` of its schema", other.keyword()),
    };
    ("wrong-value", words)
}

fn items(count: u64) -> &'static str {
    if count == 1 { "item" } else { "items" }
}

fn types(kind: &TypeKind) -> String {
    let names: Vec<&str> = match kind {
        TypeKind::Single(single) => vec![type_name(*single)],
        // `null` stands for "may be left empty": nobody is helped by hearing that.
        TypeKind::Multiple(set) => set
            .iter()
            .filter(|one| *one != JsonType::Null || set.len() == 1)
            .map(type_name)
            .collect(),
    };
    names.join(" or ")
}

fn type_name(name: JsonType) -> &'static str {
    match name {
        JsonType::Array => "a list",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Null => "nothing",
        JsonType::Number => "a number",
        JsonType::Object => "a mapping",
        JsonType::String => "text",
    }
}

/// For a value that is one of several: the nearest one.
fn choice_advice(kind: &Kind, found: &Value) -> String {
    let (Kind::Enum { options }, Some(found)) = (kind, found.as_str()) else {
        return String::new();
    };
    let names = options
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    near::nearest(found, names)
        .map(|name| format!("did you mean `{name}`?"))
        .unwrap_or_default()
}

fn choices(options: &Value) -> String {
    let shown: Vec<String> = options
        .as_array()
        .into_iter()
        .flatten()
        .map(shown_plain)
        .collect();
    near::list(&shown.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Another keyword of the schema that the error broke.
fn sibling<'a>(error: &ValidationError<'_>, schema: &'a Value, keyword: &str) -> Option<&'a Value> {
    let path = error.schema_path().as_str();
    let (parent, _) = path.rsplit_once('/')?;
    schema.pointer(parent)?.get(keyword)
}

fn known_fields(error: &ValidationError<'_>, schema: &Value) -> Vec<String> {
    let properties = sibling(error, schema, "properties").and_then(Value::as_object);
    properties
        .map(|fields| fields.keys().cloned().collect())
        .unwrap_or_default()
}

/// The first sentence of a field's description.
fn field_description(error: &ValidationError<'_>, schema: &Value, field: &str) -> String {
    let path = error.schema_path().as_str();
    let text = path
        .rsplit_once('/')
        .and_then(|(parent, _)| {
            schema
                .pointer(parent)?
                .get("properties")?
                .get(field)?
                .get("description")?
                .as_str()
        })
        .unwrap_or_default();
    let end = text
        .find(". ")
        .or_else(|| text.find(".\n"))
        .unwrap_or(text.len());
    let sentence = text
        .get(..end)
        .unwrap_or_default()
        .trim_end_matches('.')
        .replace('\n', " ");
    if sentence.is_empty() {
        sentence
    } else {
        format!("`{field}`: {sentence}")
    }
}

fn subject(pointer: &str) -> String {
    if pointer.is_empty() {
        "the file".to_owned()
    } else {
        format!("`{}`", spoken(pointer))
    }
}

fn inside(pointer: &str) -> String {
    if pointer.is_empty() {
        String::new()
    } else {
        format!(" in `{}`", spoken(pointer))
    }
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A value as it is named in a sentence.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(flag) => format!("`{flag}`"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.is_empty() => "an empty text".to_owned(),
        Value::String(_) => format!("the text `{}`", shown_plain(value)),
        Value::Array(list) if list.is_empty() => "an empty list".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

fn shown_plain(value: &Value) -> String {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
        .replace(['\n', '\r'], " ");
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(schema: &Value, value: &Value) -> String {
        let found = violations(schema, value).unwrap();
        let line = |one: &Violation| {
            let key = if one.key { " (key)" } else { "" };
            format!(
                "{}{key} {}: {} | {}",
                one.pointer, one.code, one.message, one.advice
            )
        };
        found.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn all_kinds_of_violations_are_told_in_words() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["files", "url"],
            "properties": {
                "files": {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
                "url": {"type": "string", "description": "Where the server is. Ends with a slash."},
                "mode": {"enum": ["append", "replace"]},
                "rows": {"type": "integer", "minimum": 1, "maximum": 9},
                "size": {"type": ["string", "null"], "pattern": "^[0-9]+MiB$", "examples": ["64MiB"]},
                "nested": {"anyOf": [{"$ref": "#/$defs/nested"}, {"type": "null"}]},
                "either": {"anyOf": [{"type": "string"}, {"type": "array"}, {"type": "null"}]},
            },
            "$defs": {"nested": {
                "type": "object", "additionalProperties": false, "properties": {"records": {"type": "integer"}},
            }},
        });
        insta::assert_snapshot!(told(
            &schema,
            &json!({
                "files": ["", 7], "mode": "apend", "rows": 0, "size": "64Mb", "nested": {"recods": 1},
                "either": 5, "delimeter": ";"
            })
        ));
        insta::assert_snapshot!(told(
            &schema,
            &json!({
                "files": [], "url": null, "mode": null, "rows": 10, "size": 64, "nested": {"records": "many"},
            })
        ));
        insta::assert_snapshot!(told(
            &schema,
            &json!({"files": "a.csv", "url": "", "rows": 1.5, "nested": 3})
        ));
        assert_eq!(
            told(
                &schema,
                &json!({"files": ["a"], "url": "x", "nested": null})
            ),
            ""
        );
    }

    #[test]
    fn a_malformed_schema_is_an_error() {
        let error = violations(&json!({"type": "strin"}), &json!({}))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("the JSON Schema is malformed: "),
            "{error}"
        );
        assert!(violations(&json!({"$ref": "https://example.org/x.json"}), &json!({})).is_err());
        let own = violations_of_own(&json!({"$ref": "https://example.org/x.json"}), &json!({}));
        assert!(own.is_err());
    }

    #[test]
    fn a_schema_that_keeps_us_busy_is_an_error() {
        let next = |at: usize| json!({"$ref": format!("#/$defs/a{at}")});
        let mut defs: serde_json::Map<String, Value> = (0..40)
            .map(|at| {
                (
                    format!("a{at}"),
                    json!({"allOf": [next(at + 1), next(at + 1)]}),
                )
            })
            .collect();
        defs.insert("a40".to_owned(), json!({"type": "null"}));
        let schema = json!({"$ref": "#/$defs/a0", "$defs": defs});
        let error = violations(&schema, &json!({})).unwrap_err().to_string();
        assert!(error.contains("its references multiply"), "{error}");
        let error = violations(&json!({"$ref": "#"}), &json!({})).unwrap_err();
        assert_eq!(error, SchemaError::TooMuch(TooMuch::Endless));
        let many: Vec<Value> = (0..1000)
            .map(|at| json!({"required": [format!("f{at}")]}))
            .collect();
        let found = violations(&json!({"allOf": many}), &json!({})).unwrap();
        assert_eq!(found.len(), MAX_VIOLATIONS);
    }

    #[test]
    fn regular_expressions_take_neither_time_nor_memory() {
        let start = std::time::Instant::now();
        let slow = json!({"type": "string", "pattern": r"^(?=(a+)+b)(a|aa)+\1$"});
        violations(&slow, &json!("a".repeat(200))).unwrap();
        let large = json!({"pattern": r"(\w{100}){100}"});
        assert!(violations(&large, &json!("a")).is_err());
        assert!(start.elapsed() < std::time::Duration::from_secs(10));
        assert_eq!(told(&json!({"pattern": r"^\w{1,64}$"}), &json!("abc")), "");
    }
}
