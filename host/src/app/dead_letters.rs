//! Dead letters of a store: looked at, mended, given again, discarded, exported.
//!
//! Everything here works on an open store, so that a daemon does it on the store that it holds, and the command line on
//! one that it opens. `replay.rs` gives them to a flow that does not run.

mod document;
mod replay;

use std::{io::Write, path::Path, sync::Arc};

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{Mutex, mpsc, oneshot};

pub use self::{
    document::DeadLetterDocument,
    replay::{ReplayError, ReplayOptions},
};
use super::AppError;
use crate::{
    engine::{
        dead_letter::now_ms,
        replay::{Replay, Replayed},
        run::Command,
    },
    storage::{DeadLetter, DeadLetterEdit, DeadLetterFilter, Journal as _, StorageError, Store},
};

/// Dead letters that are worked on at a time.
const PAGE: usize = 250;
/// Bytes of dead letters that are given again, or listed, at a time; one is always given.
pub const PAGE_BYTES: u64 = 16 << 20;

/// The dead letters of a store. There should be one of it per store: it lets one change happen after the other, so that
/// no dead letter is given twice, and none is changed while it is on its way.
pub struct DeadLetters {
    store: Arc<Store>,
    changing: Mutex<()>,
}

/// What a person changes of a dead letter. `None` leaves a part as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Edit {
    /// The record's key.
    pub key: Option<String>,
    /// The record's headers.
    pub headers: Option<String>,
    /// The record's payload.
    pub payload: Option<Vec<u8>>,
    /// `json` or `bytes`: what the payload is now.
    pub form: Option<String>,
}

/// What came of giving dead letters again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct ReplaySummary {
    /// The flow.
    pub flow: String,
    /// Records that were given again.
    pub records: u64,
    /// Of these, those that did not become dead letters once more.
    pub settled: u64,
    /// Dead letters made meanwhile: records that failed again, under new ids.
    pub failed: u64,
    /// Whether it was stopped before all were given; those that were not are still there.
    pub stopped: bool,
}

impl ReplaySummary {
    fn add(&mut self, replayed: Replayed) {
        self.records += replayed.records;
        self.failed += replayed.dead_letters;
        self.settled += replayed.records.saturating_sub(replayed.dead_letters);
    }
}

/// Why a change is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeadLetterError {
    /// There is none with this id.
    #[error("there is no dead letter {0}; `crossdock dlq list` shows which there are")]
    Missing(u64),
    /// Some that were named are not there; nothing was done to the others.
    #[error(
        "there is no dead letter {}{}; `crossdock dlq list` shows which there are",
        .ids.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
        .flow.as_ref().map(|flow| format!(" of flow `{flow}`")).unwrap_or_default()
    )]
    NoneSuch {
        /// Their numbers.
        ids: Vec<u64>,
        /// The flow that they were to be of.
        flow: Option<String>,
    },
    /// A flow that has left nothing here.
    #[error(
        "no flow `{0}` has ever run with this state folder; `crossdock dlq list` shows the dead letters that there are \
         and their flows"
    )]
    NoFlow(String),
    /// The payload would not be what the form says.
    #[error(
        "the payload of dead letter {id} would be no JSON ({why}); correct it, or say that it is none with --form bytes"
    )]
    NotJson {
        /// The dead letter.
        id: u64,
        /// What the parser said.
        why: String,
    },
    /// A form that there is not.
    #[error("the form of a record is `json` or `bytes`, not `{0}`")]
    Form(String),
    /// It cannot be written where it should go.
    #[error("the dead letters cannot be written: {0}")]
    Write(#[source] std::io::Error),
}

impl DeadLetters {
    /// Of the store in a state folder. Blocks until it is open.
    ///
    /// # Errors
    /// When the store cannot be opened: another process has it, say.
    pub fn open(state: &Path) -> Result<Self, AppError> {
        Ok(Self::of(Arc::new(Store::open(state)?)))
    }

    /// Of a store that is open.
    pub fn of(store: Arc<Store>) -> Self {
        Self {
            store,
            changing: Mutex::default(),
        }
    }

