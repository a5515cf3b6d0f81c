//! How records lie in a file of JSON lines: one JSON text per line.

use std::borrow::Cow;

use crossdock_sdk::json::{self, Kind, Object, Value};
use crossdock_sdk::prelude::{BatchBuilder, Fault, Result};
use file_drop::layout::{Layout, Skipped, Skipper, Step, View};
use file_drop::window::Window;

/// The JSON lines layout.
pub(crate) struct Lines {
    /// Fields or JSON pointers whose values are the key.
    pub(crate) key: Vec<String>,
}

impl Layout for Lines {
    type Skipper = LineSkipper;

    fn begin(&mut self, _: &mut Window, _: Option<&str>) -> Result<(u64, String)> {
        Ok((0, String::new()))
    }

    fn step(&mut self, view: View<'_>, out: &mut BatchBuilder) -> Step {
        let (line, used, lines) = match memchr::memchr(b'\n', view.text) {
            Some(at) => (view.text.get(..at).unwrap_or_default(), at + 1, 1),
            None if view.ended => (view.text, view.text.len(), 0),
            None => return Step::More,
        };
        let line = line.trim_ascii_end();
        let text = line.trim_ascii_start();
        if text.is_empty() {
            return Step::Skip { used, lines };
        }
        if let Some(fault) = view.text_fault(used) {
            return Step::Unreadable { used, lines, fault };
        }
        let indent = line.len() - text.len();
        if let Err(error) = json::validate(text) {
            let column = 1 + indent + error.offset();
            let fault =
                Fault::permanent(error.to_string()).at(format!("{}:{column}", view.location(0)));
            return Step::Unreadable { used, lines, fault };
        }
        match self.key_of(text) {
            Ok(key) => {
                out.push(&key, text);
                Step::Record { used, lines }
            }
            Err(fault) => Step::Unreadable {
                used,
                lines,
                fault: fault.at(view.location(0)),
            },
        }
    }

    fn skipper(&self) -> LineSkipper {
        LineSkipper
    }
}

impl Lines {
    /// The record's key: the value of its field, or a JSON array when there are several.
    fn key_of<'a>(&self, text: &'a [u8]) -> Result<Cow<'a, [u8]>> {
        if self.key.is_empty() {
            return Ok(Cow::Borrowed(b""));
        }
        let value = Value::parse(text)?;
        let found = self.key.iter().map(|field| {
            if field.starts_with('/') {
                value.pointer(field)
            } else {
                value.get(field)
            }
        });
        let found: Vec<Option<Value<'a>>> = found
            .map(|value| value.filter(|value| !is_empty(value)))
            .collect();
        if found.iter().all(Option::is_none) {
            let names = self.key.join("`, `");
            return Err(Fault::permanent(format!(
                "the key (`{names}`) is missing or empty"
            )));
        }
        if let [Some(one)] = found.as_slice() {
            return Ok(match one.as_str() {
                Some(Cow::Borrowed(text)) => Cow::Borrowed(text.as_bytes()),
                Some(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
                None => Cow::Borrowed(one.raw()),
            });
        }
        let mut key = vec![b'['];
        for (index, value) in found.iter().enumerate() {
            if index > 0 {
                key.push(b',');
            }
            key.extend_from_slice(value.as_ref().map_or(&b"null"[..], Value::raw));
        }
        key.push(b']');
        Ok(Cow::Owned(key))
    }
}

fn is_empty(value: &Value<'_>) -> bool {
    value.is_null() || (value.kind() == Kind::String && value.raw() == b"\"\"")
}

/// Finds the end of a line without keeping it.
pub(crate) struct LineSkipper;

impl Skipper for LineSkipper {
    fn skip(&mut self, text: &[u8], _: bool) -> Skipped {
        match memchr::memchr(b'\n', text) {
            Some(at) => Skipped {
                used: at + 1,
                lines: 1,
                done: true,
            },
            None => Skipped {
                used: text.len(),
                lines: 0,
                done: false,
            },
        }
    }

    fn fault_at_end(&self) -> Option<&'static str> {
        None
    }
}

/// Appends a JSON text to `out` without the spaces between its tokens, so that it is one line.
pub(crate) fn compact(text: &[u8], out: &mut Vec<u8>) {
    let (mut in_text, mut escaped) = (false, false);
    out.extend(text.iter().copied().filter(|byte| {
        if in_text {
            match (escaped, byte) {
                (true, _) => escaped = false,
                (false, b'\\') => escaped = true,
                (false, b'"') => in_text = false,
                _ => {}
            }
            return true;
        }
        in_text = *byte == b'"';
        !byte.is_ascii_whitespace()
    }));
}

/// Appends the whole record, not only its payload, as one JSON object.
pub(crate) fn envelope(
    (stream, op): (&str, &str),
    (key, headers): (&str, &[u8]),
    payload: Option<&[u8]>,
    out: &mut Vec<u8>,
) {
    let mut object = Object::new();
    object.set("stream", stream);
    object.set("op", op);
    object.set("key", key);
    if !headers.is_empty() {
        object.set_raw("headers", headers);
    }
    if let Some(payload) = payload {
        object.set_raw("payload", payload);
    }
    object.write(out);
}

#[cfg(test)]
mod unit {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn compacting_keeps_the_value(text in "[a-z\"\\\\ \n\t{}]{0,20}", number in any::<i64>()) {
            let value = serde_json::json!({ "a b": [text, number, { "c": null }] });
            let pretty = serde_json::to_vec_pretty(&value).unwrap();
            let mut out = Vec::new();
            compact(&pretty, &mut out);
            prop_assert_eq!(out, serde_json::to_vec(&value).unwrap());
        }
    }
}
