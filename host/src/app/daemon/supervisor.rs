//! One flow of the daemon: its runs one after the other, what operators ask of it, and its swaps. One task per flow, so
//! that nothing that happens to one flow waits for another.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    DaemonError, Shared,
    live::{self, Live, LiveEvent},
    memory::{Base, Memory, Version, Wanted},
    status::{FlowState, FlowStatus, StageView},
    swap::SwapOptions,
    swapping::UnderWay,
    watch::Stamps,
};
use crate::{
    app::{AppError, Outcome, Phase, Project, RunSummary, audit},
    engine::{
        dead_letter::now_ms,
        run::{Command, RunError},
    },
    storage::{Action, AuditEntry, Journal as _},
};

/// Before a failed flow is started again the first time; doubles.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest that a failed flow waits.
const LAST_RETRY: Duration = Duration::from_mins(5);
/// A run that went on for this long was well: the next failure waits for a short time again.
const WELL: Duration = Duration::from_mins(10);

/// What a flow says whose file cannot be taken over while it runs.
const NOT_TAKEN: &str = "the changed file is not taken over";

type Answer<T> = oneshot::Sender<Result<T, DaemonError>>;

/// What a flow is asked.
pub(super) enum Order {
    /// Start a run.
    Start {
        from_start: bool,
        actor: String,
        answer: Answer<()>,
    },
    /// End the run in good order, and start none.
    Stop { actor: String, answer: Answer<()> },
    /// Read nothing.
    Pause { actor: String, answer: Answer<()> },
    /// Read again.
    Resume { actor: String, answer: Answer<()> },
    /// Put another version in the place of a stage. Answers with the swap's number.
    Swap {
        options: Box<SwapOptions>,
        actor: String,
        answer: Answer<u64>,
    },
    /// Put the version before back in the place of a stage.
    Rollback {
        stage: String,
        /// Also when that undoes a rollback.
        again: bool,
        actor: String,
        answer: Answer<u64>,
    },
    /// Where the run can be asked, when there is one.
    Commands(oneshot::Sender<Option<mpsc::Sender<Command>>>),
    /// Where the flow is that would run, when there is none.
    Project(oneshot::Sender<Option<Arc<Project>>>),
    /// The file, or one that it names, has changed.
    Reload,
    /// The daemon ends.
    Shutdown,
}

/// See the module's documentation.
pub(super) struct Supervisor {
    pub(super) shared: Arc<Shared>,
    pub(super) flow: String,
    file: PathBuf,
    orders: mpsc::Receiver<Order>,
    pub(super) status: watch::Sender<FlowStatus>,
    pub(super) memory: Memory,
    /// Whether the memory was read. One that cannot be read is never overwritten.
    remembers: bool,
    /// What runs, or would.
    pub(super) project: Option<Arc<Project>>,
    pub(super) bases: BTreeMap<String, Base>,
    pub(super) versions: BTreeMap<String, Version>,
    files: watch::Sender<Stamps>,
    /// See [`super::Handle`].
    turn: Arc<Mutex<()>>,
    pub(super) live: Option<Live>,
    run_started: Instant,
    retry_at: Option<Instant>,
    restarts: u32,
    /// A run starts as soon as the one that is ending is over.
    again: bool,
    pub(super) swap: Option<UnderWay>,
    /// Stages that differ from the changed file, one swap after the other.
    pub(super) changes: Vec<SwapOptions>,
    ending: bool,
}

/// Somebody who has not waited for the answer has no use for it.
fn tell<T>(answer: Answer<T>, result: Result<T, DaemonError>) {
    drop(answer.send(result));
}

