//! What becomes of a batch in a transformer.

use serde::Serialize;

use crate::batch::{Batch, Form, Op, Record};
use crate::builder::{BatchBuilder, Mark, RecordParts};
use crate::fault::{Fault, Result};
use crate::json::Object;
use crate::short::same;

/// At most this many reasons are told apart per batch: they are for people.
const MAX_REASONS: usize = 64;

/// Collects what becomes of the records of one batch.
///
/// The current record is the one of the last [`begin`](Self::begin); in [`crate::Transformer::map`] the SDK has called
/// it. As long as records are only passed and filtered no payload goes back to the host; from the first emitted record
/// on, everything is written into the batches that go back. Streams are given out in the order of their first record.
#[derive(Debug)]
pub struct Output<'b> {
    input: &'b Batch,
    current: Option<Current>,
    rejected: Vec<(usize, Fault)>,
    filtered: Vec<(String, u32)>,
    given: Given,
}

/// The record that is being worked on.
#[derive(Debug, Clone, Copy)]
struct Current {
    index: usize,
    /// Records given out for it so far.
    count: usize,
    /// Position of its reason in `filtered`.
    reason: Option<usize>,
    /// Once refused, nothing more is given out for it.
    refused: bool,
}

#[derive(Debug)]
enum Given {
    /// Only input records, unchanged, each at most once.
    Same { kept: Vec<u32>, mark: usize },
    /// Anything.
    Built {
        builders: Vec<Building>,
        last: usize,
        turn: u64,
    },
}

#[derive(Debug)]
struct Building {
    builder: BatchBuilder,
    /// Where it stood before the record of this turn.
    mark: Mark,
    turn: u64,
}

/// What [`Output::finish`] gives.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) kind: Kind,
    /// In the order of the batch.
    pub(crate) rejected: Vec<(usize, Fault)>,
    pub(crate) filtered: Vec<(String, u32)>,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Pass,
    Select(Vec<u32>),
    Replace(Vec<Batch>),
}

impl<'b> Output<'b> {
    pub(crate) fn new(input: &'b Batch) -> Self {
        Self {
            input,
            current: None,
            rejected: Vec::new(),
            filtered: Vec::new(),
            given: Given::Same {
                kept: Vec::with_capacity(input.len()),
                mark: 0,
            },
        }
    }

    /// Makes this record of the input batch the current one. Each record is begun at most once.
    pub fn begin(&mut self, record: Record<'_>) {
        self.settle();
        self.current = Some(Current {
            index: record.index(),
            count: 0,
            reason: None,
            refused: false,
        });
        match &mut self.given {
            Given::Same { kept, mark } => *mark = kept.len(),
            Given::Built { turn, .. } => *turn += 1,
        }
    }

    /// Gives out the current record as it came.
    pub fn pass(&mut self) {
        let Some(current) = self.current.as_mut().filter(|current| !current.refused) else {
            return;
        };
        let index = current.index;
        current.count += 1;
        if current.count == 1
            && let Given::Same { kept, .. } = &mut self.given
        {
            kept.push(position(index));
            return;
        }
        if let Some(record) = self.input.record(index) {
            let parts = RecordParts {
                key: record.key(),
                headers: record.headers(),
                payload: record.payload(),
                op: record.op(),
                origin: Some(index),
            };
            self.builder(record.stream(), record.form())
                .push_record(parts);
        }
    }

    /// Leaves the current record out. The reason is shown in the summary of the run, with a count.
    pub fn filter(&mut self, reason: &str) {
        let Some(current) = self.current.as_mut().filter(|current| !current.refused) else {
            return;
        };
        let found = self.filtered.iter().position(|(known, _)| known == reason);
        current.reason = found.or_else(|| {
            (self.filtered.len() < MAX_REASONS).then(|| {
                self.filtered.push((reason.to_owned(), 0));
                self.filtered.len() - 1
            })
        });
    }

    /// Gives out a JSON record.
    pub fn emit(&mut self, stream: &str, key: &[u8], payload: &[u8]) {
        self.emit_with(stream, key, b"", Op::Upsert, |buffer| {
            buffer.extend_from_slice(payload);
        });
    }

    /// Gives out a JSON record with this object as its payload.
    pub fn emit_object(&mut self, stream: &str, key: &[u8], object: &Object<'_>) {
        self.emit_with(stream, key, b"", Op::Upsert, |buffer| object.write(buffer));
    }

    /// Gives out a JSON record with this value as its payload.
    pub fn emit_value(&mut self, stream: &str, key: &[u8], value: &impl Serialize) -> Result<()> {
        let Some(origin) = self.count_one() else {
            return Ok(());
        };
        let builder = self.builder(stream, Form::Json);
        let mark = builder.mark();
        let mut result = Ok(());
        builder.record(key, b"", Op::Upsert, origin, |buffer| {
            result = serde_json::to_writer(buffer, value);
        });
        if result.is_err() {
            builder.roll_back(mark);
            if let Some(current) = &mut self.current {
                current.count -= 1;
            }
        }
        Ok(result?)
    }

    /// Gives out a JSON record; the closure appends its payload straight to the outgoing batch. It must only append.
    pub fn emit_with(
        &mut self,
        stream: &str,
        key: &[u8],
        headers: &[u8],
        op: Op,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let Some(origin) = self.count_one() else {
            return;
        };
        self.builder(stream, Form::Json)
            .record(key, headers, op, origin, write);
    }

