//! What it takes to check a value against a schema, counted before it is done.
//!
//! Schemas of plugins are written by strangers, and a few hundred bytes can ask for more checks than anybody has time for:
//! forty schemas, each of them twice the next one, are 2^40 checks of the same value. So the checks are counted, each
//! schema and each part of the value once, which takes no longer than both of them are large. A schema that refers to
//! itself for a part of the value is fine: it ends where the value ends. One that does so for the same value never does.

use std::collections::{HashMap, hash_map::Entry};

use serde_json::{Map, Value};

/// Steps that any value may take, and those that each part of a larger one may take beyond.
const STEPS: (u64, u64) = (200_000, 200);
/// Schemas inside of each other, as they are followed: each is some hundred bytes of the stack.
const DEPTH: u32 = 128;
/// Regular expressions of a schema.
const PATTERNS: usize = 100;
/// Steps that count for trying a regular expression.
const PATTERN_STEPS: u64 = 100;
/// Bytes of text that count as a step.
const STEP_BYTES: u64 = 64;

/// Why a schema is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// It never ends.
    #[error("it refers to itself for the same value, without an end")]
    Endless,
    /// It ends too late.
    #[error("its references multiply: checking a value takes more than {0} steps")]
    Steps(u64),
    /// It fills the stack.
    #[error("more than {DEPTH} schemas are inside of each other")]
    Deep,
    /// It fills the memory.
    #[error("it has more than {PATTERNS} regular expressions")]
    Patterns,
    /// It cannot be counted.
    #[error(
        "the reference `{0}` does not lead to a place of the schema itself, such as `#/$defs/name`"
    )]
    Foreign(String),
    /// It cannot be counted.
    #[error("it has a `$id` below its root")]
    InnerId,
}

/// Whether checking this value against it comes to an end soon.
pub(super) fn of_value(schema: &Value, value: &Value) -> Result<(), TooMuch> {
    let most = STEPS.0 + STEPS.1.saturating_mul(parts(value));
    let mut counter = Counter::new(schema, most)?;
    let cost = counter.schema(schema, Some(value))?;
    cost.within(most)
}

/// Whether checking a single value, whatever it is, comes to an end soon. Values in values are not looked at.
pub(super) fn of_any(schema: &Value) -> Result<(), TooMuch> {
    let mut counter = Counter::new(schema, STEPS.0)?;
    for place in places(schema) {
        counter.schema(place, None)?.within(STEPS.0)?;
    }
    Ok(())
}

/// How many values a value consists of.
fn parts(value: &Value) -> u64 {
    let mut count = 0;
    let mut rest = vec![value];
    while let Some(value) = rest.pop() {
        count += 1;
        rest.extend(children(value));
    }
    count
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

/// What is below a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Below {
    One,
    List,
    Named,
}

/// Keywords whose schemas are for the same value.
fn same_value(keyword: &str) -> Option<Below> {
    match keyword {
        "not" | "if" | "then" | "else" => Some(Below::One),
        "allOf" | "anyOf" | "oneOf" => Some(Below::List),
        "dependentSchemas" | "dependencies" => Some(Below::Named),
        _ => None,
    }
}

/// Keywords whose schemas are for parts of the value, or that only keep some.
fn another_value(keyword: &str) -> Option<&'static [Below]> {
    match keyword {
        "additionalProperties"
        | "unevaluatedProperties"
        | "propertyNames"
        | "contains"
        | "additionalItems"
        | "unevaluatedItems" => Some(&[Below::One]),
        "items" => Some(&[Below::One, Below::List]),
        "prefixItems" => Some(&[Below::List]),
        "properties" | "patternProperties" | "$defs" | "definitions" => Some(&[Below::Named]),
        _ => None,
    }
}

fn is_schema(value: &Value) -> bool {
    value.is_object() || value.is_boolean()
}

