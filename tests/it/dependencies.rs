//! What this project is built from is what `deny.toml` allows. `cargo deny` says the same and more where it is installed;
//! this needs nothing but cargo, so that nobody lands a licence that forbids what people do with crossdock.

use std::{collections::BTreeSet, fs};

use crossdock_tests::host::{cargo, workspace};
use serde_json::Value;
use spdx::{Expression, ParseMode};

/// What is built for these is what people get.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "wasm32-wasip2"];

/// Every package of the workspace and what it depends on, once per target that needs it.
fn packages() -> Vec<Value> {
    let of = |target: &str| {
        let done = cargo(workspace())
            .args(["metadata", "--locked", "--format-version", "1"])
            .args(["--filter-platform", target])
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{error}");
        let mut metadata: Value = serde_json::from_slice(&done.stdout).unwrap();
        match metadata["packages"].take() {
            Value::Array(packages) => packages,
            other => panic!("{other}"),
        }
    };
    TARGETS.into_iter().flat_map(of).collect()
}

fn rules() -> toml::Table {
    let text = fs::read_to_string(workspace().join("deny.toml")).unwrap();
    text.parse().unwrap()
}

/// Whether a licence text can be met with the allowed ones. An exception must be allowed together with its licence.
fn is_allowed(license: &str, allowed: &BTreeSet<&str>) -> bool {
    let Ok(expression) = Expression::parse_mode(license, ParseMode::LAX) else {
        return false;
    };
    expression.evaluate(|needed| allowed.contains(needed.to_string().as_str()))
}

#[test]
fn licences_are_read_as_lawyers_do() {
    let allowed = BTreeSet::from(["MIT", "Apache-2.0"]);
    assert!(is_allowed("MIT OR GPL-3.0-only", &allowed) && is_allowed("Apache-2.0/MIT", &allowed));
    assert!(!is_allowed("MIT AND GPL-3.0-only", &allowed) && !is_allowed("", &allowed));
    assert!(!is_allowed("Apache-2.0 WITH LLVM-exception", &allowed));
    assert!(!is_allowed("Ask-Me-First", &allowed));
}

#[test]
fn every_dependency_is_one_that_the_project_allows() {
    let rules = rules();
    let allowed: BTreeSet<&str> = rules["licenses"]["allow"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(toml::Value::as_str)
        .collect();
    let banned: BTreeSet<&str> = rules["bans"]["deny"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|ban| ban["name"].as_str())
        .collect();
    let (mut wrong, mut used) = (BTreeSet::new(), BTreeSet::new());
    let packages = packages();
    for package in &packages {
        let text = |key: &str| package[key].as_str().unwrap_or_default();
        let name = format!("{} {}", text("name"), text("version"));
        if !is_allowed(text("license"), &allowed) {
            wrong.insert(format!("{name}: the licence `{}`", text("license")));
        }
        if banned.contains(text("name")) {
            wrong.insert(format!("{name}: is banned"));
        }
        // A package of the workspace has no source.
        let source = text("source");
        if !source.is_empty() && !source.starts_with("registry+") {
            wrong.insert(format!("{name}: comes from {source}"));
        }
        used.extend(
            allowed
                .iter()
                .filter(|license| text("license").contains(**license)),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}\nsee deny.toml");
    assert!(
        packages.len() > 300,
        "{} packages: does this test still see them?",
        packages.len()
    );
    let idle: Vec<_> = allowed.difference(&used).collect();
    assert!(idle.is_empty(), "nobody needs {idle:?} in deny.toml");
}

/// Everything of the workspace that is built for this machine, with its features.
fn built(edges: &str) -> BTreeSet<String> {
    let done = cargo(workspace())
        .args([
            "tree",
            "--locked",
            "--offline",
            "--workspace",
            "--no-dedupe",
        ])
        .args(["--edges", edges, "--prefix", "none", "--format", "{p} {f}"])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{error}");
    let text = String::from_utf8(done.stdout).unwrap();
    let lines = text.lines();
    lines
        .map(|line| line.trim_end_matches(" (*)").trim().to_owned())
        .collect()
}

/// A library with more features in tests than in the program is built twice, and with it all that depends on it: for tokio
/// that is wasmtime and many minutes.
#[test]
fn nothing_is_built_twice_for_tests() {
    let (program, tests) = (built("normal,build"), built("normal,build,dev"));
    assert!(program.len() > 200, "{program:?}");
    let twice: Vec<_> = program.difference(&tests).collect();
    assert!(
        twice.is_empty(),
        "tests need more features of these: turn them on in [workspace.dependencies], or in tests/Cargo.toml when the \
         program must not have them: {twice:#?}"
    );
}

/// Cargo optimises a component together with all that it uses only when its crate is nothing else, and builds what it uses
/// once more for every other kind of crate.
#[test]
fn plugins_are_components_and_nothing_else() {
    let mut seen = 0;
    for folder in ["plugins", "tests/plugins"] {
        for entry in fs::read_dir(workspace().join(folder)).unwrap() {
            let folder = entry.unwrap().path();
            if !folder.join("plugin.json").is_file() || !folder.join("Cargo.toml").is_file() {
                continue;
            }
            let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
            let manifest: toml::Table = manifest.parse().unwrap();
            let kinds = &manifest["lib"]["crate-type"];
            assert_eq!(kinds.as_array().unwrap(), &["cdylib".into()], "{folder:?}");
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen} plugins");
}
