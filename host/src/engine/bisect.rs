//! One call on a batch, with everything that can go wrong around it: retry what is transient, and halve a batch that
//! fails as a whole until the record that does it is found (DESIGN §6).

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    batch::Batch,
    fault::{Fault, FaultKind},
    retry::RetryPolicy,
    stage::Rejection,
};

/// What a stage may make of what was read at once, in bytes. A batch is about 1 MiB when nothing else is said.
const MAX_MADE: usize = 512 << 20;

/// Something that works on batches: a pooled instance, the one instance of a stateful stage, a sink.
///
/// A call that returns a fault has left the state as it was before (that is the contract; after a lethal fault the
/// worker brings back the state itself), so it may be repeated with the same or another batch.
#[async_trait]
pub trait Worker: Send {
    /// What one call gives.
    type Answer: Send;

    /// One call.
    async fn call(&mut self, batch: &Arc<Batch>) -> Result<Self::Answer, Fault>;

    /// The records that an answer rejects.
    fn rejected(answer: &Self::Answer) -> &[Rejection];

    /// Bytes that an answer keeps in memory.
    fn weight(answer: &Self::Answer) -> usize;

    /// Whether the same batch may be given again after it was answered (a stateless transformer). If not, only the
    /// records that were rejected as transient are.
    fn repeatable(&self) -> bool;

    /// Whether no call can be made any more, whatever the batch: the instance is gone and cannot be brought back.
    fn is_lost(&self) -> bool;
}

/// Where the records of a part stand in the batch that it is a part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// One after the other from this position on.
    From(u32),
    /// Each at the position named.
    Each(Vec<u32>),
}

impl Place {
    /// The position in the whole batch of a record of the part.
    pub fn of(&self, index: u32) -> u32 {
        match self {
            Self::From(from) => from + index,
            Self::Each(positions) => positions.get(index as usize).copied().unwrap_or(u32::MAX),
        }
    }

    fn pick(&self, indexes: &[u32]) -> Self {
        Self::Each(indexes.iter().map(|&index| self.of(index)).collect())
    }

    fn split(&self, at: usize) -> (Self, Self) {
        match self {
            Self::From(from) => (
                Self::From(*from),
                Self::From(from + u32::try_from(at).unwrap_or(u32::MAX)),
            ),
            Self::Each(positions) => {
                let (first, rest) = positions.split_at(at.min(positions.len()));
                (Self::Each(first.to_vec()), Self::Each(rest.to_vec()))
            }
        }
    }
}

/// What became of a part of a batch. The parts are in the order of the batch.
#[derive(Debug)]
pub enum Piece<A> {
    /// It was answered.
    Done {
        /// The part.
        part: Arc<Batch>,
        /// Where it stands.
        place: Place,
        /// What the worker said.
        answer: A,
        /// Rejected records that were tried again: they are in a later piece and settled there.
        retried: Vec<u32>,
    },
    /// One record that fails whenever it is given.
    Dead {
        /// A batch of one record.
        part: Arc<Batch>,
        /// Where it stands.
        place: Place,
        /// How it fails.
        fault: Fault,
    },
}

/// Works a batch off. `Err` means that the stage cannot go on at all: a config fault, a transient one that outlasted the
/// retries, or an instance that cannot be brought back.
pub async fn work_off<W: Worker>(
    worker: &mut W,
    batch: Arc<Batch>,
    policy: &RetryPolicy,
) -> Result<Vec<Piece<W::Answer>>, Fault> {
    let mut done = Vec::with_capacity(1);
    let mut weight = 0;
    let mut todo = vec![(batch, Place::From(0), 1)];
    while let Some((part, place, attempt)) = todo.pop() {
        // Invariant 5: only the record at fault is taken out, its neighbours go on in order.
        match call_until_settled(worker, &part, attempt, policy).await {
            Ok((answer, attempt)) => {
                // Invariant 6: one answer is bounded by the stage's limits, and this is as many as there are parts.
                weight += W::weight(&answer);
                bounded(weight)?;
                let retried = transient(W::rejected(&answer), attempt, policy);
                if let Some(again) = (!retried.is_empty())
                    .then(|| part.select(&retried))
                    .flatten()
                {
                    pause(W::rejected(&answer), attempt, policy).await;
                    todo.push((Arc::new(again), place.pick(&retried), attempt + 1));
                }
                done.push(Piece::Done {
                    part,
                    place,
                    answer,
                    retried,
                });
            }
            Err(fault)
                if worker.is_lost()
                    || matches!(fault.kind, FaultKind::Config | FaultKind::Transient) =>
            {
                return Err(fault);
            }
            Err(fault) if part.len() <= 1 => done.push(Piece::Dead { part, place, fault }),
            Err(_) => {
                let half = part.len() / 2;
                let ((first, rest), (first_place, rest_place)) =
                    (part.split(half), place.split(half));
                todo.push((Arc::new(rest), rest_place, 1));
                todo.push((Arc::new(first), first_place, 1));
            }
        }
    }
    Ok(done)
}

/// Refuses what a stage makes of one entry of the lane when it is more than the host should hold.
pub fn bounded(weight: usize) -> Result<(), Fault> {
    if weight <= MAX_MADE {
        return Ok(());
    }
    let most = MAX_MADE >> 20;
    let message = format!("what it makes of one batch is more than {most} MiB");
    Err(Fault::new(FaultKind::Contract, message)
        .advice("give it fewer records at a time with `batch.records`, or report it to its author"))
}

/// Calls until the answer is final: retries transient faults, and for a repeatable worker transient rejections too.
async fn call_until_settled<W: Worker>(
    worker: &mut W,
    part: &Arc<Batch>,
    mut attempt: u32,
    policy: &RetryPolicy,
) -> Result<(W::Answer, u32), Fault> {
    loop {
        match worker.call(part).await {
            Ok(answer) => {
                let again = worker.repeatable()
                    && !transient(W::rejected(&answer), attempt, policy).is_empty();
                if !again {
                    // A repeatable worker has no retries left here, so nothing is carried on to a later piece.
                    let attempt = if worker.repeatable() {
                        policy.attempts
                    } else {
                        attempt
                    };
                    return Ok((answer, attempt));
                }
                pause(W::rejected(&answer), attempt, policy).await;
            }
            Err(fault) if fault.kind == FaultKind::Transient => match policy
                .wait(attempt + 1, &fault)
            {
                Some(wait) => {
                    tracing::warn!(attempt, wait_ms = wait.as_millis(), %fault, "Stage failed for now, trying again");
                    tokio::time::sleep(wait).await;
                }
                None => {
                    return Err(fault
                        .advice_when_missing("it was tried as often as `retry.attempts` allows"));
                }
            },
            Err(fault) => return Err(fault),
        }
        attempt += 1;
    }
}

/// Positions of the rejections that may be tried again.
fn transient(rejected: &[Rejection], attempt: u32, policy: &RetryPolicy) -> Vec<u32> {
    if attempt >= policy.attempts {
        return Vec::new();
    }
    rejected
        .iter()
        .filter(|r| r.fault.kind == FaultKind::Transient)
        .map(|r| r.index)
        .collect()
}

async fn pause(rejected: &[Rejection], attempt: u32, policy: &RetryPolicy) {
    let longest = rejected
        .iter()
        .filter(|r| r.fault.kind == FaultKind::Transient)
        .filter_map(|r| policy.wait(attempt + 1, &r.fault))
        .max();
    if let Some(wait) = longest {
        tokio::time::sleep(wait).await;
    }
}
