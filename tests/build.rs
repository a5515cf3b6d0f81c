//! Builds the plugins of this repository and those of the tests, so that a plain `cargo test` has them.
//!
//! Cargo runs this only when one of the files below has changed; what `cargo xtask` has built is found as it is.

#![allow(clippy::print_stderr, reason = "cargo shows it when the build fails")]

use std::{
    error::Error,
    path::{Path, PathBuf},
};

#[path = "../xtask/src/guests.rs"]
mod guests;
#[path = "../xtask/src/nested.rs"]
mod nested;

/// The folders with plugins, and where their components are put.
const FOLDERS: [(&str, &str); 2] = [guests::PLUGINS, ("tests/plugins", "test-plugins")];

fn main() -> Result<(), Box<dyn Error>> {
    let workspace: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()?;
    for input in [
        "plugins",
        "tests/plugins",
        "guest-sdk/rust",
        "wit",
        "Cargo.lock",
        "Cargo.toml",
        ".cargo",
    ] {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(input).display()
        );
    }
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    // A plugin that somebody deleted is built again.
    for component in guests::build(&workspace, &FOLDERS)? {
        println!("cargo::rerun-if-changed={}", component.display());
    }
    Ok(())
}
