//! `crossdock map test`: a mapping on sample records, before and after.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{self, Read as _},
    path::Path,
};

use serde::Serialize;
use serde_json::value::RawValue;
use similar::{ChangeTag, TextDiff};

use super::{
    Failure,
    arguments::MapTestArguments,
    folders,
    output::Output,
    style::{self, BAD, FAINT, GOOD, Paint, STRONG, WARN},
};
use crate::{
    app::{Bytes, Fault, MapOptions, MapTest, Mapped, MappedRecord},
    flow::project,
};

/// Equal lines around a change that are shown.
const CONTEXT: usize = 2;

type Table = BTreeMap<String, Vec<u8>>;

pub(super) async fn test(arguments: MapTestArguments, output: Output) -> Result<u8, Failure> {
    let samples = samples(&arguments.input)?;
    let mut tables = BTreeMap::new();
    for (name, file) in &arguments.tables {
        tables.insert(name.clone(), table(file)?);
    }
    let project = project::folder_of(&arguments.mapping);
    let around = folders::project_around(&project).to_path_buf();
    let mut mapper = MapTest::open(MapOptions {
        plugin: arguments.plugin,
        plugin_dirs: folders::plugins(arguments.plugins.folders, Some(&around)),
        project: around,
        mapping: arguments.mapping,
        tables,
        stream: arguments.stream.clone(),
    })
    .await?;
    let mut results = Vec::new();
    for sample in samples {
        let mapped = mapper.apply(sample.text.as_bytes()).await?;
        results.push((sample, mapped));
    }
    if arguments.json {
        output.print_json(&document(&results));
    } else {
        for (sample, mapped) in &results {
            output.print(&shown(sample, mapped, &arguments.stream, output.paint));
        }
        output.print(&total(&results, output.paint));
    }
    Ok(if failed(&results) == 0 { 0 } else { 3 })
}

/// One record of the input.
struct Sample {
    line: usize,
    text: String,
}

fn samples(file: &Path) -> Result<Vec<Sample>, Failure> {
    let text = read(file)?;
    let mut samples = Vec::new();
    for (at, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        if let Err(error) = serde_json::from_str::<&RawValue>(line) {
            let place = format!("{}:{}", file.display(), at + 1);
            return Err(Failure::Usage(format!(
                "{place}: this line is no JSON: {error}; write one record a line"
            )));
        }
        samples.push(Sample {
            line: at + 1,
            text: line.trim().to_owned(),
        });
    }
    if samples.is_empty() {
        return Err(Failure::Usage(format!(
            "{} has no records; write one JSON text a line",
            file.display()
        )));
    }
    Ok(samples)
}

/// A table from `{"key": ..., "value": ...}` lines.
fn table(file: &Path) -> Result<Table, Failure> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        key: String,
        value: Box<RawValue>,
    }
    let text = read(file)?;
    let mut table = Table::new();
    for (at, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let entry: Entry = serde_json::from_str(line).map_err(|error| {
            let place = format!("{}:{}", file.display(), at + 1);
            Failure::Usage(format!(
                "{place}: expected {{\"key\": \"...\", \"value\": ...}}: {error}"
            ))
        })?;
        table.insert(entry.key, entry.value.get().as_bytes().to_vec());
    }
    Ok(table)
}

fn read(file: &Path) -> Result<String, Failure> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(file)
    };
    text.map_err(|error| Failure::Usage(format!("{} cannot be read: {error}", file.display())))
}

fn failed(results: &[(Sample, Mapped)]) -> usize {
    results
        .iter()
        .filter(|(_, mapped)| mapped.fault.is_some())
        .count()
}

#[derive(Serialize)]
struct Document<'a> {
    ok: bool,
    records: Vec<OneRecord<'a>>,
}

#[derive(Serialize)]
struct OneRecord<'a> {
    line: usize,
    input: Bytes<'a>,
    outputs: Vec<OneOutput<'a>>,
    fault: Option<&'a Fault>,
    filtered: &'a [String],
}

#[derive(Serialize)]
struct OneOutput<'a> {
    stream: &'a str,
    key: &'a str,
    delete: bool,
    value: Bytes<'a>,
}

