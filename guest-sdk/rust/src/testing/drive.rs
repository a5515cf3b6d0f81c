//! Runs one plugin as the host would.

use std::fmt::Display;

use crate::batch::{Batch, Record};
use crate::bindings::sink::exports::crossdock::plugin::sink as wit_sink;
use crate::bindings::source::exports::crossdock::plugin::source as wit_source;
use crate::bindings::transformer::exports::crossdock::plugin::transformer as wit;
use crate::fault::{Fault, Result};
use crate::glue::Slot;
use crate::sink::Sink;
use crate::source::{Budget, Page, Read, Source, StreamInfo, Unreadable};
use crate::transformer::{Mode, Transformer};

/// Refused records: their positions in the batch, and why.
pub type Rejected = Vec<(usize, Fault)>;

/// What became of a batch in a transformer, told in a form that tests like.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// What goes on, copied: also the records that were passed or selected, which in the sandbox never move.
    pub batches: Vec<Batch>,
    /// `"pass"`, `"select"` or `"replace"`.
    pub output: &'static str,
    /// Refused records with their positions.
    pub rejected: Rejected,
    /// Reasons with the number of records.
    pub filtered: Vec<(String, u32)>,
}

impl Applied {
    /// All payloads that go on, as trees, with the name of their stream.
    ///
    /// # Panics
    /// When a payload is no JSON.
    #[allow(clippy::expect_used, reason = "for tests")]
    pub fn values(&self) -> Vec<(String, serde_json::Value)> {
        let records = self.batches.iter().flat_map(Batch::records);
        records
            .map(|record| {
                let value = serde_json::from_slice(record.payload()).expect("the payload is JSON");
                (record.stream().to_owned(), value)
            })
            .collect()
    }

    /// The payloads of one stream, as trees.
    ///
    /// # Panics
    /// When a payload is no JSON.
    pub fn stream(&self, name: &str) -> Vec<serde_json::Value> {
        self.values()
            .into_iter()
            .filter(|(stream, _)| stream == name)
            .map(|(_, value)| value)
            .collect()
    }
}

/// Opens a transformer without a snapshot and applies one batch.
pub fn run_transformer<T: Transformer>(config: impl Display, batch: Batch) -> Result<Applied> {
    TransformerDriver::<T>::open(config, None)?.apply(batch)
}

/// A transformer, driven as the host drives it.
pub struct TransformerDriver<T> {
    slot: Slot<T>,
    mode: Mode,
}

impl<T: Transformer> TransformerDriver<T> {
    /// Is the config usable?
    pub fn check(config: impl Display) -> Result<()> {
        Ok(Slot::<T>::transformer_check(&config.to_string())?)
    }

    /// Opens it.
    pub fn open(config: impl Display, snapshot: Option<&[u8]>) -> Result<Self> {
        let mut slot = Slot::new();
        let mode = match slot.transformer_open(&config.to_string(), snapshot)? {
            wit::Mode::Stateless => Mode::Stateless,
            wit::Mode::Stateful => Mode::Stateful,
        };
        Ok(Self { slot, mode })
    }

    /// How the host may run it.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Applies one batch, and checks what the host would check.
    ///
    /// # Panics
    /// When the counts of the answer cannot balance: a record both rejected and given out.
    pub fn apply(&mut self, batch: Batch) -> Result<Applied> {
        let input = batch.clone();
        let applied = self.slot.transformer_apply(batch.into_wit())?;
        let (output, batches) = match applied.output {
            wit::Output::Pass => ("pass", vec![select(&input, 0..input.len())]),
            wit::Output::Select(kept) => (
                "select",
                vec![select(&input, kept.into_iter().map(|index| index as usize))],
            ),
            wit::Output::Replace(batches) => ("replace", accept(batches)?),
        };
        let rejected: Rejected = applied
            .rejected
            .into_iter()
            .map(|rejection| (rejection.index as usize, rejection.fault.into()))
            .collect();
        for record in batches.iter().flat_map(Batch::records) {
            let both = rejected
                .iter()
                .any(|(index, _)| record.origin() == Some(*index));
            assert!(
                !both,
                "{record:?} goes on, but the record it came from was rejected"
            );
        }
        let filtered = applied
            .filtered
            .into_iter()
            .map(|tally| (tally.reason, tally.count))
            .collect();
        Ok(Applied {
            batches,
            output,
            rejected,
            filtered,
        })
    }

    /// The input has ended.
    pub fn finish(&mut self) -> Result<Vec<Batch>> {
        accept(self.slot.transformer_finish()?)
    }

    /// What a new instance needs to continue.
    pub fn snapshot(&mut self) -> Result<Vec<u8>> {
        Ok(self.slot.transformer_snapshot()?)
    }

    /// The last call.
    pub fn close(mut self) {
        self.slot.transformer_close();
    }
}

fn accept(
    batches: Vec<crate::bindings::host::crossdock::plugin::plugin_types::Batch>,
) -> Result<Vec<Batch>> {
    batches.into_iter().map(Batch::from_wit).collect()
}

fn select(batch: &Batch, kept: impl IntoIterator<Item = usize>) -> Batch {
    let mut builder = crate::BatchBuilder::new(batch.stream(), batch.form());
    for index in kept {
        if let Some(record) = batch.record(index) {
            builder.push_record(parts(record));
        }
    }
    builder.finish()
}

