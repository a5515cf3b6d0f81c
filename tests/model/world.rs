//! What there is between two actions: the checkpoint, the target, and a process with its lane.

/// Records that the source has.
pub(crate) const RECORDS: u8 = 4;
/// Entries of the lane at most.
pub(crate) const ROOM: usize = 3;
/// What a version makes that does not do its work.
pub(crate) const WRONG: u8 = 0;

/// What is swapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    Source,
    Transformer,
    Sink,
}

/// What came out: the record, and the count that the transformer gave it.
pub(crate) type Out = (u8, u8);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Checkpoint {
    pub(crate) position: u8,
    pub(crate) seen: u8,
    pub(crate) sink: u8,
    pub(crate) finished: bool,
    pub(crate) settled: bool,
}

/// What a reader of the target sees, and what is durable behind it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Target {
    pub(crate) visible: Vec<Out>,
    pub(crate) prepared: Vec<Out>,
}

impl Target {
    pub(crate) fn len(&self) -> u8 {
        u8::try_from(self.visible.len() + self.prepared.len()).unwrap()
    }

    pub(crate) fn discard_behind(&mut self, snapshot: u8) {
        let keep = usize::from(snapshot).saturating_sub(self.visible.len());
        self.prepared.truncate(keep);
    }

    pub(crate) fn commit(&mut self, snapshot: u8) {
        let count = usize::from(snapshot).saturating_sub(self.visible.len());
        let count = count.min(self.prepared.len());
        self.visible.extend(self.prepared.drain(..count));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    Record {
        record: u8,
        out: Option<Out>,
    },
    Barrier {
        position: u8,
        seen: Option<u8>,
        switch: bool,
        last: bool,
    },
}

impl Entry {
    pub(crate) fn has_passed(self) -> bool {
        match self {
            Self::Record { out, .. } => out.is_some(),
            Self::Barrier { seen, .. } => seen.is_some(),
        }
    }
}

/// How far the barrier at the sink is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Arrived,
    Prepared,
    Written,
    Visible,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AtSink {
    pub(crate) step: Step,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) switch: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Swap {
    NotYet,
    /// The barrier is on its way. The new version will take the snapshot, or refuse it.
    Switching {
        takes: bool,
    },
    Probation,
    Done,
    RolledBack,
    Refused,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Run {
    /// The sinks have not committed the checkpoint again that the run was opened from.
    pub(crate) opening: bool,
    pub(crate) position: u8,
    pub(crate) dirty: bool,
    pub(crate) lane: Vec<Entry>,
    /// The transformer's instance, and what its keeper holds.
    pub(crate) seen: u8,
    pub(crate) seen_at_snapshot: u8,
    pub(crate) passed_since: Vec<u8>,
    /// What the sink's instance was given and has not prepared, and what its keeper holds.
    pub(crate) written: Vec<Out>,
    pub(crate) sink_snapshot: u8,
    pub(crate) written_since: Vec<Out>,
    pub(crate) at_sink: Option<AtSink>,
    /// To tell the source before its next read.
    pub(crate) acknowledge: Option<u8>,
    /// Whether the new version is in place.
    pub(crate) new: bool,
    /// The new version has made something wrong: it rejects too much. That is seen when it is judged.
    pub(crate) suspect: bool,
    /// An instance of the new version has died, and the trial has heard it.
    pub(crate) heard: bool,
    pub(crate) holding: bool,
    pub(crate) closed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) target: Target,
    /// The source has forgotten the records up to here.
    pub(crate) forgotten: u8,
    pub(crate) run: Option<Run>,
    pub(crate) swap: Swap,
    pub(crate) crashes: u8,
    pub(crate) traps: u8,
    pub(crate) over: bool,
    /// A version on probation was committed although the trial had heard its failure.
    pub(crate) trusted_blindly: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// A process opens all stages from the checkpoint; the sink discards what is behind it.
    Open,
    /// The sinks commit the checkpoint that the run was opened from.
    Recommit,
    /// The source gives a record. `false`: a new version gives a wrong one, and the trial hears it.
    Read(bool),
    Barrier,
    /// The next entry passes the transformer.
    Pass(bool),
    /// The next entry reaches the sink.
    Settle(bool),
    /// The sink makes durable what it was given.
    Prepare,
    WriteCheckpoint,
    Commit,
    /// The barrier is through.
    Settled,
    /// An instance of the transformer or of the sink traps and is brought back.
    Trap(Stage),
    /// The sink's instance traps in its snapshot, when everything is durable already, and is brought back.
    TrapInPrepare,
    /// A barrier sets out with a switch. `false`: the new version will refuse the snapshot.
    Switch(bool),
    Trust,
    WindBack,
    /// The input has ended: the last barrier sets out.
    Finish,
    /// The last barrier is through, and the process ends.
    End,
    Crash,
}
