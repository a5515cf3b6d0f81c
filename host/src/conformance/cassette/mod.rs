//! Cassettes: what a plugin asked of a real system and was answered, and what it made of it. Played back it is asked the
//! same, offline, and has to give the same, byte for byte.
//!
//! Recorded are requests through `http-client`. Time and random numbers need no recording: while a cassette turns, they
//! follow from its start and its seed. Tables and files are those of the settings. What looks like a secret is taken out of
//! requests and answers before they are written.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Value, json};

use super::{
    check::{Wrong, told},
    place::Place,
    record::rows,
    scrub,
    settings::{KindSettings, Settings},
    subject::Subject,
};
use crate::{
    catalogue::Kind,
    engine::{
        fault::Fault,
        stage::{Budget, Read},
    },
    plugin::{FixedSenses, HttpError, HttpRequest, HttpResponse, HttpSend, Plugin},
};

/// Version of the format.
const VERSION: u32 = 1;
/// Records in one page and in one batch.
const BATCH: usize = 100;
/// Pauses of a source that are waited for.
const IDLE: usize = 20;
/// Longest of them.
const PAUSE: Duration = Duration::from_millis(20);
/// A larger cassette is not written.
const MAX_BYTES: usize = 64 << 20;

/// Bytes: as text where they are text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Blob(Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => text.serialize(serializer),
            Err(_) => json!({ "base64": STANDARD.encode(&self.0) }).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text.into_bytes())),
            Value::Object(fields) => {
                let text = fields.get("base64").and_then(Value::as_str);
                let bytes = text.and_then(|text| STANDARD.decode(text).ok());
                bytes.map(Self).ok_or_else(|| D::Error::custom("no base64"))
            }
            _ => Err(D::Error::custom("neither a text nor base64")),
        }
    }
}

/// One request and its answer, as the plugin saw them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Exchange {
    connection: String,
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "is_empty")]
    body: Blob,
    answer: Answer,
}

fn is_empty(blob: &Blob) -> bool {
    blob.0.is_empty()
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Response {
        status: u16,
        headers: Vec<(String, String)>,
        body: Blob,
    },
    Denied(String),
    Invalid(String),
    Unauthenticated(String),
    Unreachable(String),
    TooLarge(String),
}

impl Answer {
    fn of(outcome: &Result<HttpResponse, HttpError>) -> Self {
        match outcome {
            Ok(response) => Self::Response {
                status: response.status,
                headers: scrub::headers(&response.headers),
                body: Blob(scrub::body(&response.body)),
            },
            Err(HttpError::Denied(text)) => Self::Denied(text.clone()),
            Err(HttpError::Invalid(text)) => Self::Invalid(text.clone()),
            Err(HttpError::Unauthenticated(text)) => Self::Unauthenticated(text.clone()),
            Err(HttpError::Unreachable(text)) => Self::Unreachable(text.clone()),
            Err(HttpError::TooLarge(text)) => Self::TooLarge(text.clone()),
        }
    }

    fn outcome(self) -> Result<HttpResponse, HttpError> {
        Err(match self {
            Self::Response {
                status,
                headers,
                body,
            } => {
                return Ok(HttpResponse {
                    status,
                    headers,
                    body: body.0,
                });
            }
            Self::Denied(text) => HttpError::Denied(text),
            Self::Invalid(text) => HttpError::Invalid(text),
            Self::Unauthenticated(text) => HttpError::Unauthenticated(text),
            Self::Unreachable(text) => HttpError::Unreachable(text),
            Self::TooLarge(text) => HttpError::TooLarge(text),
        })
    }
}

impl Exchange {
    fn new(connection: &str, request: &HttpRequest, answer: Answer) -> Self {
        Self {
            connection: connection.to_owned(),
            method: request.method.clone(),
            url: scrub::url(&request.url),
            headers: scrub::headers(&request.headers),
            body: Blob(scrub::body(&request.body)),
            answer,
        }
    }

