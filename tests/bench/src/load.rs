//! How long plugins take to be there, and what they take.

use std::{fs, path::PathBuf, time::Instant};

use crossdock::plugin::{Runtime, RuntimeOptions};
use serde_json::{Value, json};

use crate::{Failure, Places, cpu, nanos, transform::opener, transform::runtime};

/// Loads a plugin again and again, each time from the compile cache.
pub(crate) async fn load(places: &Places, plugin: &str, times: usize) -> Result<Value, Failure> {
    let path = places.plugin(plugin);
    let runtime = runtime(places)?;
    // Compiled and in the page cache from here on.
    drop(runtime.load(&path).await?);
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        let started = Instant::now();
        let loaded = runtime.load(&path).await?;
        took.push(nanos(started.elapsed()));
        if !loaded.from_cache() {
            return Err(format!("{plugin} was compiled again").into());
        }
    }
    Ok(json!({ "nanos": median(took), "bytes": fs::metadata(&path)?.len() }))
}

/// Opens an instance and lets it go, again and again: what recycling and a batch in a fresh sandbox cost.
pub(crate) async fn open(
    places: &Places,
    plugin: &str,
    config: Value,
    times: usize,
) -> Result<Value, Failure> {
    let plugin = runtime(places)?.load(&places.plugin(plugin)).await?;
    let opener = opener(&plugin, config)?;
    drop(opener.open(None).await?);
    let mut took = Vec::with_capacity(times);
    let mut ended = Vec::with_capacity(times);
    for _ in 0..times {
        let started = cpu();
        let instance = opener.open(None).await?;
        let opened = cpu();
        drop(instance);
        took.push(opened - started);
        ended.push(cpu() - opened);
    }
    Ok(json!({ "nanos": median(took), "drop_nanos": median(ended) }))
}

/// Resident memory of instances that are open and wait.
pub(crate) async fn idle(
    places: &Places,
    plugin: &str,
    config: Value,
    instances: u32,
) -> Result<Value, Failure> {
    let runtime = Runtime::new(&RuntimeOptions {
        cache_dir: Some(places.cache.clone()),
        max_instances: instances + 1,
        ..RuntimeOptions::default()
    })?;
    let plugin = runtime.load(&places.plugin(plugin)).await?;
    let opener = opener(&plugin, config)?;
    // The first one pays for the code's pages.
    let first = opener.open(None).await?;
    let mut open = Vec::with_capacity(instances as usize);
    let before = resident()?;
    for _ in 0..instances {
        open.push(opener.open(None).await?);
    }
    let taken = resident()?.saturating_sub(before);
    drop(first);
    Ok(json!({ "bytes": taken / u64::from(instances), "instances": open.len() }))
}

/// Loads many plugins, each another component, and opens an instance of each.
pub(crate) async fn many(
    places: &Places,
    plugins: &[PathBuf],
    config: Value,
) -> Result<Value, Failure> {
    let runtime = Runtime::new(&RuntimeOptions {
        cache_dir: Some(places.cache.clone()),
        max_instances: u32::try_from(plugins.len())? + 1,
        ..RuntimeOptions::default()
    })?;
    let mut component_bytes = 0;
    for path in plugins {
        component_bytes += fs::metadata(path)?.len();
    }
    let before = resident()?;
    let started = Instant::now();
    let mut open = Vec::with_capacity(plugins.len());
    for path in plugins {
        let plugin = runtime.load(path).await?;
        let instance = opener(&plugin, config.clone())?.open(None).await?;
        open.push((plugin, instance));
    }
    let nanos = nanos(started.elapsed());
    let bytes = resident()?.saturating_sub(before);
    Ok(json!({
        "nanos": nanos, "bytes": bytes, "component_bytes": component_bytes, "plugins": open.len(),
    }))
}

/// Bytes of this process that are in memory.
fn resident() -> Result<u64, Failure> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup")?;
    let kilobytes = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Rss:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .ok_or("the kernel tells no resident memory")?;
    Ok(kilobytes * 1024)
}

/// The value in the middle.
fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
