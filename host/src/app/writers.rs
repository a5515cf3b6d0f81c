//! Files that two sinks would write: each would take the other's unfinished work for a leftover of its own, or append
//! behind records that it knows nothing of. So nobody is let near a file that somebody else writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use serde_json::Value;

use super::{
    Project, Resolved,
    check::{kind, reference},
    own::as_far_as_known,
};
use crate::{
    catalogue::{Manifest, manifest::Access},
    flow::{Finding, Plan, StagePlan, document, finding::Location, finding::has_errors},
};

/// Stands for the stream of a record in the name of a file.
const STREAM: &str = "{stream}";

/// A file or folder that a stage writes.
#[derive(Debug, Clone)]
pub(super) struct Output {
    flow: String,
    stage: String,
    /// `sink`, in most cases.
    kind: &'static str,
    /// As the config has it.
    written: String,
    /// Without links, as far as it is there.
    path: PathBuf,
    streams: Option<BTreeSet<String>>,
    place: Option<Location>,
}

/// Whether two stages write the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meeting {
    Never,
    /// It depends on streams that nobody knows before they come.
    Perhaps,
    Surely,
}

impl Output {
    /// All files, when they are known before records come.
    fn paths(&self) -> Option<BTreeSet<PathBuf>> {
        let text = self.path.to_string_lossy();
        if !text.contains(STREAM) {
            return Some(BTreeSet::from([self.path.clone()]));
        }
        let streams = self.streams.as_ref()?;
        let named = |stream: &String| PathBuf::from(text.replace(STREAM, stream));
        Some(streams.iter().map(named).collect())
    }

    /// Whether this is the file of a stream that the other one is known to take.
    fn has_file_of(&self, other: &Self, paths: &BTreeSet<PathBuf>) -> bool {
        let text = self.path.to_string_lossy();
        let mut streams = other.streams.iter().flatten();
        streams.any(|stream| paths.contains(&PathBuf::from(text.replace(STREAM, stream))))
    }

    fn meets(&self, other: &Self) -> Meeting {
        // What one sink of a flow is given, another one that takes all streams is given as well.
        let shared = if self.flow == other.flow {
            Meeting::Surely
        } else {
            Meeting::Perhaps
        };
        let met = match (self.paths(), other.paths()) {
            (Some(own), Some(others)) if own.is_disjoint(&others) => Meeting::Never,
            (Some(_), Some(_)) => Meeting::Surely,
            (None, None) if self.path == other.path => shared,
            (None, Some(paths)) if self.has_file_of(other, &paths) => shared,
            (Some(paths), None) if other.has_file_of(self, &paths) => shared,
            _ => Meeting::Never,
        };
        if self.flow == other.flow && self.stage == other.stage {
            Meeting::Never
        } else {
            met
        }
    }

    /// What is to be said of two stages, at the place of this one.
    fn finding(&self, other: &Self) -> Option<Finding> {
        let whose = if self.flow == other.flow {
            String::new()
        } else {
            format!(" of flow `{}`", other.flow)
        };
        let place = other
            .place
            .as_ref()
            .map_or_else(String::new, |place| format!(" ({place})"));
        let says = |writes: &str| {
            format!(
                "{} `{}` {writes} `{}`, and so does {} `{}`{whose}{place}",
                self.kind, self.stage, self.written, other.kind, other.stage
            )
        };
        let code = "files.two-writers";
        let found = match self.meets(other) {
            Meeting::Never => return None,
            Meeting::Surely => Finding::error(code, says("writes")).advice(
                "records would be lost or mixed: give each a file of its own, or write the file with one sink only",
            ),
            Meeting::Perhaps => Finding::warning(code, says("writes files like")).advice(
                "a stream that comes in both would be lost or mixed: say with `streams` which of them each sink takes, \
                 or give each a file of its own",
            ),
        };
        Some(found.at(self.place.clone()))
    }
}

/// What `outputs` have in common among themselves.
pub(super) fn among(outputs: &[Output]) -> Vec<Finding> {
    let pairs = outputs
        .iter()
        .enumerate()
        .flat_map(|(at, output)| outputs.iter().take(at).map(move |other| (output, other)));
    pairs
        .filter_map(|(output, other)| output.finding(other))
        .collect()
}