fn document(results: &[(Sample, Mapped)]) -> Document<'_> {
    let records = results
        .iter()
        .map(|(sample, mapped)| one_record(sample, mapped));
    Document {
        ok: failed(results) == 0,
        records: records.collect(),
    }
}

fn one_record<'a>(sample: &'a Sample, mapped: &'a Mapped) -> OneRecord<'a> {
    let outputs = mapped.outputs.iter().map(|one| OneOutput {
        stream: &one.stream,
        key: &one.key,
        delete: one.delete,
        value: Bytes(&one.payload),
    });
    OneRecord {
        line: sample.line,
        input: Bytes(sample.text.as_bytes()),
        outputs: outputs.collect(),
        fault: mapped.fault.as_ref(),
        filtered: &mapped.filtered,
    }
}

fn shown(sample: &Sample, mapped: &Mapped, stream: &str, paint: Paint) -> String {
    let head = paint.with(STRONG, format!("record {}", sample.line));
    let mut out = match (&mapped.fault, mapped.outputs.as_slice()) {
        (Some(fault), _) => format!("{head} {}\n", rejected(fault, paint)),
        (None, []) => {
            let reason = if mapped.filtered.is_empty() {
                "filtered, no reason given".to_owned()
            } else {
                format!("filtered: {}", mapped.filtered.join(", "))
            };
            format!("{head} {}\n", paint.with(WARN, reason))
        }
        (None, [one]) => format!(
            "{head} → {}\n{}",
            target(one, stream, paint),
            diff(&sample.text, one, paint)
        ),
        (None, several) => {
            let mut out = format!(
                "{head} → {}\n",
                style::counted(several.len() as u64, "record")
            );
            for one in several {
                // Writing to a String cannot fail.
                let _ = writeln!(out, "  → {}", target(one, stream, paint));
                for line in pretty(&one.payload).lines() {
                    let _ = writeln!(out, "    {}", paint.with(GOOD, line));
                }
            }
            out
        }
    };
    out.push('\n');
    out
}

fn rejected(fault: &Fault, paint: Paint) -> String {
    let mut text = paint.with(BAD, format!("rejected ({}): {}", fault.kind, fault.message));
    for (name, part) in [
        ("at", &fault.location),
        ("in", &fault.field),
        ("help", &fault.advice),
    ] {
        if !part.is_empty() {
            let _ = write!(text, "\n  {} {part}", paint.with(FAINT, format!("{name}:")));
        }
    }
    text
}

/// The stream where it is another one, and the key.
fn target(record: &MappedRecord, stream: &str, paint: Paint) -> String {
    let mut parts = Vec::new();
    if record.stream != stream {
        parts.push(format!("stream {}", paint.with(STRONG, &record.stream)));
    }
    if !record.key.is_empty() {
        parts.push(format!("key {}", record.key));
    }
    if record.delete {
        parts.push("delete".to_owned());
    }
    if parts.is_empty() {
        "mapped".to_owned()
    } else {
        parts.join(", ")
    }
}

/// The indented texts line by line: what is gone, what is new, and a little around it.
fn diff(before: &str, after: &MappedRecord, paint: Paint) -> String {
    let (before, after) = (pretty(before.as_bytes()), pretty(&after.payload));
    let diff = TextDiff::from_lines(&before, &after);
    let groups = diff.grouped_ops(CONTEXT);
    if groups.is_empty() {
        return format!("  {}\n", paint.with(FAINT, "unchanged"));
    }
    let mut out = String::new();
    for (position, group) in groups.iter().enumerate() {
        if position > 0 {
            let _ = writeln!(out, "  {}", paint.with(FAINT, "…"));
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let line = change.value().trim_end_matches('\n');
            let line = match change.tag() {
                ChangeTag::Delete => paint.with(BAD, format!("- {line}")),
                ChangeTag::Insert => paint.with(GOOD, format!("+ {line}")),
                ChangeTag::Equal => format!("  {line}"),
            };
            let _ = writeln!(out, "  {line}");
        }
    }
    out
}

fn pretty(payload: &[u8]) -> String {
    let text = Bytes(payload)
        .pretty()
        .unwrap_or_else(|| String::from_utf8_lossy(payload));
    format!("{text}\n")
}

