//! Kills the real program with SIGKILL again and again, starts it again each time, and holds what it leaves in the end
//! against what an undisturbed run leaves, byte for byte.
//!
//! The moments are drawn from a seed over the time that an undisturbed run takes, so that they fall on everything that a
//! run does: opening, reading, snapshots, the commit, the sinks' own commits, the end.

#![allow(
    clippy::panic,
    clippy::expect_used,
    reason = "a helper of tests fails the test"
)]

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use redb::{ReadableDatabase as _, ReadableTable as _, TableDefinition, TableHandle as _};
use serde_json::Value;

use crate::host::{TestHost, test_plugin};

/// After so many kills one and the same run may come to its end.
const KILLS_OF_A_RUN: u32 = 12;

/// One flow with everything it needs, and how to look at what it left.
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// Makes its project.
    project: fn(records: u32) -> TestHost,
    /// What is in its targets, as bytes that are the same whenever the content is.
    outcome: fn(&TestHost) -> Vec<u8>,
}

/// The flow of every scenario.
const FLOW: &str = "job";

/// CSV → mapper → files, one that is replaced at the end and one that is appended to at every checkpoint.
pub const FILES: Scenario = Scenario {
    name: "files",
    project: files,
    outcome: |host| {
        let names = host.list("out");
        assert_eq!(
            names,
            ["appended.jsonl", "replaced.csv"],
            "no parts are left"
        );
        [
            host.bytes("out/appended.jsonl"),
            host.bytes("out/replaced.csv"),
        ]
        .concat()
    },
};

/// A generated source → a transformer with a state → a database file.
pub const DATABASE: Scenario = Scenario {
    name: "database",
    project: database,
    outcome: |host| dump(host).into_bytes(),
};

/// All of them.
pub const SCENARIOS: [&Scenario; 2] = [&FILES, &DATABASE];

fn files(records: u32) -> TestHost {
    let host = TestHost::new();
    let mut text = "sku,name,price\n".to_owned();
    for row in 0..records {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "S{row:06},\"Thing \"\"{row}\"\"\",{}.50", row % 97);
    }
    host.write("in/products.csv", text);
    host.write(
        "maps/m.yaml",
        "streams:\n  \"*\":\n    - set: { id: $.sku, price: $.price | number }\n    - remove: name\n",
    );
    host.flow(
        FLOW,
        "
source:
  plugin: csv
  config: { files: in/*.csv, key: sku }
  grants: { files: { read: [in] } }
transformers:
  - plugin: mapper
    config: { mapping: { $file: ../maps/m.yaml } }
sinks:
  - plugin: jsonl
    config: { file: out/appended.jsonl, mode: append }
    grants: { files: { write: [out] } }
  - plugin: csv
    name: replaced
    config: { file: out/replaced.csv }
    grants: { files: { write: [out] } }
batch: { records: 100 }
checkpoint: { records: 400 }
",
    );
    host
}

fn database(records: u32) -> TestHost {
    let host = TestHost::new();
    host.flow(
        FLOW,
        &format!(
            "
source:
  plugin: generate
  config:
    records: {records}
    key: sku
    fields:
      sku: {{ kind: sequence, prefix: S, digits: 6 }}
      colour: {{ kind: choice, of: [red, green, blue, white, black] }}
      stock: {{ kind: integer, max: 1000 }}
transformers:
  - plugin: {}
    name: tally
    config: {{ group: colour, sum: stock }}
sinks:
  - plugin: redb
    config: {{ file: out/all.redb }}
    grants: {{ files: {{ write: [out] }} }}
batch: {{ records: 100 }}
checkpoint: {{ records: 400 }}
",
            test_plugin("tally").display()
        ),
    );
    host
}

/// Every entry of the database as a line: table, key, value. The plugin's own tables are no content.
pub fn dump(host: &TestHost) -> String {
    let path = host.path("out/all.redb");
    let shown = path.display();
    let database = redb::Database::open(&path).unwrap_or_else(|e| panic!("{shown}: {e}"));
    let read = database.begin_read().expect("a database can be read");
    let tables = read.list_tables().expect("a database can be read");
    let mut names: Vec<String> = tables.map(|table| table.name().to_owned()).collect();
    names.sort();
    let mut text = String::new();
    for name in names.iter().filter(|name| !name.starts_with("_crossdock.")) {
        let definition: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(name);
        let table = read.open_table(definition).expect("a table can be read");
        for entry in table.iter().expect("a table can be read") {
            let (key, value) = entry.expect("a table can be read");
            let (key, value) = (key.value(), value.value());
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{name} {} {}",
                key.escape_ascii(),
                value.escape_ascii()
            );
        }
    }
    text
}

/// What chaos came to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Runs that were brought to their end.
    pub runs: u32,
    /// Kills.
    pub kills: u32,
    /// Starts that went on from a checkpoint.
    pub resumed: u32,
}

impl Scenario {
    /// Kills runs until there were so many kills and the last run is at its end. `say` is told how it goes.
    ///
    /// # Panics
    /// When what a run leaves is not what an undisturbed run leaves, or a start fails.
    pub fn kill(&self, records: u32, kills: u32, seed: u64, mut say: impl FnMut(&str)) -> Tally {
        let (expected, time) = self.undisturbed(records);
        say(&format!(
            "{}: seed {seed}, {records} records, an undisturbed run takes {:.2} s and leaves {} bytes",
            self.name,
            time.as_secs_f64(),
            expected.len()
        ));
        let mut random = Random(seed);
        let mut tally = Tally::default();
        while tally.kills < kills {
            let most = KILLS_OF_A_RUN.min(kills - tally.kills);
            let host = (self.project)(records);
            let killed = bring_to_its_end(&host, most, time, &mut random, &mut tally);
            let outcome = (self.outcome)(&host);
            tally.runs += 1;
            assert!(
                outcome == expected,
                "{}: seed {seed}: run {} leaves something else after {killed} kills: it differs at byte {:?} of {}",
                self.name,
                tally.runs,
                outcome.iter().zip(&expected).position(|(a, b)| a != b),
                expected.len()
            );
            say(&format!(
                "{}: run {} killed {killed} times, as if nothing had happened ({} of {kills} kills)",
                self.name, tally.runs, tally.kills
            ));
        }
        tally
    }

    fn undisturbed(&self, records: u32) -> (Vec<u8>, Duration) {
        // Once more than needed: the first one compiles the plugins.
        (self.project)(1).run(FLOW).finished();
        let host = (self.project)(records);
        let started = Instant::now();
        let summary = host.run(FLOW).finished();
        let time = started.elapsed();
        assert!(summary["epochs"].as_u64() >= Some(5), "{summary}");
        ((self.outcome)(&host), time)
    }
}

/// Brings one run to its end over at most so many kills; says how many they were.
fn bring_to_its_end(
    host: &TestHost,
    most: u32,
    time: Duration,
    random: &mut Random,
    tally: &mut Tally,
) -> u32 {
    let mut killed = 0;
    while killed < most {
        let mut running = host.start(FLOW);
        if running.ends_within(random.up_to(time)) {
            // It was faster. What it says is checked by the run below, which has nothing left to do.
            running.end().finished();
            break;
        }
        let ended = running.kill();
        if ended.signal() == Some(9) {
            killed += 1;
            tally.kills += 1;
        }
    }
    let last = host.run(FLOW).finished();
    tally.resumed += u32::from(last["resumed"] == Value::Bool(true));
    killed
}

/// Numbers that are the same for the same seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn up_to(&mut self, time: Duration) -> Duration {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.next() % micros)
    }
}