fn between(outputs: &[Output], others: &[Output]) -> Vec<Finding> {
    let found = |output: &Output| {
        let met: Vec<Finding> = others.iter().filter_map(|it| output.finding(it)).collect();
        met
    };
    outputs.iter().flat_map(found).collect()
}

impl Project {
    /// What the stages write, as far as their plugins say which fields of their config name it.
    pub(super) fn outputs(&self, resolved: &[Resolved<'_>]) -> Vec<Output> {
        let mut outputs = Vec::new();
        for Resolved {
            stage, inspection, ..
        } in resolved
        {
            if let Some(manifest) = &inspection.manifest {
                self.add_outputs(stage, manifest, &mut outputs);
            }
        }
        outputs
    }

    fn add_outputs(&self, stage: &StagePlan, manifest: &Manifest, outputs: &mut Vec<Output>) {
        let as_kind = kind(stage.kind);
        let wishes = manifest.permissions.files.iter();
        let fields = wishes
            .filter(|wish| wish.access == Access::Write && wish.wish.is_for(as_kind))
            .flat_map(|wish| &wish.fields);
        for field in fields {
            let schema = manifest.kind(as_kind).map(|spec| &spec.config);
            let default = || schema?.pointer(&format!("/properties{field}/default"));
            let named = stage.config.pointer(field).or_else(default);
            let Some(written) = named.and_then(Value::as_str) else {
                continue;
            };
            outputs.push(Output {
                flow: self.plan.name.clone(),
                stage: stage.name.clone(),
                kind: stage.kind.as_str(),
                written: written.to_owned(),
                path: as_far_as_known(&self.folder.join(written)),
                streams: stage.streams.clone(),
                place: stage.locate(field),
            });
        }
    }

    /// Stages of the project's other flows that write what this flow writes.
    pub(super) fn other_writers(&self, resolved: &[Resolved<'_>]) -> Vec<Finding> {
        let own = self.outputs(resolved);
        if own.is_empty() {
            return Vec::new();
        }
        let files = std::fs::read_dir(self.folder.join("flows"));
        let mut files: Vec<PathBuf> = files
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|file| document::is_named(file))
            .collect();
        files.sort();
        // What is wrong with other flows is told when they are checked.
        let plans = files
            .iter()
            .filter_map(|file| Plan::load(file, &self.variables).ok());
        let mut known = BTreeMap::new();
        let mut others = Vec::new();
        for plan in plans.map(|planned| planned.plan) {
            // Of two files with one name, a daemon runs one.
            if plan.name != self.plan.name {
                self.with(plan).add_known(&mut known, &mut others);
            }
        }
        between(&own, &others)
    }

    /// What all stages write. Manifests are read once.
    fn add_known(&self, known: &mut BTreeMap<String, Option<Manifest>>, outputs: &mut Vec<Output>) {
        for stage in self.plan.stages() {
            let manifest = known.entry(reference(stage)).or_insert_with_key(|plugin| {
                let (_, inspection) = self.locator.open(plugin).ok()?;
                inspection.manifest
            });
            if let Some(manifest) = manifest {
                self.add_outputs(stage, manifest, outputs);
            }
        }
    }
}

/// Who writes what, of the flows that a daemon runs. Whoever comes first has it.
#[derive(Debug, Default)]
pub(super) struct Writers(Mutex<BTreeMap<String, Vec<Output>>>);

impl Writers {
    /// Keeps for a flow what it writes, in the place of what it wrote before.
    ///
    /// # Errors
    /// Another flow has some of it: nothing changes then.
    pub(super) fn claim(&self, flow: &str, outputs: Vec<Output>) -> Result<(), Vec<Finding>> {
        let mut writers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, others) in writers.iter().filter(|(other, _)| *other != flow) {
            refuse(&outputs, others)?;
        }
        writers.insert(flow.to_owned(), outputs);
        Ok(())
    }

    /// Keeps for a stage that is to be swapped what it will write. What it writes until then stays its own.
    ///
    /// # Errors
    /// Another stage has some of it: nothing changes then.
    pub(super) fn claim_more(&self, flow: &str, outputs: Vec<Output>) -> Result<(), Vec<Finding>> {
        let mut writers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for others in writers.values() {
            refuse(&outputs, others)?;
        }
        writers.entry(flow.to_owned()).or_default().extend(outputs);
        Ok(())
    }

