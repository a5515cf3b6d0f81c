//! The composition root: the only place that knows every module. It turns a flow file into stages that run.
//!
//! | file | what it does |
//! |---|---|
//! | `app.rs` | opens a project: the plan of one flow, its plugins, its connections |
//! | `app/audit.rs` | what goes into the audit log |
//! | `app/check.rs` | everything that can be found out without running |
//! | `app/own.rs` | the host's own files, which no grant may reach |
//! | `app/writers.rs` | files that two sinks would write |
//! | `app/run.rs` | wires the stages and runs them |
//! | `app/daemon.rs` | all flows of a project, until told to end |
//! | `app/shadow.rs` | the network of a candidate whose effects are cut off |
//! | `app/mapping.rs` | one mapping on sample records |
//! | `app/conformance.rs` | the conformance kit on a built component |
//! | `app/plugins.rs` | plugins between registries and a project: published, judged, installed |
//! | `app/catalogues.rs` | what catalogues say of plugins, and how a publisher makes one |
//! | `app/dead_letters.rs` | records that could not be processed: found, mended, given again |

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;

use crate::{
    catalogue::{InspectError, Inspection, Installed, LocateError, Locator},
    connection::{ConnectionError, Connections, Secrets, SecretsError},
    engine::run::RunError,
    flow::{Finding, Plan, Planned, StagePlan, Variables, installed, project},
    plugin::{PluginError, Runtime, RuntimeOptions},
    storage::StorageError,
};

mod audit;
pub mod catalogues;
mod check;
mod conformance;
pub mod daemon;
mod dead_letters;
mod http;
mod json;
mod mapping;
mod own;
mod plugins;
mod run;
mod secrets;
mod shadow;
mod writers;

pub use crate::{
    connection::SecretInfo,
    engine::{
        delivery::{Delivery, Label},
        fault::{Fault, FaultKind},
        run::{Phase, Progress, StageProgress},
    },
    plugin::{Denial, Metric, MetricValue},
    storage::{
        Action, AuditEntry, AuditFilter, AuditPage, DeadLetter, DeadLetterFilter, StreamCounts,
    },
};
pub use audit::{audit_log, cli_actor, edited, note};
pub use conformance::{
    TestOptions, Tested, bench_plugin, play_cassette, record_plugin, sample_plugin, test_plugin,
};
pub use daemon::{
    CheckpointView, Daemon, DaemonError, FlowState, FlowStatus, ServeOptions, StageView,
    SwapOptions, SwapView, VersionView,
};
pub use dead_letters::{
    DeadLetterDocument, DeadLetterError, DeadLetters, Edit, PAGE_BYTES, ReplayError, ReplayOptions,
    ReplaySummary,
};
pub use json::Bytes;
pub use mapping::{MapOptions, MapTest, Mapped, MappedRecord};
pub use plugins::{
    Allowed, Bundled, Consent, Fetching, InstalledPlugin, Look, Newer, Offer, Plugins,
    PluginsError, PublishedPlugin, Upgrade, Use,
};
pub use run::{Outcome, RunOptions, RunSummary};
pub use secrets::{ProjectSecrets, SecretInput, SecretSet};

/// What a flow is opened with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The flow file.
    pub flow_file: PathBuf,
    /// The state folder; by default `.crossdock` in the project's folder.
    pub state: Option<PathBuf>,
    /// Folders in which plugins are looked up by name, in order.
    pub plugin_dirs: Vec<PathBuf>,
    /// Variables given on the command line; the environment is asked for the rest.
    pub variables: BTreeMap<String, String>,
}

