//! JSON texts as they are: keys in their order, numbers as written. A tree would change both.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

const STEP: &str = "  ";

/// Bytes that are a JSON text, some other text, or neither.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    fn json(self) -> Option<&'a RawValue> {
        serde_json::from_slice(self.0).ok()
    }

    /// Indented where it is JSON, as it is where it is another text, `None` where it is none.
    pub fn pretty(self) -> Option<Cow<'a, str>> {
        match self.json() {
            Some(json) => Some(indented(json.get()).into()),
            None => std::str::from_utf8(self.0).ok().map(Cow::Borrowed),
        }
    }
}

/// JSON is put there as it is, another text as a string, other bytes as `{"base64": "..."}`.
impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        use serde::ser::SerializeMap as _;
        if let Some(json) = self.json() {
            return json.serialize(to);
        }
        if let Ok(text) = std::str::from_utf8(self.0) {
            return to.serialize_str(text);
        }
        let mut map = to.serialize_map(Some(1))?;
        map.serialize_entry("base64", &STANDARD.encode(self.0))?;
        map.end()
    }
}

/// A valid JSON text on one line. Only white space outside of strings changes.
pub(super) fn compact(json: &str) -> String {
    json.chars().filter(char_outside()).collect()
}

/// A valid JSON text with one value a line. Only white space outside of strings changes.
fn indented(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut chars = json.chars().filter(char_outside()).peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                out.push('"');
                let mut escaped = false;
                // The filter keeps all of a string.
                for c in chars.by_ref() {
                    out.push(c);
                    match c {
                        '"' if !escaped => break,
                        '\\' => escaped = !escaped,
                        _ => escaped = false,
                    }
                }
            }
            '{' | '[' => {
                out.push(c);
                if let Some(close) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c => out.push(c),
        }
    }
    out
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.push_str(&STEP.repeat(depth));
}

/// Says of each character of a JSON text, in order, whether it counts: white space outside of strings does not.
fn char_outside() -> impl FnMut(&char) -> bool {
    let (mut inside, mut escaped) = (false, false);
    move |c| {
        if inside {
            match c {
                '"' if !escaped => inside = false,
                '\\' => escaped = !escaped,
                _ => escaped = false,
            }
            return true;
        }
        escaped = false;
        inside = *c == '"';
        !c.is_ascii_whitespace()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn order_and_numbers_stay_as_written() {
        let text = r#" {"z": 12.50, "a":[1e2,  {}, [ ], "x, \"y\": {\\"], "m":{"k":null}} "#;
        let expected = "{\n  \"z\": 12.50,\n  \"a\": [\n    1e2,\n    {},\n    [],\n    \"x, \\\"y\\\": {\\\\\"\n  ],\n  \
                        \"m\": {\n    \"k\": null\n  }\n}";
        assert_eq!(Bytes(text.as_bytes()).pretty().unwrap(), expected);
        assert_eq!(Bytes(b"no json").pretty().unwrap(), "no json");
        assert_eq!(Bytes(&[0xFF]).pretty(), None);
        let shown = |bytes: &[u8]| serde_json::to_string(&Bytes(bytes)).unwrap();
        assert_eq!(shown(b"{\"a\":1.50}"), "{\"a\":1.50}");
        assert_eq!(
            [shown(b"a\"b"), shown(&[0xFF, 0])],
            ["\"a\\\"b\"", "{\"base64\":\"/wA=\"}"]
        );
    }

    proptest! {
        #[test]
        fn indenting_changes_no_value(text in "\\PC{0,12}", number in any::<i64>(), pretty in any::<bool>()) {
            let value = serde_json::json!({&text: [number, {"k": &text}, [], {}], "b": [[&text]]});
            let json = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let indented = indented(&json);
            prop_assert_eq!(&indented, &serde_json::to_string_pretty(&value).unwrap());
            prop_assert_eq!(serde_json::from_str::<Value>(&indented).unwrap(), value.clone());
            prop_assert_eq!(compact(&json), serde_json::to_string(&value).unwrap());
        }
    }
}
