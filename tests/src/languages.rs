//! Tool chains of other languages, and the plugins that are written in them.
//!
//! `cargo xtask tools` installs them. Where one is missing, what needs it is left out with a word; where `CI` is set that fails.

#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a helper of tests fails the test, and people see what was not tested"
)]

use std::{ffi::OsString, path::PathBuf};

use crate::host::{program, target, workspace};

#[allow(dead_code, reason = "each of its users needs a part")]
#[path = "../../xtask/src/foreign.rs"]
mod foreign;
#[allow(dead_code, reason = "each of its users needs a part")]
#[path = "../../xtask/src/tools.rs"]
mod tools;

/// `PATH` with the programs of a language's tool chain: `javascript`, `python`. `None`: it is not there.
pub fn tool_chain(language: &str) -> Option<OsString> {
    let tools = tools::ALL.iter().find(|tools| tools.name == language);
    let tools = tools.unwrap_or_else(|| panic!("there are no tools of {language}"));
    if tools.is_ready(target()) {
        return Some(tools::path(target()));
    }
    let advice = format!("{tools} is not installed: `cargo xtask tools` installs it");
    assert!(!tools::is_ci(), "{advice}");
    println!("skipped: {advice}");
    None
}

/// The variable, and the folder, in which Zig keeps the libraries of C and C++.
pub fn zig_cache() -> (&'static str, PathBuf) {
    tools::zig_cache(target())
}

/// The plugins of this repository that are not in Rust: name, and the language as [`tool_chain`] knows it.
pub fn foreign_plugins() -> Vec<(String, &'static str)> {
    let all = foreign::find(workspace()).expect("the plugins are in order");
    all.into_iter()
        .map(|(name, tools)| (name, tools.name))
        .collect()
}

/// Where Go keeps what it has compiled: programs of a test have another home.
pub fn go_cache() -> PathBuf {
    foreign::go_cache(target())
}

/// The component of a plugin of this repository that is not in Rust, built when it is not up to date.
pub fn foreign_plugin(name: &str) -> Option<PathBuf> {
    let all = foreign::find(workspace()).expect("the plugins are in order");
    let plugin = all.iter().find(|(known, _)| known == name);
    let plugin = plugin.unwrap_or_else(|| panic!("there is no plugin {name}"));
    tool_chain(plugin.1.name)?;
    let built = foreign::build(workspace(), target(), program(), plugin);
    Some(built.unwrap_or_else(|why| panic!("{why}")))
}

/// The folder of such a plugin, copied, so that its own tests can be run in it.
pub fn foreign_folder(name: &str) -> PathBuf {
    foreign::copy(workspace(), target(), name).unwrap_or_else(|why| panic!("{why}"))
}
