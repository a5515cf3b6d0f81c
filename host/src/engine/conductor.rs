//! The loop of a run: it reads, lets batches pass, settles them in order and makes checkpoints.
//!
//! Reading, every batch's way through the chain, and settling are tasks of their own; the conductor only says what may
//! start next. The lane between them is ordered (invariant 3) and bounded (invariant 6).

mod feed;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{
    chain::Chain,
    dead_letter::{Undertaker, now_ms},
    intake::{Brought, Intake},
    lane::{Entry, Hand, settle},
    ledger::{Ledger, Streams},
    meter::Meter,
    process::Process,
    replay::{Replay, UnderWay},
    run::{
        Command, End, Phase, Pipeline, Progress, RunError, StageFailure, StageProgress, Summary,
    },
    settle::{Settled, Settler, SettlerPlan},
    stage::Snapshot,
    swapping::{self, Swapping},
};
use crate::storage::{Checkpoint, Commit};

/// A checkpoint is made early when this many bytes wait for it (dead letters, table writes, batches kept for replay).
const WAITING_BYTES: usize = 64 << 20;
/// How often progress is given out at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// How conducting ended.
pub enum Conducted {
    /// The run is over.
    Ended(Box<Summary>),
    /// The run goes on from its last checkpoint, with the old version of a stage.
    WoundBack(Box<Process>),
}

type ReadResult = Result<Brought, StageFailure>;
type SettleResult = Result<Option<Settled>, RunError>;

/// See the module's documentation.
pub struct Conductor {
    pub(super) process: Process,
    run: Arc<str>,
    pub(super) chain: Arc<Chain>,
    pub(super) intake: Hand<Intake, ReadResult>,
    pub(super) settler: Hand<Settler, SettleResult>,
    source: (String, Undertaker),
    pub(super) meters: Vec<(String, String, Arc<Meter>)>,
    pub(super) lane: VecDeque<Entry>,
    /// Bytes in the lane and at the sinks. The chain's tasks change it when a batch grows or shrinks on its way.
    in_flight: Arc<AtomicUsize>,
    /// Entries made so far; the number of the next one.
    pub(super) entries: u64,
    /// The epoch that is being read.
    epoch: u64,
    pub(super) epochs_done: u64,
    records_in_epoch: u64,
    epoch_started: Instant,
    /// Whether anything was read since the last barrier.
    pub(super) dirty: bool,
    /// Whether a barrier is on its way; bytes that wait for it do not ask for another one.
    barrier_under_way: bool,
    pub(super) waiting_bytes: usize,
    acknowledge: Option<Snapshot>,
    idle_until: Option<tokio::time::Instant>,
    /// The source had nothing when it was asked last.
    waiting: bool,
    pub(super) ending: Option<End>,
    /// The last barrier is in the lane: nothing more is read.
    pub(super) closed: bool,
    /// The last barrier is at the sinks: what it commits cannot be undone.
    pub(super) finishing: bool,
    drain_until: Option<tokio::time::Instant>,
    /// The run had reached its end before; only the last commit was missing, and opening the sinks has made it.
    completing: Option<Checkpoint>,
    told: Option<(Instant, Phase)>,
    /// Something has happened since then.
    untold: bool,
    /// A swap that is under way.
    pub(super) swap: Option<Swapping>,
    /// The settler may commit again; it is told when it is here.
    pub(super) release: bool,
    /// Cancelled: what is settled now is left where it is.
    pub(super) halt: CancellationToken,
    /// Replays that wait for the source to be here.
    asked: VecDeque<Replay>,
    pub(super) replays: Vec<UnderWay>,
    /// Records read and dead letters made up to the last checkpoint.
    pub(super) durable: (u64, u64),
    /// Whether commands can still come.
    listening: bool,
}

