//! What an answer came to, small enough to be kept: a stage that is brought back must answer as it did before.
//!
//! A stage with state is brought back from its last snapshot, and the batches since then are given to it again. What it
//! answered the first time has long gone on. When it answers otherwise now, its snapshot does not hold its state: from
//! here on it would go on with another one, and nobody would see it. So the engine compares.

use super::{
    batch::Batch,
    stage::{Applied, Output, Rejection, Written},
};

/// What an answer to one batch came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// Records that it gave on.
    records: u64,
    /// Records that it rejected.
    rejected: u64,
    /// Checksum of which records it rejected. It finds accidents, not attacks: a plugin that wants to lie has a state that lies.
    which: u32,
    /// Checksum of what it gave on.
    bytes: u32,
}

impl Mark {
    /// What a transformer's answer came to.
    pub fn of_transformer(batch: &Batch, applied: &Applied) -> Self {
        let mut bytes = crc32fast::Hasher::new();
        let records = match &applied.output {
            Output::Pass => batch.len() - applied.rejected.len().min(batch.len()),
            Output::Select(indexes) => {
                update(&mut bytes, indexes);
                indexes.len()
            }
            Output::Replace(batches) => {
                for batch in batches {
                    bytes.update(batch.stream().as_bytes());
                    update(&mut bytes, batch.index());
                    bytes.update(batch.data());
                }
                batches.iter().map(Batch::len).sum()
            }
        };
        Self {
            records: records as u64,
            bytes: bytes.finalize(),
            ..Self::of_rejections(&applied.rejected)
        }
    }

    /// What a sink's answer came to. Receipts are the target's: they may differ.
    pub fn of_sink(written: &Written) -> Self {
        Self::of_rejections(&written.rejected)
    }

    fn of_rejections(rejected: &[Rejection]) -> Self {
        let mut indexes: Vec<u32> = rejected.iter().map(|r| r.index).collect();
        indexes.sort_unstable();
        let mut which = crc32fast::Hasher::new();
        update(&mut which, &indexes);
        Self {
            rejected: indexes.len() as u64,
            which: which.finalize(),
            ..Self::default()
        }
    }

    /// How an answer differs from this one, which was given before; `None` when it does not.
    pub fn difference(&self, now: &Self) -> Option<String> {
        let Self {
            records, rejected, ..
        } = *self;
        let was = format!("it gave {records} records and rejected {rejected}");
        if (records, rejected) != (now.records, now.rejected) {
            let (records, rejected) = (now.records, now.rejected);
            return Some(format!("{was}, now {records} and {rejected}"));
        }
        if self.which != now.which {
            return Some(format!("{was}, now as many, but others"));
        }
        (self.bytes != now.bytes)
            .then(|| format!("{was}, now as many, but what it gave is not the same"))
    }
}

/// Adds words to a checksum.
fn update(sum: &mut crc32fast::Hasher, words: &[u32]) {
    for word in words {
        sum.update(&word.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        batch::{Builder, Form, Record},
        fault::{Fault, FaultKind},
    };
    use super::*;

    fn batch(payloads: &[&str]) -> Batch {
        let mut builder = Builder::new("s", Form::Json);
        for payload in payloads {
            builder.push(Record {
                key: b"",
                headers: b"",
                payload: payload.as_bytes(),
                flags: 0,
            });
        }
        builder.build()
    }

    fn rejections(indexes: &[u32]) -> Vec<Rejection> {
        let of = |&index| Rejection {
            index,
            fault: Fault::new(FaultKind::Permanent, "no"),
        };
        indexes.iter().map(of).collect()
    }

    fn mark(output: Output, rejected: &[u32]) -> Mark {
        let applied = Applied {
            output,
            rejected: rejections(rejected),
            filtered: vec![],
        };
        Mark::of_transformer(&batch(&["1", "2", "3"]), &applied)
    }

    #[test]
    fn every_difference_has_words_and_sameness_has_none() {
        let replaced = |payloads: &[&str]| Output::Replace(vec![batch(payloads)]);
        let all = [
            (mark(Output::Pass, &[]), "gave 3"),
            (mark(Output::Pass, &[1]), "rejected 1"),
            (mark(Output::Pass, &[2]), "rejected 1"),
            (mark(Output::Select(vec![0, 1]), &[]), "gave 2"),
            (mark(Output::Select(vec![0, 2]), &[]), "gave 2"),
            (mark(replaced(&["1", "2"]), &[]), "gave 2"),
            (mark(replaced(&["1", "20"]), &[]), "gave 2"),
        ];
        for (at, (one, words)) in all.iter().enumerate() {
            for (other_at, (other, _)) in all.iter().enumerate() {
                let difference = one.difference(other);
                assert_eq!(difference.is_none(), at == other_at, "{at} {other_at}");
                assert!(difference.is_none_or(|d| d.contains(words)), "{words}");
            }
        }
    }

    #[test]
    fn a_sink_may_have_other_receipts_but_no_other_rejections() {
        let written = |rejected: &[u32], receipts: &[&str]| {
            Mark::of_sink(&Written {
                rejected: rejections(rejected),
                receipts: Some(batch(receipts)),
            })
        };
        let before = written(&[2, 0], &["id 7"]);
        assert_eq!(before.difference(&written(&[0, 2], &["id 8"])), None);
        assert!(before.difference(&written(&[0, 1], &["id 7"])).is_some());
    }
}
