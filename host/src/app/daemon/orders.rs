//! What a daemon's flows are asked: to run, to stop, to pause, to swap a stage, to take dead letters again. Each question
//! goes to the one flow that it is about.

use std::{sync::Arc, time::Duration};

use tokio::sync::{oneshot, watch as channel};

use super::{
    Daemon, DaemonError, missing,
    supervisor::Order,
    swap::{self, SwapOptions, SwapView},
    swapping,
};
use crate::{
    app::{AppError, Progress, ReplayOptions, ReplaySummary},
    storage::{Action, AuditEntry, DeadLetterFilter},
};

impl Daemon {
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

    /// Begins to put the version before back in the place of a stage. `again`: also when that undoes a rollback.
    ///
    /// # Errors
    /// There is none, it would undo a rollback, or another swap is under way.
    pub async fn rollback(
        &self,
        flow: &str,
        stage: &str,
        again: bool,
        actor: &str,
    ) -> Result<SwapView, DaemonError> {
        let (actor, stage) = (actor.to_owned(), stage.to_owned());
        let begun = self.ask(flow, |answer| Order::Rollback {
            stage,
            again,
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
        let project = self.ask(flow, Order::Project).await?;
        if let Some(project) = &project {
            project.has_stage(filter).map_err(AppError::from)?;
        }
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
            progress: channel::channel(Progress::default()).0,
        };
        let shared = Arc::clone(&self.0.shared);
        let given = tokio::spawn(async move {
            let _turn = turn;
            Box::pin(project.replay(&shared.letters, options)).await
        });
        Ok(given.await.map_err(|_| DaemonError::Ending)??)
    }
}
