//! Builds the plugins of this repository that are not written in Rust, with `crossdock plugin build` as their authors do. Only
//! `std`: the tests include this file too.
//!
//! They are built from a copy in the target folder: what tools leave behind is none of the repository's.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use super::tools::{self, Tools};

/// What a plugin is built of, beside its own folder.
const SHARED: [&str; 2] = ["guest-sdk", "wit"];
/// What else decides what comes out.
const BUILDER: &str = "host/src/author";
/// Folders that tools make, and that of Rust's guest library, which these plugins do not use.
const LEFT_OUT: [&str; 6] = [
    "build",
    "dist",
    "node_modules",
    "__pycache__",
    "target",
    "rust",
];

/// The plugins that are not written in Rust, by name, with the tools they need.
pub(crate) fn find(workspace: &Path) -> Result<Vec<(String, Tools)>, String> {
    let folder = workspace.join("plugins");
    let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| e.to_string())?.path();
        if !path.join("plugin.json").is_file() || path.join("Cargo.toml").is_file() {
            continue;
        }
        let tools = tools::of(&path)
            .ok_or_else(|| format!("{}: nothing says which language it is in", path.display()))?;
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        found.push((name, *tools));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// Where the copies are.
fn copies(target: &Path) -> PathBuf {
    target.join("foreign")
}

/// The copy of a plugin's folder, as it is now.
#[allow(dead_code, reason = "the tests run the plugin's own tests in it")]
pub(crate) fn copy(workspace: &Path, target: &Path, name: &str) -> Result<PathBuf, String> {
    let _lock = lock(target)?;
    mirror(workspace, target, name)?;
    Ok(copies(target).join("plugins").join(name))
}

/// Builds one of them, unless that was done already. Its tools have to be there.
pub(crate) fn build(
    workspace: &Path,
    target: &Path,
    crossdock: &Path,
    (name, tools): &(String, Tools),
) -> Result<PathBuf, String> {
    let _lock = lock(target)?;
    let component = target.join("plugins").join(format!("{name}.wasm"));
    let stamp = copies(target).join(format!("{name}.built"));
    let wanted = digest(workspace, name, tools)?;
    if component.is_file() && fs::read_to_string(&stamp).is_ok_and(|built| built == wanted) {
        return Ok(component);
    }
    mirror(workspace, target, name)?;
    let mut build = Command::new(crossdock);
    build
        .args(["plugin", "build", "--release"])
        .arg(copies(target).join("plugins").join(name))
        .arg("--out")
        .arg(&component)
        .env("PATH", tools::path(target))
        .envs([tools::zig_cache(target)])
        // What Go has compiled is kept with the rest.
        .env("GOCACHE", go_cache(target))
        // It comes from here only when something is wrong.
        .stdout(std::process::Stdio::null());
    let status = build
        .status()
        .map_err(|e| format!("{}: {e}", crossdock.display()))?;
    if !status.success() {
        return Err(format!(
            "the plugin `{name}` does not build ({status}), see above"
        ));
    }
    fs::write(&stamp, wanted).map_err(|e| format!("{}: {e}", stamp.display()))?;
    Ok(component)
}

/// Where Go keeps what it has compiled.
pub(crate) fn go_cache(target: &Path) -> PathBuf {
    target.join("tools").join("go-cache")
}

/// One at a time: several tests may want the same.
fn lock(target: &Path) -> Result<File, String> {
    let folder = copies(target);
    let locked = fs::create_dir_all(&folder)
        .and_then(|()| File::create(folder.join("lock")))
        .and_then(|file| file.lock().map(|()| file));
    locked.map_err(|e| format!("{}: {e}", folder.display()))
}

fn mirror(workspace: &Path, target: &Path, name: &str) -> Result<(), String> {
    for folder in SHARED
        .map(PathBuf::from)
        .into_iter()
        .chain([Path::new("plugins").join(name)])
    {
        let mut files = BTreeMap::new();
        read(&workspace.join(&folder), &mut files)?;
        let to = copies(target).join(&folder);
        for (path, bytes) in files {
            let file = to.join(path.strip_prefix(workspace.join(&folder)).unwrap_or(&path));
            put(&file, &bytes).map_err(|e| format!("{}: {e}", file.display()))?;
        }
    }
    Ok(())
}

fn put(file: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(file).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::create_dir_all(file.parent().unwrap_or(file))?;
    fs::write(file, bytes)
}

/// Every file below a folder, with its content.
fn read(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<(), String> {
    let failed = |e: io::Error| format!("{}: {e}", folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !path.is_dir() {
            let bytes = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            files.insert(path, bytes);
        } else if !LEFT_OUT.contains(&name.as_str()) {
            read(&path, files)?;
        }
    }
    Ok(())
}

/// Tells whether anything has changed that decides what is built.
fn digest(workspace: &Path, name: &str, tools: &Tools) -> Result<String, String> {
    let mut files = BTreeMap::new();
    for folder in SHARED.into_iter().chain([BUILDER]) {
        read(&workspace.join(folder), &mut files)?;
    }
    read(&workspace.join("plugins").join(name), &mut files)?;
    let mut hasher = DefaultHasher::new();
    tools.to_string().hash(&mut hasher);
    for (path, bytes) in &files {
        // Wherever the checkout is.
        path.strip_prefix(workspace)
            .unwrap_or(path)
            .hash(&mut hasher);
        bytes.hash(&mut hasher);
    }
    Ok(format!("{:016x}\n", hasher.finish()))
}
