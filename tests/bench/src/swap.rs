//! The pause of a swap and what it costs: a real flow, `generate` to `reshape` to a numbering `reshape` to `jsonl`, with
//! checkpoints on, while the plugin of one stage is replaced again and again.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use crossdock::{
    engine::{
        chain::TransformerStage,
        dead_letter::{Keep, Threshold},
        intake::SourceStage,
        keeper::Recycle,
        overlay::Overlay,
        retry::RetryPolicy,
        run::{Command, Control, End, Pipeline, Progress, Settings, Summary, run},
        sink_lane::SinkStage,
        stage::Budget,
        swap::{Candidate, Probation, SwapRequest, SwapState, SwapStatus},
    },
    plugin::{Grants, Plugin, StageContext},
    storage::{Journal, Store},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{Failure, Places, nanos, transform};

/// Which stage is swapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stage {
    Source,
    Stateless,
    Stateful,
    Sink,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Stateless => "stateless",
            Self::Stateful => "stateful",
            Self::Sink => "sink",
        }
    }

    fn config(self, records: u64) -> Value {
        match self {
            Self::Source => json!({
                "records": records,
                "key": "sku",
                "fields": {
                    "sku": { "kind": "sequence", "prefix": "SKU-", "digits": 9 },
                    "name": { "kind": "words", "count": 4 },
                    "brand": { "kind": "choice", "of": ["Nordwind", "ACME"] },
                    "price": { "kind": "choice", "of": ["19.90", "5.00", "120.50"] },
                    "stock": { "kind": "integer", "max": 9 },
                    "updated": { "kind": "date" },
                },
            }),
            Self::Stateless => json!({ "source": "erp" }),
            Self::Stateful => json!({ "source": "erp", "number": true }),
            Self::Sink => json!({ "file": "rows.jsonl" }),
        }
    }
}

/// What one run was like.
struct Ran {
    summary: Summary,
    took: Duration,
    pauses: Vec<u64>,
}

/// Runs so many records through, swapping one stage every so many milliseconds.
pub(crate) async fn load(
    places: &Places,
    stage: Option<Stage>,
    every: Duration,
    records: u64,
) -> Result<Value, Failure> {
    let folder = tempfile::tempdir_in(&places.folder)?;
    let flow = Flow::new(places, folder.path(), records).await?;
    let ran = flow.run(stage, every).await?;
    checked(&ran.summary, &folder.path().join("rows.jsonl"), records)?;
    Ok(json!({
        "records": records,
        "nanos": nanos(ran.took),
        "pauses_us": ran.pauses,
    }))
}

/// The plugins of the flow, and where it runs.
struct Flow<'a> {
    folder: &'a Path,
    records: u64,
    generate: Arc<Plugin>,
    reshape: Arc<Plugin>,
    jsonl: Arc<Plugin>,
    journal: Arc<dyn Journal>,
    overlay: Arc<Overlay>,
}

impl<'a> Flow<'a> {
    async fn new(places: &Places, folder: &'a Path, records: u64) -> Result<Self, Failure> {
        let runtime = transform::runtime(places)?;
        let journal: Arc<dyn Journal> = Arc::new(Store::open(folder.join("state"))?);
        Ok(Self {
            folder,
            records,
            generate: runtime.load(&places.plugin("generate")).await?,
            reshape: runtime.load(&places.plugin("reshape")).await?,
            jsonl: runtime.load(&places.plugin("jsonl")).await?,
            overlay: Arc::new(Overlay::new(Arc::clone(&journal))),
            journal,
        })
    }

    /// The plugin of a stage: every call gives another opener, so another version.
    fn version(&self, stage: Stage) -> Result<Candidate, Failure> {
        let mut context = transform::context(stage.config(self.records));
        context.stage = stage.name().into();
        self.folder.clone_into(&mut context.project_dir);
        if stage == Stage::Sink {
            context.grants = Grants {
                write: vec![".".into()],
                ..Grants::default()
            };
        }
        self.candidate(stage, context)
    }

    fn candidate(&self, stage: Stage, context: StageContext) -> Result<Candidate, Failure> {
        Ok(match stage {
            Stage::Source => Candidate::Source(self.generate.source(context)?),
            Stage::Stateless | Stage::Stateful => {
                Candidate::Transformer(self.reshape.transformer(context)?)
            }
            Stage::Sink => Candidate::Sink(self.jsonl.sink(context)?),
        })
    }

