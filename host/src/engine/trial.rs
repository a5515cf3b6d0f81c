//! A version on trial: a wrapper around everything it does that hears of every fault for which an instance dies.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::{
    batch::Batch,
    fault::{Fault, FaultKind},
    ledger::{account, rejected_flags},
    stage::{
        Applied, Budget, Identity, Instance, Mode, Opener, Read, Sink, Snapshot, Source,
        TableWrite, Transformer, Wear, Written,
    },
    swap::Candidate,
};

/// Listens until the new version is trusted.
#[derive(Debug, Default)]
pub struct Trial {
    over: AtomicBool,
    fault: Mutex<Option<Fault>>,
    told: Notify,
}

impl Trial {
    /// The version is trusted from now on.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// The first fault for which an instance died.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Ready when there is a [`Trial::fault`].
    pub async fn failed(&self) {
        while self.fault().is_none() {
            self.told.notified().await;
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn hear<T>(&self, result: Result<T, Fault>) -> Result<T, Fault> {
        if let Err(fault) = &result
            && fault.kind.is_lethal()
        {
            self.report(fault);
        }
        result
    }

    fn report(&self, fault: &Fault) {
        if self.is_over() {
            return;
        }
        self.fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| fault.clone());
        self.told.notify_one();
    }
}

/// The same candidate, with a trial that hears of its faults.
pub fn on_trial(candidate: &Candidate, trial: &Arc<Trial>) -> Candidate {
    let trial = Arc::clone(trial);
    match candidate {
        Candidate::Source(inner) => Candidate::Source(Arc::new(Tried {
            inner: Arc::clone(inner),
            trial,
        })),
        Candidate::Transformer(inner) => Candidate::Transformer(Arc::new(Tried {
            inner: Arc::clone(inner),
            trial,
        })),
        Candidate::Sink(inner) => Candidate::Sink(Arc::new(Tried {
            inner: Arc::clone(inner),
            trial,
        })),
    }
}

/// Something of a version on trial: what opens it, or an instance.
struct Tried<T> {
    inner: T,
    trial: Arc<Trial>,
}

/// What both kinds of openers do.
async fn open<S: ?Sized + Send>(
    tried: &Tried<Arc<dyn Opener<S>>>,
    snapshot: Option<&[u8]>,
) -> Result<Tried<Box<S>>, Fault> {
    match tried.inner.open(snapshot).await {
        Ok(inner) => Ok(Tried {
            inner,
            trial: Arc::clone(&tried.trial),
        }),
        Err(fault) => {
            if fault.kind != FaultKind::Transient {
                tried.trial.report(&fault);
            }
            Err(fault)
        }
    }
}

#[async_trait]
impl Opener<dyn Source> for Tried<Arc<dyn Opener<dyn Source>>> {
    async fn open(&self, snapshot: Option<&[u8]>) -> Result<Box<dyn Source>, Fault> {
        Ok(Box::new(open(self, snapshot).await?))
    }

    fn identity(&self) -> &Identity {
        self.inner.identity()
    }
}

#[async_trait]
impl Opener<dyn Transformer> for Tried<Arc<dyn Opener<dyn Transformer>>> {
    async fn open(&self, snapshot: Option<&[u8]>) -> Result<Box<dyn Transformer>, Fault> {
        Ok(Box::new(open(self, snapshot).await?))
    }

    fn identity(&self) -> &Identity {
        self.inner.identity()
    }
}

#[async_trait]
impl Opener<dyn Sink> for Tried<Arc<dyn Opener<dyn Sink>>> {
    async fn open(&self, snapshot: Option<&[u8]>) -> Result<Box<dyn Sink>, Fault> {
        Ok(Box::new(open(self, snapshot).await?))
    }

    fn identity(&self) -> &Identity {
        self.inner.identity()
    }
}

impl<S: ?Sized + Instance> Instance for Tried<Box<S>> {
    fn take_table_writes(&mut self) -> Vec<TableWrite> {
        self.inner.take_table_writes()
    }

    fn wear(&self) -> Wear {
        self.inner.wear()
    }
}

#[async_trait]
impl Source for Tried<Box<dyn Source>> {
    async fn read(&mut self, budget: Budget) -> Result<Read, Fault> {
        self.trial.hear(self.inner.read(budget).await)
    }

    async fn snapshot(&mut self) -> Result<Snapshot, Fault> {
        self.trial.hear(self.inner.snapshot().await)
    }

    async fn committed(&mut self, snapshot: &[u8]) -> Result<(), Fault> {
        self.trial.hear(self.inner.committed(snapshot).await)
    }

    async fn close(&mut self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl Transformer for Tried<Box<dyn Transformer>> {
    fn mode(&self) -> Mode {
        self.inner.mode()
    }

    async fn apply(&mut self, batch: &Batch) -> Result<Applied, Fault> {
        let applied = self.trial.hear(self.inner.apply(batch).await)?;
        if !self.trial.is_over() {
            // The chain finds a lie as well, and throws the instance away; here the trial hears of it.
            self.trial.hear(account(batch, &applied))?;
        }
        Ok(applied)
    }

    async fn finish(&mut self) -> Result<Vec<Batch>, Fault> {
        self.trial.hear(self.inner.finish().await)
    }

    async fn snapshot(&mut self) -> Result<Snapshot, Fault> {
        self.trial.hear(self.inner.snapshot().await)
    }

    async fn close(&mut self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl Sink for Tried<Box<dyn Sink>> {
    async fn write(&mut self, batch: &Batch) -> Result<Written, Fault> {
        let written = self.trial.hear(self.inner.write(batch).await)?;
        if !self.trial.is_over() {
            let indexes = written.rejected.iter().map(|r| r.index);
            self.trial.hear(rejected_flags(batch.len(), indexes))?;
        }
        Ok(written)
    }

    async fn finish(&mut self) -> Result<(), Fault> {
        self.trial.hear(self.inner.finish().await)
    }

    async fn snapshot(&mut self) -> Result<Snapshot, Fault> {
        self.trial.hear(self.inner.snapshot().await)
    }

    async fn commit(&mut self, snapshot: &[u8]) -> Result<(), Fault> {
        self.trial.hear(self.inner.commit(snapshot).await)
    }

    async fn close(&mut self) {
        self.inner.close().await;
    }
}
