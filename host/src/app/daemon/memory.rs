//! What a daemon remembers of a flow beside its checkpoint: whether it should run, and which versions swaps have put in
//! the place of what its file says. One small file per flow in the state folder, replaced as a whole.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::storage::Checkpoint;

/// The newest format that this host reads, and the one it writes.
const FORMAT: u32 = 1;

/// Whether a flow should run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Wanted {
    /// From the daemon's start on.
    #[default]
    Running,
    /// Open, but nothing is read.
    Paused,
    /// Not before somebody starts it.
    Stopped,
}

/// A version of a plugin with its config: what is in the place of a stage.
#[allow(
    clippy::struct_field_names,
    reason = "a plugin's version is its version"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Version {
    /// The plugin's name.
    pub(super) plugin: String,
    /// Its version.
    pub(super) version: String,
    /// `sha256:…` of the component. Its bytes are kept under this name.
    pub(super) digest: String,
    /// The config.
    pub(super) config: Value,
    /// `sha256:…` of the config, as the checkpoint has it.
    pub(super) config_digest: String,
    /// `sha256:…` of the config, as the plan has it.
    pub(super) plan_digest: String,
}

impl Version {
    /// For people: `csv 0.2.0 (sha256:0123456789ab, with another config)`.
    pub(super) fn beside(&self, running: &Self) -> String {
        let digest = self.digest.get(..19).unwrap_or(&self.digest);
        let config = if self.config_digest == running.config_digest {
            "with the same config"
        } else {
            "with another config"
        };
        format!("{} {} ({digest}, {config})", self.plugin, self.version)
    }

    /// Whether it is what the flow's file says.
    pub(super) fn is(&self, base: &Base) -> bool {
        self.digest == base.digest && self.plan_digest == base.config_digest
    }
}

/// A version that is about to take over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    /// The version.
    pub(super) version: Version,
    /// What it takes over from.
    pub(super) from: Version,
    /// The last checkpoint before: its run and epoch. Only a later one says that the version has taken over.
    pub(super) after: Option<(String, u64)>,
}

/// What the flow's file says about a stage. When it says something else, swaps before that are forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Base {
    /// The plugin, as written.
    pub(super) reference: String,
    /// `sha256:…` of the component that this was.
    pub(super) digest: String,
    /// `sha256:…` of the config.
    pub(super) config_digest: String,
}

/// The swaps of one stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Swapped {
    /// What the file said when they happened.
    pub(super) base: Base,
    /// The version that has taken over. `None`: that of the file.
    pub(super) in_force: Option<Version>,
    /// A version that is about to take over. Whether it has is said by the checkpoint.
    pub(super) pending: Option<Pending>,
    /// The version before the one that runs: where a rollback goes.
    pub(super) previous: Option<Version>,
    /// A rollback has put the version there that runs: the one before is what was rolled back from.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) rolled_back: bool,
}

impl Swapped {
    /// Before the first swap.
    pub(super) fn new(base: Base) -> Self {
        Self {
            base,
            in_force: None,
            pending: None,
            previous: None,
            rolled_back: false,
        }
    }

    /// A candidate has taken over from `before`.
    pub(super) fn take_over(&mut self, version: Version, before: Version) {
        self.pending = None;
        self.previous = Some(before);
        self.rolled_back = false;
        self.in_force = (!version.is(&self.base)).then_some(version);
    }

    /// The file says something else now, and `running` goes on until that has taken over.
    pub(super) fn rebase(&mut self, base: Base, running: &Version) {
        self.in_force = (!running.is(&base)).then(|| running.clone());
        self.base = base;
        self.pending = None;
    }
}

/// Everything that is remembered of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    format: u32,
    /// Whether it should run.
    pub(super) wanted: Wanted,
    /// Swaps by stage.
    pub(super) stages: BTreeMap<String, Swapped>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            format: FORMAT,
            wanted: Wanted::default(),
            stages: BTreeMap::new(),
        }
    }
}

/// Where a flow's memory is. Names of flows are file names already (`a-z`, `0-9`, `-`).
fn file(state: &Path, flow: &str) -> PathBuf {
    state.join("flows").join(format!("{flow}.json"))
}

impl Memory {
    /// Reads what is remembered of a flow. Blocks.
    ///
    /// # Errors
    /// The file cannot be read, is no memory, or is of a newer host.
    pub(super) fn load(state: &Path, flow: &str) -> io::Result<Self> {
        let path = file(state, flow);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(named(&path, &error)),
        };
        let invalid = |why: String| {
            let advice = "remove it to go on with what the flow's file says";
            let text = format!("{}: {why}; {advice}", path.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        };
        let memory: Self =
            serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
        if memory.format > FORMAT {
            return Err(invalid(format!(
                "it has format {}, this crossdock knows up to {FORMAT}",
                memory.format
            )));
        }
        Ok(memory)
    }

