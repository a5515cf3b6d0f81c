//! The transformers of a run: every batch passes them in a task of its own.
//!
//! A stateless transformer is a pool of instances: batches pass in any order, and the lane puts the results back in
//! order. A stateful one is a single instance with a turn: entry number `n` passes when `n - 1` has. Barriers and the
//! end of the input are entries too, so they pass a stateful transformer exactly behind the batches before them.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, watch};

use super::{
    batch::Batch,
    bisect::{Piece, Worker, bounded, work_off},
    dead_letter::Undertaker,
    fault::{Fault, FaultKind},
    keeper::{self, Keeper, Recycle},
    ledger::{Streams, few},
    meter::Meter,
    outcome::{Outcome, count_expanded, outputs},
    overlay::Overlay,
    pool::{Answer, Pool, Single, Versions},
    retry::RetryPolicy,
    run::StageFailure,
    shadow::{Sample, Shadow},
    stage::{Mode, Opener, Output, Snapshot, Transformer},
    swap::{Candidate, Switch, open_in_time},
};
use crate::storage::StageState;

/// One transformer of a run as it was planned.
#[derive(Clone)]
pub struct TransformerStage {
    /// The stage's name.
    pub name: Arc<str>,
    /// Makes its instances.
    pub opener: Arc<dyn Opener<dyn Transformer>>,
    /// How many instances at most, when it is stateless.
    pub workers: usize,
    /// When an instance is replaced.
    pub recycle: Recycle,
}

/// The transformers of a run.
pub struct Chain {
    stages: Vec<Stage>,
    streams: Arc<Streams>,
    overlay: Arc<Overlay>,
    policy: RetryPolicy,
}

struct Stage {
    name: Arc<str>,
    /// The plugin's name. A swap does not change it.
    plugin: String,
    meter: Arc<Meter>,
    mode: Mode,
    kind: Kind,
    shadow: RwLock<Option<Arc<Shadow>>>,
}

enum Kind {
    Pool(Versions),
    Single {
        turn: watch::Sender<u64>,
        kept: Box<Mutex<Kept>>,
    },
}

/// The one instance of a stateful transformer, and what its dead letters are labelled with.
struct Kept {
    keeper: Keeper<dyn Transformer>,
    undertaker: Arc<Undertaker>,
}

impl Chain {
    /// Opens all transformers, each from its snapshot when there is one.
    pub async fn open(
        planned: &[TransformerStage],
        snapshots: &BTreeMap<String, StageState>,
        undertaker: &Undertaker,
        streams: &Arc<Streams>,
        overlay: Arc<Overlay>,
        policy: RetryPolicy,
    ) -> Result<Self, StageFailure> {
        let mut stages = Vec::with_capacity(planned.len());
        for plan in planned {
            // An empty snapshot is that of a transformer without state.
            let snapshot = snapshots
                .get(&*plan.name)
                .map(|s| s.snapshot.clone())
                .filter(|s| !s.is_empty());
            let undertaker = Arc::new(Undertaker {
                stage: Arc::clone(&plan.name),
                identity: plan.opener.identity().clone(),
                ..undertaker.clone()
            });
            let instance = keeper::open(&plan.opener, snapshot.as_deref(), &policy)
                .await
                .map_err(|fault| undertaker.failure(fault))?;
            let mode = instance.mode();
            let kind = match mode {
                Mode::Stateless => Kind::Pool(Versions::new(Pool::new(
                    Arc::clone(&plan.opener),
                    instance,
                    (plan.workers, plan.recycle),
                    Arc::clone(&undertaker),
                    Arc::clone(streams),
                ))),
                Mode::Stateful => Kind::Single {
                    turn: watch::Sender::new(0),
                    kept: Box::new(Mutex::new(Kept {
                        keeper: Keeper::new(
                            Arc::clone(&plan.opener),
                            instance,
                            snapshot,
                            plan.recycle,
                        ),
                        undertaker: Arc::clone(&undertaker),
                    })),
                },
            };
            stages.push(Stage {
                name: Arc::clone(&plan.name),
                plugin: undertaker.identity.plugin.clone(),
                meter: Arc::default(),
                mode,
                kind,
                shadow: RwLock::new(None),
            });
        }
        Ok(Self {
            stages,
            streams: Arc::clone(streams),
            overlay,
            policy,
        })
    }

    /// The stages' names, plugins and counters, for progress.
    pub fn meters(&self) -> impl Iterator<Item = (&Arc<str>, &str, &Arc<Meter>)> {
        self.stages
            .iter()
            .map(|s| (&s.name, s.plugin.as_str(), &s.meter))
    }

