//! The swap of a flow that is under way: from the order to the last state.

use std::sync::Arc;

use tokio::{sync::watch, task::JoinHandle};

use super::{
    DaemonError,
    memory::{Memory, Pending, Swapped, Version},
    supervisor::Supervisor,
    swap::{Place, Prepared, Record, SwapOptions, SwapView, prepare},
};
use crate::{
    app::{Label, audit, run::Wiring},
    engine::{
        run::Command,
        swap::{SwapState, SwapStatus},
    },
    flow::StagePlan,
    storage::{Action, AuditEntry, Journal},
};

/// Why a swap ended that somebody did not want any more.
const CALLED_OFF: &str = "it was called off";

/// See the module's documentation.
pub(super) struct UnderWay {
    pub(super) record: Arc<Record>,
    stage: String,
    from: Version,
    /// What the stages of the run share that it was prepared for; `None` without a run.
    run: Option<Arc<Wiring>>,
    step: Step,
    told: Option<SwapState>,
    /// It was asked for as a rollback, of a version that no rollback had put there.
    goes_back: bool,
}

enum Step {
    /// Found, judged, compiled.
    Preparing(JoinHandle<Result<Prepared, String>>),
    /// The run has it.
    Asked {
        version: Version,
        stage: Box<StagePlan>,
        status: watch::Receiver<SwapStatus>,
    },
    /// The run is ending and tells no more: its last checkpoint will say what came of it.
    Left {
        version: Version,
        stage: Box<StagePlan>,
    },
}

/// What happens to a swap.
pub(super) enum SwapEvent {
    /// It is prepared, or refused.
    Prepared(Box<Result<Prepared, String>>),
    /// The run tells how it goes.
    Told(Box<SwapStatus>),
    /// The run tells no more.
    Silent,
}

impl UnderWay {
    /// The next event; without a swap never ready. Cancel safe.
    pub(super) async fn event(swap: &mut Option<Self>) -> SwapEvent {
        let Some(swap) = swap else {
            return std::future::pending().await;
        };
        match &mut swap.step {
            Step::Preparing(task) => SwapEvent::Prepared(Box::new(
                task.await.unwrap_or_else(|error| Err(error.to_string())),
            )),
            Step::Asked { status, .. } => match status.changed().await {
                Ok(()) => SwapEvent::Told(Box::new(status.borrow_and_update().clone())),
                Err(_) => SwapEvent::Silent,
            },
            Step::Left { .. } => std::future::pending().await,
        }
    }
}

impl Supervisor {
    /// Begins a swap. Its number; everything else is told by its record.
    pub(super) fn begin_swap(
        &mut self,
        options: SwapOptions,
        actor: &str,
    ) -> Result<u64, DaemonError> {
        if let Some(swap) = &self.swap {
            return Err(DaemonError::Conflict(format!(
                "swap {} of stage `{}` is under way; a flow swaps one stage at a time",
                swap.record.view().id,
                swap.stage
            )));
        }
        let Some(project) = self.project.clone() else {
            return Err(DaemonError::Conflict(format!(
                "flow `{}` has no valid file; `crossdock flow status {}` says what is wrong",
                self.flow, self.flow
            )));
        };
        let Some(from) = self.versions.get(&options.stage).cloned() else {
            let names: Vec<&str> = project.plan.stages().map(|s| s.name.as_str()).collect();
            return Err(DaemonError::Missing(format!(
                "flow `{}` has no stage `{}`; it has `{}`",
                self.flow,
                options.stage,
                names.join("`, `")
            )));
        };
        let record = self
            .shared
            .swaps
            .begin(&self.flow, &options.stage, actor, &from);
        let id = record.view().id;
        let place = if let Some(live) = &self.live {
            Place::of(live, from.clone())
        } else {
            let journal: Arc<dyn Journal> = Arc::clone(&self.shared.store) as _;
            let connections = tokio::task::block_in_place(|| project.sound(Vec::new()));
            let connections = connections.map_err(|error| {
                DaemonError::Invalid(error.to_string(), error.findings().to_vec())
            })?;
            Place {
                wiring: Arc::new(Wiring::new(journal, connections)),
                project,
                label: Label::AtMostOnce,
                from: from.clone(),
            }
        };
        let stage = options.stage.clone();
        let task = {
            let (shared, record) = (Arc::clone(&self.shared), Arc::clone(&record));
            tokio::spawn(async move {
                tokio::select! {
                    biased;
                    () = record.cancel.cancelled() => Err(CALLED_OFF.to_owned()),
                    prepared = prepare(&shared, &place, &options, &record) => prepared,
                }
            })
        };
        self.swap = Some(UnderWay {
            record,
            stage,
            from,
            run: self.live.as_ref().map(|live| Arc::clone(&live.wiring)),
            step: Step::Preparing(task),
            told: None,
            goes_back: false,
        });
        self.note(SwapState::Prepare, None);
        self.status.send_modify(|status| status.swap = Some(id));
        Ok(id)
    }

