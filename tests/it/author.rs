//! The first hour of a connector author: what `guest-sdk/rust/README.md` says to write is a plugin, its tests pass, and it
//! runs in a flow. And what `crossdock plugin new` writes is a project whose tests pass and that builds.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crossdock_tests::{
    host::{self, Ended, Running, TestHost, target, test_plugin, workspace},
    variant::{trapping_at_start, with_manifest},
};

/// The only block of the README in this language.
fn block(readme: &str, language: &str) -> String {
    let start = format!("```{language}\n");
    let parts: Vec<&str> = readme.split(start.as_str()).skip(1).collect();
    let [part] = parts[..] else {
        panic!("{} blocks of {language}", parts.len());
    };
    part.split_once("```\n").unwrap().0.to_owned()
}

/// `cargo` in the author's folder, with what is built kept for the next time. Fails with what it told.
fn run_cargo(folder: &Path, arguments: &[&str]) {
    let done = host::cargo(folder)
        .args(arguments)
        // As the README says; without the registry, since all of it is in the repository's lock file.
        .args(["--offline", "--quiet"])
        .env("CARGO_TARGET_DIR", target().join("it").join("author"))
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+simd128")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&done.stderr) + String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{arguments:?}\n{told}");
    assert!(!told.contains("warning"), "{arguments:?}\n{told}");
}

#[test]
fn the_plugin_of_the_readme_is_tested_built_inspected_and_run() {
    let readme = fs::read_to_string(workspace().join("guest-sdk/rust/README.md")).unwrap();
    let host = TestHost::new();
    let sdk = workspace().join("guest-sdk/rust").display().to_string();
    let manifest = block(&readme, "toml");
    let shown = "../crossdock/guest-sdk/rust";
    assert!(manifest.contains(shown), "{manifest}");
    host.write("tidy/Cargo.toml", manifest.replace(shown, &sdk));
    host.write("tidy/plugin.json", block(&readme, "json"));
    host.write("tidy/src/lib.rs", block(&readme, "rust"));
    let lock = fs::read(workspace().join("Cargo.lock")).unwrap();
    host.write("tidy/Cargo.lock", lock);

    let folder = host.path("tidy");
    native_tests(&folder, 1);
    run_cargo(
        &folder,
        &["build", "--release", "--target", "wasm32-wasip2"],
    );
    let built = target().join("it/author/wasm32-wasip2/release/tidy_price.wasm");
    let component = host.path("target/wasm32-wasip2/release/tidy_price.wasm");
    fs::create_dir_all(component.parent().unwrap()).unwrap();
    fs::copy(built, &component).unwrap();

    let inspected = host
        .crossdock(["plugin", "inspect"])
        .arg(&component)
        .arg("--json")
        .end();
    let document = inspected.finished();
    assert_eq!(document["manifest"]["name"], "tidy-price", "{document:#}");

    host.write("in/prices.csv", "sku,net\nA,9.90\nB,\nC,many\n");
    host.write("flows/tidy.yaml", block(&readme, "yaml"));
    // The price that is no number is a dead letter of the source; the one without any is filtered by the plugin.
    let ended = host.run("tidy");
    let summary = ended.exits(3).json();
    assert_eq!(
        host.text("out/prices.jsonl"),
        "{\"sku\":\"A\",\"amount\":9.90,\"currency\":\"EUR\"}\n",
        "{ended}"
    );
    assert_eq!(summary["streams"]["prices"]["dead"], 1, "{ended}");
}

/// Makes a project in Rust, with the lock file and the guest library of the repository, which cargo has built already.
pub(crate) fn new_project(host: &TestHost, name: &str, kind: &str) -> PathBuf {
    let new = [
        "plugin", "new", name, "--kind", kind, "--lang", "rust", "--json",
    ];
    let made = host.crossdock(new).end();
    let document = made.finished();
    assert_eq!(document["next"][0], format!("cd {name}"), "{document:#}");
    let lock = fs::read(workspace().join("Cargo.lock")).unwrap();
    host.write(format!("{name}/Cargo.lock"), lock);
    host.path(name)
}

