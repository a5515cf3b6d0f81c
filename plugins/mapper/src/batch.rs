//! Maps whole batches: what rules write to tables is handed to the host once, at the end.

use bumpalo::Bump;
use crossdock_sdk::prelude::*;

use crate::node::Node;
use crate::run::{self, Done, Failure, Fate, Input};
use crate::syntax::{Deletes, Mapping, Program, Unmapped};
use crate::table::{Store, Tables};

/// Maps a batch.
///
/// Entries of tables are asked for one by one, where a rule needs them, and kept for the batch. Running the rules once
/// to find out what they need, so that one call could fetch all of it, took longer than all these calls.
pub(crate) fn apply(
    mapping: &Mapping,
    batch: &Batch,
    out: &mut Output<'_>,
    store: &mut dyn Store,
) -> Result<()> {
    let bump = Bump::new();
    let program = mapping
        .streams
        .get(batch.stream())
        .or(mapping.others.as_ref());
    let mut tables = Tables::new(&mapping.tables, store, &bump);
    let globals: Vec<Option<Node<'_>>> = mapping
        .globals
        .iter()
        .map(|(_, json)| Node::parse(json, &bump).ok())
        .collect();
    for record in batch.records() {
        let maps = record.op() == Op::Upsert || mapping.deletes == Deletes::Map;
        let Some(program) = program.filter(|_| maps) else {
            out.begin(record);
            unmapped(mapping, program, record, out);
            continue;
        };
        let input = Input {
            stream: record.stream(),
            key: record.key(),
            payload: record.payload(),
        };
        let done = run::run(mapping, program, input, &globals, &tables, &bump);
        tables.check()?;
        settle(mapping, record, done, &mut tables, out);
    }
    tables.flush()
}

/// A record without rules, or one that says "delete" and is not mapped.
fn unmapped(
    mapping: &Mapping,
    program: Option<&Program>,
    record: Record<'_>,
    out: &mut Output<'_>,
) {
    match (program, mapping.deletes, mapping.unmapped) {
        (Some(_), Deletes::Drop, _) => out.filter("deletes are left out"),
        (Some(_), ..) | (None, _, Unmapped::Pass) => out.pass(),
        (None, _, Unmapped::Drop) => out.filter("no rules for this stream"),
        (None, _, Unmapped::Reject) => {
            let message = format!("the mapping has no rules for stream `{}`", record.stream());
            out.reject(Fault::permanent(message).at(mapping.file.as_ref()));
        }
    }
}

/// Gives out what came of a record.
fn settle<'a>(
    mapping: &Mapping,
    record: Record<'_>,
    done: Done<'a>,
    tables: &mut Tables<'a>,
    out: &mut Output<'_>,
) {
    out.begin(record);
    for emitted in &done.emitted {
        out.emit_with(
            emitted.stream,
            emitted.key,
            record.headers(),
            record.op(),
            |buffer| emitted.payload.write(buffer),
        );
    }
    match done.fate {
        Fate::Unchanged => out.pass(),
        Fate::Changed { stream, key, doc } => {
            out.emit_with(stream, key, record.headers(), record.op(), |buffer| {
                doc.write(buffer);
            });
        }
        Fate::Dropped(reason) => out.filter(reason),
        Fate::Exploded => {}
        Fate::Failed(failure) => out.reject(fault(mapping, record, &failure)),
    }
    tables.commit(done.puts);
}

/// `set price: ... (products, record 3, key "x")` at `maps/products.yaml:12`.
fn fault(mapping: &Mapping, record: Record<'_>, failure: &Failure<'_>) -> Fault {
    let key = String::from_utf8_lossy(record.key());
    let key = crate::diagnose::shorten(&key, 80);
    let who = match key.as_str() {
        "" => format!("{}, record {}", record.stream(), record.index()),
        key => format!(
            "{}, record {}, key `{key}`",
            record.stream(),
            record.index()
        ),
    };
    let message = match failure.label {
        "" | "raise" => format!("{} ({who})", failure.message),
        label => format!("{label}: {} ({who})", failure.message),
    };
    let location = match failure.pos.line {
        0 => mapping.file.to_string(),
        line => format!("{}:{line}", mapping.file),
    };
    Fault::permanent(message).at(location)
}
