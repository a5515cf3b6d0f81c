//! Whether another version can take the place of one: computed from what both export and from the schemas of their
//! configs, whatever their numbers say.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    compare::{Comparison, compare},
    inspect::Inspection,
    manifest::{Delivery, Kind, Manifest},
};

/// How deep objects within objects are compared.
const MAX_DEPTH: usize = 8;
/// Changes that are told; more than these nobody reads.
const MAX_CHANGES: usize = 100;
/// What restricts a value beside its type. A change of these is told as it is.
const BOUNDS: [&str; 12] = [
    "const",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "multipleOf",
    "pattern",
];

/// How much another version asks of those who use the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing that could be seen from outside is different.
    Patch,
    /// It can do more or asks for more; what worked goes on working.
    Minor,
    /// A flow that worked may not work with it.
    Breaking,
}

impl Verdict {
    /// `patch`, `minor` or `breaking`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Patch => "patch",
            Self::Minor => "minor",
            Self::Breaking => "breaking",
        }
    }

    /// What the numbers of two versions promise.
    pub fn promised(old: &semver::Version, new: &semver::Version) -> Self {
        // Below 1.0.0 the second number is what the first one is later.
        let (breaking, minor) = if old.major == 0 && new.major == 0 {
            (old.minor != new.minor, false)
        } else {
            (old.major != new.major, old.minor != new.minor)
        };
        match (breaking, minor) {
            (true, _) => Self::Breaking,
            (false, true) => Self::Minor,
            (false, false) => Self::Patch,
        }
    }
}

/// One difference that matters to flows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// In which part: the config of the source, its field `files`.
    pub place: String,
    /// What is different, as in "... is needed now".
    pub what: String,
    /// A flow that worked may not work with it.
    pub breaking: bool,
}

/// What another version means for those who use the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// In one word.
    pub verdict: Verdict,
    /// What is different in exports, promises and configs.
    pub changes: Vec<Change>,
    /// What is different in what it asks for.
    pub permissions: Comparison,
}

/// Judges another version by what both say of themselves. Nothing of them is run.
pub fn judge(old: &Inspection, new: &Inspection) -> Judgement {
    let mut changes = Vec::new();
    let mut note = |place: String, what: &str, breaking: bool| {
        changes.push(Change {
            place,
            what: what.to_owned(),
            breaking,
        });
    };
    for kind in Kind::ALL {
        match (old.is(kind), new.is(kind)) {
            (true, false) => note(format!("{kind}"), "is gone", true),
            (false, true) => note(format!("{kind}"), "is new", false),
            _ => {}
        }
    }
    if old.contracts != new.contracts && !old.contracts.is_empty() {
        let all: Vec<String> = new.contracts.iter().map(ToString::to_string).collect();
        let what = format!("is {} now", all.join(" and "));
        note("contract".to_owned(), &what, false);
    }
    if let (Some(before), Some(now)) = (&old.manifest, &new.manifest) {
        for kind in Kind::ALL {
            if old.is(kind) && new.is(kind) {
                promises(before, now, kind, &mut changes);
                configs(before, now, kind, &mut changes);
            }
        }
    }
    changes.truncate(MAX_CHANGES);
    let permissions = compare(old, new);
    let verdict = if changes.iter().any(|change| change.breaking) {
        Verdict::Breaking
    } else if !changes.is_empty() || permissions != Comparison::default() {
        Verdict::Minor
    } else {
        Verdict::Patch
    };
    Judgement {
        verdict,
        changes,
        permissions,
    }
}

/// How much a promise is worth to the label of a flow.
fn worth(delivery: Option<Delivery>) -> u8 {
    match delivery {
        None | Some(Delivery::Volatile | Delivery::AtLeastOnce) => 0,
        Some(Delivery::Idempotent) => 1,
        Some(Delivery::Replayable | Delivery::Deterministic | Delivery::ExactlyOnce) => 2,
    }
}

fn promises(old: &Manifest, new: &Manifest, kind: Kind, changes: &mut Vec<Change>) {
    let of = |manifest: &Manifest| manifest.kind(kind).and_then(|spec| spec.delivery);
    let (before, now) = (of(old), of(new));
    if before == now {
        return;
    }
    let word = |delivery: Option<Delivery>| delivery.map_or("nothing", Delivery::as_str);
    changes.push(Change {
        place: format!("delivery of the {kind}"),
        what: format!("promises {}, was {}", word(now), word(before)),
        breaking: worth(now) < worth(before),
    });
}

fn configs(old: &Manifest, new: &Manifest, kind: Kind, changes: &mut Vec<Change>) {
    let (Some(before), Some(now)) = (old.kind(kind), new.kind(kind)) else {
        return;
    };
    let mut schemas = Schemas {
        old: &before.config,
        new: &now.config,
        kind,
        changes,
    };
    schemas.object(&before.config, &now.config, "", 0);
}

