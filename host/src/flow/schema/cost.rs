//! What it takes to check a value against a schema, counted before it is done.
//!
//! Schemas of plugins are written by strangers, and a few hundred bytes can ask for more checks than anybody has time for:
//! forty schemas, each of them twice the next one, are 2^40 checks of the same value. So the checks are counted, each
//! schema and each part of the value once, which takes no longer than both of them are large. A schema that refers to
//! itself for a part of the value is fine: it ends where the value ends. One that does so for the same value never does.

#[cfg(test)]
mod tests;
mod unique;

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
    /// Each item of a list is compared with too many others.
    #[error(
        "it compares the items of a list, and they are so many or so much alike that this takes more than {0} steps"
    )]
    Alike(u64),
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
    /// What it takes to find equal items of a list.
    compared: HashMap<*const Value, u64>,
    most: u64,
    depth: u32,
}

impl<'a> Counter<'a> {
    fn new(root: &'a Value, most: u64) -> Result<Self, TooMuch> {
        let mut anchors: HashMap<&str, Vec<&Value>> = HashMap::new();
        let (mut patterns, mut compared) = (0, 0_u64);
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
            compared = compared.saturating_add(own_lists(fields));
        }
        if compared > STEPS.0 {
            return Err(TooMuch::Alike(STEPS.0));
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
            compared: HashMap::new(),
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
            if keyword == "uniqueItems" && inner == &Value::Bool(true) {
                cost.steps = cost.steps.saturating_add(self.unique(value)?);
            }
            for (schema, part, way) in parts_for(keyword, inner, value) {
                if keyword == "patternProperties" {
                    cost.steps = cost.steps.saturating_add(PATTERN_STEPS);
                }
                cost.add(self.schema(schema, Some(part))?, word + way);
            }
        }
        Ok(())
    }

    /// What it takes to find equal items of a value. It is counted once, however often it is asked for.
    fn unique(&mut self, value: &Value) -> Result<u64, TooMuch> {
        let Value::Array(items) = value else {
            return Ok(0);
        };
        let known = self.compared.entry(std::ptr::from_ref(value));
        let steps = *known.or_insert_with(|| unique::steps(items));
        if steps > self.most {
            return Err(TooMuch::Alike(self.most));
        }
        Ok(steps)
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

/// Steps for the lists of a schema whose own items must differ: whether a schema is one is checked, too.
fn own_lists(fields: &Map<String, Value>) -> u64 {
    let of = |keyword: &str| fields.get(keyword);
    let lists = ["enum", "required", "type"].into_iter().filter_map(of);
    let named = ["dependencies", "dependentRequired"].into_iter();
    let named = named.filter_map(of).flat_map(children);
    let lists = lists.chain(named).filter_map(Value::as_array);
    lists.map(|items| unique::steps(items)).sum()
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
