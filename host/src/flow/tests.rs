//! Flow files from text to plan, and every finding in its words.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use proptest::prelude::*;
use serde_json::json;

use super::{Finding, Plan, Planned, PluginRef, Variables, finding, schema, spec::FlowSpec};

const GOOD: &str = "\
flow: prices
description: daily prices
source:
  plugin: csv
  config: { files: ['data/${SHOP}.csv'], delimiter: ';' }
  grants: { files: { read: [data] } }
transformers:
  - { name: map, plugin: mapper, config: { mapping: { $file: map.yaml } }, workers: 2 }
sinks:
  - name: out
    plugin: ./jsonl.wasm
    config: { folder: out }
    grants: { files: { write: [out] }, tables: [ids] }
    limits: { memory: 64MiB, call-time: 1m30s }
    streams: [prices]
dead-letters: { max-share: 0.05 }
";

fn variables() -> Variables {
    Variables::only(BTreeMap::from([("SHOP".to_owned(), "berlin".to_owned())]))
}

/// Parses a text as `flows/prices.yaml` in a folder that holds `map.yaml` beside it.
fn plan(text: &str) -> Result<Planned, Vec<Finding>> {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("map.yaml"), "rules: []\n").unwrap();
    fs::write(root.path().join("latin.txt"), b"caf\xe9").unwrap();
    let file = root.path().join("prices.yaml");
    let shorten = |mut finding: Finding| {
        if let Some(at) = &mut finding.location {
            at.file = "prices.yaml".into();
        }
        let root = format!("{}/", root.path().display());
        finding.advice = finding.advice.map(|advice| advice.replace(&root, ""));
        finding
    };
    match Plan::parse(text, &file, &variables()) {
        Ok(mut planned) => {
            planned.warnings = planned.warnings.into_iter().map(shorten).collect();
            planned.plan.file = "prices.yaml".into();
            for stage in &mut planned.plan.sinks {
                if let PluginRef::Path(path) = &mut stage.plugin {
                    *path = path.strip_prefix(root.path()).unwrap().to_path_buf();
                }
            }
            Ok(planned)
        }
        Err(findings) => Err(findings.into_iter().map(shorten).collect()),
    }
}

fn told(findings: &[Finding], text: &str) -> String {
    let mut out = String::new();
    for one in findings {
        let at = one
            .location
            .as_ref()
            .map_or("-".to_owned(), ToString::to_string);
        writeln!(
            out,
            "{at} {}[{}]: {}",
            one.severity.as_str(),
            one.code,
            one.message
        )
        .unwrap();
        if let Some(at) = &one.location {
            writeln!(out, "    at `{}`", &text[at.offset..at.offset + at.length]).unwrap();
        }
        if let Some(advice) = &one.advice {
            writeln!(out, "    = {advice}").unwrap();
        }
    }
    out
}

fn findings(text: &str) -> String {
    match plan(text) {
        Ok(planned) => told(&planned.warnings, text),
        Err(findings) => {
            assert!(finding::has_errors(&findings), "an error without an error");
            told(&findings, text)
        }
    }
}

/// The good flow with one thing changed.
fn broken(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    findings(&GOOD.replace(from, to))
}

#[test]
fn a_good_flow_is_planned_with_all_defaults() {
    let Planned { plan, warnings } = plan(GOOD).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(
        plan.source.config,
        json!({"files": ["data/berlin.csv"], "delimiter": ";"})
    );
    let mapping = json!({"mapping": {"name": "map.yaml", "text": "rules: []\n"}});
    assert_eq!(plan.transformers[0].config, mapping);
    assert!(
        plan.sinks[0].takes("prices")
            && !plan.sinks[0].takes("stock")
            && plan.source.takes("stock")
    );
    assert_eq!(
        plan.stages()
            .map(|stage| stage.name.as_str())
            .collect::<Vec<_>>(),
        ["csv", "map", "out"]
    );
    insta::assert_snapshot!(serde_json::to_string_pretty(&plan).unwrap());
}

#[test]
fn everything_wrong_is_reported_at_once() {
    insta::assert_snapshot!(findings(
        "\
flow: Prices!
sorce: { plugin: csv }
transformers:
  - { name: map, plugin: mapper, config: { mapping: { $file: mapp.yaml }, x: '${NOPE} and ${NEITHER}' }, workers: 0 }
sinks: []
batch: { records: many, bytes: 64Mb, recods: 5 }
checkpoint: { every: 10 }
dead-letters: { max-share: 1.5 }
"
    ));
}

