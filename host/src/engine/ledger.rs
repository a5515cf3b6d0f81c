//! The counts of a run, and the proof that none is missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    batch::{Batch, NO_ORIGIN},
    fault::{Fault, FaultKind},
    stage::{Applied, Output, Tally},
};
use crate::{
    flow::steers,
    storage::{Checkpoint, StreamCounts},
};

/// Counts per stream and filter reasons per stage. Small, so that one belongs to every batch in flight and is merged
/// when the batch settles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Per stream.
    pub streams: BTreeMap<Arc<str>, StreamCounts>,
    /// Records filtered, per stage and reason.
    pub filtered: BTreeMap<Arc<str>, BTreeMap<String, u64>>,
}

/// More reasons than this per stage are counted as "other reasons": a reason must not carry record content.
const MAX_REASONS: usize = 50;
/// More streams than this are refused (see [`Streams`]), and counted together where they come up nevertheless: over
/// several runs of one count, or in what an older version has counted. Every checkpoint carries them all.
pub const MAX_STREAMS: usize = 1000;
/// The name under which they are counted.
const OTHER_STREAMS: &str = "other streams";
/// More batches than this in one answer are refused: an answer needs one for each stream and form.
pub const MAX_BATCHES: usize = 10_000;
/// What an entry of a map takes beside its name.
const ENTRY: usize = 128;

/// The streams that a run has had since it was opened. A plugin chooses their names, so there must be an end to them.
///
/// What a checkpoint has counted is not in it: a run that was refused a stream can be run again, and goes on.
#[derive(Debug, Default)]
pub struct Streams(Mutex<BTreeSet<Arc<str>>>);

impl Streams {
    /// Lets the streams of an answer in: all, or none when there would be too many.
    pub fn admit<'a>(&self, names: impl IntoIterator<Item = &'a Arc<str>>) -> Result<(), Fault> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names = names.into_iter().filter(|name| !known.contains(*name));
        let fresh: BTreeSet<Arc<str>> = names.cloned().collect();
        match fresh.first() {
            Some(first) if known.len() + fresh.len() > MAX_STREAMS => Err(Fault::new(
                FaultKind::Contract,
                format!(
                    "with stream `{first}` the run would have more than {MAX_STREAMS} streams"
                ),
            )
            .advice(
                "a stream is a kind of record, not a record: report it to the plugin's author, or give it another \
                 config; run again, the flow goes on from its last checkpoint and counts streams anew",
            )),
            _ => {
                known.extend(fresh);
                Ok(())
            }
        }
    }
}

impl Ledger {
    /// The counts that a checkpoint carries.
    pub fn of(checkpoint: &Checkpoint) -> Self {
        let filtered = checkpoint.filtered.iter();
        let mut ledger = Self {
            filtered: filtered
                .map(|(name, r)| (name.as_str().into(), r.clone()))
                .collect(),
            ..Self::default()
        };
        for (name, counts) in &checkpoint.counts {
            *ledger.stream(&name.as_str().into()) += *counts;
        }
        ledger
    }

    /// Bytes that it keeps in memory, for bounds.
    pub fn weight(&self) -> usize {
        let streams: usize = self.streams.keys().map(|name| name.len() + ENTRY).sum();
        let reasons = self.filtered.values().flat_map(BTreeMap::keys);
        let reasons: usize = reasons.map(|reason| reason.len() + ENTRY).sum();
        streams + reasons + self.filtered.len() * ENTRY
    }

    /// The counts of one stream; those of all further ones when there are too many.
    pub fn stream(&mut self, stream: &Arc<str>) -> &mut StreamCounts {
        let is_counted = self.streams.len() < MAX_STREAMS || self.streams.contains_key(stream);
        let name = if is_counted {
            Arc::clone(stream)
        } else {
            OTHER_STREAMS.into()
        };
        self.streams.entry(name).or_default()
    }

    /// Counts filtered records of one call: with the reasons the stage gave, the rest without one.
    pub fn filter(&mut self, stage: &Arc<str>, stream: &Arc<str>, count: u64, tallies: &[Tally]) {
        if count == 0 {
            return;
        }
        self.stream(stream).filtered += count;
        let mut left = count;
        for tally in tallies {
            let counted = u64::from(tally.count).min(left);
            left -= counted;
            self.reason(stage, &tally.reason, counted);
        }
        self.reason(stage, "no reason given", left);
    }

    fn reason(&mut self, stage: &Arc<str>, reason: &str, count: u64) {
        if count == 0 {
            return;
        }
        let reasons = self.filtered.entry(Arc::clone(stage)).or_default();
        let name: String = reason.chars().filter(|c| !steers(*c)).take(120).collect();
        if reasons.len() < MAX_REASONS || reasons.contains_key(&name) {
            *reasons.entry(name).or_default() += count;
        } else {
            *reasons.entry("other reasons".into()).or_default() += count;
        }
    }