    /// Writes it, whole or not at all. Blocks until it is durable.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub(super) fn save(&self, state: &Path, flow: &str) -> io::Result<()> {
        let path = file(state, flow);
        let folder = path.parent().unwrap_or(state);
        let write = || {
            fs::create_dir_all(folder)?;
            let mut new = tempfile::NamedTempFile::new_in(folder)?;
            new.write_all(&serde_json::to_vec_pretty(self)?)?;
            new.as_file().sync_all()?;
            new.persist(&path).map_err(|error| error.error)?;
            fs::File::open(folder)?.sync_all()
        };
        write().map_err(|error| named(&path, &error))
    }

    /// Brings it up to what the flow's file and the checkpoint say, before a run. Says which stages run a version that
    /// was swapped in.
    ///
    /// A swap is written down as pending before it can take over. Then the process may die at any moment; whether the
    /// version had taken over is exactly whether the last checkpoint was made with it.
    pub(super) fn settle(
        &mut self,
        bases: &BTreeMap<String, Base>,
        checkpoint: Option<&Checkpoint>,
    ) -> BTreeMap<String, Version> {
        self.stages
            .retain(|stage, swapped| bases.get(stage) == Some(&swapped.base));
        for (stage, swapped) in &mut self.stages {
            let Some(pending) = swapped.pending.take() else {
                continue;
            };
            let state = checkpoint.and_then(|checkpoint| checkpoint.stages.get(stage));
            let made_with = state.is_some_and(|state| {
                state.digest == pending.version.digest
                    && state.config_digest == pending.version.config_digest
            });
            let is_later =
                checkpoint.map(|found| (found.run.clone(), found.epoch)) != pending.after;
            if made_with && is_later {
                swapped.take_over(pending.version, pending.from);
            }
        }
        let in_force = self.stages.iter().filter_map(|(stage, swapped)| {
            let version = swapped.in_force.clone()?;
            Some((stage.clone(), version))
        });
        in_force.collect()
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::storage::StageState;

    fn version(digest: &str) -> Version {
        Version {
            plugin: "map".to_owned(),
            version: "2.0.0".to_owned(),
            digest: digest.to_owned(),
            config: json!({}),
            config_digest: "c".to_owned(),
            plan_digest: "c".to_owned(),
        }
    }

    fn base(digest: &str) -> Base {
        Base {
            reference: "map.wasm".to_owned(),
            digest: digest.to_owned(),
            config_digest: "c".to_owned(),
        }
    }

    fn checkpoint(digest: &str) -> Checkpoint {
        let state = StageState {
            plugin: "map".to_owned(),
            version: "2.0.0".to_owned(),
            digest: digest.to_owned(),
            config_digest: "c".to_owned(),
            snapshot: Vec::new(),
        };
        Checkpoint {
            format: 1,
            flow: "f".to_owned(),
            run: "r".to_owned(),
            epoch: 1,
            at_ms: 0,
            finished: false,
            settled: true,
            stages: BTreeMap::from([("map".to_owned(), state)]),
            counts: BTreeMap::new(),
            filtered: BTreeMap::new(),
        }
    }

    #[test]
    fn whether_a_pending_version_had_taken_over_is_said_by_the_checkpoint() {
        let bases = BTreeMap::from([("map".to_owned(), base("old"))]);
        let mut pending = Memory::default();
        let swapped = Swapped {
            pending: Some(Pending {
                version: version("new"),
                from: version("old"),
                after: Some(("r".to_owned(), 0)),
            }),
            ..Swapped::new(base("old"))
        };
        pending.stages.insert("map".to_owned(), swapped);

        let mut before = pending.clone();
        assert!(before.settle(&bases, Some(&checkpoint("old"))).is_empty());
        assert_eq!(before.stages["map"].pending, None);
        assert!(pending.clone().settle(&bases, None).is_empty());

        // The last checkpoint was made with it long ago, by a swap of before: that says nothing about this one.
        let mut same = pending.clone();
        if let Some(swapped) = same.stages.get_mut("map")
            && let Some(pending) = &mut swapped.pending
        {
            pending.after = Some(("r".to_owned(), 1));
        }
        assert!(same.settle(&bases, Some(&checkpoint("new"))).is_empty());

        let mut after = pending;
        let in_force = after.settle(&bases, Some(&checkpoint("new")));
        assert_eq!(in_force["map"].digest, "new");
        let previous = after.stages["map"].previous.as_ref();
        assert_eq!(previous.map(|version| &*version.digest), Some("old"));
        assert_eq!(after.settle(&bases, None), in_force, "it stays in force");
    }

    #[test]
    fn another_file_is_stronger_than_swaps_of_before() {
        let mut memory = Memory::default();
        let mut swapped = Swapped::new(base("old"));
        swapped.take_over(version("new"), version("old"));
        memory.stages.insert("map".to_owned(), swapped);
        let other = BTreeMap::from([("map".to_owned(), base("edited"))]);
        assert!(memory.settle(&other, None).is_empty() && memory.stages.is_empty());

        let mut swapped = Swapped::new(base("old"));
        swapped.rebase(base("edited"), &version("old"));
        assert_eq!(swapped.in_force, Some(version("old")), "it goes on");
        swapped.take_over(version("edited"), version("old"));
        assert_eq!(swapped.in_force, None, "that is what the file says");
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Memory::load(dir.path(), "f").unwrap(), Memory::default());
        let mut memory = Memory {
            wanted: Wanted::Paused,
            ..Memory::default()
        };
        memory
            .stages
            .insert("map".to_owned(), Swapped::new(base("old")));
        memory.save(dir.path(), "f").unwrap();
        assert_eq!(Memory::load(dir.path(), "f").unwrap(), memory);
        memory.format = FORMAT + 1;
        memory.save(dir.path(), "f").unwrap();
        let error = Memory::load(dir.path(), "f").unwrap_err().to_string();
        assert!(
            error.contains("format 2") && error.contains("remove it"),
            "{error}"
        );
    }
}
