//! The transformers of a run: every batch passes them in a task of its own.
//!
//! A stateless transformer is a pool of instances: batches pass in any order, and the lane puts the results back in
//! order. A stateful one is a single instance with a turn: entry number `n` passes when `n - 1` has. Barriers and the
//! end of the input are entries too, so they pass a stateful transformer exactly behind the batches before them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use tokio::sync::{Mutex, Semaphore, watch};

use super::{
    batch::Batch,
    bisect::{Piece, Worker, work_off},
    dead_letter::Undertaker,
    fault::{Fault, FaultKind},
    keeper::{self, Keeper, Recycle},
    ledger::{Account, Ledger, account, rejected_flags},
    overlay::Overlay,
    retry::RetryPolicy,
    run::StageFailure,
    stage::{Applied, Mode, Opener, Output, Rejection, TableWrite, Transformer},
};
use crate::storage::{DeadLetter, StageState};

/// One transformer of a run as it was planned.
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

/// What the chain made of one entry of the lane.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What goes to the sinks, in order.
    pub batches: Vec<Arc<Batch>>,
    /// Counts of all transformers for this entry.
    pub ledger: Ledger,
    /// Records that failed on the way.
    pub dead: Vec<DeadLetter>,
    /// Table writes made on the way.
    pub writes: Vec<TableWrite>,
}

impl Outcome {
    /// Bytes that it keeps in memory until it settles.
    pub fn weight(&self) -> usize {
        self.batches.iter().map(|b| b.weight()).sum()
    }

    /// Puts what the source itself counted, lost and wrote with this batch before it.
    #[must_use]
    pub fn behind(mut self, mut source: Self) -> Self {
        self.ledger.merge(&source.ledger);
        source.dead.append(&mut self.dead);
        source.writes.append(&mut self.writes);
        Self {
            dead: source.dead,
            writes: source.writes,
            ..self
        }
    }
}

/// Counters of one stage, for progress.
#[derive(Debug, Default)]
pub struct Meter {
    /// Records that came in.
    pub records_in: AtomicU64,
    /// Records that went out.
    pub records_out: AtomicU64,
    /// Records rejected.
    pub rejected: AtomicU64,
    /// Batches.
    pub batches: AtomicU64,
    /// Bytes that came in.
    pub bytes: AtomicU64,
}

impl Meter {
    /// Counts one batch.
    pub fn count(&self, input: &Batch, out: usize, rejected: usize) {
        self.records_in
            .fetch_add(input.len() as u64, Ordering::Relaxed);
        self.records_out.fetch_add(out as u64, Ordering::Relaxed);
        self.rejected.fetch_add(rejected as u64, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.bytes
            .fetch_add(input.weight() as u64, Ordering::Relaxed);
    }
}

/// The transformers of a run.
pub struct Chain {
    stages: Vec<Stage>,
    overlay: Arc<Overlay>,
    policy: RetryPolicy,
}

struct Stage {
    name: Arc<str>,
    undertaker: Undertaker,
    meter: Arc<Meter>,
    kind: Kind,
}

enum Kind {
    Pool(Pool),
    Single {
        turn: watch::Sender<u64>,
        keeper: Box<Mutex<Keeper<dyn Transformer>>>,
    },
}

struct Pool {
    opener: Arc<dyn Opener<dyn Transformer>>,
    idle: std::sync::Mutex<Vec<Box<dyn Transformer>>>,
    permits: Semaphore,
    recycle: Recycle,
}

impl Chain {
    /// Opens all transformers, each from its snapshot when there is one.
    pub async fn open(
        planned: Vec<TransformerStage>,
        snapshots: &BTreeMap<String, StageState>,
        undertaker: &Undertaker,
        overlay: Arc<Overlay>,
        policy: RetryPolicy,
    ) -> Result<Self, StageFailure> {
        let mut stages = Vec::with_capacity(planned.len());
        for plan in planned {
            let identity = plan.opener.identity().clone();
            // An empty snapshot is that of a transformer without state.
            let snapshot = snapshots
                .get(&*plan.name)
                .map(|s| s.snapshot.clone())
                .filter(|s| !s.is_empty());
            let instance = keeper::open(&plan.opener, snapshot.as_deref(), &policy)
                .await
                .map_err(|fault| StageFailure::new(&plan.name, &identity, fault))?;
            let kind = match instance.mode() {
                Mode::Stateless => Kind::Pool(Pool {
                    opener: plan.opener,
                    idle: std::sync::Mutex::new(vec![instance]),
                    permits: Semaphore::new(plan.workers.max(1)),
                    recycle: plan.recycle,
                }),
                Mode::Stateful => Kind::Single {
                    turn: watch::Sender::new(0),
                    keeper: Box::new(Mutex::new(Keeper::new(
                        plan.opener,
                        instance,
                        snapshot,
                        plan.recycle,
                    ))),
                },
            };
            let undertaker = Undertaker {
                stage: Arc::clone(&plan.name),
                identity,
                ..undertaker.clone()
            };
            stages.push(Stage {
                name: plan.name,
                undertaker,
                meter: Arc::default(),
                kind,
            });
        }
        Ok(Self {
            stages,
            overlay,
            policy,
        })
    }