    /// Adds another ledger's counts.
    pub fn merge(&mut self, other: &Self) {
        for (stream, counts) in &other.streams {
            *self.stream(stream) += *counts;
        }
        for (stage, reasons) in &other.filtered {
            for (reason, count) in reasons {
                self.reason(stage, reason, *count);
            }
        }
    }

    /// The sum over all streams.
    pub fn total(&self) -> StreamCounts {
        let mut total = StreamCounts::default();
        for counts in self.streams.values() {
            total += *counts;
        }
        total
    }

    /// Whether every record is accounted for.
    pub fn balances(&self) -> bool {
        // Invariant 4.
        let total = self.total();
        total.read + total.expanded + total.replayed == total.written + total.filtered + total.dead
    }
}

/// What one transformer call did to the counts, after its answer was held against the contract.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// Input records with no output and no rejection.
    pub filtered: u64,
    /// Output records beyond the first of each input record.
    pub expanded: u64,
}

/// Holds a transformer's answer against the contract and counts. An answer that names records that do not exist, or
/// settles one twice, is a `contract` fault: the instance cannot be trusted.
pub fn account(input: &Batch, applied: &Applied) -> Result<Account, Fault> {
    let len = input.len();
    let mut settled = vec![false; len];
    for rejection in &applied.rejected {
        mark(&mut settled, rejection.index, "rejected")?;
    }
    let rejected = settled.clone();
    let mut covered = applied.rejected.len();
    let mut outputs = 0_usize;
    match &applied.output {
        Output::Pass => {
            // Everything that was not rejected goes on.
            return Ok(Account::default());
        }
        Output::Select(indexes) => {
            for &index in indexes {
                mark(&mut settled, index, "selected")?;
            }
            covered += indexes.len();
            outputs += indexes.len();
        }
        Output::Replace(batches) => {
            few(batches.len())?;
            for record in batches.iter().flat_map(Batch::records) {
                outputs += 1;
                let origin = record.origin();
                if origin == NO_ORIGIN {
                    continue;
                }
                match (
                    settled.get_mut(origin as usize),
                    rejected.get(origin as usize),
                ) {
                    (Some(_), Some(true)) => {
                        return Err(lie(format!(
                            "record {origin} is rejected and in the output as well"
                        )));
                    }
                    (Some(seen), _) => {
                        covered += usize::from(!*seen);
                        *seen = true;
                    }
                    (None, _) => {
                        return Err(lie(format!(
                            "the output names record {origin} of a batch of {len}"
                        )));
                    }
                }
            }
        }
    }
    let origins = covered - applied.rejected.len();
    Ok(Account {
        filtered: (len - covered) as u64,
        expanded: (outputs - origins) as u64,
    })
}

/// Refuses an answer of more batches than any plugin needs.
pub fn few(count: usize) -> Result<(), Fault> {
    if count > MAX_BATCHES {
        return Err(lie(format!(
            "the output has {count} batches; {MAX_BATCHES} are allowed"
        )));
    }
    Ok(())
}

/// Holds rejected indexes against the batch and gives them as flags.
pub fn rejected_flags(len: usize, indexes: impl Iterator<Item = u32>) -> Result<Vec<bool>, Fault> {
    let mut flags = vec![false; len];
    for index in indexes {
        mark(&mut flags, index, "rejected")?;
    }
    Ok(flags)
}

fn mark(flags: &mut [bool], index: u32, what: &str) -> Result<(), Fault> {
    let len = flags.len();
    match flags.get_mut(index as usize) {
        None => Err(lie(format!("record {index} of a batch of {len} is {what}"))),
        Some(true) => Err(lie(format!(
            "record {index} is {what} although it is settled already"
        ))),
        Some(flag) => {
            *flag = true;
            Ok(())
        }
    }
}

fn lie(message: String) -> Fault {
    Fault::new(FaultKind::Contract, message)
        .advice("the plugin breaks the contract; report it to its author")
}

#[cfg(test)]
mod tests {
    use super::super::{
        batch::{Builder, Form, Record},
        stage::Rejection,
    };
    use super::*;

    fn batch(origins: &[u32]) -> Batch {
        let mut builder = Builder::new("s", Form::Json);
        for origin in origins {
            builder.push(Record {
                key: b"",
                headers: b"",
                payload: b"{}",
                flags: origin << 8,
            });
        }
        builder.build()
    }

    fn applied(output: Output, rejected: &[u32]) -> Applied {
        let rejected = rejected
            .iter()
            .map(|&index| Rejection {
                index,
                fault: Fault::new(FaultKind::Permanent, "no"),
            })
            .collect();
        Applied {
            output,
            rejected,
            filtered: vec![],
        }
    }

