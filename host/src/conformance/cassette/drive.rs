//! What is done with a plugin while a cassette turns.

use std::{
    collections::BTreeMap,
    fs::File,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{
    Call, CassetteError,
    deck::{Deck, Event},
};
use crate::{
    catalogue::Kind,
    conformance::{
        check::{Wrong, told},
        place::{Content, Place},
        record::{Row, output, rows},
        settings::{Compare, KindSettings},
        subject::Subject,
    },
    engine::{
        fault::Fault,
        stage::{Budget, Read, Rejection},
    },
    plugin::{Blob, FixedSenses, HttpSend, Plugin, Recording, Tape},
};

/// Records in one page and in one batch.
const BATCH: usize = 100;
/// Pauses of a source that are waited for.
const IDLE: usize = 20;
/// Longest of them.
const PAUSE: Duration = Duration::from_millis(20);

/// What came of it.
pub(super) struct Driven {
    pub(super) calls: Vec<Call>,
    /// Files and entries of tables that were not there before, or were others.
    pub(super) left: BTreeMap<String, Blob>,
}

/// What is driven, and on what.
pub(super) struct Drive<'a> {
    pub(super) plugin: &'a Arc<Plugin>,
    pub(super) kind: Kind,
    pub(super) settings: &'a KindSettings,
    /// How many records a source is asked for.
    pub(super) records: usize,
    pub(super) senses: FixedSenses,
}

impl Drive<'_> {
    /// Everything that is done with a plugin while a cassette turns.
    pub(super) async fn run(
        &self,
        network: Arc<dyn HttpSend>,
        deck: Arc<dyn Deck>,
    ) -> Result<Driven, CassetteError> {
        let settings = KindSettings {
            api: None,
            ..self.settings.clone()
        };
        let mut subject = Subject::new(Arc::clone(self.plugin), self.kind, settings, Some(network));
        subject.recording = Some(Recording {
            senses: self.senses,
            tape: Arc::clone(&deck) as Arc<dyn Tape>,
        });
        let place = subject.place().map_err(nothing)?;
        dated(&place, self.settings, self.senses.start_ms)?;
        let before = content(&subject, &place)?;
        let mut calls = Calls {
            all: Vec::new(),
            deck,
        };
        // A fault is on the cassette as well, and ends it.
        let _ended: Option<()> = match self.kind {
            Kind::Source => source(&subject, &place, self.records, &mut calls).await,
            Kind::Transformer => transformer(&subject, &place, &mut calls).await,
            Kind::Sink => sink(&subject, &place, &mut calls).await,
        };
        let left = content(&subject, &place)?
            .into_iter()
            .filter(|(name, bytes)| before.get(name) != Some(bytes))
            .map(|(name, bytes)| (name, Blob(bytes)));
        Ok(Driven {
            calls: calls.all,
            left: left.collect(),
        })
    }
}

/// Gives the files that are there the time at which the cassette begins: a plugin may look at it.
fn dated(place: &Place, settings: &KindSettings, start_ms: u64) -> Result<(), CassetteError> {
    let time = UNIX_EPOCH + Duration::from_millis(start_ms);
    for name in settings.files.keys() {
        let path = place.folder().join(name);
        let file = File::options().write(true).open(&path);
        file.and_then(|file| file.set_modified(time))
            .map_err(|error| CassetteError::Nothing(format!("{}: {error}", path.display())))?;
    }
    Ok(())
}

/// What is in its folder and in tables; nothing where that cannot be compared.
fn content(subject: &Subject, place: &Place) -> Result<Content, CassetteError> {
    if subject.settings.compare == Compare::Nothing {
        return Ok(Content::new());
    }
    place.content().map_err(|error| {
        CassetteError::Nothing(format!("what it has written cannot be read: {error}"))
    })
}

fn nothing(wrong: Wrong) -> CassetteError {
    let (Wrong::Failed(why) | Wrong::Skipped(why) | Wrong::Open(why)) = wrong;
    CassetteError::Nothing(why)
}

struct Calls {
    all: Vec<Call>,
    deck: Arc<dyn Deck>,
}

impl Calls {
    /// Notes what a call gave, and what it imported. `None` after a fault.
    fn note<T>(
        &mut self,
        call: &str,
        outcome: Result<T, Fault>,
        gave: impl FnOnce(&T) -> Value,
    ) -> Option<T> {
        let value = match &outcome {
            Ok(value) => gave(value),
            Err(fault) => {
                json!({ "fault": { "kind": fault.kind, "message": fault.message, "location": fault.location,
                "field": fault.field, "all": told(fault).lines().next() } })
            }
        };
        let imports: Vec<Event> = self.deck.turn();
        self.all.push(Call {
            call: call.to_owned(),
            imports,
            gave: value,
        });
        outcome.ok()
    }
}

