//! The host's own files, which no grant may reach: who writes them grants itself the rest, and who reads some of them
//! needs no grant at all.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{Project, cache_dir};
use crate::{
    connection::{self, KeyFile},
    flow::{Finding, Plan, PluginRef, StagePlan},
};

/// What reading a file gives away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gives {
    /// What every plugin may know.
    Nothing,
    /// How the host is set up.
    Rules,
    /// A secret, or a token that is as good as the operator's word.
    Secrets,
}

/// Files and folders by their real paths.
pub(super) struct OwnFiles(BTreeMap<PathBuf, Gives>);

impl OwnFiles {
    fn add(&mut self, path: impl AsRef<Path>, gives: Gives) {
        let known = self.0.entry(real(path.as_ref())).or_insert(gives);
        *known = gives.max(*known);
    }

    /// What a granted folder reaches, the worst first.
    fn touched(&self, granted: &Path) -> Option<(&Path, Gives)> {
        let touched = self
            .0
            .iter()
            .filter(|(own, _)| own.starts_with(granted) || granted.starts_with(own));
        touched
            .map(|(own, gives)| (own.as_path(), *gives))
            .max_by_key(|(_, gives)| *gives)
    }

    /// The plugins and the files of a flow.
    fn add_flow(&mut self, plan: &Plan) {
        for stage in plan.stages() {
            if let PluginRef::Path(path) = &stage.plugin {
                self.add(path, Gives::Nothing);
            }
        }
        for file in &plan.files {
            self.add(file, Gives::Nothing);
        }
    }
}

impl Project {
    /// All of them, those of the project's other flows included. Blocks: it reads the project.
    pub(super) fn own_files(&self) -> OwnFiles {
        let mut own = OwnFiles(BTreeMap::new());
        let folder = |name: &str| self.folder.join(name);
        for name in [
            "flows",
            "connections",
            "grants",
            "trust.yaml",
            "registries.yaml",
        ] {
            own.add(folder(name), Gives::Rules);
        }
        own.add(folder("secrets.sealed"), Gives::Rules);
        own.add(folder("plugins.lock"), Gives::Nothing);
        own.add(folder("plugins"), Gives::Rules);
        // The daemon's token is there, and what other flows have read.
        own.add(&self.state, Gives::Secrets);
        for folder in self.locator.folders() {
            own.add(folder, Gives::Nothing);
        }
        if let Some(cache) = cache_dir() {
            own.add(cache, Gives::Rules);
        }
        if let Some(key) = connection::secrets::key_file() {
            own.add(key, Gives::Secrets);
        }
        for KeyFile { path, is_secret } in
            connection::key_files(&folder("connections"), &self.variables)
        {
            let gives = if is_secret {
                Gives::Secrets
            } else {
                Gives::Nothing
            };
            own.add(path, gives);
        }
        own.add_flow(&self.plan);
        // What is wrong with other flows is told when they are checked.
        let files = std::fs::read_dir(folder("flows")).into_iter().flatten();
        for file in files.flatten().map(|entry| entry.path()) {
            let is_flow = file
                .extension()
                .is_some_and(|own| own == "yaml" || own == "yml");
            if is_flow && let Ok(other) = Plan::load(&file, &self.variables) {
                own.add_flow(&other.plan);
            }
        }
        own
    }

    /// Grants of folders that hold what the host itself goes by.
    pub(super) fn keep_own(&self, own: &OwnFiles, stage: &StagePlan, findings: &mut Vec<Finding>) {
        let files = &stage.grants.files;
        for (verb, folders) in [("write", &files.write), ("read", &files.read)] {
            for (at, folder) in folders.iter().enumerate() {
                let granted = real(&self.folder.join(folder));
                let Some((touched, gives)) = own.touched(&granted) else {
                    continue;
                };
                let message = format!(
                    "stage `{}` may {verb} `{folder}`, which reaches {}",
                    stage.name,
                    touched.display()
                );
                let code = "grant.own-files";
                let found = match (verb, gives) {
                    ("write", _) => Finding::error(code, message).advice(
                        "grant a folder of its own: who writes there can change what plugins may do, and what they did",
                    ),
                    (_, Gives::Secrets) => Finding::error(code, message).advice(
                        "grant a folder of its own: secrets, the daemon's token or what other flows have read is there",
                    ),
                    (_, Gives::Rules) => Finding::warning(code, message)
                        .advice("grant a folder of its own: how the host is set up can be seen there"),
                    (_, Gives::Nothing) => continue,
                };
                let place = stage.locate_field(&format!("grants/files/{verb}/{at}"));
                findings.push(found.at(place));
            }
        }
    }
}

/// A path without links, as far as it is there.
pub(super) fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut missing = Vec::new();
    let mut there = path.as_path();
    loop {
        if let Ok(found) = there.canonicalize() {
            return missing
                .iter()
                .rev()
                .fold(found, |path, part| path.join(part));
        }
        match (there.file_name(), there.parent()) {
            (Some(name), Some(parent)) => {
                missing.push(name.to_owned());
                there = parent;
            }
            _ => return path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_that_a_folder_reaches_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut own = OwnFiles(BTreeMap::new());
        own.add(folder.path().join("build/a.wasm"), Gives::Nothing);
        own.add(folder.path().join("keys/key"), Gives::Secrets);
        own.add(folder.path().join("keys"), Gives::Rules);
        let gives = |name: &str| {
            let granted = real(&folder.path().join(name));
            own.touched(&granted).map(|(_, gives)| gives)
        };
        assert_eq!(gives("build"), Some(Gives::Nothing));
        assert_eq!(gives("."), Some(Gives::Secrets));
        assert_eq!(gives("keys"), Some(Gives::Secrets));
        assert_eq!(gives("keys/deep"), Some(Gives::Rules));
        assert_eq!(gives("out"), None);
        assert_eq!(gives("build-2"), None);
    }
}
