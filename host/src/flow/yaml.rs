//! YAML text to a JSON value and the places of its parts.

use std::{fmt, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::{MessageFormatter as _, Spanned, UserMessageFormatter};

use super::{
    finding::{Finding, Location},
    place::{Mark, Place, Places, child},
};

/// Values that aliases may bring in: enough for every real file, too few to eat the memory.
const MAX_ALIASED: usize = 100_000;

/// Lists and objects inside of each other. The parser recurses, and needs some 32 KiB of stack a level in a build without
/// optimisation, of the 2 MiB that a thread has.
const MAX_DEPTH: usize = 32;

/// Parses one YAML document. Only the first syntax error is known: behind it the text has no sure meaning.
pub(super) fn parse(text: &str, file: &Path) -> Result<(Value, Places), Vec<Finding>> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_ALIASED },
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        strict_booleans: true,
        with_snippet: false,
    };
    let node: Spanned<Node> = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| vec![finding(&error, text, file)])?;
    let mut places = Places::new(file.to_path_buf());
    let value = settle(node, None, String::new(), &mut places);
    match lossy(&value, "", text, &places) {
        Some(finding) => Err(vec![finding]),
        None => Ok((value, places)),
    }
}

/// A whole number that did not fit 64 bits and became an inexact one: nobody wants that unseen.
fn lossy(value: &Value, pointer: &str, text: &str, places: &Places) -> Option<Finding> {
    match value {
        Value::Array(items) => {
            let mut items = items.iter().enumerate();
            items.find_map(|(at, item)| lossy(item, &child(pointer, &at.to_string()), text, places))
        }
        Value::Object(fields) => fields
            .iter()
            .find_map(|(name, field)| lossy(field, &child(pointer, name), text, places)),
        Value::Number(number) if number.is_f64() => {
            let at = places.locate(pointer)?;
            let written = text.get(at.offset..at.offset.checked_add(at.length)?)?;
            let whole = !written.is_empty()
                && written
                    .trim_start_matches(['+', '-'])
                    .bytes()
                    .all(|c| c.is_ascii_digit());
            let message = format!("the number {written} does not fit 64 bits");
            let advice = "put it in quotes if it is meant as text";
            whole.then(|| Finding::error("flow.yaml", message).at(at).advice(advice))
        }
        _ => None,
    }
}

/// A parse error at its place.
fn finding(error: &serde_saphyr::Error, text: &str, file: &Path) -> Finding {
    let error = error.without_snippet();
    let message = UserMessageFormatter.format_message(error);
    let location = error.location().map(|at| {
        let mark = mark(at);
        // The end of the file has no character to point at.
        let offset = mark.offset.min(text.len());
        Location {
            file: file.to_path_buf(),
            line: mark.line,
            column: mark.column,
            offset,
            length: mark.length.clamp(0, text.len() - offset),
        }
    });
    if let serde_saphyr::Error::Budget {
        breach: serde_saphyr::budget::BudgetBreach::Depth { .. },
        ..
    } = error
    {
        let message =
            format!("lists and objects are more than {MAX_DEPTH} deep inside of each other");
        return Finding::error("flow.yaml", message).at(location);
    }
    let advice = if message.contains("duplicate") {
        "remove one of them"
    } else if text
        .lines()
        .any(|line| line.trim_start_matches(' ').starts_with('\t'))
    {
        "YAML is indented with spaces, not with tabs"
    } else {
        ""
    };
    Finding::error("flow.yaml", format!("this is not valid YAML: {message}"))
        .at(location)
        .advice(advice)
}

fn mark(at: serde_saphyr::Location) -> Mark {
    let number = |wide: u64| usize::try_from(wide).unwrap_or(usize::MAX);
    let span = at.span();
    Mark {
        line: u32::try_from(at.line()).unwrap_or(u32::MAX).max(1),
        column: u32::try_from(at.column()).unwrap_or(u32::MAX).max(1),
        offset: number(span.byte_offset().unwrap_or_else(|| span.offset())),
        length: number(span.byte_len().unwrap_or_else(|| span.len())),
    }
}

