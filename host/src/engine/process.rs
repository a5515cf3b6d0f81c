//! What a run keeps when it is wound back.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use super::{
    overlay::Overlay,
    run::{Control, Pipeline, Settings},
    swapping::WoundBack,
};
use crate::storage::Journal;

/// What stays the same when a run is wound back and opened again.
pub struct Process {
    /// The stages. Swaps change them.
    pub pipeline: Pipeline,
    pub(super) settings: Settings,
    /// Where checkpoints go.
    pub journal: Arc<dyn Journal>,
    pub(super) overlay: Arc<Overlay>,
    pub(super) control: Control,
    pub(super) started: Instant,
    /// Records read, without those that were undone.
    pub(super) records: u64,
    /// Dead letters made, without those that were undone.
    pub(super) letters: u64,
    /// Older dead letters that checkpoints have dropped.
    pub(super) expired: Arc<AtomicU64>,
    /// Dead letters and records of earlier processes of the run.
    pub(super) before: Option<(u64, u64)>,
    /// Whether the first opening was from a checkpoint.
    pub(super) resumed: Option<bool>,
    /// What the meters said at the checkpoint that the run was wound back to, by stage.
    pub(super) readings: BTreeMap<String, [u64; 5]>,
    /// A swap that was undone; told when the old version is in place again.
    pub(super) wound_back: Option<WoundBack>,
}

impl Process {
    /// Before the first opening.
    pub fn new(
        pipeline: Pipeline,
        settings: Settings,
        journal: Arc<dyn Journal>,
        overlay: Arc<Overlay>,
        control: Control,
    ) -> Self {
        Self {
            pipeline,
            settings,
            journal,
            overlay,
            control,
            started: Instant::now(),
            records: 0,
            letters: 0,
            expired: Arc::default(),
            before: None,
            resumed: None,
            readings: BTreeMap::new(),
            wound_back: None,
        }
    }
}
