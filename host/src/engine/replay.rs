//! Dead letters go through the flow again, from the stage that could not process them.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::batch::{Batch, Builder, Form, Record};
use crate::storage::DeadLetter;

/// What a run is asked: to give these dead letters again. They are settled anew, and removed, with the next checkpoint.
pub struct Replay {
    /// The dead letters, in the order in which they are given.
    pub letters: Vec<DeadLetter>,
    /// Told when they are settled and durable.
    pub answer: oneshot::Sender<Result<Replayed, String>>,
}

/// What came of a replay. Records that failed again are new dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Replayed {
    /// Records that were given again.
    pub records: u64,
    /// Dead letters that the run made while they were on their way, those that failed again among them.
    pub dead_letters: u64,
}

/// Dead letters of one stage and stream, as a batch.
pub(super) struct Again {
    /// The stage that could not process them.
    pub(super) stage: String,
    /// The records, with key, headers, payload and op as they were.
    pub(super) batch: Batch,
    /// Their ids.
    pub(super) ids: Vec<u64>,
}

/// Batches of at most `limit` records, in the order of the letters.
pub(super) fn batches(letters: &[DeadLetter], limit: usize) -> Vec<Again> {
    let same = |a: &DeadLetter, b: &DeadLetter| {
        a.stage == b.stage && a.stream == b.stream && a.form == b.form
    };
    letters
        .chunk_by(same)
        .flat_map(|group| group.chunks(limit.max(1)))
        .filter_map(|group| {
            let first = group.first()?;
            let form = if first.form == "json" {
                Form::Json
            } else {
                Form::Bytes
            };
            let stream: Arc<str> = first.stream.as_str().into();
            let mut builder = Builder::new(stream, form);
            for letter in group {
                builder.push(Record {
                    key: &letter.key,
                    headers: &letter.headers,
                    payload: &letter.payload,
                    flags: u32::from(letter.delete),
                });
            }
            Some(Again {
                stage: first.stage.clone(),
                batch: builder.build(),
                ids: group.iter().map(|letter| letter.id).collect(),
            })
        })
        .collect()
}

/// A replay that is on its way.
pub(super) struct UnderWay {
    /// Settled with the checkpoint of this epoch.
    pub(super) epoch: u64,
    pub(super) records: u64,
    /// Dead letters that the process had made before.
    pub(super) letters: u64,
    pub(super) answer: oneshot::Sender<Result<Replayed, String>>,
}

impl UnderWay {
    /// It is durable. Whoever asked may be gone.
    pub(super) fn done(self, letters: u64) {
        let _ = self.answer.send(Ok(Replayed {
            records: self.records,
            dead_letters: letters.saturating_sub(self.letters),
        }));
    }

    /// It was undone: the dead letters are as they were.
    pub(super) fn undone(self, why: &str) {
        let _ = self.answer.send(Err(why.to_owned()));
    }
}
