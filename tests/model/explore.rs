//! The protocol of a run as a model, explored exhaustively: no interleaving of barrier, crash, trap, swap and winding
//! back loses or doubles a record in an exactly-once flow.
//!
//! ```text
//!            read                 pass                settle
//!  source ─────────► lane ─────────────────► lane ───────────► sink instance ┐ snapshot (1)
//!    ▲  position   [1][2]|b|[3]   counts the          │                      ▼
//!    │             records and    records, gives      │                 target: prepared ─ commit (3) ─► visible
//!    │             barriers       its snapshot at     ▼
//!    │                            a barrier     checkpoint (2): position, count, the sink's snapshot: one write
//!    └───────────────────────── committed (4) ◄──────────────────────────────────────────── after (3)
//! ```
//!
//! What stands for which code: [`Action::Read`] and the barriers `conductor/feed.rs`; [`Action::Pass`] `Chain::pass` and
//! `Chain::barrier`; [`Action::Settle`] to [`Action::Settled`] `Settler::{settle, barrier}`; [`Action::Open`] and
//! [`Action::Recommit`] `Conductor::open` and `SinkLane::open`; [`Action::Trap`] `Keeper::instance`; [`Action::Switch`]
//! `Conductor::advance_swap`; [`Action::WindBack`], [`Action::Trust`] and [`Action::Finish`] `swapping/probation.rs`.
//!
//! The model is worth something because it finds what is wrong: [`Broken`] lists variants of the protocol with one line
//! changed, and the test fails unless each of them is found out.

use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};

/// Records that the source has.
const RECORDS: u8 = 4;
/// Entries of the lane at most.
const ROOM: usize = 3;
/// What a version makes that does not do its work.
const WRONG: u8 = 0;

/// One line of the protocol, changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Broken {
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

/// What is swapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    Source,
    Transformer,
    Sink,
}

struct Protocol {
    broken: Broken,
    swapped: Stage,
    crashes: u8,
    traps: u8,
}

/// What came out: the record, and the count that the transformer gave it.
type Out = (u8, u8);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Checkpoint {
    position: u8,
    seen: u8,
    sink: u8,
    finished: bool,
    settled: bool,
}

/// What a reader of the target sees, and what is durable behind it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Target {
    visible: Vec<Out>,
    prepared: Vec<Out>,
}

impl Target {
    fn len(&self) -> u8 {
        u8::try_from(self.visible.len() + self.prepared.len()).unwrap()
    }

    fn discard_behind(&mut self, snapshot: u8) {
        let keep = usize::from(snapshot).saturating_sub(self.visible.len());
        self.prepared.truncate(keep);
    }

