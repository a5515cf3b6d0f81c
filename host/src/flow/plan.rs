//! The plan: a flow with everything resolved. Variables are replaced, files inlined, defaults filled, findings empty.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

pub use super::spec::{FileGrantsSpec as FileGrants, GrantsSpec as Grants};
use super::{
    check, digest,
    document::{self, Document},
    finding::{self, Finding, Location},
    installed::{self, PluginGrants},
    place::{Places, child},
    schema,
    spec::{FlowSpec, LimitsSpec},
    variable::Variables,
};

/// More instances of one transformer than this are only made on request.
const MAX_DEFAULT_WORKERS: usize = 8;
const DEFAULT_MEMORY: u64 = 256 << 20;
const DEFAULT_CALL_TIME: Duration = Duration::from_secs(30);
const DEFAULT_OPEN_TIME: Duration = Duration::from_mins(1);
const DEFAULT_COMMIT_TIME: Duration = Duration::from_mins(2);
const DEFAULT_RECYCLE_RECORDS: u64 = 1_000_000;
const DEFAULT_WAIT_TIME: Duration = Duration::from_mins(10);
const DEFAULT_OUTPUT: u64 = 64 << 20;
const DEFAULT_SNAPSHOT: u64 = 1 << 20;
const DEFAULT_TABLE_ELEMENTS: usize = 200_000;
const DEFAULT_MODULES: usize = 32;
const DEFAULT_OPEN_REQUESTS: usize = 64;
const DEFAULT_LOG_LINES: u32 = 1000;
const DEFAULT_LOG_BYTES: u64 = 1 << 20;

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
    pub max_size: Option<u64>,
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

/// Longest name of a channel.
const MAX_CHANNEL: usize = 32;
/// What other tools call the newest version, here without a name, and what lock files call it.
const NO_CHANNELS: [&str; 2] = ["latest", "newest"];

/// Whether it can be the name of a channel: `stable`, `beta`, `lts-2`.
pub fn is_channel(text: &str) -> bool {
    let usable = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.len() > 1
        && text.len() <= MAX_CHANNEL
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(usable)
        && !NO_CHANNELS.contains(&text)
        // `v1` is no channel but a mistake.
        && !text.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Which plugin a stage wants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PluginRef {
    /// An installed one, by its manifest's name; with `@` and a range of versions behind it when not every version will do.
    Name(String),
    /// A file.
    Path(PathBuf),
}

impl PluginRef {
    /// From the text of a flow file: with a `/` or the ending `.wasm` it is a path, relative to `folder`.
    pub(super) fn new(written: &str, folder: &Path) -> Self {
        if is_path(written) {
            Self::Path(folder.join(written))
        } else {
            Self::Name(written.to_owned())
        }
    }

    /// The plugin's name, when it is asked for by name.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Name(text) => Some(bare(text)),
            Self::Path(_) => None,
        }
    }
}

/// `akeneo@^1.2` without the versions.
fn bare(plugin: &str) -> &str {
    plugin.split_once('@').map_or(plugin, |(name, _)| name)
}

impl fmt::Display for PluginRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