    /// The store.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Those that match, by id. Blocks while it searches.
    ///
    /// # Errors
    /// When the store fails.
    pub fn list(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetter>, AppError> {
        Ok(self.store.dead_letters(filter)?)
    }

    /// One of them.
    ///
    /// # Errors
    /// [`DeadLetterError::Missing`], or when the store fails.
    pub fn show(&self, id: u64) -> Result<DeadLetter, AppError> {
        let found = self.store.dead_letter(id)?;
        Ok(found.ok_or(DeadLetterError::Missing(id))?)
    }

    /// Changes what will be given again, and gives it as it is then. Everything else about the dead letter stays.
    ///
    /// # Errors
    /// When there is no such dead letter, its payload would not be what its form says, or the store fails.
    pub async fn edit(&self, id: u64, edit: Edit) -> Result<DeadLetter, AppError> {
        let _changing = self.changing.lock().await;
        let letter = self.show(id)?;
        let form = edit.form.as_deref().unwrap_or(&letter.form);
        let payload = edit.payload.as_deref().unwrap_or(&letter.payload);
        match form {
            // A delete may have no payload at all.
            "json" if letter.delete && payload.is_empty() => {}
            "json" => {
                let json: Result<&RawValue, _> = serde_json::from_slice(payload);
                json.map_err(|error| DeadLetterError::NotJson {
                    id,
                    why: error.to_string(),
                })?;
            }
            "bytes" => {}
            other => return Err(DeadLetterError::Form(other.to_owned()).into()),
        }
        let change = DeadLetterEdit {
            key: edit.key.map(String::into_bytes),
            headers: edit.headers.map(String::into_bytes),
            payload: edit.payload,
            form: edit.form,
            at_ms: now_ms(),
        };
        self.store.edit_dead_letter(id, change).await?;
        self.show(id)
    }

    /// Makes sure that those that are asked for by number are there.
    fn are_there(&self, filter: &DeadLetterFilter) -> Result<(), AppError> {
        let mut gone = Vec::new();
        for id in &filter.ids {
            let found = self.store.dead_letter(*id)?;
            let flow = filter.flow.as_ref();
            if found.is_none_or(|letter| flow.is_some_and(|flow| *flow != letter.flow)) {
                gone.push(*id);
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        Err(DeadLetterError::NoneSuch {
            ids: gone,
            flow: filter.flow.clone(),
        }
        .into())
    }

    /// Removes those that match, at most `limit`, and says how many they were.
    ///
    /// # Errors
    /// [`DeadLetterError::NoneSuch`], [`DeadLetterError::NoFlow`], or when the store fails; those before are gone then.
    pub async fn discard(&self, filter: &DeadLetterFilter) -> Result<u64, AppError> {
        let _changing = self.changing.lock().await;
        self.are_there(filter)?;
        let mut pages = Pages::new(&self.store, filter)?;
        let mut removed = 0;
        while let Some(letters) = pages.next().await? {
            let ids: Vec<u64> = letters.iter().map(|letter| letter.id).collect();
            removed += self.store.remove_dead_letters(&ids).await?;
        }
        // A flow that has run may have none; of another one none are expected.
        if let (0, Some(flow)) = (removed, &filter.flow)
            && self.store.checkpoint(flow)?.is_none()
        {
            return Err(DeadLetterError::NoFlow(flow.clone()).into());
        }
        Ok(removed)
    }

    /// Writes those that match, at most `limit`, one JSON document a line, and says how many they are. They stay where
    /// they are.
    ///
    /// # Errors
    /// [`DeadLetterError::NoneSuch`], or when the store fails, or `out` does.
    pub async fn export(
        &self,
        filter: &DeadLetterFilter,
        out: &mut (dyn Write + Send),
    ) -> Result<u64, AppError> {
        self.are_there(filter)?;
        let mut pages = Pages::new(&self.store, filter)?;
        let mut written = 0;
        while let Some(letters) = pages.next().await? {
            for letter in &letters {
                DeadLetterDocument::of(letter)
                    .write_line(out)
                    .map_err(DeadLetterError::Write)?;
                written += 1;
            }
        }
        out.flush().map_err(DeadLetterError::Write)?;
        Ok(written)
    }

    /// Gives those of a running flow that match, at most `limit`, to the run again, from the stage that could not process
    /// them. They are removed with the checkpoint that settles them.
    ///
    /// # Errors
    /// When the store fails, or the run cannot take them: those before are settled then.
    pub async fn replay(
        &self,
        flow: &str,
        filter: &DeadLetterFilter,
        commands: &mpsc::Sender<Command>,
    ) -> Result<ReplaySummary, AppError> {
        let _changing = self.changing.lock().await;
        let filter = DeadLetterFilter {
            flow: Some(flow.to_owned()),
            ..filter.clone()
        };
        let mut summary = ReplaySummary {
            flow: flow.to_owned(),
            ..ReplaySummary::default()
        };
        self.are_there(&filter)?;
        let mut pages = Pages::new(&self.store, &filter)?;
        while let Some(letters) = pages.next().await? {
            let (answer, answered) = oneshot::channel();
            let command = Command::Replay(Replay { letters, answer });
            if commands.send(command).await.is_err() {
                summary.stopped = true;
                break;
            }
            match answered.await {
                Ok(Ok(replayed)) => summary.add(replayed),
                Ok(Err(why)) => return Err(ReplayError::Refused(why).into()),
                // The run is over.
                Err(_) => {
                    summary.stopped = true;
                    break;
                }
            }
        }
        Ok(summary)
    }
}

/// Walks over the dead letters that were there when it began.
struct Pages {
    store: Arc<Store>,
    filter: DeadLetterFilter,
    left: usize,
}

impl Pages {
    fn new(store: &Arc<Store>, filter: &DeadLetterFilter) -> Result<Self, StorageError> {
        // What is made meanwhile (records that fail again) has greater ids.
        let last = store.last_dead_letter()?;
        let mut filter = filter.clone();
        filter.up_to = Some(filter.up_to.map_or(last, |up_to| up_to.min(last)));
        Ok(Self {
            store: Arc::clone(store),
            left: filter.limit,
            filter,
        })
    }

    /// The next ones: as many as are worked on at a time, `None` when there are no more.
    async fn next(&mut self) -> Result<Option<Vec<DeadLetter>>, AppError> {
        let (store, mut filter) = (Arc::clone(&self.store), self.filter.clone());
        filter.limit = self.left.min(PAGE);
        filter.bytes = PAGE_BYTES;
        let search = tokio::task::spawn_blocking(move || store.dead_letters(&filter));
        // A search is never cancelled, and one that panics is a panic here.
        let letters = match search.await {
            Ok(found) => found?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let Some(last) = letters.last() else {
            return Ok(None);
        };
        self.filter.after = last.id;
        self.left -= letters.len();
        Ok(Some(letters))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::sync::watch;
    use tokio_util::sync::CancellationToken;

    use super::{document::tests::letter, *};
    use crate::{
        app::{Options, Project},
        storage::{Checkpoint, Commit, checkpoint::FORMAT},
    };

    async fn with(count: usize, payload: &[u8]) -> DeadLetters {
        let letters = DeadLetters::of(Arc::new(Store::memory().unwrap()));
        let one = DeadLetter {
            payload: payload.to_vec(),
            ..letter()
        };
        let commit = Commit {
            dead_letters: vec![one; count],
            ..Commit::default()
        };
        letters.store.commit(commit).await.unwrap();
        letters
    }

    /// A run that settles what it is given, except for every tenth, which is a new dead letter.
    async fn answer(letters: &DeadLetters, mut commands: mpsc::Receiver<Command>) -> Vec<usize> {
        let mut sizes = Vec::new();
        while let Some(Command::Replay(replay)) = commands.recv().await {
            let failed: Vec<DeadLetter> = replay.letters.iter().step_by(10).cloned().collect();
            let replayed = Replayed {
                records: replay.letters.len() as u64,
                dead_letters: failed.len() as u64,
            };
            sizes.push(replay.letters.len());
            let commit = Commit {
                dead_letters: failed,
                removed_dead_letters: replay.letters.iter().map(|letter| letter.id).collect(),
                ..Commit::default()
            };
            letters.store.commit(commit).await.unwrap();
            replay.answer.send(Ok(replayed)).unwrap();
        }
        sizes
    }

    #[tokio::test]
    async fn all_are_given_in_portions_and_each_once() {
        let letters = with(600, b"{}").await;
        let (commands, receiver) = mpsc::channel(1);
        let filter = DeadLetterFilter {
            limit: usize::MAX,
            ..DeadLetterFilter::default()
        };
        let giving = async {
            let given = letters.replay("prices", &filter, &commands).await.unwrap();
            drop(commands);
            given
        };
        let (summary, sizes) = tokio::join!(giving, answer(&letters, receiver));
        assert_eq!(sizes, [250, 250, 100]);
        assert_eq!(
            (summary.records, summary.settled, summary.failed),
            (600, 540, 60)
        );
        assert!(!summary.stopped);
        // Those that failed again are there under new ids, and were not given a second time.
        let left = letters.list(&filter).unwrap();
        assert!(left.iter().map(|letter| letter.id).eq(601..=660));
    }

    #[tokio::test]
    async fn large_ones_are_given_one_after_the_other() {
        let payload = vec![b'1'; 9 << 20];
        let letters = with(2, &payload).await;
        let (commands, receiver) = mpsc::channel(1);
        let filter = DeadLetterFilter::default();
        let giving = async {
            let given = letters.replay("prices", &filter, &commands).await.unwrap();
            drop(commands);
            given.records
        };
        let (records, sizes) = tokio::join!(giving, answer(&letters, receiver));
        assert_eq!((records, sizes), (2, vec![1, 1]));
    }

    #[tokio::test]
    async fn what_a_run_that_is_over_was_not_given_stays() {
        let letters = with(3, b"{}").await;
        let (commands, receiver) = mpsc::channel(1);
        drop(receiver);
        let filter = DeadLetterFilter::default();
        let summary = letters.replay("prices", &filter, &commands).await.unwrap();
        assert!(summary.stopped && summary.records == 0);
        assert_eq!(letters.list(&filter).unwrap().len(), 3);
    }

    #[tokio::test]
    async fn a_checkpoint_of_a_newer_format_is_refused_with_advice() {
        let folder = tempfile::tempdir().unwrap();
        let flow_file = folder.path().join("prices.yaml");
        let flow = "flow: prices\nsource: { plugin: a }\nsinks: [{ plugin: b }]\n";
        std::fs::write(&flow_file, flow).unwrap();
        let project = Project::open(&Options {
            flow_file,
            ..Options::default()
        })
        .unwrap();
        let letters = with(1, b"{}").await;
        let newer = Checkpoint {
            format: FORMAT + 1,
            flow: "prices".to_owned(),
            run: "r".to_owned(),
            epoch: 1,
            at_ms: 0,
            finished: true,
            settled: true,
            stages: BTreeMap::new(),
            counts: BTreeMap::new(),
            filtered: BTreeMap::new(),
        };
        let commit = Commit {
            checkpoint: Some(newer),
            ..Commit::default()
        };
        letters.store.commit(commit).await.unwrap();
        let options = ReplayOptions {
            filter: DeadLetterFilter::default(),
            with: None,
            actor: "test".to_owned(),
            stop: CancellationToken::new(),
            progress: watch::Sender::default(),
        };
        let error = project.replay(&letters, options).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(
                "the checkpoint of flow prices has format 2, this crossdock knows up to 1"
            ),
            "{text}"
        );
        assert!(text.contains("upgrade crossdock"), "{text}");
        assert_eq!(letters.list(&DeadLetterFilter::default()).unwrap().len(), 1);
    }
}