    /// How a stage runs; `None` when there is no transformer of that name.
    pub fn mode(&self, stage: &str) -> Option<Mode> {
        self.stage(stage).map(|s| s.mode)
    }

    /// The position of a transformer.
    pub fn position(&self, stage: &str) -> Option<usize> {
        self.stages.iter().position(|s| &*s.name == stage)
    }

    /// How many transformers there are: the position behind the last one.
    pub fn end(&self) -> usize {
        self.stages.len()
    }

    fn stage(&self, stage: &str) -> Option<&Stage> {
        self.stages.iter().find(|s| &*s.name == stage)
    }

    /// Entries from `from` on pass this version of a stateless transformer, which was opened ahead.
    pub fn switch_pool(
        &self,
        stage: &str,
        from: u64,
        opener: Arc<dyn Opener<dyn Transformer>>,
        instance: Box<dyn Transformer>,
    ) {
        if let Some(stage) = self.stage(stage)
            && let Kind::Pool(versions) = &stage.kind
        {
            versions.switch(from, opener, instance);
        }
    }

    /// All entries of the version before the one in place have passed: its instances are ended, and nothing waits for
    /// that.
    pub fn retire(&self, stage: &str) {
        if let Some(stage) = self.stage(stage)
            && let Kind::Pool(versions) = &stage.kind
            && let Some(before) = versions.retire()
        {
            tokio::spawn(async move { before.close().await });
        }
    }

    /// What a stateful transformer was last opened from or has last given; for another one nothing.
    pub async fn last_snapshot(&self, stage: &str) -> Option<Snapshot> {
        match &self.stage(stage)?.kind {
            Kind::Pool(_) => None,
            Kind::Single { kept, .. } => kept.lock().await.keeper.last_snapshot().cloned(),
        }
    }

    /// Compares a candidate with a stage from now on, or no longer.
    pub fn shadow(&self, stage: &str, shadow: Option<Arc<Shadow>>) {
        if let Some(stage) = self.stage(stage) {
            *stage.shadow.write().unwrap_or_else(PoisonError::into_inner) = shadow;
        }
    }

    /// Passes a batch through the transformers from position `first` on. `entry` numbers the entries of the lane from 0
    /// without gaps; each passes every transformer, so that turns are taken.
    pub async fn pass(
        &self,
        entry: u64,
        epoch: u64,
        batch: Batch,
        first: usize,
    ) -> Result<Outcome, StageFailure> {
        let mut outcome = Outcome {
            batches: vec![Arc::new(batch)],
            ..Outcome::default()
        };
        for (at, stage) in self.stages.iter().enumerate() {
            match &stage.kind {
                Kind::Pool(_) if at < first => {}
                Kind::Pool(versions) => {
                    stage
                        .pass_pool(&versions.at(entry), self, epoch, &mut outcome)
                        .await?;
                }
                Kind::Single { turn, kept } => {
                    wait_for(turn, entry).await;
                    if at >= first {
                        let mut kept = kept.lock().await;
                        stage
                            .pass_single(&mut kept, self, epoch, &mut outcome)
                            .await?;
                        let Kept { keeper, undertaker } = &mut *kept;
                        keeper
                            .recycle_if_due(&self.policy)
                            .await
                            .map_err(|fault| undertaker.failure(fault))?;
                    }
                    turn.send_replace(entry + 1);
                }
            }
        }
        Ok(outcome)
    }

    /// The input has ended: what stateful transformers held back goes through the rest of the chain.
    pub async fn finish(&self, entry: u64, epoch: u64) -> Result<Outcome, StageFailure> {
        let mut outcome = Outcome::default();
        for stage in &self.stages {
            match &stage.kind {
                Kind::Pool(versions) => {
                    stage
                        .pass_pool(&versions.at(entry), self, epoch, &mut outcome)
                        .await?;
                }
                Kind::Single { turn, kept } => {
                    wait_for(turn, entry).await;
                    let mut kept = kept.lock().await;
                    stage
                        .pass_single(&mut kept, self, epoch, &mut outcome)
                        .await?;
                    let Kept { keeper, undertaker } = &mut *kept;
                    let failure = |fault| undertaker.failure(fault);
                    let instance = keeper.instance().await.map_err(failure)?;
                    let held = instance.finish().await.map_err(failure)?;
                    few(held.len()).map_err(failure)?;
                    let names = held.iter().map(Batch::stream);
                    self.streams.admit(names).map_err(failure)?;
                    let writes = instance.take_table_writes();
                    self.overlay.add(epoch, &writes);
                    outcome.writes.extend(writes);
                    for batch in held {
                        outcome.ledger.stream(batch.stream()).expanded += batch.len() as u64;
                        outcome.batches.push(Arc::new(batch));
                    }
                    turn.send_replace(entry + 1);
                }
            }
        }
        Ok(outcome)
    }

