//! Plugins in other languages than Rust: scripts in a flow file, new projects, the plugins of this repository.

use std::{ffi::OsStr, fs, path::Path, process::Command};

use crossdock_tests::{
    daemon::TestDaemon,
    host::{TestHost, workspace},
    languages::{foreign_folder, foreign_plugin, foreign_plugins, tool_chain},
};
use serde_json::Value;

/// Runs a program in a folder; fails with what it told.
fn run(folder: &Path, path: &OsStr, command: &[&str]) -> String {
    let done = Command::new(command[0])
        .args(&command[1..])
        .current_dir(folder)
        .env("PATH", path)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let told = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "{command:?} in {}\n{told}",
        folder.display()
    );
    told.into_owned()
}

/// Records without a price are filtered, with tags they become several, and a price that is no number is rejected by an
/// exception of the language itself.
const JAVASCRIPT: &str = r"
        const rate = variables.rate;
        function* map(record) {
          const item = record.value;
          if (item.price === undefined) return yield filtered('no price');
          yield { ...item, gross: item.price.amount.toFixed(2) * rate };
          for (const tag of item.tags ?? []) yield new Output({ tag }, { stream: 'tags', key: tag });
        }";
const PYTHON: &str = r#"
        rate = variables["rate"]
        def map(record):
            item = record.value
            if "price" not in item:
                yield filtered("no price")
                return
            yield {**item, "gross": round(item["price"]["amount"], 2) * rate}
            for tag in item.get("tags", []):
                yield Output({"tag": tag}, stream="tags", key=tag)"#;

const ITEMS: &str = r#"{"id":"a","name":"Tür","price":{"amount":2},"tags":["x","y"]}
{"id":"b","price":7}
{"id":"c"}
{"id":"d","price":{"amount":1}}
"#;

