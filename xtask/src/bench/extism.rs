//! The same transform as a plugin for Extism, which brings a wasmtime of its own: so it is a workspace of its own, and
//! nothing but this bench builds it.

use std::{path::PathBuf, process::Command};

use super::worker::Worker;
use crate::{cargo, execute, guests, say, workspace};

const TARGET: &str = "wasm32-unknown-unknown";

/// As a plugin author writes it, and with the SDK's JSON instead of `serde_json`.
pub(crate) const BY: [&str; 2] = ["extism-value", "extism-lazy"];

/// Built, ready to be started.
pub(crate) struct Built {
    host: PathBuf,
    plugin: PathBuf,
}

/// Builds host and plugin.
pub(crate) fn build() -> Result<Built, String> {
    say("building Extism (the first time takes many minutes)");
    let folder = workspace().join("tests/bench/extism");
    let target = guests::target_dir(&workspace()).join("bench-extism");
    let add = Command::new("rustup")
        .args(["target", "add", TARGET])
        .output()
        .map_err(|e| format!("rustup cannot be started: {e}"))?;
    if !add.status.success() {
        return Err(format!("the target {TARGET} cannot be installed"));
    }
    let build = |package: &str, more: &[&str]| {
        let mut command = cargo();
        command
            .current_dir(&folder)
            .args(["build", "--quiet", "--locked", "-p", package])
            .args(more)
            .arg("--target-dir")
            .arg(&target);
        execute(&mut command)
    };
    build(
        "bench-extism-plugin",
        &["--profile", "guest", "--target", TARGET],
    )?;
    build("bench-extism", &["--release"])?;
    Ok(Built {
        host: target.join("release/bench-extism"),
        plugin: target.join(TARGET).join("guest/bench_extism_plugin.wasm"),
    })
}

impl Built {
    /// Starts a worker.
    pub(crate) fn start(&self) -> Result<Worker, String> {
        Worker::spawn(Command::new(&self.host).arg(&self.plugin))
    }
}
