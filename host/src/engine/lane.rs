//! The lane: an ordered buffer of what is between the source and the sinks, and the hands that work at its ends.

use std::{collections::BTreeMap, sync::Arc};

use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    outcome::Outcome,
    run::{RunError, StageFailure},
    settle::{Barrier, Settled, Settler},
    swap::Switch,
};
use crate::storage::StageState;

/// Something that is either here or away, working in a task of its own. The task gives it back.
pub enum Hand<T, R> {
    /// Here.
    Free(T),
    /// Away.
    Busy(AbortOnDropHandle<(T, R)>),
    /// Only between taking and putting back.
    Moved,
}

impl<T: Send + 'static, R: Send + 'static> Hand<T, R> {
    /// Whether it is here.
    pub fn is_free(&self) -> bool {
        matches!(self, Self::Free(_))
    }

    /// Sends it to work, when it is here.
    pub fn send<F>(&mut self, work: impl FnOnce(T) -> F)
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
    pub async fn done(&mut self) -> Result<R, RunError> {
        let Self::Busy(task) = self else {
            return std::future::pending().await;
        };
        let (value, result) = task.await.map_err(|e| RunError::Task(e.to_string()))?;
        *self = Self::Free(value);
        Ok(result)
    }

    /// Ends the work where it is. When this returns, nothing of it runs any more.
    pub async fn abort(&mut self) {
        if let Self::Busy(task) = std::mem::replace(self, Self::Moved) {
            task.abort();
            // It was aborted, or had ended just before.
            drop(task.await);
        }
    }
}

/// An entry of the lane.
pub enum Entry {
    /// A batch on its way through the chain.
    Batch {
        /// When it was read.
        epoch: u64,
        /// Its way.
        passing: Passing<Outcome>,
    },
    /// A barrier on its way through the chain.
    Barrier(Box<Arriving>),
}

/// A barrier on its way.
pub struct Arriving {
    /// The epoch that it ends.
    pub epoch: u64,
    /// The source's name and state.
    pub source: (String, StageState),
    /// Whether the input has ended.
    pub finished: bool,
    /// Records that this process had read by then.
    pub records: u64,
    /// The switch that it carries.
    pub switch: Option<Arc<Switch>>,
    /// Its way.
    pub passing: Passing<States>,
}

/// A task of the chain. It ends with its handle.
pub type Passing<T> = AbortOnDropHandle<Result<T, StageFailure>>;
/// States of stages by name.
pub type States = BTreeMap<String, StageState>;

impl Entry {
    /// Ends its way where it is. When this returns, nothing of it runs any more.
    pub async fn abort(self) {
        match self {
            Self::Batch { passing, .. } => {
                passing.abort();
                drop(passing.await);
            }
            Self::Barrier(arriving) => {
                arriving.passing.abort();
                drop(arriving.passing.await);
            }
        }
    }
}

/// Settles an entry when the chain is through with it. `None`: it was halted before that.
pub async fn settle(
    settler: &mut Settler,
    entry: Entry,
    halt: &CancellationToken,
) -> Result<Option<Settled>, RunError> {
    let settled = match entry {
        Entry::Batch { epoch, passing } => match passed(passing, halt).await? {
            Some(outcome) => settler.settle(epoch, outcome).await?,
            None => return Ok(None),
        },
        Entry::Barrier(arriving) => {
            let Some(mut states) = passed(arriving.passing, halt).await? else {
                return Ok(None);
            };
            let (name, state) = arriving.source;
            let position = state.snapshot.clone();
            states.insert(name, state);
            settler
                .barrier(Barrier {
                    epoch: arriving.epoch,
                    states,
                    position,
                    finished: arriving.finished,
                    records: arriving.records,
                    switch: arriving.switch,
                })
                .await?
        }
    };
    Ok(Some(settled))
}

async fn passed<T>(
    mut passing: Passing<T>,
    halt: &CancellationToken,
) -> Result<Option<T>, RunError> {
    tokio::select! {
        biased;
        () = halt.cancelled() => {
            passing.abort();
            drop(passing.await);
            Ok(None)
        }
        result = &mut passing => {
            Ok(Some(result.map_err(|e| RunError::Task(e.to_string()))??))
        }
    }
}
