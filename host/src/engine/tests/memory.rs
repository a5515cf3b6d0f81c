//! Stages and a journal in memory. The sink is exactly-once like a real one: what is not committed is lost when its
//! instance is opened again.

mod journal;
mod stages;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(super) use self::journal::MemoryJournal;
use self::stages::MemoryOpener;
use crate::{
    engine::{
        batch::{Batch, Builder, Form, Record},
        chain::TransformerStage,
        dead_letter::{Keep, Threshold},
        fault::{Fault, FaultKind},
        intake::SourceStage,
        keeper::Recycle,
        overlay::Overlay,
        retry::RetryPolicy,
        run::{Control, Pipeline, Progress, RunError, Settings, Summary, run},
        sink_lane::SinkStage,
        stage::*,
    },
    storage::Journal,
};

/// Decides whether a call fails: given what is called and the payloads, says how.
pub(super) type Trouble = Arc<dyn Fn(&str, &[String]) -> Option<Fault> + Send + Sync>;

pub(super) fn many(records: u64) -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(records))
}

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
    /// More may be added while it runs.
    pub(super) records: Arc<AtomicU64>,
    pub(super) unreadable_every: u64,
    /// Whether the source waits for more at its end. May change while it runs.
    pub(super) endless: Arc<AtomicBool>,
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
            records: many(1000),
            unreadable_every: 0,
            endless: Arc::default(),
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
                keep: Keep::default(),
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
            records: Arc::clone(&self.records),
            unreadable_every: self.unreadable_every,
            endless: Arc::clone(&self.endless),
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
        (0..self.records.load(Ordering::SeqCst))
            .map(|n| n.to_string())
            .collect()
    }
}
