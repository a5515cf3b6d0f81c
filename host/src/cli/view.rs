//! What commands show, as `app` gives it.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Serialize;

use crate::storage::StreamCounts;

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Progress {
    pub(super) phase: Phase,
    pub(super) stages: Vec<StageProgress>,
    pub(super) epoch: u64,
    pub(super) in_flight_batches: usize,
    pub(super) in_flight_bytes: usize,
    pub(super) seconds: f64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Phase {
    #[default]
    Opening,
    Running,
    Waiting,
    Draining,
    Done,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct StageProgress {
    pub(super) name: String,
    pub(super) plugin: String,
    pub(super) records_in: u64,
    pub(super) records_out: u64,
    pub(super) rejected: u64,
    pub(super) batches: u64,
    pub(super) bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "reason")]
pub(super) enum Outcome {
    Finished,
    Stopped,
    Failed(String),
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Delivery {
    pub(super) label: String,
    pub(super) reasons: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct RunSummary {
    pub(super) flow: String,
    pub(super) run: String,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
    pub(super) streams: BTreeMap<String, StreamCounts>,
    pub(super) filtered: BTreeMap<String, BTreeMap<String, u64>>,
    pub(super) dead_letters: u64,
    pub(super) records: u64,
    pub(super) seconds: f64,
    pub(super) records_per_second: f64,
    pub(super) delivery: Delivery,
    pub(super) state_dir: PathBuf,
    pub(super) epochs: u64,
    pub(super) resumed: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mapped {
    pub(super) outputs: Vec<MappedRecord>,
    pub(super) fault: Option<crate::engine::fault::Fault>,
    pub(super) filtered: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct MappedRecord {
    pub(super) stream: String,
    pub(super) key: String,
    pub(super) payload: Vec<u8>,
    pub(super) delete: bool,
}
