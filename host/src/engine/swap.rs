//! Another version takes over a stage while records flow (DESIGN §7): what is asked, and what is told.
//!
//! A swap happens at a barrier. Everything before the barrier is processed by the old version and committed with it;
//! the new one is opened from the old one's snapshot and processes everything behind it:
//!
//! - a stateless transformer is opened ahead, and the barrier's number is the boundary: nothing waits for anything;
//! - a stateful transformer, a source and a sink are opened from the snapshot at the barrier; only that stage waits.
//!
//! During the probation that follows, barriers are *held*: stages give snapshots, but nothing is committed and nothing
//! is acknowledged. So a new version that traps, lies or rejects too much leaves no trace: the run is wound back to the
//! checkpoint of the switch, opens the old version, and its output is that of a run that never tried. A source that
//! cannot give its records again cannot be wound back; there the old version takes over from where the new one is.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    dead_letter::now_ms,
    fault::Fault,
    shadow::ShadowReport,
    stage::{Identity, Opener, Sink, Source, Transformer},
    trial::Trial,
};

/// What makes instances of the new version.
#[derive(Clone)]
pub enum Candidate {
    /// For a source.
    Source(Arc<dyn Opener<dyn Source>>),
    /// For a transformer.
    Transformer(Arc<dyn Opener<dyn Transformer>>),
    /// For a sink.
    Sink(Arc<dyn Opener<dyn Sink>>),
}

impl Candidate {
    /// What is behind it.
    pub fn identity(&self) -> &Identity {
        match self {
            Self::Source(opener) => opener.identity(),
            Self::Transformer(opener) => opener.identity(),
            Self::Sink(opener) => opener.identity(),
        }
    }
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Candidate").field(self.identity()).finish()
    }
}

/// A comparison before the switch.
#[derive(Clone)]
pub struct ShadowPlan {
    /// Opens the candidate with its effects cut off.
    pub opener: Arc<dyn Opener<dyn Transformer>>,
    /// It ends after this many records.
    pub records: u64,
    /// Or after this long, when fewer come.
    pub time: Duration,
    /// A candidate whose output differs in more than this share of the records is not switched to; `None` shows only.
    pub max_difference: Option<f64>,
}

/// How a new version proves itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probation {
    /// For how long. Nothing is committed meanwhile. Zero: the swap is done with the switch.
    pub time: Duration,
    /// The share of records that it may reject beyond the share that the old version rejected, 0 to 1.
    pub max_fault_share: f64,
}

impl Default for Probation {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(30),
            max_fault_share: 0.01,
        }
    }
}

/// What a run is asked.
pub struct SwapRequest {
    /// The stage.
    pub stage: Arc<str>,
    /// Its new version.
    pub candidate: Candidate,
    /// Compare first.
    pub shadow: Option<ShadowPlan>,
    /// How the new version proves itself.
    pub probation: Probation,
    /// The longest that opening the new version may take.
    pub open_time: Duration,
    /// Whether the flow's source can give its records again. If not, nothing is held and nothing is wound back.
    pub rewindable: bool,
    /// Cancelled: go back to the old version, or stay on it.
    pub cancel: CancellationToken,
    /// Told how it goes. The run drops it when the swap is over, or when the run ends before the switch: then the state
    /// is not final, and it is the caller's choice whether the next run begins with the new version.
    pub status: watch::Sender<SwapStatus>,
}

/// How far a swap is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SwapState {
    /// The new version is compiled, checked and opened.
    #[default]
    Prepare,
    /// It gets copies of batches, and its output is compared.
    Shadow,
    /// The barrier is on its way.
    Switch,
    /// It processes the flow, and nothing is committed yet.
    Probation,
    /// It has taken over.
    Done,
    /// It had taken over, and the old version is back.
    RolledBack,
    /// It never took over.
    Refused,
}

impl SwapState {
    /// Whether nothing more happens.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::RolledBack | Self::Refused)
    }

    /// The name shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Shadow => "shadow",
            Self::Switch => "switch",
            Self::Probation => "probation",
            Self::Done => "done",
            Self::RolledBack => "rolled-back",
            Self::Refused => "refused",
        }
    }
}

/// One step of a swap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SwapStep {
    /// The state that began.
    pub state: SwapState,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Records that the run had read by then.
    pub records: u64,
}

/// How a swap goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct SwapStatus {
    /// How far it is.
    pub state: SwapState,
    /// Why it ended so, or what it waits for.
    pub reason: Option<String>,
    /// The states so far.
    pub steps: Vec<SwapStep>,
    /// How long the stage could not work because of the switch, in microseconds.
    pub pause_us: Option<u64>,
    /// What the comparison found.
    pub shadow: Option<ShadowReport>,
    /// Records that the new version has processed in its probation.
    pub probation_records: u64,
    /// Records of them that it rejected.
    pub probation_rejected: u64,
}

impl SwapStatus {
    /// Goes on to a state.
    pub fn enter(&mut self, state: SwapState, records: u64, reason: Option<String>) {
        self.state = state;
        self.reason = reason;
        self.steps.push(SwapStep {
            state,
            at_ms: now_ms(),
            records,
        });
    }
}

/// A switch on its way with a barrier. The stage that it is for carries it out and leaves here what came of it.
#[derive(Debug)]
pub struct Switch {
    /// The stage.
    pub stage: Arc<str>,
    /// Its new version.
    pub candidate: Candidate,
    /// The longest that opening it may take.
    pub open_time: Duration,
    /// Whether later barriers are held until the probation is over.
    pub hold: bool,
    /// What is heard of its faults: a version that has failed commits nothing.
    pub trial: Arc<Trial>,
    outcome: Mutex<Option<Result<Duration, Fault>>>,
}

impl Switch {
    /// A switch that is about to set out.
    pub fn new(
        stage: Arc<str>,
        candidate: Candidate,
        open_time: Duration,
        hold: bool,
        trial: Arc<Trial>,
    ) -> Arc<Self> {
        Arc::new(Self {
            stage,
            candidate,
            open_time,
            hold,
            trial,
            outcome: Mutex::new(None),
        })
    }

    /// The stage says what came of it: how long it had to wait, or why the old version goes on.
    pub fn report(&self, outcome: Result<Duration, Fault>) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }

    /// What came of it, when the barrier has reached the stage.
    pub fn outcome(&self) -> Option<Result<Duration, Fault>> {
        self.outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether the old version goes on.
    pub fn is_refused(&self) -> bool {
        matches!(self.outcome(), Some(Err(_)))
    }
}

/// Opens a new version in bounded time: a version that cannot be opened is refused, however it fails.
pub async fn open_in_time<S: ?Sized + Send>(
    opener: &Arc<dyn Opener<S>>,
    snapshot: Option<&[u8]>,
    longest: Duration,
) -> Result<Box<S>, Fault> {
    match tokio::time::timeout(longest, opener.open(snapshot)).await {
        Ok(opened) => opened,
        Err(_) => Err(Fault::new(
            super::fault::FaultKind::Time,
            format!("`open` took longer than {longest:?}"),
        )),
    }
}