fn done<T>(_: &T) -> Value {
    Value::Null
}

#[allow(clippy::ptr_arg, reason = "what `note` calls")]
fn bytes(bytes: &Vec<u8>) -> Value {
    serde_json::to_value(Blob(bytes.clone())).unwrap_or_default()
}

fn shown(rows: impl Iterator<Item = Row>) -> Value {
    let rows = rows.map(|row| {
        json!({ "stream": &*row.stream, "key": Blob(row.key), "headers": Blob(row.headers),
            "payload": Blob(row.payload), "delete": row.delete })
    });
    rows.collect()
}

async fn checked(subject: &Subject, place: &Place, calls: &mut Calls) -> Option<()> {
    let context = subject.context(place, Subject::limits());
    let outcome = subject.plugin.check(subject.kind, &context).await;
    calls.note("check", outcome, done)
}

async fn source(subject: &Subject, place: &Place, records: usize, calls: &mut Calls) -> Option<()> {
    checked(subject, place, calls).await?;
    let context = subject.context(place, Subject::limits());
    let streams = subject.plugin.streams(&context).await;
    calls.note("streams", streams, |streams| {
        serde_json::to_value(streams).unwrap_or_default()
    })?;
    let opener = subject.source(place, Subject::limits()).ok()?;
    let mut source = calls.note("open", opener.open(None).await, done)?;
    let (mut seen, mut idle) = (0, 0);
    while seen < records && idle < IDLE {
        let budget = Budget {
            records: u32::try_from(BATCH.min(records - seen)).unwrap_or(u32::MAX),
            bytes: 1 << 20,
            // By records and bytes alone: time is not the same twice.
            time: Duration::from_mins(1),
        };
        let read = source.read(budget).await;
        let read = calls.note("read", read, |read| match read {
            Read::Page { records, unreadable } => {
                let unreadable = unreadable.iter().map(|one| {
                    json!({ "data": Blob(one.data.clone()), "why": one.fault.to_string() })
                });
                json!({ "records": shown(rows(records)), "unreadable": unreadable.collect::<Value>() })
            }
            Read::Idle(pause) => json!({ "idle": pause.as_millis() }),
            Read::End => json!("end"),
        })?;
        match read {
            Read::Page { records, .. } => {
                place.keep(&mut *source);
                seen += records.len().max(1);
                idle = 0;
            }
            Read::Idle(pause) => {
                idle += 1;
                tokio::time::sleep(pause.min(PAUSE)).await;
                continue;
            }
            Read::End => break,
        }
        let snapshot = calls.note("snapshot", source.snapshot().await, bytes)?;
        calls.note("committed", source.committed(&snapshot).await, done)?;
    }
    source.close().await;
    calls.note("close", Ok(()), done)
}

async fn transformer(subject: &Subject, place: &Place, calls: &mut Calls) -> Option<()> {
    checked(subject, place, calls).await?;
    let opener = subject.transformer(place, Subject::limits()).ok()?;
    let mut transformer = calls.note("open", opener.open(None).await, done)?;
    for batch in subject.batches(BATCH) {
        let applied = transformer.apply(&batch).await;
        calls.note("apply", applied, |applied| {
            json!({ "records": shown(output(&batch, applied).into_iter()),
                "rejected": rejected(&applied.rejected) })
        })?;
        place.keep(&mut *transformer);
    }
    calls.note("finish", transformer.finish().await, |held| {
        shown(held.iter().flat_map(rows))
    })?;
    calls.note("snapshot", transformer.snapshot().await, bytes)?;
    transformer.close().await;
    calls.note("close", Ok(()), done)
}

async fn sink(subject: &Subject, place: &Place, calls: &mut Calls) -> Option<()> {
    checked(subject, place, calls).await?;
    let opener = subject.sink(place, Subject::limits()).ok()?;
    let mut sink = calls.note("open", opener.open(None).await, done)?;
    for batch in subject.batches(BATCH) {
        let written = sink.write(&batch).await;
        calls.note("write", written, |written| {
            json!({ "rejected": rejected(&written.rejected),
                "receipts": shown(written.receipts.iter().flat_map(rows)) })
        })?;
        place.keep(&mut *sink);
        let snapshot = calls.note("snapshot", sink.snapshot().await, bytes)?;
        calls.note("commit", sink.commit(&snapshot).await, done)?;
    }
    calls.note("finish", sink.finish().await, done)?;
    let snapshot = calls.note("snapshot", sink.snapshot().await, bytes)?;
    calls.note("commit", sink.commit(&snapshot).await, done)?;
    sink.close().await;
    calls.note("close", Ok(()), done)
}

fn rejected(rejected: &[Rejection]) -> Value {
    let all = rejected.iter().map(
        |one| json!({ "index": one.index, "kind": one.fault.kind, "why": one.fault.to_string() }),
    );
    all.collect()
}