impl Serialize for PluginRef {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

pub(super) fn is_path(written: &str) -> bool {
    let ending = Path::new(written).extension();
    written.contains(['/', '\\'])
        || ending.is_some_and(|ending| ending.eq_ignore_ascii_case("wasm"))
}

/// What one instance may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: u64,
    /// Time for one call.
    pub call_time: Duration,
    /// Time for opening it.
    pub open_time: Duration,
    /// Time for a snapshot, a commit, and its end.
    pub commit_time: Duration,
    /// Waiting for answers of other systems in one call.
    pub wait_time: Duration,
    /// Bytes that one call may return or hand over.
    pub output: u64,
    /// Bytes of a snapshot.
    pub snapshot: u64,
    /// Elements of a table of functions.
    pub table_elements: usize,
    /// Core modules of a component.
    pub modules: usize,
    /// Requests and raw connections open at the same time.
    pub open_requests: usize,
    /// Log lines in one second.
    pub log_lines: u32,
    /// Bytes of log lines in one second.
    pub log_bytes: u64,
    /// A new instance takes over after this many records.
    pub recycle_after_records: u64,
    /// A new instance takes over at this many bytes of memory. Less than `memory`.
    pub recycle_after_memory: u64,
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
            Ok(violations) => schema::findings("config", &violations, locate)
                .into_iter()
                .map(|finding| self.of_stage(finding))
                .collect(),
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
    /// Reads a flow file and the files that it names.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(file: &Path, variables: &Variables) -> Result<Planned, Vec<Finding>> {
        let text = document::read("flow", file)?;
        Self::parse(&text, file, variables)
    }

    /// The same for a text that stands in `file`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str, file: &Path, variables: &Variables) -> Result<Planned, Vec<Finding>> {
        let mut document = Document::parse("flow", text, file, variables)?;
        for pointer in config_pointers(document.value()) {
            document.inline_files(&pointer);
        }
        let spec: FlowSpec = document.decode()?;
        let mut findings = check::findings(&spec, document.places());
        finding::sort(&mut findings);
        if finding::has_errors(&findings) {
            return Err(findings);
        }
        let mut plan = resolve(spec, file, document.places());
        plan.files = document.files().to_vec();
        Ok(Planned {
            plan,
            warnings: findings,
        })
    }

    /// Adds what the project grants plugins by name, in every flow.
    pub fn grant(&mut self, granted: &PluginGrants) {
        let stages = std::iter::once(&mut self.source)
            .chain(&mut self.transformers)
            .chain(&mut self.sinks);
        for stage in stages {
            if let Some(name) = stage.plugin.name()
                && let Some(more) = granted.get(name)
            {
                stage.grants = installed::union(&stage.grants, more);
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

fn config_pointers(value: &Value) -> Vec<String> {
    let mut pointers = vec!["/source/config".to_owned()];
    for list in ["transformers", "sinks"] {
        let length = value
            .get(list)
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        pointers.extend((0..length).map(|at| format!("/{list}/{at}/config")));
    }
    pointers
}

/// A checked spec with its defaults filled.
fn resolve(spec: FlowSpec, file: &Path, places: &Arc<Places>) -> Plan {
    let resolver = Resolver {
        folder: file.parent().unwrap_or(Path::new("")),
        places,
    };
    let FlowSpec {
        source,
        transformers,
        sinks,
        batch,
        checkpoint,
        in_flight,
        retry,
        dead_letters,
        ..
    } = spec;
    let source = Common {
        name: source.name,
        plugin: source.plugin,
        config: source.config,
        grants: source.grants,
        limits: source.limits,
    };
    let source = resolver.stage(StageKind::Source, "/source".to_owned(), source);
    let transformer = |(at, spec): (usize, super::spec::TransformerSpec)| {
        let workers = spec.workers.unwrap_or_else(default_workers);
        let common = Common {
            name: spec.name,
            plugin: spec.plugin,
            config: spec.config,
            grants: spec.grants,
            limits: spec.limits,
        };
        let pointer = child("/transformers", &at.to_string());
        StagePlan {
            workers,
            ..resolver.stage(StageKind::Transformer, pointer, common)
        }
    };
    let sink = |(at, spec): (usize, super::spec::SinkSpec)| {
        let streams = spec.streams.map(|streams| streams.into_iter().collect());
        let common = Common {
            name: spec.name,
            plugin: spec.plugin,
            config: spec.config,
            grants: spec.grants,
            limits: spec.limits,
        };
        let pointer = child("/sinks", &at.to_string());
        StagePlan {
            streams,
            receipts: spec.receipts,
            ..resolver.stage(StageKind::Sink, pointer, common)
        }
    };
    Plan {
        name: spec.flow,
        description: spec.description,
        file: file.to_path_buf(),
        files: Vec::new(),
        source,
        transformers: transformers
            .into_iter()
            .enumerate()
            .map(transformer)
            .collect(),
        sinks: sinks.into_iter().enumerate().map(sink).collect(),
        batch: BatchPlan {
            records: batch.records,
            // Checked to be at most `check::MAX_BATCH`.
            bytes: u32::try_from(batch.bytes.0).unwrap_or(u32::MAX),
            wait: batch.wait.0,
        },
        checkpoint: CheckpointPlan {
            records: checkpoint.records,
            every: checkpoint.every.0,
        },
        in_flight: InFlightPlan {
            batches: in_flight.batches,
            bytes: in_flight.bytes.0,
        },
        retry: RetryPlan {
            attempts: retry.attempts,
            initial: retry.initial.0,
            max: retry.max.0,
        },
        dead_letters: DeadLetterPlan {
            max_count: dead_letters.max_count,
            max_share: dead_letters.max_share,
            min_records: dead_letters.min_records,
            keep: dead_letters.keep.map(|time| time.0),
            max_size: dead_letters.max_size.map(|size| size.0),
        },
    }
}

/// What all kinds of stages have.
struct Common {
    name: Option<String>,
    plugin: String,
    config: Option<serde_json::Map<String, Value>>,
    grants: Grants,
    limits: LimitsSpec,
}

struct Resolver<'a> {
    folder: &'a Path,
    places: &'a Arc<Places>,
}

impl Resolver<'_> {
    fn stage(&self, kind: StageKind, pointer: String, common: Common) -> StagePlan {
        let config = common.config.map_or_else(|| json!({}), Value::Object);
        StagePlan {
            kind,
            name: stage_name(common.name.as_deref(), &common.plugin),
            plugin: PluginRef::new(&common.plugin, self.folder),
            config_digest: digest::of(&config),
            config,
            grants: common.grants,
            limits: limits(&common.limits),
            workers: 1,
            streams: None,
            receipts: None,
            pointer,
            places: Arc::clone(self.places),
        }
    }
}

/// The limits of a stage with the defaults filled.
pub(super) fn limits(spec: &LimitsSpec) -> Limits {
    let memory = spec.memory.map_or(DEFAULT_MEMORY, |size| size.0);
    Limits {
        memory,
        call_time: spec.call_time.map_or(DEFAULT_CALL_TIME, |time| time.0),
        open_time: spec.open_time.map_or(DEFAULT_OPEN_TIME, |time| time.0),
        commit_time: spec.commit_time.map_or(DEFAULT_COMMIT_TIME, |time| time.0),
        wait_time: spec.wait_time.map_or(DEFAULT_WAIT_TIME, |time| time.0),
        output: spec.output.map_or(DEFAULT_OUTPUT, |size| size.0),
        snapshot: spec.snapshot.map_or(DEFAULT_SNAPSHOT, |size| size.0),
        table_elements: spec.table_elements.unwrap_or(DEFAULT_TABLE_ELEMENTS),
        modules: spec.modules.unwrap_or(DEFAULT_MODULES),
        open_requests: spec.open_requests.unwrap_or(DEFAULT_OPEN_REQUESTS),
        log_lines: spec.log_lines.unwrap_or(DEFAULT_LOG_LINES),
        log_bytes: spec.log_bytes.map_or(DEFAULT_LOG_BYTES, |size| size.0),
        recycle_after_records: spec
            .recycle_after_records
            .unwrap_or(DEFAULT_RECYCLE_RECORDS),
        recycle_after_memory: spec
            .recycle_after_memory
            .map_or(memory / 4 * 3, |size| size.0),
    }
}

/// The given name, else the plugin's name, else the name of its file.
pub(super) fn stage_name(given: Option<&str>, plugin: &str) -> String {
    if let Some(name) = given {
        return name.to_owned();
    }
    if !is_path(plugin) {
        return bare(plugin).to_owned();
    }
    let stem = Path::new(plugin)
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let name: String = stem
        .chars()
        .map(|c| {
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                c
            } else {
                '-'
            }
        })
        .take(64)
        .collect();
    if name.is_empty() {
        "plugin".to_owned()
    } else {
        name
    }
}

fn default_workers() -> usize {
    thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MAX_DEFAULT_WORKERS)
}