#[test]
fn each_finding_in_its_words() {
    let cases = [
        (
            "typo in a stage",
            broken("grants: { files: { read", "grant: { files: { read"),
        ),
        (
            "unknown word",
            broken("description: daily prices", "schedule: daily"),
        ),
        (
            "no source",
            broken("source:\n  plugin: csv\n", "x:\n  plugin: csv\n"),
        ),
        (
            "a list wanted",
            broken("streams: [prices]", "streams: prices"),
        ),
        (
            "a mapping wanted",
            broken("config: { folder: out }", "config: out"),
        ),
        ("missing variable", broken("${SHOP}", "${SHOPS}")),
        ("bad variable", broken("${SHOP}", "${shop.name}")),
        ("open variable", broken("${SHOP}", "${SHOP")),
        ("missing file", broken("map.yaml", "mpa.yaml")),
        (
            "missing variable in a path",
            broken("$file: map.yaml", "$file: '${DIR}/map.yaml'"),
        ),
        ("file without path", broken("$file: map.yaml", "$file: ''")),
        (
            "file beside others",
            broken("$file: map.yaml", "$file: map.yaml, also: 1"),
        ),
        ("file is a folder", broken("$file: map.yaml", "$file: .")),
        (
            "file is no text",
            broken("$file: map.yaml", "$file: latin.txt"),
        ),
        ("duplicate name", broken("name: out", "name: csv")),
        ("bad plugin", broken("plugin: csv", "plugin: Csv Reader")),
        ("no streams", broken("streams: [prices]", "streams: []")),
        (
            "stream twice",
            broken("streams: [prices]", "streams: [prices, prices]"),
        ),
        ("grant twice", broken("read: [data]", "read: [data, data]")),
        (
            "batch over flight",
            broken(
                "dead-letters:",
                "in-flight: { bytes: 512KiB }\ndead-letters:",
            ),
        ),
        (
            "huge batch",
            broken("dead-letters:", "batch: { bytes: 1GiB }\ndead-letters:"),
        ),
        (
            "empty batch",
            broken(
                "dead-letters:",
                "batch: { bytes: 0B, wait: 0s }\ndead-letters:",
            ),
        ),
        (
            "retry",
            broken(
                "dead-letters:",
                "retry: { initial: 1m, max: 1s }\ndead-letters:",
            ),
        ),
        (
            "checkpoints",
            broken(
                "dead-letters:",
                "checkpoint: { records: 10, every: 0s }\ndead-letters:",
            ),
        ),
        (
            "slow checkpoints",
            broken(
                "dead-letters:",
                "checkpoint: { records: 10 }\ndead-letters:",
            ),
        ),
        ("no effect", broken("max-share: 0.05", "min-records: 5")),
        ("memory", broken("memory: 64MiB", "memory: 5GiB")),
        ("tight memory", broken("memory: 64MiB", "memory: 2MiB")),
        (
            "recycle",
            broken(
                "memory: 64MiB",
                "memory: 64MiB, recycle-after-memory: 64MiB",
            ),
        ),
        ("call time", broken("call-time: 1m30s", "call-time: 0ms")),
        (
            "overflow",
            broken("call-time: 1m30s", "call-time: 99999999999999999999d"),
        ),
        (
            "not yaml",
            broken("{ files: { read: [data] } }", "{ files: { read: [data }"),
        ),
        ("empty", findings("# nothing\n")),
        ("a list", findings("- flow: a\n")),
    ];
    let told: Vec<String> = cases
        .iter()
        .map(|(what, found)| format!("## {what}\n{found}"))
        .collect();
    assert!(cases.iter().all(|(_, found)| !found.is_empty()));
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_plugins_findings_stand_at_their_line() {
    let text = GOOD.replace(
        "    config: { folder: out }\n",
        "    config:\n      files:\n        - a\n        - b\n",
    );
    let plan = plan(&text).unwrap().plan;
    let sink = &plan.sinks[0];
    let line = |pointer: &str| sink.locate(pointer).unwrap().line;
    assert_eq!(
        (
            line("/files/1"),
            line("/files/7"),
            line("/nothing"),
            line("")
        ),
        (15, 14, 13, 13)
    );
    assert_eq!(sink.locate_field("grants/tables/0").unwrap().line, 16);
    let refused = sink.config_finding("there is no such folder", "/files/0", "make it");
    assert_eq!(refused.message, "sink `out`: there is no such folder");
    assert_eq!(refused.location.unwrap().line, 14);
    let schema = json!({"type": "object", "properties": {"files": {"items": {"type": "integer"}}}});
    let found = sink.config_findings(&schema);
    assert_eq!(found.len(), 2);
    assert_eq!(
        found[1].message,
        "sink `out`: `files[1]` must be a whole number, not the text `b`"
    );
    assert_eq!(found[1].location.as_ref().unwrap().line, 15);
    assert_eq!(found[1].code, "config.wrong-type");
    let broken = sink.config_findings(&json!({"type": 5}));
    assert_eq!(
        (broken.len(), broken[0].code.as_ref()),
        (1, "plugin.schema")
    );
}

#[test]
fn digests_follow_the_meaning_and_not_the_formatting() {
    let one = plan(GOOD).unwrap().plan;
    let same = GOOD.replace(
        "{ files: ['data/${SHOP}.csv'], delimiter: ';' }",
        "\n    delimiter: \";\"\n    # a comment\n    files:\n      - data/berlin.csv",
    );
    let same = plan(&same).unwrap().plan;
    assert_eq!(one.source.config_digest(), same.source.config_digest());
    assert_eq!(one.digest(), same.digest());
    let other = plan(&GOOD.replace("';'", "','")).unwrap().plan;
    assert_ne!(one.source.config_digest(), other.source.config_digest());
    assert_ne!(one.digest(), other.digest());
    assert_eq!(one.sinks[0].config_digest(), other.sinks[0].config_digest());
}

#[test]
fn a_flow_file_that_is_not_there_is_found_by_its_nearest_name() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("prices.yaml"), GOOD).unwrap();
    let error = |name: &str| {
        Plan::load(&root.path().join(name), &variables())
            .unwrap_err()
            .remove(0)
    };
    let finding = error("price.yaml");
    assert_eq!(finding.code, "flow.unreadable");
    assert!(
        finding
            .message
            .ends_with("price.yaml cannot be read: there is no such file")
    );
    assert!(
        finding
            .advice
            .unwrap()
            .starts_with("did you mean `prices.yaml`?")
    );
    fs::write(root.path().join("bytes.yaml"), b"flow: \xff").unwrap();
    assert!(
        error("bytes.yaml")
            .message
            .ends_with("bytes.yaml is not UTF-8 text: byte 6 is invalid")
    );
}