/// `crossdock plugin dev` in a project, with more arguments.
pub(crate) fn dev_project(host: &TestHost, name: &str, more: &[&str]) -> Running {
    host.crossdock(["plugin", "dev", name])
        .args(more)
        .env("CARGO_TARGET_DIR", target().join("it").join("author"))
        .env("CARGO_NET_OFFLINE", "true")
        .env("CARGO_HOME", tool_home("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", tool_home("RUSTUP_HOME", ".rustup"))
        .start()
}

/// `crossdock plugin build` in a project, with what cargo has built kept for the next time.
pub(crate) fn build_project(host: &TestHost, name: &str) -> Ended {
    host.crossdock(["plugin", "build", name, "--json"])
        .env("CARGO_TARGET_DIR", target().join("it").join("author"))
        .env("CARGO_NET_OFFLINE", "true")
        .env("CARGO_HOME", tool_home("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", tool_home("RUSTUP_HOME", ".rustup"))
        .end()
}

/// Where Rust's tools have their things: programs of a test have another home.
fn tool_home(variable: &str, folder: &str) -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(folder);
    std::env::var_os(variable).map_or_else(home, PathBuf::from)
}

/// The manifest that is written for the guest library says what the repository's says.
#[test]
fn the_vendored_guest_library_depends_on_what_it_does_here() {
    let read = |path: &str| -> toml::Table {
        let text = fs::read_to_string(workspace().join(path)).unwrap();
        text.parse().unwrap()
    };
    let (all, own) = (read("Cargo.toml"), read("guest-sdk/rust/Cargo.toml"));
    let vendored = read("guest-sdk/rust/template/sdk-Cargo.toml");
    let versions = &all["workspace"]["dependencies"];
    let wanted: toml::Table = own["dependencies"]
        .as_table()
        .unwrap()
        .keys()
        .map(|name| (name.clone(), versions[name].clone()))
        .collect();
    assert_eq!(vendored["dependencies"].as_table().unwrap(), &wanted);
    assert_eq!(vendored["package"]["name"], own["package"]["name"]);
}

#[test]
fn a_new_project_of_every_kind_is_tested_and_built() {
    let host = TestHost::new();
    for (name, kind) in [
        ("new-letters", "transformer"),
        ("new-items", "source"),
        ("new-shop", "sink"),
    ] {
        let folder = new_project(&host, name, kind);
        if kind != "transformer" {
            // It is the same in each of them: one copy is compiled.
            let cargo = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
            let shared = cargo.replace("sdk/rust", "../new-letters/sdk/rust");
            fs::write(folder.join("Cargo.toml"), shared).unwrap();
        }
        native_tests(&folder, 3 - usize::from(kind == "sink"));
        let built = build_project(&host, name).finished();
        assert_eq!(built["kinds"][0], kind, "{built:#}");
        assert_eq!(built["manifest"]["name"], name, "{built:#}");
        assert!(host.path(format!("{name}/dist/{name}.wasm")).is_file());
        let tested = host
            .crossdock(["plugin", "test", name, "--json"])
            .end()
            .finished();
        assert_eq!(tested["kinds"][0]["level"], "exactly-once", "{tested:#}");
    }
    host.write("in/items.jsonl", "{\"name\":\"cup\"}\n{\"name\":7}\n{}\n");
    let flow = fs::read_to_string(host.path("new-letters/README.md")).unwrap();
    host.write(
        "flows/try.yaml",
        block(&flow, "yaml").replace("../dist", "../new-letters/dist"),
    );
    host.run("try").exits(3);
    assert_eq!(host.text("out/items.jsonl"), "{\"name\":\"CUP\"}\n");

    // A trap names the plugin's own functions, with file and line.
    let code = host.text("new-letters/src/lib.rs");
    let panics = code.replace(
        "let field =",
        "assert!(record.key().len() > 99, \"so short\");\n        let field =",
    );
    assert_ne!(code, panics);
    host.write("new-letters/src/lib.rs", panics);
    build_project(&host, "new-letters").finished();
    host.run_with("try", ["--from-start"]).exits(3);
    let letters = serde_json::to_string(&host.dead_letters()).unwrap();
    for part in ["new_letters", "src/lib.rs:"] {
        assert!(letters.contains(part), "{part}\n{letters}");
    }
}

/// Every save is built, run on the sample and shown beside what it was before.
#[test]
fn a_project_is_built_and_shown_whenever_it_is_saved() {
    let host = TestHost::new();
    let folder = new_project(&host, "dev-letters", "transformer");
    let mut dev = dev_project(&host, "dev-letters", &[]);
    dev.says("waiting for a change");
    let code = folder.join("src/lib.rs");
    let text = fs::read_to_string(&code).unwrap();
    fs::write(
        &code,
        text.replace("text.to_uppercase()", "text.to_uppercase() + \"!\""),
    )
    .unwrap();
    dev.says("waiting for a change");
    fs::write(&code, "fn broken( {}").unwrap();
    dev.says("waiting for a change");
    dev.signal("INT");
    let ended = dev.end();
    ended
        .exits(0)
        .tells(&["STRASSE", "- {", "+ {", "STRASSE!", "`cargo build"]);
}

#[test]
fn a_project_that_does_not_build_says_why() {
    let host = TestHost::new();
    let said = ToString::to_string;
    let nothing = build_project(&host, "in");
    nothing.exits(2);
    assert!(
        said(&nothing).contains("there is no `plugin.json`"),
        "{nothing}"
    );

    new_project(&host, "broken", "sink");
    let manifest = host.text("broken/plugin.json");
    host.write(
        "broken/plugin.json",
        manifest.replace("\"idempotent\"", "\"replayable\""),
    );
    let wrong = build_project(&host, "broken");
    wrong.exits(2);
    assert!(said(&wrong).contains("not a promise of a sink"), "{wrong}");

    host.write("broken/plugin.json", &manifest);
    let missing = host.crossdock(["plugin", "build", "broken"]);
    let missing = missing.env("PATH", host.path("in")).end();
    missing.exits(2);
    assert!(
        said(&missing)
            .contains("`cargo` is needed to compile Rust, but it is not installed; install Rust"),
        "{missing}"
    );

    host.write("broken/src/lib.rs", "fn broken( {}");
    let failed = build_project(&host, "broken");
    failed.exits(1);
    assert!(said(&failed).contains("`cargo build"), "{failed}");

    host.write("broken/src/lib.rs", "");
    let empty = build_project(&host, "broken");
    empty.exits(2);
    assert!(said(&empty).contains("but no plugin"), "{empty}");
}

/// Without the flags of the sandbox, which this machine's compiler does not know.
fn native_tests(folder: &Path, count: usize) {
    let done = host::cargo(folder)
        .args(["test", "--offline", "--quiet"])
        .env("CARGO_TARGET_DIR", target().join("it").join("author"))
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&done.stdout);
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{told}\n{error}");
    assert!(told.contains(&format!("{count} passed")), "{told}");
}

