//! The plan: a flow with everything resolved. Variables are replaced, files inlined, defaults filled, findings empty.

mod resolve;

use std::{collections::BTreeSet, fmt, path::PathBuf, sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::Value;

use super::{
    digest,
    finding::{Finding, Location},
    installed::PluginGrants,
    place::Places,
    schema,
};
pub use super::{
    grants::Grants,
    limits::Limits,
    plugin_ref::{PluginRef, is_channel},
    spec::FileGrantsSpec as FileGrants,
};

/// A plan and what should be looked at in its file.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// Findings that do not stop it.
    pub warnings: Vec<Finding>,
}

/// What a run does.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The flow's name.
    pub name: String,
    /// What it does, in one line.
    #[serde(skip)]
    pub description: Option<String>,
    /// The flow file, as it was named.
    #[serde(skip)]
    pub file: PathBuf,
    /// Files whose content is in configs (`$file`).
    #[serde(skip)]
    pub files: Vec<PathBuf>,
    /// Where records come from.
    pub source: StagePlan,
    /// What changes them, in order.
    pub transformers: Vec<StagePlan>,
    /// Where they go. At least one.
    pub sinks: Vec<StagePlan>,
    /// How many records move together.
    pub batch: BatchPlan,
    /// How often progress is made durable.
    pub checkpoint: CheckpointPlan,
    /// How much may be between the source and the sinks.
    pub in_flight: InFlightPlan,
    /// How transient faults are retried.
    pub retry: RetryPlan,
    /// How many records may fail.
    pub dead_letters: DeadLetterPlan,
}

/// How many records move together, whichever bound is met first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BatchPlan {
    /// Records, at least 1.
    pub records: u32,
    /// Bytes, at least 1.
    pub bytes: u32,
    /// A batch that is not full goes on after this time.
    pub wait: Duration,
}

/// How often progress is made durable, whichever bound is met first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CheckpointPlan {
    /// Records since the last one, at least 1.
    pub records: u64,
    /// Time since the last one, not 0.
    pub every: Duration,
}

/// How much may be between the source and the sinks. Never less than one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct InFlightPlan {
    /// Batches, at least 1.
    pub batches: usize,
    /// Bytes.
    pub bytes: u64,
}

/// How transient faults are retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RetryPlan {
    /// Tries, the first one included.
    pub attempts: u32,
    /// Wait before the second try; doubles.
    pub initial: Duration,
    /// The longest wait, at least `initial`.
    pub max: Duration,
}

/// How many records may fail before the run does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DeadLetterPlan {
    /// More than this many fail the run.
    pub max_count: Option<u64>,
    /// More than this share (0 to 1) of the records read fails the run.
    pub max_share: Option<f64>,
    /// The share counts only from this many records on.
    pub min_records: u64,
    /// How long they are kept.
    pub keep: Option<Duration>,
    /// How many bytes of them are kept.
    pub max_size: u64,
}

/// What a stage is in its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageKind {
    /// It reads.
    Source,
    /// It changes.
    Transformer,
    /// It writes.
    Sink,
}

impl StageKind {
    /// `source`, `transformer` or `sink`: also the name of the export that the plugin must have.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Transformer => "transformer",
            Self::Sink => "sink",
        }
    }
}

impl fmt::Display for StageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One stage, resolved.
#[derive(Debug, Clone, Serialize)]
pub struct StagePlan {
    /// What it is.
    pub kind: StageKind,
    /// Its name, unique in the flow.
    pub name: String,
    /// Which plugin it wants.
    pub plugin: PluginRef,
    /// The plugin's config: always an object.
    pub config: Value,
    /// What the plugin may reach.
    pub grants: Grants,
    /// What one instance may use.
    pub limits: Limits,
    /// Instances at the same time when the plugin is stateless; 1 for sources and sinks. Not in the digest: it depends
    /// on the machine and changes no record.
    #[serde(skip)]
    pub workers: usize,
    /// The streams that a sink takes. `None`: all.
    pub streams: Option<BTreeSet<String>>,
    /// The table that keeps what a sink's target answers, by the record's key.
    pub receipts: Option<String>,
    #[serde(skip)]
    config_digest: String,
    #[serde(skip)]
    pointer: String,
    #[serde(skip)]
    places: Arc<Places>,
}

impl StagePlan {
    /// Whether records of this stream go to the stage.
    pub fn takes(&self, stream: &str) -> bool {
        self.streams
            .as_ref()
            .is_none_or(|streams| streams.contains(stream))
    }