impl Conductor {
    /// Opens all stages, each from the checkpoint when there is one.
    pub async fn open(
        mut process: Process,
        checkpoint: Option<Checkpoint>,
    ) -> Result<Self, RunError> {
        let resumed = *process.resumed.get_or_insert(checkpoint.is_some());
        process.resumed = Some(resumed);
        let pipeline = &process.pipeline;
        if let Some(checkpoint) = &checkpoint {
            same_plugins(pipeline, checkpoint)?;
        }
        // A run that had not reached its end goes on: same id, same counts.
        let unfinished = checkpoint.as_ref().filter(|c| !(c.finished && c.settled));
        let run: Arc<str> = unfinished.map_or_else(new_run, |c| c.run.clone()).into();
        let epochs_done = unfinished.map_or(0, |c| c.epoch);
        let ledger = unfinished.map_or_else(Ledger::default, Ledger::of);
        let settled = checkpoint.as_ref().is_none_or(|c| c.settled);
        let completing = checkpoint.clone().filter(|c| c.finished && !c.settled);
        let snapshots = checkpoint.map(|c| c.stages).unwrap_or_default();
        let source = pipeline.source.clone();
        let undertaker = Undertaker {
            flow: Arc::clone(&pipeline.flow),
            run: Arc::clone(&run),
            stage: Arc::clone(&source.name),
            identity: source.opener.identity().clone(),
        };
        let name = source.name.to_string();
        let policy = process.settings.retry;
        // Sinks first: what they finish after a crash must not wait for a source that cannot be reached.
        let plan = SettlerPlan {
            sinks: &pipeline.sinks,
            journal: Arc::clone(&process.journal),
            overlay: Arc::clone(&process.overlay),
            policy,
            threshold: process.settings.threshold,
            keep: process.settings.keep,
            expired: Arc::clone(&process.expired),
            ledger,
            before: process.before,
            letters: process.letters,
            settled,
        };
        let settler = Settler::open(plan, &snapshots, &undertaker).await?;
        process.before = Some(settler.before);
        let overlay = Arc::clone(&process.overlay);
        let transformers = &pipeline.transformers;
        let streams = Arc::<Streams>::default();
        let chain = Chain::open(
            transformers,
            &snapshots,
            &undertaker,
            &streams,
            overlay,
            policy,
        )
        .await?;
        let position = snapshots.get(&name).map(|state| state.snapshot.clone());
        let intake = Intake::open(source, streams, position, undertaker.clone(), policy).await?;
        let (label, plugin) = intake.label();
        let meters: Vec<(String, String, Arc<Meter>)> =
            std::iter::once((label, plugin, &intake.meter))
                .chain(chain.meters())
                .chain(settler.meters())
                .map(|(name, plugin, meter)| {
                    (name.to_string(), plugin.to_owned(), Arc::clone(meter))
                })
                .collect();
        for (name, _, meter) in &meters {
            if let Some(reading) = process.readings.get(name) {
                meter.wind_back(*reading);
            }
        }
        if let Some(back) = process.wound_back.take() {
            back.tell(process.records);
        }
        Ok(Self {
            run,
            chain: Arc::new(chain),
            intake: Hand::Free(intake),
            settler: Hand::Free(settler),
            source: (name, undertaker),
            meters,
            lane: VecDeque::new(),
            in_flight: Arc::default(),
            entries: 0,
            epoch: epochs_done + 1,
            epochs_done,
            records_in_epoch: 0,
            epoch_started: Instant::now(),
            dirty: false,
            barrier_under_way: false,
            waiting_bytes: 0,
            acknowledge: None,
            idle_until: None,
            waiting: false,
            ending: None,
            closed: false,
            finishing: false,
            drain_until: None,
            completing,
            told: None,
            untold: false,
            swap: None,
            release: false,
            halt: CancellationToken::new(),
            asked: VecDeque::new(),
            replays: Vec::new(),
            durable: (process.records, process.letters),
            listening: true,
            process,
        })
    }

    /// Runs to the end, or until a swap has to be undone.
    pub async fn conduct(mut self) -> Result<Conducted, RunError> {
        if let Some(checkpoint) = self.completing.take() {
            return self.complete(checkpoint).await;
        }
        let stop = self.process.control.stop.clone();
        let mut pause = self.process.control.pause.clone();
        // A run that begins paused waits: nothing happens that would be told.
        self.tell(false);
        let end = loop {
            self.notice_fault();
            if self.must_wind_back() {
                return Ok(Conducted::WoundBack(Box::new(self.wind_back().await)));
            }
            self.advance_swap();
            self.start_reading();
            self.start_settling();
            if self.closed && self.lane.is_empty() && self.settler.is_free() {
                break self.ending.take().unwrap_or(End::Finished);
            }
            let timer = self.next_timer();
            tokio::select! {
                result = self.settler.done() => self.on_settle_result(result.flatten())?,
                result = self.intake.done() => self.on_read_result(result?)?,
                () = stop.cancelled(), if self.ending.is_none() && !self.is_breached() => self.on_stop(),
                event = swapping::event(&mut self.swap) => self.on_swap_event(event),
                command = self.process.control.commands.recv(), if self.listening && !self.closed => {
                    self.on_command(command);
                }
                // An error means that nobody can change it any more.
                _ = pause.changed(), if self.can_be_paused() => {}
                () = tokio::time::sleep_until(timer.unwrap_or_else(tokio::time::Instant::now)), if timer.is_some() => {
                    self.on_timer()?;
                }
            }
            self.tell(false);
        };
        self.end(end).await
    }