#[test]
fn what_a_component_is_and_wants_is_told_in_words_and_nothing_of_it_runs() {
    let host = TestHost::new();
    let cache = host.path("cache");
    let inspect = |name: &str| {
        let inspect = host.crossdock(["plugin", "inspect", name]);
        let ended = inspect.env("XDG_CACHE_HOME", &cache).end();
        ended.exits(0);
        ended
    };
    let wishes = with_manifest(&test_plugin("puppet"), |manifest| {
        manifest["permissions"] = serde_json::json!({
            "http": [{ "url": "https://api.example.com/", "reason": "asks for prices" }],
            "tcp": [{ "address": "till.example.com:9100", "reason": "talks to the till" }],
            "files": [{ "access": "write", "reason": "keeps an index" }],
            "connections": [{}],
            "tables": [{ "reason": "looks up numbers" }],
        });
    });
    host.write("wishes.wasm", wishes);
    let told = [
        "puppet 0.1.0: For tests",
        "kinds source, transformer, sink",
        "contract 0.1.0",
        "config as source (replayable)",
        "records integer required How many records to give",
        "config as transformer (deterministic)",
        "asks for",
        "to send requests to https://api.example.com/ asks for prices",
        "to connect to till.example.com:9100 talks to the till",
        "to write files keeps an index",
        "to use a connection",
        "to use a table looks up numbers",
        "imports",
        "crossdock contract: log",
        "raw TCP connections (granted hosts and ports only)",
        "standard streams, arguments and environment (all empty)",
    ];
    inspect("wishes.wasm").tells(&told);
    // Had anything of it run, it would have trapped; had anything been compiled, it would be in the cache.
    let mine = trapping_at_start(&host.path("wishes.wasm"));
    host.write("mine.wasm", mine);
    inspect("mine.wasm").tells(&told);
    assert!(!cache.exists(), "something was compiled");
    let flow = "source: { plugin: generate, config: { records: 1 } }\ntransformers: [{ plugin: ../NAME.wasm }]\n\
                sinks: [{ plugin: jsonl, config: { file: out/NAME }, grants: { files: { write: [out] } } }]\n";
    host.write("plain.wasm", fs::read(test_plugin("puppet")).unwrap());
    let started = trapping_at_start(&host.path("plain.wasm"));
    host.write("started.wasm", started);
    host.flow("plain", &flow.replace("NAME", "plain"));
    host.check("plain").exits(0);
    host.flow("started", &flow.replace("NAME", "started"));
    host.check("started").exits(2).tells(&["unreachable"]);
}
