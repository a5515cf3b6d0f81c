//! The sinks' side of a run: entries of the lane in order, counts, and the checkpoint.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use futures_util::future::join_all;

use super::{
    batch::{Batch, Op, Record},
    bisect::{Piece, Place, Worker, work_off},
    chain::{Meter, Outcome},
    dead_letter::{Threshold, Undertaker, now_ms},
    fault::{Fault, FaultKind},
    keeper::{self, Keeper, Recycle},
    ledger::{Ledger, rejected_flags},
    overlay::Overlay,
    retry::RetryPolicy,
    run::{RunError, StageFailure},
    stage::{Opener, Rejection, Sink, Snapshot, TableWrite, Written},
};
use crate::storage::{
    Checkpoint, Commit, DeadLetter, Journal, StageState, TableChange, checkpoint::FORMAT,
};

/// One sink of a run as it was planned.
pub struct SinkStage {
    /// The stage's name.
    pub name: Arc<str>,
    /// Makes its instances.
    pub opener: Arc<dyn Opener<dyn Sink>>,
    /// The streams it takes; `None` means all.
    pub streams: Option<BTreeSet<String>>,
    /// The table that keeps the receipts of the target, key to payload.
    pub receipts: Option<Arc<str>>,
    /// When an instance is replaced.
    pub recycle: Recycle,
}

struct SinkLane {
    name: Arc<str>,
    streams: Option<BTreeSet<String>>,
    receipts: Option<Arc<str>>,
    keeper: Keeper<dyn Sink>,
    undertaker: Undertaker,
    meter: Arc<Meter>,
}

/// A barrier that has passed the chain.
pub struct Barrier {
    /// Its epoch.
    pub epoch: u64,
    /// States of source and transformers.
    pub states: BTreeMap<String, StageState>,
    /// The source's snapshot, to acknowledge.
    pub position: Snapshot,
    /// Whether the input has ended.
    pub finished: bool,
}

/// The sinks of a run, with everything that is not durable yet.
pub struct Settler {
    flow: Arc<str>,
    run: Arc<str>,
    sinks: Vec<SinkLane>,
    journal: Arc<dyn Journal>,
    overlay: Arc<Overlay>,
    policy: RetryPolicy,
    threshold: Threshold,
    /// Dead letters and records read by earlier processes of the run.
    before: (u64, u64),
    /// Counts of the run so far.
    pub ledger: Ledger,
    letters: u64,
    dead: Vec<DeadLetter>,
    dead_weight: usize,
    writes: Vec<TableWrite>,
    writes_weight: usize,
    nowhere: Arc<str>,
}

/// What the sinks' side of a run is made of.
pub struct SettlerPlan {
    /// The sinks.
    pub sinks: Vec<SinkStage>,
    /// Where checkpoints go.
    pub journal: Arc<dyn Journal>,
    /// Tables with what is not durable yet.
    pub overlay: Arc<Overlay>,
    /// For transient faults.
    pub policy: RetryPolicy,
    /// When there are too many dead letters.
    pub threshold: Threshold,
    /// Counts that the run goes on from.
    pub ledger: Ledger,
    /// Whether the sinks have confirmed the commit of the checkpoint that the run goes on from.
    pub settled: bool,
}

/// What one entry of the lane came to.
#[derive(Debug)]
pub enum Settled {
    /// Its records are written or accounted for.
    Batch {
        /// Bytes that it kept.
        weight: usize,
        /// Bytes that wait for the next checkpoint.
        waiting_bytes: usize,
        /// Why the run must stop, if it must.
        exceeded: Option<String>,
    },
    /// Everything up to it is durable and visible.
    Barrier {
        /// To acknowledge to the source.
        position: Snapshot,
        /// Its epoch.
        epoch: u64,
        /// Why the run must stop, if it must.
        exceeded: Option<String>,
    },
}

