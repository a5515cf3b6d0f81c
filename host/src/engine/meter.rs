//! How much goes through a stage, for progress and for the probation of a new version.

use std::sync::atomic::{AtomicU64, Ordering};

use super::batch::Batch;

/// Counters of one stage, for progress.
#[derive(Debug, Default)]
pub struct Meter {
    /// Records that came in.
    pub records_in: AtomicU64,
    /// Records that went out.
    pub records_out: AtomicU64,
    /// Records rejected.
    pub rejected: AtomicU64,
    /// Batches.
    pub batches: AtomicU64,
    /// Bytes that came in.
    pub bytes: AtomicU64,
}

impl Meter {
    fn counters(&self) -> [&AtomicU64; 5] {
        [
            &self.records_in,
            &self.records_out,
            &self.rejected,
            &self.batches,
            &self.bytes,
        ]
    }

    /// What it says now.
    pub fn reading(&self) -> [u64; 5] {
        self.counters()
            .map(|counter| counter.load(Ordering::Relaxed))
    }

    /// Says again what it said then: what came after was undone.
    pub fn wind_back(&self, reading: [u64; 5]) {
        for (counter, value) in self.counters().into_iter().zip(reading) {
            counter.store(value, Ordering::Relaxed);
        }
    }

    /// Counts one batch.
    pub fn count(&self, input: &Batch, out: usize, rejected: usize) {
        self.records_in
            .fetch_add(input.len() as u64, Ordering::Relaxed);
        self.records_out.fetch_add(out as u64, Ordering::Relaxed);
        self.rejected.fetch_add(rejected as u64, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        // What was moved, not what holding it takes.
        let bytes = input.data().len() + size_of_val(input.index());
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