    /// `sha256:…` of the config, whatever its formatting and the order of its keys. Contents of `$file`s are in it.
    pub fn config_digest(&self) -> &str {
        &self.config_digest
    }

    /// Where a value of the config stands in the flow file, by JSON pointer in the config (`/files/0`). The nearest
    /// value around it, or the stage, when it is not in the file.
    pub fn locate(&self, pointer: &str) -> Option<Location> {
        self.places
            .locate(&format!("{}/config{pointer}", self.pointer))
    }

    /// Where a field of the stage stands: `plugin`, `grants/files/read/0`.
    pub fn locate_field(&self, field: &str) -> Option<Location> {
        self.places.locate(&format!("{}/{field}", self.pointer))
    }

    /// Whether a field of the stage stands in the flow file.
    pub fn writes(&self, field: &str) -> bool {
        self.places.holds(&format!("{}/{field}", self.pointer))
    }

    /// All violations of the plugin's config schema, each at its line.
    pub fn config_findings(&self, schema: &Value) -> Vec<Finding> {
        let locate = |pointer: &str, key: bool| {
            let pointer = format!("{}/config{pointer}", self.pointer);
            if key {
                self.places.locate_key(&pointer)
            } else {
                self.places.locate(&pointer)
            }
        };
        match schema::violations(schema, &self.config) {
            Ok(mut violations) => {
                schema::blame_variables(&mut violations, |at| {
                    let at = format!("{}/config{at}", self.pointer);
                    self.places.is_varied(&at)
                });
                schema::findings("config", &violations, locate)
                    .into_iter()
                    .map(|finding| self.of_stage(finding))
                    .collect()
            }
            Err(error) => {
                let message = format!("plugin `{}`: {error}", self.plugin);
                vec![
                    Finding::error("plugin.schema", message)
                        .at(self.locate_field("plugin"))
                        .advice("the plugin is broken: tell its author"),
                ]
            }
        }
    }

    /// What a plugin itself finds wrong with its config, at its line. `field` is a JSON pointer in the config.
    pub fn config_finding(&self, message: &str, field: &str, advice: &str) -> Finding {
        let finding = Finding::error("config.refused", message)
            .at(self.locate(field))
            .advice(advice);
        self.of_stage(finding)
    }

    /// The same stage with another version of its plugin, or another config: the candidate of a swap. Its grants and
    /// limits stay.
    #[must_use]
    pub fn replaced(&self, plugin: PluginRef, config: Value) -> Self {
        Self {
            plugin,
            config_digest: digest::of(&config),
            config,
            ..self.clone()
        }
    }

    fn of_stage(&self, mut finding: Finding) -> Finding {
        finding.message = format!("{} `{}`: {}", self.kind, self.name, finding.message);
        finding
    }
}

impl Plan {
    /// Adds what the project grants plugins by name, in every flow.
    pub fn grant(&mut self, granted: &PluginGrants) {
        let stages = std::iter::once(&mut self.source)
            .chain(&mut self.transformers)
            .chain(&mut self.sinks);
        for stage in stages {
            if let Some(name) = stage.plugin.name()
                && let Some(more) = granted.get(name)
            {
                stage.grants = stage.grants.union(more);
            }
        }
    }

    /// Puts a stage in the place of the one with its name.
    pub fn put(&mut self, stage: StagePlan) {
        let mut stages = std::iter::once(&mut self.source)
            .chain(&mut self.transformers)
            .chain(&mut self.sinks);
        if let Some(place) = stages.find(|own| own.name == stage.name) {
            *place = stage;
        }
    }

    /// All stages in the order of the flow.
    pub fn stages(&self) -> impl Iterator<Item = &StagePlan> {
        std::iter::once(&self.source)
            .chain(&self.transformers)
            .chain(&self.sinks)
    }

    /// `sha256:…` of everything that decides what runs, but the plugins and configs of the stages: what a swap cannot
    /// change.
    pub fn frame(&self) -> String {
        let mut frame = self.clone();
        let stages = std::iter::once(&mut frame.source)
            .chain(&mut frame.transformers)
            .chain(&mut frame.sinks);
        for stage in stages {
            stage.plugin = PluginRef::Name(String::new());
            stage.config = Value::Null;
        }
        frame.digest()
    }

    /// `sha256:…` of everything that decides what runs.
    pub fn digest(&self) -> String {
        // A plan has text keys and finite numbers only (YAML's others are refused), so this cannot fail.
        digest::of(&serde_json::to_value(self).unwrap_or_default())
    }
}
