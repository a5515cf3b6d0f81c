//! Plugins in C, C++ and Zig: new projects, the guest library's own tests, what goes wrong.

use std::{ffi::OsStr, fs, path::Path, process::Command, time::Duration};

use crossdock_tests::{
    host::{Ended, TestHost, workspace},
    languages::{foreign_folder, tool_chain, zig_cache},
};
use serde_json::Value;

use crate::readme::blocks;

/// Runs a program in a folder; fails with what it told.
fn run(folder: &Path, command: &[&str]) {
    let done = Command::new(command[0])
        .args(&command[1..])
        .current_dir(folder)
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let told = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "{command:?} in {}\n{told}",
        folder.display()
    );
    assert!(!told.contains("warning:"), "{told}");
}

/// Native tests of sources: with what finds accesses out of bounds and what C leaves undefined.
fn native_tests(folder: &Path, sources: &str) {
    let library = workspace().join("guest-sdk/c");
    let library = library.display();
    let program = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let build = format!(
        "cc -std=gnu11 -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -Wall -Wextra \
         -I{library} -I{library}/testing {sources} {library}/src/*.c {library}/testing/*.c -lm -o {program} && \
         ASAN_OPTIONS=detect_leaks=0 {program}",
        program = program.display()
    );
    run(folder, &["sh", "-c", &build]);
}

fn new_project(host: &TestHost, name: &str, kind: &str) {
    host.crossdock(["plugin", "new", name, "--kind", kind, "--lang", "c"])
        .end()
        .exits(0);
}

fn build(host: &TestHost, path: &OsStr, name: &str, more: &[&str]) -> Ended {
    let (variable, cache) = zig_cache();
    host.crossdock(["plugin", "build", name, "--json"])
        .args(more)
        .env("PATH", path)
        .env(variable, cache)
        .end()
}

fn conformance(host: &TestHost, name: &str) {
    let tested = host.crossdock(["plugin", "test", name, "--json"]).end();
    let report = tested.finished();
    assert_eq!(report["kinds"][0]["level"], "exactly-once", "{report:#}");
}