fn parts(record: Record<'_>) -> crate::RecordParts<'_> {
    crate::RecordParts {
        key: record.key(),
        headers: record.headers(),
        payload: record.payload(),
        op: record.op(),
        origin: Some(record.index()),
    }
}

/// A source, driven as the host drives it.
pub struct SourceDriver<S> {
    slot: Slot<S>,
}

impl<S: Source> SourceDriver<S> {
    /// Can it be reached?
    pub fn check(config: impl Display) -> Result<()> {
        Ok(Slot::<S>::source_check(&config.to_string())?)
    }

    /// What can be read.
    pub fn streams(config: impl Display) -> Result<Vec<StreamInfo>> {
        let streams = Slot::<S>::source_streams(&config.to_string())?;
        let stream = |stream: wit_source::StreamInfo| StreamInfo {
            name: stream.name,
            schema: stream.schema,
            key: stream.key,
            incremental: stream.incremental,
        };
        Ok(streams.into_iter().map(stream).collect())
    }

    /// Opens it.
    pub fn open(config: impl Display, snapshot: Option<&[u8]>) -> Result<Self> {
        let mut slot = Slot::new();
        slot.source_open(&config.to_string(), snapshot)?;
        Ok(Self { slot })
    }

    /// The next records.
    pub fn read(&mut self, budget: Budget) -> Result<Read> {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let budget = wit_source::Budget {
            records: number(budget.records),
            bytes: number(budget.bytes),
            millis: u32::try_from(budget.time.as_millis()).unwrap_or(u32::MAX),
        };
        Ok(match self.slot.source_read(budget)? {
            wit_source::ReadOutcome::Page(page) => Read::Page(Page {
                records: Batch::from_wit(page.records)?,
                unreadable: page
                    .unreadable
                    .into_iter()
                    .map(|input| Unreadable {
                        data: input.data,
                        fault: input.fault.into(),
                    })
                    .collect(),
            }),
            wit_source::ReadOutcome::Idle(millis) => {
                Read::Idle(std::time::Duration::from_millis(u64::from(millis)))
            }
            wit_source::ReadOutcome::End => Read::End,
        })
    }

    /// All pages up to the end, or up to the first time that there is nothing.
    pub fn read_all(&mut self, budget: Budget) -> Result<Vec<Page>> {
        let mut pages = Vec::new();
        while let Read::Page(page) = self.read(budget)? {
            pages.push(page);
        }
        Ok(pages)
    }

    /// The position behind the last record.
    pub fn snapshot(&mut self) -> Result<Vec<u8>> {
        Ok(self.slot.source_snapshot()?)
    }

    /// Everything up to this snapshot is durable.
    pub fn committed(&mut self, snapshot: &[u8]) -> Result<()> {
        Ok(self.slot.source_committed(snapshot)?)
    }

    /// The last call.
    pub fn close(mut self) {
        self.slot.source_close();
    }
}

/// A sink, driven as the host drives it.
pub struct SinkDriver<S> {
    slot: Slot<S>,
}

impl<S: Sink> SinkDriver<S> {
    /// Can it be reached?
    pub fn check(config: impl Display) -> Result<()> {
        Ok(Slot::<S>::sink_check(&config.to_string())?)
    }

    /// Opens it.
    pub fn open(config: impl Display, snapshot: Option<&[u8]>) -> Result<Self> {
        let mut slot = Slot::new();
        slot.sink_open(&config.to_string(), snapshot)?;
        Ok(Self { slot })
    }

    /// Writes one batch: the refused records with their positions, and the receipts.
    pub fn write(&mut self, batch: Batch) -> Result<(Rejected, Option<Batch>)> {
        let wit_sink::Written { rejected, receipts } = self.slot.sink_write(batch.into_wit())?;
        let rejected = rejected
            .into_iter()
            .map(|rejection| (rejection.index as usize, rejection.fault.into()))
            .collect();
        Ok((rejected, receipts.map(Batch::from_wit).transpose()?))
    }

    /// The input has ended.
    pub fn finish(&mut self) -> Result<()> {
        Ok(self.slot.sink_finish()?)
    }

    /// Makes everything so far durable.
    pub fn snapshot(&mut self) -> Result<Vec<u8>> {
        Ok(self.slot.sink_snapshot()?)
    }

    /// Makes everything up to this snapshot visible.
    pub fn commit(&mut self, snapshot: &[u8]) -> Result<()> {
        Ok(self.slot.sink_commit(snapshot)?)
    }

    /// A whole run's end: `finish`, `snapshot`, `commit`, `close`. Answers the snapshot.
    pub fn end(mut self) -> Result<Vec<u8>> {
        self.finish()?;
        let snapshot = self.snapshot()?;
        self.commit(&snapshot)?;
        self.slot.sink_close();
        Ok(snapshot)
    }

    /// The last call.
    pub fn close(mut self) {
        self.slot.sink_close();
    }
}

/// Without asking that a plugin can be printed: `unwrap_err` of a driver's result must work for any.
macro_rules! printable {
    ($($driver:ident)*) => { $(
        impl<P> std::fmt::Debug for $driver<P> {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(stringify!($driver))
            }
        }
    )* };
}

printable!(SourceDriver TransformerDriver SinkDriver);