    /// A barrier passes: every stateful transformer gives its snapshot behind the batches before it, and the one that
    /// a switch is for is replaced.
    pub async fn barrier(
        &self,
        entry: u64,
        switch: Option<&Switch>,
    ) -> Result<BTreeMap<String, StageState>, StageFailure> {
        let mut states = BTreeMap::new();
        for stage in &self.stages {
            let switch = switch.filter(|s| s.stage == stage.name);
            let state = match &stage.kind {
                Kind::Pool(versions) => {
                    let pool = versions.at(entry);
                    keeper::state(pool.opener.identity(), Vec::new())
                }
                Kind::Single { turn, kept } => {
                    wait_for(turn, entry).await;
                    let started = Instant::now();
                    let mut kept = kept.lock().await;
                    let Kept { keeper, undertaker } = &mut *kept;
                    let snapshot = keeper
                        .snapshot(&self.policy)
                        .await
                        .map_err(|fault| undertaker.failure(fault))?;
                    stage.start_waiting_shadow(&snapshot);
                    let state = keeper.state(snapshot.clone());
                    if let Some(switch) = switch {
                        kept.switch(switch, snapshot, started).await;
                    }
                    drop(kept);
                    turn.send_replace(entry + 1);
                    state
                }
            };
            states.insert(stage.name.to_string(), state);
        }
        Ok(states)
    }

    /// Ends all instances.
    pub async fn close(&self) {
        for stage in &self.stages {
            match &stage.kind {
                Kind::Pool(versions) => versions.close().await,
                Kind::Single { kept, .. } => kept.lock().await.keeper.close().await,
            }
        }
    }
}

impl Kept {
    /// Opens the new version from the old one's snapshot, and only then ends the old one. The new one may refuse.
    async fn switch(&mut self, switch: &Switch, snapshot: Snapshot, started: Instant) {
        let Candidate::Transformer(opener) = &switch.candidate else {
            return;
        };
        let opened = open_in_time(opener, Some(&snapshot), switch.open_time).await;
        let opened = opened.and_then(|instance| match instance.mode() {
            Mode::Stateful => Ok(instance),
            Mode::Stateless => Err(Fault::new(
                FaultKind::Config,
                "with this snapshot it says that it has no state",
            )),
        });
        match opened {
            Ok(instance) => {
                let old = self.keeper.replace(Arc::clone(opener), instance, snapshot);
                self.undertaker = Arc::new(Undertaker {
                    identity: opener.identity().clone(),
                    ..(*self.undertaker).clone()
                });
                switch.report(Ok(started.elapsed()));
                if let Some(mut old) = old {
                    // Nothing waits for its last words.
                    tokio::spawn(async move { old.close().await });
                }
            }
            Err(fault) => switch.report(Err(fault)),
        }
    }
}

/// Waits until it is this entry's turn. The sender lives as long as the chain, so waiting cannot fail.
async fn wait_for(turn: &watch::Sender<u64>, entry: u64) {
    let mut turns = turn.subscribe();
    drop(turns.wait_for(|now| *now == entry).await);
}

impl Stage {
    async fn pass_pool(
        &self,
        pool: &Pool,
        chain: &Chain,
        epoch: u64,
        outcome: &mut Outcome,
    ) -> Result<(), StageFailure> {
        let batches = std::mem::take(&mut outcome.batches);
        if batches.is_empty() {
            return Ok(());
        }
        let mut worker = pool.worker().await;
        self.apply_all(
            &mut worker,
            &pool.undertaker,
            batches,
            chain,
            epoch,
            outcome,
        )
        .await?;
        worker.give_back().await;
        Ok(())
    }

    async fn pass_single(
        &self,
        kept: &mut Kept,
        chain: &Chain,
        epoch: u64,
        outcome: &mut Outcome,
    ) -> Result<(), StageFailure> {
        let Kept { keeper, undertaker } = kept;
        let mut worker = Single(keeper, &chain.streams);
        let batches = std::mem::take(&mut outcome.batches);
        self.apply_all(&mut worker, undertaker, batches, chain, epoch, outcome)
            .await
    }