    /// A swap to the version before.
    pub(super) fn roll_back(
        &mut self,
        stage: &str,
        again: bool,
        actor: &str,
    ) -> Result<u64, DaemonError> {
        let swapped = self.memory.stages.get(stage);
        let undoes = swapped.is_some_and(|swapped| swapped.rolled_back);
        let Some(previous) = swapped.and_then(|swapped| swapped.previous.clone()) else {
            return Err(DaemonError::Conflict(format!(
                "stage `{stage}` of flow `{}` was not swapped since its file changed: there is no version to go back to",
                self.flow
            )));
        };
        let running = self.versions.get(stage);
        let what = running.map_or_else(String::new, |running| previous.beside(running));
        if undoes && !again {
            return Err(DaemonError::Conflict(format!(
                "stage `{stage}` of flow `{}` was rolled back already; once more would undo that and put {what} back: if \
                 that is what you want, say --again",
                self.flow
            )));
        }
        let mut options = SwapOptions::new(stage);
        let place = self.shared.kept.path(&previous.digest);
        options.plugin = Some(place.display().to_string());
        options.config = Some(previous.config);
        // It has proved itself before.
        options.probation_ms = 0;
        let id = self.begin_swap(options, actor)?;
        if let Some(swap) = &mut self.swap {
            swap.goes_back = !undoes;
        }
        self.shared.audit.record(
            AuditEntry::new(Action::RolledBack, actor)
                .flow(&self.flow)
                .stage(stage)
                .detail(format!("asked for, by swap {id}, to {what}")),
        );
        Ok(id)
    }

    pub(super) async fn on_swap_event(&mut self, event: SwapEvent) {
        match event {
            SwapEvent::Prepared(prepared) => match *prepared {
                Ok(prepared) => self.on_prepared(prepared).await,
                Err(reason) => self.end_swap(SwapState::Refused, Some(reason)),
            },
            SwapEvent::Told(status) => self.on_told(&status),
            SwapEvent::Silent => self.on_silent(),
        }
    }

    async fn on_prepared(&mut self, prepared: Prepared) {
        let Some(swap) = &mut self.swap else { return };
        if swap.record.cancel.is_cancelled() {
            return self.end_swap(SwapState::Refused, Some(CALLED_OFF.to_owned()));
        }
        let same_run = match (&self.live, &swap.run) {
            (Some(live), Some(run)) => Arc::ptr_eq(&live.wiring, run),
            (Some(_), None) => false,
            (None, _) => true,
        };
        if !same_run {
            let reason = "the flow was started while the version was prepared; ask for it again";
            return self.end_swap(SwapState::Refused, Some(reason.to_owned()));
        }
        let (version, stage) = (prepared.version.clone(), prepared.stage.clone());
        let Some(live) = &self.live else {
            self.take_over(&version, stage);
            let reason = "the flow is not running; its next run begins with this version";
            return self.end_swap(SwapState::Done, Some(reason.to_owned()));
        };
        let (told, status) = watch::channel(SwapStatus::default());
        let request = prepared.request(swap.record.cancel.clone(), told);
        swap.step = Step::Asked {
            version: version.clone(),
            stage: Box::new(stage),
            status,
        };
        let (name, from) = (swap.stage.clone(), swap.from.clone());
        let last = self.shared.store.checkpoint(&self.flow).ok().flatten();
        // Written down before it can happen: see `Memory::settle`.
        if let Some(base) = self.bases.get(&name).cloned() {
            let swapped = self
                .memory
                .stages
                .entry(name)
                .or_insert_with(|| Swapped::new(base.clone()));
            if swapped.base != base || (swapped.in_force.is_none() && !from.is(&base)) {
                swapped.rebase(base, &from);
            }
            swapped.pending = Some(Pending {
                version,
                from,
                after: last.map(|checkpoint| (checkpoint.run, checkpoint.epoch)),
            });
        }
        let commands = live.commands.clone();
        self.remember();
        // A run that has ended drops the request: then the swap ends with it.
        drop(commands.send(Command::Swap(Box::new(request))).await);
    }

