//! The source's side of a run: one read after the other, and the position behind each.

use std::{sync::Arc, time::Instant};

use super::{
    dead_letter::Undertaker,
    fault::{Fault, FaultKind},
    keeper::{self, Recycle},
    ledger::Streams,
    meter::Meter,
    retry::RetryPolicy,
    run::StageFailure,
    stage::{Budget, Opener, Read, Snapshot, Source, TableWrite},
    swap::{Candidate, Switch, open_in_time},
};
use crate::storage::StageState;

/// A page of more than this is refused, when the budget of records does not allow for more. So far a source may go
/// beyond the budget; what it gives is held in memory record by record when it becomes dead letters.
const MAX_PAGE: usize = 10_000;

/// The source of a run as it was planned.
#[derive(Clone)]
pub struct SourceStage {
    /// The stage's name.
    pub name: Arc<str>,
    /// Makes its instances.
    pub opener: Arc<dyn Opener<dyn Source>>,
    /// When an instance is replaced.
    pub recycle: Recycle,
}

/// What the source's hand brings back.
#[derive(Debug)]
pub enum Brought {
    /// What was read.
    Records(Read, Vec<TableWrite>),
    /// It has tried to switch; the switch says what came of it.
    Switched,
}

/// The source of a run.
///
/// It takes a snapshot after every read. So a barrier costs nothing, and an instance that traps is opened again exactly
/// behind the last batch that it gave.
pub struct Intake {
    stage: SourceStage,
    streams: Arc<Streams>,
    source: Option<Box<dyn Source>>,
    position: Option<Snapshot>,
    acknowledge: Option<Snapshot>,
    policy: RetryPolicy,
    /// Makes dead letters of unreadable input.
    pub undertaker: Undertaker,
    /// Counters for progress.
    pub meter: Arc<Meter>,
}

impl Intake {
    /// Opens the source, from its snapshot when there is one.
    pub async fn open(
        stage: SourceStage,
        streams: Arc<Streams>,
        snapshot: Option<Snapshot>,
        undertaker: Undertaker,
        policy: RetryPolicy,
    ) -> Result<Self, StageFailure> {
        let source = keeper::open(&stage.opener, snapshot.as_deref(), &policy)
            .await
            .map_err(|fault| StageFailure::new(&stage.name, stage.opener.identity(), fault))?;
        let mut intake = Self {
            stage,
            streams,
            source: Some(source),
            position: snapshot,
            acknowledge: None,
            policy,
            undertaker,
            meter: Arc::default(),
        };
        if intake.position.is_none() {
            intake
                .locate()
                .await
                .map_err(|fault| intake.failure(fault))?;
        }
        Ok(intake)
    }

    /// The name and plugin, for progress.
    pub fn label(&self) -> (&Arc<str>, &str) {
        (&self.stage.name, &self.undertaker.identity.plugin)
    }

    /// Reads once. Takes itself and gives itself back, so that it can run as a task of its own.
    pub async fn read(mut self, budget: Budget) -> (Self, Result<Brought, StageFailure>) {
        let result = match self.try_read(budget).await {
            Ok((read, writes)) => Ok(Brought::Records(read, writes)),
            Err(fault) => Err(self.failure(fault)),
        };
        (self, result)
    }

    /// Opens the new version behind the last record read, and only then ends the old one. The new one may refuse.
    pub async fn switch(mut self, switch: Arc<Switch>) -> (Self, Result<Brought, StageFailure>) {
        if let Candidate::Source(opener) = &switch.candidate {
            let started = Instant::now();
            match open_in_time(opener, self.position.as_deref(), switch.open_time).await {
                Ok(fresh) => {
                    self.stage.opener = Arc::clone(opener);
                    self.undertaker.identity = opener.identity().clone();
                    if let Some(mut old) = self.source.replace(fresh) {
                        // Nothing waits for its last words.
                        tokio::spawn(async move { old.close().await });
                    }
                    switch.report(Ok(started.elapsed()));
                }
                Err(fault) => switch.report(Err(fault)),
            }
        }
        (self, Ok(Brought::Switched))
    }

