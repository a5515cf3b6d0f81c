//! Stages and a journal in memory. The sink is exactly-once like a real one: what is not committed is lost when its
//! instance is opened again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    engine::{
        batch::{Batch, Builder, Form, Record},
        chain::TransformerStage,
        dead_letter::Threshold,
        fault::{Fault, FaultKind},
        intake::SourceStage,
        keeper::Recycle,
        overlay::Overlay,
        retry::RetryPolicy,
        run::{Control, Pipeline, Progress, RunError, Settings, Summary, run},
        sink_lane::SinkStage,
        stage::*,
    },
    storage::{Checkpoint, Commit, DeadLetter, Journal, StorageError},
};

/// Decides whether a call fails: given what is called and the payloads, says how.
pub(super) type Trouble = Arc<dyn Fn(&str, &[String]) -> Option<Fault> + Send + Sync>;

pub(super) fn none() -> Trouble {
    Arc::new(|_, _| None)
}

/// Fails whenever a payload is in the batch.
pub(super) fn on(call: &'static str, payload: &'static str, kind: FaultKind) -> Trouble {
    Arc::new(move |c, p| {
        (c == call && p.iter().any(|p| p == payload))
            .then(|| Fault::new(kind, format!("{payload} is bad")))
    })
}

/// Fails the first `times` times.
pub(super) fn first(call: &'static str, times: u64, kind: FaultKind) -> Trouble {
    let left = AtomicU64::new(times);
    Arc::new(move |c, _| {
        let fails = c == call
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                .is_ok();
        fails.then(|| Fault::new(kind, "for now"))
    })
}

/// Compares long lists and shows only where they part.
pub(super) fn same(found: &[String], expected: &[String], context: &str) {
    let at = found
        .iter()
        .zip(expected)
        .take_while(|(a, b)| a == b)
        .count();
    assert!(
        found == expected,
        "{context}: {} found, {} expected, different from {at}: {:?} / {:?}",
        found.len(),
        expected.len(),
        found.get(at),
        expected.get(at)
    );
}

pub(super) fn batch(stream: &str, payloads: impl IntoIterator<Item = String>) -> Batch {
    let mut builder = Builder::new(stream, Form::Json);
    for payload in payloads {
        builder.push(Record {
            key: payload.as_bytes(),
            headers: b"",
            payload: payload.as_bytes(),
            flags: 0,
        });
    }
    builder.build()
}

pub(super) fn payloads(batch: &Batch) -> Vec<String> {
    batch
        .records()
        .map(|r| String::from_utf8(r.payload.to_vec()).unwrap())
        .collect()
}

fn identity(plugin: &str) -> Identity {
    Identity {
        plugin: plugin.into(),
        version: "1".into(),
        digest: String::new(),
        config_digest: String::new(),
    }
}

/// The world outside: what survives a crash of the host.
pub(super) struct World {
    pub(super) records: u64,
    pub(super) unreadable_every: u64,
    pub(super) endless: bool,
    pub(super) trouble: Trouble,
    pub(super) stateful: bool,
    pub(super) map: Arc<dyn Fn(&Batch) -> Applied + Send + Sync>,
    pub(super) settings: Settings,
    pub(super) recycle: Recycle,
    pub(super) sinks: BTreeMap<&'static str, Option<BTreeSet<String>>>,
    pub(super) output: Arc<Mutex<BTreeMap<&'static str, Output2>>>,
    pub(super) journal: Arc<MemoryJournal>,
    pub(super) acknowledged: Arc<AtomicU64>,
    pub(super) opened: Arc<Mutex<Vec<String>>>,
    pub(super) stop: CancellationToken,
    pub(super) progress: watch::Sender<Progress>,
}

/// One sink's target: `visible` is committed, `durable` is behind a snapshot.
#[derive(Default, Clone)]
pub(super) struct Output2 {
    pub(super) durable: Vec<String>,
    pub(super) visible: usize,
    pub(super) finished: bool,
}

impl Default for World {
    fn default() -> Self {
        Self {
            records: 1000,
            unreadable_every: 0,
            endless: false,
            trouble: none(),
            stateful: false,
            map: Arc::new(|_| Applied {
                output: Output::Pass,
                rejected: vec![],
                filtered: vec![],
            }),
            settings: Settings {
                batch: Budget {
                    records: 10,
                    bytes: 1 << 20,
                    time: Duration::from_millis(1),
                },
                checkpoint_records: 100,
                checkpoint_every: Duration::from_hours(1),
                in_flight_batches: 8,
                in_flight_bytes: 1 << 20,
                retry: RetryPolicy {
                    attempts: 4,
                    initial: Duration::from_micros(10),
                    max: Duration::from_micros(20),
                },
                threshold: Threshold::default(),
                drain: Duration::from_secs(10),
            },
            recycle: Recycle::default(),
            sinks: [("sink", None)].into(),
            output: Arc::default(),
            journal: Arc::default(),
            acknowledged: Arc::default(),
            opened: Arc::default(),
            stop: CancellationToken::new(),
            progress: watch::Sender::default(),
        }
    }
}

