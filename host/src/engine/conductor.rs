//! The loop of a run: it reads, lets batches pass, settles them in order and makes checkpoints.
//!
//! Reading, every batch's way through the chain, and settling are tasks of their own; the conductor only says what may
//! start next. The lane between them is ordered (invariant 3) and bounded (invariant 6).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_util::task::AbortOnDropHandle;

use super::{
    batch::Batch,
    chain::{Chain, Meter, Outcome},
    dead_letter::{Undertaker, now_ms},
    intake::Intake,
    ledger::Ledger,
    overlay::Overlay,
    run::{
        Control, End, Phase, Pipeline, Progress, RunError, Settings, StageFailure, StageProgress,
        Summary,
    },
    settle::{Barrier, Settled, Settler, SettlerPlan},
    stage::{Identity, Read, Snapshot, TableWrite, Unreadable},
};
use crate::storage::{Checkpoint, Commit, Journal, StageState};

/// A checkpoint is made early when this many bytes wait for it (dead letters, table writes, batches kept for replay).
const WAITING_BYTES: usize = 64 << 20;
/// How often progress is given out at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// A source that has nothing now is asked again after at most this long.
const LONGEST_IDLE: Duration = Duration::from_mins(1);

/// Something that is either here or away, working in a task of its own. The task gives it back.
enum Hand<T, R> {
    Free(T),
    Busy(AbortOnDropHandle<(T, R)>),
    /// Only between taking and putting back.
    Moved,
}

impl<T: Send + 'static, R: Send + 'static> Hand<T, R> {
    fn is_free(&self) -> bool {
        matches!(self, Self::Free(_))
    }

    fn send<F>(&mut self, work: impl FnOnce(T) -> F)
    where
        F: Future<Output = (T, R)> + Send + 'static,
    {
        match std::mem::replace(self, Self::Moved) {
            Self::Free(value) => {
                *self = Self::Busy(AbortOnDropHandle::new(tokio::spawn(work(value))));
            }
            other => *self = other,
        }
    }

    /// The result of the task, when there is one; otherwise never ready.
    async fn done(&mut self) -> Result<R, RunError> {
        let Self::Busy(task) = self else {
            return std::future::pending().await;
        };
        let (value, result) = task.await.map_err(|e| RunError::Task(e.to_string()))?;
        *self = Self::Free(value);
        Ok(result)
    }
}

/// An entry of the lane: an ordered buffer of what is between the source and the sinks.
enum Entry {
    Batch {
        epoch: u64,
        passing: Passing<Outcome>,
    },
    Barrier {
        epoch: u64,
        source: Box<(String, StageState)>,
        finished: bool,
        passing: Passing<States>,
    },
}

type Passing<T> = AbortOnDropHandle<Result<T, StageFailure>>;
type States = BTreeMap<String, StageState>;
type ReadResult = Result<(Read, Vec<TableWrite>), StageFailure>;

/// See the module's documentation.
pub struct Conductor {
    run: Arc<str>,
    settings: Settings,
    control: Control,
    chain: Arc<Chain>,
    overlay: Arc<Overlay>,
    intake: Hand<Intake, ReadResult>,
    settler: Hand<Settler, Result<Settled, RunError>>,
    source: (String, Undertaker),
    meters: Vec<(String, String, Arc<Meter>)>,
    lane: VecDeque<Entry>,
    /// Bytes in the lane and at the sinks. The chain's tasks change it when a batch grows or shrinks on its way.
    in_flight: Arc<AtomicUsize>,
    entries: u64,
    /// The epoch that is being read.
    epoch: u64,
    epochs_done: u64,
    records_in_epoch: u64,
    epoch_started: Instant,
    /// Whether anything was read since the last barrier.
    dirty: bool,
    /// Whether a barrier is on its way; bytes that wait for it do not ask for another one.
    barrier_under_way: bool,
    waiting_bytes: usize,
    acknowledge: Option<Snapshot>,
    idle_until: Option<tokio::time::Instant>,
    /// The source had nothing when it was asked last.
    waiting: bool,
    ending: Option<End>,
    /// The last barrier is in the lane: nothing more is read.
    closed: bool,
    drain_until: Option<tokio::time::Instant>,
    records: u64,
    resumed: bool,
    /// The run had reached its end before; only the last commit was missing, and opening the sinks has made it.
    completing: Option<Checkpoint>,
    journal: Arc<dyn Journal>,
    started: Instant,
    told: Option<Instant>,
}