/// Two schemas while they are walked through together.
struct Schemas<'a> {
    old: &'a Value,
    new: &'a Value,
    kind: Kind,
    changes: &'a mut Vec<Change>,
}

impl<'a> Schemas<'a> {
    fn note(&mut self, field: &str, what: impl Into<String>, breaking: bool) {
        let place = if field.is_empty() {
            format!("config of the {}", self.kind)
        } else {
            format!("config of the {}: `{field}`", self.kind)
        };
        self.changes.push(Change {
            place,
            what: what.into(),
            breaking,
        });
    }

    /// The fields of an object.
    fn object(&mut self, old: &'a Value, new: &'a Value, path: &str, depth: usize) {
        let fields = |schema: &'a Value| schema.get("properties").and_then(Value::as_object);
        let empty = Map::new();
        let (before, now) = (fields(old).unwrap_or(&empty).clone(), fields(new));
        let needed = |schema: &Value| words(schema.get("required"));
        let (needed_before, needed_now) = (needed(old), needed(new));
        let named = |name: &str| {
            if path.is_empty() {
                name.to_owned()
            } else {
                format!("{path}.{name}")
            }
        };
        for (name, field) in now.into_iter().flatten() {
            let own = named(name);
            let is_needed = needed_now.contains(name);
            match fields(old).and_then(|fields| fields.get(name)) {
                None if is_needed => self.note(&own, "is new and needed", true),
                None => self.note(&own, "is new", false),
                Some(former) => {
                    match (needed_before.contains(name), is_needed) {
                        (false, true) => self.note(&own, "is needed now", true),
                        (true, false) => self.note(&own, "is not needed any more", false),
                        _ => {}
                    }
                    self.field(former, field, &own, depth);
                }
            }
        }
        for name in before.keys() {
            if now.is_none_or(|fields| !fields.contains_key(name)) {
                self.note(&named(name), "is gone", true);
            }
        }
    }

    /// One field in both.
    fn field(&mut self, old: &'a Value, new: &'a Value, path: &str, depth: usize) {
        if old.get("default") != new.get("default") {
            let shown =
                |value: Option<&Value>| value.map_or("none".to_owned(), ToString::to_string);
            let what = format!(
                "is {} where it is left out, was {}",
                shown(new.get("default")),
                shown(old.get("default"))
            );
            self.note(path, what, true);
        }
        let (old, new) = (resolved(old, self.old), resolved(new, self.new));
        if depth >= MAX_DEPTH || old == new {
            return;
        }
        self.set(&words(old.get("type")), &words(new.get("type")), path, "a");
        self.set(&values(old), &values(new), path, "");
        for bound in BOUNDS {
            let (before, now) = (old.get(bound), new.get(bound));
            if before == now {
                continue;
            }
            let what = match (before, now) {
                (_, Some(now)) => format!("has `{bound}` {now} now"),
                _ => format!("has no `{bound}` any more"),
            };
            self.note(path, what, narrower(bound, before, now));
        }
        for forms in ["oneOf", "anyOf", "allOf"] {
            if old.get(forms) != new.get(forms) {
                self.note(path, "has other forms", true);
            }
        }
        self.object(old, new, path, depth + 1);
        if let (Some(old), Some(new)) = (old.get("items"), new.get("items")) {
            self.field(old, new, &format!("{path}[]"), depth + 1);
        }
    }

    /// What a value may be: less is breaking. No set is everything.
    fn set(&mut self, old: &BTreeSet<String>, new: &BTreeSet<String>, path: &str, article: &str) {
        let told = |all: Vec<&String>| {
            let all: Vec<String> = all.iter().map(|one| format!("`{one}`")).collect();
            let text = all.join(" or ");
            if article.is_empty() {
                text
            } else {
                format!("{article} {text}")
            }
        };
        let gone: Vec<&String> = old.difference(new).collect();
        let more: Vec<&String> = new.difference(old).collect();
        match (old.is_empty(), new.is_empty()) {
            (true, true) => {}
            (true, false) => self.note(path, format!("must be {} now", told(more)), true),
            (false, true) => self.note(path, "may be anything now", false),
            (false, false) => {
                if !gone.is_empty() {
                    self.note(path, format!("may not be {} any more", told(gone)), true);
                }
                if !more.is_empty() {
                    self.note(path, format!("may be {} now", told(more)), false);
                }
            }
        }
    }
}

/// A text, or a list of texts.
fn words(value: Option<&Value>) -> BTreeSet<String> {
    match value {
        Some(Value::String(one)) => BTreeSet::from([one.clone()]),
        Some(Value::Array(all)) => all
            .iter()
            .filter_map(|one| one.as_str().map(str::to_owned))
            .collect(),
        _ => BTreeSet::new(),
    }
}

/// The values that are listed.
fn values(schema: &Value) -> BTreeSet<String> {
    let listed = schema.get("enum").and_then(Value::as_array);
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    listed.into_iter().flatten().map(text).collect()
}

