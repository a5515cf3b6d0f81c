//! A host that runs all flows of a project until it is told to end: what `crossdock serve` is.
//!
//! | file | what it does |
//! |---|---|
//! | `daemon.rs` | opens the project, holds the store, knows every flow |
//! | `daemon/orders.rs` | what flows are asked |
//! | `daemon/supervisor.rs` | one flow: its runs, what is asked of it, restarts |
//! | `daemon/live.rs` | one run, and how it is opened |
//! | `daemon/swap.rs` | a swap is found, judged, compiled |
//! | `daemon/swapping.rs` | a swap is under way |
//! | `daemon/memory.rs` | what is remembered over a restart |
//! | `daemon/kept.rs` | components that run, by digest |
//! | `daemon/watch.rs` | changed files are taken over |
//!
//! What it promises: a flow that is asked something answers while another one drains, compiles or fails. A version that
//! was swapped in is there again after a restart, also after `kill -9`, and the file of the flow is stronger than a swap
//! as soon as it says something else than it did then.

mod kept;
mod live;
mod memory;
mod orders;
mod status;
mod supervisor;
mod swap;
mod swapping;
mod watch;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use tokio::{
    sync::{Mutex, mpsc, watch as channel},
    task::JoinHandle,
};

use self::{
    kept::Kept,
    supervisor::{Order, Supervisor},
    swap::Swaps,
    watch::Stamps,
};
pub use self::{
    status::{CheckpointView, FlowState, FlowStatus, StageView},
    swap::{SwapOptions, SwapView, VersionView},
};
use super::{AppError, DeadLetters, Options, Project, audit, writers::Writers};
use crate::{
    flow::{Finding, document},
    plugin::{Denial, Metric, Runtime},
    storage::{Audit, AuditEntry, AuditFilter, AuditPage, Store},
};

/// What flows can be asked before the first of it is done.
const ORDERS: usize = 32;
/// The probation of a version that a changed file brings, when nobody says otherwise.
const WATCHED_PROBATION: Duration = Duration::from_secs(5);

/// Beyond the time that flows have to drain.
const SLACK: Duration = Duration::from_secs(5);

/// How a daemon is started.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The project's folder.
    pub project: PathBuf,
    /// The state folder; by default `.crossdock` in the project's folder.
    pub state: Option<PathBuf>,
    /// Folders in which plugins are looked up by name, in order.
    pub plugin_dirs: Vec<PathBuf>,
    /// Variables given on the command line; the environment is asked for the rest.
    pub variables: BTreeMap<String, String>,
    /// Take changed files over while flows run.
    pub watch: bool,
    /// How long a stopped flow may take to drain and checkpoint.
    pub drain: Duration,
    /// Who started it, for the audit log.
    pub actor: String,
}

/// What all flows of a daemon share.
struct Shared {
    options: ServeOptions,
    folder: PathBuf,
    state: PathBuf,
    store: Arc<Store>,
    letters: DeadLetters,
    audit: Audit,
    runtime: Runtime,
    kept: Kept,
    swaps: Swaps,
    writers: Writers,
    drain: Duration,
    probation_ms: u64,
    /// Cancelled: the daemon ends.
    ending: CancellationToken,
}

impl Shared {
    fn options_for(&self, file: &Path) -> Options {
        Options {
            flow_file: file.to_owned(),
            state: Some(self.state.clone()),
            plugin_dirs: self.options.plugin_dirs.clone(),
            variables: self.options.variables.clone(),
        }
    }
}

/// Why a daemon does not do what it is asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// There is no such thing.
    #[error("{0}")]
    Missing(String),
    /// Not now.
    #[error("{0}")]
    Conflict(String),
    /// Not like this; with what is wrong where, when that is known.
    #[error("{0}")]
    Invalid(String, Vec<Finding>),
    /// It was tried and failed.
    #[error(transparent)]
    App(#[from] AppError),
    /// The daemon is ending.
    #[error("the daemon is ending")]
    Ending,
}

/// A flow of the daemon.
struct Handle {
    orders: mpsc::Sender<Order>,
    status: channel::Receiver<FlowStatus>,
    /// Files whose change is a change of the flow.
    files: channel::Receiver<Stamps>,
    file: PathBuf,
    /// Held by what moves records of the flow: a run, or dead letters that are given again without one.
    turn: Arc<Mutex<()>>,
    task: JoinHandle<()>,
}

