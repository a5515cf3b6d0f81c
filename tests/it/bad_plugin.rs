//! A plugin that is not in order, as its author meets it: one message that says what is wrong, where, and what to do. The same
//! words whether the component is tested, shown or run. What an author's project says is in `author.rs`.

use std::fs;

use crossdock_tests::{
    host::{Ended, TestHost, plugin},
    variant,
};
use serde_json::Value;

use crate::author::{build_project, new_project};

/// A project whose flow has this component as its sink.
fn with_sink(component: &[u8]) -> TestHost {
    let host = TestHost::new();
    host.write("dist/x.wasm", component);
    host.write("in/a.jsonl", "{\"id\":1}\n");
    host.flow(
        "try",
        "
source: { plugin: jsonl, config: { files: in/*.jsonl }, grants: { files: { read: [in] } } }
sinks: [{ plugin: ../dist/x.wasm, name: out, config: { file: out/a.jsonl }, grants: { files: { write: [out] } } }]
",
    );
    host
}

/// The message of a finding of `crossdock run --json`, or its error.
fn message(ended: &Ended) -> String {
    let document = ended.json();
    let findings = document["findings"].as_array().cloned().unwrap_or_default();
    let first = findings.first().map(|finding| finding["message"].clone());
    let message = first.unwrap_or_else(|| document["error"].clone());
    message.as_str().unwrap_or_default().to_owned()
}

/// The component is refused with these words, by a run and by the conformance kit. Where they are: `crossdock run` names the
/// file as the flow does.
fn refused(component: &[u8], words: &str) {
    let host = with_sink(component);
    let ran = host.run("try");
    ran.exits(2).no_panic();
    let told = message(&ran);
    assert!(told.contains(words), "{words}\n{told}\n{ran}");
    let tested = host
        .crossdock(["plugin", "test", "dist/x.wasm", "--json"])
        .end();
    assert_ne!(tested.code(), Some(0), "{tested}");
    assert_eq!(
        tested.json()["error"],
        format!("dist/x.wasm{words}"),
        "{tested}"
    );
}

#[test]
fn a_component_of_another_world() {
    refused(
        &variant::renamed(&plugin("jsonl"), "crossdock:plugin/s", "crossdock:plugin/z"),
        " is a component but no plugin: it exports none of `crossdock:plugin/source`, `transformer`, `sink` (it exports: \
         crossdock:plugin/zource@0.1.0, crossdock:plugin/zink@0.1.0); build it for a world of wit/v0.1, as the projects of \
         `crossdock plugin new` do",
    );
}

#[test]
fn a_component_that_lacks_an_export() {
    refused(
        &variant::renamed(&plugin("redb"), "finish", "fjnjsh"),
        " is no whole sink: its `crossdock:plugin/sink@0.1.0` lacks `finish`; build it with the guest library of its \
         language, or export every function of wit/v0.1/sink.wit",
    );
}

#[test]
fn a_component_of_another_contract() {
    refused(
        &variant::renamed(&plugin("jsonl"), "@0.1.0", "@0.9.0"),
        " is built for contract 0.9.0; this host offers 0.1.0: use a newer crossdock, or build the plugin with an older SDK",
    );
}

#[test]
fn a_file_that_is_no_component() {
    let module = b"\0asm\x01\0\0\0";
    refused(
        module,
        ": this is a WebAssembly core module, not a component: build it for `wasm32-wasip2`, or turn it into a component with \
         the tool of its language",
    );
    refused(
        b"#!/bin/sh\n",
        ": this is no WebAssembly file: it does not start with the bytes of a WebAssembly file",
    );
}

/// One finding of the conformance kit.
fn opens(component: &[u8]) -> String {
    let host = with_sink(component);
    let tested = host
        .crossdock(["plugin", "test", "dist/x.wasm", "--kind", "sink", "--json"])
        .end();
    let report = tested.exits(1).json();
    let first: &Value = &report["kinds"][0]["checks"][0];
    assert_eq!(first["outcome"], "failed", "{report:#}");
    first["why"].as_str().unwrap().to_owned()
}

#[test]
fn a_manifest_or_a_schema_that_does_not_parse() {
    let broken = variant::with_manifest_text(
        &plugin("redb"),
        "{\n  \"name\": \"x\",\n  \"version\" \"0.1.0\" }",
    );
    assert_eq!(
        opens(&broken),
        "its manifest does not fit it: the manifest is malformed: expected `:` at line 3 column 13"
    );
    let schema = variant::with_manifest(&plugin("redb"), |manifest| {
        manifest["kinds"]["sink"]["config"] = serde_json::json!({ "type": "objekt" });
    });
    let why = opens(&schema);
    assert!(
        why.contains("the config schema of the plugin `redb` is broken: \"objekt\" is not valid under any of the schemas"),
        "{why}"
    );
    let ran = with_sink(&schema).run("try");
    ran.exits(2).no_panic();
    let told = ran.json()["findings"][0].clone();
    assert_eq!(
        told["message"],
        "plugin `flows/../dist/x.wasm`: the JSON Schema is malformed: value is not valid under any of the schemas listed in \
         the 'anyOf' keyword"
    );
    assert_eq!(told["advice"], "the plugin is broken: tell its author");
}

/// Where the author reads it first: at the build, with the file and the place in it.
#[test]
fn a_project_whose_manifest_or_schema_does_not_parse() {
    let host = TestHost::new();
    new_project(&host, "torn", "sink");
    let manifest = host.text("torn/plugin.json");
    host.write(
        "torn/plugin.json",
        manifest.replace("\"version\":", "\"version\""),
    );
    let told = build_project(&host, "torn");
    told.exits(2);
    assert_eq!(
        told.json()["error"],
        "torn/plugin.json: the manifest is malformed: expected `:` at line 3 column 13"
    );
    host.write(
        "torn/plugin.json",
        manifest.replace("\"type\": \"string\"", "\"type\": \"text\""),
    );
    let told = build_project(&host, "torn");
    told.exits(2);
    let error = told.json()["error"].as_str().unwrap().to_owned();
    assert!(
        error.starts_with("torn/plugin.json: `kinds.sink.config` is no JSON Schema: \"text\" is not valid under any"),
        "{error}"
    );
}

/// A panic in `open` names the place in the author's code, in the test and in the run.
#[test]
fn a_plugin_that_panics_in_open() {
    let host = TestHost::new();
    let folder = new_project(&host, "panics", "transformer");
    let code = folder.join("src/lib.rs");
    let text = fs::read_to_string(&code).unwrap();
    let panics = text.replace(
        "Ok(Self { config })",
        "panic!(\"the table of {} is empty\", config.field)",
    );
    assert_ne!(text, panics);
    let line = panics
        .lines()
        .position(|line| line.contains("panic!("))
        .unwrap()
        + 1;
    fs::write(&code, panics).unwrap();
    build_project(&host, "panics").finished();

    let tested = host.crossdock(["plugin", "test", "panics", "--json"]).end();
    let report = tested.exits(1).json();
    let why = report["kinds"][0]["checks"][0]["why"]
        .as_str()
        .unwrap()
        .to_owned();
    let start = "`check` refuses the sample config: trap fault: the plugin trapped in `";
    assert!(why.starts_with(start), "{why}");
    let place = format!("panicked at src/lib.rs:{line}:");
    for words in [place.as_str(), "the table of name is empty"] {
        assert!(why.contains(words), "{words}\n{why}");
    }

    host.write("in/a.jsonl", "{\"name\":\"cup\"}\n");
    host.flow(
        "try",
        "
source: { plugin: jsonl, config: { files: in/*.jsonl }, grants: { files: { read: [in] } } }
transformers: [{ plugin: ../panics/dist/panics.wasm, name: letters, config: { field: name } }]
sinks: [{ plugin: jsonl, name: out, config: { file: out/a.jsonl }, grants: { files: { write: [out] } } }]
",
    );
    let ran = host.run("try");
    assert!(matches!(ran.code(), Some(1 | 2)), "{ran}");
    ran.no_panic().tells(&[
        "letters",
        "it panicked or aborted (`unreachable` was reached)",
        &place,
        "the table of name is empty",
    ]);
}