    fn on_settle_result(&mut self, result: SettleResult) -> Result<(), RunError> {
        match result {
            Ok(Some(settled)) => self.on_settled(settled),
            Ok(None) => {}
            Err(error) => self.blame(error)?,
        }
        Ok(())
    }

    fn on_read_result(&mut self, result: ReadResult) -> Result<(), RunError> {
        match result {
            Ok(Brought::Records(read, writes)) => self.on_read(read, &writes),
            Ok(Brought::Switched) => self.on_source_switched(),
            Err(failure) => self.blame_source(failure)?,
        }
        Ok(())
    }

    fn on_command(&mut self, command: Option<Command>) {
        match command {
            Some(Command::Swap(request)) => self.begin_swap(*request),
            Some(Command::Replay(replay)) => self.asked.push_back(replay),
            None => self.listening = false,
        }
    }

    fn can_be_paused(&self) -> bool {
        self.process.control.pause.has_changed().is_ok()
    }

    fn is_paused(&self) -> bool {
        *self.process.control.pause.borrow()
    }

    async fn complete(mut self, mut checkpoint: Checkpoint) -> Result<Conducted, RunError> {
        checkpoint.settled = true;
        self.acknowledge = checkpoint
            .stages
            .get(&self.source.0)
            .map(|state| state.snapshot.clone());
        self.process
            .journal
            .commit(Commit {
                checkpoint: Some(checkpoint),
                ..Commit::default()
            })
            .await?;
        self.end(End::Finished).await
    }

    async fn end(mut self, end: End) -> Result<Conducted, RunError> {
        self.tell(true);
        let (Hand::Free(mut intake), Hand::Free(mut settler)) = (self.intake, self.settler) else {
            return Err(RunError::Task("a stage did not come back".into()));
        };
        if let Some(position) = self.acknowledge.take() {
            intake.acknowledge(position);
        }
        intake.close().await?;
        self.chain.close().await;
        settler.close().await;
        Ok(Conducted::Ended(Box::new(Summary {
            end,
            run: self.run.to_string(),
            records: self.process.records,
            dead_letters: settler.letters(),
            expired: self.process.expired.load(Ordering::Relaxed),
            ledger: settler.ledger,
            epochs: self.epochs_done,
            elapsed: self.process.started.elapsed(),
            resumed: self.process.resumed == Some(true),
        })))
    }

    fn start_settling(&mut self) {
        let Hand::Free(settler) = &mut self.settler else {
            return;
        };
        if std::mem::take(&mut self.release) {
            settler.release();
        }
        let Some(entry) = self.lane.pop_front() else {
            return;
        };
        self.finishing = self.closed && matches!(entry, Entry::Barrier(_));
        let halt = self.halt.clone();
        self.settler.send(move |mut settler| async move {
            let result = settle(&mut settler, entry, &halt).await;
            (settler, result)
        });
    }

    fn on_settled(&mut self, settled: Settled) {
        let exceeded = match settled {
            Settled::Batch {
                weight,
                waiting_bytes,
                exceeded,
            } => {
                self.in_flight.fetch_sub(weight, Ordering::Relaxed);
                self.waiting_bytes = waiting_bytes;
                exceeded
            }
            Settled::Held {
                waiting_bytes,
                exceeded,
            } => {
                self.waiting_bytes = waiting_bytes;
                self.barrier_under_way = self.has_barrier();
                self.on_held(waiting_bytes >= WAITING_BYTES);
                exceeded
            }
            Settled::Barrier {
                position,
                epoch,
                records,
                letters,
                exceeded,
                switch,
            } => {
                self.waiting_bytes = 0;
                self.epochs_done = epoch;
                self.durable = (records, letters);
                self.process.letters = letters;
                self.barrier_under_way = self.has_barrier();
                self.acknowledge = Some(position);
                for replay in self.replays.extract_if(.., |r| r.epoch <= epoch) {
                    replay.done(letters);
                }
                self.on_committed(switch);
                exceeded
            }
        };
        if let Some(reason) = exceeded {
            self.stop(End::TooManyDeadLetters(reason));
        }
        self.judge(false);
    }

    fn has_barrier(&self) -> bool {
        self.lane.iter().any(|e| matches!(e, Entry::Barrier(_)))
    }

