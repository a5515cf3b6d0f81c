//! The main job: a catalogue flows from Akeneo to Spryker through sandboxed plugins, in one command.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use crossdock_tests::{
    akeneo::{AkeneoServer, Options},
    catalogue::{Expected, Kind},
    gate::Gate,
    host::{Ended, Invocation, TestHost, test_data, test_plugin, workspace},
};
use serde_json::{Value, json};

/// The rows of one file by column.
type Rows = Vec<HashMap<String, String>>;

/// Runs the flow of this repository against a stand-in.
struct Job {
    host: TestHost,
    server: AkeneoServer,
}

impl Job {
    fn new(options: Options) -> Self {
        Self {
            host: TestHost::new(),
            server: AkeneoServer::start(options).unwrap(),
        }
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        let flow = workspace().join("plugins/akeneo-to-spryker/flows/akeneo-to-spryker.yaml");
        self.invocation(&flow, arguments).end()
    }

    fn invocation(&self, flow: &Path, arguments: &[&str]) -> Invocation {
        let who = self.server.credentials();
        self.host
            .crossdock([Path::new("run"), flow])
            .args(["--json", "--state"])
            .arg(self.host.state())
            .args(["--var", &format!("OUT={}", self.host.path("out").display())])
            .args(arguments)
            .env("AKENEO_URL", self.server.base_url())
            .env("AKENEO_CLIENT_ID", &who.client_id)
            .env("AKENEO_CLIENT_SECRET", &who.secret)
            .env("AKENEO_USERNAME", &who.username)
            .env("AKENEO_PASSWORD", &who.password)
    }

    /// Every file of the set.
    fn set(&self) -> Vec<(String, Vec<u8>)> {
        let names = self.host.list("out").into_iter();
        names
            .map(|name| (name.clone(), self.host.bytes(format!("out/{name}"))))
            .collect()
    }

    /// Copies the flow with its maps into the project, with a gate in front of the sink that holds the record with this
    /// key, and with checkpoints so often that some come before it.
    fn gated(&self, gate: &Gate, key: &str) -> PathBuf {
        let from = workspace().join("plugins/akeneo-to-spryker");
        for folder in ["flows", "maps", "connections"] {
            for entry in fs::read_dir(from.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap();
                let to = Path::new(folder).join(name);
                self.host.write(to, fs::read(&path).unwrap());
            }
        }
        gate.connect(&self.host);
        let flow = self.host.text("flows/akeneo-to-spryker.yaml");
        let stage = format!(
            "  - plugin: {}\n    workers: 1\n    config: {{ on: {{ \"{key}\": gate }}, connection: gate }}\n    \
             grants: {{ connections: [gate] }}\n\nsinks:",
            test_plugin("puppet").display()
        );
        let (start, _) = flow.split_once("checkpoint:").unwrap();
        let flow = start.replace("\nsinks:", &stage)
            + "batch: { records: 20 }\ncheckpoint: { records: 100 }\nin-flight: { batches: 4 }\n";
        self.host.write("flows/akeneo-to-spryker.yaml", flow)
    }

    fn rows(&self, file: &str) -> Rows {
        let bytes = self.host.bytes(format!("out/{file}"));
        assert!(
            !bytes.starts_with(b"\xEF\xBB\xBF"),
            "{file}: byte order mark"
        );
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let header = reader.headers().unwrap().clone();
        reader
            .records()
            .map(|row| {
                let row = row.unwrap();
                let cells = header.iter().zip(row.iter());
                cells
                    .map(|(name, cell)| (name.to_owned(), cell.to_owned()))
                    .collect()
            })
            .collect()
    }
}

/// Every column's values, which must be different ones.
fn unique(rows: &Rows, column: &str) -> BTreeSet<String> {
    let values: BTreeSet<String> = rows.iter().map(|row| row[column].clone()).collect();
    assert_eq!(values.len(), rows.len(), "{column} occurs twice");
    values
}

/// read + expanded = written + filtered + dead, over all streams: a record may go on in another stream.
fn balances(summary: &Value) {
    let streams = summary["streams"].as_object().unwrap();
    let of = |key: &str| -> u64 {
        let counts = streams.values().map(|counts| counts[key].as_u64().unwrap());
        counts.sum()
    };
    assert!(of("read") > 0);
    assert_eq!(
        of("read") + of("expanded"),
        of("written") + of("filtered") + of("dead"),
        "{summary}"
    );
}