    fn on_told(&mut self, status: &SwapStatus) {
        let Some(swap) = &mut self.swap else { return };
        swap.record.change(|view| {
            // The first step was that of the preparation.
            let first = view.status.steps.first().cloned();
            view.status = status.clone();
            if let (Some(first), Some(own)) = (first, view.status.steps.first_mut()) {
                own.at_ms = first.at_ms;
            }
        });
        let fresh = swap.told.replace(status.state) != Some(status.state);
        if !status.state.is_final() {
            // The preparation was noted when it began.
            if fresh && status.state != SwapState::Prepare {
                self.note(status.state, None);
            }
            return;
        }
        if status.state == SwapState::Done
            && let Step::Asked { version, stage, .. } = &swap.step
        {
            let (version, stage) = (version.clone(), (**stage).clone());
            // A version that was handed back to says so in the reason and is not what was asked for.
            self.take_over(&version, stage);
        }
        self.close_swap(status.state, status.reason.clone());
    }

    /// The run tells no more about the swap.
    fn on_silent(&mut self) {
        if self.live.is_none() {
            return self.swap_run_ended();
        }
        let Some(swap) = &mut self.swap else { return };
        if let Step::Asked {
            version,
            stage,
            status,
        } = &swap.step
        {
            let last = status.borrow().clone();
            if last.state.is_final() {
                return self.on_told(&last);
            }
            swap.step = Step::Left {
                version: version.clone(),
                stage: stage.clone(),
            };
        }
    }

    /// The new version is what the flow runs, and will.
    fn take_over(&mut self, version: &Version, stage: StagePlan) {
        let Some(swap) = &self.swap else { return };
        let (name, from) = (swap.stage.clone(), swap.from.clone());
        let goes_back = swap.goes_back;
        if let Some(base) = self.bases.get(&name).cloned() {
            let swapped = self
                .memory
                .stages
                .entry(name.clone())
                .or_insert_with(|| Swapped::new(base.clone()));
            if swapped.base != base {
                swapped.rebase(base, &from);
            }
            swapped.take_over(version.clone(), from);
            swapped.rolled_back = goes_back;
        }
        self.versions.insert(name, version.clone());
        if let Some(project) = &self.project {
            let mut plan = project.plan.clone();
            plan.put(stage);
            let project = Arc::new(project.with(plan));
            if let Some(live) = &mut self.live {
                live.project = Arc::clone(&project);
            }
            self.project = Some(project);
        }
        self.show_stages();
    }

    /// The swap ends without the run.
    fn end_swap(&mut self, state: SwapState, reason: Option<String>) {
        if let Some(swap) = &self.swap {
            let records = swap
                .record
                .view()
                .status
                .steps
                .last()
                .map_or(0, |s| s.records);
            swap.record.end(state, records, reason.clone());
        }
        self.close_swap(state, reason);
    }

    fn close_swap(&mut self, state: SwapState, reason: Option<String>) {
        self.note(state, reason);
        let Some(swap) = self.swap.take() else { return };
        if let Some(swapped) = self.memory.stages.get_mut(&swap.stage) {
            swapped.pending = None;
        }
        // What goes on is the old version, also after a restart, and also when the file says something else by now. When
        // the run is over, the next one begins with what the file says.
        let stays = matches!(state, SwapState::RolledBack | SwapState::Refused);
        if stays
            && self.live.is_some()
            && let Some(base) = self.bases.get(&swap.stage).cloned()
            && !swap.from.is(&base)
        {
            let own = self.memory.stages.entry(swap.stage.clone());
            own.or_insert_with(|| Swapped::new(base.clone()))
                .rebase(base, &swap.from);
        }
        self.memory
            .stages
            .retain(|_, own| own.in_force.is_some() || own.previous.is_some());
        self.remember();
        self.status.send_modify(|status| status.swap = None);
        self.next_change();
    }

