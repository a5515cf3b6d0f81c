//! The trait of a transformer.

use serde::de::DeserializeOwned;

use crate::batch::{Batch, Record};
use crate::fault::{Fault, Result};
use crate::output::Output;

/// Changes, filters, splits or routes records.
pub trait Transformer: Sized + 'static {
    /// Its config, read by serde. Use `#[serde(deny_unknown_fields)]`, so that a typo is found.
    type Config: DeserializeOwned;

    /// Is the config usable? No side effects. By default: it can be opened.
    fn check(config: Self::Config) -> Result<()> {
        Self::open(config, None).map(drop)
    }

    /// Starts.
    fn open(config: Self::Config, snapshot: Option<&[u8]>) -> Result<Self>;

    /// How the host may run it. Asked once, after `open`.
    fn mode(&self) -> Mode {
        Mode::Stateless
    }

    /// Works on one record: says what becomes of it through `out`. A record about which nothing is said is filtered
    /// without a reason. After an error it is rejected, and what it gave out before is taken back.
    fn map(&mut self, record: Record<'_>, out: &mut Output<'_>) -> Result<()> {
        let _ = record;
        out.pass();
        Ok(())
    }

    /// Works on one batch. By default each record goes to [`map`](Self::map). Override it to look things up for the
    /// whole batch first, and call [`Output::each`] for the rest.
    fn apply(&mut self, batch: &Batch, out: &mut Output<'_>) -> Result<()> {
        out.each(batch, |record, out| self.map(record, out))
    }

    /// The input has ended: give out what was held back.
    fn finish(&mut self) -> Result<Vec<Batch>> {
        Ok(Vec::new())
    }

    /// What a new instance needs to continue. At most 1 MiB.
    fn snapshot(&mut self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    /// The last call.
    fn close(&mut self) {}
}

/// How the host may run a transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Every batch stands alone: several instances at a time, replaced freely.
    #[default]
    Stateless,
    /// Batches arrive in order at one instance, and `snapshot` holds what it knows (or it writes tables).
    Stateful,
}

impl Output<'_> {
    /// Calls `map` for each record as the current one. After an error the record is rejected and what it gave out is
    /// taken back, except for a config fault, which ends the call: it stops the run whichever record it came with.
    pub fn each(
        &mut self,
        batch: &Batch,
        mut map: impl FnMut(Record<'_>, &mut Self) -> Result<()>,
    ) -> Result<()> {
        for record in batch.records() {
            self.begin(record);
            match map(record, self) {
                Ok(()) => {}
                Err(fault @ Fault::Config(_)) => return Err(fault),
                Err(fault) => self.reject(fault),
            }
        }
        Ok(())
    }
}