fn total(results: &[(Sample, Mapped)], paint: Paint) -> String {
    let filtered = results
        .iter()
        .filter(|(_, mapped)| mapped.fault.is_none() && mapped.outputs.is_empty())
        .count();
    let outputs: usize = results.iter().map(|(_, mapped)| mapped.outputs.len()).sum();
    let failed = failed(results);
    let records = style::counted(results.len() as u64, "record");
    let rejected = format!("{failed} rejected");
    let rejected = if failed == 0 {
        rejected
    } else {
        paint.with(BAD, rejected)
    };
    format!("{records} in, {outputs} out, {filtered} filtered, {rejected}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::FaultKind;

    fn sample(text: &str) -> Sample {
        Sample {
            line: 1,
            text: text.to_owned(),
        }
    }

    fn record(stream: &str, key: &str, payload: &str) -> MappedRecord {
        MappedRecord {
            stream: stream.to_owned(),
            key: key.to_owned(),
            payload: payload.as_bytes().to_vec(),
            delete: false,
        }
    }

    fn mapped(outputs: Vec<MappedRecord>) -> Mapped {
        Mapped {
            outputs,
            fault: None,
            filtered: Vec::new(),
        }
    }

    #[test]
    fn every_end_of_a_record_is_shown() {
        let before = r#"{"sku":"a","name":"Shirt","tags":["x","y"],"price":12.50,"active":true}"#;
        let after = r#"{"id":"a","name":"Shirt","tags":["x","y"],"price":12.50,"active":true}"#;
        let fault = Fault::new(
            FaultKind::Permanent,
            "expected a number, found the text `12,50`",
        )
        .at("map.yaml:12 at /price")
        .advice("cast it with `decimal-comma`");
        let results = [
            (sample(before), mapped(vec![record("products", "a", after)])),
            (sample(before), mapped(vec![record("products", "", before)])),
            (
                sample(before),
                mapped(vec![
                    record("products", "a", after),
                    record("images", "a-1", "{\"url\":1}"),
                ]),
            ),
            (
                sample(before),
                Mapped {
                    outputs: vec![],
                    fault: None,
                    filtered: vec!["not active".to_owned()],
                },
            ),
            (sample(before), mapped(vec![])),
            (
                sample(before),
                Mapped {
                    outputs: vec![],
                    fault: Some(fault),
                    filtered: vec![],
                },
            ),
        ];
        let paint = Paint { on: false };
        let text: String = results
            .iter()
            .map(|(sample, one)| shown(sample, one, "products", paint))
            .collect();
        insta::assert_snapshot!(format!("{text}{}", total(&results, paint)));
        assert_eq!(failed(&results), 1);
        insta::assert_snapshot!(serde_json::to_string_pretty(&document(&results)).unwrap());
    }

    #[test]
    fn bad_samples_and_tables_are_told_with_their_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.jsonl");
        let told = |text: &str, what: &dyn Fn(&Path) -> Result<(), Failure>| {
            fs::write(&file, text).unwrap();
            what(&file)
                .unwrap_err()
                .to_string()
                .replace(&folder.path().display().to_string(), "")
        };
        let as_samples = |file: &Path| samples(file).map(|_| ());
        let as_table = |file: &Path| table(file).map(|_| ());
        assert!(
            told("{}\n\n{\"a\":\n", &as_samples).starts_with("/a.jsonl:3: this line is no JSON: ")
        );
        assert_eq!(
            told("\n", &as_samples),
            "/a.jsonl has no records; write one JSON text a line"
        );
        assert!(
            told("{\"key\": 1}", &as_table)
                .starts_with("/a.jsonl:1: expected {\"key\": \"...\", \"value\": ...}: ")
        );
        assert!(
            samples(Path::new("/nowhere.jsonl"))
                .is_err_and(|error| error.to_string().contains("cannot be read"))
        );
        fs::write(
            &file,
            "{\"key\": \"a\", \"value\": {\"id\": 1}}\n{\"key\": \"b\", \"value\": null}\n",
        )
        .unwrap();
        assert_eq!(table(&file).unwrap_or_default()["a"], b"{\"id\": 1}");
    }
}