impl Supervisor {
    pub(super) fn new(
        shared: Arc<Shared>,
        flow: String,
        file: PathBuf,
        orders: mpsc::Receiver<Order>,
        status: watch::Sender<FlowStatus>,
        files: watch::Sender<Stamps>,
        turn: Arc<Mutex<()>>,
    ) -> Self {
        Self {
            shared,
            flow,
            file,
            orders,
            status,
            memory: Memory::default(),
            remembers: false,
            project: None,
            bases: BTreeMap::new(),
            versions: BTreeMap::new(),
            files,
            turn,
            live: None,
            run_started: Instant::now(),
            retry_at: None,
            restarts: 0,
            again: false,
            swap: None,
            changes: Vec::new(),
            ending: false,
        }
    }

    /// Runs until the daemon ends.
    pub(super) async fn supervise(mut self) {
        if self.recall() {
            if self.memory.wanted == Wanted::Stopped {
                self.load();
                if self.status.borrow().state != FlowState::Failed {
                    self.enter(FlowState::Stopped, None);
                }
            } else {
                self.begin(false).await;
            }
        }
        while !(self.ending && self.live.is_none()) {
            let retry = self.retry_at.unwrap_or_else(Instant::now);
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.on_order(order).await,
                    None => self.on_order(Order::Shutdown).await,
                },
                event = Live::event(&mut self.live) => match event {
                    LiveEvent::Ended(ended) => self.on_ended(*ended).await,
                    LiveEvent::Progressed => self.on_progress(),
                },
                event = UnderWay::event(&mut self.swap) => self.on_swap_event(event).await,
                () = tokio::time::sleep_until(retry), if self.retry_at.is_some() => {
                    self.retry_at = None;
                    self.begin(false).await;
                }
            }
        }
        self.call_off("the daemon ends");
        self.shared.writers.release(&self.flow);
    }

    async fn on_order(&mut self, order: Order) {
        match order {
            Order::Start {
                from_start,
                actor,
                answer,
            } => {
                let started = self.start(from_start, &actor).await;
                tell(answer, started);
            }
            Order::Stop { actor, answer } => {
                self.again = false;
                self.want(Wanted::Stopped);
                self.record(Action::FlowStopped, &actor, "asked to stop");
                self.stop("what was read is brought to its end");
                tell(answer, Ok(()));
            }
            Order::Pause { actor, answer } => {
                let done = self.pause(true, &actor);
                tell(answer, done);
            }
            Order::Resume { actor, answer } => {
                let done = self.pause(false, &actor);
                tell(answer, done);
            }
            Order::Swap {
                options,
                actor,
                answer,
            } => tell(answer, self.begin_swap(*options, &actor)),
            Order::Rollback {
                stage,
                again,
                actor,
                answer,
            } => tell(answer, self.roll_back(&stage, again, &actor)),
            Order::Commands(answer) => {
                let commands = self.live.as_ref().map(|live| live.commands.clone());
                drop(answer.send(commands));
            }
            Order::Project(answer) => drop(answer.send(self.project.clone())),
            Order::Reload => self.reload().await,
            Order::Shutdown => {
                self.ending = true;
                self.again = false;
                self.retry_at = None;
                self.stop("the daemon ends");
            }
        }
    }

    async fn start(&mut self, from_start: bool, actor: &str) -> Result<(), DaemonError> {
        match &self.live {
            Some(live) if live.stop.is_cancelled() && !from_start => {
                self.again = true;
                self.want(Wanted::Running);
                return Ok(());
            }
            Some(_) => {
                return Err(DaemonError::Conflict(format!(
                    "flow `{}` is running already; stop it first",
                    self.flow
                )));
            }
            None => {}
        }
        self.want(Wanted::Running);
        if from_start {
            self.record(Action::CheckpointForgotten, actor, "");
        }
        self.record(Action::FlowStarted, actor, "asked to start");
        self.restarts = 0;
        self.retry_at = None;
        self.begin(from_start).await;
        let status = self.status.borrow();
        if status.state == FlowState::Failed {
            let reason = status.reason.clone().unwrap_or_default();
            return Err(DaemonError::Invalid(reason, status.findings.clone()));
        }
        Ok(())
    }

    /// Ends the run in good order.
    fn stop(&mut self, reason: &str) {
        self.retry_at = None;
        match &self.live {
            Some(live) => {
                live.stop.cancel();
                self.enter(FlowState::Stopping, Some(reason.to_owned()));
            }
            None if !self.ending => self.enter(FlowState::Stopped, None),
            None => {}
        }
    }

    fn pause(&mut self, pause: bool, actor: &str) -> Result<(), DaemonError> {
        let live = self.live.as_ref().filter(|live| !live.stop.is_cancelled());
        let Some(live) = live else {
            return Err(DaemonError::Conflict(format!(
                "flow `{}` is not running; start it with `crossdock flow start {}`",
                self.flow, self.flow
            )));
        };
        live.pause.send_replace(pause);
        let (wanted, detail) = if pause {
            (Wanted::Paused, "paused")
        } else {
            (Wanted::Running, "resumed")
        };
        self.want(wanted);
        self.record(Action::FlowPaused, actor, detail);
        self.on_progress();
        Ok(())
    }

    /// Reads what is remembered, once.
    fn recall(&mut self) -> bool {
        if self.remembers {
            return true;
        }
        match tokio::task::block_in_place(|| Memory::load(&self.shared.state, &self.flow)) {
            Ok(memory) => {
                self.memory = memory;
                self.remembers = true;
            }
            Err(error) => self.enter(FlowState::Failed, Some(error.to_string())),
        }
        self.remembers
    }

    fn want(&mut self, wanted: Wanted) {
        if self.memory.wanted != wanted {
            self.memory.wanted = wanted;
            self.remember();
        }
    }

    /// Writes the memory. A state folder that cannot be written is told; the checkpoint fails then as well.
    pub(super) fn remember(&self) {
        if !self.remembers {
            return;
        }
        let saved =
            tokio::task::block_in_place(|| self.memory.save(&self.shared.state, &self.flow));
        if let Err(error) = saved {
            tracing::error!(flow = %self.flow, "what was asked of the flow cannot be remembered: {error}");
        }
    }

    /// Plans the flow from its file, with what was swapped in.
    fn load(&mut self) -> bool {
        if !self.recall() {
            return false;
        }
        let planned =
            tokio::task::block_in_place(|| live::plan(&self.shared, &self.file, &self.flow));
        let mut planned = match planned {
            Ok(planned) => planned,
            Err(error) => {
                self.fail(&error);
                return false;
            }
        };
        let checkpoint = match self.shared.store.checkpoint(&self.flow) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                self.fail(&error.into());
                return false;
            }
        };
        let before = self.memory.clone();
        for (stage, version) in self.memory.settle(&planned.bases, checkpoint.as_ref()) {
            planned.put(&self.shared, &stage, &version);
        }
        if self.memory != before {
            self.tell_cut_off(&before);
            self.remember();
        }
        self.files.send_replace(planned.files);
        self.project = Some(Arc::new(planned.project));
        self.bases = planned.bases;
        self.versions = planned.versions;
        self.status.send_modify(|status| status.findings.clear());
        self.show_stages();
        true
    }

    /// Starts a run.
    async fn begin(&mut self, from_start: bool) {
        self.retry_at = None;
        if self.live.is_some() || !self.load() {
            return;
        }
        let Some(project) = self.project.clone() else {
            return;
        };
        self.enter(FlowState::Starting, None);
        // Dead letters that are given again without a run end soon, and are bounded.
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let paused = self.memory.wanted == Wanted::Paused;
        match Live::start(&self.shared, project, paused, from_start, turn).await {
            Ok(live) => {
                let delivery = live.delivery.clone();
                self.status.send_modify(|status| {
                    status.delivery = Some(delivery);
                    status.runs += 1;
                    status.last = None;
                });
                self.record(Action::FlowStarted, audit::HOST, "");
                self.live = Some(live);
                self.run_started = Instant::now();
            }
            Err(error) => self.fail(&error),
        }
    }

    async fn on_ended(&mut self, ended: Result<RunSummary, AppError>) {
        self.live = None;
        self.status.send_modify(|status| status.progress = None);
        self.swap_run_ended();
        match ended {
            Ok(summary) => {
                let (state, reason) = match &summary.outcome {
                    Outcome::Finished => (FlowState::Finished, None),
                    Outcome::Stopped => (FlowState::Stopped, None),
                    Outcome::Failed(reason) => (FlowState::Failed, Some(reason.clone())),
                };
                self.restarts = 0;
                self.record(Action::FlowStopped, audit::HOST, state.as_str());
                self.status
                    .send_modify(|status| status.last = Some(summary));
                self.enter(state, reason);
            }
            Err(error) => self.fail(&error),
        }
        if std::mem::take(&mut self.again) && !self.ending {
            self.begin(false).await;
        }
    }

    /// The flow failed: started again when that may help.
    fn fail(&mut self, error: &AppError) {
        tracing::error!(flow = %self.flow, "{error}");
        self.record(
            Action::FlowStopped,
            audit::HOST,
            &format!("failed: {error}"),
        );
        let findings = error.findings().to_vec();
        self.status.send_modify(|status| status.findings = findings);
        if self.ending || self.memory.wanted == Wanted::Stopped || !may_heal(error) {
            self.enter(FlowState::Failed, Some(error.to_string()));
            return;
        }
        if self.run_started.elapsed() > WELL {
            self.restarts = 0;
        }
        let wait = FIRST_RETRY
            .saturating_mul(1 << self.restarts.min(16))
            .min(LAST_RETRY);
        self.restarts += 1;
        self.retry_at = Some(Instant::now() + wait);
        self.enter(FlowState::Retrying, Some(error.to_string()));
        let at = now_ms() + u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.status
            .send_modify(|status| status.retry_at_ms = Some(at));
    }

    /// Takes a changed file over: by swaps where only stages differ, by a new run where the flow itself does.
    async fn reload(&mut self) {
        if self.is_renamed() {
            tracing::info!(flow = %self.flow, "its file has another name now: this flow ends");
            self.ending = true;
            self.again = false;
            return self.stop("its file has another name now");
        }
        let planned =
            tokio::task::block_in_place(|| live::plan(&self.shared, &self.file, &self.flow));
        let planned = match planned {
            Ok(planned) => planned,
            Err(error) if self.live.is_some() => {
                tracing::warn!(flow = %self.flow, "{NOT_TAKEN}: {error}");
                let findings = error.findings().to_vec();
                self.status.send_modify(|status| {
                    status.findings = findings;
                    status.reason = Some(format!("{NOT_TAKEN}: {error}"));
                });
                return;
            }
            Err(error) => return self.fail(&error),
        };
        // A flow that is down because of its file starts as soon as the file is right, whatever it was before.
        let was_wrong = self.live.is_none() && !self.status.borrow().findings.is_empty();
        if planned.bases == self.bases && self.same_frame(&planned.project) && !was_wrong {
            self.status.send_modify(|status| {
                status.findings.clear();
                let is_over = |reason: &String| reason.starts_with(NOT_TAKEN);
                status.reason.take_if(|reason| is_over(reason));
            });
            return;
        }
        self.files.send_replace(planned.files.clone());
        if self.live.is_none() {
            if self.memory.wanted == Wanted::Stopped {
                if self.load() {
                    self.enter(FlowState::Stopped, None);
                }
            } else {
                self.begin(false).await;
            }
            return;
        }
        if !self.same_frame(&planned.project) {
            tracing::info!(flow = %self.flow, "its file has changed: it is started again");
            self.again = self.memory.wanted != Wanted::Stopped;
            return self.stop("its file has changed");
        }
        let fresh: Vec<SwapOptions> = planned
            .bases
            .iter()
            .filter(|(stage, base)| self.bases.get(*stage) != Some(base))
            .filter_map(|(stage, _)| {
                let version = planned.versions.get(stage)?;
                let place = self.shared.kept.path(&version.digest);
                let mut options = SwapOptions::new(stage.clone());
                options.plugin = Some(place.display().to_string());
                options.config = Some(version.config.clone());
                options.probation_ms = self.shared.probation_ms;
                Some(options)
            })
            .collect();
        // Stages that an earlier change still waits for are not forgotten.
        self.changes
            .retain(|change| fresh.iter().all(|own| own.stage != change.stage));
        self.changes.extend(fresh);
        // What swaps have put there is over: the file says something else now.
        self.bases = planned.bases;
        self.next_change();
    }

    /// Whether the file says by now that it is another flow.
    fn is_renamed(&self) -> bool {
        let options = self.shared.options_for(&self.file);
        let named = tokio::task::block_in_place(|| Project::open(&options));
        named.is_ok_and(|project| project.plan.name != self.flow)
    }

    /// Whether a plan differs from what runs in plugins and configs of stages only.
    fn same_frame(&self, other: &Project) -> bool {
        self.project
            .as_ref()
            .is_some_and(|own| own.plan.frame() == other.plan.frame())
    }

    pub(super) fn enter(&self, state: FlowState, reason: Option<String>) {
        let (checkpoint, dead) = tokio::task::block_in_place(|| {
            let checkpoint = self.shared.store.checkpoint(&self.flow).ok().flatten();
            let dead = self.shared.store.count_dead_letters().unwrap_or_default();
            (checkpoint, dead.get(&self.flow).copied().unwrap_or(0))
        });
        self.status.send_modify(|status| {
            if status.state != state {
                status.since_ms = now_ms();
            }
            status.state = state;
            status.reason = reason;
            status.restarts = self.restarts;
            status.retry_at_ms = None;
            status.checkpoint = checkpoint.map(Into::into);
            status.dead_letters = dead;
        });
    }

    /// Shows what is in the place of each stage.
    pub(super) fn show_stages(&self) {
        let Some(project) = &self.project else { return };
        let view = |stage: &crate::flow::StagePlan| {
            let version = self.versions.get(&stage.name)?;
            let swapped = self.memory.stages.get(&stage.name);
            Some(StageView {
                name: stage.name.clone(),
                kind: stage.kind.to_string(),
                version: version.into(),
                swapped: swapped.is_some_and(|swapped| swapped.in_force.is_some()),
            })
        };
        let stages = project.plan.stages().filter_map(view).collect();
        self.status.send_modify(|status| status.stages = stages);
    }

    fn on_progress(&mut self) {
        let Some(live) = &mut self.live else { return };
        let progress = live.progress.borrow_and_update().clone();
        let state = match progress.phase {
            _ if live.stop.is_cancelled() => FlowState::Stopping,
            Phase::Opening => FlowState::Starting,
            Phase::Paused => FlowState::Paused,
            Phase::Running | Phase::Waiting => FlowState::Running,
            Phase::Draining | Phase::Done => FlowState::Stopping,
        };
        let (known, epoch) = {
            let status = self.status.borrow();
            let epoch = status.progress.as_ref().map(|known| known.epoch);
            (status.state, epoch)
        };
        let moved = epoch != Some(progress.epoch);
        self.status
            .send_modify(|status| status.progress = Some(progress));
        if known != state || moved {
            let reason = self.status.borrow().reason.clone();
            self.enter(state, reason.filter(|_| known == state));
        }
    }

    /// A line in the audit log.
    pub(super) fn record(&self, action: Action, actor: &str, detail: &str) {
        let entry = AuditEntry::new(action, actor)
            .flow(&self.flow)
            .detail(detail);
        self.shared.audit.record(entry);
    }
}

/// Whether the same run may go well later, without anybody changing anything.
fn may_heal(error: &AppError) -> bool {
    match error {
        AppError::Run(RunError::StageChanged { .. } | RunError::Unbalanced(_)) => false,
        AppError::Run(_) | AppError::Storage(_) | AppError::Keep(_) => error.exit_code() == 1,
        _ => false,
    }
}
