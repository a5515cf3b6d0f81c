//! A cargo that is started by a program which cargo has started. Only `std`: `tests/build.rs` and the tests include this
//! file too.

use std::{env, path::Path, process::Command};

/// What the outer cargo tells about the package whose program or build script runs.
const OF_A_PACKAGE: [&str; 6] = [
    "CARGO_PKG_",
    "CARGO_MANIFEST_",
    "CARGO_BIN_",
    "CARGO_CFG_",
    "CARGO_FEATURE_",
    "DEP_",
];

/// The same, one by one.
const OF_A_BUILD: [&str; 5] = [
    "CARGO_CRATE_NAME",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_ENCODED_RUSTFLAGS",
    "OUT_DIR",
    "RUSTC_WORKSPACE_WRAPPER",
];

/// `cargo` in this folder as a person would start it there. Build scripts look at what cargo tells about a package (that of
/// `ring` does): with the variables of another package they would run again, and with them all that depends on them would be
/// built again, every time that somebody changes between `cargo xtask` and `cargo`.
pub(crate) fn cargo(folder: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if OF_A_PACKAGE.iter().any(|start| text.starts_with(start))
            || OF_A_BUILD.contains(&text.as_ref())
        {
            cargo.env_remove(name);
        }
    }
    cargo
}