/// Holds the files against what the catalogue's own counts say they must hold.
fn holds(job: &Job, expected: &Expected) {
    let categories = job.rows("category.csv");
    let known = unique(&categories, "category_key");
    assert_eq!(categories.len(), expected.categories);
    let mut seen = HashSet::new();
    for row in &categories {
        let parent = &row["parent_category_key"];
        assert!(
            parent.is_empty() || seen.contains(parent),
            "{parent} comes after its child"
        );
        seen.insert(row["category_key"].clone());
    }

    let attributes = job.rows("product_attribute_key.csv");
    unique(&attributes, "attribute_key");
    assert_eq!(attributes.len(), expected.attributes);
    let supers: BTreeSet<String> = attributes
        .iter()
        .filter(|row| row["is_super"] == "1")
        .map(|row| row["attribute_key"].clone())
        .collect();
    assert_eq!(supers, expected.super_attributes);
    assert!(
        attributes
            .iter()
            .all(|row| ["0", "1"].contains(&row["is_super"].as_str()))
    );

    let abstracts = job.rows("product_abstract.csv");
    let owners = unique(&abstracts, "abstract_sku");
    assert_eq!(abstracts.len(), expected.abstracts);
    for row in &abstracts {
        let keys = row["category_key"].split(',').map(str::trim);
        for key in keys.filter(|key| !key.is_empty()) {
            assert!(
                known.contains(key),
                "{}: unknown category {key}",
                row["abstract_sku"]
            );
        }
        assert!(
            !row["name.en_US"].is_empty(),
            "{} has no name",
            row["abstract_sku"]
        );
    }

    let concretes = job.rows("product_concrete.csv");
    unique(&concretes, "concrete_sku");
    assert_eq!(concretes.len(), expected.concretes);
    let mut variants: BTreeMap<&str, BTreeSet<Vec<(String, String)>>> = BTreeMap::new();
    let mut siblings: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &concretes {
        let owner = row["abstract_sku"].as_str();
        assert!(
            owners.contains(owner),
            "{}: unknown abstract",
            row["concrete_sku"]
        );
        let axes = (1..)
            .map_while(|n| {
                Some((
                    row.get(&format!("attribute_key_{n}"))?,
                    row.get(&format!("value_{n}"))?,
                ))
            })
            .filter(|(key, _)| expected.super_attributes.contains(*key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        variants.entry(owner).or_default().insert(axes);
        *siblings.entry(owner).or_default() += 1;
    }
    assert_eq!(
        siblings.len(),
        expected.abstracts,
        "an abstract has no concrete"
    );
    for (owner, number) in siblings {
        assert_eq!(
            variants[owner].len(),
            number,
            "{owner}: variants with the same axes"
        );
    }
}

#[test]
fn a_generated_catalogue_becomes_the_import_set() {
    let job = Job::new(Options::generated(300, 1));
    let summary = job.run(&[]).finished();
    balances(&summary);
    let expected = job.server.expected();
    holds(&job, &expected);

    assert_eq!(summary["outcome"], "finished");
    assert_eq!(summary["delivery"]["label"], "exactly-once");
    assert_eq!(summary["dead_letters"], 0);
    let streams = &summary["streams"];
    assert_eq!(streams["categories"]["written"], expected.categories);
    assert_eq!(streams["abstracts"]["written"], expected.abstracts);
    assert_eq!(streams["concretes"]["written"], expected.concretes);
    // Four calls at a time are what Akeneo allows.
    assert!(job.server.max_concurrent() <= 4);

    let names = job.host.list("out");
    assert!(names.contains(&"import.yml".to_owned()));
    assert!(
        !names.iter().any(|name| name.starts_with('.')),
        "left behind: {names:?}"
    );
    let import = job.host.text("out/import.yml");
    let order: Vec<usize> = [
        "category\n",
        "product-attribute-key\n",
        "product-abstract\n",
        "product-concrete\n",
    ]
    .iter()
    .map(|entity| import.find(&format!("data_entity: {entity}")).unwrap())
    .collect();
    assert!(order.is_sorted(), "{import}");
}

#[test]
fn the_set_is_the_same_every_time_and_a_second_run_brings_nothing_new() {
    let job = Job::new(Options::generated(60, 7));
    job.run(&[]).finished();
    let first = job.set();
    assert!(first.len() > 10, "{first:?}");
    let again = job.run(&["--from-start"]).finished();
    assert_eq!(again["resumed"], false);
    assert!(
        first == job.set(),
        "another run from the start writes other files"
    );
}

#[test]
fn it_goes_on_after_ctrl_c_and_kill_9_without_loss_or_duplicate() {
    let undisturbed = Job::new(Options::generated(200, 3));
    undisturbed.run(&[]).finished();
    let concretes = undisturbed.rows("product_concrete.csv");
    let key = &concretes[concretes.len() / 2]["concrete_sku"];

    for how in ["INT", "KILL"] {
        let job = Job::new(Options::generated(200, 3));
        let gate = Gate::new();
        let flow = job.gated(&gate, key);
        let mut running = job.invocation(&flow, &[]).start();
        let arrival = gate.arrival(&mut running);
        running.signal(how);
        if how == "INT" {
            running.says("stopping");
            arrival.pass();
            // Records of other streams have the same key.
            gate.open();
            assert_eq!(running.end().finished()["outcome"], "stopped");
        } else {
            assert_eq!(running.end().signal(), Some(9));
        }
        // Nobody sees half a set.
        let visible = job.host.list("out");
        assert!(
            !visible
                .iter()
                .any(|name| Path::new(name).extension().is_some_and(|e| e == "csv")),
            "{visible:?}"
        );

        gate.open();
        let summary = job.invocation(&flow, &[]).end().finished();
        assert_eq!(summary["resumed"], true);
        assert_eq!(summary["delivery"]["label"], "exactly-once");
        balances(&summary);
        let streams = &summary["streams"];
        assert_eq!(
            streams["concretes"]["written"],
            concretes.len(),
            "counts are those of the whole run"
        );
        holds(&job, &job.server.expected());
        assert!(job.set() == undisturbed.set(), "{how}: another set");
    }
}

#[test]
fn faults_of_the_server_on_the_way_do_not_change_the_result() {
    let job = Job::new(Options::generated(120, 1));
    for fault in [
        "products=429:0x2",
        "categories=503x2",
        "product-models=drop",
        "attributes=truncate",
        "*=401@9",
    ] {
        job.server.fault(fault.parse().unwrap());
    }
    let summary = job.run(&[]).finished();
    balances(&summary);
    holds(&job, &job.server.expected());
}

#[test]
fn a_later_run_reads_what_has_changed_since() {
    let job = Job::new(Options::generated(80, 5));
    let from = workspace().join("plugins/akeneo-to-spryker/connections/akeneo.yaml");
    job.host
        .write("connections/akeneo.yaml", fs::read(from).unwrap());
    let flow = job.host.flow(
        "changes",
        "
source:
  plugin: akeneo
  config: { connection: akeneo, streams: [categories, products], channel: ecommerce, incremental: true, other-streams: skip }
  grants: { connections: [akeneo] }
sinks:
  - plugin: jsonl
    config: { file: out/all.jsonl, mode: append }
    grants: { files: { write: [out] } }
",
    );
    let run = || job.invocation(&flow, &[]).end().finished();
    let first = run();
    assert_eq!(first["streams"]["products"]["written"], 80);
    let before = job.host.text("out/all.jsonl");

    let change = json!({"identifier": "AKN-00000007", "enabled": false});
    job.server.change(Kind::Products, &change).unwrap();
    let second = run();
    assert_eq!(
        (&second["records"], &second["resumed"]),
        (&json!(1), &json!(true))
    );
    let all = job.host.text("out/all.jsonl");
    let new = all.strip_prefix(&before).unwrap();
    let new: Value = serde_json::from_str(new).unwrap();
    assert_eq!(
        (&new["identifier"], &new["enabled"]),
        (&json!("AKN-00000007"), &json!(false))
    );
}

/// The vendors' example catalogue, where it is at hand.
#[test]
fn the_example_catalogue_has_the_documented_counts() {
    let Some(folder) = test_data("akeneo/catalog_modeling") else {
        return;
    };
    let job = Job::new(Options::fixtures(folder).unwrap());
    let summary = job.run(&[]).finished();
    balances(&summary);
    let expected = job.server.expected();
    holds(&job, &expected);
    assert_eq!(job.rows("category.csv").len(), 30);
    assert_eq!(job.rows("product_attribute_key.csv").len(), 27);
    assert_eq!(expected.super_attributes.len(), 4);
    assert_eq!(job.rows("product_abstract.csv").len(), 73);
    assert_eq!(job.rows("product_concrete.csv").len(), 242);
}
