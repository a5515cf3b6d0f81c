//! Swaps under load: how long the stage pauses, and what the flow loses.

use serde_json::{Value, json};

use super::{
    Bench,
    table::{Aim, Quantity, Row, median, ratio},
    worker::{Worker, number},
};

/// The stages of the flow, and the longest pause that 99 of 100 swaps may take, in nanoseconds. Only a stateless
/// transformer has no snapshot to hand over.
const STAGES: [(&str, f64); 4] = [
    ("stateless", 5e6),
    ("stateful", 50e6),
    ("source", 50e6),
    ("sink", 50e6),
];
/// What a flow may lose in which a stage is swapped four times a second.
const DIP: f64 = 1.05;

/// Pauses from swaps as fast as they go, throughput from swaps at a pace.
struct Counts {
    rounds: usize,
    records: u64,
    fast_ms: u64,
    pace_ms: u64,
}

/// All rows.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>, String> {
    let counts = if bench.quick {
        Counts {
            rounds: 1,
            records: 20_000,
            fast_ms: 1,
            pace_ms: 20,
        }
    } else {
        Counts {
            rounds: 5,
            records: 1_000_000,
            fast_ms: 10,
            pace_ms: 250,
        }
    };
    let mut pauses = STAGES.map(|_| Vec::new());
    let mut times = STAGES.map(|_| Vec::new());
    let mut undisturbed = Vec::new();
    for _ in 0..counts.rounds {
        let mut worker = Worker::start(bench)?;
        let mut run = |stage: Option<&str>, every: u64| {
            worker.ask(&json!({
                "case": "swap", "stage": stage, "every_ms": every, "records": counts.records,
            }))
        };
        undisturbed.push(number(&run(None, counts.pace_ms)?, "nanos")?);
        for (at, (stage, _)) in STAGES.iter().enumerate() {
            times[at].push(number(&run(Some(stage), counts.pace_ms)?, "nanos")?);
            let fast = run(Some(stage), counts.fast_ms)?;
            let all = fast["pauses_us"].as_array().into_iter().flatten();
            pauses[at].extend(all.filter_map(Value::as_f64).map(|micros| micros * 1000.0));
        }
    }
    let mut rows = Vec::new();
    for ((stage, aim), pauses) in STAGES.iter().zip(&mut pauses) {
        pauses.sort_by(f64::total_cmp);
        let at = |hundredth: usize| pauses.get(pauses.len() * hundredth / 100).copied();
        let last = at(99).ok_or_else(|| format!("no {stage} was swapped"))?;
        rows.push(Row {
            group: "swap",
            what: format!("{stage}, pause, 99 of 100"),
            measured: Quantity::Nanos(last),
            beside: None,
            ratio: None,
            aim: Some(Aim::Value(*aim)),
            note: format!(
                "half of them: {:.2} ms; {} swaps",
                at(50).unwrap_or_default() / 1e6,
                pauses.len()
            ),
        });
    }
    for ((stage, _), times) in STAGES.iter().zip(&times) {
        let each = |times: &[f64]| {
            let records = f64::from(u32::try_from(counts.records).unwrap_or(u32::MAX));
            Quantity::Nanos(median(times.iter().copied()) / records)
        };
        rows.push(Row {
            group: "swap",
            what: format!("{stage}, swapped every {} ms, per record", counts.pace_ms),
            measured: each(times),
            beside: Some(("without swaps".to_owned(), each(&undisturbed))),
            ratio: Some(ratio(times, &undisturbed)),
            aim: Some(Aim::Ratio(DIP)),
            note: String::new(),
        });
    }
    Ok(rows)
}
