//! The swap of a flow that is under way: from the order to the last state.

use std::sync::Arc;

use tokio::{sync::watch, task::JoinHandle};

use super::{
    DaemonError,
    memory::{Swapped, Version},
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

/// See the module's documentation.
pub(super) struct UnderWay {
    pub(super) record: Arc<Record>,
    stage: String,
    from: Version,
    step: Step,
    told: Option<SwapState>,
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
            tokio::spawn(async move { prepare(&shared, &place, &options, &record).await })
        };
        self.swap = Some(UnderWay {
            record,
            stage,
            from,
            step: Step::Preparing(task),
            told: None,
        });
        self.note(SwapState::Prepare, None);
        self.status.send_modify(|status| status.swap = Some(id));
        Ok(id)
    }

    /// A swap to the version before.
    pub(super) fn roll_back(&mut self, stage: &str, actor: &str) -> Result<u64, DaemonError> {
        let previous = self
            .memory
            .stages
            .get(stage)
            .and_then(|swapped| swapped.previous.clone());
        let Some(previous) = previous else {
            return Err(DaemonError::Conflict(format!(
                "stage `{stage}` of flow `{}` was not swapped since its file changed: there is no version to go back to",
                self.flow
            )));
        };
        let mut options = SwapOptions::new(stage);
        let place = self.shared.kept.path(&previous.digest);
        options.plugin = Some(place.display().to_string());
        options.config = Some(previous.config);
        // It has proved itself before.
        options.probation_ms = 0;
        let id = self.begin_swap(options, actor)?;
        self.shared.audit.record(
            AuditEntry::new(Action::RolledBack, actor)
                .flow(&self.flow)
                .stage(stage)
                .detail(format!("asked for, by swap {id}")),
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
            SwapEvent::Silent => self.swap_run_ended(),
        }
    }

    async fn on_prepared(&mut self, prepared: Prepared) {
        let Some(swap) = &mut self.swap else { return };
        if swap.record.cancel.is_cancelled() {
            return self.end_swap(SwapState::Refused, Some("it was called off".to_owned()));
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
        let name = swap.stage.clone();
        // Written down before it can happen: see `Memory::settle`.
        if let Some(base) = self.bases.get(&name).cloned() {
            let swapped = self
                .memory
                .stages
                .entry(name)
                .or_insert_with(|| Swapped::new(base.clone()));
            if swapped.base != base {
                *swapped = Swapped::new(base);
            }
            swapped.pending = Some(version);
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

    /// The new version is what the flow runs, and will.
    fn take_over(&mut self, version: &Version, stage: StagePlan) {
        let Some(swap) = &self.swap else { return };
        let (name, from) = (swap.stage.clone(), swap.from.clone());
        if let Some(base) = self.bases.get(&name).cloned() {
            let swapped = self
                .memory
                .stages
                .entry(name.clone())
                .or_insert_with(|| Swapped::new(base.clone()));
            if swapped.base != base {
                *swapped = Swapped::new(base.clone());
            }
            swapped.take_over(version.clone(), from);
            if version.digest == base.digest
                && self
                    .project
                    .as_ref()
                    .is_some_and(|_| stage.config_digest() == base.config_digest)
            {
                // That is what the file says.
                swapped.in_force = None;
            }
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
        let Step::Asked { status, .. } = &mut swap.step else {
            return;
        };
        let last = status.borrow().clone();
        if last.state.is_final() {
            return self.on_told(&last);
        }
        self.end_swap(
            SwapState::Refused,
            Some("the run ended before the new version had taken over".to_owned()),
        );
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