fn script_flow(plugin: &str, script: &str) -> String {
    format!(
        r#"
source: {{ plugin: jsonl, config: {{ files: in/*.jsonl, key: id }}, grants: {{ files: {{ read: [in] }} }} }}
transformers:
  - plugin: {plugin}
    config:
      variables: {{ rate: 2 }}
      script: {script}
sinks:
  - plugin: jsonl
    name: out
    config: {{ file: "out/{{stream}}.jsonl" }}
    grants: {{ files: {{ write: [out] }} }}
"#
    )
}

#[test]
fn a_script_in_the_flow_file_maps_filters_splits_and_rejects() {
    for (plugin, script, place) in [
        ("script-js", JAVASCRIPT, "script:5"),
        ("script-python", PYTHON, "script:7"),
    ] {
        if foreign_plugin(plugin).is_none() {
            continue;
        }
        let host = TestHost::new();
        host.write("in/items.jsonl", ITEMS);
        host.flow("tidy", &script_flow(plugin, &format!("|{script}")));
        host.check("tidy").exits(0);
        let ended = host.run("tidy");
        let summary = ended.exits(3).json();
        assert_eq!(
            host.text("out/items.jsonl"),
            "{\"id\":\"a\",\"name\":\"Tür\",\"price\":{\"amount\":2},\"tags\":[\"x\",\"y\"],\"gross\":4}\n\
             {\"id\":\"d\",\"price\":{\"amount\":1},\"gross\":2}\n",
            "{ended}"
        );
        assert_eq!(
            host.text("out/tags.jsonl"),
            "{\"tag\":\"x\"}\n{\"tag\":\"y\"}\n"
        );
        assert!(summary.to_string().contains("no price"), "{summary:#}");
        let letters = host.dead_letters();
        assert_eq!(letters.len(), 1, "{letters:#?}");
        let letter = letters[0].to_string();
        assert!(
            letter.contains("TypeError") && letter.contains(place),
            "{letter}"
        );
    }
}

#[test]
fn a_script_that_is_wrong_is_told_with_its_line_before_anything_runs() {
    for (plugin, file, text, words) in [
        (
            "script-js",
            "scripts/tidy.js",
            "const a = 1;\nfunction map(record) { return a + ; }\n",
            "scripts/tidy.js:2: SyntaxError",
        ),
        (
            "script-js",
            "scripts/tidy.js",
            "function mapp(record) {}\n",
            "the script has neither `map` nor `apply`",
        ),
        (
            "script-python",
            "scripts/tidy.py",
            "def map(record):\n    return record\nfoo()\n",
            "scripts/tidy.py:3: NameError",
        ),
        (
            "script-python",
            "scripts/tidy.py",
            "import numpy\n",
            "scripts can import",
        ),
    ] {
        if foreign_plugin(plugin).is_none() {
            continue;
        }
        let host = TestHost::new();
        host.write("in/items.jsonl", ITEMS);
        host.write(format!("flows/{file}"), text);
        host.flow(
            "tidy",
            &script_flow(plugin, &format!("{{ $file: {file} }}")),
        );
        let run = host.run("tidy");
        run.exits(2);
        assert!(run.to_string().contains(words), "{words}\n{run}");
    }
}

#[test]
fn a_script_reads_and_a_script_writes() {
    for (plugin, records, sink) in [
        (
            "script-js",
            "function* records() { for (let n = 0; n < 2500; n++) yield new Output({ n }, { key: n }) }",
            "let seen = 0; function write(record) { seen++ } function finish() { log.info('wrote', seen) }",
        ),
        (
            "script-python",
            "def records(after):\n          for n in range(2500):\n              yield Output({'n': n}, key=n)",
            "seen = 0\n      def write(record):\n          global seen\n          seen += 1\n      def finish():\n          log.info('wrote', seen)",
        ),
    ] {
        if foreign_plugin(plugin).is_none() {
            continue;
        }
        let host = TestHost::new();
        host.flow(
            "count",
            &format!(
                "
source:
  plugin: {plugin}
  config:
    script: |
        {}
sinks:
  - plugin: {plugin}
    name: out
    config:
      script: |
        {}
",
                records.replace("\n      ", "\n        "),
                sink.replace("\n      ", "\n        ")
            ),
        );
        let ended = host.invocation("count").env("CROSSDOCK_LOG", "info").end();
        let summary = ended.finished();
        assert_eq!(summary["streams"]["records"]["written"], 2500, "{ended}");
        assert!(ended.to_string().contains("wrote 2500"), "{ended}");
    }
}

#[test]
fn a_script_that_is_saved_is_swapped_in() {
    if foreign_plugin("script-js").is_none() {
        return;
    }
    let host = TestHost::new();
    host.write(
        "flows/mark.js",
        "function map(record) { return { ...record.value, by: 'first' } }",
    );
    host.flow(
        "live",
        "
source: { plugin: generate, config: { records: 100000000, rate: 2000, fields: { id: { kind: sequence } } } }
transformers: [{ plugin: script-js, name: mark, config: { script: { $file: mark.js } } }]
sinks: [{ plugin: jsonl, name: out, config: { file: out/live.jsonl, mode: append }, grants: { files: { write: [out] } } }]
batch: { records: 100, wait: 20ms }
checkpoint: { records: 500, every: 50ms }
",
    );
    let mut daemon = TestDaemon::start_with(&host, &["--watch"]);
    let digest = |status: &Value| {
        status["stages"].as_array().and_then(|all| {
            all.iter()
                .find(|one| one["name"] == "mark")
                .map(|one| one["config-digest"].clone())
        })
    };
    let status = daemon.until_checkpoints("live", 1);
    let before = digest(&status);
    host.write(
        "flows/mark.js",
        "function map(record) { return { ...record.value, by: 'second' } }",
    );
    let status = daemon.until("live", "took the script over", |status| {
        digest(status) != before && status["swap"].is_null()
    });
    assert_eq!(status["runs"], 1, "the run went on");
    daemon.until_checkpoints("live", 2);
    // One that is wrong is told, and the old one goes on.
    host.write(
        "flows/mark.js",
        "function map(record) {\n  return record.value..x\n}",
    );
    daemon.until("live", "told what is wrong", |_| {
        let swaps = host.crossdock(["swaps", "--json"]).end();
        swaps.to_string().contains("mark.js:2")
    });
    daemon.until_checkpoints("live", 1);
    daemon.end().exits(0).no_panic();
    let text = host.text("out/live.jsonl");
    let mut by = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["id"].as_u64(), Some(at as u64));
        if by.last() != Some(&record["by"]) {
            by.push(record["by"].clone());
        }
    }
    assert_eq!(
        by,
        ["first", "second"],
        "no record was lost, doubled, or changed by the old script after the new one"
    );
}

#[test]
fn the_plugins_pass_their_own_tests() {
    for (name, language) in foreign_plugins() {
        let Some(path) = tool_chain(language) else {
            continue;
        };
        let folder = foreign_folder(&name);
        match language {
            "javascript" if folder.join("tsconfig.json").is_file() => {
                run(&folder, &path, &["npm", "test"]);
                run(&folder, &path, &["tsc", "-p", "."]);
            }
            "javascript" => drop(run(&folder, &path, &["node", "--test"])),
            "python" => python_tests(&folder, &path, "../../guest-sdk/python"),
            // Tests of others are in the test of their own.
            _ => {}
        }
    }
}

fn python_tests(folder: &Path, path: &OsStr, sdk: &str) {
    let modules = format!("PYTHONPATH=src:{sdk}");
    run(
        folder,
        path,
        &[
            "env", &modules, "python3", "-m", "unittest", "discover", "-s", "test",
        ],
    );
}

/// A language that projects are made in: what `--lang` takes, the tools it needs, and what runs a project's own tests.
type Language = (
    &'static str,
    &'static str,
    &'static [&'static [&'static str]],
);

/// The languages whose projects need nothing but a path; `author.rs`, `c.rs` and `golang.rs` are about the others. A further
/// one is a line here, and a test of one line below.
const LANGUAGES: [Language; 3] = [
    ("js", "javascript", &[&["node", "--test"]]),
    ("ts", "javascript", &[&["npm", "test"], &["tsc", "-p", "."]]),
    (
        "python",
        "python",
        &[&[
            "env",
            "PYTHONPATH=src:sdk/python",
            "python3",
            "-m",
            "unittest",
            "discover",
            "-s",
            "test",
        ]],
    ),
];

/// Makes a project, runs its own tests, builds it, and lets the conformance kit look at it.
fn project(host: &TestHost, (language, _, tests): Language, kind: &str, path: &OsStr) {
    let name = format!("{language}-{kind}");
    host.crossdock(["plugin", "new", &name, "--kind", kind, "--lang", language])
        .end()
        .exits(0);
    for command in tests {
        run(&host.path(&name), path, command);
    }
    let built = host
        .crossdock(["plugin", "build", &name, "--json"])
        .env("PATH", path)
        .end()
        .finished();
    assert_eq!(built["kinds"][0], kind, "{built:#}");
    assert_eq!(built["manifest"]["name"], name, "{built:#}");
    // The same small connector is at the same level in every language.
    let tested = host
        .crossdock(["plugin", "test", &name, "--json"])
        .end()
        .finished();
    assert_eq!(tested["kinds"][0]["level"], "exactly-once", "{tested:#}");
}

/// The same small connectors in a language: tested, built, at the level of all others, and run.
fn projects_in(language: &str) {
    let all = LANGUAGES.iter();
    let language = *all.into_iter().find(|(id, ..)| *id == language).unwrap();
    let Some(path) = tool_chain(language.1) else {
        return;
    };
    let host = TestHost::new();
    for kind in ["source", "transformer", "sink"] {
        project(&host, language, kind, &path);
    }
    let language = language.0;
    host.write(
        "in/items.jsonl",
        "{\"name\":\"straße\"}\n{\"name\":7}\n{}\n",
    );
    host.flow(
        "try",
        &format!(
            "
source: {{ plugin: jsonl, config: {{ files: in/*.jsonl }}, grants: {{ files: {{ read: [in] }} }} }}
transformers: [{{ plugin: ../{language}-transformer/dist/{language}-transformer.wasm, config: {{ field: name }} }}]
sinks: [{{ plugin: jsonl, name: out, config: {{ file: out/items.jsonl }}, grants: {{ files: {{ write: [out] }} }} }}]
"
        ),
    );
    host.run("try").exits(3);
    assert_eq!(host.text("out/items.jsonl"), "{\"name\":\"STRASSE\"}\n");
    let letter = host.dead_letters()[0].to_string();
    assert!(letter.contains("`name` is no text: 7"), "{letter}");
}

#[test]
fn new_projects_in_javascript() {
    projects_in("js");
}

#[test]
fn new_projects_in_typescript() {
    projects_in("ts");
}

#[test]
fn new_projects_in_python() {
    projects_in("python");
}

/// Whatever `--lang` takes is made, tested, built and run by a test.
#[test]
fn no_language_is_left_out() {
    let host = TestHost::new();
    let told = host
        .crossdock(["plugin", "new", "x", "--kind", "sink", "--lang", "none"])
        .end();
    told.exits(2);
    let (_, offered) = told.stderr.split_once("possible values: ").unwrap();
    let (offered, _) = offered.split_once(']').unwrap();
    let mut offered: Vec<&str> = offered.split(", ").collect();
    let mut tested: Vec<&str> = LANGUAGES.iter().map(|(id, ..)| *id).collect();
    tested.extend(["rust", "c", "go"]);
    offered.sort_unstable();
    tested.sort_unstable();
    assert_eq!(offered, tested, "{told}");
}

#[test]
fn a_tool_that_is_missing_is_named_with_its_package() {
    let host = TestHost::new();
    for (language, words) in [
        (
            "js",
            "`esbuild` is needed to put the plugin and its packages together, but it is not installed; run `npm install`",
        ),
        (
            "python",
            "`componentize-py` is needed to make a component of Python, but it is not installed; install its package",
        ),
    ] {
        host.crossdock([
            "plugin", "new", language, "--kind", "sink", "--lang", language,
        ])
        .end()
        .exits(0);
        let told = host
            .crossdock(["plugin", "build", language])
            .env("PATH", host.path("in"))
            .end();
        told.exits(2);
        assert!(told.to_string().contains(words), "{told}");
    }
}

/// What stands in package.json and requirements.txt is what this repository's tests use.
#[test]
fn new_projects_use_the_versions_that_are_tested() {
    let tools = fs::read_to_string(workspace().join("xtask/src/tools.rs")).unwrap();
    let read = |path: &str| fs::read_to_string(workspace().join("guest-sdk").join(path)).unwrap();
    for file in ["js/template/js/package.json", "js/template/ts/package.json"] {
        let package: Value = serde_json::from_str(&read(file)).unwrap();
        for (name, version) in package["devDependencies"].as_object().unwrap() {
            let pinned = format!("\"{name}@{}\"", version.as_str().unwrap());
            assert!(tools.contains(&pinned), "{file}: {pinned}");
        }
    }
    for line in read("python/template/requirements.txt").lines() {
        assert!(tools.contains(&format!("\"{line}\"")), "{line}");
    }
}
