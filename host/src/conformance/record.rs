//! Sample records, odd ones, and how two lists of records differ.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::settings::KindSettings;
use crate::engine::{
    batch::{Batch, Builder, Form, Op, Record},
    stage::{Applied, Output},
};

/// The stream of the records that are made up.
const STREAM: &str = "items";
/// Bytes of a huge payload.
const HUGE: usize = 4 << 20;

/// A record as it counts for a comparison.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) stream: Arc<str>,
    pub(super) key: Vec<u8>,
    pub(super) headers: Vec<u8>,
    pub(super) payload: Vec<u8>,
    pub(super) delete: bool,
}

impl Row {
    pub(super) fn shown(&self) -> String {
        let text = String::from_utf8_lossy(&self.payload);
        let cut: String = text.chars().take(120).collect();
        let dots = if cut.len() < text.len() { "…" } else { "" };
        let key = String::from_utf8_lossy(&self.key);
        format!("{cut}{dots} (stream `{}`, key {key:?})", self.stream)
    }

    fn record(&self) -> Record<'_> {
        Record {
            key: &self.key,
            headers: &self.headers,
            payload: &self.payload,
            flags: u32::from(self.delete),
        }
    }
}

pub(super) fn rows(batch: &Batch) -> impl Iterator<Item = Row> {
    batch.records().map(|record| Row {
        stream: Arc::clone(batch.stream()),
        key: record.key.to_vec(),
        headers: record.headers.to_vec(),
        payload: record.payload.to_vec(),
        delete: record.op() == Op::Delete,
    })
}

/// What a transformer gave on for a batch.
pub(super) fn output(batch: &Batch, applied: &Applied) -> Vec<Row> {
    match &applied.output {
        Output::Pass => rows(batch).collect(),
        Output::Select(kept) => {
            let kept = batch.select(kept);
            kept.iter().flat_map(rows).collect()
        }
        Output::Replace(batches) => batches.iter().flat_map(rows).collect(),
    }
}

/// Rows by stream: the order in which streams take turns is not promised.
pub(super) fn by_stream(rows: &[Row]) -> Vec<Row> {
    let mut streams: BTreeMap<&Arc<str>, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        streams.entry(&row.stream).or_default().push(row);
    }
    streams.into_values().flatten().cloned().collect()
}

/// How two lists of records differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// The first record that is missing, and how many are.
    pub(super) missing: Option<(String, usize)>,
    /// The first record that is there too often, and how many are.
    pub(super) extra: Option<(String, usize)>,
    /// The same records in another order.
    pub(super) moved: bool,
}

impl Difference {
    /// `None`: there is none.
    pub(super) fn of(expected: &[Row], found: &[Row]) -> Option<Self> {
        if expected == found {
            return None;
        }
        let mut balance: BTreeMap<&Row, i64> = BTreeMap::new();
        for row in expected {
            *balance.entry(row).or_default() -= 1;
        }
        for row in found {
            *balance.entry(row).or_default() += 1;
        }
        let of = |sign: i64| {
            let rows = balance.iter().filter(|(_, count)| **count * sign > 0);
            let count = rows.clone().count();
            rows.map(|(row, _)| row.shown())
                .next()
                .map(|first| (first, count))
        };
        let (missing, extra) = (of(-1), of(1));
        let moved = missing.is_none() && extra.is_none();
        Some(Self {
            missing,
            extra,
            moved,
        })
    }

    pub(super) fn shown(&self) -> String {
        let mut parts = Vec::new();
        let some = |count: usize| match count {
            1 => "1 record".to_owned(),
            count => format!("{count} records"),
        };
        if let Some((first, count)) = &self.missing {
            parts.push(format!("{} missing, first {first}", some(*count)));
        }
        if let Some((first, count)) = &self.extra {
            parts.push(format!("{} too many, first {first}", some(*count)));
        }
        if self.moved {
            parts.push("the same records in another order".to_owned());
        }
        parts.join("; ")
    }
}

/// The sample records of the settings, or some that are made up.
fn samples(settings: &KindSettings) -> Vec<Row> {
    if settings.records.is_empty() {
        return (0..17).map(made_up).collect();
    }
    let all = settings.records.iter().flat_map(|(stream, payloads)| {
        let stream: Arc<str> = stream.as_str().into();
        payloads.iter().map(move |payload| Row {
            stream: Arc::clone(&stream),
            key: key(payload, &settings.key),
            headers: Vec::new(),
            payload: payload.to_string().into_bytes(),
            delete: false,
        })
    });
    all.collect()
}

fn key(payload: &Value, field: &str) -> Vec<u8> {
    match payload.get(field) {
        Some(Value::String(text)) => text.clone().into_bytes(),
        Some(Value::Null) | None => Vec::new(),
        Some(other) => other.to_string().into_bytes(),
    }
}

fn made_up(at: usize) -> Row {
    const NAMES: [&str; 5] = ["Stuhl", "Cup", "Größe", "椅子", "a \"b\"\n\u{1F600}"];
    let id = format!("k{at:02}");
    let name = NAMES.get(at % NAMES.len()).copied().unwrap_or_default();
    let payload = json!({
        "id": id, "name": name, "price": 9.90, "stock": at, "active": at.is_multiple_of(2),
        "tags": ["a", "b"], "nested": { "color": null },
    });
    Row {
        stream: STREAM.into(),
        key: id.into_bytes(),
        headers: Vec::new(),
        payload: payload.to_string().into_bytes(),
        delete: false,
    }
}

