//! The main job with catalogues of three sizes: memory must not grow with the catalogue.

use std::fs;

use serde_json::Value;

use super::{
    Bench,
    process::{Taken, measure},
    table::{Aim, Quantity, Row, median},
};
use crate::demo;

/// Buffers are full from the second size on, so the third must not take more.
const MORE: f64 = 1.2;

/// The results of one size.
struct Size {
    products: u32,
    taken: Vec<Taken>,
}

/// Time and memory per size.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>, String> {
    let sizes: &[(u32, usize)] = if bench.quick {
        &[(20, 1)]
    } else {
        &[(100, 5), (10_000, 3), (100_000, 1)]
    };
    let mut results = Vec::new();
    for (products, rounds) in sizes {
        let taken: Result<Vec<Taken>, String> =
            (0..*rounds).map(|_| once(bench, *products)).collect();
        results.push(Size {
            products: *products,
            taken: taken?,
        });
    }
    let before = std::iter::once(None).chain(results.iter().map(Some));
    let both = results.iter().zip(before);
    Ok(both
        .flat_map(|(size, before)| compare(size, before))
        .collect())
}

fn once(bench: &Bench, products: u32) -> Result<Taken, String> {
    let folder = bench.folder.join("demo");
    // Each run is the first one.
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let (standin, ready) = demo::serve(&bench.built, "--products", products.to_string().as_ref())?;
    let files = folder.join("files");
    let mut command = demo::command(&bench.built, &ready, &files, &folder.join("state"))?;
    command.env("XDG_CACHE_HOME", bench.folder.join("home"));
    let taken = measure(&mut command)?;
    drop(standin);
    let summary: Value = serde_json::from_slice(&taken.output).map_err(|e| e.to_string())?;
    for (stream, wanted) in [("concretes", "concretes"), ("abstracts", "abstracts")] {
        let written = &summary["streams"][stream]["written"];
        let expected = &ready["expected"][wanted];
        if written != expected {
            return Err(format!(
                "{written} {stream} were written, {expected} expected"
            ));
        }
    }
    Ok(taken)
}

fn compare(size: &Size, before: Option<&Size>) -> [Row; 2] {
    let memory = |size: &Size| median(size.taken.iter().map(|taken| as_float(taken.memory)));
    let time = |size: &Size| {
        median(
            size.taken
                .iter()
                .map(|taken| taken.time.as_secs_f64() * 1e9),
        )
    };
    let cpu = median(size.taken.iter().map(|taken| taken.cpu.as_secs_f64()));
    let each = |size: &Size| time(size) / f64::from(size.products);
    // The first size measures starting, not moving.
    let aim = before.filter(|before| before.products > 1000);
    let name = |size: &Size| format!("with {}", size.products);
    [
        Row {
            group: "demo",
            what: format!("{} products, peak memory", size.products),
            measured: Quantity::Bytes(memory(size)),
            beside: before.map(|before| (name(before), Quantity::Bytes(memory(before)))),
            ratio: before.map(|before| memory(size) / memory(before)),
            aim: aim.map(|_| Aim::Ratio(MORE)),
            note: String::new(),
        },
        Row {
            group: "demo",
            what: format!("{} products, time for each", size.products),
            measured: Quantity::Nanos(each(size)),
            beside: before.map(|before| (name(before), Quantity::Nanos(each(before)))),
            ratio: before.map(|before| each(size) / each(before)),
            aim: aim.map(|_| Aim::Ratio(MORE)),
            note: format!(
                "{:.1} s in all, {cpu:.1} s of processor time; the rest is the stand-in",
                time(size) / 1e9
            ),
        },
    ]
}

#[allow(clippy::cast_precision_loss, reason = "sizes of memory")]
fn as_float(bytes: u64) -> f64 {
    bytes as f64
}
