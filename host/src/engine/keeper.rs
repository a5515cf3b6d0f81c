//! Keeps the one instance of a stage that has state (a stateful transformer, a sink) alive over traps and wear.
//!
//! It holds the last snapshot and the batches since then. An instance that is gone is brought back by opening a new one
//! from the snapshot and giving it those batches again; one that has grown old is replaced by `snapshot` and `open`.
//! Both are the contract's one mechanism, and neither is seen by the rest of the engine.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    batch::Batch,
    fault::{Fault, FaultKind},
    mark::Mark,
    retry::RetryPolicy,
    stage::{Instance, Opener, Sink, Snapshot, Transformer, Wear},
};
use crate::storage::StageState;

/// When an instance is replaced because it has grown old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recycle {
    /// After this many records.
    pub records: u64,
    /// When it holds more than this many bytes of memory.
    pub memory: u64,
}

impl Default for Recycle {
    fn default() -> Self {
        Self {
            records: 1_000_000,
            memory: 192 << 20,
        }
    }
}

impl Recycle {
    /// Whether an instance is due.
    pub fn is_due(&self, wear: Wear) -> bool {
        wear.records >= self.records || wear.memory >= self.memory
    }
}

/// What the keeper asks of both kinds of stages.
#[async_trait]
pub trait Kept: Instance {
    /// The stage's snapshot.
    async fn take_snapshot(&mut self) -> Result<Snapshot, Fault>;
    /// Takes a batch that was taken before; its effects are known already. Says what the answer came to.
    async fn replay(&mut self, batch: &Batch) -> Result<Mark, Fault>;
    /// The last call.
    async fn end(&mut self);
}

#[async_trait]
impl Kept for dyn Transformer {
    async fn take_snapshot(&mut self) -> Result<Snapshot, Fault> {
        self.snapshot().await
    }

    async fn replay(&mut self, batch: &Batch) -> Result<Mark, Fault> {
        let applied = self.apply(batch).await?;
        Ok(Mark::of_transformer(batch, &applied))
    }

    async fn end(&mut self) {
        self.close().await;
    }
}

#[async_trait]
impl Kept for dyn Sink {
    async fn take_snapshot(&mut self) -> Result<Snapshot, Fault> {
        self.snapshot().await
    }

    async fn replay(&mut self, batch: &Batch) -> Result<Mark, Fault> {
        Ok(Mark::of_sink(&self.write(batch).await?))
    }

    async fn end(&mut self) {
        self.close().await;
    }
}

/// See the module's documentation.
pub struct Keeper<S: ?Sized + Kept> {
    opener: Arc<dyn Opener<S>>,
    instance: Option<Box<S>>,
    snapshot: Option<Snapshot>,
    since: Vec<(Arc<Batch>, Mark)>,
    since_weight: usize,
    recycle: Recycle,
    /// The instance is gone and cannot be brought back.
    lost: bool,
}

impl<S: ?Sized + Kept> Keeper<S> {
    /// Takes over an instance that was just opened from `snapshot`.
    pub fn new(
        opener: Arc<dyn Opener<S>>,
        instance: Box<S>,
        snapshot: Option<Snapshot>,
        recycle: Recycle,
    ) -> Self {
        Self {
            opener,
            instance: Some(instance),
            snapshot,
            since: Vec::new(),
            since_weight: 0,
            recycle,
            lost: false,
        }
    }

    /// The instance, brought back first when it is gone.
    pub async fn instance(&mut self) -> Result<&mut S, Fault> {
        if self.instance.is_none() {
            let back = self.bring_back().await;
            self.lost = matches!(&back, Err(fault) if fault.kind != FaultKind::Transient);
            self.instance = Some(back?);
        }
        match &mut self.instance {
            Some(instance) => Ok(instance.as_mut()),
            // Set above.
            None => Err(Fault::new(FaultKind::Trap, "the instance is gone")),
        }
    }

    /// Opens a new instance from the last snapshot and gives it the batches since then. It must answer as before.
    async fn bring_back(&mut self) -> Result<Box<S>, Fault> {
        let mut instance = self.opener.open(self.snapshot.as_deref()).await?;
        for (batch, before) in &self.since {
            let now = instance.replay(batch).await.map_err(|fault| {
                if fault.kind == FaultKind::Transient {
                    return fault;
                }
                other(&format!("it fails on a batch that it took before: {fault}"))
            })?;
            instance.take_table_writes();
            let Some(difference) = before.difference(&now) else {
                continue;
            };
            // What it answered first has gone on, so the state behind it must be that one.
            if instance.repeats() {
                return Err(other(&format!(
                    "it answers differently on {} records of `{}`: {difference}",
                    batch.len(),
                    batch.stream()
                )));
            }
            tracing::warn!(
                plugin = self.opener.identity().plugin,
                difference,
                "Brought back, a stage answers differently; it sees more than its input, so that may be right"
            );
        }
        Ok(instance)
    }

