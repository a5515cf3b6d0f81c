//! What is refused before anything runs, and how it is said.

use super::*;
use crate::{
    catalogue::{ImportGroup, Kind, inspect},
    plugin::PluginError,
};

async fn refused(bytes: Vec<u8>) -> PluginError {
    runtime()
        .load_bytes(bytes, "plugins/x.wasm")
        .await
        .unwrap_err()
}

fn foreign(import: &str) -> Guest {
    let (package, interface) = import.split_once('/').unwrap();
    let wit = format!(
        "package test:test;
         world w {{ import {import}@0.2.0; export crossdock:plugin/sink@0.1.0; }}
         package {package}@0.2.0 {{ interface {interface} {{ poke: func(); }} }}
         package crossdock:plugin@0.1.0 {{ interface sink {{ close: func(); }} }}"
    );
    Guest::new(Kind::Sink).wit(&wit, "w")
}

/// A component that exports one function of one interface.
fn exporting(interface: &str, version: &str) -> Vec<u8> {
    let wit = format!(
        "package test:test;
         world w {{ export crossdock:plugin/{interface}@{version}; }}
         package crossdock:plugin@{version} {{ interface {interface} {{ poke: func(); }} }}"
    );
    Guest::new(Kind::Sink)
        .wit(&wit, "w")
        .extra(&format!(
            r#"(func (export "crossdock:plugin/{interface}@{version}#poke"))"#
        ))
        .build()
}

#[tokio::test]
async fn what_is_no_component_is_said_in_words() {
    let text = refused(b"hello".to_vec()).await.to_string();
    assert!(
        text.starts_with("plugins/x.wasm: this is no WebAssembly file"),
        "{text}"
    );
    assert!(
        refused(Vec::new())
            .await
            .to_string()
            .contains("it is empty")
    );
    assert!(
        refused(b"(module)".to_vec())
            .await
            .to_string()
            .contains("text format")
    );
    let module = wat::parse_str("(module)").unwrap();
    assert!(
        refused(module)
            .await
            .to_string()
            .contains("core module, not a component")
    );
    let mut damaged = Guest::new(Kind::Sink).build();
    damaged.truncate(damaged.len() / 2);
    assert!(
        refused(damaged)
            .await
            .to_string()
            .contains("damaged at byte")
    );
    let missing = runtime()
        .load(std::path::Path::new("/nowhere/x.wasm"))
        .await
        .unwrap_err();
    assert!(
        missing
            .to_string()
            .contains("cannot read the plugin /nowhere/x.wasm")
    );
}

#[tokio::test]
async fn a_component_that_is_no_plugin_and_one_of_another_contract_are_refused() {
    let other = refused(exporting("thing", "0.1.0")).await;
    assert!(matches!(other, PluginError::NoPlugin { .. }), "{other}");
    assert!(
        other.to_string().contains("crossdock:plugin/thing@0.1.0"),
        "{other}"
    );
    let newer = refused(exporting("sink", "7.0.0")).await.to_string();
    assert!(
        newer.contains("contract 7.0.0")
            && newer.contains("offers 0.1.0")
            && newer.contains("newer crossdock")
    );
    let older = refused(exporting("sink", "0.0.1")).await.to_string();
    assert!(older.contains("current SDK"), "{older}");
    // The right name, and none of its functions.
    let mistyped = refused(exporting("sink", "0.1.0")).await;
    assert!(matches!(mistyped, PluginError::Lacks { .. }), "{mistyped}");
}

#[tokio::test]
async fn an_import_that_is_not_offered_is_named() {
    for (import, words) in [
        ("wasi:http/incoming-handler", "WASI 0.2"),
        ("acme:magic/wand", "WASI 0.2"),
    ] {
        let guest = foreign(import)
            .import(&format!("{import}@0.2.0"), "poke", "$poke", "")
            .extra(r#"(func (export "crossdock:plugin/sink@0.1.0#close") (call $poke))"#);
        let text = refused(guest.build()).await.to_string();
        assert!(
            text.contains(&format!("imports `{import}@0.2.0`")) && text.contains(words),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_plugin_is_only_what_it_exports() {
    let plugin = load(&Guest::new(Kind::Sink)).await;
    let Err(error) = plugin.source(context()) else {
        panic!("it is no source")
    };
    assert_eq!(
        error.to_string(),
        "the plugin `test` is no source: it is a sink"
    );
    assert_eq!(
        fault(plugin.check(Kind::Transformer, &context()).await).kind,
        FaultKind::Config
    );
}

#[tokio::test]
async fn an_inspection_shows_all_without_running() {
    let manifest = json!({
        "name": "probe", "version": "1.2.3", "description": "Tries things",
        "kinds": { "transformer": { "config": { "type": "object" }, "delivery": "deterministic" } },
    });
    let guest = Guest::new(Kind::Transformer).manifest(&manifest).import(
        "crossdock:plugin/clock@0.1.0",
        "now-ms",
        "$now",
        "(result i64)",
    );
    let bytes = guest
        .clone()
        .wasi()
        .import(
            "wasi_snapshot_preview1",
            "sched_yield",
            "$y",
            "(result i32)",
        )
        .build();
    let seen = inspect(&bytes).unwrap();
    assert_eq!(seen.kinds, [Kind::Transformer]);
    assert_eq!(seen.contract().unwrap().to_string(), "0.1.0");
    assert_eq!(seen.size, bytes.len() as u64);
    assert_eq!(seen.manifest.as_ref().unwrap().version, "1.2.3");
    assert_eq!(seen.findings(), Vec::<String>::new());
    assert!(
        seen.imports
            .iter()
            .any(|import| import.name == "crossdock:plugin/clock@0.1.0")
    );
    assert!(seen.reach().contains(&ImportGroup::Contract));
    let plugin = load(&guest).await;
    assert_eq!((plugin.name(), plugin.version()), ("probe", "1.2.3"));
}

#[tokio::test]
async fn a_manifest_may_be_inside_the_core_module_missing_or_wrong() {
    let bare = inspect(&Guest::new(Kind::Sink).build()).unwrap();
    assert!(
        bare.findings()[0].contains("no manifest"),
        "{:?}",
        bare.findings()
    );
    let wrong = inspect(
        &Guest::new(Kind::Sink)
            .manifest(&json!({ "name": "X" }))
            .build(),
    )
    .unwrap();
    assert!(
        wrong.manifest.is_none() && wrong.findings()[0].contains("malformed"),
        "{:?}",
        wrong.findings()
    );
    let other = json!({ "name": "x", "version": "0.1.0", "kinds": { "source": {} } });
    let other = inspect(&Guest::new(Kind::Sink).manifest(&other).build()).unwrap();
    assert_eq!(other.findings().len(), 2, "{:?}", other.findings());
    // As the SDK does it: in the core module, first one wins.
    let section = r#"(@custom "crossdock:manifest" "{\"name\":\"inner\",\"version\":\"0.1.0\",\"kinds\":{\"sink\":{}}}")"#;
    let outer = json!({ "name": "outer", "version": "0.1.0", "kinds": { "sink": {} } });
    let nested = inspect(
        &Guest::new(Kind::Sink)
            .extra(section)
            .manifest(&outer)
            .build(),
    )
    .unwrap();
    assert_eq!(nested.manifest.unwrap().name, "inner");
}

#[tokio::test]
async fn the_same_bytes_are_one_plugin() {
    let guest = Guest::new(Kind::Source).extra("(func $only_here)");
    let (first, second) = tokio::join!(load(&guest), load(&guest));
    assert!(Arc::ptr_eq(&first, &second));
}