/// Schemas directly below a keyword, with the length of what leads to each.
fn below(inner: &Value, below: Below) -> Vec<(&Value, u64)> {
    match (below, inner) {
        (Below::One, inner) if is_schema(inner) => vec![(inner, 0)],
        (Below::List, Value::Array(items)) => items.iter().map(|item| (item, 4)).collect(),
        (Below::Named, Value::Object(fields)) => fields
            .iter()
            .filter(|(_, schema)| is_schema(schema))
            .map(|(name, schema)| (schema, name.len() as u64 + 1))
            .collect(),
        _ => Vec::new(),
    }
}

/// Every schema in a schema, itself too.
fn places(schema: &Value) -> Vec<&Value> {
    let mut places = vec![schema];
    let mut at = 0;
    while let Some(place) = places.get(at).copied() {
        at += 1;
        for (keyword, inner) in place.as_object().into_iter().flatten() {
            let kinds = same_value(keyword).map(|kind| vec![kind]);
            let kinds = kinds.or_else(|| another_value(keyword).map(<[_]>::to_vec));
            for kind in kinds.unwrap_or_default() {
                places.extend(below(inner, kind).into_iter().map(|(schema, _)| schema));
            }
        }
    }
    places
}

/// What a schema takes for a value.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    steps: u64,
    /// Schemas inside of each other.
    height: u32,
    /// Bytes of the longest way through them: it is in every error.
    way: u64,
}

impl Cost {
    fn add(&mut self, inner: Self, way: u64) {
        self.steps = self.steps.saturating_add(inner.steps);
        self.height = self.height.max(inner.height);
        self.way = self.way.max(inner.way.saturating_add(way));
    }

    fn within(self, most: u64) -> Result<(), TooMuch> {
        if self.steps.saturating_mul(1 + self.way / STEP_BYTES) > most {
            return Err(TooMuch::Steps(most));
        }
        Ok(())
    }
}

/// A value that stands for the names of fields.
static NAME: Value = Value::Null;

struct Counter<'a> {
    root: &'a Value,
    anchors: HashMap<&'a str, Vec<&'a Value>>,
    /// What is known of a schema for a value. `None`: it is being counted.
    known: HashMap<(*const Value, Option<*const Value>), Option<Cost>>,
    most: u64,
    depth: u32,
}

impl<'a> Counter<'a> {
    fn new(root: &'a Value, most: u64) -> Result<Self, TooMuch> {
        let mut anchors: HashMap<&str, Vec<&Value>> = HashMap::new();
        let mut patterns = 0;
        // Everywhere, also where no schema is expected: a reference can lead there.
        let mut rest = vec![root];
        while let Some(value) = rest.pop() {
            rest.extend(children(value));
            let Some(fields) = value.as_object() else {
                continue;
            };
            for keyword in ["$anchor", "$dynamicAnchor"] {
                if let Some(name) = fields.get(keyword).and_then(Value::as_str) {
                    anchors.entry(name).or_default().push(value);
                }
            }
            patterns += usize::from(fields.get("pattern").is_some_and(Value::is_string));
            let named = fields.get("patternProperties").and_then(Value::as_object);
            patterns += named.map_or(0, Map::len);
        }
        if patterns > PATTERNS {
            return Err(TooMuch::Patterns);
        }
        let inner_id = |place: &&Value| {
            !std::ptr::eq(*place, root) && place.get("$id").is_some_and(Value::is_string)
        };
        if places(root).iter().any(inner_id) {
            return Err(TooMuch::InnerId);
        }
        Ok(Self {
            root,
            anchors,
            known: HashMap::new(),
            most,
            depth: 0,
        })
    }

