//! The flow file as it is written. `crossdock schema flow` prints its JSON Schema; every description comes from here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::quantity::{Size, Time};

/// A flow: a source, transformers in order, one or more sinks, and how to run them.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "crossdock flow")]
pub struct FlowSpec {
    /// The flow's name. Its state is kept under this name.
    #[schemars(regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$"), extend("examples" = ["akeneo-to-spryker"]))]
    pub flow: String,
    /// What it does, in one line.
    pub description: Option<String>,
    /// Where records come from.
    pub source: SourceSpec,
    /// What changes them, in order.
    #[serde(default)]
    pub transformers: Vec<TransformerSpec>,
    /// Where they go. Every record goes to every sink that takes its stream.
    #[schemars(length(min = 1))]
    pub sinks: Vec<SinkSpec>,
    /// How many records move together.
    #[serde(default)]
    pub batch: BatchSpec,
    /// How often progress is made durable.
    #[serde(default)]
    pub checkpoint: CheckpointSpec,
    /// How much may be between the source and the sinks. The source waits when it is reached.
    #[serde(default)]
    pub in_flight: InFlightSpec,
    /// What is done when a stage fails in a way that may pass.
    #[serde(default)]
    pub retry: RetrySpec,
    /// How many records may fail before the run does, and how long they are kept.
    #[serde(default)]
    pub dead_letters: DeadLettersSpec,
}

/// The source of a flow.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SourceSpec {
    /// The stage's name in this flow. The plugin's name when it is left out.
    #[schemars(regex(pattern = r"^[a-z0-9-]{1,64}$"), extend("examples" = ["prices"]))]
    pub name: Option<String>,
    /// The plugin: the name of an installed one, with `@` and the versions that will do where not all do, or a path to a
    /// `.wasm` file, relative to this file.
    #[schemars(length(min = 1), extend("examples" = ["csv", "csv@^1.2", "./my-plugin.wasm"]))]
    pub plugin: String,
    /// The plugin's own config; `crossdock plugin inspect` shows what it takes. `{ $file: path }` puts a file there.
    pub config: Option<Map<String, Value>>,
    /// What the plugin may reach. Nothing when it is left out.
    #[serde(default)]
    pub grants: GrantsSpec,
    /// What one instance of the plugin may use.
    #[serde(default)]
    pub limits: LimitsSpec,
}

/// A transformer of a flow.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TransformerSpec {
    /// The stage's name in this flow. The plugin's name when it is left out.
    #[schemars(regex(pattern = r"^[a-z0-9-]{1,64}$"), extend("examples" = ["map-products"]))]
    pub name: Option<String>,
    /// The plugin: the name of an installed one, with `@` and the versions that will do where not all do, or a path to a
    /// `.wasm` file, relative to this file.
    #[schemars(length(min = 1), extend("examples" = ["mapper", "./my-plugin.wasm"]))]
    pub plugin: String,
    /// The plugin's own config; `crossdock plugin inspect` shows what it takes. `{ $file: path }` puts a file there.
    pub config: Option<Map<String, Value>>,
    /// What the plugin may reach. Nothing when it is left out.
    #[serde(default)]
    pub grants: GrantsSpec,
    /// What one instance of the plugin may use.
    #[serde(default)]
    pub limits: LimitsSpec,
    /// Instances that work at the same time, when the plugin is stateless. As many as the machine has cores, at most 8,
    /// when it is left out.
    #[schemars(range(min = 1, max = 64))]
    pub workers: Option<usize>,
}

/// A sink of a flow.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SinkSpec {
    /// The stage's name in this flow. The plugin's name when it is left out.
    #[schemars(regex(pattern = r"^[a-z0-9-]{1,64}$"), extend("examples" = ["shop"]))]
    pub name: Option<String>,
    /// The plugin: the name of an installed one, with `@` and the versions that will do where not all do, or a path to a
    /// `.wasm` file, relative to this file.
    #[schemars(length(min = 1), extend("examples" = ["jsonl", "./my-plugin.wasm"]))]
    pub plugin: String,
    /// The plugin's own config; `crossdock plugin inspect` shows what it takes. `{ $file: path }` puts a file there.
    pub config: Option<Map<String, Value>>,
    /// What the plugin may reach. Nothing when it is left out.
    #[serde(default)]
    pub grants: GrantsSpec,
    /// What one instance of the plugin may use.
    #[serde(default)]
    pub limits: LimitsSpec,
    /// The streams that it takes. All when it is left out.
    #[schemars(inner(length(min = 1, max = 200)))]
    pub streams: Option<Vec<String>>,
    /// The table that keeps what the target answers (the ids it gave), by the record's key.
    #[schemars(length(min = 1, max = 200), extend("examples" = ["shop-ids"]))]
    pub receipts: Option<String>,
}

/// What an operator allows a plugin to reach.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct GrantsSpec {
    /// Folders.
    pub files: FileGrantsSpec,
    /// Remote systems, by the name of their connection.
    #[schemars(inner(length(min = 1)))]
    pub connections: Vec<String>,
    /// Tables, by name.
    #[schemars(inner(length(min = 1)))]
    pub tables: Vec<String>,
    /// URLs that it may ask without a connection: scheme, host (`*.example.com` for names below), port and beginning of
    /// the path; methods in front when only those are allowed.
    #[schemars(inner(length(min = 1)), extend("examples" = [["GET https://api.example.com/v1"]]))]
    pub http: Vec<String>,
    /// Hosts with ports for raw TCP connections.
    #[schemars(inner(length(min = 1)), extend("examples" = [["db.example.com:5432"]]))]
    pub tcp: Vec<String>,
    /// Names under `http` and `tcp`, here and not where else the plugin is granted something, may lead to private and
    /// loopback addresses. An address that is written out there is allowed as it is.
    pub allow_private: bool,
    /// Clocks in nanoseconds instead of milliseconds.
    pub precise_clock: bool,
}