fn try_flow(host: &TestHost, name: &str) {
    host.flow(
        "try",
        &format!(
            "
source: {{ plugin: jsonl, config: {{ files: in/*.jsonl }}, grants: {{ files: {{ read: [in] }} }} }}
transformers: [{{ plugin: ../{name}/dist/{name}.wasm, config: {{ field: name }} }}]
sinks: [{{ plugin: jsonl, name: out, config: {{ file: out/items.jsonl }}, grants: {{ files: {{ write: [out] }} }} }}]
"
        ),
    );
}

#[test]
fn the_guest_library_passes_its_own_tests() {
    native_tests(&workspace().join("guest-sdk/c"), "test/*.c");
}

#[test]
fn the_plugin_passes_its_own_tests() {
    native_tests(&foreign_folder("fixed-width"), "src/*.c test/*.c");
}

#[test]
fn new_projects_in_c_are_tested_built_and_keep_the_contract() {
    let Some(path) = tool_chain("c") else { return };
    let host = TestHost::new();
    for kind in ["source", "transformer", "sink"] {
        let name = format!("c-{kind}");
        new_project(&host, &name, kind);
        run(&host.path(&name), &["make", "--silent", "test"]);
        let built = build(&host, &path, &name, &[]);
        let document = built.finished();
        assert_eq!(document["kinds"][0], kind, "{document:#}");
        assert_eq!(document["manifest"]["name"], name, "{document:#}");
        assert!(!built.to_string().contains("warning:"), "{built}");
        conformance(&host, &name);
    }
    host.write(
        "in/items.jsonl",
        "{\"name\":\"straße\",\"net\":9.90}\n{\"name\":7}\n{}\n",
    );
    try_flow(&host, "c-transformer");
    host.run("try").exits(3);
    assert_eq!(
        host.text("out/items.jsonl"),
        "{\"name\":\"STRASSE\",\"net\":9.90}\n"
    );
    let letter = host.dead_letters()[0].to_string();
    assert!(letter.contains("`name` is no text: 7"), "{letter}");

    let size = |more: &[&str]| {
        let built = build(&host, &path, "c-transformer", more).finished();
        let file = built["file"].as_str().unwrap().to_owned();
        fs::metadata(host.path(file)).unwrap().len()
    };
    let (debug, release) = (size(&[]), size(&["--release"]));
    assert!(
        release < 100_000 && release < debug,
        "{release} of {debug} bytes"
    );
    conformance(&host, "c-transformer");
}

/// The only block of a language in the library's README.
fn block(language: &str) -> String {
    let readme = fs::read_to_string(workspace().join("guest-sdk/c/README.md")).unwrap();
    let [(_, block)] = &blocks(&readme, language)[..] else {
        panic!("one block of {language}");
    };
    block.clone()
}

/// Puts code in the place of a new project's, builds it and runs it on two names.
fn written_in(host: &TestHost, path: &OsStr, name: &str, file: &str, code: &str) {
    new_project(host, name, "transformer");
    fs::remove_file(host.path(name).join("src/plugin.c")).unwrap();
    host.write(format!("{name}/src/{file}"), code);
    let built = build(host, path, name, &[]);
    built.finished();
    assert!(!built.to_string().contains("warning:"), "{built}");
    host.write("in/items.jsonl", "{\"name\":\"abc\"}\n{\"id\":1}\n");
    try_flow(host, name);
    host.run_with("try", ["--from-start"]).exits(0);
    assert_eq!(host.text("out/items.jsonl"), "{\"name\":\"cba\"}\n");
    fs::remove_file(host.path("out/items.jsonl")).unwrap();
}

#[test]
fn the_plugin_of_the_readme_builds() {
    let Some(path) = tool_chain("c") else { return };
    let host = TestHost::new();
    new_project(&host, "priced", "transformer");
    host.write("priced/src/plugin.c", block("c"));
    build(&host, &path, "priced", &[]).finished();
    host.write(
        "in/items.jsonl",
        "{\"net\":9.90}\n{\"id\":1}\n{\"net\":\"x\"}\n",
    );
    try_flow(&host, "priced");
    host.run("try").exits(3);
    assert_eq!(
        host.text("out/items.jsonl"),
        "{\"net\":9.90,\"currency\":\"EUR\"}\n"
    );
}

#[test]
fn a_plugin_in_zig_is_built_as_the_readme_says() {
    let Some(path) = tool_chain("c") else { return };
    let host = TestHost::new();
    written_in(&host, &path, "turned-names", "plugin.zig", &block("zig"));
    build(&host, &path, "turned-names", &["--release"]).finished();
    conformance(&host, "turned-names");
}

const CPP: &str = r#"
#include <algorithm>
#include <string>

#include "crossdock.h"

namespace {
std::string field;

cd_fault *open_it(const cd_json *config, const cd_text *) {
    cd_text name = cd_get_text(config, "field", "");
    field.assign(name.ptr, name.len);
    return nullptr;
}

cd_fault *map(const cd_record *record, cd_given *given) {
    cd_json *item;
    CD_TRY(cd_value(record, &item));
    cd_text text = cd_get_text(item, field.c_str(), nullptr);
    if (!text.ptr) {
        cd_filter(given, "the field is missing");
        return nullptr;
    }
    std::string turned(text.ptr, text.len);
    std::reverse(turned.begin(), turned.end());
    cd_set(item, field.c_str(), cd_new_text({turned.data(), turned.size()}));
    cd_give(given, {.value = item});
    return nullptr;
}
}  // namespace

const cd_transformer crossdock_transformer = {.open = open_it, .map = map};
"#;

#[test]
fn a_plugin_in_cpp_has_its_standard_library() {
    let Some(path) = tool_chain("c") else { return };
    let host = TestHost::new();
    written_in(&host, &path, "turned-cpp", "plugin.cpp", CPP);
}

#[test]
fn what_is_wrong_with_a_project_is_told() {
    let host = TestHost::new();
    new_project(&host, "broken", "transformer");
    let told = host
        .crossdock(["plugin", "build", "broken"])
        .env("PATH", host.path("in"))
        .end();
    told.exits(2);
    let words = "`zig` is needed to compile C for the sandbox, but it is not installed; install its package: \
                 `python3 -m venv .venv && .venv/bin/pip install -r requirements.txt`";
    assert!(told.to_string().contains(words), "{told}");

    let Some(path) = tool_chain("c") else { return };
    let code = host.text("broken/src/plugin.c");
    let line = 1 + code
        .lines()
        .position(|line| line.contains("cd_filter"))
        .unwrap();
    host.write(
        "broken/src/plugin.c",
        code.replace("cd_filter(given, ", "cd_filter(givn, "),
    );
    let told = build(&host, &path, "broken", &[]);
    told.exits(1).tells(&[
        &format!("src/plugin.c:{line}:"),
        "use of undeclared identifier 'givn'",
    ]);

    // The table of another kind: the linker names what is missing.
    host.write(
        "broken/src/plugin.c",
        "#include \"crossdock.h\"\nconst cd_sink crossdock_sink = {0};\n",
    );
    let told = build(&host, &path, "broken", &[]);
    told.exits(1)
        .tells(&["undefined symbol: crossdock_transformer"]);

    // A trap names the plugin's own functions; to its author with file and line.
    host.write(
        "broken/src/plugin.c",
        code.replace(
            "cd_filter(given",
            "*(volatile int *)0xFFFFFFF0 = 1; cd_filter(given",
        ),
    );
    build(&host, &path, "broken", &[]).finished();
    host.write(
        "in/items.jsonl",
        "{\"name\":\"a\"}\n{\"id\":1}\n{\"name\":\"b\"}\n",
    );
    try_flow(&host, "broken");
    host.run("try").exits(3);
    assert_eq!(
        host.text("out/items.jsonl"),
        "{\"name\":\"A\"}\n{\"name\":\"B\"}\n"
    );
    let letters = serde_json::to_string(&host.dead_letters()).unwrap();
    assert!(letters.contains("plugin.wasm!map"), "{letters}");
    let tested = host.crossdock(["plugin", "test", "broken"]).end();
    tested
        .exits(1)
        .tells(&["map", &format!("src/plugin.c:{line}:")]);
}

/// The other compiler. It is no package of a registry: where it is missing, people read that this was not tested.
#[test]
fn clang_with_a_libc_for_wasi_does_as_well() {
    let system = OsStr::new("/usr/bin:/bin");
    let host = TestHost::new();
    new_project(&host, "by-clang", "transformer");
    let built = build(&host, system, "by-clang", &[]);
    if built.code() == Some(2) {
        println!("skipped: clang with wasi-libc is not installed");
        return;
    }
    built.finished();
    assert!(!built.to_string().contains("warning:"), "{built}");
    conformance(&host, "by-clang");
}

/// One arena, used again by every call. `CROSSDOCK_SOAK=1000000` makes it long.
#[test]
fn memory_stays_as_it_is_however_many_records_flow() {
    let Some(path) = tool_chain("c") else { return };
    let wanted = std::env::var("CROSSDOCK_SOAK").ok();
    let records: u64 = wanted.map_or(50_000, |records| records.parse().unwrap());
    let host = TestHost::new();
    new_project(&host, "soaked", "transformer");
    build(&host, &path, "soaked", &["--release"]).finished();
    // The instance itself, however often it is called.
    let bench = ["plugin", "bench", "soaked", "--time", "500ms", "--json"];
    let measured = host.crossdock(bench).end().finished();
    let memory = measured["measured"][0]["memory"].as_u64().unwrap();
    assert!(memory < 8 << 20, "{measured:#}");
    host.flow(
        "soak",
        &format!(
            "
source: {{ plugin: generate, config: {{ records: {records}, fields: {{ id: {{ kind: sequence }}, name: {{ kind: words }} }} }} }}
transformers: [{{ plugin: ../soaked/dist/soaked.wasm, config: {{ field: name }}, limits: {{ memory: 16MiB }} }}]
sinks: [{{ plugin: jsonl, name: out, config: {{ file: out/all.jsonl }}, grants: {{ files: {{ write: [out] }} }} }}]
"
        ),
    );
    // Compiled before its memory is looked at.
    host.check("soak").exits(0);
    let mut running = host.start("soak");
    let status = format!("/proc/{}/status", running.id());
    let mut memory: Vec<u64> = Vec::new();
    while !running.ends_within(Duration::from_millis(20)) {
        // It may have ended meanwhile.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        memory.extend(line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()));
    }
    running.end().finished();
    let text = host.text("out/all.jsonl");
    for (at, line) in text.lines().enumerate() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["id"].as_u64(), Some(at as u64));
    }
    assert_eq!(text.lines().count() as u64, records);
    let half = memory.len() / 2;
    let most = |part: &[u64]| part.iter().copied().max().unwrap_or_default();
    let (first, second) = (most(&memory[..half]), most(&memory[half..]));
    println!(
        "{records} records, at most {first} KiB in the first half, {second} KiB in the second"
    );
    assert!(second < first + (32 << 10), "it grew: {first}, {second}");
}

/// What stands in requirements.txt is what this repository's tests use.
#[test]
fn new_projects_use_the_version_that_is_tested() {
    let tools = fs::read_to_string(workspace().join("xtask/src/tools.rs")).unwrap();
    let file = workspace().join("guest-sdk/c/template/requirements.txt");
    for line in fs::read_to_string(file).unwrap().lines() {
        assert!(tools.contains(&format!("\"{line}\"")), "{line}");
    }
}