    fn pipeline(&self) -> Result<Pipeline, Failure> {
        let (mut source, mut transformers, mut sinks) = (None, Vec::new(), Vec::new());
        for stage in [
            Stage::Source,
            Stage::Stateless,
            Stage::Stateful,
            Stage::Sink,
        ] {
            let name = stage.name().into();
            let recycle = Recycle::default();
            match self.version(stage)? {
                Candidate::Source(opener) => {
                    source = Some(SourceStage {
                        name,
                        opener,
                        recycle,
                    });
                }
                Candidate::Transformer(opener) => transformers.push(TransformerStage {
                    name,
                    opener,
                    workers: 2,
                    recycle,
                }),
                Candidate::Sink(opener) => sinks.push(SinkStage {
                    name,
                    opener,
                    streams: None,
                    receipts: None,
                    recycle,
                }),
            }
        }
        Ok(Pipeline {
            flow: "bench".into(),
            source: source.ok_or("no source")?,
            transformers,
            sinks,
        })
    }

    async fn run(&self, stage: Option<Stage>, every: Duration) -> Result<Ran, Failure> {
        let (commands, receiver) = mpsc::channel(4);
        let progress = watch::Sender::new(Progress::default());
        let control = Control {
            commands: receiver,
            ..Control::new(CancellationToken::new(), progress)
        };
        let mut run = Box::pin(run(
            self.pipeline()?,
            settings(),
            Arc::clone(&self.journal),
            Arc::clone(&self.overlay),
            None,
            control,
        ));
        let started = Instant::now();
        let mut pauses = Vec::new();
        let summary = {
            let mut swaps = std::pin::pin!(self.swaps(stage, every, &commands, &mut pauses));
            let mut swapping = true;
            loop {
                tokio::select! {
                    ended = &mut run => break ended?,
                    ended = &mut swaps, if swapping => {
                        ended?;
                        swapping = false;
                    }
                }
            }
        };
        let took = started.elapsed();
        Ok(Ran {
            summary,
            took,
            pauses,
        })
    }

    /// Swaps until the run is over.
    async fn swaps(
        &self,
        stage: Option<Stage>,
        every: Duration,
        commands: &mpsc::Sender<Command>,
        pauses: &mut Vec<u64>,
    ) -> Result<(), Failure> {
        let Some(stage) = stage else { return Ok(()) };
        let mut ticks = tokio::time::interval(every);
        loop {
            ticks.tick().await;
            let status = watch::Sender::default();
            let mut told = status.subscribe();
            let request = SwapRequest {
                stage: stage.name().into(),
                candidate: self.version(stage)?,
                shadow: None,
                probation: Probation {
                    time: Duration::from_millis(1),
                    max_fault_share: 0.0,
                },
                open_time: Duration::from_secs(5),
                rewindable: true,
                cancel: CancellationToken::new(),
                status,
            };
            if commands
                .send(Command::Swap(Box::new(request)))
                .await
                .is_err()
            {
                return Ok(());
            }
            let ended = told.wait_for(|status: &SwapStatus| status.state.is_final());
            let Ok(ended) = ended.await else {
                // The run was over before the switch.
                return Ok(());
            };
            if ended.state != SwapState::Done {
                return Err(
                    format!("a swap was {}: {:?}", ended.state.as_str(), ended.reason).into(),
                );
            }
            pauses.extend(ended.pause_us);
        }
    }
}

fn settings() -> Settings {
    Settings {
        batch: Budget {
            records: 1000,
            bytes: 1 << 20,
            time: Duration::from_millis(100),
        },
        checkpoint_records: 100_000,
        checkpoint_every: Duration::from_secs(1),
        in_flight_batches: 16,
        in_flight_bytes: 32 << 20,
        retry: RetryPolicy::default(),
        threshold: Threshold {
            max_count: Some(0),
            max_share: None,
            min_records: 0,
        },
        keep: Keep::default(),
        drain: Duration::from_secs(30),
    }
}

/// Every record was read and written once, in order: the stateful stage has numbered them.
fn checked(summary: &Summary, file: &Path, records: u64) -> Result<(), Failure> {
    let total = summary.ledger.total();
    if summary.end != End::Finished || [total.read, total.written] != [records; 2] {
        return Err(format!("{:?} with counts {total:?}", summary.end).into());
    }
    let mut line = String::new();
    let mut reader = BufReader::new(File::open(file)?);
    for number in 1..=records {
        line.clear();
        reader.read_line(&mut line)?;
        let expected = format!("\"number\":{number}}}");
        if !line.trim_end().ends_with(&expected) {
            return Err(format!("record {number} is {line}").into());
        }
    }
    line.clear();
    match reader.read_line(&mut line)? {
        0 => Ok(()),
        _ => Err(format!("one too many: {line}").into()),
    }
}
