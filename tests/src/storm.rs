//! Swaps random stages of a flow under load, among good, refusing, trapping, looping and lying versions, and then looks
//! whether anybody can tell from the output.

#![allow(
    clippy::panic,
    clippy::expect_used,
    reason = "a helper of tests fails the test"
)]

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};

use crate::{
    daemon::TestDaemon,
    host::{Ended, TestHost, plugin, test_plugin},
    variant,
};

/// The flow: everything that a record can pass, a stage of each kind that can be swapped for something that fails.
const FLOW: &str = "
source:
  plugin: ../plugins/generate.wasm
  name: source
  config: { records: 100000000, rate: 20000, fields: { id: { kind: sequence }, group: { kind: choice, of: [red, blue] } } }
transformers:
  - plugin: ../plugins/puppet.wasm
    name: stateless
    config: { on: {} }
    limits: { call-time: 200ms }
  - plugin: ../plugins/tally.wasm
    name: tally
    config: { group: group, sum: id }
  - plugin: ../plugins/puppet.wasm
    name: stateful
    config: { on: {}, stateful: true }
    limits: { call-time: 200ms }
sinks:
  - plugin: ../plugins/jsonl.wasm
    name: sink
    config: { file: out/live.jsonl, mode: append }
    grants: { files: { write: [out] } }
    streams: [records]
  - plugin: ../plugins/puppet.wasm
    name: second
    config: { on: {} }
    limits: { call-time: 200ms }
batch: { records: 200, wait: 20ms }
checkpoint: { records: 5000, every: 50ms }
";

/// What became of the swaps of a storm.
#[derive(Debug, Default)]
pub struct Tally {
    /// Swaps by how they ended.
    pub ended: BTreeMap<String, u32>,
    /// Pauses of those that are done, in microseconds, by stage.
    pub pauses: BTreeMap<&'static str, Vec<u64>>,
    /// Records in the output.
    pub records: u64,
}

/// One version to swap in, and how that has to end.
struct Version {
    stage: &'static str,
    plugin: &'static str,
    config: Option<Value>,
    ends: &'static str,
}

/// Draws one.
fn draw(random: &mut fastrand::Rng) -> Version {
    let puppets = ["stateless", "stateful", "second"];
    let stage = ["source", "stateless", "tally", "stateful", "sink", "second"][random.usize(..6)];
    let good = |plugin| Version {
        stage,
        plugin,
        config: None,
        ends: "done",
    };
    let own = match stage {
        "source" => "generate",
        "tally" => "tally",
        "sink" => "jsonl",
        _ => "puppet",
    };
    let is_puppet = puppets.contains(&stage);
    let puppet = |mut config: Value, ends| {
        if stage == "stateful" {
            config["stateful"] = true.into();
        }
        Version {
            stage,
            plugin: "puppet",
            config: Some(config),
            ends,
        }
    };
    match random.u32(..6) {
        0 | 1 => good(own),
        // A config that its own schema refuses.
        2 => Version {
            config: Some(json!({ "no": "such field" })),
            ends: "refused",
            ..good(own)
        },
        3 if is_puppet => puppet(json!({ "open": "trap" }), "refused"),
        4 if is_puppet && stage != "stateless" => {
            puppet(json!({ "snapshot": "trap" }), "rolled-back")
        }
        // Another plugin, which cannot go on from a foreign snapshot.
        3 | 4 if !is_puppet && stage != "source" => Version {
            plugin: "puppet",
            config: Some(json!({ "on": {}, "open": "config" })),
            ..good("puppet")
        }
        .ending("refused"),
        _ if is_puppet => {
            let acts = ["trap", "loop", "wild-index", "twice", "abort"];
            let act = acts[random.usize(..acts.len())];
            puppet(json!({ "on": { "*": act } }), "rolled-back")
        }
        _ => good(own),
    }
}

impl Version {
    fn ending(mut self, ends: &'static str) -> Self {
        self.ends = ends;
        self
    }
}

/// Makes so many swaps, one after the other.
pub fn storm(swaps: u32, seed: u64, say: impl Fn(&str)) -> Tally {
    let host = TestHost::new();
    for (name, file) in [
        ("generate", plugin("generate")),
        ("jsonl", plugin("jsonl")),
        ("puppet", test_plugin("puppet")),
        ("tally", test_plugin("tally")),
    ] {
        host.write(
            format!("plugins/{name}.wasm"),
            fs::read(&file).expect("it was built"),
        );
        for version in ["8.0.0", "9.0.0"] {
            host.write(
                format!("{version}/{name}.wasm"),
                variant::version(&file, version),
            );
        }
    }
    host.flow("live", FLOW);
    let mut daemon = TestDaemon::start(&host);
    daemon.until_checkpoints("live", 1);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut tally = Tally::default();
    for number in 1..=swaps {
        let version = draw(&mut random);
        let file = format!(
            "{}/{}.wasm",
            ["8.0.0", "9.0.0"][random.usize(..2)],
            version.plugin
        );
        // However slow the machine is: what fails does so on probation, not after it.
        let probation = if version.ends == "done" {
            "20ms"
        } else {
            "60s"
        };
        let mut arguments = vec!["live", version.stage, &file, "--probation", probation];
        if let Some(config) = &version.config {
            host.write("config.yaml", config.to_string());
            arguments.extend(["--config", "config.yaml"]);
        }
        let swap = daemon.swap(&arguments);
        let ended = how(&swap);
        assert_eq!(
            ended, version.ends,
            "seed {seed}, swap {number}, {arguments:?} {:?}: {swap}",
            version.config
        );
        if let Some(pause) = swap.json()["pause_us"].as_u64().filter(|_| ended == "done") {
            tally.pauses.entry(version.stage).or_default().push(pause);
        }
        *tally.ended.entry(ended).or_default() += 1;
        if number % 100 == 0 {
            say(&format!("{number} swaps"));
        }
    }
    tally.records = whole(&host, &daemon);
    daemon.end().exits(0).no_panic();
    tally
}

/// How a swap ended. One that is refused before it has begun has only an error.
fn how(swap: &Ended) -> String {
    let json = swap.json();
    json["state"].as_str().unwrap_or("refused").to_owned()
}

/// Stops the flow. Every record is in the output once, in order, and the state that passed all the swaps has no gap.
fn whole(host: &TestHost, daemon: &TestDaemon<'_>) -> u64 {
    daemon.ask(&["flow", "stop", "live"]).exits(0);
    let done = daemon.status("live");
    assert_eq!(done["state"], "stopped", "{done:#}");
    assert_eq!(done["checkpoint"]["balanced"], true, "{done:#}");
    let mut groups: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let text = host.text("out/live.jsonl");
    let mut count = 0;
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).expect("it was written whole");
        assert_eq!(
            record["id"].as_u64(),
            Some(count),
            "no gap, no double, no disorder"
        );
        let (seen, sum) = groups.entry(record["group"].to_string()).or_default();
        (*seen, *sum) = (*seen + 1, *sum + count);
        assert_eq!(record["group_count"].as_u64(), Some(*seen), "{line}");
        assert_eq!(record["group_sum"].as_u64(), Some(*sum), "{line}");
        count += 1;
    }
    let records = &done["last"]["streams"]["records"];
    assert_eq!(
        (&records["read"], &records["written"]),
        (&count.into(), &count.into()),
        "{done:#}"
    );
    assert_eq!(done["last"]["dead_letters"].as_u64().unwrap_or(0), 0);
    count
}
