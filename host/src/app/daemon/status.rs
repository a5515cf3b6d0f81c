//! What is told about a flow.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::swap::VersionView;
use crate::{
    app::{Delivery, Progress, RunSummary},
    flow::Finding,
    storage::{Checkpoint, StreamCounts},
};

/// What a flow is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FlowState {
    /// Its stages are opened.
    #[default]
    Starting,
    /// It moves records, or waits for some.
    Running,
    /// It is open and reads nothing; everything read is settled.
    Paused,
    /// It drains and makes its last checkpoint.
    Stopping,
    /// Nobody wants it to run.
    Stopped,
    /// Its source had no more records.
    Finished,
    /// It failed, and is started again after a while.
    Retrying,
    /// It failed in a way that trying again does not mend.
    Failed,
}

impl FlowState {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Starting,
        Self::Running,
        Self::Paused,
        Self::Stopping,
        Self::Stopped,
        Self::Finished,
        Self::Retrying,
        Self::Failed,
    ];

    /// The name shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Finished => "finished",
            Self::Retrying => "retrying",
            Self::Failed => "failed",
        }
    }

    /// Whether there is a run.
    pub fn is_live(self) -> bool {
        matches!(
            self,
            Self::Starting | Self::Running | Self::Paused | Self::Stopping
        )
    }
}

/// A stage of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct StageView {
    /// Its name.
    pub name: String,
    /// `source`, `transformer` or `sink`.
    pub kind: String,
    /// What is in its place.
    #[serde(flatten)]
    pub version: VersionView,
    /// Whether a swap has put it there, and not the flow's file.
    pub swapped: bool,
}

/// The last checkpoint of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CheckpointView {
    /// The run that made it.
    pub run: String,
    /// Counts checkpoints of that run from 1.
    pub epoch: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Whether the run had reached its end.
    pub finished: bool,
    /// Counts of that run per stream.
    pub streams: BTreeMap<String, StreamCounts>,
    /// Whether read + expanded + replayed = written + filtered + dead.
    pub balanced: bool,
}

impl From<Checkpoint> for CheckpointView {
    fn from(checkpoint: Checkpoint) -> Self {
        let mut total = StreamCounts::default();
        for counts in checkpoint.counts.values() {
            total += *counts;
        }
        Self {
            balanced: total.read + total.expanded + total.replayed
                == total.written + total.filtered + total.dead,
            run: checkpoint.run,
            epoch: checkpoint.epoch,
            at_ms: checkpoint.at_ms,
            finished: checkpoint.finished,
            streams: checkpoint.counts,
        }
    }
}

/// A flow of a daemon.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FlowStatus {
    /// Its name.
    pub flow: String,
    /// Its file.
    pub file: String,
    /// What it is doing.
    pub state: FlowState,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// Why, when there is more to say.
    pub reason: Option<String>,
    /// What is wrong with its file. With a run that goes on, the change was not taken over.
    pub findings: Vec<Finding>,
    /// What it promises, and why.
    pub delivery: Option<Delivery>,
    /// Its stages.
    pub stages: Vec<StageView>,
    /// How the run goes.
    pub progress: Option<Progress>,
    /// What the last run of this daemon did.
    pub last: Option<RunSummary>,
    /// The last checkpoint.
    pub checkpoint: Option<CheckpointView>,
    /// Dead letters of the flow that wait for somebody.
    pub dead_letters: u64,
    /// How often it was started again after a failure, since the last one that went well.
    pub restarts: u32,
    /// When it is started again, in milliseconds since 1970.
    pub retry_at_ms: Option<u64>,
    /// Runs that this daemon has started.
    pub runs: u64,
    /// The swap that is under way.
    pub swap: Option<u64>,
}
