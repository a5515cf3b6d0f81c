//! What the stages do with the world, each line of it as in the engine, or as in one of the broken variants.

use crate::world::{
    Action, AtSink, Checkpoint, Entry, RECORDS, Run, Stage, Step, Swap, WRONG, World,
};

/// One line of the protocol, changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Broken {
    Nothing,
    /// The sink commits before the checkpoint is written.
    CommitsBeforeCheckpoint,
    /// The source may forget when the barrier sets out.
    AcknowledgesAtTheBarrier,
    /// A sink that is opened keeps what it wrote behind its snapshot.
    KeepsWhatIsBehind,
    /// What a crash left uncommitted is not committed.
    NeverCommitsAgain,
    /// The transformer's snapshot is taken when the barrier sets out, not when it arrives.
    SnapshotsTooEarly,
    /// An instance that trapped is opened again, and does not get what came since its snapshot.
    ForgetsToReplay,
    /// Barriers commit during a probation.
    CommitsInTheProbation,
    /// The last barrier of a run does not look at what the trial has heard.
    CommitsAtTheEndWhateverWasHeard,
    /// The run may end while a switch is on its way.
    EndsDuringTheSwitch,
    /// Winding back opens the old version and reads on from where the source is.
    WindsBackWithoutTheSource,
}

pub(crate) struct Protocol {
    pub(crate) broken: Broken,
    pub(crate) swapped: Stage,
    pub(crate) crashes: u8,
    pub(crate) traps: u8,
}

impl Protocol {
    pub(crate) fn opened(&self, world: &mut World) -> Run {
        let from = world.checkpoint;
        if self.broken != Broken::KeepsWhatIsBehind {
            world.target.discard_behind(from.sink);
        }
        Run {
            opening: !from.settled && from != Checkpoint::default(),
            position: from.position,
            dirty: false,
            lane: Vec::new(),
            seen: from.seen,
            seen_at_snapshot: from.seen,
            passed_since: Vec::new(),
            written: Vec::new(),
            sink_snapshot: from.sink,
            written_since: Vec::new(),
            at_sink: None,
            acknowledge: None,
            new: false,
            suspect: false,
            heard: false,
            holding: false,
            closed: false,
        }
    }

    /// Whether the new version does the work of a stage, so that it may do it wrong.
    pub(crate) fn is_new(&self, run: &Run, stage: Stage) -> bool {
        run.new && self.swapped == stage
    }

    pub(crate) fn push_barrier(
        &self,
        run: &mut Run,
        world_forgotten: &mut u8,
        switch: bool,
        last: bool,
    ) {
        let seen = (self.broken == Broken::SnapshotsTooEarly).then_some(run.seen);
        run.lane.push(Entry::Barrier {
            position: run.position,
            seen,
            switch,
            last,
        });
        run.dirty = false;
        if self.broken == Broken::AcknowledgesAtTheBarrier {
            *world_forgotten = run.position;
        }
    }

    pub(crate) fn pass(&self, world: &mut World, right: bool) {
        let Some(run) = &mut world.run else { return };
        let new = self.is_new(run, Stage::Transformer);
        let Some(entry) = run.lane.iter_mut().find(|e| !e.has_passed()) else {
            return;
        };
        match entry {
            Entry::Record { record, out } => {
                run.seen += 1;
                run.passed_since.push(*record);
                let good = right || !new;
                *out = Some(if good {
                    (*record, run.seen)
                } else {
                    (WRONG, WRONG)
                });
                run.suspect |= !good;
            }
            Entry::Barrier { seen, switch, .. } => {
                *seen = Some(run.seen);
                run.seen_at_snapshot = run.seen;
                run.passed_since.clear();
                if *switch && self.swapped == Stage::Transformer {
                    switched(world.swap, run);
                }
            }
        }
    }

