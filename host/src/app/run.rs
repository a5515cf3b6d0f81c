//! Wires the stages of a flow and runs them.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{AppError, Project, Resolved, audit, http::StageHttp, shadow::Recorder};
use crate::{
    catalogue,
    connection::{Connections, Direct},
    engine::{
        chain::TransformerStage,
        dead_letter::{Keep, Threshold},
        delivery::{Delivery, SinkDelivery, SourceDelivery, delivery},
        intake::SourceStage,
        keeper::Recycle,
        ledger::Ledger,
        overlay::Overlay,
        retry::RetryPolicy,
        run::{Control, End, Pipeline, Progress, Settings, Summary, run},
        sink_lane::SinkStage,
        stage::Budget,
    },
    flow::{Finding, StageKind, StagePlan, finding::has_errors},
    plugin::{Grants, Limits, Plugin, Runtime, StageContext},
    storage::{Audit, Checkpoint, Journal, Store, StreamCounts},
};

/// How long a stopped run may take to drain.
const DRAIN: Duration = Duration::from_secs(30);

/// How a run is started and watched. Dropping the run's future aborts it; the last checkpoint stands.
pub struct RunOptions {
    /// Forget the last checkpoint first.
    pub from_start: bool,
    /// Who starts it, for the audit log.
    pub actor: String,
    /// Cancelled: drain, checkpoint, end.
    pub stop: CancellationToken,
    /// Told how it goes.
    pub progress: watch::Sender<Progress>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "reason")]
pub enum Outcome {
    /// The source had no more records.
    Finished,
    /// It was asked to stop; the next run goes on from here.
    Stopped,
    /// There were too many dead letters. Everything up to here is kept.
    Failed(String),
}

/// What a run did.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RunSummary {
    /// The flow.
    pub flow: String,
    /// The run's id. Empty when it was stopped before there was one.
    pub run: String,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Counts per stream.
    pub streams: BTreeMap<String, StreamCounts>,
    /// Records filtered, per stage and reason.
    pub filtered: BTreeMap<String, BTreeMap<String, u64>>,
    /// Dead letters made by this process.
    pub dead_letters: u64,
    /// Older dead letters that `dead-letters.keep` and `max-size` have dropped.
    pub expired_dead_letters: u64,
    /// Records read by this process.
    pub records: u64,
    /// How long it took.
    pub seconds: f64,
    /// Records read per second.
    pub records_per_second: f64,
    /// What the flow promises, and why.
    pub delivery: Delivery,
    /// Where checkpoints and dead letters are.
    #[schema(value_type = String)]
    pub state_dir: PathBuf,
    /// Checkpoints of the run.
    pub epochs: u64,
    /// Whether it went on from a checkpoint.
    pub resumed: bool,
}

/// What every stage of a run shares.
pub(super) struct Wiring {
    pub(super) overlay: Arc<Overlay>,
    connections: Arc<Connections>,
    /// What each stage is answered, for candidates in the shadow.
    recorders: Mutex<BTreeMap<String, Arc<Recorder>>>,
}

impl Wiring {
    /// Tables of a journal, and the remote systems.
    pub(super) fn new(journal: Arc<dyn Journal>, connections: Arc<Connections>) -> Self {
        Self {
            overlay: Arc::new(Overlay::new(journal)),
            connections,
            recorders: Mutex::default(),
        }
    }

    /// Keeps what a stage is answered while a shadow looks on.
    pub(super) fn recorder(&self, stage: &str) -> Arc<Recorder> {
        let mut recorders = self
            .recorders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(recorders.entry(stage.to_owned()).or_default())
    }
}

impl Project {
    /// Runs the flow to its end.
    pub async fn run(&self, options: RunOptions) -> Result<RunSummary, AppError> {
        let mut findings = Vec::new();
        let resolved = self.resolve(&mut findings);
        let connections = self.sound(findings)?;
        let store = Store::open(&self.state)?;
        let audit = Audit::open(&self.state)?;
        self.audit_start(&audit, &options.actor, options.from_start);
        // A run's state is large; boxed, it does not have to fit into every caller.
        let ended = Box::pin(self.run_on(store, &audit, connections, &resolved, options)).await;
        self.audit_end(&audit, &ended);
        // Writing what waits takes a moment of the disk.
        let _closed = tokio::task::spawn_blocking(move || drop(audit)).await;
        ended
    }