/// See the module's documentation. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Daemon(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    flows: RwLock<BTreeMap<String, Handle>>,
}

impl Daemon {
    /// Opens a project and starts its flows. A flow whose file is wrong does not keep the others from running.
    ///
    /// # Errors
    /// There is no project, or its store cannot be opened.
    pub fn start(options: ServeOptions) -> Result<Self, AppError> {
        let folder = std::path::absolute(&options.project).map_err(|source| AppError::Read {
            path: options.project.clone(),
            source,
        })?;
        let flows = tokio::task::block_in_place(|| flow_files(&folder))?;
        let state = options
            .state
            .clone()
            .unwrap_or_else(|| folder.join(".crossdock"));
        let (store, audit) = tokio::task::block_in_place(|| {
            let store = Arc::new(Store::open(&state)?);
            Ok::<_, AppError>((store, Audit::open(&state)?))
        })?;
        let runtime = Project::runtime()?;
        runtime.tell_denials(audit::denials(&audit));
        let shared = Arc::new(Shared {
            letters: DeadLetters::of(Arc::clone(&store)),
            kept: Kept::new(&state),
            drain: options.drain,
            probation_ms: u64::try_from(WATCHED_PROBATION.as_millis()).unwrap_or(u64::MAX),
            swaps: Swaps::default(),
            writers: Writers::default(),
            ending: CancellationToken::new(),
            options,
            folder,
            state,
            store,
            audit,
            runtime,
        });
        let daemon = Self(Arc::new(Inner {
            shared,
            flows: RwLock::default(),
        }));
        daemon.0.shared.tidy();
        for file in flows {
            daemon.add(&file, true);
        }
        if daemon.0.shared.options.watch {
            watch::start(&daemon);
        }
        Ok(daemon)
    }

