//! What the conformance kit has found of a component: a file beside it, named by its digest.
//!
//! `csv.wasm` has `csv.conformance.json`. A file that is about another component counts as none.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::manifest::{Delivery, Kind};

/// Version of the kit that this host has. What an older one has found still counts.
pub const KIT: u32 = 1;
/// A larger file is none.
pub(super) const MAX_BYTES: u64 = 4 << 20;

/// How far a plugin keeps the contract.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Not even the basics.
    #[default]
    None,
    /// It opens, refuses what is wrong, and takes whatever comes.
    Basic,
    /// Opened from its snapshot it goes on, and nothing is lost.
    Resumable,
    /// And nothing comes or is written twice.
    ExactlyOnce,
}

impl Level {
    /// The word shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Basic => "basic",
            Self::Resumable => "resumable",
            Self::ExactlyOnce => "exactly-once",
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was found of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The kind.
    pub kind: Kind,
    /// How far it keeps the contract.
    pub level: Level,
    /// The delivery that was found. `None`: it could not be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Delivery>,
}

/// What was found of one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// `sha256:…` of the component.
    pub digest: String,
    /// Version of the kit.
    pub kit: u32,
    /// Each of its kinds.
    pub kinds: Vec<Finding>,
}

impl Verdict {
    /// What was found of one kind.
    pub fn kind(&self, kind: Kind) -> Option<&Finding> {
        self.kinds.iter().find(|one| one.kind == kind)
    }

    /// The level of every kind.
    pub fn levels(&self) -> BTreeMap<Kind, Level> {
        self.kinds.iter().map(|one| (one.kind, one.level)).collect()
    }
}

/// Where the file of a component is.
pub fn beside(component: &Path) -> PathBuf {
    component.with_extension("conformance.json")
}

/// What was found of a component, if there is a file about exactly this one.
pub fn load(component: &Path, digest: &str) -> Option<Verdict> {
    let path = beside(component);
    let size = fs::metadata(&path).ok()?.len();
    if size > MAX_BYTES {
        return None;
    }
    let verdict: Verdict = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
    (verdict.digest == digest).then_some(verdict)
}

/// Stores a report beside a component. Whoever reads it meanwhile never sees half of it.
///
/// # Errors
/// When it cannot be written.
pub fn store(component: &Path, report: &impl Serialize) -> io::Result<PathBuf> {
    let path = beside(component);
    let part = path.with_extension(format!("part{}", std::process::id()));
    let bytes = serde_json::to_vec_pretty(&joined(serde_json::to_value(report)?, &path))?;
    fs::write(&part, bytes)
        .and_then(|()| fs::rename(&part, &path))
        .inspect_err(|_| {
            // Best effort: the error that counts is the one of the write.
            let _ = fs::remove_file(&part);
        })?;
    Ok(path)
}

/// The report, with what an earlier one has found of kinds that this one does not look at.
fn joined(mut report: Value, path: &Path) -> Value {
    let earlier = fs::read(path)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
        .filter(|earlier| earlier["digest"] == report["digest"]);
    let Some(Value::Array(earlier)) = earlier.map(|mut earlier| earlier["kinds"].take()) else {
        return report;
    };
    if let Some(kinds) = report["kinds"].as_array_mut() {
        for one in earlier {
            if kinds.iter().all(|kind| kind["kind"] != one["kind"]) {
                kinds.push(one);
            }
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_counts_for_the_component_that_it_names_and_for_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let component = folder.path().join("csv.wasm");
        assert_eq!(load(&component, "sha256:a"), None);
        let report = json!({
            "digest": "sha256:a", "kit": 1, "plugin": "csv", "version": "0.1.0",
            "kinds": [{ "kind": "sink", "level": "resumable", "found": "at-least-once", "checks": [] }],
        });
        let path = store(&component, &report).unwrap();
        assert_eq!(path, folder.path().join("csv.conformance.json"));
        let verdict = load(&component, "sha256:a").unwrap();
        let sink = verdict.kind(Kind::Sink).unwrap();
        assert_eq!(
            (sink.level, sink.found),
            (Level::Resumable, Some(Delivery::AtLeastOnce))
        );
        assert_eq!(verdict.kind(Kind::Source), None);
        // Another kind of the same component is added.
        let more = json!({
            "digest": "sha256:a", "kit": 1, "kinds": [{ "kind": "source", "level": "basic", "checks": [] }],
        });
        store(&component, &more).unwrap();
        let levels = load(&component, "sha256:a").unwrap().levels();
        assert_eq!(levels[&Kind::Source], Level::Basic);
        assert_eq!(levels[&Kind::Sink], Level::Resumable);
        assert_eq!(load(&component, "sha256:b"), None);
        fs::write(&path, b"{").unwrap();
        assert_eq!(load(&component, "sha256:a"), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn levels_are_in_order() {
        let all = [
            Level::None,
            Level::Basic,
            Level::Resumable,
            Level::ExactlyOnce,
        ];
        assert!(all.is_sorted());
        for level in all {
            assert_eq!(serde_json::to_value(level).unwrap(), level.as_str());
        }
    }
}