#[test]
fn an_empty_file_points_only_at_a_schema_that_there_is() {
    let empty = |area: &str| {
        let file = Path::new("a.yaml");
        let parsed = super::document::Document::parse(area, "", file, &Variables::default());
        parsed.unwrap_err().remove(0).advice.unwrap_or_default()
    };
    assert!(empty("trust").contains("crossdock schema trust"));
    assert_eq!(empty("conformance"), "");
}

#[test]
fn the_schema_of_flow_files_is_published_whole() {
    let schema = schema::of::<FlowSpec>();
    assert_eq!(
        schema["properties"]["in-flight"]["default"],
        json!({"batches": 8, "bytes": "64MiB"})
    );
    insta::assert_snapshot!(serde_json::to_string_pretty(&schema).unwrap());
}

proptest! {
    #[test]
    fn no_file_panics(text in "(flow|source|sinks|batch|plugin|a|[:\\-\\[\\]{}$&*!|>'\" \n\t,]|\\$\\{A\\}|\\PC){0,40}") {
        let _ = Plan::parse(&text, Path::new("a.yaml"), &variables());
    }

    #[test]
    fn no_good_file_with_a_hole_panics(from in 0_usize..600, length in 0_usize..40) {
        let kept: String =
            GOOD.char_indices().filter(|(at, _)| *at < from || *at >= from + length).map(|(_, c)| c).collect();
        if let Err(findings) = Plan::parse(&kept, Path::new("a.yaml"), &variables()) {
            prop_assert!(finding::has_errors(&findings));
            for at in findings.iter().filter_map(|one| one.location.as_ref()) {
                prop_assert!(kept.get(at.offset..at.offset + at.length).is_some(), "{at:?} is not in the file");
            }
        }
    }

    #[test]
    fn a_config_survives_yaml(config in config()) {
        let written = serde_saphyr::to_string(&json!({
            "flow": "a", "source": {"plugin": "csv", "config": config}, "sinks": [{"name": "b", "plugin": "csv"}],
        })).unwrap();
        let once = Plan::parse(&written, Path::new("a.yaml"), &variables()).unwrap().plan;
        prop_assert_eq!(&once.source.config, &config);
        let as_json = json!({
            "flow": "a", "source": {"plugin": "csv", "config": config}, "sinks": [{"name": "b", "plugin": "csv"}],
        }).to_string();
        let twice = Plan::parse(&as_json, Path::new("a.yaml"), &variables()).unwrap().plan;
        prop_assert_eq!(once.digest(), twice.digest());
        prop_assert_eq!(once.source.config_digest(), twice.source.config_digest());
    }
}

/// Configs without variables and `$file`s.
fn config() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|flag| json!(flag)),
        any::<i64>().prop_map(|number| json!(number)),
        "[a-zäöü0-9 :#\\-'\"%{}\\[\\],.\n]{0,12}".prop_map(|text| json!(text)),
    ];
    let tree = leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| json!(items)),
            proptest::collection::btree_map("[a-z0-9 ~/:-]{1,8}", inner, 0..4)
                .prop_map(|fields| json!(fields)),
        ]
    });
    proptest::collection::btree_map("[a-z]{1,8}", tree, 0..4).prop_map(|fields| json!(fields))
}
