//! What an author has to mend: one message each, with what is wrong, where, and what to do. Word by word.

use super::*;
use crate::catalogue::{Kind, Manifest, inspect, validate_config};

async fn refused(bytes: Vec<u8>) -> String {
    let loaded = runtime().load_bytes(bytes, "dist/x.wasm").await;
    loaded.unwrap_err().to_string()
}

/// A component that exports these functions of one interface.
fn exporting(interface: &str, version: &str, functions: &[&str]) -> Vec<u8> {
    let all: Vec<String> = functions
        .iter()
        .map(|name| format!("{name}: func();"))
        .collect();
    let all = all.concat();
    let wit = format!(
        "package test:test;
         world w {{ export crossdock:plugin/{interface}@{version}; }}
         package crossdock:plugin@{version} {{ interface {interface} {{ {all} }} }}"
    );
    let exports: Vec<String> = functions
        .iter()
        .map(|name| format!(r#"(func (export "crossdock:plugin/{interface}@{version}#{name}"))"#))
        .collect();
    let exports = exports.concat();
    Guest::new(Kind::Sink)
        .wit(&wit, "w")
        .extra(&exports)
        .build()
}

#[tokio::test]
async fn a_wrong_world() {
    assert_eq!(
        refused(exporting("thing", "0.1.0", &["poke"])).await,
        "dist/x.wasm is a component but no plugin: it exports none of `crossdock:plugin/source`, `transformer`, `sink` (it \
         exports: crossdock:plugin/thing@0.1.0); build it for a world of wit/v0.1, as the projects of `crossdock plugin \
         new` do"
    );
}

#[tokio::test]
async fn a_missing_export() {
    assert_eq!(
        refused(exporting(
            "source",
            "0.1.0",
            &["check", "open", "snapshot", "close"]
        ))
        .await,
        "dist/x.wasm is no whole source: its `crossdock:plugin/source@0.1.0` lacks `streams`, `read`, `committed`; build it \
         with the guest library of its language, or export every function of wit/v0.1/source.wit"
    );
}

#[tokio::test]
async fn a_wrong_contract_version() {
    assert_eq!(
        refused(exporting("sink", "0.9.0", &["close"])).await,
        "dist/x.wasm is built for contract 0.9.0; this host offers 0.1.0: use a newer crossdock, or build the plugin with an \
         older SDK"
    );
    assert_eq!(
        refused(exporting("sink", "0.0.1", &["close"])).await,
        "dist/x.wasm is built for contract 0.0.1; this host offers 0.1.0: build the plugin with a current SDK"
    );
}

#[tokio::test]
async fn an_import_of_nobody() {
    let wit = "package test:test;
         world w { import acme:magic/wand@0.2.0; export crossdock:plugin/sink@0.1.0; }
         package acme:magic@0.2.0 { interface wand { poke: func(); } }
         package crossdock:plugin@0.1.0 { interface sink { close: func(); } }";
    let guest = Guest::new(Kind::Sink)
        .wit(wit, "w")
        .import("acme:magic/wand@0.2.0", "poke", "$poke", "")
        .extra(r#"(func (export "crossdock:plugin/sink@0.1.0#close") (call $poke))"#);
    assert_eq!(
        refused(guest.build()).await,
        "dist/x.wasm imports `acme:magic/wand@0.2.0`, which is not offered by this host: it can import the crossdock contract \
         and WASI 0.2"
    );
}

#[test]
fn a_manifest_that_does_not_parse() {
    let findings = |text: &str| {
        let guest = Guest::new(Kind::Sink).manifest_text(text).build();
        inspect(&guest).unwrap().findings()
    };
    assert_eq!(
        findings("{\n  \"name\": \"x\",\n  \"version\" \"0.1.0\" }"),
        ["the manifest is malformed: expected `:` at line 3 column 13"]
    );
    assert_eq!(
        findings(r#"{ "name": "x", "version": "0.1.0", "kinds": { "sinc": {} } }"#),
        [
            "the manifest is malformed: unknown variant `sinc`, expected one of `source`, `transformer`, `sink` at line 1 \
             column 52"
        ]
    );
    assert_eq!(
        findings(r#"{ "name": "x", "version": "1.0", "kinds": { "sink": {} } }"#),
        [
            "the manifest's version \"1.0\" is no semantic version like 1.2.3: unexpected end of input while parsing minor \
             version number"
        ]
    );
}

#[test]
fn a_schema_that_is_none() {
    let text = r#"{ "name": "x", "version": "0.1.0", "kinds": { "sink": { "config": { "type": "objekt" } } } }"#;
    let manifest = Manifest::parse(text.as_bytes()).unwrap();
    let findings = validate_config(&manifest, Kind::Sink, &json!({}));
    let [finding] = findings.as_slice() else {
        panic!("{findings:?}");
    };
    assert_eq!(
        finding.message,
        "the config schema of the plugin `x` is broken: \"objekt\" is not valid under any of the schemas listed in the \
         'anyOf' keyword"
    );
    assert_eq!(
        finding.advice,
        "this is a fault of the plugin: report it to its author"
    );
}

#[tokio::test]
async fn a_plugin_that_panics_in_open() {
    let plugin = load(&Guest::new(Kind::Sink).body("open", "unreachable")).await;
    let fault = fault(plugin.sink(context()).unwrap().open(None).await);
    assert_eq!(fault.kind, FaultKind::Trap);
    assert_eq!(
        fault.message,
        "the plugin trapped in `open`: it panicked or aborted (`unreachable` was reached)"
    );
    assert_eq!(
        fault.advice,
        "a config that a plugin cannot use has to be a config fault that names the field: report it to the plugin's author"
    );
    // Where its own frames have no names, they have numbers.
    assert!(fault.backtrace.unwrap().contains("wasm function"));
}