/// Rows in batches of this many, each of one stream.
pub(super) fn packed(rows: &[Row], size: usize) -> Vec<Batch> {
    let mut batches = Vec::new();
    for run in rows.chunk_by(|a, b| a.stream == b.stream) {
        for chunk in run.chunks(size.max(1)) {
            let stream = chunk.first().map(|row| Arc::clone(&row.stream));
            let mut builder = Builder::new(stream.unwrap_or_else(|| STREAM.into()), Form::Json);
            for row in chunk {
                builder.push(row.record());
            }
            batches.push(builder.build());
        }
    }
    batches
}

pub(super) fn batches(settings: &KindSettings, size: usize) -> Vec<Batch> {
    packed(&samples(settings), size)
}

/// Other records that the same plugin takes: keys and payloads that do not belong together. For what has to be
/// discarded.
pub(super) fn others(batches: &[Batch]) -> Vec<Batch> {
    let rows: Vec<Row> = batches.iter().flat_map(rows).collect();
    let mixed: Vec<Row> = rows
        .iter()
        .enumerate()
        .map(|(at, row)| {
            let same = rows.iter().filter(|other| other.stream == row.stream);
            let same: Vec<&Row> = same.collect();
            let other = same
                .get((at + 1) % same.len().max(1))
                .copied()
                .unwrap_or(row);
            Row {
                payload: other.payload.clone(),
                ..row.clone()
            }
        })
        .collect();
    packed(&mixed, 3)
}

/// An odd record: what it is, and a batch of it alone.
pub(super) struct Odd {
    pub(super) what: &'static str,
    pub(super) row: Row,
    pub(super) form: Form,
}

impl Odd {
    pub(super) fn batch(&self) -> Batch {
        let mut builder = Builder::new(Arc::clone(&self.row.stream), self.form);
        builder.push(self.row.record());
        builder.build()
    }
}

/// Every odd record, in the stream of the samples and with their fields where that is possible.
pub(super) fn odd_ones(settings: &KindSettings) -> Vec<Odd> {
    let first = samples(settings).into_iter().next();
    let model = first.unwrap_or_else(|| made_up(0));
    let text = |text: String| -> Vec<u8> {
        // The sample with every text replaced, so that plugins that look for fields find odd ones in them.
        let mut value: Value = serde_json::from_slice(&model.payload).unwrap_or(Value::Null);
        replace_texts(&mut value, &text);
        if value.is_object() {
            value.to_string().into_bytes()
        } else {
            json!({ "id": "odd", "name": text })
                .to_string()
                .into_bytes()
        }
    };
    let deep = "[".repeat(100) + &"]".repeat(100);
    let odd = |what, payload: Vec<u8>| Odd {
        what,
        row: Row {
            key: b"odd".to_vec(),
            payload,
            ..model.clone()
        },
        form: Form::Json,
    };
    let broken = |what, payload: &[u8]| odd(what, payload.to_vec());
    let bytes = |what, payload: Vec<u8>| Odd {
        form: Form::Bytes,
        ..odd(what, payload)
    };
    let mut all = vec![
        odd(
            "unicode",
            text("ünï 日本 \u{1F680}\u{202E}\u{0301}\u{FEFF}".to_owned()),
        ),
        odd(
            "control characters in texts",
            text("a\u{0}b\r\n\t\u{1b}\"\\".to_owned()),
        ),
        odd("empty texts", text(String::new())),
        odd("a huge payload", text("x".repeat(HUGE))),
        odd("an empty object", b"{}".to_vec()),
        odd("a list", b"[1,2]".to_vec()),
        odd("a number", b"-0.5e-7".to_vec()),
        odd("null", b"null".to_vec()),
        odd(
            "a number with many digits",
            br#"{"id":123456789012345678901234567890.1234567890}"#.to_vec(),
        ),
        odd(
            "a field that is there twice",
            br#"{"id":"a","id":"b"}"#.to_vec(),
        ),
        odd("spaces around", b" \n{ \"id\" : \"a\" }\t".to_vec()),
        odd(
            "deep nesting",
            format!("{{\"id\":\"a\",\"deep\":{deep}}}").into_bytes(),
        ),
        // Not what its form says: somebody upstream has lied.
        broken("an empty payload", b""),
        broken("JSON that breaks off", br#"{"id":"#),
        broken("bytes that are no UTF-8", b"{\"id\":\"\xff\xfe\"}"),
        bytes("binary data", (0..=255).collect()),
        bytes("no bytes", Vec::new()),
    ];
    for (what, key) in [
        ("no key", Vec::new()),
        (
            "a long key with odd characters",
            "a/../ü %2F\n".repeat(50).into_bytes(),
        ),
    ] {
        let mut one = odd(what, model.payload.clone());
        one.row.key = key;
        all.push(one);
    }
    let mut delete = odd("a delete", model.payload.clone());
    delete.row.delete = true;
    all.push(delete);
    let mut headers = odd("headers", model.payload.clone());
    headers.row.headers = br#"{"trace":"1","\u00fc":""}"#.to_vec();
    all.push(headers);
    all
}

fn replace_texts(value: &mut Value, with: &str) {
    match value {
        Value::String(text) => with.clone_into(text),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|field| replace_texts(field, with)),
        _ => {}
    }
}
