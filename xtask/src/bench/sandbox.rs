//! The price of the sandbox: the main job, and one component, with and without what makes them safe.

use serde_json::{Value, json};

use super::{
    Bench,
    table::{Aim, Quantity, Row, median, ratio},
    transform::{self, COMPONENT, nanos},
    worker::{Worker, number},
};
use crate::{demo, workspace};

/// Without limits, accounting and interruption.
const BARE: &str = "bare";
/// The same with code that can be interrupted.
const EPOCHS: &str = "epochs";

/// What the sandbox may cost.
const PRICE: Aim = Aim::Ratio(1.1);

/// The main job, and both sizes of records.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>, String> {
    let mut rows = vec![job(bench)?];
    for bytes in [200, 2000] {
        let by = [BARE, EPOCHS, COMPONENT];
        let (candidates, actual) = transform::measure(bench, &by, None, bytes)?;
        let bare = nanos(&candidates, BARE).unwrap_or_default();
        let mut row = |by: &str, what: &str, aim| {
            let ours = nanos(&candidates, by).unwrap_or_default();
            rows.push(Row {
                group: "sandbox",
                what: format!("{what}, records of {actual:.0} B"),
                measured: Quantity::Nanos(median(ours.iter().copied())),
                beside: Some((
                    "without".to_owned(),
                    Quantity::Nanos(median(bare.iter().copied())),
                )),
                ratio: Some(ratio(ours, bare)),
                aim,
                note: String::new(),
            });
        };
        row(
            COMPONENT,
            "transform with limits and interruption",
            Some(PRICE),
        );
        row(EPOCHS, "of which code that can be interrupted", None);
    }
    Ok(rows)
}

/// Processor time of the main job: limits, interruption, grants, checked requests, audit, on and off.
fn job(bench: &Bench) -> Result<Row, String> {
    let (products, rounds) = if bench.quick { (20, 1) } else { (5000, 9) };
    let (standin, ready) = demo::serve(&bench.built, "--products", products.to_string().as_ref())?;
    let request = |guarded: bool| {
        let credential = |name: &str| ready["credentials"][name].clone();
        json!({
            "case": "job",
            "flow": workspace().join(demo::FLOW),
            "akeneo": {
                "url": ready["url"],
                "channel": demo::channel(&ready),
                "client_id": credential("client_id"),
                "secret": credential("secret"),
                "username": credential("username"),
                "password": credential("password"),
            },
            "guarded": guarded,
        })
    };
    let mut worker = Worker::start(bench)?;
    let (mut on, mut off) = (Vec::new(), Vec::new());
    let mut written: Option<Value> = None;
    let mut records = 0.0;
    // In the first round plugins are compiled.
    for round in 0..=rounds {
        for guarded in [round % 2 == 0, round % 2 == 1] {
            let answer = worker.ask(&request(guarded))?;
            if *written.get_or_insert_with(|| answer["written"].clone()) != answer["written"] {
                return Err("without its sandboxes the job writes something else".to_owned());
            }
            records = number(&answer, "records")?;
            if round > 0 {
                let nanos = number(&answer, "nanos")? / records;
                if guarded { &mut on } else { &mut off }.push(nanos);
            }
        }
    }
    drop(standin);
    Ok(Row {
        group: "sandbox",
        what: format!("main job, {records:.0} records, processor time of each"),
        measured: Quantity::Nanos(median(on.iter().copied())),
        beside: Some((
            "without".to_owned(),
            Quantity::Nanos(median(off.iter().copied())),
        )),
        ratio: Some(ratio(&on, &off)),
        aim: Some(PRICE),
        note: "limits, interruption, grants, checked requests and files, audit".to_owned(),
    })
}
