//! One run of a flow inside of the daemon, and how it is opened.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    sync::{OwnedMutexGuard, mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    memory::{Base, Version},
    watch::Stamps,
};
use crate::{
    app::{
        AppError, Delivery, Progress, Project, RunSummary, audit,
        run::{Wiring, label, until_stopped},
    },
    engine::run::{Command, Control, RunError, run},
    flow::{PluginRef, has_errors},
    storage::{Checkpoint, Journal},
};

/// A flow as its file says it, with the components that this means.
pub(super) struct Planned {
    /// The flow, with plugins at their place in the folder of kept components.
    pub(super) project: Project,
    /// What the file says, by stage.
    pub(super) bases: BTreeMap<String, Base>,
    /// The version of every stage.
    pub(super) versions: BTreeMap<String, Version>,
    /// The files that it was planned with: another one of them means another plan.
    pub(super) files: Stamps,
}

/// Plans a flow and keeps its components. Blocks: it reads files.
///
/// # Errors
/// The flow is not right, or is another one than the daemon knows by this file.
pub(super) fn plan(shared: &Shared, file: &Path, flow: &str) -> Result<Planned, AppError> {
    let options = shared.options_for(file);
    // Which files there are is said by the flow's file; what is in them counts from when they were stamped.
    let files = Stamps::take(Project::open(&options)?.files(file));
    let mut project = Project::open(&options)?;
    if project.plan.name != flow {
        let message = format!(
            "{} says that it is flow `{}`, and the daemon knows it as `{flow}`",
            file.display(),
            project.plan.name
        );
        let advice = "`serve --watch` takes a new name over; otherwise start the daemon again";
        let finding = crate::flow::Finding::error("flow.renamed", message);
        return Err(AppError::Findings(vec![finding.advice(advice)]));
    }
    let mut findings = Vec::new();
    let (mut bases, mut versions) = (BTreeMap::new(), BTreeMap::new());
    let mut placed = Vec::new();
    for resolved in project.resolve(&mut findings) {
        let (stage, digest) = (resolved.stage, resolved.inspection.digest.clone());
        let base = Base {
            reference: stage.plugin.to_string(),
            digest: digest.clone(),
            config_digest: stage.config_digest().to_owned(),
        };
        bases.insert(stage.name.clone(), base);
        let manifest = resolved.inspection.manifest.as_ref();
        let version = Version {
            plugin: manifest.map_or_else(|| stem(&resolved.path), |m| m.name.clone()),
            version: manifest.map_or_else(|| "0.0.0".to_owned(), |m| m.version.clone()),
            digest: digest.clone(),
            config: stage.config.clone(),
            config_digest: crate::plugin::config_digest(&stage.config),
            plan_digest: stage.config_digest().to_owned(),
        };
        versions.insert(stage.name.clone(), version);
        let place = shared.kept.keep(&resolved.path, &digest).map_err(keeping)?;
        placed.push(stage.replaced(PluginRef::Path(place), stage.config.clone()));
    }
    if has_errors(&findings) {
        return Err(AppError::Findings(findings));
    }
    for stage in placed {
        project.plan.put(stage);
    }
    Ok(Planned {
        project,
        bases,
        versions,
        files,
    })
}

