//! Language runtimes grow, and leak: with instances that are replaced, memory stays flat over any number of records.

use std::{fs, time::Duration};

use crossdock_tests::{
    host::{Ended, TestHost, test_plugin},
    languages::{foreign_plugin, go_cache, tool_chain},
};
use serde_json::Value;

/// A transformer that numbers the records, and so has state. A further language is one entry.
struct Subject {
    /// What is said about it.
    name: &'static str,
    /// Its stage in the flow, as YAML behind `plugin:`, once what it needs was made in the project. `None`: its tools are
    /// missing.
    stage: fn(&TestHost) -> Option<String>,
    /// The field with the number, and the number of the first record.
    number: (&'static str, u64),
}

const SUBJECTS: [Subject; 4] = [
    // The guest library for Rust has an allocator of its own.
    Subject {
        name: "rust",
        stage: |_| {
            let tally = test_plugin("tally");
            let config = "{ group: of, sum: id }";
            Some(format!("{}\n    config: {config}", tally.display()))
        },
        number: ("group_count", 1),
    },
    Subject {
        name: "script-js",
        stage: |_| {
            let script = "let n = 0;
        function open(snapshot) { n = snapshot ?? 0 }
        function map(record) { return { ...record.value, n: n++ } }
        function snapshot() { return n }";
            scripted("script-js", script)
        },
        number: ("n", 0),
    },
    Subject {
        name: "script-python",
        stage: |_| {
            let script = "n = 0
        def open(snapshot):
            global n
            n = snapshot or 0
        def map(record):
            global n
            n += 1
            return record.value | {'n': n - 1}
        def snapshot():
            return n";
            scripted("script-python", script)
        },
        number: ("n", 0),
    },
    Subject {
        name: "go",
        stage: |host| compiled(host, "go", "plugin.go", GO),
        number: ("n", 0),
    },
];

const GO: &str = r#"package main

import "crossdock"

type Numbering struct{ n int }

func open(_ struct{}, n *int) (*Numbering, error) {
	if n == nil {
		n = new(int)
	}
	return &Numbering{*n}, nil
}

func (p *Numbering) Map(record *crossdock.Record, out *crossdock.Out) error {
	var item map[string]any
	if err := record.Decode(&item); err != nil {
		return err
	}
	item["n"] = p.n
	p.n++
	out.Value(item)
	return nil
}

func (p *Numbering) Snapshot() (any, error) { return p.n, nil }

func init() { crossdock.RegisterStatefulTransformer(open) }

func main() {}
"#;

/// The same, and it asks the host for something with every record: what is answered arrives while Go may be collecting.
fn go_with_table() -> String {
    let asking = "\titem[\"n\"] = p.n
\tkeys := []string{fmt.Sprint(p.n), fmt.Sprint(p.n - 1), fmt.Sprint(p.n - 10)}
\tfound, err := crossdock.Table(\"seen\").GetMany(keys)
\tif err != nil {
\t\treturn err
\t}
\titem[\"found\"] = len(found)
\tif p.n%10 == 0 {
\t\tif err := crossdock.Table(\"seen\").Put(keys[0], item); err != nil {
\t\t\treturn err
\t\t}
\t}";
    GO.replace("\titem[\"n\"] = p.n", asking).replace(
        "import \"crossdock\"",
        "import (\n\t\"fmt\"\n\n\t\"crossdock\"\n)",
    )
}

/// A script in the flow file.
fn scripted(plugin: &str, script: &str) -> Option<String> {
    foreign_plugin(plugin)?;
    Some(format!(
        "{plugin}\n    config:\n      script: |\n        {script}"
    ))
}

/// A new project in a language with this code.
fn compiled(host: &TestHost, language: &str, file: &str, code: &str) -> Option<String> {
    let path = tool_chain(language)?;
    let name = format!("soak-{language}");
    let new = [
        "plugin",
        "new",
        &name,
        "--kind",
        "transformer",
        "--lang",
        language,
    ];
    host.crossdock(new).end().exits(0);
    host.write(format!("{name}/{file}"), code);
    let manifest = host.text(format!("{name}/plugin.json"));
    let mut manifest: Value = serde_json::from_str(&manifest).unwrap();
    manifest["kinds"]["transformer"]["config"]["required"] = Value::Array(Vec::new());
    manifest["permissions"] =
        serde_json::json!({ "tables": [{ "optional": true, "reason": "some subjects use one" }] });
    host.write(format!("{name}/plugin.json"), manifest.to_string());
    host.crossdock(["plugin", "build", "--release", &name])
        .env("PATH", &path)
        .env("GOCACHE", go_cache())
        .end()
        .exits(0);
    Some(format!("../{name}/dist/{name}.wasm\n    config: {{}}"))
}

/// Runs a flow and looks at its memory, in KiB.
fn watched(host: &TestHost, flow: &str) -> (Ended, Vec<u64>) {
    let mut running = host.start(flow);
    let status = format!("/proc/{}/status", running.id());
    let mut memory = Vec::new();
    while !running.ends_within(Duration::from_millis(20)) {
        // It may have ended meanwhile.
        let line = fs::read_to_string(&status).unwrap_or_default();
        let resident = line.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        memory
            .extend(resident.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()));
    }
    (running.end(), memory)
}

fn soak(subject: &Subject, records: u64) {
    let host = TestHost::new();
    let name = subject.name;
    let Some(stage) = (subject.stage)(&host) else {
        return;
    };
    let (number, first_number) = subject.number;
    let recycle = records / 10;
    host.flow(
        "soak",
        &format!(
            "
source:
  plugin: generate
  config: {{ records: {records}, stream: all, fields: {{ id: {{ kind: sequence }}, of: {{ kind: choice, of: [all] }} }} }}
transformers:
  - limits: {{ recycle-after-records: {recycle} }}
    plugin: {stage}
sinks: [{{ plugin: jsonl, name: out, config: {{ file: \"out/{{stream}}.jsonl\" }}, grants: {{ files: {{ write: [out] }} }} }}]
"
        ),
    );
    // Compiled before its memory is looked at.
    host.check("soak").exits(0);
    let (ended, memory) = watched(&host, "soak");
    ended.finished();
    let text = host.text("out/all.jsonl");
    for (at, line) in text.lines().enumerate() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (record["id"].as_u64(), record[number].as_u64()),
            (Some(at as u64), Some(at as u64 + first_number)),
            "{name}"
        );
    }
    assert_eq!(text.lines().count() as u64, records, "{name}");
    let half = memory.len() / 2;
    let most = |part: &[u64]| part.iter().max().copied().unwrap_or_default();
    let (first, second) = (most(&memory[..half]), most(&memory[half..]));
    println!(
        "{name}: {records} records, at most {first} KiB in the first half, {second} KiB in the second"
    );
    assert!(
        second < first + (32 << 10),
        "{name} grew from {first} KiB to {second} KiB"
    );
}

/// The host replaces instances while records flow, and the state goes along. `CROSSDOCK_SOAK=1000000` makes it long.
#[test]
fn instances_are_replaced_while_records_flow_and_memory_stays_flat() {
    let wanted = std::env::var("CROSSDOCK_SOAK").ok();
    let records = wanted.map_or(20_000, |records| records.parse().unwrap());
    for subject in &SUBJECTS {
        soak(subject, records);
    }
}

/// Also an instance that nobody replaces stays small: its garbage is collected, whatever arrives meanwhile.
#[test]
fn an_instance_in_go_stays_small_without_being_replaced() {
    let host = TestHost::new();
    let Some(stage) = compiled(&host, "go", "plugin.go", &go_with_table()) else {
        return;
    };
    host.flow(
        "long",
        &format!(
            "
source: {{ plugin: generate, config: {{ records: 40000, bytes: 500, fields: {{ id: {{ kind: sequence }} }} }} }}
transformers:
  - limits: {{ memory: 64MiB, recycle-after-records: 100000000, recycle-after-memory: 60MiB }}
    grants: {{ tables: [seen] }}
    plugin: {stage}
sinks: [{{ plugin: jsonl, name: out, config: {{ file: out/all.jsonl }}, grants: {{ files: {{ write: [out] }} }} }}]
"
        ),
    );
    let summary = host.run("long").finished();
    assert_eq!(
        summary["streams"]["records"]["written"], 40_000,
        "{summary:#}"
    );
    let text = host.text("out/all.jsonl");
    let records = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    for (at, record) in records.enumerate() {
        // Of a record and those before it, every tenth is in the table: the one behind such a record, and ten behind it.
        let at = at as u64;
        let found = u64::from(at % 10 == 1) + u64::from(at >= 10 && at.is_multiple_of(10));
        assert_eq!(
            (record["n"].as_u64(), record["found"].as_u64()),
            (Some(at), Some(found))
        );
    }
}
