//! Where plugins and state are looked for.

use std::{
    collections::{BTreeMap, HashSet},
    env,
    path::{Path, PathBuf},
};

use super::{Failure, arguments::FlowArguments, style};
use crate::{app::Options, flow::project};

/// The folder with the state, in a project's folder.
const STATE: &str = ".crossdock";

/// What the application needs to know of a flow.
pub(super) fn options(arguments: FlowArguments) -> Options {
    let project = project::folder_of(&arguments.flow);
    Options {
        plugin_dirs: plugins(arguments.plugins.folders, Some(&project)),
        state: Some(arguments.state.unwrap_or_else(|| project.join(STATE))),
        flow_file: arguments.flow,
        variables: arguments.variables.into_iter().collect::<BTreeMap<_, _>>(),
    }
}

/// All folders with plugins, the given ones first.
pub(super) fn plugins(given: Vec<PathBuf>, project: Option<&Path>) -> Vec<PathBuf> {
    let listed = env::var_os("CROSSDOCK_PLUGINS").unwrap_or_default();
    let program = env::current_exe()
        .ok()
        .and_then(|file| file.parent().map(Path::to_path_buf));
    ordered(
        given,
        env::split_paths(&listed),
        project,
        program.as_deref(),
    )
}

fn ordered(
    mut folders: Vec<PathBuf>,
    listed: impl Iterator<Item = PathBuf>,
    project: Option<&Path>,
    program: Option<&Path>,
) -> Vec<PathBuf> {
    folders.extend(listed.filter(|folder| !folder.as_os_str().is_empty()));
    folders.extend(project.map(|project| project.join("plugins")));
    folders.extend(program.map(|program| program.join("plugins")));
    folders.extend(
        program
            .and_then(Path::parent)
            .map(|above| above.join("plugins")),
    );
    // A folder that is named twice is searched once, and shown once when nothing is found.
    let mut seen = HashSet::new();
    folders.retain(|folder| seen.insert(folder.clone()));
    folders
}

/// The state folder when no flow is named: the given one, else that of the project around the current folder.
pub(super) fn state(given: Option<PathBuf>) -> PathBuf {
    given.unwrap_or_else(|| {
        let current = env::current_dir().unwrap_or_default();
        project_around(&current).join(STATE)
    })
}

/// The state folder of a project.
pub(super) fn state_of(project: &Path) -> PathBuf {
    project.join(STATE)
}

/// The state folder, which must be there: looking must not make one.
pub(super) fn existing(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let folder = state(given);
    if folder.is_dir() {
        return Ok(folder);
    }
    let place = style::path(&folder);
    Err(Failure::Usage(format!(
        "there is no state folder {place}; name it with --state, or run a flow first"
    )))
}

/// The nearest folder that holds a project's parts; the folder itself when there is none.
pub(super) fn project_around(folder: &Path) -> &Path {
    let holds = |folder: &&Path| {
        folder.join(STATE).is_dir()
            || folder.join("crossdock.yaml").is_file()
            || folder.join("flows").is_dir()
    };
    folder.ancestors().find(holds).unwrap_or(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_in_the_documented_order() {
        let listed = ["/b".into(), PathBuf::new(), "/c".into()];
        let found = ordered(
            vec!["/a".into(), "/b".into()],
            listed.into_iter(),
            Some(Path::new("/p")),
            Some(Path::new("/x/bin")),
        );
        let expected = [
            "/a",
            "/b",
            "/c",
            "/p/plugins",
            "/x/bin/plugins",
            "/x/plugins",
        ]
        .map(PathBuf::from);
        assert_eq!(found, expected);
    }

    #[test]
    fn the_project_around_a_folder_is_found() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("shop/mappings/a");
        std::fs::create_dir_all(&deep).unwrap();
        assert_eq!(project_around(&deep), deep);
        std::fs::create_dir_all(root.path().join("shop/flows")).unwrap();
        assert_eq!(project_around(&deep), root.path().join("shop"));
        assert_eq!(state(Some("x".into())), Path::new("x"));
    }
}