/// Splits a tree of located nodes into the value and its places.
fn settle(node: Spanned<Node>, key: Option<Mark>, pointer: String, places: &mut Places) -> Value {
    let value = match node.value {
        Node::Scalar(value) => value,
        Node::List(items) => {
            let settle_item =
                |(at, item)| settle(item, None, child(&pointer, &usize::to_string(&at)), places);
            Value::Array(items.into_iter().enumerate().map(settle_item).collect())
        }
        Node::Map(fields) => {
            let settle_field = |(name, field): (Spanned<String>, Spanned<Node>)| {
                let pointer = child(&pointer, &name.value);
                let value = settle(field, Some(mark(name.referenced)), pointer, places);
                (name.value, value)
            };
            Value::Object(fields.into_iter().map(settle_field).collect::<Map<_, _>>())
        }
    };
    places.insert(
        pointer,
        Place {
            key,
            value: mark(node.referenced),
        },
    );
    value
}

enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, number, boolean, null, list or mapping")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Node, E> {
        Err(E::custom(format!(
            "the number {value} does not fit 64 bits"
        )))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Node, E> {
        Err(E::custom(format!(
            "the number {value} does not fit 64 bits"
        )))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        let number =
            Number::from_f64(value).ok_or_else(|| E::custom("this number is not finite"))?;
        Ok(Node::Scalar(number.into()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        Node::deserialize(from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = from.next_entry()? {
            fields.push(field);
        }
        Ok(Node::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> (Value, Places) {
        parse(text, Path::new("a.yaml")).unwrap()
    }

    fn error(text: &str) -> String {
        parse(text, Path::new("a.yaml")).unwrap_err()[0].to_string()
    }

    #[test]
    fn what_is_too_deep_is_refused_and_overflows_no_stack() {
        let lists = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let objects = |depth: usize| {
            let line = |level: usize| format!("{}a:\n", " ".repeat(level));
            (0..depth).map(line).collect::<Vec<_>>().concat()
        };
        read(&lists(MAX_DEPTH));
        read(&objects(MAX_DEPTH));
        for text in [lists(MAX_DEPTH + 1), objects(MAX_DEPTH + 1)] {
            let told = error(&text);
            assert!(told.contains("more than 32 deep"), "{told}");
        }
        let told = error(&lists(100_000));
        assert!(told.contains("recursion limit exceeded"), "{told}");
    }

    #[test]
    fn values_and_places_are_found() {
        let text = "ä: [1, -2, 0.5]\nb:\n  c: 'x y'\n  d: no\n  e: 007\n  f:\n";
        let (value, places) = read(text);
        let expected =
            json!({"ä": [1, -2, 0.5], "b": {"c": "x y", "d": "no", "e": "007", "f": null}});
        assert_eq!(value, expected);
        let at = |pointer: &str| {
            let at = places.locate(pointer).unwrap();
            (
                at.to_string(),
                text[at.offset..at.offset + at.length].to_owned(),
            )
        };
        assert_eq!(at("/ä/1"), ("a.yaml:1:8".into(), "-2".into()));
        assert_eq!(at("/b/c"), ("a.yaml:3:6".into(), "'x y'".into()));
        assert_eq!(at("/b/c/not/there"), ("a.yaml:3:6".into(), "'x y'".into()));
        let key = places.locate_key("/b/d").unwrap();
        assert_eq!(
            (key.to_string(), &text[key.offset..key.offset + key.length]),
            ("a.yaml:4:3".into(), "d")
        );
    }

    #[test]
    fn anchors_are_expanded_at_their_use() {
        let (value, places) = read("a: &x {b: 1}\nc: *x\n");
        assert_eq!(value, json!({"a": {"b": 1}, "c": {"b": 1}}));
        assert_eq!(places.locate("/c").unwrap().line, 2);
    }

    #[test]
    fn syntax_errors_name_line_and_column() {
        let cases = [
            "a: [1, 2\nb: 3\n",
            "a: 1\na: 2\n",
            "a:\n\tb: 1\n",
            "a: 99999999999999999999999\n",
            "a: .nan\n",
            "a: 1\n---\nb: 2\n",
            "a: *none\n",
            "a: 'open\n",
        ];
        let told: Vec<String> = cases
            .iter()
            .map(|text| format!("{text:?}\n  {}", error(text)))
            .collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let before = format!("*a{}", level - 1);
            let line = format!(
                "a{level}: &a{level} [{}]\n",
                [before.as_str(); 10].join(", ")
            );
            text.push_str(&line);
        }
        assert!(error(&text).contains("too"), "{}", error(&text));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z0-9:\\-\\[\\]{}&*!|>'\"%@`#,?~. \n\t]{0,80}") {
            let _ = parse(&text, Path::new("a.yaml"));
        }
    }
}