pub(super) fn keeping(source: std::io::Error) -> AppError {
    AppError::Keep(source)
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

impl Project {
    /// The files that decide what runs.
    fn files(&self, flow_file: &Path) -> Vec<PathBuf> {
        let plugins = self.plan.stages().filter_map(|stage| match &stage.plugin {
            PluginRef::Path(path) => Some(path.clone()),
            PluginRef::Name(name) => Some(self.locator.find(name).ok()?.path),
        });
        std::iter::once(flow_file.to_owned())
            .chain(self.plan.files.iter().cloned())
            .chain(plugins)
            .collect()
    }
}

impl Planned {
    /// Puts versions that were swapped in into their places. Blocks.
    pub(super) fn put(&mut self, shared: &Shared, stage: &str, version: &Version) {
        let Some(own) = self.project.plan.stages().find(|own| own.name == stage) else {
            return;
        };
        let place = PluginRef::Path(shared.kept.path(&version.digest));
        let replaced = own.replaced(place, version.config.clone());
        self.project.plan.put(replaced);
        self.versions.insert(stage.to_owned(), version.clone());
    }
}

/// What happens to a run.
pub(super) enum LiveEvent {
    /// It has something new to tell.
    Progressed,
    /// It is over.
    Ended(Box<Result<RunSummary, AppError>>),
}

/// A run that is under way.
pub(super) struct Live {
    /// What runs.
    pub(super) project: Arc<Project>,
    /// What its stages share.
    pub(super) wiring: Arc<Wiring>,
    /// What the flow promises.
    pub(super) delivery: Delivery,
    /// Where it is asked for swaps and replays.
    pub(super) commands: mpsc::Sender<Command>,
    /// `true`: it reads nothing.
    pub(super) pause: watch::Sender<bool>,
    /// Cancelled: it drains, checkpoints and ends.
    pub(super) stop: CancellationToken,
    /// How it goes.
    pub(super) progress: watch::Receiver<Progress>,
    task: JoinHandle<Result<RunSummary, AppError>>,
}

impl Live {
    /// Opens a run and starts it.
    pub(super) async fn start(
        shared: &Arc<Shared>,
        project: Arc<Project>,
        paused: bool,
        from_start: bool,
        turn: OwnedMutexGuard<()>,
    ) -> Result<Self, AppError> {
        let (delivery, rewound) = {
            let mut findings = Vec::new();
            let resolved = tokio::task::block_in_place(|| project.resolve(&mut findings));
            if has_errors(&findings) {
                return Err(AppError::Findings(findings));
            }
            let outputs = project.outputs(&resolved);
            let claimed = shared.writers.claim(&project.plan.name, outputs);
            claimed.map_err(AppError::Findings)?;
            (label(&resolved), from_start)
        };
        if rewound {
            shared.store.forget(&project.plan.name).await?;
        }
        let journal: Arc<dyn Journal> = Arc::clone(&shared.store) as _;
        let connections = tokio::task::block_in_place(|| project.sound(Vec::new()))?;
        let wiring = Arc::new(Wiring::new(Arc::clone(&journal), connections));
        let (commands, asked) = mpsc::channel(4);
        let (pause, paused) = watch::channel(paused);
        let (told, progress) = watch::channel(Progress::default());
        let stop = CancellationToken::new();
        let control = Control {
            stop: stop.clone(),
            pause: paused,
            commands: asked,
            progress: told,
        };
        let task = {
            let (shared, project, wiring) = (
                Arc::clone(shared),
                Arc::clone(&project),
                Arc::clone(&wiring),
            );
            tokio::spawn(async move {
                let _turn = turn;
                moving(&shared, &project, &wiring, journal, control).await
            })
        };
        Ok(Self {
            project,
            wiring,
            delivery,
            commands,
            pause,
            stop,
            progress,
            task,
        })
    }

    /// What happens next to a run; without one never ready. Cancel safe.
    pub(super) async fn event(live: &mut Option<Self>) -> LiveEvent {
        let Some(live) = live else {
            return std::future::pending().await;
        };
        let (task, progress) = (&mut live.task, &mut live.progress);
        let ended = tokio::select! {
            biased;
            ended = &mut *task => ended,
            changed = progress.changed() => match changed {
                Ok(()) => return LiveEvent::Progressed,
                // The run is over, and only its task says how.
                Err(_) => task.await,
            },
        };
        let ended = ended.unwrap_or_else(|error| Err(RunError::Task(error.to_string()).into()));
        LiveEvent::Ended(Box::new(ended))
    }
}

async fn moving(
    shared: &Arc<Shared>,
    project: &Project,
    wiring: &Wiring,
    journal: Arc<dyn Journal>,
    control: Control,
) -> Result<RunSummary, AppError> {
    let mut findings = Vec::new();
    let resolved = tokio::task::block_in_place(|| project.resolve(&mut findings));
    audit::grants_changed(
        &project.plan,
        &resolved,
        &shared.store,
        &shared.audit,
        audit::HOST,
    )
    .await?;
    let mut settings = project.settings();
    settings.drain = shared.drain;
    let kept = settings.keep.now();
    let expired = shared
        .store
        .retain_dead_letters(&project.plan.name, kept)
        .await?;
    let checkpoint: Option<Checkpoint> = journal.checkpoint(&project.plan.name)?;
    let loading = project.pipeline(&shared.runtime, &resolved, wiring);
    let Some(pipeline) = until_stopped(loading, &control.stop).await? else {
        return Ok(project.not_begun(checkpoint, &resolved));
    };
    let overlay = Arc::clone(&wiring.overlay);
    // A run's state is large; boxed, it does not have to fit into the task.
    let running = Box::pin(run(
        pipeline, settings, journal, overlay, checkpoint, control,
    ));
    let mut summary = running.await.map_err(|error| project.locate(error))?;
    summary.expired += expired;
    Ok(project.summary(summary, &resolved))
}