    async fn try_read(&mut self, budget: Budget) -> Result<(Read, Vec<TableWrite>), Fault> {
        self.tell_committed().await?;
        let mut attempt = 1;
        loop {
            match self.read_once(budget).await {
                Ok(read) => {
                    self.recycle_if_due().await?;
                    return Ok(read);
                }
                Err(fault) => {
                    let again = fault.kind == FaultKind::Transient || fault.kind.is_lethal();
                    if fault.kind.is_lethal() {
                        self.source = None;
                    } else if let Some(source) = &mut self.source {
                        source.take_table_writes();
                    }
                    attempt += 1;
                    let Some(wait) = self.policy.wait(attempt, &fault).filter(|_| again) else {
                        return Err(fault);
                    };
                    tracing::warn!(attempt, wait_ms = wait.as_millis(), %fault, "Source failed for now, trying again");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn read_once(&mut self, budget: Budget) -> Result<(Read, Vec<TableWrite>), Fault> {
        let source = match &mut self.source {
            Some(source) => source,
            none => none.insert(self.stage.opener.open(self.position.as_deref()).await?),
        };
        let read = source.read(budget).await?;
        if let Read::Page {
            records,
            unreadable,
        } = &read
        {
            // Invariant 6.
            within(budget, records.len() + unreadable.len())?;
            self.streams.admit([records.stream()])?;
        }
        let writes = source.take_table_writes();
        if !matches!(read, Read::Idle(_)) {
            self.locate().await?;
        }
        if let Read::Page {
            records,
            unreadable,
        } = &read
        {
            self.meter.count(records, records.len(), unreadable.len());
        }
        Ok((read, writes))
    }

    async fn locate(&mut self) -> Result<(), Fault> {
        if let Some(source) = &mut self.source {
            self.position = Some(source.snapshot().await?);
        }
        Ok(())
    }

    async fn recycle_if_due(&mut self) -> Result<(), Fault> {
        if self
            .source
            .as_ref()
            .is_some_and(|s| self.stage.recycle.is_due(s.wear()))
        {
            let fresh = self.stage.opener.open(self.position.as_deref()).await?;
            if let Some(mut old) = self.source.replace(fresh) {
                old.close().await;
            }
        }
        Ok(())
    }

    /// The position behind the last record read, for a barrier.
    pub fn state(&self) -> StageState {
        keeper::state(
            &self.undertaker.identity,
            self.position.clone().unwrap_or_default(),
        )
    }

    /// To tell the source before its next read, or at its end.
    pub fn acknowledge(&mut self, snapshot: Snapshot) {
        self.acknowledge = Some(snapshot);
    }

    async fn tell_committed(&mut self) -> Result<(), Fault> {
        // Invariant 1: the snapshot came back from a settled barrier.
        let Some(snapshot) = self.acknowledge.take() else {
            return Ok(());
        };
        let mut attempt = 1;
        loop {
            let Some(source) = &mut self.source else {
                return Ok(());
            };
            match source.committed(&snapshot).await {
                Ok(()) => return Ok(()),
                Err(fault) => {
                    attempt += 1;
                    let again = fault.kind == FaultKind::Transient;
                    let Some(wait) = self.policy.wait(attempt, &fault).filter(|_| again) else {
                        return Err(fault);
                    };
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Says the last `committed` and ends the source.
    pub async fn close(mut self) -> Result<(), StageFailure> {
        self.tell_committed()
            .await
            .map_err(|fault| self.failure(fault))?;
        if let Some(mut source) = self.source.take() {
            source.close().await;
        }
        Ok(())
    }

    fn failure(&self, fault: Fault) -> StageFailure {
        StageFailure::new(&self.stage.name, &self.undertaker.identity, fault)
    }
}

/// Holds the size of a page against the budget.
fn within(budget: Budget, given: usize) -> Result<(), Fault> {
    let most = (budget.records as usize).max(MAX_PAGE);
    if given <= most {
        return Ok(());
    }
    let message =
        format!("one read gave {given} records and unreadable inputs; {most} are allowed");
    Err(Fault::new(FaultKind::Contract, message)
        .advice("the plugin breaks the contract; report it to its author"))
}