impl Settler {
    /// Opens all sinks, each from its snapshot when there is one, and finishes what a crash left uncommitted.
    pub async fn open(
        plan: SettlerPlan,
        snapshots: &BTreeMap<String, StageState>,
        undertaker: &Undertaker,
    ) -> Result<Self, StageFailure> {
        let mut sinks = Vec::with_capacity(plan.sinks.len());
        for stage in plan.sinks {
            let identity = stage.opener.identity().clone();
            let failure = |fault| StageFailure::new(&stage.name, &identity, fault);
            let snapshot = snapshots
                .get(&*stage.name)
                .map(|state| state.snapshot.clone());
            let mut instance = keeper::open(&stage.opener, snapshot.as_deref(), &plan.policy)
                .await
                .map_err(failure)?;
            if let Some(snapshot) = snapshot.as_deref().filter(|_| !plan.settled) {
                // The checkpoint is durable, but nobody knows whether this commit was made: it is idempotent.
                commit(instance.as_mut(), snapshot, &plan.policy)
                    .await
                    .map_err(failure)?;
            }
            let undertaker = Undertaker {
                stage: Arc::clone(&stage.name),
                identity: identity.clone(),
                ..undertaker.clone()
            };
            sinks.push(SinkLane {
                name: stage.name,
                streams: stage.streams,
                receipts: stage.receipts,
                keeper: Keeper::new(stage.opener, instance, snapshot, stage.recycle),
                undertaker,
                meter: Arc::default(),
            });
        }
        let total = plan.ledger.total();
        Ok(Self {
            flow: Arc::clone(&undertaker.flow),
            run: Arc::clone(&undertaker.run),
            sinks,
            journal: plan.journal,
            overlay: plan.overlay,
            policy: plan.policy,
            threshold: plan.threshold,
            before: (total.dead, total.read),
            ledger: plan.ledger,
            letters: 0,
            dead: Vec::new(),
            dead_weight: 0,
            writes: Vec::new(),
            writes_weight: 0,
            nowhere: "sinks".into(),
        })
    }

    /// Dead letters made so far by this process.
    pub fn letters(&self) -> u64 {
        self.letters
    }

    /// Why there are too many dead letters. Those of earlier processes do not count: running again goes on.
    fn exceeded(&self) -> Option<String> {
        let total = self.ledger.total();
        self.threshold
            .exceeded(total.dead - self.before.0, total.read - self.before.1)
    }

    /// The stages' names, plugins and counters, for progress.
    pub fn meters(&self) -> impl Iterator<Item = (&Arc<str>, &str, &Arc<Meter>)> {
        self.sinks
            .iter()
            .map(|s| (&s.name, s.undertaker.identity.plugin.as_str(), &s.meter))
    }

    fn waiting_bytes(&self) -> usize {
        let logs: usize = self
            .sinks
            .iter()
            .map(|s| s.keeper.since_weight())
            .max()
            .unwrap_or(0);
        self.dead_weight + self.writes_weight + logs
    }

    /// Writes what came out of the chain and counts it.
    pub async fn settle(&mut self, epoch: u64, outcome: Outcome) -> Result<Settled, RunError> {
        let weight = outcome.weight();
        self.ledger.merge(&outcome.ledger);
        self.bury(outcome.dead);
        self.keep_writes(outcome.writes);
        for batch in outcome.batches {
            self.write(epoch, &batch).await?;
        }
        Ok(Settled::Batch {
            weight,
            waiting_bytes: self.waiting_bytes(),
            exceeded: self.exceeded(),
        })
    }

    fn bury(&mut self, dead: Vec<DeadLetter>) {
        self.dead_weight += dead
            .iter()
            .map(|d| d.payload.len() + d.key.len() + d.headers.len() + 512)
            .sum::<usize>();
        self.letters += dead.len() as u64;
        self.dead.extend(dead);
    }

    fn keep_writes(&mut self, writes: Vec<TableWrite>) {
        self.writes_weight += writes
            .iter()
            .map(|w| w.key.len() + w.value.as_ref().map_or(0, Vec::len) + 64)
            .sum::<usize>();
        self.writes.extend(writes);
    }

    /// Gives a batch to every sink that takes its stream. A record is settled when all of them have settled it.
    async fn write(&mut self, epoch: u64, batch: &Arc<Batch>) -> Result<(), RunError> {
        if batch.is_empty() {
            return Ok(());
        }
        let policy = self.policy;
        let takers = self.sinks.iter_mut().filter(|s| {
            s.streams
                .as_ref()
                .is_none_or(|t| t.contains(&**batch.stream()))
        });
        let results = join_all(takers.map(|sink| sink.write(batch, &policy))).await;
        if results.is_empty() {
            let reason = super::stage::Tally {
                reason: format!("no sink takes stream `{}`", batch.stream()),
                count: u32::try_from(batch.len()).unwrap_or(u32::MAX),
            };
            self.ledger
                .filter(&self.nowhere, batch.stream(), batch.len() as u64, &[reason]);
            return Ok(());
        }
        let mut refused = vec![false; batch.len()];
        for result in results {
            let lane = result?;
            for (all, one) in refused.iter_mut().zip(&lane.refused) {
                *all |= one;
            }
            self.overlay.add(epoch, &lane.writes);
            self.keep_writes(lane.writes);
            self.bury(lane.dead);
        }
        let dead = refused.iter().filter(|refused| **refused).count() as u64;
        let counts = self.ledger.stream(batch.stream());
        counts.dead += dead;
        counts.written += batch.len() as u64 - dead;
        Ok(())
    }