    /// Starts a flow. One whose file does not even tell its name goes by the file's.
    /// Says whether it was started: another one may have its name.
    fn add(&self, file: &Path, complain: bool) -> bool {
        let shared = &self.0.shared;
        let stamps = Stamps::take([file.to_owned()]);
        let name = Project::open(&shared.options_for(file)).map_or_else(
            |_| {
                let stem = file.file_stem().unwrap_or_default();
                stem.to_string_lossy().into_owned()
            },
            |project| project.plan().name.clone(),
        );
        // Flows are added by one task at a time.
        if let Some(other) = self.read().get(&name) {
            if complain {
                tracing::error!(
                    "{} is not run: {} has the name `{name}`",
                    file.display(),
                    other.file.display()
                );
            }
            return false;
        }
        tokio::task::block_in_place(|| shared.reserve(&name, file));
        let (orders, asked) = mpsc::channel(ORDERS);
        let first = FlowStatus {
            flow: name.clone(),
            file: file.display().to_string(),
            ..FlowStatus::default()
        };
        let (told, status) = channel::channel(first);
        let turn = Arc::new(Mutex::new(()));
        let (named, files) = channel::channel(stamps);
        let supervisor = Supervisor::new(
            Arc::clone(shared),
            name.clone(),
            file.to_owned(),
            asked,
            told,
            named,
            Arc::clone(&turn),
        );
        let handle = Handle {
            orders,
            status,
            files,
            file: file.to_owned(),
            turn,
            task: tokio::spawn(supervisor.supervise()),
        };
        self.write().insert(name, handle);
        true
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<String, Handle>> {
        self.0.flows.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Handle>> {
        self.0.flows.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The project's folder.
    pub fn project(&self) -> &Path {
        &self.0.shared.folder
    }

    /// The state folder.
    pub fn state_dir(&self) -> &Path {
        &self.0.shared.state
    }

    /// All flows, by name.
    pub fn flows(&self) -> Vec<FlowStatus> {
        let flows = self.read();
        flows
            .values()
            .map(|flow| flow.status.borrow().clone())
            .collect()
    }

    /// One flow.
    ///
    /// # Errors
    /// There is none.
    pub fn flow(&self, name: &str) -> Result<FlowStatus, DaemonError> {
        Ok(self.watch_flow(name)?.borrow().clone())
    }

    /// Tells of every change of a flow.
    ///
    /// # Errors
    /// There is none.
    pub fn watch_flow(&self, name: &str) -> Result<channel::Receiver<FlowStatus>, DaemonError> {
        let flows = self.read();
        flows
            .get(name)
            .map(|flow| flow.status.clone())
            .ok_or_else(|| missing(name, &flows))
    }

    /// The dead letters of the project.
    pub fn dead_letters(&self) -> &DeadLetters {
        &self.0.shared.letters
    }

    /// The audit log.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn audit(&self, filter: &AuditFilter) -> Result<AuditPage, AppError> {
        tokio::task::block_in_place(|| audit::audit_log(&self.0.shared.state, filter))
    }

    /// Numbers that plugins have reported since the daemon started.
    pub fn metrics(&self) -> Vec<Metric> {
        self.0.shared.runtime.metrics()
    }

    /// What plugins have tried to reach without a grant since the daemon started, counted.
    pub fn denials(&self) -> Vec<Denial> {
        self.0.shared.runtime.denials()
    }

    /// Notes something in the audit log.
    pub fn note(&self, entry: AuditEntry) {
        self.0.shared.audit.record(entry);
    }

    /// Ends all flows in good order. Returns when they have ended, or failed to drain in time.
    pub async fn shutdown(&self) {
        self.0.shared.ending.cancel();
        let last = tokio::time::Instant::now() + self.0.shared.drain + SLACK;
        let flows = std::mem::take(&mut *self.write());
        for flow in flows.values() {
            // One whose queue is full is busy with it and hears of the end by the closed queue.
            drop(flow.orders.try_send(Order::Shutdown));
        }
        for (name, mut flow) in flows {
            drop(flow.orders);
            let ended = tokio::time::timeout_at(last, &mut flow.task).await;
            if ended.is_err() {
                tracing::error!(
                    flow = name,
                    "it did not end in time; its next run goes on from its last checkpoint"
                );
                flow.task.abort();
            }
        }
        let audit = self.0.shared.audit.clone();
        drop(tokio::task::spawn_blocking(move || audit.flush()).await);
    }
}

fn missing(name: &str, flows: &BTreeMap<String, Handle>) -> DaemonError {
    let names: Vec<&str> = flows.keys().map(String::as_str).collect();
    DaemonError::Missing(if names.is_empty() {
        format!("there is no flow `{name}`: the project has none")
    } else {
        format!(
            "there is no flow `{name}`; there is `{}`",
            names.join("`, `")
        )
    })
}

impl Shared {
    /// Keeps for a flow what it will write before any other flow starts, so that it is always the same one that has it. A
    /// flow that is refused is told so when it starts.
    fn reserve(&self, flow: &str, file: &Path) {
        if let Ok(project) = Project::open(&self.options_for(file)) {
            let resolved = project.resolve(&mut Vec::new());
            drop(self.writers.claim(flow, project.outputs(&resolved)));
        }
    }

    /// Removes kept components that no flow remembers. Those that the flows' files mean are kept anew when they start.
    fn tidy(&self) {
        let remembered = self.state.join("flows");
        let mut needed = std::collections::BTreeSet::new();
        for entry in std::fs::read_dir(remembered)
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(flow) = name.strip_suffix(".json") else {
                continue;
            };
            // What cannot be read may need anything.
            let Ok(memory) = memory::Memory::load(&self.state, flow) else {
                return;
            };
            for swapped in memory.stages.into_values() {
                let pending = swapped.pending.map(|pending| pending.version);
                let versions = [swapped.in_force, pending, swapped.previous];
                needed.extend(versions.into_iter().flatten().map(|version| version.digest));
            }
        }
        self.kept.tidy(&|digest| needed.contains(digest));
    }
}

/// The flow files of a project, ordered.
///
/// # Errors
/// It has no folder with flows.
fn flow_files(folder: &Path) -> Result<Vec<PathBuf>, AppError> {
    let flows = folder.join("flows");
    let entries = std::fs::read_dir(&flows).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            AppError::NoProject(flows.clone())
        }
        _ => AppError::Read {
            path: flows.clone(),
            source,
        },
    })?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| document::is_named(path))
        .collect();
    files.sort();
    Ok(files)
}