    #[test]
    fn every_record_is_somewhere() {
        let input = batch(&[0, 0, 0, 0]);
        let count = |a| account(&input, &a).unwrap();
        assert_eq!(
            count(applied(Output::Pass, &[1])),
            Account {
                filtered: 0,
                expanded: 0
            }
        );
        assert_eq!(
            count(applied(Output::Select(vec![0, 3]), &[1])),
            Account {
                filtered: 1,
                expanded: 0
            }
        );
        let replaced = Output::Replace(vec![batch(&[0, 0, 0]), batch(&[2, NO_ORIGIN])]);
        assert_eq!(
            count(applied(replaced, &[])),
            Account {
                filtered: 2,
                expanded: 3
            }
        );
    }

    #[test]
    fn lies_are_found() {
        let input = batch(&[0, 0]);
        for lie in [
            applied(Output::Pass, &[2]),
            applied(Output::Pass, &[0, 0]),
            applied(Output::Select(vec![0, 0]), &[]),
            applied(Output::Select(vec![9]), &[]),
            applied(Output::Select(vec![1]), &[1]),
            applied(Output::Replace(vec![batch(&[2])]), &[]),
            applied(Output::Replace(vec![batch(&[1])]), &[1]),
        ] {
            assert_eq!(account(&input, &lie).unwrap_err().kind, FaultKind::Contract);
        }
    }

    #[test]
    fn an_answer_of_very_many_batches_is_a_lie() {
        let input = batch(&[0]);
        let most = Output::Replace(vec![batch(&[0]); MAX_BATCHES]);
        assert!(account(&input, &applied(most, &[])).is_ok());
        let more = Output::Replace(vec![batch(&[0]); MAX_BATCHES + 1]);
        let fault = account(&input, &applied(more, &[])).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Contract);
        assert!(fault.message.contains("10001 batches"), "{fault}");
    }

    #[test]
    fn streams_are_counted_together_beyond_a_number_and_still_balance() {
        let mut ledger = Ledger::default();
        for n in 0..5000 {
            let counts = ledger.stream(&format!("stream {n}").into());
            counts.read += 1;
            counts.written += 1;
        }
        // One that has its own counts keeps them.
        ledger.stream(&"stream 7".into()).read += 1;
        ledger.stream(&"stream 7".into()).filtered += 1;
        assert_eq!(ledger.streams.len(), MAX_STREAMS + 1);
        assert_eq!(ledger.streams[OTHER_STREAMS].read, 4000);
        assert_eq!(ledger.streams["stream 7"].read, 2);
        assert!(ledger.balances());
        // The same through a checkpoint that somebody has let grow.
        let counts = StreamCounts {
            read: 1,
            ..StreamCounts::default()
        };
        let checkpoint = Checkpoint {
            format: 1,
            flow: "f".into(),
            run: "r".into(),
            epoch: 1,
            at_ms: 0,
            finished: false,
            settled: true,
            stages: BTreeMap::new(),
            counts: (0..5000).map(|n| (format!("s{n}"), counts)).collect(),
            filtered: BTreeMap::new(),
        };
        let ledger = Ledger::of(&checkpoint);
        assert_eq!(ledger.streams.len(), MAX_STREAMS + 1);
        assert_eq!(ledger.total().read, 5000);
        assert!(ledger.weight() > MAX_STREAMS * ENTRY);
    }

    #[test]
    fn a_stream_too_many_is_refused_and_lets_none_of_its_answer_in() {
        let streams = Streams::default();
        let name = |n: usize| Arc::<str>::from(format!("s{n:04}"));
        let most: Vec<Arc<str>> = (0..MAX_STREAMS - 1).map(name).collect();
        streams.admit(&most).unwrap();
        let fault = streams.admit(&[name(2000), name(2001)]).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Contract);
        assert!(fault.message.contains("more than 1000 streams"), "{fault}");
        streams.admit(&[name(2000), name(2000), name(5)]).unwrap();
        streams.admit(&most).unwrap();
        assert!(streams.admit(&[name(2001)]).is_err());
    }

    #[test]
    fn reasons_stay_few() {
        let mut ledger = Ledger::default();
        let (stage, stream): (Arc<str>, Arc<str>) = ("map".into(), "s".into());
        for n in 0..200 {
            ledger.filter(
                &stage,
                &stream,
                1,
                &[Tally {
                    reason: format!("record {n}"),
                    count: 1,
                }],
            );
        }
        ledger.filter(
            &stage,
            &stream,
            2,
            &[Tally {
                reason: "liar".into(),
                count: 99,
            }],
        );
        let reasons = ledger.filtered.values().next().unwrap();
        assert!(reasons.len() <= MAX_REASONS + 1);
        assert_eq!(reasons.values().sum::<u64>(), 202);
        assert_eq!(ledger.total().filtered, 202);
    }
}
