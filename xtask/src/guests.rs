//! Builds the plugins of this repository for wasm32-wasip2. Only `std`, since `tests/build.rs` includes this file too:
//! both find what the other has built.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The target of every plugin that is written in Rust.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// Folders of the workspace with plugins, and the folder of the target folder that their components are put into.
pub(crate) const PLUGINS: (&str, &str) = ("plugins", "plugins");

/// Builds all plugins below the given folders of the workspace and puts them into `NAME.wasm` of the folder beside each, below the
/// target folder, named as their manifest names them. Gives the paths.
pub(crate) fn build(workspace: &Path, folders: &[(&str, &str)]) -> Result<Vec<PathBuf>, String> {
    ensure_target()?;
    let mut plugins = Vec::new();
    for (folder, out) in folders {
        find(workspace, folder, out, &mut plugins)?;
    }
    // A folder of its own: a nested cargo would wait for ever for the lock of the outer one.
    let base = target_dir(workspace);
    let target_dir = base.join("guests");
    let mut cargo = crate::nested::cargo(workspace);
    cargo.args([
        "build",
        "--profile",
        "guest",
        "--target",
        TARGET,
        "--target-dir",
    ]);
    cargo.arg(&target_dir);
    // Flags from outside would replace those of `.cargo/config.toml`, which the plugins need.
    for name in ["RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(name);
    }
    for plugin in &plugins {
        cargo.args(["-p", &plugin.package]);
    }
    let done = cargo
        .status()
        .map_err(|e| format!("cargo cannot be started: {e}"))?;
    if !done.success() {
        return Err("the plugins do not build, see above".into());
    }
    let mut built = Vec::new();
    for plugin in plugins {
        let out = base.join(plugin.out);
        fs::create_dir_all(&out).map_err(|e| format!("{}: {e}", out.display()))?;
        let from = target_dir
            .join(TARGET)
            .join("guest")
            .join(format!("{}.wasm", plugin.library));
        let to = out.join(format!("{}.wasm", plugin.name));
        copy_if_new(&from, &to)?;
        built.push(to);
    }
    Ok(built)
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir(workspace: &Path) -> PathBuf {
    workspace.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Installs the target where rustup manages the tool chain.
#[allow(clippy::print_stderr, reason = "people see why it takes longer")]
pub(crate) fn ensure_target() -> Result<(), String> {
    let sysroot = output(
        Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .args(["--print", "sysroot"]),
    )?;
    if Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(TARGET)
        .is_dir()
    {
        return Ok(());
    }
    eprintln!("installing the target {TARGET}");
    let done = Command::new("rustup")
        .args(["target", "add", TARGET])
        .status()
        .map_err(|e| {
            format!("the target {TARGET} is missing and rustup cannot be started ({e}): install it")
        })?;
    if done.success() {
        Ok(())
    } else {
        Err(format!("`rustup target add {TARGET}` failed, see above"))
    }
}

struct Plugin<'a> {
    out: &'a str,
    package: String,
    library: String,
    name: String,
}

/// Every folder that holds a `plugin.json` and a `Cargo.toml`.
fn find<'a>(
    workspace: &Path,
    folder: &str,
    out: &'a str,
    plugins: &mut Vec<Plugin<'a>>,
) -> Result<(), String> {
    let folder = workspace.join(folder);
    let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    for path in paths
        .iter()
        .filter(|p| p.join("plugin.json").is_file() && p.join("Cargo.toml").is_file())
    {
        let read = |name: &str| {
            fs::read_to_string(path.join(name))
                .map_err(|e| format!("{}: {e}", path.join(name).display()))
        };
        let (cargo, manifest) = (read("Cargo.toml")?, read("plugin.json")?);
        let quoted = |text: &str, key: &str| {
            text.lines()
                .find_map(|line| line.trim().strip_prefix(key))
                .and_then(|rest| rest.split('"').nth(1))
                .map(str::to_owned)
        };
        let missing = |what: &str| format!("{}: {what} not found", path.display());
        let package = quoted(&cargo, "name").ok_or_else(|| missing("package name"))?;
        let library = cargo
            .split_once("[lib]")
            .and_then(|(_, lib)| quoted(lib, "name"))
            .unwrap_or_else(|| package.replace('-', "_"));
        let name =
            quoted(&manifest, "\"name\":").ok_or_else(|| missing("\"name\" in plugin.json"))?;
        plugins.push(Plugin {
            out,
            package,
            library,
            name,
        });
    }
    Ok(())
}

/// Copies atomically, and only what has changed, so that caches by modification time stay good.
fn copy_if_new(from: &Path, to: &Path) -> Result<(), String> {
    let bytes = fs::read(from).map_err(|e| format!("{}: {e}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let part = to.with_extension(format!("part{}", std::process::id()));
    fs::write(&part, bytes)
        .and_then(|()| fs::rename(&part, to))
        .map_err(|e| format!("{}: {e}", to.display()))
}

fn output(command: &mut Command) -> Result<String, String> {
    let done = command
        .output()
        .map_err(|e| format!("{}: {e}", command.get_program().display()))?;
    String::from_utf8(done.stdout).map_err(|e| e.to_string())
}
