//! A comparison before a swap: the candidate gets copies of batches, and its output is held against the live one's.
//!
//! It runs beside the flow on a bounded queue and has no effect: its table writes are dropped here, and its opener has
//! no way to the network. A candidate that is slower than the flow skips batches; one with state cannot skip and ends
//! the comparison instead.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    batch::{Batch, Op, Record},
    fault::Fault,
    ledger::account,
    outcome::outputs,
    stage::{Mode, Transformer},
    swap::{ShadowPlan, open_in_time},
};

/// Batches that may wait for the candidate.
const QUEUE: usize = 16;
/// Differences that are shown.
const SHOWN: usize = 5;
/// Bytes of a payload that are shown.
const EXCERPT: usize = 300;
/// The comparison ends when the candidate's instances die this often.
const MOST_FAULTS: u64 = 20;
/// The longest that opening the candidate may take.
const OPEN_TIME: Duration = Duration::from_secs(30);

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ShadowReport {
    /// Records that both versions have processed.
    pub records: u64,
    /// Records that the candidate did not get because it was busy.
    pub skipped: u64,
    /// What the live version made of them.
    pub live: Side,
    /// What the candidate made of them.
    pub candidate: Side,
    /// Output records that only one of them made, or that differ.
    pub different: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
    /// Calls of the candidate that failed.
    pub faults: u64,
    /// How the first of them failed.
    pub fault: Option<String>,
    /// Why it ended early, if it did.
    pub ended: Option<String>,
    /// The candidate's time per record as a multiple of the live one's.
    pub latency_ratio: Option<f64>,
}

impl ShadowReport {
    /// The share of the live version's output that differs, 0 to 1 (or more, when the candidate adds records).
    pub fn difference(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a share")]
        let share = self.different as f64 / self.live.written.max(1) as f64;
        share
    }
}

/// What one version made of the records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Side {
    /// Output records.
    pub written: u64,
    /// Records rejected.
    pub rejected: u64,
    /// Time in the stage, in microseconds.
    pub time_us: u64,
}

/// One output record that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Difference {
    /// Its stream.
    pub stream: String,
    /// Its key.
    pub key: String,
    /// The beginning of the live version's payload; `None`: only the candidate made it.
    pub live: Option<String>,
    /// The beginning of the candidate's payload; `None`: only the live version made it.
    pub candidate: Option<String>,
}

/// What the live version did with one batch.
pub struct Sample {
    /// The batch.
    pub input: Arc<Batch>,
    /// What it made of it.
    pub output: Vec<Arc<Batch>>,
    /// Records that it rejected.
    pub rejected: u64,
    /// How long it took.
    pub time: Duration,
}

/// A comparison that is under way.
pub struct Shadow {
    feed: mpsc::Sender<Sample>,
    mode: Mode,
    /// Where the snapshot goes that a stateful candidate continues from; gone when it has.
    begin: Mutex<Option<oneshot::Sender<Vec<u8>>>>,
    report: Arc<Mutex<ShadowReport>>,
    skipped: AtomicU64,
    over: CancellationToken,
    _task: AbortOnDropHandle<()>,
}

