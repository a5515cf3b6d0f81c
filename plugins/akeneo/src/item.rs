//! One item of a page.

use crossdock_sdk::json::Object;

use crate::config::Config;
use crate::stream::Stream;

/// A text field of an item.
pub(crate) fn text(item: &Object<'_>, field: &str) -> Option<String> {
    item.get(field)
        .and_then(|value| value.as_str().map(std::borrow::Cow::into_owned))
        .filter(|text| !text.is_empty())
}

/// The key of an item: its code, identifier or uuid; for an option `attribute.code`. A field that only names the
/// parent may be missing in the item.
pub(crate) fn key(
    stream: Stream,
    config: &Config,
    item: &Object<'_>,
    parent: Option<&str>,
) -> Option<String> {
    let nesting = stream.nesting();
    let mut key = String::new();
    for field in stream.key_fields(config) {
        let named_by_parent = nesting.is_some_and(|nesting| nesting.field == *field);
        let part = match (text(item, field), parent) {
            (Some(part), _) => part,
            (None, Some(parent)) if named_by_parent => parent.to_owned(),
            _ => return None,
        };
        if !key.is_empty() {
            key.push('.');
        }
        key.push_str(&part);
    }
    Some(key)
}

/// The item with one more field in front. The rest of its bytes stays as it was.
pub(crate) fn with_field(item: &[u8], field: &str, value: &str) -> Vec<u8> {
    let inside = item
        .iter()
        .position(|byte| *byte == b'{')
        .map_or(item, |at| item.get(at + 1..).unwrap_or_default());
    let empty = inside.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'}');
    let mut out = Vec::with_capacity(item.len() + field.len() + value.len() + 8);
    out.push(b'{');
    out.extend_from_slice(serde_json::Value::from(field).to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(serde_json::Value::from(value).to_string().as_bytes());
    if !empty {
        out.push(b',');
    }
    out.extend_from_slice(inside);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_put_in_front() {
        assert_eq!(
            with_field(br#"{"a":1.0}"#, "f\"", "x"),
            br#"{"f\"":"x","a":1.0}"#
        );
        assert_eq!(with_field(b" { } ", "f", "x"), br#"{"f":"x" } "#);
    }
}
