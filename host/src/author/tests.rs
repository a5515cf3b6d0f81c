//! What needs no tool chain: the templates, the sections, the seam. The rest is in `tests/it/author.rs`.

use std::{fmt::Write as _, fs, path::Path};

use super::{
    componentize::componentize,
    contract, create,
    language::{self, ALL},
    new, section,
};
use crate::catalogue::{Kind, inspect};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, root, found);
        } else {
            let short = path.strip_prefix(root).unwrap();
            found.push(short.to_string_lossy().into_owned());
        }
    }
    found.sort();
}

#[test]
fn every_guest_library_is_in_the_program_as_a_whole() {
    for (language, mut embedded) in language::libraries() {
        let root = repository().join("guest-sdk").join(language);
        let mut there = Vec::new();
        walk(&root, &root, &mut there);
        // What else is there is for projects, and for the library's own tests.
        there.retain(|path| {
            let apart = ["template/", "test/", "Cargo.toml"];
            !path.ends_with("tests.rs")
                && !path.ends_with("_test.go")
                && !path.contains("__pycache__/")
                && !apart.iter().any(|start| path.starts_with(start))
        });
        embedded.retain(|path| !path.starts_with("template/"));
        embedded.sort_unstable();
        assert_eq!(embedded, there, "{language}");
    }
}

#[test]
fn the_whole_contract_is_in_the_program() {
    let root = repository().join(contract::FOLDER);
    let mut there = Vec::new();
    walk(&root, &root, &mut there);
    let embedded: Vec<&str> = contract::FILES.iter().map(|(name, _)| *name).collect();
    assert_eq!(embedded, there);
}

#[test]
fn every_language_makes_a_project_of_every_kind() {
    for language in ALL {
        for kind in Kind::ALL {
            let folder = tempfile::tempdir().unwrap();
            let made = create(folder.path(), "shop-items", kind, language).unwrap();
            assert!(language.owns(&made.folder), "{}", language.id());
            let (manifest, _) = new::manifest(&made.folder).unwrap();
            assert!(manifest.name == "shop-items" && manifest.kind(kind).is_some());
            for file in &made.files {
                let text = fs::read_to_string(made.folder.join(file)).unwrap();
                let own = !file.starts_with("sdk/");
                let place = text.find("{{").map(|at| &text[at..text.len().min(at + 20)]);
                let left = place.filter(|place| {
                    ["{{name}}", "{{Type}}", "{{snake}}", "{{kind}}"]
                        .iter()
                        .any(|known| place.starts_with(known))
                });
                assert!(!own || left.is_none(), "{file}: {place:?}");
            }
            for needed in [
                "README.md",
                "plugin.json",
                ".gitignore",
                "wit/v0.1/types.wit",
            ] {
                assert!(made.files.iter().any(|file| file == needed), "{needed}");
            }
            let again = create(folder.path(), "shop-items", kind, language).unwrap_err();
            assert!(again.to_string().contains("is there already"), "{again}");
        }
    }
}

#[test]
fn a_name_is_one_that_a_flow_and_a_package_can_have() {
    let folder = tempfile::tempdir().unwrap();
    for wrong in [
        "",
        "Shop",
        "7up",
        "a_b",
        "../x",
        "a--b",
        "a-",
        &"a".repeat(65),
    ] {
        let error = create(folder.path(), wrong, Kind::Sink, ALL[0]).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{wrong}: {error}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_project_that_is_none_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let error = new::manifest(folder.path()).unwrap_err().to_string();
    assert!(error.contains("there is no `plugin.json`"), "{error}");
    let manifest = |text: &str| {
        fs::write(folder.path().join("plugin.json"), text).unwrap();
        new::manifest(folder.path()).unwrap_err().to_string()
    };
    let error = manifest("{ \"name\": \"x\",\n \"version\": 1 }");
    assert!(
        error.contains("plugin.json") && error.contains("line 2"),
        "{error}"
    );
    let error = manifest(
        r#"{ "name": "x", "version": "0.1.0", "kinds": { "sink": { "config": { "type": "objekt" } } } }"#,
    );
    assert!(
        error.contains("`kinds.sink.config` is no JSON Schema"),
        "{error}"
    );
    let Err(error) = language::of(folder.path()) else {
        panic!("an empty folder has no language");
    };
    assert!(error.to_string().contains("`Cargo.toml` (Rust)"), "{error}");
}

/// A module of one kind that does nothing: the canonical names that every language's tools use.
fn module(kind: &str, functions: &[&str]) -> Vec<u8> {
    let mut exports = String::new();
    for signature in functions {
        let (name, types) = signature.split_once(' ').unwrap();
        let export = format!("crossdock:plugin/{kind}@0.1.0#{name}");
        writeln!(exports, "(func (export {export:?}) {types} unreachable)").unwrap();
    }
    let text = format!(
        "(module $guest (memory (export \"memory\") 1) (func $named (export \"cabi_realloc\") \
         (param i32 i32 i32 i32) (result i32) unreachable) {exports})"
    );
    wat::parse_str(text).unwrap()
}

const SINK: [&str; 7] = [
    "check (param i32 i32) (result i32)",
    "open (param i32 i32 i32 i32 i32) (result i32)",
    "write (param i32 i32 i32 i32 i32 i32 i32) (result i32)",
    "finish (result i32)",
    "snapshot (result i32)",
    "commit (param i32 i32) (result i32)",
    "close ",
];

#[test]
fn a_core_module_becomes_a_component_with_one_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let component = componentize(folder.path(), &[Kind::Sink], module("sink", &SINK)).unwrap();
    let manifest = |version: &str| {
        format!(r#"{{ "name": "x", "version": "{version}", "kinds": {{ "sink": {{}} }} }}"#)
    };
    let first = section::finish(&component, manifest("0.1.0").as_bytes(), false).unwrap();
    let second = section::finish(&first, manifest("0.2.0").as_bytes(), true).unwrap();
    for (bytes, version) in [(&first, "0.1.0"), (&second, "0.2.0")] {
        let inspection = inspect(bytes).unwrap();
        assert_eq!(inspection.findings(), [""; 0]);
        assert_eq!(inspection.manifest.unwrap().version, version);
    }
    let has = |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
    assert!(
        has(&first, b"named") && !has(&second, b"named"),
        "names are stripped for a release"
    );
    assert!(
        !has(&second, b"\"0.1.0\""),
        "the manifest is replaced, not added"
    );
}

#[test]
fn a_module_that_lacks_an_export_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let error = componentize(folder.path(), &[Kind::Sink], module("sink", &SINK[1..])).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("does not keep the contract") && text.contains("check"),
        "{text}"
    );
    // Two kinds in one module: the world is made of what the manifest names.
    let both = componentize(
        folder.path(),
        &[Kind::Source, Kind::Sink],
        module("sink", &SINK),
    );
    assert!(both.unwrap_err().to_string().contains("source"));
}