impl Shadow {
    /// Starts it. A stateful candidate waits for the live version's next snapshot to continue from.
    pub fn start(plan: ShadowPlan, mode: Mode) -> Self {
        let (feed, samples) = mpsc::channel(QUEUE);
        let (begin, snapshot) = oneshot::channel();
        let report: Arc<Mutex<ShadowReport>> = Arc::default();
        let over = CancellationToken::new();
        let (told, ended) = (Arc::clone(&report), over.clone());
        let task = tokio::spawn(async move {
            // Cancelled on every way out.
            let _over = ended.drop_guard();
            let snapshot = match mode {
                Mode::Stateless => None,
                Mode::Stateful => snapshot.await.ok(),
            };
            let time = plan.time;
            let comparing = compare_all(&plan, mode, snapshot, samples, &told);
            if tokio::time::timeout(time, comparing).await.is_err() {
                lock(&told)
                    .ended
                    .get_or_insert_with(|| format!("its time of {time:?} was over"));
            }
        });
        Self {
            feed,
            mode,
            begin: Mutex::new((mode == Mode::Stateful).then_some(begin)),
            report,
            skipped: AtomicU64::new(0),
            over,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// The live version's snapshot at a barrier: batches behind it are compared.
    pub fn begin(&self, snapshot: &[u8]) {
        if let Some(begin) = lock(&self.begin).take() {
            // The receiver is gone when the comparison is over.
            let _ = begin.send(snapshot.to_vec());
        }
    }

    /// Gives a sample, without ever waiting.
    pub fn offer(&self, sample: Sample) {
        if self.over.is_cancelled() || lock(&self.begin).is_some() {
            return;
        }
        let records = sample.input.len() as u64;
        if let Err(mpsc::error::TrySendError::Full(_)) = self.feed.try_send(sample) {
            self.skipped.fetch_add(records, Ordering::Relaxed);
            if self.mode == Mode::Stateful {
                lock(&self.report).ended = Some(
                    "the candidate could not keep up, and with its state it cannot skip".into(),
                );
                self.over.cancel();
            }
        }
    }

    /// Ready when it has ended.
    pub async fn ended(&self) {
        self.over.cancelled().await;
    }

    /// What was found so far.
    pub fn report(&self) -> ShadowReport {
        let mut report = lock(&self.report).clone();
        report.skipped = self.skipped.load(Ordering::Relaxed);
        #[allow(clippy::cast_precision_loss, reason = "a ratio for people")]
        let ratio = report.candidate.time_us as f64 / report.live.time_us.max(1) as f64;
        report.latency_ratio = (report.live.time_us > 0).then_some(ratio);
        report
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn compare_all(
    plan: &ShadowPlan,
    mode: Mode,
    snapshot: Option<Vec<u8>>,
    mut samples: mpsc::Receiver<Sample>,
    report: &Mutex<ShadowReport>,
) {
    let mut instance: Option<Box<dyn Transformer>> = None;
    let mut opened = false;
    while let Some(sample) = samples.recv().await {
        let result = match &mut instance {
            Some(instance) => apply(instance.as_mut(), &sample).await,
            None if opened && mode == Mode::Stateful => break,
            none => match open_in_time(&plan.opener, snapshot.as_deref(), OPEN_TIME).await {
                Ok(fresh) => {
                    opened = true;
                    apply(none.insert(fresh).as_mut(), &sample).await
                }
                Err(fault) => Err(fault),
            },
        };
        let mut report = lock(report);
        match result {
            Ok((output, rejected, time)) => compare(&mut report, &sample, &output, rejected, time),
            Err(fault) => {
                report.faults += 1;
                report.fault.get_or_insert_with(|| fault.to_string());
                if fault.kind.is_lethal() || !opened {
                    instance = None;
                }
                if report.faults >= MOST_FAULTS || !opened || mode == Mode::Stateful {
                    report.ended = Some(format!("the candidate failed: {fault}"));
                    break;
                }
            }
        }
        if report.records >= plan.records {
            break;
        }
    }
    if let Some(mut instance) = instance {
        instance.close().await;
    }
}

async fn apply(
    instance: &mut dyn Transformer,
    sample: &Sample,
) -> Result<(Vec<Arc<Batch>>, u64, Duration), Fault> {
    let started = Instant::now();
    let applied = instance.apply(&sample.input).await?;
    let time = started.elapsed();
    // Its writes go nowhere.
    drop(instance.take_table_writes());
    account(&sample.input, &applied)?;
    let rejected = applied.rejected.len() as u64;
    Ok((outputs(&sample.input, applied), rejected, time))
}

fn compare(
    report: &mut ShadowReport,
    sample: &Sample,
    candidate: &[Arc<Batch>],
    rejected: u64,
    time: Duration,
) {
    let records = |batches: &[Arc<Batch>]| batches.iter().map(|b| b.len() as u64).sum::<u64>();
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    report.records += sample.input.len() as u64;
    report.live.written += records(&sample.output);
    report.live.rejected += sample.rejected;
    report.live.time_us += micros(sample.time);
    report.candidate.written += records(candidate);
    report.candidate.rejected += rejected;
    report.candidate.time_us += micros(time);
    // Records with the same key are compared in their order.
    let mut waiting: BTreeMap<&str, HashMap<&[u8], VecDeque<Record<'_>>>> = BTreeMap::new();
    for batch in &sample.output {
        let keys = waiting.entry(batch.stream()).or_default();
        for record in batch.records() {
            keys.entry(record.key).or_default().push_back(record);
        }
    }
    for batch in candidate {
        for record in batch.records() {
            let live = waiting
                .get_mut(&**batch.stream())
                .and_then(|keys| keys.get_mut(record.key))
                .and_then(VecDeque::pop_front);
            if live.is_none_or(|live| content(&live) != content(&record)) {
                differ(report, batch.stream(), live, Some(record));
            }
        }
    }
    for (stream, keys) in waiting {
        for live in keys.into_values().flatten() {
            differ(report, stream, Some(live), None);
        }
    }
}

/// What of a record counts: where it came from does not.
fn content<'a>(record: &Record<'a>) -> (Op, &'a [u8], &'a [u8]) {
    (record.op(), record.headers, record.payload)
}

fn differ(
    report: &mut ShadowReport,
    stream: &str,
    live: Option<Record<'_>>,
    candidate: Option<Record<'_>>,
) {
    report.different += 1;
    if report.differences.len() >= SHOWN {
        return;
    }
    let text =
        |bytes: &[u8]| String::from_utf8_lossy(bytes.get(..EXCERPT).unwrap_or(bytes)).into_owned();
    let shown = |record: Record<'_>| match record.op() {
        Op::Upsert => text(record.payload),
        Op::Delete => format!("delete {}", text(record.payload)),
    };
    let key = live.or(candidate).map_or(&b""[..], |record| record.key);
    report.differences.push(Difference {
        stream: stream.to_owned(),
        key: text(key),
        live: live.map(shown),
        candidate: candidate.map(shown),
    });
}
