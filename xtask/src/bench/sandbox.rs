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

/// How the job runs, as the worker names it: all of the sandbox, only that code can be interrupted, nothing.
const SANDBOXES: [&str; 3] = ["whole", "interruption", "none"];

/// The main job, and both sizes of records.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>, String> {
    let mut rows = job(bench)?;
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

/// Processor time of the main job: limits, interruption, grants, checked requests, audit; on, off, and interruption only.
/// A small catalogue tells what starting takes (plugins are looked at, their compiled code is checked), a large one what
/// each record does.
fn job(bench: &Bench) -> Result<Vec<Row>, String> {
    let (products, rounds) = if bench.quick {
        ([20, 200], 1)
    } else {
        ([500, 20_000], 9)
    };
    let mut worker = Worker::start(bench)?;
    let small = Catalogue::serve(bench, products[0])?;
    let large = Catalogue::serve(bench, products[1])?;
    // By `SANDBOXES`: nanoseconds of a record, and of the start.
    let (mut each, mut start) = <([Vec<f64>; 3], [Vec<f64>; 3])>::default();
    let (mut records, mut written) = (0.0, [None, None]);
    // In the first round plugins are compiled.
    for round in 0..=rounds {
        for turn in 0..SANDBOXES.len() {
            let at = (round + turn) % SANDBOXES.len();
            let (few, little) = small.run(&mut worker, SANDBOXES[at], &mut written[0])?;
            let (many, much) = large.run(&mut worker, SANDBOXES[at], &mut written[1])?;
            records = many - few;
            if round > 0 {
                let of_one = (much - little) / records;
                each[at].push(of_one);
                start[at].push(little - few * of_one);
            }
        }
    }
    let note = format!(
        "limits, interruption, grants, checked requests and files, audit; {records:.0} records more than a small run"
    );
    Ok(vec![
        beside_none(
            "main job, processor time of a record",
            &each[0],
            &each[2],
            Some(PRICE),
            &note,
        ),
        beside_none(
            "of which code that can be interrupted",
            &each[1],
            &each[2],
            None,
            "",
        ),
        beside_none(
            "main job, its start",
            &start[0],
            &start[2],
            None,
            "plugins are read and their code is checked; without, they are at hand",
        ),
    ])
}

/// A row, with a ratio where the differences that it is made of are more than noise.
fn beside_none(what: &str, ours: &[f64], theirs: &[f64], aim: Option<Aim>, note: &str) -> Row {
    let sound = ours.iter().chain(theirs).all(|nanos| *nanos > 0.0);
    Row {
        group: "sandbox",
        what: what.to_owned(),
        measured: Quantity::Nanos(median(ours.iter().copied())),
        beside: Some((
            "without".to_owned(),
            Quantity::Nanos(median(theirs.iter().copied())),
        )),
        ratio: sound.then(|| ratio(ours, theirs)),
        aim,
        note: note.to_owned(),
    }
}

/// A stand-in of Akeneo with its catalogue.
struct Catalogue {
    _standin: demo::Standin,
    ready: Value,
}

impl Catalogue {
    fn serve(bench: &Bench, products: u32) -> Result<Self, String> {
        let products = products.to_string();
        let (standin, ready) = demo::serve(&bench.built, "--products", products.as_ref())?;
        Ok(Self {
            _standin: standin,
            ready,
        })
    }

    /// The records of the job, and the nanoseconds of processor time it took. What it writes is always the same.
    fn run(
        &self,
        worker: &mut Worker,
        sandbox: &str,
        written: &mut Option<Value>,
    ) -> Result<(f64, f64), String> {
        let credential = |name: &str| self.ready["credentials"][name].clone();
        let answer = worker.ask(&json!({
            "case": "job",
            "flow": workspace().join(demo::FLOW),
            "akeneo": {
                "url": self.ready["url"],
                "channel": demo::channel(&self.ready),
                "client_id": credential("client_id"),
                "secret": credential("secret"),
                "username": credential("username"),
                "password": credential("password"),
            },
            "sandbox": sandbox,
        }))?;
        if *written.get_or_insert_with(|| answer["written"].clone()) != answer["written"] {
            return Err("without its sandboxes the job writes something else".to_owned());
        }
        Ok((number(&answer, "records")?, number(&answer, "nanos")?))
    }
}