impl World {
    pub(super) async fn run(&self) -> Result<Summary, RunError> {
        self.run_with(Control::new(self.stop.clone(), self.progress.clone()))
            .await
    }

    /// Runs it with something that asks for swaps, pauses and replays.
    pub(super) async fn run_with(&self, control: Control) -> Result<Summary, RunError> {
        let pipeline = Pipeline {
            flow: "test".into(),
            source: SourceStage {
                name: "source".into(),
                opener: self.opener("source"),
                recycle: self.recycle,
            },
            transformers: vec![TransformerStage {
                name: "map".into(),
                opener: self.opener("map"),
                workers: 4,
                recycle: self.recycle,
            }],
            sinks: self
                .sinks
                .iter()
                .map(|(name, streams)| SinkStage {
                    name: (*name).into(),
                    opener: self.opener(name),
                    streams: streams.clone(),
                    receipts: Some("receipts".into()),
                    recycle: self.recycle,
                })
                .collect(),
        };
        let journal: Arc<dyn Journal> = Arc::clone(&self.journal) as _;
        let overlay = Arc::new(Overlay::new(Arc::clone(&journal)));
        let checkpoint = journal.checkpoint("test")?;
        run(
            pipeline,
            self.settings.clone(),
            journal,
            overlay,
            checkpoint,
            control,
        )
        .await
    }

    fn opener(&self, stage: &'static str) -> Arc<MemoryOpener> {
        self.version(stage, "1", Arc::clone(&self.trouble))
    }

    /// A version of a stage, with troubles of its own.
    pub(super) fn version(
        &self,
        stage: &'static str,
        version: &str,
        trouble: Trouble,
    ) -> Arc<MemoryOpener> {
        Arc::new(MemoryOpener {
            stage,
            identity: Identity {
                version: version.into(),
                ..identity(stage)
            },
            records: self.records,
            unreadable_every: self.unreadable_every,
            endless: self.endless,
            trouble,
            stateful: self.stateful,
            map: Arc::clone(&self.map),
            output: Arc::clone(&self.output),
            acknowledged: Arc::clone(&self.acknowledged),
            opened: Arc::clone(&self.opened),
        })
    }

    /// What a reader of the target sees.
    pub(super) fn visible(&self, sink: &'static str) -> Vec<String> {
        let output = self.output.lock().unwrap();
        output
            .get(sink)
            .map(|o| o.durable[..o.visible].to_vec())
            .unwrap_or_default()
    }

    pub(super) fn opened(&self, stage: &str) -> usize {
        self.opened
            .lock()
            .unwrap()
            .iter()
            .filter(|s| *s == stage)
            .count()
    }

    /// All payloads that the source gives.
    pub(super) fn input(&self) -> Vec<String> {
        (0..self.records).map(|n| n.to_string()).collect()
    }
}

pub(super) struct MemoryOpener {
    stage: &'static str,
    identity: Identity,
    records: u64,
    unreadable_every: u64,
    endless: bool,
    trouble: Trouble,
    stateful: bool,
    map: Arc<dyn Fn(&Batch) -> Applied + Send + Sync>,
    output: Arc<Mutex<BTreeMap<&'static str, Output2>>>,
    acknowledged: Arc<AtomicU64>,
    opened: Arc<Mutex<Vec<String>>>,
}

impl MemoryOpener {
    fn opening(&self) -> Result<(), Fault> {
        self.opened.lock().unwrap().push(self.stage.into());
        (self.trouble)(&format!("{}.open", self.stage), &[]).map_or(Ok(()), Err)
    }
}

fn number(snapshot: Option<&[u8]>) -> u64 {
    snapshot.map_or(0, |s| String::from_utf8_lossy(s).parse().unwrap())
}

#[async_trait]
impl Opener<dyn Source> for MemoryOpener {
    async fn open(&self, snapshot: Option<&[u8]>) -> Result<Box<dyn Source>, Fault> {
        self.opening()?;
        Ok(Box::new(Counter {
            next: number(snapshot),
            end: self.records,
            unreadable_every: self.unreadable_every,
            endless: self.endless,
            trouble: Arc::clone(&self.trouble),
            acknowledged: Arc::clone(&self.acknowledged),
            wear: Wear::default(),
        }))
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }
}

struct Counter {
    next: u64,
    end: u64,
    unreadable_every: u64,
    endless: bool,
    trouble: Trouble,
    acknowledged: Arc<AtomicU64>,
    wear: Wear,
}