    /// With a value, all that is checked for it and for its parts; without, what is checked for one value.
    fn schema(&mut self, schema: &'a Value, value: Option<&Value>) -> Result<Cost, TooMuch> {
        let Some(fields) = schema.as_object() else {
            return Ok(Cost {
                steps: 1,
                ..Cost::default()
            });
        };
        let place = (std::ptr::from_ref(schema), value.map(std::ptr::from_ref));
        if self.known.len() as u64 > self.most {
            return Err(TooMuch::Steps(self.most));
        }
        match self.known.entry(place) {
            Entry::Occupied(known) => return known.get().ok_or(TooMuch::Endless),
            Entry::Vacant(place) => place.insert(None),
        };
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(TooMuch::Deep);
        }
        let mut cost = Cost::default();
        for (keyword, inner) in fields {
            cost.steps = cost.steps.saturating_add(own_steps(keyword, inner));
            self.keyword(keyword, inner, value, &mut cost)?;
        }
        // To know what the others have looked at, they are asked once more.
        if fields.keys().any(|name| name.starts_with("unevaluated")) {
            cost.steps = cost.steps.saturating_mul(2);
        }
        cost.steps = cost.steps.saturating_add(1);
        cost.height += 1;
        self.depth -= 1;
        if cost.height > DEPTH {
            return Err(TooMuch::Deep);
        }
        cost.within(self.most)?;
        self.known.insert(place, Some(cost));
        Ok(cost)
    }

    fn keyword(
        &mut self,
        keyword: &str,
        inner: &'a Value,
        value: Option<&Value>,
        cost: &mut Cost,
    ) -> Result<(), TooMuch> {
        let word = keyword.len() as u64 + 1;
        if let ("$ref" | "$dynamicRef" | "$recursiveRef", Some(to)) = (keyword, inner.as_str()) {
            for target in self.targets(to)? {
                cost.add(self.schema(target, value)?, word + to.len() as u64);
            }
        } else if let Some(kind) = same_value(keyword) {
            for (schema, way) in below(inner, kind) {
                cost.add(self.schema(schema, value)?, word + way);
            }
        } else if let Some(value) = value {
            for (schema, part, way) in parts_for(keyword, inner, value) {
                if keyword == "patternProperties" {
                    cost.steps = cost.steps.saturating_add(PATTERN_STEPS);
                }
                cost.add(self.schema(schema, Some(part))?, word + way);
            }
        }
        Ok(())
    }

    /// Where a reference may lead to.
    fn targets(&self, reference: &str) -> Result<Vec<&'a Value>, TooMuch> {
        let foreign = || TooMuch::Foreign(reference.chars().take(100).collect());
        let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let own = self.root.get("$id").and_then(Value::as_str);
        let own = own.map(|id| id.trim_end_matches('#'));
        if !base.is_empty() && Some(base) != own {
            return Err(foreign());
        }
        let fragment = decoded(fragment).ok_or_else(foreign)?;
        if fragment.is_empty() {
            return Ok(vec![self.root]);
        }
        if fragment.starts_with('/') {
            let target = self.root.pointer(&fragment);
            return target.map(|target| vec![target]).ok_or_else(foreign);
        }
        let named = self.anchors.get(fragment.as_str());
        named.cloned().ok_or_else(foreign)
    }
}

/// What a keyword takes beside the schemas below it.
fn own_steps(keyword: &str, inner: &Value) -> u64 {
    match keyword {
        "pattern" => PATTERN_STEPS,
        // They are in the errors.
        "required" | "enum" | "const" | "type" | "dependentRequired" => {
            let mut steps = 0;
            let mut rest = vec![inner];
            while let Some(value) = rest.pop() {
                steps += 1 + value.as_str().map_or(0, str::len) as u64 / STEP_BYTES;
                rest.extend(children(value));
            }
            steps
        }
        _ => 0,
    }
}

