//! One run of a flow: what it is given, what it tells while it runs, and how it ends.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    chain::TransformerStage,
    conductor::{Conducted, Conductor},
    dead_letter::{Keep, Threshold},
    fault::Fault,
    intake::SourceStage,
    ledger::Ledger,
    overlay::Overlay,
    process::Process,
    replay::Replay,
    retry::RetryPolicy,
    sink_lane::SinkStage,
    stage::{Budget, Identity},
    swap::{Candidate, SwapRequest},
};
use crate::storage::{Checkpoint, Journal, StorageError, StreamCounts};

/// The stages of a run, each with what opens it.
#[derive(Clone)]
pub struct Pipeline {
    /// The flow's name.
    pub flow: Arc<str>,
    /// Where records come from.
    pub source: SourceStage,
    /// What they pass, in order.
    pub transformers: Vec<TransformerStage>,
    /// Where they go.
    pub sinks: Vec<SinkStage>,
}

/// How a run is run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The size of a batch.
    pub batch: Budget,
    /// A checkpoint after this many records.
    pub checkpoint_records: u64,
    /// And after this long, when anything has happened.
    pub checkpoint_every: Duration,
    /// Batches between the source and the sinks at most.
    pub in_flight_batches: usize,
    /// Bytes between the source and the sinks at most; one batch is always let in.
    pub in_flight_bytes: usize,
    /// For transient faults.
    pub retry: RetryPolicy,
    /// When there are too many dead letters.
    pub threshold: Threshold,
    /// What is kept of older ones.
    pub keep: Keep,
    /// How long a stopped run may take to drain and checkpoint.
    pub drain: Duration,
}

impl Pipeline {
    /// Puts another version in the place of a stage.
    pub(super) fn replace(&mut self, stage: &str, candidate: &Candidate) {
        match candidate {
            Candidate::Source(opener) => self.source.opener = Arc::clone(opener),
            Candidate::Transformer(opener) => {
                for t in self.transformers.iter_mut().filter(|t| *t.name == *stage) {
                    t.opener = Arc::clone(opener);
                }
            }
            Candidate::Sink(opener) => {
                for s in self.sinks.iter_mut().filter(|s| *s.name == *stage) {
                    s.opener = Arc::clone(opener);
                }
            }
        }
    }

    /// What is in the place of a stage now; `None` when there is no such stage.
    pub fn current(&self, stage: &str) -> Option<Candidate> {
        if *self.source.name == *stage {
            return Some(Candidate::Source(Arc::clone(&self.source.opener)));
        }
        let transformer = self.transformers.iter().find(|t| *t.name == *stage);
        let sink = self.sinks.iter().find(|s| *s.name == *stage);
        transformer
            .map(|t| Candidate::Transformer(Arc::clone(&t.opener)))
            .or_else(|| sink.map(|s| Candidate::Sink(Arc::clone(&s.opener))))
    }
}

/// What a run can be asked while it runs.
pub enum Command {
    /// Put another version in the place of a stage.
    Swap(Box<SwapRequest>),
    /// Give dead letters again.
    Replay(Replay),
}

/// What a run is given from outside.
pub struct Control {
    /// Cancelled: stop reading, drain, checkpoint, end.
    pub stop: CancellationToken,
    /// `true`: read nothing, settle and checkpoint what was read, and wait.
    pub pause: watch::Receiver<bool>,
    /// What it is asked.
    pub commands: mpsc::Receiver<Command>,
    /// Told how the run goes.
    pub progress: watch::Sender<Progress>,
}

impl Control {
    /// For a run that can only be stopped and watched.
    pub fn new(stop: CancellationToken, progress: watch::Sender<Progress>) -> Self {
        Self {
            stop,
            pause: watch::channel(false).1,
            commands: mpsc::channel(1).1,
            progress,
        }
    }
}

/// How a run goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Per stage, source first.
    pub stages: Vec<StageProgress>,
    /// Checkpoints made.
    pub epoch: u64,
    /// Batches between source and sinks.
    pub in_flight_batches: usize,
    /// Their bytes.
    pub in_flight_bytes: usize,
    /// Since the start.
    pub seconds: f64,
}