    pub(crate) fn settle(&self, run: &mut Run, right: bool) {
        let new = self.is_new(run, Stage::Sink);
        match run.lane.remove(0) {
            Entry::Record { out, .. } => {
                let good = right || !new;
                let out = out.filter(|_| good).unwrap_or((WRONG, WRONG));
                run.suspect |= !good;
                run.written.push(out);
                run.written_since.push(out);
            }
            Entry::Barrier {
                position,
                seen,
                switch,
                last,
            } => {
                run.at_sink = Some(AtSink {
                    step: Step::Arrived,
                    checkpoint: Checkpoint {
                        position,
                        seen: seen.unwrap_or_default(),
                        sink: 0,
                        finished: last,
                        settled: false,
                    },
                    switch,
                });
            }
        }
    }

    /// What one barrier does at the sink, one step after the other.
    pub(crate) fn barrier_step(&self, world: &mut World) {
        let Some(run) = &mut world.run else { return };
        let Some(at) = &mut run.at_sink else { return };
        match at.step {
            Step::Arrived => {
                world.target.prepared.append(&mut run.written);
                run.written_since.clear();
                run.sink_snapshot = world.target.len();
                at.checkpoint.sink = run.sink_snapshot;
                let heard = run.heard && self.broken != Broken::CommitsAtTheEndWhateverWasHeard;
                let held = run.holding && self.broken != Broken::CommitsInTheProbation;
                let heard = heard && world.swap == Swap::Probation;
                if held || heard {
                    run.at_sink = None;
                } else {
                    at.step = Step::Prepared;
                    if self.broken == Broken::CommitsBeforeCheckpoint {
                        world.target.commit(at.checkpoint.sink);
                    }
                }
            }
            Step::Prepared => {
                world.trusted_blindly |= run.heard && world.swap == Swap::Probation;
                world.checkpoint = at.checkpoint;
                at.step = Step::Written;
            }
            Step::Written => {
                world.target.commit(at.checkpoint.sink);
                at.step = Step::Visible;
                if at.switch && self.swapped == Stage::Sink {
                    switched(world.swap, run);
                }
            }
            Step::Visible => {
                run.acknowledge = Some(at.checkpoint.position);
                if at.checkpoint.finished {
                    world.checkpoint.settled = true;
                    world.over = true;
                    if world.swap == Swap::Probation {
                        world.swap = Swap::Done;
                    }
                }
                if at.switch {
                    run.holding = run.new;
                    world.swap = if run.new {
                        Swap::Probation
                    } else {
                        Swap::Refused
                    };
                }
                run.at_sink = None;
            }
        }
    }

    /// A trap happens in a call.
    pub(crate) fn traps(run: &Run, has_room: bool, actions: &mut Vec<Action>) {
        if has_room && run.position < RECORDS {
            actions.push(Action::Trap(Stage::Source));
        }
        if run.lane.iter().any(|e| !e.has_passed()) {
            actions.push(Action::Trap(Stage::Transformer));
        }
        match (&run.at_sink, run.lane.first()) {
            (Some(at), _) if at.step == Step::Arrived => actions.push(Action::TrapInPrepare),
            (None, Some(first)) if first.has_passed() => {
                actions.push(Action::Trap(Stage::Sink));
            }
            _ => {}
        }
    }

    pub(crate) fn trap(&self, world: &mut World, stage: Stage, in_prepare: bool) {
        world.traps -= 1;
        let Some(run) = &mut world.run else { return };
        run.heard |= self.is_new(run, stage);
        match stage {
            // It is opened again behind the last record that it gave.
            Stage::Source => return,
            Stage::Transformer => {
                run.seen = run.seen_at_snapshot;
                if self.broken != Broken::ForgetsToReplay {
                    run.seen += u8::try_from(run.passed_since.len()).unwrap();
                }
                return;
            }
            Stage::Sink => {}
        }
        if in_prepare {
            world.target.prepared.append(&mut run.written);
        }
        if self.broken != Broken::KeepsWhatIsBehind {
            world.target.discard_behind(run.sink_snapshot);
        }
        run.written = if self.broken == Broken::ForgetsToReplay {
            Vec::new()
        } else {
            run.written_since.clone()
        };
    }
}

/// The stage carries the switch out.
pub(crate) fn switched(swap: Swap, run: &mut Run) {
    if let Swap::Switching { takes } = swap {
        run.new = takes;
    }
}
