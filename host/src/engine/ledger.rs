//! The counts of a run, and the proof that none is missing.

use std::{collections::BTreeMap, sync::Arc};

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

impl Ledger {
    /// The counts that a checkpoint carries.
    pub fn of(checkpoint: &Checkpoint) -> Self {
        Self {
            streams: checkpoint
                .counts
                .iter()
                .map(|(name, counts)| (name.as_str().into(), *counts))
                .collect(),
            filtered: checkpoint
                .filtered
                .iter()
                .map(|(name, r)| (name.as_str().into(), r.clone()))
                .collect(),
        }
    }

    /// The counts of one stream.
    pub fn stream(&mut self, stream: &Arc<str>) -> &mut StreamCounts {
        if !self.streams.contains_key(stream) {
            self.streams
                .insert(Arc::clone(stream), StreamCounts::default());
        }
        // The entry was made above when it was missing.
        self.streams.entry(Arc::clone(stream)).or_default()
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