    /// The stages' names, plugins and counters, for progress.
    pub fn meters(&self) -> impl Iterator<Item = (&Arc<str>, &str, &Arc<Meter>)> {
        self.stages
            .iter()
            .map(|s| (&s.name, s.undertaker.identity.plugin.as_str(), &s.meter))
    }

    /// Passes a batch. `entry` numbers the entries of the lane from 0 without gaps.
    pub async fn pass(
        &self,
        entry: u64,
        epoch: u64,
        batch: Batch,
    ) -> Result<Outcome, StageFailure> {
        let mut outcome = Outcome {
            batches: vec![Arc::new(batch)],
            ..Outcome::default()
        };
        for stage in &self.stages {
            let batches = std::mem::take(&mut outcome.batches);
            match &stage.kind {
                Kind::Pool(pool) => {
                    let mut worker = pool.worker().await;
                    for batch in batches {
                        stage
                            .apply(&mut worker, batch, self, epoch, &mut outcome)
                            .await?;
                    }
                    worker.give_back().await;
                }
                Kind::Single { turn, keeper } => {
                    wait_for(turn, entry).await;
                    let mut keeper = keeper.lock().await;
                    for batch in batches {
                        stage
                            .apply(&mut Single(&mut keeper), batch, self, epoch, &mut outcome)
                            .await?;
                    }
                    keeper
                        .recycle_if_due(&self.policy)
                        .await
                        .map_err(|fault| stage.failure(fault))?;
                    drop(keeper);
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
            let batches = std::mem::take(&mut outcome.batches);
            match &stage.kind {
                Kind::Pool(pool) => {
                    let mut worker = pool.worker().await;
                    for batch in batches {
                        stage
                            .apply(&mut worker, batch, self, epoch, &mut outcome)
                            .await?;
                    }
                    worker.give_back().await;
                }
                Kind::Single { turn, keeper } => {
                    wait_for(turn, entry).await;
                    let mut keeper = keeper.lock().await;
                    for batch in batches {
                        stage
                            .apply(&mut Single(&mut keeper), batch, self, epoch, &mut outcome)
                            .await?;
                    }
                    let instance = keeper
                        .instance()
                        .await
                        .map_err(|fault| stage.failure(fault))?;
                    let held = instance
                        .finish()
                        .await
                        .map_err(|fault| stage.failure(fault))?;
                    let writes = instance.take_table_writes();
                    self.overlay.add(epoch, &writes);
                    outcome.writes.extend(writes);
                    for batch in held {
                        outcome.ledger.stream(batch.stream()).expanded += batch.len() as u64;
                        outcome.batches.push(Arc::new(batch));
                    }
                    drop(keeper);
                    turn.send_replace(entry + 1);
                }
            }
        }
        Ok(outcome)
    }

    /// A barrier passes: every stateful transformer gives its snapshot behind the batches before it.
    pub async fn barrier(&self, entry: u64) -> Result<BTreeMap<String, StageState>, StageFailure> {
        let mut states = BTreeMap::new();
        for stage in &self.stages {
            let state = match &stage.kind {
                Kind::Pool(pool) => keeper::state(pool.opener.identity(), Vec::new()),
                Kind::Single { turn, keeper } => {
                    wait_for(turn, entry).await;
                    let mut keeper = keeper.lock().await;
                    let snapshot = keeper
                        .snapshot(&self.policy)
                        .await
                        .map_err(|fault| stage.failure(fault))?;
                    let state = keeper.state(snapshot);
                    drop(keeper);
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
                Kind::Pool(pool) => {
                    let idle = std::mem::take(&mut *lock(&pool.idle));
                    for mut instance in idle {
                        instance.close().await;
                    }
                }
                Kind::Single { keeper, .. } => keeper.lock().await.close().await,
            }
        }
    }
}

/// Waits until it is this entry's turn. The sender lives as long as the chain, so waiting cannot fail.
async fn wait_for(turn: &watch::Sender<u64>, entry: u64) {
    let mut turns = turn.subscribe();
    drop(turns.wait_for(|now| *now == entry).await);
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Stage {
    fn failure(&self, fault: Fault) -> StageFailure {
        StageFailure::new(&self.name, &self.undertaker.identity, fault)
    }

    /// Works one batch off and adds what became of it to the outcome.
    async fn apply<W: Worker<Answer = Answer>>(
        &self,
        worker: &mut W,
        batch: Arc<Batch>,
        chain: &Chain,
        epoch: u64,
        outcome: &mut Outcome,
    ) -> Result<(), StageFailure> {
        if batch.is_empty() {
            return Ok(());
        }
        let pieces = work_off(worker, batch, &chain.policy)
            .await
            .map_err(|fault| self.failure(fault))?;
        for piece in pieces {
            match piece {
                Piece::Done {
                    part,
                    answer,
                    retried,
                    ..
                } => {
                    // Invariant 2: writes of a call that succeeded become visible now and durable with its epoch.
                    chain.overlay.add(epoch, &answer.writes);
                    outcome.writes.extend(answer.writes);
                    self.settle(&part, answer.applied, answer.account, &retried, outcome);
                }
                Piece::Dead { part, fault, .. } => {
                    outcome.ledger.stream(part.stream()).dead += part.len() as u64;
                    outcome.dead.extend(
                        part.records()
                            .map(|r| self.undertaker.record(&part, r, &fault)),
                    );
                    self.meter.count(&part, 0, part.len());
                }
            }
        }
        Ok(())
    }

    fn settle(
        &self,
        part: &Arc<Batch>,
        applied: Applied,
        account: Account,
        retried: &[u32],
        outcome: &mut Outcome,
    ) {
        let mut dead = 0;
        for rejection in applied
            .rejected
            .iter()
            .filter(|r| !retried.contains(&r.index))
        {
            if let Some(record) = part.record(rejection.index as usize) {
                outcome
                    .dead
                    .push(self.undertaker.record(part, record, &rejection.fault));
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
        let before = outcome.batches.len();
        match applied.output {
            Output::Pass if applied.rejected.is_empty() => outcome.batches.push(Arc::clone(part)),
            Output::Pass => {
                // `account` has found every index to be in range.
                let flags = rejected_flags(part.len(), applied.rejected.iter().map(|r| r.index))
                    .unwrap_or_default();
                let kept: Vec<u32> = (0_u32..)
                    .zip(flags)
                    .filter(|(_, gone)| !gone)
                    .map(|(at, _)| at)
                    .collect();
                outcome.batches.extend(part.select(&kept).map(Arc::new));
            }
            Output::Select(indexes) => outcome.batches.extend(part.select(&indexes).map(Arc::new)),
            Output::Replace(batches) => {
                count_expanded(part, &batches, account.expanded, &mut outcome.ledger);
                outcome
                    .batches
                    .extend(batches.into_iter().filter(|b| !b.is_empty()).map(Arc::new));
            }
        }
        let out = outcome.batches.iter().skip(before).map(|b| b.len()).sum();
        self.meter.count(part, out, applied.rejected.len());
    }
}

/// Expanded records are counted where they appear: in streams other than the input's first, since there the input's
/// own records are the ones that were read.
fn count_expanded(part: &Batch, batches: &[Batch], expanded: u64, ledger: &mut Ledger) {
    let mut left = expanded;
    let (own, other): (Vec<_>, Vec<_>) = batches.iter().partition(|b| b.stream() == part.stream());
    for batch in other.iter().chain(own.iter()) {
        let here = left.min(batch.len() as u64);
        if here > 0 {
            ledger.stream(batch.stream()).expanded += here;
        }
        left -= here;
    }
}

/// What one successful call of a transformer gave.
struct Answer {
    applied: Applied,
    account: Account,
    writes: Vec<TableWrite>,
}

async fn call(instance: &mut dyn Transformer, batch: &Batch) -> Result<Answer, Fault> {
    let applied = instance.apply(batch).await?;
    let account = account(batch, &applied)?;
    Ok(Answer {
        applied,
        account,
        writes: instance.take_table_writes(),
    })
}

/// The single instance of a stateful transformer.
struct Single<'a>(&'a mut Keeper<dyn Transformer>);

#[async_trait]
impl Worker for Single<'_> {
    type Answer = Answer;

    async fn call(&mut self, batch: &Arc<Batch>) -> Result<Answer, Fault> {
        let instance = self.0.instance().await?;
        match call(instance, batch).await {
            Ok(answer) => {
                self.0.took(batch);
                Ok(answer)
            }
            Err(fault) => {
                self.0.failed(&fault);
                Err(fault)
            }
        }
    }

    fn rejected(answer: &Answer) -> &[Rejection] {
        &answer.applied.rejected
    }

    fn repeatable(&self) -> bool {
        false
    }
}

impl Pool {
    async fn worker(&self) -> Pooled<'_> {
        // The semaphore is never closed.
        let permit = self.permits.acquire().await.ok();
        let instance = lock(&self.idle).pop();
        Pooled {
            pool: self,
            instance,
            _permit: permit,
        }
    }
}

/// An instance of a pool, for as long as one batch needs it.
struct Pooled<'a> {
    pool: &'a Pool,
    instance: Option<Box<dyn Transformer>>,
    _permit: Option<tokio::sync::SemaphorePermit<'a>>,
}

impl Pooled<'_> {
    async fn give_back(mut self) {
        if let Some(mut instance) = self.instance.take() {
            if self.pool.recycle.is_due(instance.wear()) {
                instance.close().await;
            } else {
                lock(&self.pool.idle).push(instance);
            }
        }
    }
}

#[async_trait]
impl Worker for Pooled<'_> {
    type Answer = Answer;

    async fn call(&mut self, batch: &Arc<Batch>) -> Result<Answer, Fault> {
        let instance = match &mut self.instance {
            Some(instance) => instance,
            none => none.insert(self.pool.opener.open(None).await?),
        };
        if instance.mode() != Mode::Stateless {
            return Err(Fault::new(
                FaultKind::Config,
                "it was stateless when it was opened first, and now it is not",
            ));
        }
        let answer = call(instance.as_mut(), batch).await;
        if let Err(fault) = &answer {
            if fault.kind.is_lethal() {
                self.instance = None;
            } else {
                instance.take_table_writes();
            }
        }
        answer
    }

    fn rejected(answer: &Answer) -> &[Rejection] {
        &answer.applied.rejected
    }

    fn repeatable(&self) -> bool {
        true
    }
}