    fn asks_the_same(&self, other: &Self) -> bool {
        self.connection == other.connection
            && self.method == other.method
            && self.url == other.url
            && self.headers == other.headers
            && self.body == other.body
    }

    fn shown(&self) -> String {
        format!("{} {} ({})", self.method, self.url, self.connection)
    }
}

/// One call of the plugin and what it gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Call {
    call: String,
    gave: Value,
}

/// What was recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cassette {
    #[serde(rename = "cassette")]
    format: u32,
    plugin: String,
    version: String,
    digest: String,
    kind: Kind,
    /// Milliseconds since 1970 at which it began.
    started: u64,
    seed: u64,
    /// How many records a source was asked for.
    records: usize,
    settings: KindSettings,
    requests: Vec<Exchange>,
    calls: Vec<Call>,
}

/// Why a cassette cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CassetteError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is none.
    #[error("{path} is no cassette of this crossdock: {why}; `crossdock plugin record` makes one")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The plugin is not what was recorded.
    #[error("the cassette is of a {kind} called `{plugin}`, but this is {found}")]
    OtherPlugin {
        /// What was recorded.
        plugin: String,
        /// As what.
        kind: Kind,
        /// What was given.
        found: String,
    },
    /// There is nothing to record.
    #[error("{0}")]
    Nothing(String),
}

/// What came of playing a cassette back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Played {
    /// Calls of the plugin that were compared.
    pub calls: usize,
    /// Requests that it sent.
    pub requests: usize,
    /// Every difference. None: it did the same, byte for byte.
    pub differences: Vec<String>,
}

impl Cassette {
    /// Lets a plugin work against real systems and keeps what it asked, was answered and gave.
    ///
    /// # Errors
    /// When it is not of that kind, or there is no room for what was recorded.
    pub async fn record(
        plugin: &Arc<Plugin>,
        kind: Kind,
        settings: &Settings,
        network: Arc<dyn HttpSend>,
        records: usize,
    ) -> Result<Self, CassetteError> {
        let deck = Arc::new(Recorder {
            network,
            requests: Mutex::default(),
        });
        let now = std::time::SystemTime::now();
        let since = now
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let started = u64::try_from(since.as_millis()).unwrap_or_default();
        let senses = FixedSenses {
            start_ms: started,
            seed: started,
        };
        let settings = settings.kind(kind);
        let calls = run(
            plugin,
            kind,
            &settings,
            Arc::clone(&deck) as _,
            senses,
            records,
        )
        .await?;
        let requests = std::mem::take(&mut *deck.lock());
        let cassette = Self {
            format: VERSION,
            plugin: plugin.name().to_owned(),
            version: plugin.version().to_owned(),
            digest: plugin.digest().to_owned(),
            kind,
            started,
            seed: started,
            records,
            settings,
            requests,
            calls,
        };
        Ok(cassette)
    }

    /// How many requests and calls are on it.
    pub fn length(&self) -> (usize, usize) {
        (self.requests.len(), self.calls.len())
    }

    /// The kind of plugin that was recorded.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The last call and its fault, when the recording ended with one.
    pub fn fault(&self) -> Option<String> {
        let last = self.calls.last()?;
        let message = last.gave.get("fault")?.get("message")?.as_str()?;
        Some(format!("`{}`: {message}", last.call))
    }

    /// The file's text.
    ///
    /// # Errors
    /// When it is too large.
    pub fn to_text(&self) -> Result<String, CassetteError> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        if text.len() > MAX_BYTES {
            let size = text.len() >> 20;
            return Err(CassetteError::Nothing(format!(
                "the cassette would have {size} MiB, {} are allowed: record fewer records",
                MAX_BYTES >> 20
            )));
        }
        Ok(text + "\n")
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is no cassette.
    pub fn load(file: &Path) -> Result<Self, CassetteError> {
        let path = file.display().to_string();
        let text = std::fs::read(file).map_err(|source| CassetteError::Read {
            path: path.clone(),
            source,
        })?;
        let malformed = |why: String| CassetteError::Malformed {
            path: path.clone(),
            why,
        };
        let cassette: Self =
            serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
        if cassette.format != VERSION {
            let why = format!("its format is {}, not {VERSION}", cassette.format);
            return Err(malformed(why));
        }
        Ok(cassette)
    }

