//! What a transformer says against a model of it that keeps a list of records.

use proptest::prelude::*;

use super::{Kind, Outcome, Output};
use crate::batch::{Batch, Form, Op};
use crate::builder::{BatchBuilder, RecordParts};
use crate::fault::Fault;

/// What is said about one record.
#[derive(Debug, Clone)]
enum Say {
    Pass,
    Emit(&'static str, u8),
    Bytes(&'static str, u8),
    Unwritable,
    Route(&'static str),
    Filter(u8),
    Reject,
}

fn say() -> impl Strategy<Value = Say> {
    let stream = || prop::sample::select(vec!["in", "a", "b"]);
    prop_oneof![
        6 => Just(Say::Pass),
        2 => (stream(), any::<u8>()).prop_map(|(stream, number)| Say::Emit(stream, number)),
        1 => (stream(), any::<u8>()).prop_map(|(stream, number)| Say::Bytes(stream, number)),
        1 => Just(Say::Unwritable),
        1 => stream().prop_map(Say::Route),
        2 => (0u8..3).prop_map(Say::Filter),
        1 => Just(Say::Reject),
    ]
}

fn input(records: usize) -> Batch {
    let mut builder = BatchBuilder::json("in");
    for number in 0..records {
        let (key, payload) = (format!("k{number}"), format!(r#"{{"n":{number}}}"#));
        let op = if number % 3 == 0 {
            Op::Delete
        } else {
            Op::Upsert
        };
        builder.push_record(RecordParts {
            key: key.as_bytes(),
            headers: b"{}",
            payload: payload.as_bytes(),
            op,
            origin: None,
        });
    }
    builder.finish()
}

/// A record that goes on: stream, form, key, headers, payload, op, origin.
type Row = (String, Form, Vec<u8>, Vec<u8>, Vec<u8>, Op, Option<usize>);

fn row(record: crate::Record<'_>, origin: Option<usize>) -> Row {
    (
        record.stream().to_owned(),
        record.form(),
        record.key().to_vec(),
        record.headers().to_vec(),
        record.payload().to_vec(),
        record.op(),
        origin,
    )
}

/// A value that serde refuses after it has written something.
struct Broken;

impl serde::Serialize for Broken {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{Error as _, SerializeSeq as _};
        let mut list = serializer.serialize_seq(None)?;
        list.serialize_element(&1)?;
        Err(S::Error::custom("broken"))
    }
}

fn tell(output: &mut Output<'_>, say: &Say) {
    match say {
        Say::Pass => output.pass(),
        Say::Emit(stream, number) => output.emit(stream, b"k", number.to_string().as_bytes()),
        Say::Bytes(stream, number) => output.emit_bytes(stream, b"", &[*number]),
        Say::Unwritable => drop(output.emit_value("a", b"k", &Broken)),
        Say::Route(stream) => output.route(stream),
        Say::Filter(reason) => output.filter(&format!("reason {reason}")),
        Say::Reject => output.reject(Fault::permanent("no")),
    }
}

#[derive(Default)]
struct Model {
    rows: Vec<Row>,
    rejected: Vec<usize>,
    filtered: std::collections::BTreeMap<String, u32>,
}

impl Model {
    fn record(&mut self, record: crate::Record<'_>, says: &[Say]) {
        let index = record.index();
        let mut rows = Vec::new();
        let mut reason = None;
        for say in says {
            let emitted = |stream: &str, form, key: &[u8], payload: Vec<u8>| {
                (
                    stream.to_owned(),
                    form,
                    key.to_vec(),
                    Vec::new(),
                    payload,
                    Op::Upsert,
                    Some(index),
                )
            };
            match say {
                Say::Pass => rows.push(row(record, Some(index))),
                Say::Emit(stream, number) => {
                    rows.push(emitted(
                        stream,
                        Form::Json,
                        b"k",
                        number.to_string().into_bytes(),
                    ));
                }
                Say::Bytes(stream, number) => {
                    rows.push(emitted(stream, Form::Bytes, b"", vec![*number]));
                }
                Say::Unwritable => {}
                Say::Route(stream) => {
                    let mut routed = row(record, Some(index));
                    routed.0 = (*stream).to_owned();
                    rows.push(routed);
                }
                Say::Filter(number) => reason = Some(format!("reason {number}")),
                Say::Reject => {
                    self.rejected.push(index);
                    return;
                }
            }
        }
        if let (true, Some(reason)) = (rows.is_empty(), reason) {
            *self.filtered.entry(reason).or_default() += 1;
        }
        self.rows.append(&mut rows);
    }
}

fn rows(input: &Batch, kind: Kind) -> Vec<Row> {
    match kind {
        Kind::Pass => input
            .records()
            .map(|record| row(record, Some(record.index())))
            .collect(),
        Kind::Select(kept) => {
            let kept = kept.into_iter().map(|index| index as usize);
            kept.map(|index| row(input.record(index).unwrap(), Some(index)))
                .collect()
        }
        Kind::Replace(batches) => batches
            .iter()
            .flat_map(Batch::records)
            .map(|record| row(record, record.origin()))
            .collect(),
    }
}

/// In each stream the order holds; between streams there is none.
fn by_stream(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| (row.0.clone(), row.1 == Form::Bytes));
    rows
}

proptest! {
    #[test]
    fn gives_what_was_said(says in prop::collection::vec(prop::collection::vec(say(), 0..4), 0..12)) {
        let input = input(says.len());
        let mut output = Output::new(&input);
        let mut model = Model::default();
        for (record, says) in input.records().zip(&says) {
            output.begin(record);
            for say in says {
                tell(&mut output, say);
            }
            model.record(record, says);
        }
        let Outcome { kind, rejected, filtered } = output.finish();
        if let Kind::Replace(batches) = &kind {
            prop_assert!(batches.iter().all(|batch| !batch.is_empty()));
        }
        prop_assert_eq!(by_stream(rows(&input, kind)), by_stream(model.rows));
        prop_assert_eq!(rejected.iter().map(|(index, _)| *index).collect::<Vec<_>>(), model.rejected);
        prop_assert_eq!(filtered.into_iter().collect::<std::collections::BTreeMap<_, _>>(), model.filtered);
    }

    #[test]
    fn the_cheapest_answer_is_taken(drop in prop::collection::vec(any::<bool>(), 1..20)) {
        let input = input(drop.len());
        let mut output = Output::new(&input);
        for (record, drop) in input.records().zip(&drop) {
            output.begin(record);
            if *drop { output.filter("dropped") } else { output.pass() }
        }
        let kept: Vec<u32> =
            (0..).zip(&drop).filter(|(_, drop)| !**drop).map(|(index, _)| index).collect();
        match output.finish().kind {
            Kind::Pass => prop_assert!(!drop.contains(&true)),
            Kind::Select(found) => {
                prop_assert!(drop.contains(&true));
                prop_assert_eq!(found, kept);
            }
            Kind::Replace(_) => prop_assert!(false, "nothing was emitted"),
        }
    }
}

#[test]
fn reasons_beyond_the_limit_are_filtered_without_a_name() {
    let input = input(super::MAX_REASONS + 10);
    let mut output = Output::new(&input);
    for record in input.records() {
        output.begin(record);
        output.filter(&record.index().to_string());
    }
    let outcome = output.finish();
    assert_eq!(outcome.filtered.len(), super::MAX_REASONS);
    assert!(matches!(outcome.kind, Kind::Select(kept) if kept.is_empty()));
}

#[test]
fn records_in_another_order_are_selected_in_that_order() {
    let input = input(3);
    let mut output = Output::new(&input);
    for index in [2, 0, 1] {
        output.begin(input.record(index).unwrap());
        output.pass();
    }
    assert!(matches!(output.finish().kind, Kind::Select(kept) if kept == [2, 0, 1]));
}

#[test]
fn a_value_that_cannot_be_written_leaves_nothing_behind() {
    let input = input(1);
    let mut output = Output::new(&input);
    output.begin(input.record(0).unwrap());
    assert!(output.emit_value("a", b"k", &Broken).is_err());
    output.filter("broken");
    let outcome = output.finish();
    assert!(matches!(outcome.kind, Kind::Replace(batches) if batches.is_empty()));
    assert_eq!(outcome.filtered, [("broken".to_owned(), 1)]);
}
