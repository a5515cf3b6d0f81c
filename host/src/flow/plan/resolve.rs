//! From a checked flow file to its plan: files are inlined, defaults filled, names resolved.

use std::{path::Path, sync::Arc, thread};

use serde_json::{Value, json};

use super::{
    super::{
        check, digest,
        document::{self, Document},
        finding::{self, Finding},
        limits::limits,
        place::{Places, child},
        plugin_ref::{PluginRef, stage_name},
        spec::{FlowSpec, GrantsSpec, LimitsSpec, SinkSpec, SourceSpec, TransformerSpec},
        variable::Variables,
    },
    BatchPlan, CheckpointPlan, DeadLetterPlan, InFlightPlan, Plan, Planned, RetryPlan, StageKind,
    StagePlan,
};

/// More instances of one transformer than this are only made on request.
const MAX_DEFAULT_WORKERS: usize = 8;

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
    Plan {
        name: spec.flow,
        description: spec.description,
        file: file.to_path_buf(),
        files: Vec::new(),
        source: resolver.source(source),
        transformers: (transformers.into_iter().enumerate())
            .map(|(at, spec)| resolver.transformer(at, spec))
            .collect(),
        sinks: (sinks.into_iter().enumerate())
            .map(|(at, spec)| resolver.sink(at, spec))
            .collect(),
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
            max_size: dead_letters.max_size.0,
        },
    }
}

/// What all kinds of stages have.
struct Common {
    name: Option<String>,
    plugin: String,
    config: Option<serde_json::Map<String, Value>>,
    grants: GrantsSpec,
    limits: LimitsSpec,
}

struct Resolver<'a> {
    folder: &'a Path,
    places: &'a Arc<Places>,
}

impl Resolver<'_> {
    fn source(&self, spec: SourceSpec) -> StagePlan {
        let common = Common {
            name: spec.name,
            plugin: spec.plugin,
            config: spec.config,
            grants: spec.grants,
            limits: spec.limits,
        };
        self.stage(StageKind::Source, "/source".to_owned(), common)
    }

    fn transformer(&self, at: usize, spec: TransformerSpec) -> StagePlan {
        let common = Common {
            name: spec.name,
            plugin: spec.plugin,
            config: spec.config,
            grants: spec.grants,
            limits: spec.limits,
        };
        let pointer = child("/transformers", &at.to_string());
        StagePlan {
            workers: spec.workers.unwrap_or_else(default_workers),
            ..self.stage(StageKind::Transformer, pointer, common)
        }
    }

    fn sink(&self, at: usize, spec: SinkSpec) -> StagePlan {
        let common = Common {
            name: spec.name,
            plugin: spec.plugin,
            config: spec.config,
            grants: spec.grants,
            limits: spec.limits,
        };
        let pointer = child("/sinks", &at.to_string());
        StagePlan {
            streams: spec.streams.map(|streams| streams.into_iter().collect()),
            receipts: spec.receipts,
            ..self.stage(StageKind::Sink, pointer, common)
        }
    }

    fn stage(&self, kind: StageKind, pointer: String, common: Common) -> StagePlan {
        let config = common.config.map_or_else(|| json!({}), Value::Object);
        StagePlan {
            kind,
            name: stage_name(common.name.as_deref(), &common.plugin),
            plugin: PluginRef::new(&common.plugin, self.folder),
            config_digest: digest::of(&config),
            config,
            grants: common.grants.into(),
            limits: limits(&common.limits),
            workers: 1,
            streams: None,
            receipts: None,
            pointer,
            places: Arc::clone(self.places),
        }
    }
}

fn default_workers() -> usize {
    thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MAX_DEFAULT_WORKERS)
}