impl Conductor {
    /// Opens all stages, each from the checkpoint when there is one.
    pub async fn open(
        pipeline: Pipeline,
        settings: Settings,
        journal: Arc<dyn Journal>,
        overlay: Arc<Overlay>,
        checkpoint: Option<Checkpoint>,
        control: Control,
    ) -> Result<Self, RunError> {
        let started = Instant::now();
        let resumed = checkpoint.is_some();
        if let Some(checkpoint) = &checkpoint {
            same_plugins(&pipeline, checkpoint)?;
        }
        // A run that had not reached its end goes on: same id, same counts.
        let unfinished = checkpoint.as_ref().filter(|c| !(c.finished && c.settled));
        let run: Arc<str> = unfinished.map_or_else(new_run, |c| c.run.clone()).into();
        let epochs_done = unfinished.map_or(0, |c| c.epoch);
        let ledger = unfinished.map_or_else(Ledger::default, Ledger::of);
        let settled = checkpoint.as_ref().is_none_or(|c| c.settled);
        let completing = checkpoint.clone().filter(|c| c.finished && !c.settled);
        let snapshots = checkpoint.map(|c| c.stages).unwrap_or_default();
        let undertaker = |stage: &Arc<str>, identity: &Identity| Undertaker {
            flow: Arc::clone(&pipeline.flow),
            run: Arc::clone(&run),
            stage: Arc::clone(stage),
            identity: identity.clone(),
        };
        let source = pipeline.source;
        let source_undertaker = undertaker(&source.name, source.opener.identity());
        let name = source.name.to_string();
        // Sinks first: what they finish after a crash must not wait for a source that cannot be reached.
        let plan = SettlerPlan {
            sinks: pipeline.sinks,
            journal: Arc::clone(&journal),
            overlay: Arc::clone(&overlay),
            policy: settings.retry,
            threshold: settings.threshold,
            ledger,
            settled,
        };
        let settler = Settler::open(plan, &snapshots, &source_undertaker).await?;
        let chain = Chain::open(
            pipeline.transformers,
            &snapshots,
            &source_undertaker,
            Arc::clone(&overlay),
            settings.retry,
        )
        .await?;
        let position = snapshots.get(&name).map(|state| state.snapshot.clone());
        let intake =
            Intake::open(source, position, source_undertaker.clone(), settings.retry).await?;
        let (label, plugin) = intake.label();
        let meters = std::iter::once((label, plugin, &intake.meter))
            .chain(chain.meters())
            .chain(settler.meters())
            .map(|(name, plugin, meter)| (name.to_string(), plugin.to_owned(), Arc::clone(meter)))
            .collect();
        Ok(Self {
            run,
            settings,
            control,
            chain: Arc::new(chain),
            overlay,
            intake: Hand::Free(intake),
            settler: Hand::Free(settler),
            source: (name, source_undertaker),
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
            drain_until: None,
            records: 0,
            resumed,
            completing,
            journal,
            started,
            told: None,
        })
    }

    /// Runs to the end.
    pub async fn conduct(mut self) -> Result<Summary, RunError> {
        if let Some(checkpoint) = self.completing.take() {
            return self.complete(checkpoint).await;
        }
        let stop = self.control.stop.clone();
        let end = loop {
            self.start_reading();
            self.start_settling();
            if self.closed && self.lane.is_empty() && self.settler.is_free() {
                break self.ending.take().unwrap_or(End::Finished);
            }
            let timer = self.next_timer();
            tokio::select! {
                result = self.settler.done() => self.on_settled(result??),
                result = self.intake.done() => self.on_read(result??),
                () = stop.cancelled(), if self.ending.is_none() => self.stop(End::Stopped),
                () = tokio::time::sleep_until(timer.unwrap_or_else(tokio::time::Instant::now)), if timer.is_some() => {
                    self.on_timer()?;
                }
            }
            self.tell(false);
        };
        self.end(end).await
    }

    async fn complete(mut self, mut checkpoint: Checkpoint) -> Result<Summary, RunError> {
        checkpoint.settled = true;
        self.acknowledge = checkpoint
            .stages
            .get(&self.source.0)
            .map(|state| state.snapshot.clone());
        self.journal
            .commit(Commit {
                checkpoint: Some(checkpoint),
                ..Commit::default()
            })
            .await?;
        self.end(End::Finished).await
    }

