//! What works on batches in the chain: pools of instances without state, in versions, and the one instance with state.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::{
    batch::Batch,
    bisect::Worker,
    dead_letter::Undertaker,
    fault::{Fault, FaultKind},
    keeper::{Keeper, Recycle},
    ledger::{Account, Streams, account},
    mark::Mark,
    stage::{Applied, Mode, Opener, Output, Rejection, TableWrite, Transformer},
};

/// Instances of one version of a stateless transformer.
pub struct Pool {
    /// Makes them.
    pub opener: Arc<dyn Opener<dyn Transformer>>,
    /// Labels their dead letters.
    pub undertaker: Arc<Undertaker>,
    idle: Mutex<Vec<Box<dyn Transformer>>>,
    workers: usize,
    permits: Semaphore,
    recycle: Recycle,
    streams: Arc<Streams>,
}

/// The versions of a stateless transformer: the one that new entries pass, and the one before it for as long as entries
/// in the lane pass that. A run swaps one stage at a time, so there are never more.
pub struct Versions(RwLock<Current>);

struct Current {
    now: Arc<Pool>,
    /// The first entry that passes it.
    from: u64,
    before: Option<Arc<Pool>>,
}

impl Versions {
    /// One version for all entries.
    pub fn new(pool: Pool) -> Self {
        Self(RwLock::new(Current {
            now: Arc::new(pool),
            from: 0,
            before: None,
        }))
    }

    /// The version that an entry passes.
    pub fn at(&self, entry: u64) -> Arc<Pool> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match &current.before {
            Some(before) if entry < current.from => Arc::clone(before),
            _ => Arc::clone(&current.now),
        }
    }

    /// Entries from `from` on pass another version.
    pub fn switch(
        &self,
        from: u64,
        opener: Arc<dyn Opener<dyn Transformer>>,
        instance: Box<dyn Transformer>,
    ) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let old = Arc::clone(&current.now);
        let undertaker = Arc::new(Undertaker {
            identity: opener.identity().clone(),
            ..(*old.undertaker).clone()
        });
        let streams = Arc::clone(&old.streams);
        let workers = (old.workers, old.recycle);
        let pool = Pool::new(opener, instance, workers, undertaker, streams);
        *current = Current {
            now: Arc::new(pool),
            from,
            before: Some(old),
        };
    }

    /// Takes the version before out, when all its entries have passed.
    pub fn retire(&self) -> Option<Arc<Pool>> {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        current.before.take()
    }

    /// Ends all instances.
    pub async fn close(&self) {
        if let Some(before) = self.retire() {
            before.close().await;
        }
        self.at(u64::MAX).close().await;
    }
}

impl Pool {
    /// Starts with one instance; more are opened when there is work for them.
    pub fn new(
        opener: Arc<dyn Opener<dyn Transformer>>,
        instance: Box<dyn Transformer>,
        (workers, recycle): (usize, Recycle),
        undertaker: Arc<Undertaker>,
        streams: Arc<Streams>,
    ) -> Self {
        let workers = workers.max(1);
        Self {
            opener,
            undertaker,
            idle: Mutex::new(vec![instance]),
            workers,
            permits: Semaphore::new(workers),
            recycle,
            streams,
        }
    }

    /// Ends the instances that are here.
    pub async fn close(&self) {
        let idle = std::mem::take(&mut *lock(&self.idle));
        for mut instance in idle {
            instance.close().await;
        }
    }

    /// Takes an instance for one batch, when fewer than the pool's workers are out.
    pub async fn worker(&self) -> Pooled<'_> {
        // The semaphore is never closed.
        let permit = self.permits.acquire().await.ok();
        let instance = lock(&self.idle).pop();
        Pooled {
            pool: self,
            instance,
            lost: false,
            _permit: permit,
        }
    }
}

/// An instance of a pool, for as long as one batch needs it.
pub struct Pooled<'a> {
    pool: &'a Pool,
    instance: Option<Box<dyn Transformer>>,
    /// No instance can be opened.
    lost: bool,
    _permit: Option<tokio::sync::SemaphorePermit<'a>>,
}

impl Pooled<'_> {
    /// Puts the instance back, or ends it when it has grown old.
    pub async fn give_back(mut self) {
        if let Some(mut instance) = self.instance.take() {
            if self.pool.recycle.is_due(instance.wear()) {
                instance.close().await;
            } else {
                lock(&self.pool.idle).push(instance);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one successful call of a transformer gave.
pub struct Answer {
    /// What it said.
    pub applied: Applied,
    /// What that did to the counts.
    pub account: Account,
    /// Its table writes.
    pub writes: Vec<TableWrite>,
}

impl Answer {
    /// Bytes that it keeps in memory, for bounds.
    fn weight(&self) -> usize {
        let output = match &self.applied.output {
            Output::Pass => 0,
            Output::Select(kept) => kept.len() * size_of::<u32>(),
            Output::Replace(batches) => batches.iter().map(Batch::weight).sum(),
        };
        let rejected: usize = self.applied.rejected.iter().map(Rejection::weight).sum();
        let writes: usize = self.writes.iter().map(TableWrite::weight).sum();
        output + rejected + writes
    }
}

async fn call(
    instance: &mut dyn Transformer,
    batch: &Batch,
    streams: &Streams,
) -> Result<Answer, Fault> {
    let applied = instance.apply(batch).await?;
    let account = account(batch, &applied)?;
    if let Output::Replace(batches) = &applied.output {
        streams.admit(batches.iter().map(Batch::stream))?;
    }
    Ok(Answer {
        applied,
        account,
        writes: instance.take_table_writes(),
    })
}

/// The single instance of a stateful transformer.
pub struct Single<'a>(pub &'a mut Keeper<dyn Transformer>, pub &'a Streams);

#[async_trait]
impl Worker for Single<'_> {
    type Answer = Answer;

    async fn call(&mut self, batch: &Arc<Batch>) -> Result<Answer, Fault> {
        let instance = self.0.instance().await?;
        match call(instance, batch, self.1).await {
            Ok(answer) => {
                self.0
                    .took(batch, Mark::of_transformer(batch, &answer.applied));
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

    fn weight(answer: &Answer) -> usize {
        answer.weight()
    }

    fn repeatable(&self) -> bool {
        false
    }

    fn is_lost(&self) -> bool {
        self.0.is_lost()
    }
}

#[async_trait]
impl Worker for Pooled<'_> {
    type Answer = Answer;

    async fn call(&mut self, batch: &Arc<Batch>) -> Result<Answer, Fault> {
        let instance = match &mut self.instance {
            Some(instance) => instance,
            none => {
                let opened = self.pool.opener.open(None).await;
                self.lost = matches!(&opened, Err(fault) if fault.kind != FaultKind::Transient);
                none.insert(opened?)
            }
        };
        if instance.mode() != Mode::Stateless {
            return Err(Fault::new(
                FaultKind::Config,
                "it was stateless when it was opened first, and now it is not",
            ));
        }
        let answer = call(instance.as_mut(), batch, &self.pool.streams).await;
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

    fn weight(answer: &Answer) -> usize {
        answer.weight()
    }

    fn repeatable(&self) -> bool {
        true
    }

    fn is_lost(&self) -> bool {
        self.lost
    }
}