/// The schemas of a keyword, the parts of the value that each is for, and the length of the way to it.
fn parts_for<'s, 'v>(
    keyword: &str,
    inner: &'s Value,
    value: &'v Value,
) -> Vec<(&'s Value, &'v Value, u64)> {
    let fields = value.as_object();
    let items = value.as_array();
    let for_all = |values: Vec<&'v Value>, kind: Below| {
        let pair = |value: &'v Value| {
            let schemas = below(inner, kind).into_iter();
            schemas.map(move |(schema, way)| (schema, value, way))
        };
        values.into_iter().flat_map(pair).collect::<Vec<_>>()
    };
    let one_by_one = || {
        let schemas = below(inner, Below::List).into_iter();
        let pairs = schemas.zip(items.into_iter().flatten());
        pairs
            .map(|((schema, way), value)| (schema, value, way))
            .collect()
    };
    let of_fields = || fields.into_iter().flat_map(Map::values).collect();
    let of_items = || items.into_iter().flatten().collect();
    match keyword {
        "properties" => {
            let schemas = inner.as_object().into_iter().flatten();
            schemas
                .filter(|(_, schema)| is_schema(schema))
                .filter_map(|(name, schema)| {
                    Some((schema, fields?.get(name)?, name.len() as u64 + 1))
                })
                .collect()
        }
        "patternProperties" => for_all(of_fields(), Below::Named),
        "additionalProperties" | "unevaluatedProperties" => for_all(of_fields(), Below::One),
        "propertyNames" => for_all(vec![&NAME; fields.map_or(0, Map::len)], Below::One),
        "items" if inner.is_array() => one_by_one(),
        "prefixItems" => one_by_one(),
        "items" | "additionalItems" | "unevaluatedItems" | "contains" => {
            for_all(of_items(), Below::One)
        }
        _ => Vec::new(),
    }
}