    /// A barrier has arrived: everything before it is written. Makes it durable, then visible.
    ///
    /// A run with too many dead letters does not finish: its output is not put in place.
    pub async fn barrier(&mut self, barrier: Barrier) -> Result<Settled, RunError> {
        let exceeded = self.exceeded();
        let finished = barrier.finished && exceeded.is_none();
        if !self.ledger.balances() {
            return Err(RunError::Unbalanced(self.ledger.total()));
        }
        let mut states = barrier.states;
        let mut snapshots = Vec::with_capacity(self.sinks.len());
        for sink in &mut self.sinks {
            if finished {
                sink.finish(&self.policy).await?;
            }
            let snapshot = sink
                .keeper
                .snapshot(&self.policy)
                .await
                .map_err(|fault| sink.failure(fault))?;
            states.insert(sink.name.to_string(), sink.keeper.state(snapshot.clone()));
            snapshots.push(snapshot);
        }
        let mut checkpoint = Checkpoint {
            format: FORMAT,
            flow: self.flow.to_string(),
            run: self.run.to_string(),
            epoch: barrier.epoch,
            at_ms: now_ms(),
            finished,
            settled: false,
            stages: states,
            counts: self
                .ledger
                .streams
                .iter()
                .map(|(name, counts)| (name.to_string(), *counts))
                .collect(),
            filtered: self
                .ledger
                .filtered
                .iter()
                .map(|(name, r)| (name.to_string(), r.clone()))
                .collect(),
        };
        // Invariant 2: one write for all that the epoch produced.
        self.journal
            .commit(Commit {
                checkpoint: Some(checkpoint.clone()),
                dead_letters: std::mem::take(&mut self.dead),
                table_changes: std::mem::take(&mut self.writes)
                    .into_iter()
                    .map(change)
                    .collect(),
            })
            .await?;
        (self.dead_weight, self.writes_weight) = (0, 0);
        self.overlay.durable(barrier.epoch);
        for (sink, snapshot) in self.sinks.iter_mut().zip(&snapshots) {
            let failure = |fault| StageFailure::new(&sink.name, &sink.undertaker.identity, fault);
            let instance = sink.keeper.instance().await.map_err(failure)?;
            commit(instance, snapshot, &self.policy)
                .await
                .map_err(failure)?;
            sink.keeper
                .recycle_if_due(&self.policy)
                .await
                .map_err(failure)?;
        }
        if finished {
            checkpoint.settled = true;
            self.journal
                .commit(Commit {
                    checkpoint: Some(checkpoint),
                    ..Commit::default()
                })
                .await?;
        }
        // Invariant 1: only now may the source forget.
        Ok(Settled::Barrier {
            position: barrier.position,
            epoch: barrier.epoch,
            exceeded,
        })
    }

    /// Ends all sinks.
    pub async fn close(&mut self) {
        for sink in &mut self.sinks {
            sink.keeper.close().await;
        }
    }
}

fn change(write: TableWrite) -> TableChange {
    TableChange {
        table: write.table.to_string(),
        key: write.key,
        value: write.value,
    }
}

async fn commit(sink: &mut dyn Sink, snapshot: &[u8], policy: &RetryPolicy) -> Result<(), Fault> {
    let mut attempt = 1;
    loop {
        match sink.commit(snapshot).await {
            Err(fault) if fault.kind == FaultKind::Transient => {
                attempt += 1;
                match policy.wait(attempt, &fault) {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => return Err(fault),
                }
            }
            done => return done,
        }
    }
}

/// What one sink did with one batch.
struct LaneResult {
    /// Per record of the batch: it is a dead letter of this sink.
    refused: Vec<bool>,
    dead: Vec<DeadLetter>,
    writes: Vec<TableWrite>,
}