    /// Whether the instance is gone and cannot be brought back: no record is to blame for that.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// What the instance was last opened from or has last given.
    pub fn last_snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// What to do after a call failed: an instance that is dead is dropped, table writes of the call are forgotten.
    pub fn failed(&mut self, fault: &Fault) {
        if fault.kind.is_lethal() {
            self.instance = None;
        } else if let Some(instance) = &mut self.instance {
            instance.take_table_writes();
        }
    }

    /// Remembers a batch that was taken and what came of it, to give it again if the instance dies before the next
    /// snapshot.
    pub fn took(&mut self, batch: &Arc<Batch>, mark: Mark) {
        self.since_weight += batch.weight();
        self.since.push((Arc::clone(batch), mark));
    }

    /// Bytes of the batches that are remembered.
    pub fn since_weight(&self) -> usize {
        self.since_weight
    }

    /// The stage's state now. What came before need not be given again.
    pub async fn snapshot(&mut self, policy: &RetryPolicy) -> Result<Snapshot, Fault> {
        let mut attempt = 1;
        loop {
            let result = self.instance().await?.take_snapshot().await;
            match result {
                Ok(snapshot) => {
                    self.snapshot = Some(snapshot.clone());
                    self.since.clear();
                    self.since_weight = 0;
                    return Ok(snapshot);
                }
                Err(fault) => {
                    self.failed(&fault);
                    attempt += 1;
                    // A trap in `snapshot` may be a passing one (memory): the brought back instance tries again.
                    let again = fault.kind == FaultKind::Transient || fault.kind.is_lethal();
                    match policy.wait(attempt, &fault).filter(|_| again) {
                        Some(wait) => tokio::time::sleep(wait).await,
                        None => return Err(fault),
                    }
                }
            }
        }
    }

    /// Replaces an instance that has grown old.
    pub async fn recycle_if_due(&mut self, policy: &RetryPolicy) -> Result<(), Fault> {
        let due = self
            .instance
            .as_ref()
            .is_some_and(|i| self.recycle.is_due(i.wear()));
        if due {
            let snapshot = self.snapshot(policy).await?;
            let fresh = self.opener.open(Some(&snapshot)).await?;
            tracing::debug!(
                plugin = self.opener.identity().plugin,
                "Recycled an instance"
            );
            if let Some(mut old) = self.instance.replace(fresh) {
                old.end().await;
            }
        }
        Ok(())
    }

    /// Puts another version in place, which was opened from `snapshot`, and gives the old instance back to be ended.
    pub fn replace(
        &mut self,
        opener: Arc<dyn Opener<S>>,
        instance: Box<S>,
        snapshot: Snapshot,
    ) -> Option<Box<S>> {
        self.opener = opener;
        self.snapshot = Some(snapshot);
        self.since.clear();
        self.since_weight = 0;
        self.instance.replace(instance)
    }

    /// The state for the checkpoint, with what is behind it.
    pub fn state(&self, snapshot: Snapshot) -> StageState {
        state(self.opener.identity(), snapshot)
    }

    /// Ends the instance.
    pub async fn close(&mut self) {
        if let Some(mut instance) = self.instance.take() {
            instance.end().await;
        }
    }
}

/// A stage that is not what it was when it is opened from its snapshot.
fn other(what: &str) -> Fault {
    Fault::new(
        FaultKind::Contract,
        format!("after it was brought back from its snapshot {what}"),
    )
    .advice(
        "its snapshot does not hold all that its answers depend on: report it to its author, and use another version; \
         the run goes on from its last checkpoint",
    )
}

/// A stage's part of a checkpoint.
pub fn state(identity: &super::stage::Identity, snapshot: Snapshot) -> StageState {
    StageState {
        plugin: identity.plugin.clone(),
        version: identity.version.clone(),
        digest: identity.digest.clone(),
        config_digest: identity.config_digest.clone(),
        snapshot,
    }
}

/// Opens an instance, trying again while the fault is transient.
pub async fn open<S: ?Sized + Send>(
    opener: &Arc<dyn Opener<S>>,
    snapshot: Option<&[u8]>,
    policy: &RetryPolicy,
) -> Result<Box<S>, Fault> {
    let mut attempt = 1;
    loop {
        match opener.open(snapshot).await {
            Err(fault) if fault.kind == FaultKind::Transient => {
                attempt += 1;
                match policy.wait(attempt, &fault) {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => return Err(fault),
                }
            }
            opened => return opened,
        }
    }
}