    /// Gives out a record that is no JSON.
    pub fn emit_bytes(&mut self, stream: &str, key: &[u8], payload: &[u8]) {
        let Some(origin) = self.count_one() else {
            return;
        };
        self.builder(stream, Form::Bytes)
            .record(key, b"", Op::Upsert, origin, |buffer| {
                buffer.extend_from_slice(payload);
            });
    }

    /// Gives out the current record under another stream, otherwise as it came.
    pub fn route(&mut self, stream: &str) {
        let Some(record) = self
            .current
            .and_then(|current| self.input.record(current.index))
        else {
            return;
        };
        let Some(origin) = self.count_one() else {
            return;
        };
        self.builder(stream, record.form()).record(
            record.key(),
            record.headers(),
            record.op(),
            origin,
            |buffer| buffer.extend_from_slice(record.payload()),
        );
    }

    /// Refuses the current record and takes back what was given out for it. What is said about it later has no effect.
    pub fn reject(&mut self, fault: Fault) {
        let Some(current) = self.current.as_mut().filter(|current| !current.refused) else {
            return;
        };
        current.refused = true;
        let index = current.index;
        match &mut self.given {
            Given::Same { kept, mark } => kept.truncate(*mark),
            Given::Built { builders, turn, .. } => {
                for building in builders
                    .iter_mut()
                    .filter(|building| building.turn == *turn)
                {
                    building.builder.roll_back(building.mark);
                }
            }
        }
        self.rejected.push((index, fault));
    }

    /// Counts one record that is given out for the current one, and says where it came from: the outer option is
    /// `None` when the current one was refused, the inner one when there is none.
    #[allow(
        clippy::option_option,
        reason = "two questions with two answers, asked in this file only"
    )]
    fn count_one(&mut self) -> Option<Option<usize>> {
        match &mut self.current {
            None => Some(None),
            Some(Current { refused: true, .. }) => None,
            Some(current) => {
                current.count += 1;
                Some(Some(current.index))
            }
        }
    }

    /// The builder of a stream; from the first call on, kept records are copied too.
    fn builder(&mut self, stream: &str, form: Form) -> &mut BatchBuilder {
        if matches!(self.given, Given::Same { .. }) {
            self.start_building();
        }
        let Given::Built {
            builders,
            last,
            turn,
        } = &mut self.given
        else {
            unreachable!("start_building has just set it");
        };
        let fits = |building: &Building| {
            same(building.builder.stream().as_bytes(), stream.as_bytes())
                && building.builder.form() == form
        };
        if !builders.get(*last).is_some_and(fits) {
            *last = builders.iter().position(fits).unwrap_or_else(|| {
                let builder = BatchBuilder::new(stream, form);
                let mark = builder.mark();
                builders.push(Building {
                    builder,
                    mark,
                    turn: *turn,
                });
                builders.len() - 1
            });
        }
        let building = &mut builders[*last];
        if building.turn != *turn {
            building.turn = *turn;
            building.mark = building.builder.mark();
        }
        &mut building.builder
    }

    /// Turns the list of kept records into copies of them.
    fn start_building(&mut self) {
        let Given::Same { kept, mark } = &mut self.given else {
            return;
        };
        let (kept, mark) = (std::mem::take(kept), *mark);
        // Most transformers give out about as much as they take.
        let mut builder = BatchBuilder::new(self.input.stream(), self.input.form()).with_capacity(
            self.input.len(),
            self.input.data_len() + self.input.data_len() / 4,
        );
        let mut before = builder.mark();
        for (at, index) in kept.iter().enumerate() {
            if at == mark {
                before = builder.mark();
            }
            if let Some(record) = self.input.record(*index as usize) {
                builder.push_record(RecordParts {
                    key: record.key(),
                    headers: record.headers(),
                    payload: record.payload(),
                    op: record.op(),
                    origin: Some(*index as usize),
                });
            }
        }
        if kept.len() <= mark {
            before = builder.mark();
        }
        let building = Building {
            builder,
            mark: before,
            turn: 1,
        };
        self.given = Given::Built {
            builders: vec![building],
            last: 0,
            turn: 1,
        };
    }

    /// Ends the current record: a filter reason counts only when nothing was given out.
    fn settle(&mut self) {
        if let Some(Current {
            count: 0,
            reason: Some(reason),
            refused: false,
            ..
        }) = self.current.take()
            && let Some((_, count)) = self.filtered.get_mut(reason)
        {
            *count += 1;
        }
    }

    pub(crate) fn finish(mut self) -> Outcome {
        self.settle();
        self.rejected.sort_by_key(|(index, _)| *index);
        self.rejected.dedup_by_key(|(index, _)| *index);
        self.filtered.retain(|(_, count)| *count > 0);
        let kind = match self.given {
            Given::Same { kept, .. } => {
                let all = kept.len() == self.input.len();
                let in_order = kept
                    .iter()
                    .enumerate()
                    .all(|(at, index)| at == *index as usize);
                if all && in_order {
                    Kind::Pass
                } else {
                    Kind::Select(kept)
                }
            }
            Given::Built { builders, .. } => Kind::Replace(
                builders
                    .into_iter()
                    .filter(|building| !building.builder.is_empty())
                    .map(|building| building.builder.finish())
                    .collect(),
            ),
        };
        Outcome {
            kind,
            rejected: self.rejected,
            filtered: self.filtered,
        }
    }
}

/// A position in a batch fits: [`Batch`] refuses more records than 24 bits count.
fn position(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
