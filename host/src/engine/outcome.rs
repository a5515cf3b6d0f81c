//! What the chain makes of one entry of the lane.

use std::sync::Arc;

use super::{
    batch::Batch,
    ledger::{Ledger, rejected_flags},
    stage::{Applied, Output, TableWrite},
};
use crate::storage::DeadLetter;

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
    /// Ids of the dead letters that this entry gives again.
    pub replayed: Vec<u64>,
    /// Only for this sink: the others have the records already.
    pub only: Option<Arc<str>>,
}

/// Where the lists of an outcome ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ends {
    batches: usize,
    dead: usize,
    writes: usize,
}

impl Outcome {
    /// Bytes that it keeps in memory until it settles.
    pub fn weight(&self) -> usize {
        let lists = self.weight_behind(Ends::default());
        lists + self.ledger.weight() + self.replayed.len() * size_of::<u64>()
    }

    /// Where its lists end now.
    pub fn ends(&self) -> Ends {
        Ends {
            batches: self.batches.len(),
            dead: self.dead.len(),
            writes: self.writes.len(),
        }
    }

    /// Bytes of what its lists have behind these ends.
    pub fn weight_behind(&self, ends: Ends) -> usize {
        let batches = self.batches.iter().skip(ends.batches);
        let dead = self.dead.iter().skip(ends.dead);
        let writes = self.writes.iter().skip(ends.writes);
        batches.map(|batch| batch.weight()).sum::<usize>()
            + dead.map(DeadLetter::memory).sum::<usize>()
            + writes.map(TableWrite::weight).sum::<usize>()
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
            replayed: source.replayed,
            only: source.only,
            ..self
        }
    }
}

/// The records that go on. The answer was held against the contract before (see [`super::ledger::account`]), so every
/// index is in range.
pub fn outputs(part: &Arc<Batch>, applied: Applied) -> Vec<Arc<Batch>> {
    match applied.output {
        Output::Pass if applied.rejected.is_empty() => vec![Arc::clone(part)],
        Output::Pass => {
            let flags = rejected_flags(part.len(), applied.rejected.iter().map(|r| r.index))
                .unwrap_or_default();
            let kept: Vec<u32> = (0_u32..)
                .zip(flags)
                .filter(|(_, gone)| !gone)
                .map(|(at, _)| at)
                .collect();
            part.select(&kept).map(Arc::new).into_iter().collect()
        }
        Output::Select(indexes) => part.select(&indexes).map(Arc::new).into_iter().collect(),
        Output::Replace(batches) => batches
            .into_iter()
            .filter(|b| !b.is_empty())
            .map(Arc::new)
            .collect(),
    }
}

/// Expanded records are counted where they appear: in streams other than the input's first, since there the input's
/// own records are the ones that were read.
pub(super) fn count_expanded(part: &Batch, batches: &[Batch], expanded: u64, ledger: &mut Ledger) {
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