/// A fragment of a URI without its percent signs.
fn decoded(fragment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Schemas of which each is twice the next one, for the value that `inside` makes of it.
    fn doubling(count: usize, inside: impl Fn(Value) -> Value) -> Value {
        let mut defs = Map::new();
        for at in 0..count {
            let next = json!({ "$ref": format!("#/$defs/a{}", at + 1) });
            let twice = json!({ "allOf": [next, next] });
            defs.insert(format!("a{at}"), inside(twice));
        }
        defs.insert(format!("a{count}"), json!({ "required": ["nothing"] }));
        json!({ "$ref": "#/$defs/a0", "$defs": defs })
    }

    fn nested(depth: usize) -> Value {
        (0..depth).fold(json!({}), |inner, _| json!({ "x": inner }))
    }

    #[test]
    fn what_multiplies_is_refused() {
        let same = doubling(40, |twice| twice);
        assert!(matches!(of_any(&same), Err(TooMuch::Steps(_))));
        assert!(matches!(
            of_value(&same, &json!({})),
            Err(TooMuch::Steps(_))
        ));
        assert_eq!(of_value(&doubling(8, |twice| twice), &json!({})), Ok(()));
        // One level of the value for each level of the schema.
        for keyword in ["properties", "patternProperties", "additionalProperties"] {
            let below = |twice: Value| match keyword {
                "additionalProperties" => json!({ keyword: twice }),
                _ => json!({ keyword: { "x": twice } }),
            };
            let deep = doubling(40, below);
            assert_eq!(of_any(&deep), Ok(()), "{keyword}");
            assert_eq!(of_value(&deep, &nested(3)), Ok(()), "{keyword}");
            let error = of_value(&deep, &nested(40)).unwrap_err();
            assert!(matches!(error, TooMuch::Steps(_)), "{keyword}");
        }
        // And one that is recursive.
        let own =
            json!({ "additionalProperties": { "allOf": [{ "$ref": "#" }, { "$ref": "#" }] } });
        assert_eq!(of_value(&own, &nested(4)), Ok(()));
        assert!(matches!(
            of_value(&own, &nested(30)),
            Err(TooMuch::Steps(_))
        ));
        let items = json!({ "items": { "anyOf": [{ "$ref": "#" }, { "$ref": "#" }] } });
        let lists = (0..30).fold(json!([]), |inner, _| json!([inner]));
        assert!(matches!(of_value(&items, &lists), Err(TooMuch::Steps(_))));
    }

    #[test]
    fn what_has_no_end_is_refused() {
        for schema in [
            json!({ "$ref": "#" }),
            json!({ "allOf": [{ "not": { "$ref": "#" } }] }),
            json!({ "$ref": "#a", "$defs": { "a": { "$anchor": "a", "anyOf": [{ "$dynamicRef": "#a" }] } } }),
        ] {
            assert_eq!(of_any(&schema), Err(TooMuch::Endless), "{schema}");
            assert_eq!(
                of_value(&schema, &json!(1)),
                Err(TooMuch::Endless),
                "{schema}"
            );
        }
    }

    #[test]
    fn long_chains_many_patterns_and_long_ways_are_refused() {
        let mut defs = Map::new();
        for at in 0..5000 {
            defs.insert(
                format!("a{at}"),
                json!({ "$ref": format!("#/$defs/a{}", at + 1) }),
            );
        }
        defs.insert("a5000".to_owned(), json!(true));
        let chain = json!({ "$ref": "#/$defs/a0", "$defs": defs });
        assert_eq!(of_any(&chain), Err(TooMuch::Deep));
        let patterns: Vec<_> = (0..200).map(|_| json!({ "pattern": "x" })).collect();
        assert_eq!(
            of_any(&json!({ "anyOf": patterns })),
            Err(TooMuch::Patterns)
        );
        // Each error tells the whole way.
        let name = "n".repeat(100_000);
        let fields: Vec<_> = (0..1000)
            .map(|_| json!({ "$ref": "#/$defs/leaf" }))
            .collect();
        let long = json!({
            "$ref": format!("#/$defs/{name}"),
            "$defs": { name: { "allOf": fields }, "leaf": { "type": "null" } },
        });
        assert!(matches!(of_any(&long), Err(TooMuch::Steps(_))));
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        for reference in [
            "https://example.org/x",
            "#/$defs/none",
            "#none",
            "x#/y",
            "#/%zz",
        ] {
            let error = of_any(&json!({ "$ref": reference })).unwrap_err();
            assert_eq!(error, TooMuch::Foreign(reference.to_owned()));
        }
        let inner = json!({ "properties": { "a": { "$id": "https://example.org/a" } } });
        assert_eq!(of_any(&inner), Err(TooMuch::InnerId));
        // A field of a config may have the name of a keyword.
        let field =
            json!({ "properties": { "$id": { "type": "string" }, "$ref": { "type": "string" } } });
        assert_eq!(
            of_value(&field, &json!({ "$id": "x", "$ref": "y" })),
            Ok(())
        );
    }

    #[test]
    fn what_people_write_is_fine() {
        let filter = json!({
            "$id": "https://example.org/filter",
            "anyOf": [
                { "type": "object", "properties": { "all": { "items": { "$ref": "#" } } }, "required": ["all"] },
                { "type": "object", "properties": { "any": { "items": { "$ref": "https://example.org/filter#" } } }, "required": ["any"] },
                { "$ref": "#/$defs/my%20test" },
            ],
            "$defs": { "my test": { "type": "object", "properties": { "field": { "type": "string", "pattern": "^[a-z]+$" } } } },
        });
        assert_eq!(of_any(&filter), Ok(()));
        let mut value = json!({ "field": "a" });
        for at in 0..12 {
            value = if at % 2 == 0 {
                json!({ "all": [value, { "field": "b" }] })
            } else {
                json!({ "any": [{ "field": "c" }, value] })
            };
        }
        assert_eq!(of_value(&filter, &value), Ok(()));
        let rules = json!({
            "properties": { "rules": { "items": { "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/rule" }] } } },
            "$defs": { "rule": { "properties": { "from": { "type": "string" }, "to": { "type": "string" } }, "required": ["from"] } },
        });
        let many: Vec<_> = (0..5000)
            .map(|at| json!({ "from": at.to_string(), "to": "x" }))
            .collect();
        assert_eq!(of_value(&rules, &json!({ "rules": many })), Ok(()));
    }
}
