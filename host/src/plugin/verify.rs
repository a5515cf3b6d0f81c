//! What a plugin returned is checked before the engine sees it, so that no record can be lost or doubled unseen
//! (Invariant 4).

use crate::engine::{
    batch::{Batch, NO_ORIGIN, WORDS},
    stage::{Output, Rejection, Tally},
};

/// Distinct reasons of filtered records in one answer.
const MAX_TALLIES: usize = 1000;

/// What became of an input record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Gone,
    Kept,
    Rejected,
}

/// Rejections: in range, each record once.
pub(super) fn rejections(rejected: &[Rejection], records: usize) -> Result<(), String> {
    fates(rejected, records).map(drop)
}

fn fates(rejected: &[Rejection], records: usize) -> Result<Vec<Fate>, String> {
    let mut fates = vec![Fate::Gone; records];
    for rejection in rejected {
        let index = rejection.index;
        match fates.get_mut(index as usize) {
            None => {
                return Err(format!("it rejected record {index} of a batch of {records}"));
            }
            Some(Fate::Rejected) => return Err(format!("it rejected record {index} twice")),
            Some(fate) => *fate = Fate::Rejected,
        }
    }
    Ok(fates)
}

/// A transformer's answer to a batch of this many records.
pub(super) fn applied(
    output: &Output,
    rejected: &[Rejection],
    filtered: &[Tally],
    records: usize,
) -> Result<(), String> {
    if matches!(output, Output::Pass) {
        // Passing a batch keeps every record of it; nothing to look at one by one.
        return match (rejected.is_empty(), filtered.iter().all(|tally| tally.count == 0)) {
            (true, true) => Ok(()),
            (false, _) => Err("it passed the whole batch on and rejected records of it".to_owned()),
            (true, false) => Err("it passed the whole batch on and counted records of it as filtered".to_owned()),
        };
    }
    let mut fates = fates(rejected, records)?;
    match output {
        Output::Pass => {}
        Output::Select(kept) => {
            for &index in kept {
                select(&mut fates, index)?;
            }
        }
        Output::Replace(batches) => {
            for batch in batches {
                origins(&mut fates, batch)?;
            }
        }
    }
    let gone = fates.iter().filter(|&&fate| fate == Fate::Gone).count() as u64;
    let counted: u64 = filtered.iter().map(|tally| u64::from(tally.count)).sum();
    if filtered.len() > MAX_TALLIES {
        return Err(format!("it gave {} reasons for filtered records; {MAX_TALLIES} are allowed", filtered.len()));
    }
    if counted > gone {
        return Err(format!("it counted {counted} records as filtered, but only {gone} are missing from its output"));
    }
    Ok(())
}

fn select(fates: &mut [Fate], index: u32) -> Result<(), String> {
    let records = fates.len();
    match fates.get_mut(index as usize) {
        None => Err(format!("it selected record {index} of a batch of {records}")),
        Some(Fate::Kept) => Err(format!("it selected record {index} twice")),
        Some(Fate::Rejected) => Err(format!("it selected and rejected record {index}")),
        Some(fate) => {
            *fate = Fate::Kept;
            Ok(())
        }
    }
}

fn origins(fates: &mut [Fate], batch: &Batch) -> Result<(), String> {
    let records = fates.len();
    for (at, words) in batch.index().chunks_exact(WORDS).enumerate() {
        let &[.., flags] = words else { continue };
        op(at, flags)?;
        let origin = flags >> 8;
        if origin == NO_ORIGIN {
            continue;
        }
        match fates.get_mut(origin as usize) {
            None => {
                return Err(format!("its output record {at} names input record {origin} of a batch of {records}"));
            }
            Some(Fate::Rejected) => {
                return Err(format!("its output record {at} comes from record {origin}, which it rejected"));
            }
            Some(fate) => *fate = Fate::Kept,
        }
    }
    Ok(())
}

fn op(at: usize, flags: u32) -> Result<(), String> {
    match flags & 0xFF {
        0 | 1 => Ok(()),
        other => Err(format!("its record {at} has the op {other}, which is neither upsert (0) nor delete (1)")),
    }
}

/// What a sink's target answered to a batch of this many records.
pub(super) fn receipts(batch: &Batch, records: usize) -> Result<(), String> {
    origins(&mut vec![Fate::Gone; records], batch)
}

/// A batch of a source: ops are known ones.
pub(super) fn ops(batch: &Batch) -> Result<(), String> {
    batch.index().chunks_exact(WORDS).enumerate().try_for_each(|(at, words)| match words {
        &[.., flags] => op(at, flags),
        [] => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        batch::{Builder, Form, Record},
        fault::{Fault, FaultKind},
    };

    fn reject(indexes: &[u32]) -> Vec<Rejection> {
        let fault = Fault::new(FaultKind::Permanent, "bad");
        indexes.iter().map(|&index| Rejection { index, fault: fault.clone() }).collect()
    }

    fn tally(count: u32) -> Vec<Tally> {
        vec![Tally { reason: "empty".to_owned(), count }]
    }

    fn from(flags: &[u32]) -> Output {
        let mut builder = Builder::new("s", Form::Json);
        for &flags in flags {
            builder.push(Record { key: b"", headers: b"", payload: b"{}", flags });
        }
        Output::Replace(vec![builder.build()])
    }

    #[test]
    fn answers_that_balance_are_taken() {
        assert!(applied(&Output::Pass, &[], &[], 3).is_ok());
        assert!(applied(&Output::Select(vec![2, 0]), &reject(&[1]), &[], 3).is_ok());
        assert!(applied(&Output::Select(vec![]), &[], &tally(3), 3).is_ok());
        assert!(applied(&from(&[0, 0, 2 << 8 | 1, NO_ORIGIN << 8]), &reject(&[1]), &[], 3).is_ok());
        assert!(applied(&from(&[0]), &[], &tally(2), 3).is_ok());
        assert!(rejections(&reject(&[0, 2]), 3).is_ok());
    }

    #[test]
    fn every_broken_answer_is_named() {
        let broken = |output: Output, rejected: &[u32], filtered: &[Tally], words: &str| {
            let error = applied(&output, &reject(rejected), filtered, 3).unwrap_err();
            assert!(error.contains(words), "{error}");
        };
        broken(Output::Select(vec![3]), &[], &[], "selected record 3 of a batch of 3");
        broken(Output::Select(vec![1, 1]), &[], &[], "selected record 1 twice");
        broken(Output::Select(vec![1]), &[1], &[], "selected and rejected record 1");
        broken(Output::Select(vec![]), &[1, 1], &[], "rejected record 1 twice");
        broken(Output::Select(vec![]), &[7], &[], "rejected record 7");
        broken(Output::Pass, &[1], &[], "passed the whole batch on");
        broken(Output::Pass, &[], &tally(1), "counted records");
        broken(from(&[3 << 8]), &[], &[], "names input record 3");
        broken(from(&[1 << 8]), &[1], &[], "which it rejected");
        broken(from(&[9]), &[], &[], "the op 9");
        broken(Output::Select(vec![0, 1]), &[], &tally(2), "only 1 are missing");
        assert!(rejections(&reject(&[3]), 3).is_err());
    }
}