    /// The flow is over.
    pub(super) fn release(&self, flow: &str) {
        let mut writers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writers.remove(flow);
    }
}

fn refuse(outputs: &[Output], others: &[Output]) -> Result<(), Vec<Finding>> {
    let findings = between(outputs, others);
    if has_errors(&findings) {
        Err(findings)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(flow: &str, stage: &str, path: &str, streams: &[&str]) -> Output {
        let streams = streams.iter().map(|&name| name.to_owned()).collect();
        Output {
            flow: flow.to_owned(),
            stage: stage.to_owned(),
            kind: "sink",
            written: path.to_owned(),
            path: PathBuf::from(path),
            streams: Some(streams).filter(|streams: &BTreeSet<String>| !streams.is_empty()),
            place: None,
        }
    }

    #[test]
    fn two_stages_meet_where_they_write_the_same_file() {
        let meet = |[flow, other]: [&str; 2], one: (&str, &[&str]), two: (&str, &[&str])| {
            let (one, two) = (
                output(flow, "one", one.0, one.1),
                output(other, "two", two.0, two.1),
            );
            assert_eq!(one.meets(&two), two.meets(&one));
            one.meets(&two)
        };
        let (same, apart) = (["a", "a"], ["a", "b"]);
        for flows in [same, apart] {
            assert_eq!(meet(flows, ("/o/x", &[]), ("/o/x", &[])), Meeting::Surely);
            assert_eq!(meet(flows, ("/o/x", &[]), ("/o/y", &[])), Meeting::Never);
            // One file is one file, whatever streams go into it.
            assert_eq!(
                meet(flows, ("/o/x", &["a"]), ("/o/x", &["b"])),
                Meeting::Surely
            );
            let named = |one, two| meet(flows, ("/o/{stream}.x", one), ("/o/{stream}.x", two));
            assert_eq!(named(&["a", "b"], &["b", "c"]), Meeting::Surely);
            assert_eq!(named(&["a"], &["b"]), Meeting::Never);
            assert_eq!(
                meet(flows, ("/o/{stream}", &["a"]), ("/o/a", &[])),
                Meeting::Surely
            );
            // Nobody knows that there is such a stream.
            assert_eq!(
                meet(flows, ("/o/{stream}", &[]), ("/o/all", &[])),
                Meeting::Never
            );
        }
        let named = |flows, two: &[&str]| meet(flows, ("/o/{stream}", &[]), ("/o/{stream}", two));
        assert_eq!(named(same, &[]), Meeting::Surely);
        assert_eq!(named(same, &["a"]), Meeting::Surely);
        assert_eq!(named(apart, &[]), Meeting::Perhaps);
        assert_eq!(named(apart, &["a"]), Meeting::Perhaps);
        assert_eq!(
            output("a", "one", "/x", &[]).meets(&output("a", "one", "/x", &[])),
            Meeting::Never
        );
    }

    #[test]
    fn whoever_comes_first_has_the_file() {
        let writers = Writers::default();
        let claim =
            |flow: &str, path: &str| writers.claim(flow, vec![output(flow, "s", path, &[])]);
        claim("a", "/x").unwrap();
        claim("a", "/x").unwrap();
        let refused = claim("b", "/x").unwrap_err();
        assert_eq!(refused[0].code, "files.two-writers");
        assert!(
            refused[0].message.contains("sink `s` of flow `a`"),
            "{refused:?}"
        );
        claim("b", "/y").unwrap();
        // A swap brings another file, and a refused one changes nothing.
        let more = |flow: &str, stage: &str, path: &str| {
            writers.claim_more(flow, vec![output(flow, stage, path, &[])])
        };
        more("b", "s", "/x").unwrap_err();
        more("b", "t", "/y").unwrap_err();
        more("b", "s", "/z").unwrap();
        claim("c", "/y").unwrap_err();
        claim("c", "/z").unwrap_err();
        writers.release("b");
        claim("c", "/z").unwrap();
    }
}