    /// Plays it back to a plugin, offline.
    ///
    /// # Errors
    /// When the plugin is another one.
    pub async fn play(self, plugin: &Arc<Plugin>) -> Result<Played, CassetteError> {
        if plugin.name() != self.plugin || !plugin.inspection().is(self.kind) {
            return Err(CassetteError::OtherPlugin {
                plugin: self.plugin,
                kind: self.kind,
                found: format!("`{}`", plugin.name()),
            });
        }
        let senses = FixedSenses {
            start_ms: self.started,
            seed: self.seed,
        };
        let recorded = self.requests.len();
        let deck = Arc::new(Player {
            left: Mutex::new(self.requests),
            strange: Mutex::default(),
        });
        let sender = Arc::clone(&deck) as Arc<dyn HttpSend>;
        let calls = run(
            plugin,
            self.kind,
            &self.settings,
            sender,
            senses,
            self.records,
        )
        .await?;
        let strange = std::mem::take(&mut *lock(&deck.strange));
        let left = std::mem::take(&mut *lock(&deck.left));
        let requests = recorded - left.len() + strange.len();
        let mut differences: Vec<String> = strange;
        differences.extend(first_difference(&self.calls, &calls));
        if let Some(first) = left.first() {
            let count = left.len();
            differences.push(format!(
                "{count} recorded requests were not sent, first {}",
                first.shown()
            ));
        }
        Ok(Played {
            calls: calls.len(),
            requests,
            differences,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn first_difference(recorded: &[Call], played: &[Call]) -> Option<String> {
    for (at, (then, now)) in recorded.iter().zip(played).enumerate() {
        if then == now {
            continue;
        }
        if then.call != now.call {
            return Some(format!(
                "call {at} was `{}`, now it is `{}`",
                then.call, now.call
            ));
        }
        let place = differing(&then.gave, &now.gave);
        let shown = |value: &Value| {
            let part = value
                .pointer(&place)
                .map_or_else(|| "nothing".to_owned(), ToString::to_string);
            let cut: String = part.chars().take(200).collect();
            cut
        };
        return Some(format!(
            "call {at} (`{}`) gave another {}: recorded {}, now {}",
            then.call,
            if place.is_empty() {
                "answer"
            } else {
                place.as_str()
            },
            shown(&then.gave),
            shown(&now.gave)
        ));
    }
    (recorded.len() != played.len()).then(|| {
        format!(
            "{} calls were recorded, now there are {}",
            recorded.len(),
            played.len()
        )
    })
}

/// Pointer of the first part that differs.
fn differing(a: &Value, b: &Value) -> String {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => a
            .keys()
            .chain(b.keys())
            .find(|name| a.get(*name) != b.get(*name))
            .map(|name| {
                let null = Value::Null;
                let deeper = differing(a.get(name).unwrap_or(&null), b.get(name).unwrap_or(&null));
                format!("/{}{deeper}", name.replace('~', "~0").replace('/', "~1"))
            })
            .unwrap_or_default(),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let at = a.iter().zip(b).position(|(a, b)| a != b);
            at.and_then(|at| Some((at, a.get(at)?, b.get(at)?)))
                .map(|(at, a, b)| format!("/{at}{}", differing(a, b)))
                .unwrap_or_default()
        }
        _ => String::new(),
    }
}

struct Recorder {
    network: Arc<dyn HttpSend>,
    requests: Mutex<Vec<Exchange>>,
}

impl Recorder {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Exchange>> {
        lock(&self.requests)
    }
}

#[async_trait]
impl HttpSend for Recorder {
    async fn send(
        &self,
        connection: &str,
        request: HttpRequest,
    ) -> Result<HttpResponse, HttpError> {
        let outcome = self.network.send(connection, request.clone()).await;
        let answer = Answer::of(&outcome);
        self.lock()
            .push(Exchange::new(connection, &request, answer.clone()));
        // The plugin sees what will be played back.
        answer.outcome()
    }

    fn concurrency(&self, connection: &str) -> usize {
        self.network.concurrency(connection)
    }
}

struct Player {
    left: Mutex<Vec<Exchange>>,
    strange: Mutex<Vec<String>>,
}

#[async_trait]
impl HttpSend for Player {
    async fn send(
        &self,
        connection: &str,
        request: HttpRequest,
    ) -> Result<HttpResponse, HttpError> {
        let asked = Exchange::new(connection, &request, Answer::Denied(String::new()));
        let found = {
            let mut left = lock(&self.left);
            let at = left.iter().position(|one| one.asks_the_same(&asked));
            at.map(|at| left.remove(at))
        };
        if let Some(found) = found {
            return found.answer.outcome();
        }
        let text = format!("{} is not on the cassette", asked.shown());
        lock(&self.strange).push(text.clone());
        Err(HttpError::Denied(text))
    }
}

/// Everything that is done with a plugin while a cassette turns.
async fn run(
    plugin: &Arc<Plugin>,
    kind: Kind,
    settings: &KindSettings,
    network: Arc<dyn HttpSend>,
    senses: FixedSenses,
    records: usize,
) -> Result<Vec<Call>, CassetteError> {
    let settings = KindSettings {
        api: None,
        ..settings.clone()
    };
    let mut subject = Subject::new(Arc::clone(plugin), kind, settings, Some(network));
    subject.senses = Some(senses);
    let place = subject.place().map_err(nothing)?;
    let mut calls = Calls(Vec::new());
    // A fault is on the cassette as well, and ends it.
    let _ended: Option<()> = match kind {
        Kind::Source => source(&subject, &place, records, &mut calls).await,
        Kind::Transformer => transformer(&subject, &place, &mut calls).await,
        Kind::Sink => sink(&subject, &place, &mut calls).await,
    };
    Ok(calls.0)
}

fn nothing(wrong: Wrong) -> CassetteError {
    let (Wrong::Failed(why) | Wrong::Skipped(why) | Wrong::Open(why)) = wrong;
    CassetteError::Nothing(why)
}

struct Calls(Vec<Call>);

impl Calls {
    /// Notes what a call gave. `None` after a fault.
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
        self.0.push(Call {
            call: call.to_owned(),
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

fn shown(rows: impl Iterator<Item = super::record::Row>) -> Value {
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
    Some(())
}

async fn transformer(subject: &Subject, place: &Place, calls: &mut Calls) -> Option<()> {
    checked(subject, place, calls).await?;
    let opener = subject.transformer(place, Subject::limits()).ok()?;
    let mut transformer = calls.note("open", opener.open(None).await, done)?;
    for batch in subject.batches(BATCH) {
        let applied = transformer.apply(&batch).await;
        calls.note("apply", applied, |applied| {
            json!({ "records": shown(super::record::output(&batch, applied).into_iter()),
                "rejected": rejected(&applied.rejected) })
        })?;
        place.keep(&mut *transformer);
    }
    calls.note("finish", transformer.finish().await, |held| {
        shown(held.iter().flat_map(rows))
    })?;
    calls.note("snapshot", transformer.snapshot().await, bytes)?;
    transformer.close().await;
    Some(())
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
    Some(())
}

fn rejected(rejected: &[crate::engine::stage::Rejection]) -> Value {
    let all = rejected.iter().map(
        |one| json!({ "index": one.index, "kind": one.fault.kind, "why": one.fault.to_string() }),
    );
    all.collect()
}
