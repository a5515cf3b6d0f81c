//! The same small transformer in every language: what a record costs, and how long it takes to be there.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use crossdock::{
    engine::{
        batch::{Batch, Builder, Form, Record},
        stage::{Output, Transformer},
    },
    plugin::{Runtime, RuntimeOptions},
};
use serde_json::{Value, json};

use crate::{
    Failure, Places, cpu, nanos, products,
    transform::{opener, runtime},
};

/// About the bytes of a record.
const BYTES: usize = 200;

/// One that is open.
pub(crate) struct Open {
    plugin: PathBuf,
    instance: Box<dyn Transformer>,
}

/// Applies so many batches of so many records. Every record has to come out.
pub(crate) async fn apply(
    kept: &mut Option<Open>,
    places: &Places,
    plugin: &Path,
    config: Value,
    (records, batches): (usize, usize),
) -> Result<Value, Failure> {
    let mut open = match kept.take() {
        Some(open) if open.plugin == plugin => open,
        _ => {
            let loaded = runtime(places)?.load(plugin).await?;
            Open {
                plugin: plugin.to_owned(),
                instance: opener(&loaded, config)?.open(None).await?,
            }
        }
    };
    let batch = batch(records);
    let started = cpu();
    for _ in 0..batches {
        let applied = open.instance.apply(&batch).await?;
        let Output::Replace(out) = applied.output else {
            return Err(format!("{} gave {:?}", plugin.display(), applied.output).into());
        };
        let given: usize = out.iter().map(Batch::len).sum();
        if given != records {
            return Err(format!("{} gave {given} of {records} records", plugin.display()).into());
        }
    }
    let spent = cpu() - started;
    let memory = open.instance.wear().memory;
    *kept = Some(open);
    Ok(json!({ "nanos": spent, "records": records * batches, "memory": memory }))
}

fn batch(records: usize) -> Batch {
    let mut builder = Builder::new("products", Form::Json);
    for number in 0..records {
        builder.push(Record {
            key: format!("SKU-{number:07}").as_bytes(),
            headers: b"",
            payload: products::product(number, BYTES).as_bytes(),
            flags: 0,
        });
    }
    builder.build()
}

/// Its size, and how long it takes to compile it, to load it again, and to open an instance.
pub(crate) async fn start(places: &Places, plugin: &Path, config: Value) -> Result<Value, Failure> {
    let uncached = Runtime::new(&RuntimeOptions {
        cache_dir: None,
        ..RuntimeOptions::default()
    })?;
    // From the file to an instance that takes records.
    let started = Instant::now();
    let loaded = uncached.load(plugin).await?;
    drop(opener(&loaded, config.clone())?.open(None).await?);
    let cold = nanos(started.elapsed());
    drop(loaded);
    drop(runtime(places)?.load(plugin).await?);
    let cached = runtime(places)?;
    let started = Instant::now();
    let loaded = cached.load(plugin).await?;
    let opener = opener(&loaded, config)?;
    drop(opener.open(None).await?);
    let warm = nanos(started.elapsed());
    let mut open = u64::MAX;
    for _ in 0..10 {
        let started = cpu();
        drop(opener.open(None).await?);
        open = open.min(cpu() - started);
    }
    Ok(json!({
        "bytes": fs::metadata(plugin)?.len(), "cold_nanos": cold, "cached_nanos": warm, "open_nanos": open,
    }))
}
