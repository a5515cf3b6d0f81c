//! The trait of a sink and what its calls exchange.

use serde::de::DeserializeOwned;

use crate::batch::{Batch, Record};
use crate::fault::{Fault, Result};

/// Writes records to a system.
///
/// Exactly-once output rests on two phases: `snapshot` makes everything written so far durable but not yet visible,
/// `commit` makes it visible. Opened from a snapshot, a sink discards whatever came later.
pub trait Sink: Sized + 'static {
    /// Its config, read by serde. Use `#[serde(deny_unknown_fields)]`, so that a typo is found.
    type Config: DeserializeOwned;

    /// Can it be reached, may it write? No side effects.
    fn check(config: Self::Config) -> Result<()> {
        let _ = config;
        Ok(())
    }

    /// Starts. With a snapshot: discard everything written after it.
    fn open(config: Self::Config, snapshot: Option<&[u8]>) -> Result<Self>;

    /// Takes one record. A sink implements this or [`write`](Self::write).
    fn write_record(&mut self, record: Record<'_>) -> Result<()> {
        Err(Fault::permanent(format!(
            "this sink implements neither `write_record` nor `write`, so record {} was not written",
            record.index()
        )))
    }

    /// Takes the records of one batch. By default each goes to [`write_record`](Self::write_record), and one that
    /// fails is rejected. A config fault fails the batch: it stops the run whichever record it came with.
    fn write(&mut self, batch: &Batch, written: &mut Written) -> Result<()> {
        for record in batch.records() {
            match self.write_record(record) {
                Ok(()) => {}
                Err(fault @ Fault::Config(_)) => return Err(fault),
                Err(fault) => written.reject(record.index(), fault),
            }
        }
        Ok(())
    }

    /// The input has ended: the next commit should put the finished result in place.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    /// Makes everything written so far durable and says how far that is. At most 1 MiB.
    fn snapshot(&mut self) -> Result<Vec<u8>>;

    /// Makes everything up to this snapshot visible. Called again after a crash: must be idempotent.
    fn commit(&mut self, snapshot: &[u8]) -> Result<()> {
        let _ = snapshot;
        Ok(())
    }

    /// The last call.
    fn close(&mut self) {}
}

/// What became of a batch that a sink was given. A record that is not rejected counts as written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    rejected: Vec<(usize, Fault)>,
    receipts: Option<Batch>,
}

impl Written {
    /// Refuses the record at this position.
    pub fn reject(&mut self, index: usize, fault: Fault) {
        self.rejected.push((index, fault));
    }

    /// What the target answered (ids it gave, say), for later stages and tables.
    pub fn receipts(&mut self, receipts: Batch) {
        self.receipts = Some(receipts);
    }

    /// The refused records so far.
    pub fn rejected(&self) -> &[(usize, Fault)] {
        &self.rejected
    }

    /// Rejections in the order of the batch, the first one for each record, and the receipts.
    pub(crate) fn into_parts(mut self) -> (Vec<(usize, Fault)>, Option<Batch>) {
        self.rejected.sort_by_key(|(index, _)| *index);
        self.rejected.dedup_by_key(|(index, _)| *index);
        (self.rejected, self.receipts)
    }
}