    async fn end(mut self, end: End) -> Result<Summary, RunError> {
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
        Ok(Summary {
            end,
            run: self.run.to_string(),
            records: self.records,
            dead_letters: settler.letters(),
            ledger: settler.ledger,
            epochs: self.epochs_done,
            elapsed: self.started.elapsed(),
            resumed: self.resumed,
        })
    }

    fn start_settling(&mut self) {
        if !self.settler.is_free() {
            return;
        }
        let Some(entry) = self.lane.pop_front() else {
            return;
        };
        self.settler.send(move |mut settler| async move {
            let result = settle(&mut settler, entry).await;
            (settler, result)
        });
    }

    fn start_reading(&mut self) {
        if self.closed || !self.intake.is_free() {
            return;
        }
        if let Hand::Free(intake) = &mut self.intake
            && let Some(position) = self.acknowledge.take()
        {
            intake.acknowledge(position);
        }
        match &self.ending {
            Some(End::Finished) => {
                self.push_finish();
                self.push_barrier(true);
                self.closed = true;
            }
            Some(_) => {
                if self.dirty {
                    self.push_barrier(false);
                }
                self.closed = true;
            }
            None if self.barrier_is_due() => {
                self.push_barrier(false);
                self.start_reading();
            }
            None if self.idle_until.is_none() && self.has_room() => {
                let budget = self.settings.batch;
                self.intake.send(move |intake| intake.read(budget));
            }
            None => {}
        }
    }

    // Invariant 6.
    fn has_room(&self) -> bool {
        let batches = self.lane.len() + usize::from(!self.settler.is_free());
        batches == 0
            || (batches < self.settings.in_flight_batches
                && self.in_flight.load(Ordering::Relaxed) < self.settings.in_flight_bytes)
    }

    fn barrier_is_due(&self) -> bool {
        self.dirty
            && (self.records_in_epoch >= self.settings.checkpoint_records
                || self.epoch_started.elapsed() >= self.settings.checkpoint_every
                || (self.waiting_bytes >= WAITING_BYTES && !self.barrier_under_way))
    }

    fn push_barrier(&mut self, finished: bool) {
        let Hand::Free(intake) = &self.intake else {
            return;
        };
        let source = Box::new((self.source.0.clone(), intake.state()));
        let (chain, entry) = (Arc::clone(&self.chain), self.entries);
        let passing =
            AbortOnDropHandle::new(tokio::spawn(async move { chain.barrier(entry).await }));
        self.lane.push_back(Entry::Barrier {
            epoch: self.epoch,
            source,
            finished,
            passing,
        });
        self.entries += 1;
        self.epoch += 1;
        self.records_in_epoch = 0;
        self.epoch_started = Instant::now();
        self.dirty = false;
        self.barrier_under_way = true;
    }

    fn push_finish(&mut self) {
        let (chain, entry, epoch) = (Arc::clone(&self.chain), self.entries, self.epoch);
        let in_flight = Arc::clone(&self.in_flight);
        let passing = AbortOnDropHandle::new(tokio::spawn(async move {
            let outcome = chain.finish(entry, epoch).await?;
            in_flight.fetch_add(outcome.weight(), Ordering::Relaxed);
            Ok(outcome)
        }));
        self.entries += 1;
        self.lane.push_back(Entry::Batch { epoch, passing });
    }

    fn on_read(&mut self, read: (Read, Vec<TableWrite>)) {
        let (read, writes) = read;
        self.overlay.add(self.epoch, &writes);
        self.waiting = matches!(read, Read::Idle(_));
        let (records, unreadable) = match read {
            Read::Page {
                records,
                unreadable,
            } => (records, unreadable),
            Read::Idle(wait) => {
                self.idle_until = Some(
                    tokio::time::Instant::now()
                        + wait.clamp(Duration::from_millis(1), LONGEST_IDLE),
                );
                let name: Arc<str> = "idle".into();
                (Batch::empty(name, super::batch::Form::Json), Vec::new())
            }
            Read::End => {
                self.ending.get_or_insert(End::Finished);
                (Batch::empty("end", super::batch::Form::Json), Vec::new())
            }
        };
        if !records.is_empty() || !unreadable.is_empty() || !writes.is_empty() {
            self.push_batch(records, &unreadable, writes);
        }
    }

