//! Digests of JSON that do not depend on the order of keys or on formatting.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// `sha256:…` of the canonical text of a value.
pub(super) fn of(value: &Value) -> String {
    let mut text = String::new();
    canonical(value, &mut text);
    format!("sha256:{}", hex::encode(Sha256::digest(text.as_bytes())))
}

/// JSON without white space, object keys sorted by their bytes.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| name.as_bytes());
            text.push('{');
            for (position, (name, field)) in sorted.into_iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                canonical(field, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                canonical(item, text);
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_does_not_matter_but_values_do() {
        let parse = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
        let digest = of(&parse(r#"{"b": [1, {"y": 2, "x": null}], "a": "ä"}"#));
        assert_eq!(digest, of(&parse(r#"{"a":"ä","b":[1,{"x":null,"y":2}]}"#)));
        assert_ne!(digest, of(&parse(r#"{"a":"ä","b":[1,{"x":null,"y":3}]}"#)));
        let mut text = String::new();
        canonical(&parse(r#"{"b": [1.5, true], "a\"": {}}"#), &mut text);
        assert_eq!(text, r#"{"a\"":{},"b":[1.5,true]}"#);
    }
}