    fn commit(&mut self, snapshot: u8) {
        let count = usize::from(snapshot).saturating_sub(self.visible.len());
        let count = count.min(self.prepared.len());
        self.visible.extend(self.prepared.drain(..count));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Entry {
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
    fn has_passed(self) -> bool {
        match self {
            Self::Record { out, .. } => out.is_some(),
            Self::Barrier { seen, .. } => seen.is_some(),
        }
    }
}

/// How far the barrier at the sink is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Arrived,
    Prepared,
    Written,
    Visible,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct AtSink {
    step: Step,
    checkpoint: Checkpoint,
    switch: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Swap {
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
struct Run {
    /// The sinks have not committed the checkpoint again that the run was opened from.
    opening: bool,
    position: u8,
    dirty: bool,
    lane: Vec<Entry>,
    /// The transformer's instance, and what its keeper holds.
    seen: u8,
    seen_at_snapshot: u8,
    passed_since: Vec<u8>,
    /// What the sink's instance was given and has not prepared, and what its keeper holds.
    written: Vec<Out>,
    sink_snapshot: u8,
    written_since: Vec<Out>,
    at_sink: Option<AtSink>,
    /// To tell the source before its next read.
    acknowledge: Option<u8>,
    /// Whether the new version is in place.
    new: bool,
    /// The new version has made something wrong: it rejects too much. That is seen when it is judged.
    suspect: bool,
    /// An instance of the new version has died, and the trial has heard it.
    heard: bool,
    holding: bool,
    closed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    checkpoint: Checkpoint,
    target: Target,
    /// The source has forgotten the records up to here.
    forgotten: u8,
    run: Option<Run>,
    swap: Swap,
    crashes: u8,
    traps: u8,
    over: bool,
    /// A version on probation was committed although the trial had heard its failure.
    trusted_blindly: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
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

impl Protocol {
    fn opened(&self, world: &mut World) -> Run {
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
    fn is_new(&self, run: &Run, stage: Stage) -> bool {
        run.new && self.swapped == stage
    }

    fn push_barrier(&self, run: &mut Run, world_forgotten: &mut u8, switch: bool, last: bool) {
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

    fn pass(&self, world: &mut World, right: bool) {
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

    fn settle(&self, run: &mut Run, right: bool) {
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
    fn barrier_step(&self, world: &mut World) {
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
    fn traps(run: &Run, has_room: bool, actions: &mut Vec<Action>) {
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

    fn trap(&self, world: &mut World, stage: Stage, in_prepare: bool) {
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
fn switched(swap: Swap, run: &mut Run) {
    if let Swap::Switching { takes } = swap {
        run.new = takes;
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            checkpoint: Checkpoint::default(),
            target: Target::default(),
            forgotten: 0,
            run: None,
            swap: Swap::NotYet,
            crashes: self.crashes,
            traps: self.traps,
            over: false,
            trusted_blindly: false,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.over {
            return;
        }
        let Some(run) = &world.run else {
            return actions.push(Action::Open);
        };
        if world.crashes > 0 {
            actions.push(Action::Crash);
        }
        if run.opening {
            return actions.push(Action::Recommit);
        }
        let both = |actions: &mut Vec<Action>, stage, make: fn(bool) -> Action| {
            actions.push(make(true));
            // A version that is trusted does its work; a swap cannot help against one that does not.
            if self.is_new(run, stage) && world.swap != Swap::Done {
                actions.push(make(false));
            }
        };
        let has_room = run.lane.len() < ROOM && !run.closed;
        if has_room && run.position < RECORDS {
            both(actions, Stage::Source, Action::Read);
        }
        if has_room && run.dirty {
            actions.push(Action::Barrier);
        }
        if has_room && world.swap == Swap::NotYet {
            actions.extend([Action::Switch(true), Action::Switch(false)]);
        }
        match run.lane.iter().find(|e| !e.has_passed()) {
            Some(Entry::Record { .. }) => both(actions, Stage::Transformer, Action::Pass),
            Some(Entry::Barrier { .. }) => actions.push(Action::Pass(true)),
            None => {}
        }
        match (&run.at_sink, run.lane.first()) {
            (Some(at), _) => actions.push(match at.step {
                Step::Arrived => Action::Prepare,
                Step::Prepared => Action::WriteCheckpoint,
                Step::Written => Action::Commit,
                Step::Visible => Action::Settled,
            }),
            (None, Some(first)) if first.has_passed() => match first {
                Entry::Record { .. } => both(actions, Stage::Sink, Action::Settle),
                Entry::Barrier { .. } => actions.push(Action::Settle(true)),
            },
            (None, _) => {}
        }
        if world.traps > 0 {
            Self::traps(run, has_room, actions);
        }
        let is_drained = run.lane.is_empty() && run.at_sink.is_none();
        let failed = run.heard || run.suspect;
        let is_finishing = run.closed && run.at_sink.is_some();
        if world.swap == Swap::Probation {
            if !failed && !run.closed {
                actions.push(Action::Trust);
            }
            if !is_finishing {
                actions.push(Action::WindBack);
            }
        }
        let may_finish = match world.swap {
            Swap::Switching { .. } => self.broken == Broken::EndsDuringTheSwitch,
            Swap::Probation => is_drained && !failed,
            _ => true,
        };
        if run.position == RECORDS && !run.closed && may_finish {
            actions.push(Action::Finish);
        }
        if run.closed && is_drained && !failed {
            actions.push(Action::End);
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Open => {
                world.run = Some(self.opened(&mut world));
                return Some(world);
            }
            Action::Crash => {
                world.crashes -= 1;
                world.run = None;
                if matches!(world.swap, Swap::Switching { .. } | Swap::Probation) {
                    world.swap = Swap::RolledBack;
                }
                return Some(world);
            }
            Action::Pass(right) => {
                self.pass(&mut world, right);
                return Some(world);
            }
            Action::Prepare | Action::WriteCheckpoint | Action::Commit | Action::Settled => {
                self.barrier_step(&mut world);
                return Some(world);
            }
            Action::Trap(stage) => {
                self.trap(&mut world, stage, false);
                return Some(world);
            }
            Action::TrapInPrepare => {
                self.trap(&mut world, Stage::Sink, true);
                return Some(world);
            }
            Action::WindBack => {
                let position = world.run.as_ref().map(|run| run.position);
                let mut run = self.opened(&mut world);
                if self.broken == Broken::WindsBackWithoutTheSource {
                    run.position = position.unwrap_or_default();
                }
                world.run = Some(run);
                world.swap = Swap::RolledBack;
                return Some(world);
            }
            _ => {}
        }
        let World {
            run,
            swap,
            forgotten,
            target,
            checkpoint,
            over,
            ..
        } = &mut world;
        let run = run.as_mut()?;
        match action {
            Action::Recommit => {
                if self.broken != Broken::NeverCommitsAgain {
                    target.commit(checkpoint.sink);
                }
                run.opening = false;
                if checkpoint.finished {
                    checkpoint.settled = true;
                    *over = true;
                }
            }
            Action::Read(right) => {
                if let Some(position) = run.acknowledge.take() {
                    *forgotten = position.max(*forgotten);
                }
                run.position += 1;
                run.dirty = true;
                run.suspect |= !right;
                let record = if right { run.position } else { WRONG };
                run.lane.push(Entry::Record { record, out: None });
            }
            Action::Barrier => self.push_barrier(run, forgotten, false, false),
            Action::Switch(takes) => {
                *swap = Swap::Switching { takes };
                self.push_barrier(run, forgotten, true, false);
                // A source is switched as soon as the barrier has set out.
                if self.swapped == Stage::Source {
                    switched(*swap, run);
                }
            }
            Action::Settle(right) => self.settle(run, right),
            Action::Trust => {
                run.holding = false;
                *swap = Swap::Done;
            }
            Action::Finish => {
                run.holding = false;
                self.push_barrier(run, forgotten, false, true);
                run.closed = true;
            }
            Action::End => *over = true,
            _ => return None,
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "nothing is lost, doubled, out of order or wrong",
                |_, w: &World| (1..).zip(&w.target.visible).all(|(n, out)| *out == (n, n)),
            ),
            Property::always(
                "the source can give what the checkpoint does not cover",
                |_, w: &World| w.forgotten <= w.checkpoint.position,
            ),
            Property::always(
                "what a failed version did is not committed",
                |_, w: &World| !w.trusted_blindly,
            ),
            Property::always(
                "a checkpoint is one cut through all stages",
                |_, w: &World| {
                    let at = w.checkpoint;
                    at.seen == at.position && at.sink == at.position
                },
            ),
            Property::always("a run that is over has given everything", |_, w: &World| {
                !w.over || w.target.visible.len() == usize::from(RECORDS)
            }),
            Property::always("a run can always go on", |model: &Self, w: &World| {
                let mut actions = Vec::new();
                model.actions(w, &mut actions);
                w.over || !actions.is_empty()
            }),
            Property::sometimes("a swap is done", |_, w: &World| {
                w.over && w.swap == Swap::Done
            }),
            Property::sometimes("a swap is undone", |_, w: &World| {
                w.over && w.swap == Swap::RolledBack
            }),
            Property::sometimes("a swap is refused", |_, w: &World| {
                w.over && w.swap == Swap::Refused
            }),
            Property::sometimes(
                "a failure is heard in the last barrier",
                |model: &Self, w: &World| {
                    // A source is not asked any more by then.
                    let run = w.run.as_ref();
                    model.swapped == Stage::Source
                        || run.is_some_and(|r| r.closed && r.heard && w.swap == Swap::Probation)
                },
            ),
        ]
    }
}

const STAGES: [Stage; 3] = [Stage::Source, Stage::Transformer, Stage::Sink];

#[test]
#[allow(clippy::print_stdout, reason = "how much was explored")]
fn no_interleaving_loses_or_doubles_a_record() {
    for swapped in STAGES {
        let protocol = Protocol {
            broken: Broken::Nothing,
            swapped,
            crashes: 2,
            traps: 2,
        };
        let checker = protocol.checker().threads(2).spawn_bfs().join();
        println!(
            "{swapped:?} swapped: {} states, {} deep",
            checker.unique_state_count(),
            checker.max_depth()
        );
        checker.assert_properties();
        assert!(checker.unique_state_count() > 10_000, "{swapped:?}");
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "how each was found out")]
fn every_broken_protocol_is_found_out() {
    for broken in [
        Broken::CommitsBeforeCheckpoint,
        Broken::AcknowledgesAtTheBarrier,
        Broken::KeepsWhatIsBehind,
        Broken::NeverCommitsAgain,
        Broken::SnapshotsTooEarly,
        Broken::ForgetsToReplay,
        Broken::CommitsInTheProbation,
        Broken::CommitsAtTheEndWhateverWasHeard,
        Broken::EndsDuringTheSwitch,
        Broken::WindsBackWithoutTheSource,
    ] {
        let found = STAGES.into_iter().find_map(|swapped| {
            let protocol = Protocol {
                broken,
                swapped,
                crashes: 1,
                traps: 1,
            };
            let failures = HasDiscoveries::AnyFailures;
            let checker = protocol.checker().finish_when(failures).spawn_bfs().join();
            let mut found = checker.discoveries().into_iter().filter(|(name, _)| {
                checker.model().property(name).expectation == Expectation::Always
            });
            found
                .next()
                .map(|(name, path)| (swapped, name, path.into_actions()))
        });
        let (swapped, name, actions) = found.unwrap_or_else(|| panic!("{broken:?} goes unnoticed"));
        println!("{broken:?}, {swapped:?} swapped: not `{name}`: {actions:?}");
    }
}