    /// Works off what the stage before it made of an entry. Invariant 6: stages behind each other multiply what each of
    /// them makes, so the whole of it is bounded as well.
    async fn apply_all<W: Worker<Answer = Answer>>(
        &self,
        worker: &mut W,
        undertaker: &Undertaker,
        batches: Vec<Arc<Batch>>,
        chain: &Chain,
        epoch: u64,
        outcome: &mut Outcome,
    ) -> Result<(), StageFailure> {
        let mut weight = outcome.weight();
        for batch in batches {
            let ends = outcome.ends();
            self.apply(worker, undertaker, batch, chain, epoch, outcome)
                .await?;
            weight += outcome.weight_behind(ends);
            bounded(weight)
                .and_then(|()| few(outcome.batches.len()))
                .map_err(|fault| undertaker.failure(fault))?;
        }
        Ok(())
    }

    fn start_waiting_shadow(&self, snapshot: &[u8]) {
        let shadow = self.shadow.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(shadow) = &*shadow {
            shadow.begin(snapshot);
        }
    }

    /// Gives the comparison, when there is one, what came of a batch.
    fn offer(&self, part: &Arc<Batch>, output: &[Arc<Batch>], rejected: usize, time: Duration) {
        let shadow = self.shadow.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(shadow) = &*shadow {
            shadow.offer(Sample {
                input: Arc::clone(part),
                output: output.to_vec(),
                rejected: rejected as u64,
                time,
            });
        }
    }

    /// Works one batch off and adds what became of it to the outcome.
    async fn apply<W: Worker<Answer = Answer>>(
        &self,
        worker: &mut W,
        undertaker: &Undertaker,
        batch: Arc<Batch>,
        chain: &Chain,
        epoch: u64,
        outcome: &mut Outcome,
    ) -> Result<(), StageFailure> {
        if batch.is_empty() {
            return Ok(());
        }
        let (started, records) = (Instant::now(), batch.len());
        let pieces = work_off(worker, batch, &chain.policy)
            .await
            .map_err(|fault| undertaker.failure(fault))?;
        let per_record = started.elapsed() / u32::try_from(records).unwrap_or(u32::MAX).max(1);
        for piece in pieces {
            match piece {
                Piece::Done {
                    part,
                    mut answer,
                    retried,
                    ..
                } => {
                    // Invariant 2: writes of a call that succeeded become visible now and durable with its epoch.
                    chain.overlay.add(epoch, &answer.writes);
                    outcome.writes.append(&mut answer.writes);
                    let (before, rejected) = (outcome.batches.len(), answer.applied.rejected.len());
                    self.settle(&part, undertaker, answer, &retried, outcome);
                    let time = per_record * u32::try_from(part.len()).unwrap_or(u32::MAX);
                    let output = outcome.batches.get(before..).unwrap_or_default();
                    self.offer(&part, output, rejected, time);
                }
                Piece::Dead { part, fault, .. } => {
                    outcome.ledger.stream(part.stream()).dead += part.len() as u64;
                    outcome
                        .dead
                        .extend(part.records().map(|r| undertaker.record(&part, r, &fault)));
                    self.meter.count(&part, 0, part.len());
                    self.offer(&part, &[], part.len(), per_record);
                }
            }
        }
        Ok(())
    }

    fn settle(
        &self,
        part: &Arc<Batch>,
        undertaker: &Undertaker,
        answer: Answer,
        retried: &[u32],
        outcome: &mut Outcome,
    ) {
        let Answer {
            applied, account, ..
        } = answer;
        let mut dead = 0;
        for rejection in applied
            .rejected
            .iter()
            .filter(|r| !retried.contains(&r.index))
        {
            if let Some(record) = part.record(rejection.index as usize) {
                outcome
                    .dead
                    .push(undertaker.record(part, record, &rejection.fault));
                dead += 1;
            }
        }
        outcome.ledger.stream(part.stream()).dead += dead;
        outcome.ledger.filter(
            &self.name,
            part.stream(),
            account.filtered,
            &applied.filtered,
        );
        if let Output::Replace(batches) = &applied.output {
            count_expanded(part, batches, account.expanded, &mut outcome.ledger);
        }
        let rejected = applied.rejected.len();
        let made = outputs(part, applied);
        let out = made.iter().map(|b| b.len()).sum();
        outcome.batches.extend(made);
        self.meter.count(part, out, rejected);
    }
}
