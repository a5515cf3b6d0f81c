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
//!
//! `world` is what there is, `protocol` what the stages do with it; here is when they may do it, and what must hold.

mod protocol;
mod world;

use protocol::{Broken, Protocol, switched};
use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};
use world::{Action, Checkpoint, Entry, RECORDS, ROOM, Stage, Step, Swap, Target, WRONG, World};

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