/// What a run is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Opening its stages.
    #[default]
    Opening,
    /// Moving records.
    Running,
    /// Nothing to read now.
    Waiting,
    /// Asked to pause: everything read is settled and checkpointed.
    Paused,
    /// Reading has ended; what was read is on its way.
    Draining,
    /// Over.
    Done,
}

/// How one stage goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StageProgress {
    /// The stage.
    pub name: String,
    /// Its plugin.
    pub plugin: String,
    /// Records that came in (for a source: that it read).
    pub records_in: u64,
    /// Records that went out.
    pub records_out: u64,
    /// Records that failed.
    pub rejected: u64,
    /// Batches.
    pub batches: u64,
    /// Bytes that came in.
    pub bytes: u64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "reason")]
pub enum End {
    /// The source had no more records.
    Finished,
    /// It was asked to stop; the next run goes on from here.
    Stopped,
    /// Too many dead letters; everything up to here is kept.
    TooManyDeadLetters(String),
}

/// What a run did.
#[derive(Debug, Clone)]
pub struct Summary {
    /// How it ended.
    pub end: End,
    /// The run's id.
    pub run: String,
    /// Counts of this run, with those of earlier processes that it went on from.
    pub ledger: Ledger,
    /// Records read by this process.
    pub records: u64,
    /// Dead letters made by this process; more than `dead` of the counts when several sinks refuse a record.
    pub dead_letters: u64,
    /// Older dead letters that were dropped because only so many are kept.
    pub expired: u64,
    /// Checkpoints of the run.
    pub epochs: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// Whether it went on from a checkpoint.
    pub resumed: bool,
}

/// A stage cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("stage `{stage}` ({plugin} {version}): {fault}")]
pub struct StageFailure {
    /// The stage.
    pub stage: String,
    /// Its plugin.
    pub plugin: String,
    /// The plugin's version.
    pub version: String,
    /// Why.
    pub fault: Box<Fault>,
}

impl StageFailure {
    /// Names the stage of a fault.
    pub fn new(stage: &str, identity: &Identity, fault: Fault) -> Self {
        Self {
            stage: stage.to_owned(),
            plugin: identity.plugin.clone(),
            version: identity.version.clone(),
            fault: Box::new(fault),
        }
    }
}

/// Why a run failed. What was checkpointed before stays; the next run goes on from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A stage cannot go on.
    #[error(transparent)]
    Stage(#[from] StageFailure),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Records are missing from the counts: a defect of crossdock.
    #[error("the counts do not balance ({0:?}): this is a defect of crossdock, please report it")]
    Unbalanced(StreamCounts),
    /// The checkpoint belongs to another plugin.
    #[error(
        "the last checkpoint of this flow was made with {found}, and now stage `{stage}` is plugin `{planned}`; \
         start over with --from-start, or give the stage its old name and plugin"
    )]
    StageChanged {
        /// The stage.
        stage: String,
        /// What the checkpoint says.
        found: String,
        /// What the flow says.
        planned: String,
    },
    /// A stopped run did not drain in time.
    #[error(
        "the run did not drain within {0:?} after it was stopped; the next run goes on from the last checkpoint"
    )]
    DrainDeadline(Duration),
    /// A task of the engine panicked: a defect of crossdock.
    #[error("a task of the engine failed: {0}; this is a defect of crossdock, please report it")]
    Task(String),
}

/// Runs a pipeline to its end, from a checkpoint when there is one. Swaps change the pipeline while it runs.
///
/// Dropping the future aborts the run where it is; the last checkpoint stands.
pub async fn run(
    pipeline: Pipeline,
    settings: Settings,
    journal: Arc<dyn Journal>,
    overlay: Arc<Overlay>,
    checkpoint: Option<Checkpoint>,
    control: Control,
) -> Result<Summary, RunError> {
    let mut checkpoint = checkpoint;
    let mut process = Process::new(pipeline, settings, journal, overlay, control);
    loop {
        let conductor = Conductor::open(process, checkpoint).await?;
        match Box::pin(conductor.conduct()).await? {
            Conducted::Ended(summary) => return Ok(*summary),
            Conducted::WoundBack(back) => {
                process = *back;
                let flow = Arc::clone(&process.pipeline.flow);
                checkpoint = process.journal.checkpoint(&flow)?;
            }
        }
    }
}
