//! One sink of a run: batches in, what became of every record out, and another version when it is swapped.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use async_trait::async_trait;

use super::{
    batch::{Batch, Op, Record},
    bisect::{Piece, Place, Worker, work_off},
    dead_letter::Undertaker,
    fault::{Fault, FaultKind},
    keeper::{self, Keeper, Recycle},
    ledger::rejected_flags,
    mark::Mark,
    meter::Meter,
    retry::RetryPolicy,
    run::StageFailure,
    stage::{Opener, Rejection, Sink, Snapshot, TableWrite, Written},
    swap::{Candidate, Switch, open_in_time},
};
use crate::storage::{DeadLetter, StageState};

/// One sink of a run as it was planned.
#[derive(Clone)]
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

/// One sink of a run.
pub struct SinkLane {
    /// Its name.
    pub name: Arc<str>,
    streams: Option<BTreeSet<String>>,
    receipts: Option<Arc<str>>,
    keeper: Keeper<dyn Sink>,
    undertaker: Undertaker,
    /// Counters for progress.
    pub meter: Arc<Meter>,
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
pub struct LaneResult {
    /// Per record of the batch: it is a dead letter of this sink.
    pub refused: Vec<bool>,
    /// The dead letters.
    pub dead: Vec<DeadLetter>,
    /// Its table writes.
    pub writes: Vec<TableWrite>,
}

impl SinkLane {
    /// Opens a sink, from its snapshot when there is one. What a crash left uncommitted is committed when `settled` is
    /// `false`.
    pub async fn open(
        stage: &SinkStage,
        snapshots: &BTreeMap<String, StageState>,
        settled: bool,
        undertaker: &Undertaker,
        policy: &RetryPolicy,
    ) -> Result<Self, StageFailure> {
        let undertaker = Undertaker {
            stage: Arc::clone(&stage.name),
            identity: stage.opener.identity().clone(),
            ..undertaker.clone()
        };
        let failure = |fault| undertaker.failure(fault);
        let snapshot = snapshots
            .get(&*stage.name)
            .map(|state| state.snapshot.clone());
        let mut instance = keeper::open(&stage.opener, snapshot.as_deref(), policy)
            .await
            .map_err(failure)?;
        if let Some(snapshot) = snapshot.as_deref().filter(|_| !settled) {
            // The checkpoint is durable, but nobody knows whether this commit was made: it is idempotent.
            commit(instance.as_mut(), snapshot, policy)
                .await
                .map_err(failure)?;
        }
        Ok(Self {
            name: Arc::clone(&stage.name),
            streams: stage.streams.clone(),
            receipts: stage.receipts.clone(),
            keeper: Keeper::new(Arc::clone(&stage.opener), instance, snapshot, stage.recycle),
            undertaker,
            meter: Arc::default(),
        })
    }

    /// Whether it takes records of a stream.
    pub fn takes(&self, stream: &str) -> bool {
        self.streams.as_ref().is_none_or(|t| t.contains(stream))
    }

    /// The plugin's name.
    pub fn plugin(&self) -> &str {
        &self.undertaker.identity.plugin
    }

    /// Bytes of the batches that it would be given again.
    pub fn since_weight(&self) -> usize {
        self.keeper.since_weight()
    }

    /// Makes everything written so far durable.
    pub async fn snapshot(&mut self, policy: &RetryPolicy) -> Result<StageState, StageFailure> {
        let snapshot = self
            .keeper
            .snapshot(policy)
            .await
            .map_err(|fault| self.failure(fault))?;
        Ok(self.keeper.state(snapshot))
    }

    /// Makes everything up to a snapshot visible.
    pub async fn commit(
        &mut self,
        snapshot: &[u8],
        policy: &RetryPolicy,
    ) -> Result<(), StageFailure> {
        let result = match self.keeper.instance().await {
            Ok(instance) => commit(instance, snapshot, policy).await,
            Err(fault) => Err(fault),
        };
        let result = match result {
            Ok(()) => self.keeper.recycle_if_due(policy).await,
            failed => failed,
        };
        result.map_err(|fault| self.failure(fault))
    }

    /// Opens the new version from a snapshot that the old one has just committed, and only then ends the old one. The
    /// new one may refuse.
    pub async fn switch(&mut self, switch: &Switch, snapshot: Snapshot) {
        let Candidate::Sink(opener) = &switch.candidate else {
            return;
        };
        let started = Instant::now();
        match open_in_time(opener, Some(&snapshot), switch.open_time).await {
            Ok(instance) => {
                let old = self.keeper.replace(Arc::clone(opener), instance, snapshot);
                self.undertaker.identity = opener.identity().clone();
                if let Some(mut old) = old {
                    // Nothing waits for its last words.
                    tokio::spawn(async move { old.close().await });
                }
                switch.report(Ok(started.elapsed()));
            }
            Err(fault) => switch.report(Err(fault)),
        }
    }

    /// The last call.
    pub async fn close(&mut self) {
        self.keeper.close().await;
    }

    /// Writes a batch and says what became of every record.
    pub async fn write(
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

    /// The input has ended.
    pub async fn finish(&mut self, policy: &RetryPolicy) -> Result<(), StageFailure> {
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
                self.keeper.took(batch, Mark::of_sink(&written));
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

    fn weight(answer: &Self::Answer) -> usize {
        let rejected: usize = answer.rejected.iter().map(Rejection::weight).sum();
        rejected + answer.writes.iter().map(TableWrite::weight).sum::<usize>()
    }

    fn repeatable(&self) -> bool {
        false
    }

    fn is_lost(&self) -> bool {
        self.keeper.is_lost()
    }
}
