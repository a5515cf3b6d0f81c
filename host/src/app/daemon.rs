//! A host that runs all flows of a project until it is told to end: what `crossdock serve` is.
//!
//! | file | what it does |
//! |---|---|
//! | `daemon.rs` | opens the project, holds the store, knows every flow |
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
    sync::{Mutex, mpsc, oneshot, watch as channel},
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
use super::{AppError, DeadLetters, Options, Project, ReplayOptions, ReplaySummary, audit};
use crate::{
    flow::Finding,
    plugin::{Denial, Metric, Runtime},
    storage::{Action, Audit, AuditEntry, AuditFilter, AuditPage, DeadLetterFilter, Store},
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
        let runtime = Project::lasting_runtime()?;
        runtime.tell_denials(audit::denials(&audit));
        let shared = Arc::new(Shared {
            letters: DeadLetters::of(Arc::clone(&store)),
            kept: Kept::new(&state),
            drain: options.drain,
            probation_ms: u64::try_from(WATCHED_PROBATION.as_millis()).unwrap_or(u64::MAX),
            swaps: Swaps::default(),
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
        let mut flows = self.write();
        if let Some(other) = flows.get(&name) {
            if complain {
                tracing::error!(
                    "{} is not run: {} has the name `{name}`",
                    file.display(),
                    other.file.display()
                );
            }
            return false;
        }
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
        flows.insert(name, handle);
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

    async fn ask<T>(
        &self,
        name: &str,
        order: impl FnOnce(oneshot::Sender<T>) -> Order,
    ) -> Result<T, DaemonError> {
        let orders = {
            let flows = self.read();
            let flow = flows.get(name).ok_or_else(|| missing(name, &flows))?;
            flow.orders.clone()
        };
        let (answer, answered) = oneshot::channel();
        let sent = orders.send(order(answer)).await;
        sent.map_err(|_| DaemonError::Ending)?;
        answered.await.map_err(|_| DaemonError::Ending)
    }

    /// Starts a run of a flow.
    ///
    /// # Errors
    /// It runs already, or cannot.
    pub async fn start_flow(
        &self,
        name: &str,
        from_start: bool,
        actor: &str,
    ) -> Result<(), DaemonError> {
        let actor = actor.to_owned();
        self.ask(name, |answer| Order::Start {
            from_start,
            actor,
            answer,
        })
        .await?
    }

    /// Ends the run of a flow in good order. It is not started again before somebody asks for that.
    ///
    /// # Errors
    /// There is no such flow.
    pub async fn stop_flow(&self, name: &str, actor: &str) -> Result<(), DaemonError> {
        let actor = actor.to_owned();
        self.ask(name, |answer| Order::Stop { actor, answer })
            .await?
    }

    /// Lets a flow read nothing more; what was read is settled and checkpointed.
    ///
    /// # Errors
    /// It does not run.
    pub async fn pause_flow(&self, name: &str, actor: &str) -> Result<(), DaemonError> {
        let actor = actor.to_owned();
        self.ask(name, |answer| Order::Pause { actor, answer })
            .await?
    }

    /// Lets a paused flow read again.
    ///
    /// # Errors
    /// It does not run.
    pub async fn resume_flow(&self, name: &str, actor: &str) -> Result<(), DaemonError> {
        let actor = actor.to_owned();
        self.ask(name, |answer| Order::Resume { actor, answer })
            .await?
    }

    /// Begins to put another version in the place of a stage.
    ///
    /// # Errors
    /// There is no such stage, or another swap is under way. Everything else is told by the swap.
    pub async fn swap(
        &self,
        flow: &str,
        options: SwapOptions,
        actor: &str,
    ) -> Result<SwapView, DaemonError> {
        let (actor, options) = (actor.to_owned(), Box::new(options));
        let begun = self.ask(flow, |answer| Order::Swap {
            options,
            actor,
            answer,
        });
        self.swap_status(begun.await??)
    }

    /// Begins to put the version before back in the place of a stage.
    ///
    /// # Errors
    /// There is none, or another swap is under way.
    pub async fn rollback(
        &self,
        flow: &str,
        stage: &str,
        actor: &str,
    ) -> Result<SwapView, DaemonError> {
        let (actor, stage) = (actor.to_owned(), stage.to_owned());
        let begun = self.ask(flow, |answer| Order::Rollback {
            stage,
            actor,
            answer,
        });
        self.swap_status(begun.await??)
    }

    /// The swaps since the daemon started, oldest first.
    pub fn swaps(&self) -> Vec<SwapView> {
        let all = self.0.shared.swaps.all();
        all.iter().map(|record| record.view()).collect()
    }

    /// One swap.
    ///
    /// # Errors
    /// There is none with this number.
    pub fn swap_status(&self, id: u64) -> Result<SwapView, DaemonError> {
        Ok(self.record(id)?.view())
    }

    /// Waits until a swap is over, or for `longest`.
    ///
    /// # Errors
    /// There is none with this number.
    pub async fn wait_for_swap(&self, id: u64, longest: Duration) -> Result<SwapView, DaemonError> {
        let record = self.record(id)?;
        let ended = tokio::time::timeout(longest, swapping::ended(&record)).await;
        Ok(ended.unwrap_or_else(|_| record.view()))
    }

    /// Calls a swap off: the old version stays or comes back.
    ///
    /// # Errors
    /// There is none with this number, or it is over.
    pub fn cancel_swap(&self, id: u64, actor: &str) -> Result<SwapView, DaemonError> {
        let record = self.record(id)?;
        let view = record.view();
        if view.status.state.is_final() {
            return Err(DaemonError::Conflict(format!(
                "swap {id} is over: {}",
                view.status.state.as_str()
            )));
        }
        record.cancel.cancel();
        let entry = AuditEntry::new(Action::SwapFailed, actor)
            .flow(&view.flow)
            .stage(&view.stage)
            .detail(format!("swap {id} was called off"));
        self.0.shared.audit.record(entry);
        Ok(view)
    }

    fn record(&self, id: u64) -> Result<Arc<swap::Record>, DaemonError> {
        let record = self.0.shared.swaps.get(id);
        record.ok_or_else(|| {
            DaemonError::Missing(format!(
                "there is no swap {id} since this daemon started; `crossdock audit` knows older ones"
            ))
        })
    }

    /// The dead letters of the project.
    pub fn dead_letters(&self) -> &DeadLetters {
        &self.0.shared.letters
    }

    /// Gives dead letters of a flow again: to its run, or, when it has none, to one that reads nothing else.
    ///
    /// # Errors
    /// There is no such flow, or they cannot be given.
    pub async fn replay(
        &self,
        flow: &str,
        filter: &DeadLetterFilter,
        with: Option<String>,
        actor: &str,
    ) -> Result<ReplaySummary, DaemonError> {
        let entry = AuditEntry::new(Action::DeadLettersReplayed, actor).flow(flow);
        let commands = self.ask(flow, Order::Commands).await?;
        if let Some(commands) = commands {
            if let Some(with) = with {
                return Err(DaemonError::Conflict(format!(
                    "flow `{flow}` runs: swap the stage of these dead letters to {with} first and give them again \
                     then, or stop the flow"
                )));
            }
            self.0.shared.audit.record(entry);
            // It goes on when whoever asked has gone: dead letters on their way must not be given a second time.
            let (shared, flow, filter) =
                (Arc::clone(&self.0.shared), flow.to_owned(), filter.clone());
            let given =
                tokio::spawn(async move { shared.letters.replay(&flow, &filter, &commands).await });
            return Ok(given.await.map_err(|_| DaemonError::Ending)??);
        }
        let project = self.ask(flow, Order::Project).await?;
        let turn = {
            let flows = self.read();
            let flow = flows.get(flow).ok_or_else(|| missing(flow, &flows))?;
            Arc::clone(&flow.turn).try_lock_owned()
        };
        let (Some(project), Ok(turn)) = (project, turn) else {
            return Err(DaemonError::Conflict(format!(
                "flow `{flow}` is about to run, or has no valid file; try again when it runs"
            )));
        };
        self.0.shared.audit.record(entry);
        let options = ReplayOptions {
            filter: filter.clone(),
            with,
            actor: actor.to_owned(),
            stop: self.0.shared.ending.clone(),
            progress: channel::channel(super::Progress::default()).0,
        };
        let shared = Arc::clone(&self.0.shared);
        let given = tokio::spawn(async move {
            let _turn = turn;
            Box::pin(project.replay(&shared.letters, options)).await
        });
        Ok(given.await.map_err(|_| DaemonError::Ending)??)
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
    let entries = std::fs::read_dir(&flows).map_err(|source| AppError::Read {
        path: flows.clone(),
        source,
    })?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|own| own == "yaml" || own == "yml")
        })
        .collect();
    files.sort();
    Ok(files)
}