    /// Ends reading; what was read is still settled and checkpointed. A version on probation is not trusted with that.
    pub(super) fn stop(&mut self, end: End) {
        let is_undone = self.undo_swap(&end);
        self.drain_until
            .get_or_insert(tokio::time::Instant::now() + self.process.settings.drain);
        if is_undone {
            return;
        }
        if self.ending.is_none() || matches!(end, End::TooManyDeadLetters(_)) {
            self.ending = Some(end);
        }
    }

    fn on_stop(&mut self) {
        self.stop(End::Stopped);
    }

    fn next_timer(&self) -> Option<tokio::time::Instant> {
        let checkpoint = (self.dirty && !self.closed)
            .then(|| {
                tokio::time::Instant::from_std(
                    self.epoch_started + self.process.settings.checkpoint_every,
                )
            })
            .filter(|_| self.intake.is_free());
        let idle = self.idle_until.filter(|_| !self.closed);
        let swap = self.swap.as_ref().and_then(Swapping::timer);
        let tell = self
            .told
            .filter(|_| self.untold)
            .map(|(at, _)| tokio::time::Instant::from_std(at + PROGRESS_EVERY));
        [checkpoint, idle, self.drain_until, swap, tell]
            .into_iter()
            .flatten()
            .min()
    }

    fn on_timer(&mut self) -> Result<(), RunError> {
        let now = tokio::time::Instant::now();
        if self.drain_until.is_some_and(|until| now >= until) {
            return Err(RunError::DrainDeadline(self.process.settings.drain));
        }
        if self.idle_until.is_some_and(|until| now >= until) {
            self.idle_until = None;
        }
        self.end_probation_if_over(now);
        Ok(())
    }

    fn tell(&mut self, over: bool) {
        let phase = match (over, &self.ending) {
            (true, _) => Phase::Done,
            (_, Some(_)) => Phase::Draining,
            _ if self.is_paused() && self.lane.is_empty() && !self.dirty => Phase::Paused,
            _ if self.waiting => Phase::Waiting,
            _ => Phase::Running,
        };
        // Another phase is told at once, and the last word is never left out (see `next_timer`).
        self.untold = !over
            && self
                .told
                .is_some_and(|(at, told)| told == phase && at.elapsed() < PROGRESS_EVERY);
        if self.untold {
            return;
        }
        self.told = Some((Instant::now(), phase));
        let load = |value: &std::sync::atomic::AtomicU64| value.load(Ordering::Relaxed);
        let stages = self
            .meters
            .iter()
            .map(|(name, plugin, meter)| StageProgress {
                name: name.clone(),
                plugin: plugin.clone(),
                records_in: load(&meter.records_in),
                records_out: load(&meter.records_out),
                rejected: load(&meter.rejected),
                batches: load(&meter.batches),
                bytes: load(&meter.bytes),
            });
        self.process.control.progress.send_replace(Progress {
            phase,
            stages: stages.collect(),
            epoch: self.epochs_done,
            in_flight_batches: self.lane.len(),
            in_flight_bytes: self.in_flight.load(Ordering::Relaxed),
            seconds: self.process.started.elapsed().as_secs_f64(),
        });
    }
}

fn new_run() -> String {
    format!("{:011x}{:04x}", now_ms(), fastrand::u16(..))
}

/// A snapshot means something only to the plugin that made it.
fn same_plugins(pipeline: &Pipeline, checkpoint: &Checkpoint) -> Result<(), RunError> {
    let source = &pipeline.source;
    let planned = std::iter::once((&source.name, source.opener.identity()))
        .chain(
            pipeline
                .transformers
                .iter()
                .map(|t| (&t.name, t.opener.identity())),
        )
        .chain(
            pipeline
                .sinks
                .iter()
                .map(|s| (&s.name, s.opener.identity())),
        );
    for (name, identity) in planned {
        let found = checkpoint.stages.get(&**name);
        let changed = match found {
            Some(state) => state.plugin != identity.plugin,
            None => *name == source.name,
        };
        if changed {
            return Err(RunError::StageChanged {
                stage: name.to_string(),
                found: found.map_or_else(
                    || {
                        format!(
                            "the stages `{}`",
                            checkpoint
                                .stages
                                .keys()
                                .cloned()
                                .collect::<Vec<_>>()
                                .join("`, `")
                        )
                    },
                    |state| format!("plugin `{}`", state.plugin),
                ),
                planned: identity.plugin.clone(),
            });
        }
    }
    Ok(())
}