/// Folders that a plugin may reach, under the names that are written here. Relative ones are in the project's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct FileGrantsSpec {
    /// Folders that it may read.
    #[schemars(inner(length(min = 1)))]
    pub read: Vec<String>,
    /// Folders that it may read and write.
    #[schemars(inner(length(min = 1)))]
    pub write: Vec<String>,
    /// Bytes in the folders that it may write, with what is there when it starts. No limit when it is left out.
    pub quota: Option<Size>,
}

/// What one instance of a plugin may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LimitsSpec {
    /// Memory. 256MiB when it is left out.
    pub memory: Option<Size>,
    /// Time for one call. 30s when it is left out.
    pub call_time: Option<Time>,
    /// Time for opening it, and for asking it to check its config. 1m when it is left out.
    pub open_time: Option<Time>,
    /// Time for a snapshot, a commit, and its end. 2m when it is left out.
    pub commit_time: Option<Time>,
    /// Waiting for answers of other systems in one call. 10m when it is left out.
    pub wait_time: Option<Time>,
    /// Bytes that one call may return or hand over, and that the answers of one `send-all` may have together. 64MiB when it
    /// is left out.
    pub output: Option<Size>,
    /// Bytes of a snapshot. 1MiB when it is left out.
    pub snapshot: Option<Size>,
    /// Elements of a table of functions. 200000 when it is left out.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub table_elements: Option<usize>,
    /// Core modules that a component may be made of. 32 when it is left out.
    #[schemars(range(min = 1, max = 32))]
    pub modules: Option<usize>,
    /// Requests, lookups of names and raw connections that all instances of the stage may have open at the same time.
    /// 64 when it is left out.
    #[schemars(range(min = 1, max = 1000))]
    pub open_requests: Option<usize>,
    /// Log lines in one second; more are counted and dropped. 1000 when it is left out.
    #[schemars(range(min = 1, max = 100_000))]
    pub log_lines: Option<u32>,
    /// Bytes of log lines in one second. 1MiB when it is left out.
    pub log_bytes: Option<Size>,
    /// A new instance takes over after this many records. 1000000 when it is left out.
    #[schemars(range(min = 1))]
    pub recycle_after_records: Option<u64>,
    /// A new instance takes over when this one holds so much memory. Three quarters of `memory` when it is left out.
    pub recycle_after_memory: Option<Size>,
}

/// How many records move together: whichever bound is met first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct BatchSpec {
    /// Records.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub records: u32,
    /// Bytes.
    pub bytes: Size,
    /// A batch that is not full goes on after this time.
    pub wait: Time,
}

/// How often progress is made durable: whichever bound is met first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct CheckpointSpec {
    /// Records since the last one.
    #[schemars(range(min = 1))]
    pub records: u64,
    /// Time since the last one.
    pub every: Time,
}

/// How much may be between the source and the sinks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct InFlightSpec {
    /// Batches.
    #[schemars(range(min = 1, max = 1024))]
    pub batches: usize,
    /// Bytes.
    pub bytes: Size,
}

/// What is done when a stage fails in a way that may pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RetrySpec {
    /// Tries, the first one included.
    #[schemars(range(min = 1, max = 1000))]
    pub attempts: u32,
    /// Wait before the second try. It doubles with every further one.
    pub initial: Time,
    /// The longest wait.
    pub max: Time,
}

/// How many records may fail before the run does (without limits a run goes on), and how long they are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DeadLettersSpec {
    /// More than this many fail the run.
    pub max_count: Option<u64>,
    /// More than this share of the records read fails the run.
    #[schemars(range(min = 0.0, max = 1.0), extend("examples" = [0.05]))]
    pub max_share: Option<f64>,
    /// The share counts only from this many records on.
    pub min_records: u64,
    /// How long dead letters are kept. For ever when it is left out.
    #[schemars(extend("examples" = ["30d"]))]
    pub keep: Option<Time>,
    /// How much is kept: beyond this size of all dead letters of the flow the oldest go. Each counts with its record,
    /// its texts and half a KiB.
    pub max_size: Size,
}

impl Default for BatchSpec {
    fn default() -> Self {
        Self {
            records: 1_000,
            bytes: Size(1 << 20),
            wait: Time(std::time::Duration::from_millis(500)),
        }
    }
}

impl Default for CheckpointSpec {
    fn default() -> Self {
        Self {
            records: 50_000,
            every: Time(std::time::Duration::from_secs(10)),
        }
    }
}

impl Default for InFlightSpec {
    fn default() -> Self {
        Self {
            batches: 8,
            bytes: Size(64 << 20),
        }
    }
}

impl Default for RetrySpec {
    fn default() -> Self {
        Self {
            attempts: 5,
            initial: Time(std::time::Duration::from_millis(200)),
            max: Time(std::time::Duration::from_secs(30)),
        }
    }
}

impl Default for DeadLettersSpec {
    fn default() -> Self {
        Self {
            max_count: None,
            max_share: None,
            min_records: 100,
            keep: None,
            max_size: Size(1 << 30),
        }
    }
}