impl SinkLane {
    async fn write(
        &mut self,
        batch: &Arc<Batch>,
        policy: &RetryPolicy,
    ) -> Result<LaneResult, StageFailure> {
        let mut worker = SinkWorker {
            keeper: &mut self.keeper,
            receipts: self.receipts.as_ref(),
        };
        let pieces = work_off(&mut worker, Arc::clone(batch), policy)
            .await
            .map_err(|fault| self.failure(fault))?;
        let mut result = LaneResult {
            refused: vec![false; batch.len()],
            dead: Vec::new(),
            writes: Vec::new(),
        };
        for piece in pieces {
            match piece {
                Piece::Done {
                    part,
                    place,
                    answer,
                    retried,
                } => {
                    let settled_later = |r: &&Rejection| !retried.contains(&r.index);
                    let mut dead = 0;
                    for rejection in answer.rejected.iter().filter(settled_later) {
                        self.refuse(
                            &part,
                            rejection.index,
                            &place,
                            &rejection.fault,
                            &mut result,
                        );
                        dead += 1;
                    }
                    self.meter
                        .count(&part, part.len() - answer.rejected.len(), dead);
                    result.writes.extend(answer.writes);
                }
                Piece::Dead { part, place, fault } => {
                    self.refuse(&part, 0, &place, &fault, &mut result);
                    self.meter.count(&part, 0, 1);
                }
            }
        }
        self.keeper
            .recycle_if_due(policy)
            .await
            .map_err(|fault| self.failure(fault))?;
        Ok(result)
    }

    fn refuse(
        &self,
        part: &Batch,
        index: u32,
        place: &Place,
        fault: &Fault,
        result: &mut LaneResult,
    ) {
        if let Some(flag) = result.refused.get_mut(place.of(index) as usize) {
            *flag = true;
        }
        result.dead.extend(
            part.record(index as usize)
                .map(|record| self.undertaker.record(part, record, fault)),
        );
    }

    async fn finish(&mut self, policy: &RetryPolicy) -> Result<(), StageFailure> {
        let mut attempt = 1;
        loop {
            let result = match self.keeper.instance().await {
                Ok(instance) => instance.finish().await,
                Err(fault) => Err(fault),
            };
            let Err(fault) = result else { return Ok(()) };
            self.keeper.failed(&fault);
            attempt += 1;
            match policy
                .wait(attempt, &fault)
                .filter(|_| fault.kind == FaultKind::Transient)
            {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(self.failure(fault)),
            }
        }
    }

    fn failure(&self, fault: Fault) -> StageFailure {
        StageFailure::new(&self.name, &self.undertaker.identity, fault)
    }
}

struct SinkAnswer {
    rejected: Vec<Rejection>,
    writes: Vec<TableWrite>,
}

struct SinkWorker<'a> {
    keeper: &'a mut Keeper<dyn Sink>,
    receipts: Option<&'a Arc<str>>,
}

/// What the target answered, as writes to the table that the flow names for it: key to payload.
fn receipts(table: Option<&Arc<str>>, written: &Written) -> Vec<TableWrite> {
    let (Some(table), Some(receipts)) = (table, &written.receipts) else {
        return Vec::new();
    };
    let entry = |record: Record<'_>| {
        let key = String::from_utf8_lossy(record.key).into_owned();
        let value = (record.op() == Op::Upsert).then(|| record.payload.to_vec());
        TableWrite {
            table: Arc::clone(table),
            key,
            value,
        }
    };
    receipts.records().map(entry).collect()
}

#[async_trait]
impl Worker for SinkWorker<'_> {
    type Answer = SinkAnswer;

    async fn call(&mut self, batch: &Arc<Batch>) -> Result<Self::Answer, Fault> {
        let instance = self.keeper.instance().await?;
        let result = match instance.write(batch).await {
            Ok(written) => rejected_flags(batch.len(), written.rejected.iter().map(|r| r.index))
                .map(|_| written),
            Err(fault) => Err(fault),
        };
        match result {
            Ok(written) => {
                let mut writes = instance.take_table_writes();
                writes.extend(receipts(self.receipts, &written));
                self.keeper.took(batch);
                Ok(SinkAnswer {
                    rejected: written.rejected,
                    writes,
                })
            }
            Err(fault) => {
                self.keeper.failed(&fault);
                Err(fault)
            }
        }
    }

    fn rejected(answer: &Self::Answer) -> &[Rejection] {
        &answer.rejected
    }

    fn repeatable(&self) -> bool {
        false
    }
}