    async fn run_on(
        &self,
        store: Store,
        audit: &Audit,
        connections: Arc<Connections>,
        resolved: &[Resolved<'_>],
        options: RunOptions,
    ) -> Result<RunSummary, AppError> {
        if options.from_start {
            store.forget(&self.plan.name).await?;
        }
        audit::grants_changed(&self.plan, resolved, &store, audit, &options.actor).await?;
        let settings = self.settings();
        let kept = settings.keep.now();
        let expired = store.retain_dead_letters(&self.plan.name, kept).await?;
        let journal: Arc<dyn Journal> = Arc::new(store);
        let checkpoint = journal.checkpoint(&self.plan.name)?;
        let wiring = Wiring::new(Arc::clone(&journal), connections);
        let overlay = Arc::clone(&wiring.overlay);
        let runtime = Self::runtime()?;
        runtime.tell_denials(audit::denials(audit));
        let loading = self.pipeline(&runtime, resolved, &wiring);
        let Some(pipeline) = until_stopped(loading, &options.stop).await? else {
            return Ok(self.not_begun(checkpoint, resolved));
        };
        let control = Control::new(options.stop, options.progress);
        let running = run(pipeline, settings, journal, overlay, checkpoint, control);
        let mut summary = Box::pin(running)
            .await
            .map_err(|error| self.locate(error))?;
        summary.expired += expired;
        Ok(self.summary(summary, resolved))
    }

    /// The flow's connections, when nothing was found that stops it.
    pub(super) fn sound(&self, mut findings: Vec<Finding>) -> Result<Arc<Connections>, AppError> {
        match self.connections() {
            Ok(connections) if !has_errors(&findings) => return Ok(connections),
            Ok(_) => {}
            Err(error) => findings.extend(error.findings),
        }
        Err(AppError::Findings(findings))
    }

    pub(super) async fn pipeline(
        &self,
        runtime: &Runtime,
        resolved: &[Resolved<'_>],
        wiring: &Wiring,
    ) -> Result<Pipeline, AppError> {
        let mut source = None;
        let (mut transformers, mut sinks) = (Vec::new(), Vec::new());
        for resolved in resolved {
            let stage = resolved.stage;
            let plugin: Arc<Plugin> = runtime.load(&resolved.path).await?;
            let context = self.context(stage, wiring);
            let name: Arc<str> = stage.name.as_str().into();
            let recycle = Recycle {
                records: stage.limits.recycle_after_records,
                memory: stage.limits.recycle_after_memory,
            };
            match stage.kind {
                StageKind::Source => {
                    source = Some(SourceStage {
                        name,
                        opener: plugin.source(context)?,
                        recycle,
                    });
                }
                StageKind::Transformer => transformers.push(TransformerStage {
                    name,
                    opener: plugin.transformer(context)?,
                    workers: stage.workers,
                    recycle,
                }),
                StageKind::Sink => sinks.push(SinkStage {
                    name,
                    opener: plugin.sink(context)?,
                    streams: stage.streams.clone(),
                    receipts: stage.receipts.as_deref().map(Into::into),
                    recycle,
                }),
            }
        }
        let flow: Arc<str> = self.plan.name.as_str().into();
        // A plan has a source, and it was resolved: otherwise there were findings.
        let source = source.ok_or_else(|| AppError::Findings(Vec::new()))?;
        Ok(Pipeline {
            flow,
            source,
            transformers,
            sinks,
        })
    }

    /// What there is to tell of a run that was stopped before its stages were there.
    pub(super) fn not_begun(
        &self,
        checkpoint: Option<Checkpoint>,
        resolved: &[Resolved<'_>],
    ) -> RunSummary {
        let resumed = checkpoint.is_some();
        // The counts of a run that has not reached its end are still its counts.
        let unfinished =
            checkpoint.filter(|checkpoint| !(checkpoint.finished && checkpoint.settled));
        let ledger = unfinished.as_ref().map_or_else(Ledger::default, Ledger::of);
        let (run, epochs) = unfinished
            .map(|checkpoint| (checkpoint.run, checkpoint.epoch))
            .unwrap_or_default();
        let nothing = Summary {
            end: End::Stopped,
            run,
            ledger,
            records: 0,
            dead_letters: 0,
            expired: 0,
            epochs,
            elapsed: Duration::ZERO,
            resumed,
        };
        self.summary(nothing, resolved)
    }

    pub(super) fn context(&self, stage: &StagePlan, wiring: &Wiring) -> StageContext {
        StageContext {
            flow: self.plan.name.as_str().into(),
            stage: stage.name.as_str().into(),
            config: stage.config.clone(),
            grants: grants(stage),
            limits: limits(stage),
            tables: Arc::clone(&wiring.overlay) as _,
            http: network(stage, &wiring.connections, wiring.recorder(&stage.name)),
            project_dir: self.folder.clone(),
            recording: None,
        }
    }

    /// How the engine runs the flow.
    pub fn settings(&self) -> Settings {
        let plan = &self.plan;
        Settings {
            batch: Budget {
                records: plan.batch.records,
                bytes: plan.batch.bytes,
                time: plan.batch.wait,
            },
            checkpoint_records: plan.checkpoint.records,
            checkpoint_every: plan.checkpoint.every,
            in_flight_batches: plan.in_flight.batches,
            in_flight_bytes: usize::try_from(plan.in_flight.bytes).unwrap_or(usize::MAX),
            retry: RetryPolicy {
                attempts: plan.retry.attempts,
                initial: plan.retry.initial,
                max: plan.retry.max,
            },
            threshold: Threshold {
                max_count: plan.dead_letters.max_count,
                max_share: plan.dead_letters.max_share,
                min_records: plan.dead_letters.min_records,
            },
            keep: Keep {
                time: plan.dead_letters.keep,
                bytes: Some(plan.dead_letters.max_size),
            },
            drain: DRAIN,
        }
    }

    pub(super) fn summary(&self, summary: Summary, resolved: &[Resolved<'_>]) -> RunSummary {
        let seconds = summary.elapsed.as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let records_per_second = summary.records as f64 / seconds.max(1e-9);
        RunSummary {
            flow: self.plan.name.clone(),
            run: summary.run,
            outcome: match summary.end {
                End::Finished => Outcome::Finished,
                End::Stopped => Outcome::Stopped,
                End::TooManyDeadLetters(reason) => Outcome::Failed(reason),
            },
            streams: summary
                .ledger
                .streams
                .iter()
                .map(|(name, counts)| (name.to_string(), *counts))
                .collect(),
            filtered: summary
                .ledger
                .filtered
                .into_iter()
                .map(|(name, r)| (name.to_string(), r))
                .collect(),
            dead_letters: summary.dead_letters,
            expired_dead_letters: summary.expired,
            records: summary.records,
            seconds,
            records_per_second,
            delivery: label(resolved),
            state_dir: self.state.clone(),
            epochs: summary.epochs,
            resumed: summary.resumed,
        }
    }
}

/// How long a run that is stopped still waits for its stages: they commit what a crash has left uncommitted.
const LOADING: Duration = Duration::from_secs(5);

/// The stages, or nothing when the run is stopped and they are not there soon: compiling a plugin may take minutes.
pub(super) async fn until_stopped(
    loading: impl Future<Output = Result<Pipeline, AppError>>,
    stop: &CancellationToken,
) -> Result<Option<Pipeline>, AppError> {
    let given_up = async {
        stop.cancelled().await;
        tokio::time::sleep(LOADING).await;
    };
    tokio::select! {
        biased;
        pipeline = loading => pipeline.map(Some),
        () = given_up => Ok(None),
    }
}

/// What a stage is granted, as the plugin runtime wants it.
pub(super) fn grants(stage: &StagePlan) -> Grants {
    Grants {
        read: stage.grants.files.read.clone(),
        write: stage.grants.files.write.clone(),
        connections: stage.grants.connections.clone(),
        tables: stage.grants.tables.clone(),
        quota: stage.grants.files.quota.map(|size| size.0),
        // The plan has checked that they can be read.
        egress: stage.grants.egress().unwrap_or_default(),
        precise_clock: stage.grants.precise_clock,
    }
}

/// What a stage may use, from its place in the plan.
pub(super) fn limits(stage: &StagePlan) -> Limits {
    let of = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let plan = &stage.limits;
    Limits {
        memory: plan.memory,
        call: plan.call_time,
        open: plan.open_time,
        commit: plan.commit_time,
        host_wait: plan.wait_time,
        output: of(plan.output),
        snapshot: of(plan.snapshot),
        table_elements: plan.table_elements,
        modules: plan.modules,
        open_requests: plan.open_requests,
        log_lines: plan.log_lines,
        log_bytes: of(plan.log_bytes),
    }
}

/// The network of one stage: its flow's connections, and the URLs that it was granted itself.
pub(super) fn network(
    stage: &StagePlan,
    connections: &Arc<Connections>,
    recorder: Arc<Recorder>,
) -> Arc<StageHttp> {
    let egress = grants(stage).egress;
    let direct = (!egress.http.is_empty()).then(|| Direct::new(egress, stage.limits.open_requests));
    Arc::new(StageHttp {
        connections: Arc::clone(connections),
        direct,
        recorder,
    })
}

/// The delivery label, from what the plugins declare and the conformance kit has found. A plugin that declares nothing
/// promises nothing, and one that declares more than was found is labelled by what was found.
pub(super) fn label(resolved: &[Resolved<'_>]) -> Delivery {
    use catalogue::manifest::Delivery as Declared;
    let (mut source, mut transformers, mut sinks) =
        (("", SourceDelivery::Volatile), Vec::new(), Vec::new());
    let mut corrected = Vec::new();
    let mut promised = |resolved: &Resolved<'_>, kind| {
        let declared = declared(resolved, kind);
        let verdict = catalogue::conformance::load(&resolved.path, &resolved.inspection.digest);
        let found = verdict.and_then(|verdict| verdict.kind(kind)?.found);
        match (declared, found) {
            (Some(declared), Some(found)) if found.is_weaker_than(declared) => {
                corrected.push(format!(
                    "{kind} `{}` declares `{declared}`, but `crossdock plugin test` has found `{found}`",
                    resolved.stage.name
                ));
                Some(found)
            }
            _ => declared,
        }
    };
    for resolved in resolved {
        let name = resolved.stage.name.as_str();
        match resolved.stage.kind {
            StageKind::Source => {
                let promise = promised(resolved, catalogue::Kind::Source);
                source = (
                    name,
                    if promise == Some(Declared::Replayable) {
                        SourceDelivery::Replayable
                    } else {
                        SourceDelivery::Volatile
                    },
                );
            }
            StageKind::Transformer => {
                let promise = promised(resolved, catalogue::Kind::Transformer);
                transformers.push((name, promise == Some(Declared::Deterministic)));
            }
            StageKind::Sink => {
                let sink = match promised(resolved, catalogue::Kind::Sink) {
                    Some(Declared::ExactlyOnce) => SinkDelivery::ExactlyOnce,
                    Some(Declared::Idempotent) => SinkDelivery::Idempotent,
                    _ => SinkDelivery::AtLeastOnce,
                };
                sinks.push((name, sink));
            }
        }
    }
    let mut delivery = delivery(source, &transformers, &sinks);
    delivery.reasons.extend(corrected);
    delivery
}

/// What a stage's plugin declares.
fn declared(
    resolved: &Resolved<'_>,
    kind: catalogue::Kind,
) -> Option<catalogue::manifest::Delivery> {
    let manifest = resolved.inspection.manifest.as_ref()?;
    manifest.kind(kind)?.delivery
}