/// Why something cannot be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The flow, a plugin or a connection is not right: every finding, at its place.
    #[error("{}", first(.0))]
    Findings(Vec<Finding>),
    /// The store cannot be opened or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A plugin cannot be loaded.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// A plugin is not found.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// A file is no plugin.
    #[error("{}: {source}", path.display())]
    Inspect {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        source: InspectError,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// A folder without flows.
    #[error(
        "there are no flows in {}: it is no project; name the folder of one, which holds `flows/`, or make that folder",
        .0.display()
    )]
    NoProject(PathBuf),
    /// A cassette cannot be recorded or played.
    #[error(transparent)]
    Cassette(#[from] crate::conformance::CassetteError),
    /// A plugin failed while it was measured.
    #[error("it cannot be measured: {0}")]
    Bench(String),
    /// What a test has found cannot be stored beside the component.
    #[error("cannot write {}: {source}", path.display())]
    Report {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// The secret store cannot be read or written.
    #[error("{}{}", .0, then(&.0.advice()))]
    Secrets(#[from] SecretsError),
    /// A component cannot be kept in the state folder.
    #[error("a plugin cannot be kept in the state folder: {0}")]
    Keep(#[source] std::io::Error),
    /// A plugin cannot be published, judged or installed.
    #[error(transparent)]
    Plugins(#[from] PluginsError),
    /// The run failed. What was checkpointed stays.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A dead letter cannot be changed or given out.
    #[error(transparent)]
    DeadLetter(#[from] DeadLetterError),
    /// Dead letters cannot be given again.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

fn first(findings: &[Finding]) -> String {
    findings
        .first()
        .map_or_else(|| "nothing to run".to_owned(), ToString::to_string)
}

fn then(advice: &str) -> String {
    if advice.is_empty() {
        String::new()
    } else {
        format!("; {advice}")
    }
}

impl AppError {
    /// 1: failed, 2: the configuration or the call has to be changed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Findings(_)
            | Self::Read { .. }
            | Self::NoProject(_)
            | Self::Storage(StorageError::NoFolder(_))
            | Self::Locate(_)
            | Self::Inspect { .. }
            | Self::Plugin(_)
            | Self::Secrets(_)
            | Self::Cassette(_)
            | Self::Run(RunError::StageChanged { .. }) => 2,
            Self::Plugins(error) => error.exit_code(),
            Self::DeadLetter(error) => match error {
                DeadLetterError::Write(_) => 1,
                _ => 2,
            },
            Self::Replay(error) => match error {
                ReplayError::Refused(_) | ReplayError::LeftBehind { .. } => 1,
                _ => 2,
            },
            Self::Run(RunError::Stage(failure))
                if failure.fault.kind == crate::engine::fault::FaultKind::Config =>
            {
                2
            }
            _ => 1,
        }
    }

    /// Whether it says that nobody reads the output any more.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::DeadLetter(DeadLetterError::Write(error)) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }

    /// The findings, when it is about them.
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Findings(findings) => findings,
            _ => &[],
        }
    }
}

/// One flow of a project, ready to be checked or run.
#[derive(Clone)]
pub struct Project {
    plan: Plan,
    warnings: Vec<Finding>,
    folder: PathBuf,
    state: PathBuf,
    locator: Locator,
    variables: Variables,
}

/// A stage with the plugin that was found for it.
struct Resolved<'a> {
    stage: &'a StagePlan,
    path: PathBuf,
    inspection: Inspection,
}

impl Resolved<'_> {
    /// Name, version and digest of the plugin, as a running one tells them.
    fn plugin(&self) -> [&str; 3] {
        let digest = self.inspection.digest.as_str();
        if let Some(manifest) = &self.inspection.manifest {
            return [&manifest.name, &manifest.version, digest];
        }
        let stem = self.path.file_stem().and_then(|stem| stem.to_str());
        [stem.unwrap_or_default(), "0.0.0", digest]
    }
}

impl Project {
    /// Reads the flow file and plans it.
    pub fn open(options: &Options) -> Result<Self, AppError> {
        let variables = Variables::new(options.variables.clone());
        let Planned { mut plan, warnings } =
            Plan::load(&options.flow_file, &variables).map_err(AppError::Findings)?;
        let folder = project::folder_of(&options.flow_file);
        let granted =
            installed::load(&folder.join("grants"), &variables).map_err(AppError::Findings)?;
        plan.grant(&granted);
        let flow_dir = options.flow_file.parent().unwrap_or_else(|| Path::new("."));
        let state = options
            .state
            .clone()
            .unwrap_or_else(|| folder.join(".crossdock"));
        let locator = Locator::new(flow_dir, options.plugin_dirs.clone())
            .with_installed(Installed::of(&folder, &state));
        Ok(Self {
            plan,
            warnings,
            folder,
            state,
            locator,
            variables,
        })
    }

    /// The same project with another plan.
    fn with(&self, plan: Plan) -> Self {
        Self {
            plan,
            ..self.clone()
        }
    }

    /// What runs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What should be looked at in the flow file.
    pub fn warnings(&self) -> &[Finding] {
        &self.warnings
    }

    /// Where checkpoints, dead letters and tables are.
    pub fn state_dir(&self) -> &Path {
        &self.state
    }

    /// The connections that the flow's stages are granted, from the project's `connections` folder.
    fn connections(&self) -> Result<Arc<Connections>, ConnectionError> {
        let granted = self.plan.stages().flat_map(|stage| {
            let names = stage.grants.connections.iter().enumerate();
            names.map(|(at, name)| {
                let place = stage.locate_field(&format!("grants/connections/{at}"));
                (name.as_str(), place)
            })
        });
        let secrets = Secrets::of_project(&self.folder);
        let folder = self.folder.join("connections");
        Connections::load_named(&folder, granted, &self.variables, &secrets).map(Arc::new)
    }

    /// For authors, who run what they have built themselves: what traps is told with files and lines.
    fn authors_runtime() -> Result<Runtime, PluginError> {
        Runtime::new(&RuntimeOptions {
            cache_dir: cache_dir(),
            lines: true,
            ..RuntimeOptions::default()
        })
    }

    /// For flows, whose plugins are of strangers.
    fn runtime() -> Result<Runtime, PluginError> {
        Runtime::new(&RuntimeOptions {
            cache_dir: cache_dir(),
            ..RuntimeOptions::default()
        })
    }
}

/// Where compiled plugins are kept for all projects of this user.
fn cache_dir() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("crossdock").join("compiled"))
}

/// The JSON Schema of connection files.
pub fn connection_schema() -> Value {
    crate::flow::schema::of::<crate::connection::ConnectionSpec>()
}

/// What a plugin's file shows from the outside. Nothing of it is run.
pub fn inspect(file: &Path) -> Result<Inspection, AppError> {
    let bytes = crate::catalogue::read_component(file).map_err(|source| AppError::Read {
        path: file.to_owned(),
        source,
    })?;
    crate::catalogue::inspect(&bytes).map_err(|source| AppError::Inspect {
        path: file.to_owned(),
        source,
    })
}