impl Instance for Counter {
    fn wear(&self) -> Wear {
        self.wear
    }
}

#[async_trait]
impl Source for Counter {
    async fn read(&mut self, budget: Budget) -> Result<Read, Fault> {
        tokio::task::yield_now().await;
        if self.next >= self.end {
            return Ok(if self.endless {
                Read::Idle(Duration::from_millis(1))
            } else {
                Read::End
            });
        }
        let to = (self.next + u64::from(budget.records)).min(self.end);
        let names: Vec<String> = (self.next..to).map(|n| n.to_string()).collect();
        if let Some(fault) = (self.trouble)("source.read", &names) {
            return Err(fault);
        }
        let is_bad = |n: &u64| self.unreadable_every > 0 && n.is_multiple_of(self.unreadable_every);
        let records = batch(
            "numbers",
            (self.next..to)
                .filter(|n| !is_bad(n))
                .map(|n| n.to_string()),
        );
        let unreadable = (self.next..to)
            .filter(is_bad)
            .map(|n| Unreadable {
                data: n.to_string().into(),
                fault: Fault::new(FaultKind::Permanent, "ragged"),
            })
            .collect();
        self.wear.records += to - self.next;
        self.next = to;
        Ok(Read::Page {
            records,
            unreadable,
        })
    }

    async fn snapshot(&mut self) -> Result<Snapshot, Fault> {
        Ok(self.next.to_string().into())
    }

    async fn committed(&mut self, snapshot: &[u8]) -> Result<(), Fault> {
        self.acknowledged
            .fetch_max(number(Some(snapshot)), Ordering::SeqCst);
        Ok(())
    }

    async fn close(&mut self) {}
}

