//! The sinks' side of a run: entries of the lane in order, counts, and the checkpoint.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::future::join_all;

use super::{
    batch::Batch,
    dead_letter::{Keep, Threshold, Undertaker, now_ms},
    ledger::Ledger,
    meter::Meter,
    outcome::Outcome,
    overlay::Overlay,
    retry::RetryPolicy,
    run::{RunError, StageFailure},
    sink_lane::{SinkLane, SinkStage},
    stage::{Snapshot, TableWrite},
    swap::Switch,
    trial::Trial,
};
use crate::storage::{
    Checkpoint, Commit, DeadLetter, Journal, StageState, StreamCounts, TableChange,
    checkpoint::FORMAT,
};

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
    /// Records that this process had read by then.
    pub records: u64,
    /// The switch that it carries.
    pub switch: Option<Arc<Switch>>,
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
    keep: Keep,
    expired: Arc<AtomicU64>,
    /// Dead letters and records read by earlier processes of the run.
    pub before: (u64, u64),
    /// Counts of the run so far.
    pub ledger: Ledger,
    letters: u64,
    dead: Vec<DeadLetter>,
    dead_weight: usize,
    writes: Vec<TableWrite>,
    writes_weight: usize,
    /// Ids of dead letters that were given again: they go with the next checkpoint.
    replayed: Vec<u64>,
    /// A new version is on probation: barriers do not commit.
    holding: bool,
    /// What is heard of the version that was on probation last. It may fail in the very barrier that ends the run.
    trial: Option<Arc<Trial>>,
    nowhere: Arc<str>,
}

/// What the sinks' side of a run is made of.
pub struct SettlerPlan<'a> {
    /// The sinks.
    pub sinks: &'a [SinkStage],
    /// Where checkpoints go.
    pub journal: Arc<dyn Journal>,
    /// Tables with what is not durable yet.
    pub overlay: Arc<Overlay>,
    /// For transient faults.
    pub policy: RetryPolicy,
    /// When there are too many dead letters.
    pub threshold: Threshold,
    /// What is kept of older ones.
    pub keep: Keep,
    /// Counts those that checkpoints drop.
    pub expired: Arc<AtomicU64>,
    /// Counts that the run goes on from.
    pub ledger: Ledger,
    /// Dead letters and records of the run that do not count for the threshold; `None`: those of the ledger.
    pub before: Option<(u64, u64)>,
    /// Dead letters made by this process before.
    pub letters: u64,
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
    /// A barrier during a probation: nothing was committed.
    Held {
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
        /// Records that this process had read by then.
        records: u64,
        /// Dead letters that this process had made by then.
        letters: u64,
        /// The switch that it carried.
        switch: Option<Arc<Switch>>,
        /// Why the run must stop, if it must.
        exceeded: Option<String>,
    },
}

