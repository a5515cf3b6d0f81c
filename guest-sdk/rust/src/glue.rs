//! Between the contract's types and the traits: what the exports call, in the sandbox and in [`crate::testing`] alike.

use std::time::Duration;

use crate::batch::Batch;
use crate::bindings::host::crossdock::plugin::plugin_types as types;
use crate::bindings::sink::exports::crossdock::plugin::sink as wit_sink;
use crate::bindings::source::exports::crossdock::plugin::source as wit_source;
use crate::bindings::transformer::exports::crossdock::plugin::transformer as wit_transformer;
use crate::config;
use crate::fault::{Fault, Result};
use crate::output::{Kind, Output};
use crate::sink::{Sink, Written};
use crate::source::{Budget, Read, Source};
use crate::transformer::{Mode, Transformer};

type Answer<T> = std::result::Result<T, types::Fault>;

/// The place of the one instance of a plugin.
pub struct Slot<T> {
    instance: Option<T>,
}

impl<T> std::fmt::Debug for Slot<T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(if self.instance.is_some() {
            "Slot(open)"
        } else {
            "Slot(empty)"
        })
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Slot<T> {
    /// A place without an instance.
    pub const fn new() -> Self {
        Self { instance: None }
    }

    fn get(&mut self) -> Result<&mut T> {
        self.instance
            .as_mut()
            .ok_or_else(|| Fault::permanent("the host called before `open`"))
    }
}

/// The functions of a source.
impl<S: Source> Slot<S> {
    /// `check`
    pub fn source_check(config: &str) -> Answer<()> {
        Ok(config::parse(config).and_then(S::check)?)
    }

    /// `streams`
    pub fn source_streams(config: &str) -> Answer<Vec<wit_source::StreamInfo>> {
        let streams = config::parse(config).and_then(S::streams)?;
        Ok(streams
            .into_iter()
            .map(|stream| wit_source::StreamInfo {
                name: stream.name,
                schema: stream.schema,
                key: stream.key,
                incremental: stream.incremental,
            })
            .collect())
    }

    /// `open`
    pub fn source_open(&mut self, config: &str, snapshot: Option<&[u8]>) -> Answer<()> {
        self.instance = None;
        self.instance = Some(S::open(config::parse(config)?, snapshot)?);
        Ok(())
    }

    /// `read`
    pub fn source_read(&mut self, budget: wit_source::Budget) -> Answer<wit_source::ReadOutcome> {
        let budget = Budget {
            records: budget.records as usize,
            bytes: budget.bytes as usize,
            time: Duration::from_millis(u64::from(budget.millis)),
        };
        Ok(match self.get()?.read(budget)? {
            Read::Page(page) => wit_source::ReadOutcome::Page(wit_source::Page {
                records: page.records.into_wit(),
                unreadable: page
                    .unreadable
                    .into_iter()
                    .map(|input| wit_source::Unreadable {
                        data: input.data,
                        fault: input.fault.into(),
                    })
                    .collect(),
            }),
            Read::Idle(wait) => {
                wit_source::ReadOutcome::Idle(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX))
            }
            Read::End => wit_source::ReadOutcome::End,
        })
    }

    /// `snapshot`
    pub fn source_snapshot(&mut self) -> Answer<Vec<u8>> {
        Ok(self.get()?.snapshot()?)
    }

    /// `committed`
    pub fn source_committed(&mut self, snapshot: &[u8]) -> Answer<()> {
        Ok(self.get()?.committed(snapshot)?)
    }

    /// `close`
    pub fn source_close(&mut self) {
        if let Some(mut instance) = self.instance.take() {
            instance.close();
        }
    }
}

/// The functions of a transformer.
impl<T: Transformer> Slot<T> {
    /// `check`
    pub fn transformer_check(config: &str) -> Answer<()> {
        Ok(config::parse(config).and_then(T::check)?)
    }

    /// `open`
    pub fn transformer_open(
        &mut self,
        config: &str,
        snapshot: Option<&[u8]>,
    ) -> Answer<wit_transformer::Mode> {
        self.instance = None;
        let instance = T::open(config::parse(config)?, snapshot)?;
        let mode = match instance.mode() {
            Mode::Stateless => wit_transformer::Mode::Stateless,
            Mode::Stateful => wit_transformer::Mode::Stateful,
        };
        self.instance = Some(instance);
        Ok(mode)
    }

    /// `apply`
    pub fn transformer_apply(&mut self, batch: types::Batch) -> Answer<wit_transformer::Applied> {
        let batch = Batch::from_wit(batch)?;
        let mut output = Output::new(&batch);
        self.get()?.apply(&batch, &mut output)?;
        let outcome = output.finish();
        Ok(wit_transformer::Applied {
            output: match outcome.kind {
                Kind::Pass => wit_transformer::Output::Pass,
                Kind::Select(kept) => wit_transformer::Output::Select(kept),
                Kind::Replace(batches) => wit_transformer::Output::Replace(
                    batches.into_iter().map(Batch::into_wit).collect(),
                ),
            },
            rejected: rejections(outcome.rejected),
            filtered: outcome
                .filtered
                .into_iter()
                .map(|(reason, count)| wit_transformer::Tally { reason, count })
                .collect(),
        })
    }

    /// `finish`
    pub fn transformer_finish(&mut self) -> Answer<Vec<types::Batch>> {
        Ok(self
            .get()?
            .finish()?
            .into_iter()
            .map(Batch::into_wit)
            .collect())
    }

    /// `snapshot`
    pub fn transformer_snapshot(&mut self) -> Answer<Vec<u8>> {
        Ok(self.get()?.snapshot()?)
    }

    /// `close`
    pub fn transformer_close(&mut self) {
        if let Some(mut instance) = self.instance.take() {
            instance.close();
        }
    }
}

/// The functions of a sink.
impl<S: Sink> Slot<S> {
    /// `check`
    pub fn sink_check(config: &str) -> Answer<()> {
        Ok(config::parse(config).and_then(S::check)?)
    }

    /// `open`
    pub fn sink_open(&mut self, config: &str, snapshot: Option<&[u8]>) -> Answer<()> {
        self.instance = None;
        self.instance = Some(S::open(config::parse(config)?, snapshot)?);
        Ok(())
    }

    /// `write`
    pub fn sink_write(&mut self, batch: types::Batch) -> Answer<wit_sink::Written> {
        let batch = Batch::from_wit(batch)?;
        let mut written = Written::default();
        self.get()?.write(&batch, &mut written)?;
        let (rejected, receipts) = written.into_parts();
        Ok(wit_sink::Written {
            rejected: rejections(rejected),
            receipts: receipts.map(Batch::into_wit),
        })
    }

    /// `finish`
    pub fn sink_finish(&mut self) -> Answer<()> {
        Ok(self.get()?.finish()?)
    }

    /// `snapshot`
    pub fn sink_snapshot(&mut self) -> Answer<Vec<u8>> {
        Ok(self.get()?.snapshot()?)
    }

    /// `commit`
    pub fn sink_commit(&mut self, snapshot: &[u8]) -> Answer<()> {
        Ok(self.get()?.commit(snapshot)?)
    }

    /// `close`
    pub fn sink_close(&mut self) {
        if let Some(mut instance) = self.instance.take() {
            instance.close();
        }
    }
}

/// Positions fit: a batch of more records than 24 bits count is refused on the way in.
fn rejections(rejected: Vec<(usize, Fault)>) -> Vec<types::Rejection> {
    rejected
        .into_iter()
        .map(|(index, fault)| types::Rejection {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            fault: fault.into(),
        })
        .collect()
}