/// What a field refers to, if it does.
fn resolved<'a>(field: &'a Value, schema: &'a Value) -> &'a Value {
    let pointer = field
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|text| text.strip_prefix('#'));
    pointer
        .and_then(|pointer| schema.pointer(pointer))
        .unwrap_or(field)
}

/// Whether a bound leaves out what was allowed.
fn narrower(bound: &str, old: Option<&Value>, new: Option<&Value>) -> bool {
    let number = |value: Option<&Value>| value.and_then(Value::as_f64);
    let Some(_) = new else { return false };
    match (number(old), number(new)) {
        (Some(old), Some(new)) if bound.starts_with("min") || bound == "exclusiveMinimum" => {
            new > old
        }
        (Some(old), Some(new)) if bound.starts_with("max") || bound == "exclusiveMaximum" => {
            new < old
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn version(config: &Value, delivery: &str) -> Inspection {
        let manifest = json!({
            "name": "p", "version": "1.0.0", "kinds": { "sink": { "config": config, "delivery": delivery } },
        });
        Inspection {
            digest: "sha256:0".to_owned(),
            size: 1,
            contracts: vec![semver::Version::new(0, 1, 0)],
            kinds: vec![Kind::Sink],
            manifest: Some(serde_json::from_value(manifest).unwrap()),
            manifest_error: None,
            exports: Vec::new(),
            imports: Vec::new(),
            producers: Vec::new(),
        }
    }

    fn told(old: &Value, new: &Value) -> (Verdict, Vec<String>) {
        let judged = judge(&version(old, "exactly-once"), &version(new, "exactly-once"));
        let line = |change: &Change| {
            let mark = if change.breaking { "!" } else { "+" };
            format!("{mark} {} {}", change.place, change.what)
        };
        (judged.verdict, judged.changes.iter().map(line).collect())
    }

    #[test]
    fn what_a_config_may_be_decides() {
        let old = json!({
            "properties": {
                "file": { "type": "string" },
                "mode": { "enum": ["new", "append"], "default": "new" },
                "size": { "type": "integer", "minimum": 1 },
                "nested": { "$ref": "#/$defs/nested" },
            },
            "required": ["file"],
            "$defs": { "nested": { "type": "object", "properties": { "a": { "type": "string" } } } },
        });
        assert_eq!(told(&old, &old), (Verdict::Patch, vec![]));
        let mut wider = old.clone();
        wider["properties"]["more"] = json!({ "type": "string" });
        wider["properties"]["mode"]["enum"] = json!(["new", "append", "replace"]);
        wider["properties"]["size"] = json!({ "type": ["integer", "string"], "minimum": 0 });
        wider["required"] = json!([]);
        let (verdict, lines) = told(&old, &wider);
        assert_eq!(verdict, Verdict::Minor, "{lines:?}");
        assert_eq!(lines.len(), 5, "{lines:?}");
        let (verdict, lines) = told(&wider, &old);
        assert_eq!(verdict, Verdict::Breaking);
        for said in [
            "`file` is needed now",
            "`mode` may not be `replace` any more",
            "`size` may not be a `string` any more",
            "`more` is gone",
        ] {
            assert!(
                lines.iter().any(|line| line.contains(said)),
                "{said}: {lines:?}"
            );
        }
        for (pointer, value) in [
            ("/properties/mode/default", json!("append")),
            ("/$defs/nested/properties/a/pattern", json!("^x")),
            ("/$defs/nested/required", json!(["a"])),
            ("/properties/file/oneOf", json!([])),
        ] {
            let mut new = old.clone();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            new.pointer_mut(parent).unwrap()[key] = value;
            assert_eq!(told(&old, &new).0, Verdict::Breaking, "{pointer}");
        }
    }

    #[test]
    fn promises_and_kinds_decide_too() {
        let strong = version(&json!({}), "exactly-once");
        let weak = version(&json!({}), "at-least-once");
        assert_eq!(judge(&strong, &weak).verdict, Verdict::Breaking);
        assert_eq!(judge(&weak, &strong).verdict, Verdict::Minor);
        let mut gone = strong.clone();
        gone.kinds = vec![Kind::Source];
        assert_eq!(judge(&strong, &gone).verdict, Verdict::Breaking);
        let promised = |old: &str, new: &str| {
            let (old, new) = (old.parse().unwrap(), new.parse().unwrap());
            Verdict::promised(&old, &new).as_str()
        };
        assert_eq!(promised("1.2.0", "1.2.9"), "patch");
        assert_eq!(promised("1.2.0", "1.3.0"), "minor");
        assert_eq!(promised("1.2.0", "2.0.0"), "breaking");
        assert_eq!(promised("0.1.0", "0.2.0"), "breaking");
        assert_eq!(promised("0.1.0", "0.1.1"), "patch");
    }
}
