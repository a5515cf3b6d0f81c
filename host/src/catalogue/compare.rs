//! How another version of a plugin differs in what it asks for and what it could reach.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{ImportGroup, Inspection, Kind, Manifest};

/// Something that one of two versions asks for, and the other does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// What it is, as in "asks to ...": `write files`, `send requests to https://api.example.com/v1/`.
    pub what: String,
    /// The kinds as which it asks.
    pub kinds: Vec<Kind>,
    /// It works without, or some configs do.
    pub optional: bool,
    /// The other version asks for it as well, but works without.
    pub was_optional: bool,
    /// Why, in the plugin's words.
    pub reason: String,
}

/// How a version differs from the one before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Asked for now, and not before. What was optional and is needed now is here, too.
    pub added: Vec<Asked>,
    /// Asked for before, and not any more.
    pub removed: Vec<Asked>,
    /// Imported now and not before, in words: the plugin could use it where it is granted.
    pub reaches: Vec<&'static str>,
    /// Kinds that the plugin does not have any more: flows that use it as one cannot be swapped.
    pub lost_kinds: Vec<Kind>,
}

impl Comparison {
    /// Whether a flow that runs the old version may need other grants for the new one. Whether it does depends on what
    /// is granted: the flow's `check` says it, and a swap is refused by
    /// [`Growth::blocks`](crate::plugin::Growth::blocks).
    pub fn asks_for_more(&self) -> bool {
        self.added.iter().any(|asked| !asked.optional)
    }
}

/// Wishes by what is wished and as which kind.
type Wishes = BTreeMap<(String, Kind), (bool, String)>;

fn wishes(manifest: Option<&Manifest>, kinds: &[Kind]) -> Wishes {
    let mut all = Wishes::new();
    let asked = manifest.map(|manifest| manifest.permissions.in_words());
    for (what, wish) in asked.into_iter().flatten() {
        for kind in kinds.iter().filter(|kind| wish.is_for(**kind)) {
            let key = (what.clone(), *kind);
            let entry = all.entry(key).or_insert((true, wish.reason.clone()));
            // Asked for twice, it is needed when it is needed once.
            entry.0 &= wish.optional;
        }
    }
    all
}

/// Compares what two versions of a plugin say of themselves. Nothing of them is run. A version without a manifest asks
/// for nothing.
pub fn compare(old: &Inspection, new: &Inspection) -> Comparison {
    let of = |one: &Inspection| wishes(one.manifest.as_ref(), &one.kinds);
    let (before, now) = (of(old), of(new));
    let groups = |one: &Inspection| -> BTreeSet<ImportGroup> { one.reach().into_iter().collect() };
    let reaches = groups(new)
        .difference(&groups(old))
        .map(|group| group.words())
        .collect();
    let lost = |kind: &&Kind| !new.is(**kind);
    Comparison {
        added: beyond(&now, &before),
        removed: beyond(&before, &now)
            .into_iter()
            .filter(|asked| !asked.was_optional)
            .collect(),
        reaches,
        lost_kinds: old.kinds.iter().filter(lost).copied().collect(),
    }
}

/// What is in one and not in the other, or only optional there.
fn beyond(one: &Wishes, other: &Wishes) -> Vec<Asked> {
    let mut found: Vec<Asked> = Vec::new();
    for ((what, kind), (optional, reason)) in one {
        let was_optional = match other.get(&(what.clone(), *kind)) {
            None => false,
            Some((true, _)) if !optional => true,
            Some(_) => continue,
        };
        let same = found.iter_mut().find(|asked| {
            asked.what == *what && asked.optional == *optional && asked.was_optional == was_optional
        });
        match same {
            Some(asked) => asked.kinds.push(*kind),
            None => found.push(Asked {
                what: what.clone(),
                kinds: vec![*kind],
                optional: *optional,
                was_optional,
                reason: reason.clone(),
            }),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::catalogue::Import;

    fn version(permissions: &Value, kinds: &[Kind], imports: &[ImportGroup]) -> Inspection {
        let of_kind = |kind: &Kind| (kind.as_str().to_owned(), json!({}));
        let kinds_of_manifest: serde_json::Map<_, _> = kinds.iter().map(of_kind).collect();
        let manifest = json!({
            "name": "p", "version": "1.0.0", "kinds": kinds_of_manifest, "permissions": permissions,
        });
        Inspection {
            digest: "sha256:0".to_owned(),
            size: 1,
            contracts: Vec::new(),
            kinds: kinds.to_vec(),
            manifest: Some(serde_json::from_value(manifest).unwrap()),
            manifest_error: None,
            exports: Vec::new(),
            imports: imports
                .iter()
                .map(|group| Import {
                    name: "x".to_owned(),
                    group: *group,
                })
                .collect(),
            producers: Vec::new(),
        }
    }

    #[test]
    fn differences_are_in_words_and_by_kind() {
        let both = [Kind::Source, Kind::Sink];
        let old = version(
            &json!({
                "files": [{ "access": "read", "kinds": ["source"] }],
                "tables": [{ "optional": true }],
                "connections": [{}],
            }),
            &both,
            &[ImportGroup::Contract],
        );
        assert_eq!(compare(&old, &old), Comparison::default());
        let new = version(
            &json!({
                "files": [{ "access": "read", "reason": "more" }],
                "tables": [{}],
                "http": [{ "url": "https://a.example/", "optional": true }],
                "limits": [{ "memory": 1_073_741_824 }],
            }),
            &both,
            &[ImportGroup::Contract, ImportGroup::Unknown],
        );
        let change = compare(&old, &new);
        let told: Vec<_> = change
            .added
            .iter()
            .map(|asked| {
                (
                    asked.what.as_str(),
                    asked.kinds.len(),
                    asked.optional,
                    asked.was_optional,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("read files", 1, false, false),
                ("send requests to https://a.example/", 2, true, false),
                ("take 1024 MiB of memory", 2, false, false),
                ("use a table", 2, false, true),
            ]
        );
        assert_eq!(change.added[0].kinds, [Kind::Sink]);
        let removed: Vec<_> = change
            .removed
            .iter()
            .map(|asked| asked.what.as_str())
            .collect();
        assert_eq!(removed, ["use a connection"]);
        assert_eq!(change.reaches, [ImportGroup::Unknown.words()]);
        assert!(change.asks_for_more() && change.lost_kinds.is_empty());
        // Back again it asks for less, but for what it does not know any more.
        let back = compare(&new, &old);
        let added: Vec<_> = back.added.iter().map(|asked| asked.what.as_str()).collect();
        assert_eq!(added, ["use a connection"]);
        let sink_only = version(&json!({}), &[Kind::Sink], &[]);
        let less = compare(&old, &sink_only);
        assert_eq!(less.lost_kinds, [Kind::Source]);
        assert!(!less.asks_for_more());
    }
}