#[async_trait]
impl Opener<dyn Transformer> for MemoryOpener {
    async fn open(&self, snapshot: Option<&[u8]>) -> Result<Box<dyn Transformer>, Fault> {
        self.opening()?;
        Ok(Box::new(Mapper {
            seen: number(snapshot),
            stateful: self.stateful,
            trouble: Arc::clone(&self.trouble),
            map: Arc::clone(&self.map),
            writes: Vec::new(),
            wear: Wear::default(),
        }))
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// Stateless: whatever `map` says. Stateful: numbers the records that it has seen.
struct Mapper {
    seen: u64,
    stateful: bool,
    trouble: Trouble,
    map: Arc<dyn Fn(&Batch) -> Applied + Send + Sync>,
    writes: Vec<TableWrite>,
    wear: Wear,
}

impl Instance for Mapper {
    fn take_table_writes(&mut self) -> Vec<TableWrite> {
        std::mem::take(&mut self.writes)
    }

    fn wear(&self) -> Wear {
        self.wear
    }
}

#[async_trait]
impl Transformer for Mapper {
    fn mode(&self) -> Mode {
        if self.stateful {
            Mode::Stateful
        } else {
            Mode::Stateless
        }
    }

    async fn apply(&mut self, batch: &Batch) -> Result<Applied, Fault> {
        for _ in 0..fastrand::u32(..8) {
            tokio::task::yield_now().await;
        }
        let names = payloads(batch);
        for name in &names {
            self.writes.push(TableWrite {
                table: "seen".into(),
                key: name.clone(),
                value: Some(name.clone().into_bytes()),
            });
        }
        if let Some(fault) = (self.trouble)("map.apply", &names) {
            return Err(fault);
        }
        self.wear.records += batch.len() as u64;
        if !self.stateful {
            return Ok((self.map)(batch));
        }
        let mut builder = Builder::new("numbered", Form::Json);
        for (at, record) in (0_u32..).zip(batch.records()) {
            self.seen += 1;
            let payload = format!("{}:{}", self.seen, String::from_utf8_lossy(record.payload));
            builder.push(Record {
                payload: payload.as_bytes(),
                flags: at << 8,
                ..record
            });
        }
        Ok(Applied {
            output: Output::Replace(vec![builder.build()]),
            rejected: vec![],
            filtered: vec![],
        })
    }

    async fn finish(&mut self) -> Result<Vec<Batch>, Fault> {
        Ok(vec![batch("numbered", [format!("total {}", self.seen)])])
    }

    async fn snapshot(&mut self) -> Result<Snapshot, Fault> {
        Ok(if self.stateful {
            self.seen.to_string().into()
        } else {
            Vec::new()
        })
    }

    async fn close(&mut self) {}
}

#[async_trait]
impl Opener<dyn Sink> for MemoryOpener {
    async fn open(&self, snapshot: Option<&[u8]>) -> Result<Box<dyn Sink>, Fault> {
        self.opening()?;
        let len = usize::try_from(number(snapshot)).unwrap();
        let mut outputs = self.output.lock().unwrap();
        let output = outputs.entry(self.stage).or_default();
        // Discards what came after the snapshot.
        output.durable.truncate(len);
        assert!(
            output.visible <= len,
            "what was visible is never taken back"
        );
        assert_eq!(
            output.durable.len(),
            len,
            "a snapshot means that this much is durable"
        );
        Ok(Box::new(Target {
            stage: self.stage,
            written: Vec::new(),
            output: Arc::clone(&self.output),
            trouble: Arc::clone(&self.trouble),
            finished: false,
            wear: Wear::default(),
        }))
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }
}

struct Target {
    stage: &'static str,
    written: Vec<String>,
    output: Arc<Mutex<BTreeMap<&'static str, Output2>>>,
    trouble: Trouble,
    finished: bool,
    wear: Wear,
}

impl Instance for Target {
    fn wear(&self) -> Wear {
        self.wear
    }
}

#[async_trait]
impl Sink for Target {
    async fn write(&mut self, batch: &Batch) -> Result<Written, Fault> {
        tokio::task::yield_now().await;
        let names = payloads(batch);
        if let Some(fault) = (self.trouble)(&format!("{}.write", self.stage), &names) {
            return Err(fault);
        }
        let mut rejected = Vec::new();
        for (index, name) in (0_u32..).zip(names) {
            match (self.trouble)(
                &format!("{}.record", self.stage),
                std::slice::from_ref(&name),
            ) {
                Some(fault) => rejected.push(Rejection { index, fault }),
                None => self.written.push(name),
            }
        }
        self.wear.records += batch.len() as u64;
        let receipts = batch.record(0).map(|r| {
            let mut builder = Builder::new("receipts", Form::Json);
            builder.push(Record { payload: b"7", ..r });
            builder.build()
        });
        Ok(Written { rejected, receipts })
    }

    async fn finish(&mut self) -> Result<(), Fault> {
        self.finished = true;
        Ok(())
    }

    async fn snapshot(&mut self) -> Result<Snapshot, Fault> {
        tokio::task::yield_now().await;
        let mut outputs = self.output.lock().unwrap();
        let output = outputs.entry(self.stage).or_default();
        output.durable.append(&mut self.written);
        Ok(output.durable.len().to_string().into())
    }

    async fn commit(&mut self, snapshot: &[u8]) -> Result<(), Fault> {
        tokio::task::yield_now().await;
        if let Some(fault) = (self.trouble)(&format!("{}.commit", self.stage), &[]) {
            return Err(fault);
        }
        let mut outputs = self.output.lock().unwrap();
        let output = outputs.entry(self.stage).or_default();
        output.visible = usize::try_from(number(Some(snapshot))).unwrap();
        output.finished |= self.finished;
        Ok(())
    }

    async fn close(&mut self) {}
}

#[derive(Default)]
pub(super) struct MemoryJournal {
    pub(super) checkpoint: Mutex<Option<Checkpoint>>,
    pub(super) dead: Mutex<Vec<DeadLetter>>,
    pub(super) removed: Mutex<Vec<u64>>,
    pub(super) tables: Mutex<BTreeMap<(String, String), Vec<u8>>>,
    pub(super) fail_after: Mutex<Option<u64>>,
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn commit(&self, commit: Commit) -> Result<(), StorageError> {
        tokio::task::yield_now().await;
        if let Some(left) = self.fail_after.lock().unwrap().as_mut() {
            if *left == 0 {
                return Err(StorageError::Database {
                    path: "memory".into(),
                    message: "no space".into(),
                });
            }
            *left -= 1;
        }
        if let Some(checkpoint) = commit.checkpoint {
            *self.checkpoint.lock().unwrap() = Some(checkpoint);
        }
        self.dead.lock().unwrap().extend(commit.dead_letters);
        self.removed
            .lock()
            .unwrap()
            .extend(commit.removed_dead_letters);
        let mut tables = self.tables.lock().unwrap();
        for change in commit.table_changes {
            let key = (change.table, change.key);
            match change.value {
                Some(value) => drop(tables.insert(key, value)),
                None => drop(tables.remove(&key)),
            }
        }
        Ok(())
    }

    fn checkpoint(&self, _flow: &str) -> Result<Option<Checkpoint>, StorageError> {
        Ok(self.checkpoint.lock().unwrap().clone())
    }

    fn table_get_many(
        &self,
        table: &str,
        keys: &[&str],
    ) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        let tables = self.tables.lock().unwrap();
        Ok(keys
            .iter()
            .map(|key| tables.get(&(table.to_owned(), (*key).to_owned())).cloned())
            .collect())
    }

    fn table_find(
        &self,
        table: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        let tables = self.tables.lock().unwrap();
        Ok(tables
            .iter()
            .filter(|((t, key), _)| t == table && key.starts_with(prefix) && key.as_str() > after)
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .take(limit)
            .collect())
    }
}
