//! A realistic JSON transform: native, in a sandbox, and in Extism.

use serde_json::{Value, json};

use super::{
    Bench, extism,
    table::{Aim, Quantity, Row, median, ratio},
    worker::{Worker, number},
};
use crate::say;

/// Who does it, as the workers call them; the first two are what the component is compared with.
const VALUE: &str = "value";
const NATIVE: &str = "native";
pub(super) const COMPONENT: &str = "component";

/// Whole processes can be off by a tenth or two, so there are several.
struct Counts {
    processes: usize,
    rounds: usize,
    batches: usize,
}

fn counts(bench: &Bench) -> Counts {
    if bench.quick {
        Counts {
            processes: 1,
            rounds: 2,
            batches: 1,
        }
    } else {
        Counts {
            processes: 5,
            rounds: 9,
            batches: 20,
        }
    }
}

/// Both sizes.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>, String> {
    let extism = if bench.quick {
        None
    } else {
        match extism::build() {
            Ok(built) => Some(built),
            Err(why) => {
                say(&format!("Extism is left out: {why}"));
                None
            }
        }
    };
    let mut rows = Vec::new();
    for bytes in [200, 2000] {
        let by = [VALUE, NATIVE, COMPONENT];
        let (candidates, actual) = measure(bench, &by, extism.as_ref(), bytes)?;
        rows.extend(compare(&candidates, actual));
    }
    Ok(rows)
}

/// Nanoseconds per record of one candidate, round by round.
pub(super) struct Candidate {
    pub(super) by: &'static str,
    extism: bool,
    pub(super) nanos: Vec<f64>,
}

/// Lets the candidates transform in turns. They are compared with each other only, so all of them have to give the same.
/// Tells the size of a record.
pub(super) fn measure(
    bench: &Bench,
    by: &[&'static str],
    extism: Option<&extism::Built>,
    bytes: usize,
) -> Result<(Vec<Candidate>, f64), String> {
    let counts = counts(bench);
    let theirs = extism.into_iter().flat_map(|_| extism::BY);
    let mut candidates: Vec<Candidate> = by
        .iter()
        .map(|by| (*by, false))
        .chain(theirs.map(|by| (by, true)))
        .map(|(by, extism)| Candidate {
            by,
            extism,
            nanos: Vec::new(),
        })
        .collect();
    let mut actual = 0.0;
    for _ in 0..counts.processes {
        let mut ours = Worker::start(bench)?;
        let mut theirs = extism.map(extism::Built::start).transpose()?;
        let mut ask = |candidate: &Candidate, request: &Value| match &mut theirs {
            Some(worker) if candidate.extism => worker.ask(request),
            _ => ours.ask(request),
        };
        actual = same(&candidates, bytes, &mut ask)?;
        for round in 0..counts.rounds {
            // Another one is first in every round.
            let first = round % candidates.len();
            candidates.rotate_left(first);
            for candidate in &mut candidates {
                let request = json!({
                    "case": "transform", "by": candidate.by, "bytes": bytes, "batches": counts.batches,
                });
                let answer = ask(candidate, &request)?;
                let records = number(&answer, "records")?;
                candidate.nanos.push(number(&answer, "nanos")? / records);
            }
            candidates.rotate_right(first);
        }
    }
    Ok((candidates, actual))
}

/// The results of one of them; none when it was left out.
pub(super) fn nanos<'a>(candidates: &'a [Candidate], by: &str) -> Option<&'a [f64]> {
    let found = candidates.iter().find(|candidate| candidate.by == by);
    found.map(|candidate| candidate.nanos.as_slice())
}

/// All candidates give the same records. Tells the size of one.
fn same(
    candidates: &[Candidate],
    bytes: usize,
    ask: &mut impl FnMut(&Candidate, &Value) -> Result<Value, String>,
) -> Result<f64, String> {
    let mut first: Option<Value> = None;
    let mut size = 0.0;
    for candidate in candidates {
        let request = json!({ "case": "transform-output", "by": candidate.by, "bytes": bytes });
        let answer = ask(candidate, &request)?;
        let output = &answer["output"];
        let records = output.as_array().map_or(0, Vec::len);
        size = match &first {
            None => {
                number(&answer, "bytes")? / f64::from(u32::try_from(records).unwrap_or(u32::MAX))
            }
            Some(other) if other == output => size,
            Some(_) => return Err(format!("`{}` gives other records", candidate.by)),
        };
        first.get_or_insert_with(|| output.clone());
    }
    Ok(size)
}

fn compare(candidates: &[Candidate], bytes: f64) -> Vec<Row> {
    let component = nanos(candidates, COMPONENT).unwrap_or_default();
    let row = |by: &str, name: &str, aim: Option<f64>, note: &str| {
        let other = nanos(candidates, by)?;
        Some(Row {
            group: "transform",
            what: format!("component, records of {bytes:.0} B"),
            measured: Quantity::Nanos(median(component.iter().copied())),
            beside: Some((
                name.to_owned(),
                Quantity::Nanos(median(other.iter().copied())),
            )),
            ratio: Some(ratio(component, other)),
            aim: aim.map(Aim::Ratio),
            note: note.to_owned(),
        })
    };
    let [author, lazy] = extism::BY;
    [
        row(VALUE, "native serde_json::Value", Some(0.3), ""),
        row(NATIVE, "the same code natively", Some(1.6), ""),
        row(author, "Extism, serde_json::Value", Some(0.2), ""),
        row(lazy, "Extism, the SDK's lazy JSON", None, ""),
    ]
    .into_iter()
    .flatten()
    .collect()
}
