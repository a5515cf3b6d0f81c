//! How fast a component is: records a second, time per call, memory. On this machine, now: only comparisons mean anything.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    check::Wrong,
    record::{packed, rows},
    settings::Settings,
    subject::Subject,
};
use crate::{
    catalogue::Kind,
    engine::{
        batch::Batch,
        stage::{Budget, Read},
    },
    plugin::{HttpSend, Plugin},
};

/// A sink writes no more than this: the disk is not what is measured.
const MAX_BYTES: usize = 64 << 20;
/// Calls that are not measured: caches fill, memory grows.
const WARM_UP: usize = 3;

/// How a plugin is measured.
#[derive(Debug, Clone, Copy)]
pub struct BenchOptions {
    /// Records of one call.
    pub batch: usize,
    /// How long it is measured.
    pub time: Duration,
}

/// What was measured of one kind.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// The kind.
    pub kind: Kind,
    /// Version and digest of the plugin.
    pub version: String,
    /// `sha256:…` of the component.
    pub digest: String,
    /// Calls that were measured.
    pub calls: usize,
    /// Records that went through them.
    pub records: u64,
    /// Records in a second.
    pub records_per_second: f64,
    /// Microseconds of the median call.
    pub p50_micros: u64,
    /// Microseconds that 99 of 100 calls stay below.
    pub p99_micros: u64,
    /// Bytes of memory that the instance holds in the end.
    pub memory: u64,
    /// Milliseconds to load (from the cache of compiled plugins, if it is there) and to open it.
    pub open_millis: u64,
}

/// Measures every kind of a plugin, or one of them.
///
/// # Errors
/// Why nothing could be measured: what the plugin said.
pub async fn bench(
    plugin: &Arc<Plugin>,
    settings: &Settings,
    only: Option<Kind>,
    network: Option<Arc<dyn HttpSend>>,
    options: BenchOptions,
) -> Result<Vec<Measured>, String> {
    let mut all = Vec::new();
    let kinds = plugin.inspection().kinds.iter().copied();
    for kind in kinds.filter(|kind| only.is_none_or(|only| only == *kind)) {
        let subject = Subject::new(
            Arc::clone(plugin),
            kind,
            settings.kind(kind),
            network.clone(),
        );
        let run = match kind {
            Kind::Source => source(&subject, options).await,
            Kind::Transformer => transformer(&subject, options).await,
            Kind::Sink => sink(&subject, options).await,
        };
        all.push(run.map_err(|wrong| {
            let (Wrong::Failed(why) | Wrong::Skipped(why) | Wrong::Open(why)) = wrong;
            format!("as {kind}: {why}")
        })?);
    }
    Ok(all)
}

/// Calls under way.
struct Clock {
    calls: Vec<(Duration, usize)>,
    began: Instant,
    opened: Duration,
    time: Duration,
}

impl Clock {
    fn new(opened: Duration, time: Duration) -> Self {
        Self {
            calls: Vec::new(),
            began: Instant::now(),
            opened,
            time,
        }
    }

    fn is_over(&self) -> bool {
        self.calls.len() > WARM_UP && self.began.elapsed() >= self.time
    }

    fn measured(self, subject: &Subject, memory: u64) -> Measured {
        // A source that ends early has nothing to warm up with.
        let skip = if self.calls.len() > 2 * WARM_UP {
            WARM_UP
        } else {
            0
        };
        let calls = self.calls.get(skip..).unwrap_or_default();
        let mut times: Vec<Duration> = calls.iter().map(|(time, _)| *time).collect();
        times.sort_unstable();
        let records: u64 = calls.iter().map(|(_, records)| *records as u64).sum();
        let seconds = times.iter().sum::<Duration>().as_secs_f64();
        let at = |share: usize| {
            let place = (times.len() * share / 100).min(times.len().saturating_sub(1));
            let time = times.get(place).copied().unwrap_or_default();
            u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
        };
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let records_per_second = records as f64 / seconds.max(1e-9);
        Measured {
            kind: subject.kind,
            version: subject.plugin.version().to_owned(),
            digest: subject.plugin.digest().to_owned(),
            calls: times.len(),
            records,
            records_per_second,
            p50_micros: at(50),
            p99_micros: at(99),
            memory,
            open_millis: u64::try_from(self.opened.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// The sample records, as often as a batch needs them.
fn batches(subject: &Subject, size: usize) -> Result<Vec<Batch>, Wrong> {
    let all: Vec<_> = subject.batches(usize::MAX).iter().flat_map(rows).collect();
    if all.is_empty() {
        return Err(Wrong::Failed("there are no sample records".to_owned()));
    }
    let mut full: Vec<_> = Vec::new();
    for stream in all.chunk_by(|a, b| a.stream == b.stream) {
        full.extend(stream.iter().cycle().take(size.max(1)).cloned());
    }
    Ok(packed(&full, size))
}

async fn transformer(subject: &Subject, options: BenchOptions) -> Result<Measured, Wrong> {
    let batches = batches(subject, options.batch)?;
    let place = subject.place()?;
    let started = Instant::now();
    let opener = subject.transformer(&place, Subject::limits())?;
    let mut transformer = opener.open(None).await?;
    let mut clock = Clock::new(started.elapsed(), options.time);
    for batch in batches.iter().cycle() {
        let call = Instant::now();
        transformer.apply(batch).await?;
        clock.calls.push((call.elapsed(), batch.len()));
        place.keep(&mut *transformer);
        if clock.is_over() {
            break;
        }
    }
    Ok(clock.measured(subject, transformer.wear().memory))
}

async fn sink(subject: &Subject, options: BenchOptions) -> Result<Measured, Wrong> {
    let batches = batches(subject, options.batch)?;
    let place = subject.place()?;
    let started = Instant::now();
    let mut sink = subject.sink(&place, Subject::limits())?.open(None).await?;
    let mut clock = Clock::new(started.elapsed(), options.time);
    let mut bytes = 0;
    for batch in batches.iter().cycle() {
        let call = Instant::now();
        sink.write(batch).await?;
        clock.calls.push((call.elapsed(), batch.len()));
        place.keep(&mut *sink);
        bytes += batch.data().len();
        if clock.is_over() || bytes > MAX_BYTES {
            break;
        }
    }
    Ok(clock.measured(subject, sink.wear().memory))
}

async fn source(subject: &Subject, options: BenchOptions) -> Result<Measured, Wrong> {
    let place = subject.place()?;
    let opener = subject.source(&place, Subject::limits())?;
    let started = Instant::now();
    let mut source = opener.open(None).await?;
    let mut clock = Clock::new(started.elapsed(), options.time);
    let budget = Budget {
        records: u32::try_from(options.batch).unwrap_or(u32::MAX),
        bytes: u32::MAX,
        time: Duration::from_secs(1),
    };
    let mut memory = 0;
    // One that has ended is opened again; one that gives nothing at all is measured once.
    let mut seen = 0;
    loop {
        let call = Instant::now();
        match source.read(budget).await? {
            Read::Page { records, .. } => {
                clock.calls.push((call.elapsed(), records.len()));
                seen += records.len().max(1);
            }
            Read::Idle(pause) => tokio::time::sleep(pause.min(options.time)).await,
            Read::End if seen == 0 => break,
            Read::End => {
                memory = memory.max(source.wear().memory);
                source = opener.open(None).await?;
                seen = 0;
            }
        }
        if clock.began.elapsed() >= options.time {
            break;
        }
    }
    let memory = memory.max(source.wear().memory);
    Ok(clock.measured(subject, memory))
}