    /// The run ended with a swap under way. One that had not switched is over; whether a later one had taken over is said
    /// by the checkpoint.
    pub(super) fn swap_run_ended(&mut self) {
        let Some(swap) = &mut self.swap else { return };
        let (version, stage) = match &swap.step {
            Step::Preparing(_) => return,
            Step::Asked {
                version,
                stage,
                status,
            } => {
                let last = status.borrow().clone();
                if last.state.is_final() {
                    return self.on_told(&last);
                }
                (version.clone(), (**stage).clone())
            }
            Step::Left { version, stage } => (version.clone(), (**stage).clone()),
        };
        let checkpoint = self.shared.store.checkpoint(&self.flow).ok().flatten();
        let made_with = checkpoint.is_some_and(|checkpoint| {
            let state = checkpoint.stages.get(&swap.stage);
            state.is_some_and(|state| {
                state.digest == version.digest && state.config_digest == version.config_digest
            })
        });
        let switched = swap.told >= Some(SwapState::Switch);
        if made_with && switched {
            self.take_over(&version, stage);
            let reason =
                "the run ended in its probation, and its last checkpoint is of the new version";
            return self.end_swap(SwapState::Done, Some(reason.to_owned()));
        }
        self.end_swap(
            SwapState::Refused,
            Some("the run ended before the new version had taken over".to_owned()),
        );
    }

    /// Tells what came of swaps that the end of the process cut off, as the memory before and after the last checkpoint
    /// was looked at says.
    pub(super) fn tell_cut_off(&self, before: &Memory) {
        for (stage, swapped) in &before.stages {
            let Some(pending) = &swapped.pending else {
                continue;
            };
            let now = self.memory.stages.get(stage);
            let taken = now.is_some_and(|now| now.previous.as_ref() == Some(&pending.from));
            let (state, action, reason) = if taken {
                let reason = "the daemon ended in its probation, and its last checkpoint is of the new version";
                (SwapState::Done, Action::SwapDone, reason)
            } else {
                let reason = "the daemon ended in its probation";
                (SwapState::RolledBack, Action::RolledBack, reason)
            };
            let (swaps, version) = (&self.shared.swaps, &pending.version);
            let record = swaps.begin(&self.flow, stage, audit::HOST, &pending.from);
            record.change(|view| view.to = Some(version.into()));
            record.end(state, 0, Some(reason.to_owned()));
            self.shared.audit.record(
                AuditEntry::new(action, audit::HOST)
                    .flow(&self.flow)
                    .stage(stage)
                    .plugin(&version.plugin, &version.version, &version.digest)
                    .detail(format!("{}: {reason}", state.as_str())),
            );
        }
    }

    /// The daemon ends.
    pub(super) fn call_off(&mut self, reason: &str) {
        if self.swap.is_some() {
            self.end_swap(SwapState::Refused, Some(reason.to_owned()));
        }
    }

    /// The next stage that differs from the changed file.
    pub(super) fn next_change(&mut self) {
        while self.swap.is_none()
            && let Some(change) = self.changes.pop()
        {
            let stage = change.stage.clone();
            if let Err(error) = self.begin_swap(change, "watch") {
                tracing::warn!(flow = %self.flow, stage, "the change is not taken over: {error}");
            }
        }
    }

    /// A line in the audit log about the swap.
    fn note(&self, state: SwapState, reason: Option<String>) {
        let Some(swap) = &self.swap else { return };
        let view = swap.record.view();
        let version = view.to.as_ref().unwrap_or(&view.from);
        let action = match state {
            SwapState::Prepare | SwapState::Shadow => Action::SwapStarted,
            SwapState::Switch | SwapState::Probation => Action::SwapSwitched,
            SwapState::Done => Action::SwapDone,
            SwapState::RolledBack => Action::RolledBack,
            SwapState::Refused => Action::SwapFailed,
        };
        let actor = if state == SwapState::Prepare {
            view.actor.as_str()
        } else {
            audit::HOST
        };
        let detail = match reason {
            Some(reason) => format!("swap {} {}: {reason}", view.id, state.as_str()),
            None => format!("swap {} {}", view.id, state.as_str()),
        };
        let entry = AuditEntry::new(action, actor)
            .flow(&view.flow)
            .stage(&view.stage)
            .plugin(&version.plugin, &version.version, &version.digest)
            .detail(detail);
        self.shared.audit.record(entry);
    }
}

/// Waits for the end of a swap.
pub(super) async fn ended(record: &Record) -> SwapView {
    let mut watched = record.watch();
    loop {
        let view = watched.borrow_and_update().clone();
        if view.status.state.is_final() || watched.changed().await.is_err() {
            return view;
        }
    }
}
