//! What it takes to find out whether two items of a list are the same.
//!
//! Few items are compared each with each; many are put together by a hash, and only those with the same one are compared.
//! That hash leaves out how lists are nested, takes numbers for the nearest one of floating point, and adds up fields in a
//! way in which fields can be chosen that come to the same: whoever writes the values can make them all alike. So here is
//! counted what is alike, never less than there is.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher},
};

use serde_json::Value;

use super::{STEP_BYTES, children};

/// Lists up to this length are compared each with each.
const FEW: usize = 15;
/// Objects with more fields can be made to have the same hash.
const FIELDS: usize = 32;

/// Steps for a list whose items must differ.
pub(super) fn steps(items: &[Value]) -> u64 {
    let mut steps: u64 = 0;
    let mut alike: HashMap<u64, u64> = HashMap::new();
    for (at, item) in items.iter().enumerate() {
        let weight = weight(item);
        let before = if items.len() <= FEW {
            at as u64
        } else {
            let mut hasher = DefaultHasher::new();
            hash(item, &mut hasher);
            let count = alike.entry(hasher.finish()).or_default();
            *count += 1;
            *count - 1
        };
        // Once for its hash, and once for each that it is compared with.
        steps = steps.saturating_add(weight.saturating_mul(before + 1));
    }
    steps
}

/// What it takes to go through a value.
fn weight(value: &Value) -> u64 {
    let bytes = |text: &str| text.len() as u64 / STEP_BYTES;
    let mut weight: u64 = 0;
    let mut rest = vec![value];
    while let Some(value) = rest.pop() {
        let own = match value {
            Value::String(text) => bytes(text),
            Value::Object(fields) => fields.keys().map(|name| bytes(name)).sum(),
            _ => 0,
        };
        weight = weight.saturating_add(1 + own);
        rest.extend(children(value));
    }
    weight
}

/// The same for all values that the library may take for alike before it compares them.
fn hash(value: &Value, hasher: &mut DefaultHasher) {
    match value {
        Value::Null => hasher.write_u8(0),
        Value::Bool(value) => value.hash(hasher),
        Value::Number(number) => {
            let near = number.as_f64().unwrap_or_default();
            hasher.write_u64(if near == 0.0 { 0 } else { near.to_bits() });
        }
        Value::String(text) => text.hash(hasher),
        Value::Array(items) => items.iter().for_each(|item| hash(item, hasher)),
        Value::Object(fields) if fields.len() > FIELDS => hasher.write_usize(FIELDS),
        Value::Object(fields) => {
            let mut all = 0;
            for (name, value) in fields {
                let mut field = DefaultHasher::new();
                name.hash(&mut field);
                hash(value, &mut field);
                all ^= field.finish();
            }
            hasher.write_u64(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_alike_is_compared() {
        let same = |make: fn(u64) -> Value| {
            let items: Vec<_> = (0..1000).map(make).collect();
            steps(&items)
        };
        // Once each.
        assert_eq!(same(|at| json!(at)), 1000);
        assert_eq!(same(|at| json!(at.to_string())), 1000);
        assert_eq!(same(|at| json!({ "sku": at })), 2000);
        assert_eq!(same(|at| json!([at])), 2000);
        assert_eq!(same(|at| json!("x".repeat(64) + &at.to_string())), 2000);
        // Each with each.
        let pairs = 1000 * 999 / 2;
        assert_eq!(same(|_| json!(1)), 1000 + pairs);
        assert!(same(|at| json!(u64::MAX - at)) > 100_000);
        let nested = same(|at| (0..at % 100).fold(json!([]), |inner, _| json!([inner])));
        assert!(nested > pairs * 10, "{nested}");
        let wide = |at: u64| {
            let fields = (0..40).map(|field| (field.to_string(), json!(at)));
            Value::Object(fields.collect())
        };
        assert!(same(wide) > pairs * 40);
        // Few of them always.
        let few: Vec<_> = (0..15).map(|at| json!(at)).collect();
        assert_eq!(steps(&few), 15 + 15 * 14 / 2);
    }
}