impl Settler {
    /// Opens all sinks, each from its snapshot when there is one, and finishes what a crash left uncommitted.
    pub async fn open(
        plan: SettlerPlan<'_>,
        snapshots: &BTreeMap<String, StageState>,
        undertaker: &Undertaker,
    ) -> Result<Self, StageFailure> {
        let mut sinks = Vec::with_capacity(plan.sinks.len());
        for stage in plan.sinks {
            sinks.push(
                SinkLane::open(stage, snapshots, plan.settled, undertaker, &plan.policy).await?,
            );
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
            keep: plan.keep,
            expired: plan.expired,
            before: plan.before.unwrap_or((total.dead, total.read)),
            ledger: plan.ledger,
            letters: plan.letters,
            dead: Vec::new(),
            dead_weight: 0,
            writes: Vec::new(),
            writes_weight: 0,
            replayed: Vec::new(),
            holding: false,
            trial: None,
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
        self.sinks.iter().map(|s| (&s.name, s.plugin(), &s.meter))
    }

    fn waiting_bytes(&self) -> usize {
        let logs: usize = self
            .sinks
            .iter()
            .map(SinkLane::since_weight)
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
        self.replayed.extend(outcome.replayed);
        for batch in outcome.batches {
            self.write(epoch, &batch, outcome.only.as_ref()).await?;
        }
        Ok(Settled::Batch {
            weight,
            waiting_bytes: self.waiting_bytes(),
            exceeded: self.exceeded(),
        })
    }

    fn bury(&mut self, dead: Vec<DeadLetter>) {
        self.dead_weight += dead.iter().map(DeadLetter::memory).sum::<usize>();
        self.letters += dead.len() as u64;
        self.dead.extend(dead);
    }

    fn keep_writes(&mut self, writes: Vec<TableWrite>) {
        self.writes_weight += writes.iter().map(TableWrite::weight).sum::<usize>();
        self.writes.extend(writes);
    }

    /// Gives a batch to every sink that takes its stream, or to one of them (a replay: the others have it). A record is settled when all of them have settled it.
    async fn write(
        &mut self,
        epoch: u64,
        batch: &Arc<Batch>,
        only: Option<&Arc<str>>,
    ) -> Result<(), RunError> {
        if batch.is_empty() {
            return Ok(());
        }
        let policy = self.policy;
        let only = only.map(|name| &**name);
        let takers = self
            .sinks
            .iter_mut()
            .filter(|s| only.is_none_or(|only| *s.name == *only) && s.takes(batch.stream()));
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
            let state = sink.snapshot(&self.policy).await?;
            snapshots.push(state.snapshot.clone());
            states.insert(sink.name.to_string(), state);
        }
        if self.holding || self.trial.as_ref().is_some_and(|t| t.fault().is_some()) {
            // Batches that were kept to be given again are not needed any more; everything else waits.
            return Ok(Settled::Held {
                waiting_bytes: self.waiting_bytes(),
                exceeded,
            });
        }
        let mut checkpoint = self.checkpoint(barrier.epoch, finished, states);
        // Invariant 2: one write for all that the epoch produced.
        let committed = self
            .journal
            .commit(Commit {
                checkpoint: Some(checkpoint.clone()),
                dead_letters: std::mem::take(&mut self.dead),
                table_changes: std::mem::take(&mut self.writes)
                    .into_iter()
                    .map(change)
                    .collect(),
                removed_dead_letters: std::mem::take(&mut self.replayed),
                retention: self.keep.now(),
            })
            .await?;
        self.expired.fetch_add(committed.expired, Ordering::Relaxed);
        (self.dead_weight, self.writes_weight) = (0, 0);
        self.overlay.durable(barrier.epoch);
        for (sink, snapshot) in self.sinks.iter_mut().zip(snapshots) {
            sink.commit(&snapshot, &self.policy).await?;
            if let Some(switch) = barrier.switch.as_ref().filter(|s| s.stage == sink.name) {
                sink.switch(switch, snapshot).await;
            }
        }
        let held = barrier
            .switch
            .as_ref()
            .filter(|switch| switch.hold && !switch.is_refused());
        self.holding = held.is_some();
        self.trial = held.map(|switch| Arc::clone(&switch.trial));
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
            records: barrier.records,
            letters: self.letters,
            exceeded,
            switch: barrier.switch,
        })
    }

    fn checkpoint(
        &self,
        epoch: u64,
        finished: bool,
        stages: BTreeMap<String, StageState>,
    ) -> Checkpoint {
        let named = |(name, counts): (&Arc<str>, &StreamCounts)| (name.to_string(), *counts);
        let reasons =
            |(name, r): (&Arc<str>, &BTreeMap<String, u64>)| (name.to_string(), r.clone());
        Checkpoint {
            format: FORMAT,
            flow: self.flow.to_string(),
            run: self.run.to_string(),
            epoch,
            at_ms: now_ms(),
            finished,
            settled: false,
            stages,
            counts: self.ledger.streams.iter().map(named).collect(),
            filtered: self.ledger.filtered.iter().map(reasons).collect(),
        }
    }

    /// Commits again from the next barrier on, unless the version that was on probation has failed.
    pub fn release(&mut self) {
        self.holding = false;
    }

    /// Ends all sinks.
    pub async fn close(&mut self) {
        for sink in &mut self.sinks {
            sink.close().await;
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