    fn push_batch(&mut self, records: Batch, unreadable: &[Unreadable], writes: Vec<TableWrite>) {
        let mut ledger = Ledger::default();
        let read = (records.len() + unreadable.len()) as u64;
        if read > 0 {
            let counts = ledger.stream(records.stream());
            counts.read = read;
            counts.dead = unreadable.len() as u64;
        }
        let dead = unreadable
            .iter()
            .map(|u| self.source.1.unreadable(records.stream(), u))
            .collect();
        let own = Outcome {
            batches: Vec::new(),
            ledger,
            dead,
            writes,
        };
        self.records_in_epoch += read;
        self.records += read;
        self.dirty = true;
        let weight = records.weight();
        self.in_flight.fetch_add(weight, Ordering::Relaxed);
        let (chain, entry, epoch) = (Arc::clone(&self.chain), self.entries, self.epoch);
        let in_flight = Arc::clone(&self.in_flight);
        let passing = AbortOnDropHandle::new(tokio::spawn(async move {
            let outcome = chain.pass(entry, epoch, records).await?.behind(own);
            in_flight.fetch_add(outcome.weight(), Ordering::Relaxed);
            in_flight.fetch_sub(weight, Ordering::Relaxed);
            Ok(outcome)
        }));
        self.entries += 1;
        self.lane.push_back(Entry::Batch { epoch, passing });
    }

    fn on_settled(&mut self, settled: Settled) {
        match settled {
            Settled::Batch {
                weight,
                waiting_bytes,
                exceeded,
            } => {
                self.in_flight.fetch_sub(weight, Ordering::Relaxed);
                self.waiting_bytes = waiting_bytes;
                if let Some(reason) = exceeded {
                    self.stop(End::TooManyDeadLetters(reason));
                }
            }
            Settled::Barrier {
                position,
                epoch,
                exceeded,
            } => {
                self.waiting_bytes = 0;
                self.epochs_done = epoch;
                self.barrier_under_way =
                    self.lane.iter().any(|e| matches!(e, Entry::Barrier { .. }));
                self.acknowledge = Some(position);
                if let Some(reason) = exceeded {
                    self.stop(End::TooManyDeadLetters(reason));
                }
            }
        }
    }

    /// Ends reading; what was read is still settled and checkpointed.
    fn stop(&mut self, end: End) {
        if self.ending.is_none() || matches!(end, End::TooManyDeadLetters(_)) {
            self.ending = Some(end);
        }
        self.drain_until
            .get_or_insert(tokio::time::Instant::now() + self.settings.drain);
    }

    fn next_timer(&self) -> Option<tokio::time::Instant> {
        let checkpoint = (self.dirty && !self.closed)
            .then(|| {
                tokio::time::Instant::from_std(self.epoch_started + self.settings.checkpoint_every)
            })
            .filter(|_| self.intake.is_free());
        let idle = self.idle_until.filter(|_| !self.closed);
        [checkpoint, idle, self.drain_until]
            .into_iter()
            .flatten()
            .min()
    }

    fn on_timer(&mut self) -> Result<(), RunError> {
        let now = tokio::time::Instant::now();
        if self.drain_until.is_some_and(|until| now >= until) {
            return Err(RunError::DrainDeadline(self.settings.drain));
        }
        if self.idle_until.is_some_and(|until| now >= until) {
            self.idle_until = None;
        }
        Ok(())
    }

    fn tell(&mut self, over: bool) {
        if !over
            && self
                .told
                .is_some_and(|told| told.elapsed() < PROGRESS_EVERY)
        {
            return;
        }
        self.told = Some(Instant::now());
        let phase = match (over, &self.ending, self.waiting) {
            (true, ..) => Phase::Done,
            (_, Some(_), _) => Phase::Draining,
            (_, None, true) => Phase::Waiting,
            _ => Phase::Running,
        };
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
        self.control.progress.send_replace(Progress {
            phase,
            stages: stages.collect(),
            epoch: self.epochs_done,
            in_flight_batches: self.lane.len(),
            in_flight_bytes: self.in_flight.load(Ordering::Relaxed),
            seconds: self.started.elapsed().as_secs_f64(),
        });
    }
}

async fn settle(settler: &mut Settler, entry: Entry) -> Result<Settled, RunError> {
    let joined = |e: tokio::task::JoinError| RunError::Task(e.to_string());
    match entry {
        Entry::Batch { epoch, passing } => {
            settler.settle(epoch, passing.await.map_err(joined)??).await
        }
        Entry::Barrier {
            epoch,
            source,
            finished,
            passing,
        } => {
            let mut states = passing.await.map_err(joined)??;
            let (name, state) = *source;
            let position = state.snapshot.clone();
            states.insert(name, state);
            settler
                .barrier(Barrier {
                    epoch,
                    states,
                    position,
                    finished,
                })
                .await
        }
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
