//! `metrics`: counters and gauges of a plugin, kept per stage until somebody asks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;

use super::{
    super::{
        permission::{Denial, Denials},
        state::State,
        tape::{Given, Import},
    },
    contract::metrics,
};

/// Names per stage; more are ignored.
const MAX_NAMES: usize = 128;

/// One number of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metric {
    /// The flow.
    pub flow: String,
    /// The stage.
    pub stage: String,
    /// The plugin.
    pub plugin: String,
    /// As the plugin calls it: `[a-z0-9_]`, up to 64 bytes.
    pub name: String,
    /// The number.
    pub value: MetricValue,
}

/// A number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetricValue {
    /// Only ever grows.
    Count(u64),
    /// As it was last set.
    Gauge(f64),
}

/// The numbers of one stage, added up over its instances.
#[derive(Debug, Default)]
pub(crate) struct StageMetrics(Mutex<BTreeMap<String, MetricValue>>);

impl StageMetrics {
    fn update(&self, name: &str, first: MetricValue, change: impl FnOnce(&mut MetricValue)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = all.len() >= MAX_NAMES;
        match all.get_mut(name) {
            Some(value) => change(value),
            None if full || !usable(name) => {}
            None => {
                all.insert(name.to_owned(), first);
            }
        }
    }

    fn count(&self, name: &str, delta: u64) {
        self.update(name, MetricValue::Count(delta), |value| {
            if let MetricValue::Count(count) = value {
                *count = count.saturating_add(delta);
            }
        });
    }

    fn gauge(&self, name: &str, to: f64) {
        self.update(name, MetricValue::Gauge(to), |value| {
            if let MetricValue::Gauge(gauge) = value {
                *gauge = to;
            }
        });
    }
}

fn usable(name: &str) -> bool {
    let letters = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    letters && !name.is_empty() && name.len() <= 64
}

/// The numbers and denials of all stages of a runtime. Stages of the same name share theirs, so that a counter goes on
/// over runs.
#[derive(Debug, Default)]
pub(crate) struct Book(Mutex<BTreeMap<StageKey, Page>>);

type StageKey = (String, String, String);

#[derive(Debug, Clone, Default)]
pub(crate) struct Page {
    /// Version and `sha256:…` of the component that is in the stage, the latest when it was replaced.
    version: String,
    digest: String,
    pub(crate) metrics: Arc<StageMetrics>,
    pub(in crate::plugin) denials: Arc<Denials>,
}

impl Book {
    /// The page of one stage, for the plugin of this name, version and digest.
    pub(crate) fn page(
        &self,
        flow: &str,
        stage: &str,
        [plugin, version, digest]: [&str; 3],
    ) -> Page {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (flow.to_owned(), stage.to_owned(), plugin.to_owned());
        let page = pages.entry(key).or_default();
        version.clone_into(&mut page.version);
        digest.clone_into(&mut page.digest);
        page.clone()
    }

    /// All numbers.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list = Vec::new();
        for ((flow, stage, plugin), page) in pages.iter() {
            let all = page
                .metrics
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            list.extend(all.iter().map(|(name, &value)| Metric {
                flow: flow.clone(),
                stage: stage.clone(),
                plugin: plugin.clone(),
                name: name.clone(),
                value,
            }));
        }
        list
    }

    /// All denied attempts.
    pub(crate) fn denials(&self) -> Vec<Denial> {
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list = Vec::new();
        for ((flow, stage, plugin), page) in pages.iter() {
            list.extend(
                page.denials
                    .list()
                    .into_iter()
                    .map(|(what, name, count)| Denial {
                        flow: flow.clone(),
                        stage: stage.clone(),
                        plugin: plugin.clone(),
                        version: page.version.clone(),
                        digest: page.digest.clone(),
                        what,
                        name,
                        count,
                    }),
            );
        }
        list
    }
}

impl metrics::Host for State {
    fn count(&mut self, name: String, delta: u64) -> wasmtime::Result<()> {
        self.told(
            || Import::Count {
                name: name.clone(),
                delta,
            },
            |state| state.scope.metrics.count(&name, delta),
            |()| Given::Done,
            |_| (),
        );
        Ok(())
    }

    fn gauge(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        self.told(
            || Import::Gauge {
                name: name.clone(),
                value,
            },
            |state| state.scope.metrics.gauge(&name, value),
            |()| Given::Done,
            |_| (),
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLUGIN: [&str; 3] = ["plugin", "1.0.0", "sha256:0"];

    #[test]
    fn counters_add_gauges_replace_and_names_are_checked() {
        let book = Book::default();
        let page = book.page("flow", "stage", PLUGIN);
        page.metrics.count("rows", 2);
        book.page("flow", "stage", PLUGIN).metrics.count("rows", 3);
        page.metrics.gauge("lag", 1.0);
        page.metrics.gauge("lag", 2.5);
        page.metrics.gauge("rows", 9.0);
        page.metrics.count("Rows", 1);
        page.metrics.count("", 1);
        let values: Vec<_> = book
            .metrics()
            .into_iter()
            .map(|metric| (metric.name, metric.value))
            .collect();
        assert_eq!(
            values,
            [
                ("lag".to_owned(), MetricValue::Gauge(2.5)),
                ("rows".to_owned(), MetricValue::Count(5))
            ]
        );
        for at in 0..MAX_NAMES * 2 {
            page.metrics.count(&format!("n{at}"), 1);
        }
        assert_eq!(book.metrics().len(), MAX_NAMES);
    }
}
