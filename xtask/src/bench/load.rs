//! Loading plugins, making instances, and what idle ones take.

use serde_json::json;

use super::{
    Bench,
    table::{Aim, Quantity, Row, median},
    worker::{Worker, number},
};

/// A small plugin, and the largest of the repository.
const PLUGINS: [&str; 2] = ["reshape", "mapper"];
const SMALL: &str = "reshape";

/// All rows.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>, String> {
    let (processes, times, instances) = if bench.quick {
        (1, 2, 2)
    } else {
        (5, 200, 500)
    };
    let config = json!({ "source": "erp" });
    let mut loads = PLUGINS.map(|_| Vec::new());
    let (mut sizes, mut opens, mut drops, mut idle) = ([0.0; 2], vec![], vec![], vec![]);
    for _ in 0..processes {
        let mut worker = Worker::start(bench)?;
        for (at, plugin) in PLUGINS.iter().enumerate() {
            let answer =
                worker.ask(&json!({ "case": "load", "plugin": plugin, "times": times }))?;
            loads[at].push(number(&answer, "nanos")?);
            sizes[at] = number(&answer, "bytes")?;
        }
        let request =
            json!({ "case": "open", "plugin": SMALL, "config": config, "times": times * 10 });
        let answer = worker.ask(&request)?;
        opens.push(number(&answer, "nanos")?);
        drops.push(number(&answer, "drop_nanos")?);
        let request =
            json!({ "case": "idle", "plugin": SMALL, "config": config, "instances": instances });
        idle.push(number(&worker.ask(&request)?, "bytes")?);
    }
    let row = |what: String, measured, aim, note: String| Row {
        group: "load",
        what,
        measured,
        beside: None,
        ratio: None,
        aim: Some(Aim::Value(aim)),
        note,
    };
    let mut rows = Vec::new();
    for ((plugin, nanos), bytes) in PLUGINS.iter().zip(&loads).zip(sizes) {
        rows.push(row(
            format!(
                "load {plugin} ({:.0} KiB) from the compile cache",
                bytes / 1024.0
            ),
            Quantity::Nanos(median(nanos.iter().copied())),
            1e6,
            String::new(),
        ));
    }
    rows.push(row(
        "a new instance, opened".to_owned(),
        Quantity::Nanos(median(opens)),
        30_000.0,
        format!("letting it go: {:.1} µs", median(drops) / 1000.0),
    ));
    rows.push(row(
        "an idle instance".to_owned(),
        Quantity::Bytes(median(idle)),
        20.0 * 1024.0,
        format!("{instances} open at the same time"),
    ));
    Ok(rows)
}
