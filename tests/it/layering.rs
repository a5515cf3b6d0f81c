//! The direction of dependencies between the host's modules, so that the map in `lib.rs` stays true.
//!
//! It reads paths that start with `crate::`, which is how the modules name each other; `super::` stays inside a module.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crossdock_tests::host::workspace;

/// Each module of the host and the modules that it may know. `app` knows all of them but `cli`.
const LAYERS: [(&str, &[&str]); 12] = [
    ("flow", &[]),
    ("storage", &[]),
    ("names", &[]),
    ("catalogue", &["flow"]),
    ("connection", &["flow", "names"]),
    ("engine", &["flow", "storage"]),
    ("plugin", &["engine", "catalogue", "flow", "names"]),
    ("author", &["catalogue", "plugin"]),
    ("conformance", &["catalogue", "engine", "flow", "plugin"]),
    (
        "app",
        &[
            "author",
            "conformance",
            "flow",
            "storage",
            "names",
            "catalogue",
            "connection",
            "engine",
            "plugin",
        ],
    ),
    ("api", &["app", "flow"]),
    (
        "cli",
        &["api", "app", "author", "conformance", "flow", "catalogue"],
    ),
];

/// Crates that few modules may know.
const OWNERS: [(&str, &[&str]); 5] = [
    ("wasmtime", &["plugin"]),
    ("wasmtime_wasi", &["plugin"]),
    ("wasmtime_wasi_http", &["plugin"]),
    ("sled", &["storage"]),
    // Plugins' requests, the command line's to its own daemon, and those to registries.
    ("reqwest", &["connection", "api", "catalogue"]),
];

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            into.push(path);
        }
    }
}

/// The host's sources as (module, path, text without comments). `lib.rs` and `main.rs` know everything.
fn sources() -> Vec<(String, String, String)> {
    let root = workspace().join("host/src");
    let mut paths = Vec::new();
    files(&root, &mut paths);
    let sources = paths.into_iter().filter_map(|path| {
        let short = path
            .strip_prefix(&root)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let module = short
            .split('/')
            .next()
            .unwrap()
            .trim_end_matches(".rs")
            .to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let code: Vec<&str> = text
            .lines()
            .map(|line| line.split_once("//").map_or(line, |(code, _)| code))
            .collect();
        (!["lib", "main"].contains(&module.as_str())).then(|| (module, short, code.join("\n")))
    });
    sources.collect()
}

/// The modules that paths from `crate::` name, in groups too.
fn named(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1_usize;
            let mut first = true;
            let mut name = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => {
                        names.insert(std::mem::take(&mut name));
                        first = true;
                        continue;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
                if c.is_alphanumeric() || c == '_' {
                    if first && depth == 1 {
                        name.push(c);
                    }
                } else if !name.is_empty() {
                    first = false;
                }
            }
            names.insert(name);
        } else {
            names.insert(
                rest.chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect(),
            );
        }
    }
    names.remove("");
    names
}

/// Whether code names a crate: its name as a whole word before `::` or in a `use`.
fn uses(code: &str, name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let before = &code[..at];
        let after = &code[at + name.len()..];
        let own = before.ends_with("self::") || before.ends_with("super::");
        !before.ends_with(word)
            && !own
            && (after.starts_with("::") || before.ends_with("use ") && after.starts_with(';'))
    })
}

#[test]
fn the_reader_of_paths_sees_them_all() {
    let names = |code: &str| named(code).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(
        names("use crate::storage::Kv; fn f(x: crate::flow::Plan) {}"),
        "flow storage"
    );
    assert_eq!(
        names(
            "use crate::{\n  engine::{fault::{Fault, Kind}, stage},\n  flow,\n  storage::Kv as K,\n};"
        ),
        "engine flow storage"
    );
    assert!(uses("let e: wasmtime::Error;", "wasmtime") && uses("use sled;", "sled"));
    assert!(!uses(
        "wasmtime_wasi::X; my_sled::x; self::sled::Y",
        "wasmtime"
    ));
    assert!(!uses("self::sled::Y", "sled") && !uses("x.sled()", "sled"));
}

#[test]
fn modules_know_only_the_layers_below() {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (module, path, code) in sources() {
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{path}: the module `{module}` has no layer here"));
            continue;
        };
        for name in named(&code) {
            seen.insert((module.clone(), name.clone()));
            let known = LAYERS.iter().any(|(layer, _)| *layer == name);
            if known && name != module && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{path}: `{module}` must not know `{name}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for pair in [
        ("engine", "storage"),
        ("plugin", "engine"),
        ("app", "plugin"),
        ("cli", "app"),
    ] {
        let pair = (pair.0.to_owned(), pair.1.to_owned());
        assert!(
            seen.contains(&pair),
            "{pair:?} is not seen: does this test still read the code?"
        );
    }
}

#[test]
fn one_module_only_knows_each_great_library() {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (module, path, code) in sources() {
        for (library, owners) in OWNERS {
            if !uses(&code, library) {
                continue;
            }
            if owners.contains(&module.as_str()) {
                seen.insert(library);
            } else {
                wrong.push(format!(
                    "{path}: only `{}` may know `{library}`",
                    owners.join("` and `")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        seen.contains("wasmtime") && seen.contains("sled"),
        "{seen:?}"
    );
}
