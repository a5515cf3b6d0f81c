//! The host's own files, which no grant may reach: who writes them grants itself the rest, and who reads some of them
//! needs no grant at all.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use super::{Project, cache_dir};
use crate::{
    connection::{self, KeyFile},
    flow::{Finding, Plan, PluginRef, StagePlan, document},
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
        // Where `..` leads from a folder that is not there, it will lead from the folder that is made by its name.
        let path = as_far_as_known(path.as_ref());
        let known = self.0.entry(path).or_insert(gives);
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
            if document::is_named(&file)
                && let Ok(other) = Plan::load(&file, &self.variables)
            {
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
                let code = "grant.own-files";
                let place = stage.locate_field(&format!("grants/files/{verb}/{at}"));
                let granted = match real(&self.folder.join(folder)) {
                    Ok(granted) => granted,
                    Err(Unknown(missing)) => {
                        let message = format!(
                            "stage `{}` may {verb} `{folder}`, and where that leads cannot be told: {} is not there",
                            stage.name,
                            missing.display()
                        );
                        let advice =
                            "write the folder without `..`, and without links to what is missing";
                        findings.push(Finding::error(code, message).advice(advice).at(place));
                        continue;
                    }
                };
                let Some((touched, gives)) = own.touched(&granted) else {
                    continue;
                };
                let message = format!(
                    "stage `{}` may {verb} `{folder}`, which reaches {}",
                    stage.name,
                    touched.display()
                );
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
                findings.push(found.at(place));
            }
        }
    }
}

/// A path leads through this, which is not there: where it goes is settled when somebody makes it.
#[derive(Debug, PartialEq, Eq)]
struct Unknown(PathBuf);

/// A path without links, as far as it is there.
fn real(path: &Path) -> Result<PathBuf, Unknown> {
    let path = std::path::absolute(path).map_err(|_| Unknown(path.to_owned()))?;
    let mut missing = Vec::new();
    let mut there = path.as_path();
    loop {
        if let Ok(found) = there.canonicalize() {
            let parts = missing.iter().rev();
            return Ok(parts.fold(found, |path, part| path.join(part)));
        }
        match (there.file_name(), there.parent()) {
            // A link that leads nowhere yet is as good as `..`.
            (Some(name), Some(parent)) if !there.is_symlink() => {
                missing.push(name.to_owned());
                there = parent;
            }
            _ => {
                let missing = there.ancestors().take_while(|part| !part.exists());
                return Err(Unknown(missing.last().unwrap_or(there).to_owned()));
            }
        }
    }
}

/// A path without links. Where it leads through something that is not there, it is taken as it is written.
pub(super) fn as_far_as_known(path: &Path) -> PathBuf {
    real(path).unwrap_or_else(|_| plain(path))
}

/// A path with every `..` taken as it is written.
fn plain(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
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
            let granted = real(&folder.path().join(name)).unwrap();
            own.touched(&granted).map(|(_, gives)| gives)
        };
        assert_eq!(gives("build"), Some(Gives::Nothing));
        assert_eq!(gives("."), Some(Gives::Secrets));
        assert_eq!(gives("keys"), Some(Gives::Secrets));
        assert_eq!(gives("keys/deep"), Some(Gives::Rules));
        assert_eq!(gives("out"), None);
        assert_eq!(gives("build-2"), None);
    }

    #[test]
    fn what_leads_through_something_missing_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("there")).unwrap();
        let of = |name: &str| real(&root.join(name));
        assert_eq!(of("there/../flows"), Ok(root.join("flows")));
        assert_eq!(of("fresh/deep"), Ok(root.join("fresh/deep")));
        let unknown = |name: &str| Err(Unknown(root.join(name)));
        assert_eq!(of("fresh/../flows"), unknown("fresh"));
        assert_eq!(of("fresh/.."), unknown("fresh"));
        assert_eq!(of("there/a/b/../../c/d"), unknown("there/a"));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("fresh/../flows", root.join("way")).unwrap();
            assert_eq!(of("way"), unknown("way"));
            assert_eq!(of("way/deep"), unknown("way"));
        }
        assert_eq!(plain(&root.join("fresh/../flows/.")), root.join("flows"));
    }
}
