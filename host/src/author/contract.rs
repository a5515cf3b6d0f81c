//! The contract's WIT: written into projects, and embedded into core modules.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use wit_parser::{Resolve, UnresolvedPackageGroup, WorldId};

use super::{error::AuthorError, files::embedded};
use crate::catalogue::Kind;

/// Where it is in a project.
pub(super) const FOLDER: &str = "wit/v0.1";
/// The world of a plugin, whatever its kinds are: [`world`] adds it.
pub(super) const WORLD: &str = "plugin";

/// Every file of the latest version.
pub(super) const FILES: [(&str, &str); 6] = embedded!(
    "wit/v0.1":
    "imports.wit",
    "sink.wit",
    "source.wit",
    "transformer.wit",
    "types.wit",
    "worlds.wit",
);

/// A file with the world `plugin`, which exports exactly these kinds.
fn world(kinds: &[Kind]) -> String {
    let mut text = format!("/// What this plugin is.\nworld {WORLD} {{\n");
    for kind in kinds {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    include {kind}-plugin;");
    }
    text + "}\n"
}

/// The files of the contract that a project has vendored, or those of this host.
fn files(project: &Path) -> Result<Vec<(String, String)>, AuthorError> {
    let folder = project.join(FOLDER);
    if !folder.is_dir() {
        let own = FILES.iter();
        return Ok(own
            .map(|&(name, text)| (name.to_owned(), text.to_owned()))
            .collect());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).map_err(AuthorError::io(&folder))? {
        let path = entry.map_err(AuthorError::io(&folder))?.path();
        if path.extension().is_some_and(|end| end == "wit") {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let text = fs::read_to_string(&path).map_err(AuthorError::io(&path))?;
            files.push((name.into_owned(), text));
        }
    }
    files.sort();
    Ok(files)
}

/// Writes the contract and the world [`WORLD`] of these kinds into a folder, for tools that read WIT. Gives the folder.
pub(super) fn write(project: &Path, work: &Path, kinds: &[Kind]) -> Result<PathBuf, AuthorError> {
    let folder = work.join("wit");
    if folder.is_dir() {
        fs::remove_dir_all(&folder).map_err(AuthorError::io(&folder))?;
    }
    fs::create_dir_all(&folder).map_err(AuthorError::io(&folder))?;
    let mut all = files(project)?;
    all.push(("plugin.wit".to_owned(), world(kinds)));
    for (name, text) in all {
        let path = folder.join(name);
        fs::write(&path, text).map_err(AuthorError::io(&path))?;
    }
    Ok(folder)
}

/// The contract with the world [`WORLD`] of these kinds.
pub(super) fn resolve(project: &Path, kinds: &[Kind]) -> Result<(Resolve, WorldId), AuthorError> {
    let wrong = |error: String| AuthorError::Componentize {
        message: format!("the contract in {FOLDER} cannot be read: {error}"),
    };
    let mut all = files(project)?;
    all.push(("plugin.wit".to_owned(), world(kinds)));
    let mut map = wit_parser::SourceMap::new();
    for (name, text) in all {
        map.push(Path::new(&name), text);
    }
    let group: UnresolvedPackageGroup =
        map.parse().map_err(|(_, error)| wrong(error.to_string()))?;
    let mut resolve = Resolve::default();
    let package = resolve
        .push_group(group)
        .map_err(|error| wrong(error.to_string()))?;
    let world = resolve
        .select_world(&[package], Some(WORLD))
        .map_err(|error| wrong(error.to_string()))?;
    Ok((resolve, world))
}
