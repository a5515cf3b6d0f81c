//! A swap on its way through a run: what the conductor does at each of its steps (see [`super::swap`]).

use std::{sync::Arc, time::Instant};

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{
    conductor::{Conductor, Process},
    fault::Fault,
    lane::Hand,
    run::{End, RunError, StageFailure},
    shadow::Shadow,
    stage::{Mode, Transformer},
    swap::{Candidate, SwapRequest, SwapState, SwapStatus, Switch, open_in_time},
    trial::{Trial, on_trial},
};

/// The share of rejected records is looked at from this many records on; at the end of a probation always.
const FEWEST_RECORDS: u64 = 100;

/// A swap that is under way.
pub struct Swapping {
    request: SwapRequest,
    status: SwapStatus,
    /// The version that is to take over, on trial. When a version is handed back, the old one.
    incoming: Candidate,
    trial: Arc<Trial>,
    step: Step,
    /// Why the new version must go.
    breach: Option<String>,
    /// The old version takes over again, without winding back, and why.
    handing_back: Option<String>,
}

enum Step {
    /// A transformer is opened ahead.
    Opening(AbortOnDropHandle<Result<Box<dyn Transformer>, Fault>>),
    /// Outputs are compared.
    Shadow(Arc<Shadow>, Option<Box<dyn Transformer>>),
    /// The next barrier carries the switch. A stateless transformer is open.
    Ready(Option<Box<dyn Transformer>>),
    /// The barrier is on its way. `true`: it is committed, and only the source has not said yet what came of it.
    Switching(Arc<Switch>, Reading, bool),
    /// The new version works.
    Probation(tokio::time::Instant, Reading),
}

/// What the stage's meter said at the switch.
#[derive(Debug, Clone, Copy, Default)]
struct Reading {
    records: u64,
    rejected: u64,
}

impl Reading {
    fn share(self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a share")]
        let share = self.rejected as f64 / self.records.max(1) as f64;
        share
    }
}

/// What a swap waits for has happened.
pub enum SwapEvent {
    /// The transformer was opened ahead, or not.
    Opened(Result<Box<dyn Transformer>, Fault>),
    /// The comparison has ended.
    Compared,
    /// The new version failed.
    Faulted,
    /// Whoever asked for the swap has thought better of it.
    Cancelled,
}

/// The next event of a swap; without one never ready.
pub async fn event(swap: &mut Option<Swapping>) -> SwapEvent {
    let Some(swap) = swap.as_mut().filter(|s| s.breach.is_none()) else {
        return std::future::pending().await;
    };
    let step = async {
        match &mut swap.step {
            Step::Opening(task) => SwapEvent::Opened(task.await.unwrap_or_else(|error| {
                Err(Fault::new(
                    super::fault::FaultKind::Trap,
                    format!("opening it failed: {error}"),
                ))
            })),
            Step::Shadow(shadow, _) => {
                shadow.ended().await;
                SwapEvent::Compared
            }
            Step::Ready(_) => std::future::pending().await,
            Step::Switching(..) | Step::Probation(..) => {
                swap.trial.failed().await;
                SwapEvent::Faulted
            }
        }
    };
    tokio::select! {
        event = step => event,
        () = swap.request.cancel.cancelled(), if swap.handing_back.is_none() => SwapEvent::Cancelled,
    }
}

impl Swapping {
    /// When its probation ends.
    pub fn timer(&self) -> Option<tokio::time::Instant> {
        match self.step {
            Step::Probation(until, _) if self.breach.is_none() => Some(until),
            _ => None,
        }
    }

    fn enter(&mut self, state: SwapState, records: u64, reason: Option<String>) {
        self.status.enter(state, records, reason);
        self.tell();
    }

    fn tell(&self) {
        self.request.status.send_replace(self.status.clone());
    }

    fn has_switched(&self) -> bool {
        matches!(self.step, Step::Switching(..) | Step::Probation(..))
    }

    /// The first reason counts.
    fn breach(&mut self, reason: String) {
        self.breach.get_or_insert(reason);
    }
}

/// A swap that is being undone: told when the old version is in place again.
pub struct WoundBack {
    status: SwapStatus,
    reason: String,
    to: watch::Sender<SwapStatus>,
}

impl WoundBack {
    /// The old version is in place.
    pub fn tell(mut self, records: u64) {
        self.status
            .enter(SwapState::RolledBack, records, Some(self.reason));
        self.to.send_replace(self.status);
    }
}

impl Conductor {
    /// Begins a swap, or refuses it.
    pub(super) fn begin_swap(&mut self, request: SwapRequest) {
        let mut status = SwapStatus::default();
        let records = self.process.records;
        status.enter(SwapState::Prepare, records, None);
        if let Err(reason) = self.may_swap(&request) {
            status.enter(SwapState::Refused, records, Some(reason));
            request.status.send_replace(status);
            return;
        }
        let trial: Arc<Trial> = Arc::default();
        let incoming = on_trial(&request.candidate, &trial);
        let step = first_step(&incoming, &request);
        let swap = Swapping {
            request,
            status,
            incoming,
            trial,
            step,
            breach: None,
            handing_back: None,
        };
        swap.tell();
        self.swap = Some(swap);
    }

    fn may_swap(&self, request: &SwapRequest) -> Result<(), String> {
        if let Some(swap) = &self.swap {
            let stage = &swap.request.stage;
            return Err(format!(
                "a swap of stage `{stage}` is under way; a flow swaps one stage at a time"
            ));
        }
        if self.ending.is_some() {
            return Err("the run is ending".into());
        }
        let same_kind = match (
            self.process.pipeline.current(&request.stage),
            &request.candidate,
        ) {
            (None, _) => return Err(format!("the flow has no stage `{}`", request.stage)),
            (Some(current), candidate) => {
                std::mem::discriminant(&current) == std::mem::discriminant(candidate)
            }
        };
        if !same_kind {
            return Err("the new version is of another kind than the stage".into());
        }
        if request.shadow.is_some() && !matches!(request.candidate, Candidate::Transformer(_)) {
            return Err(
                "only a transformer can be compared in the shadow: a source would read twice, and a sink would \
                 write twice"
                    .into(),
            );
        }
        Ok(())
    }

    /// Something has happened to the swap.
    pub(super) fn on_swap_event(&mut self, event: SwapEvent) {
        let Some(swap) = &mut self.swap else { return };
        match event {
            SwapEvent::Opened(Ok(instance)) => self.on_opened(instance),
            SwapEvent::Opened(Err(fault)) => self.refuse(format!("it cannot be opened: {fault}")),
            SwapEvent::Compared => self.on_compared(),
            SwapEvent::Faulted => {
                if let Some(fault) = swap.trial.fault() {
                    swap.breach(format!("{} fault: {fault}", fault.kind));
                }
            }
            SwapEvent::Cancelled if swap.has_switched() => {
                swap.breach("it was called off".into());
            }
            SwapEvent::Cancelled => self.refuse("it was called off".into()),
        }
    }

    fn on_opened(&mut self, mut instance: Box<dyn Transformer>) {
        let Some(swap) = &mut self.swap else { return };
        let mode = self.chain.mode(&swap.request.stage);
        if mode != Some(instance.mode()) {
            return self.refuse(
                "with this config it keeps state and the old version does not, or the other way round; \
                 stop the flow and change its file instead"
                    .into(),
            );
        }
        let ahead = if instance.mode() == Mode::Stateful {
            // It was opened to see whether it can be; at the barrier it is opened from the snapshot.
            tokio::spawn(async move { instance.close().await });
            None
        } else {
            Some(instance)
        };
        match swap.request.shadow.clone() {
            Some(plan) if swap.handing_back.is_none() => {
                let mode = mode.unwrap_or(Mode::Stateless);
                let shadow = Arc::new(Shadow::start(plan, mode));
                self.chain
                    .shadow(&swap.request.stage, Some(Arc::clone(&shadow)));
                swap.step = Step::Shadow(shadow, ahead);
                swap.enter(SwapState::Shadow, self.process.records, None);
                // A stateful candidate begins at a barrier.
                self.dirty |= mode == Mode::Stateful;
            }
            _ => swap.step = Step::Ready(ahead),
        }
    }

    fn on_compared(&mut self) {
        let Some(swap) = &mut self.swap else { return };
        let Step::Shadow(shadow, ahead) = &mut swap.step else {
            return;
        };
        let report = shadow.report();
        let ahead = ahead.take();
        self.chain.shadow(&swap.request.stage, None);
        swap.status.shadow = Some(report.clone());
        let most = swap.request.shadow.as_ref().and_then(|s| s.max_difference);
        if report.faults > 0 {
            let fault = report.fault.unwrap_or_default();
            self.refuse(format!("in the shadow it failed: {fault}"));
        } else if most.is_some_and(|most| report.difference() > most) {
            self.refuse(format!(
                "in the shadow {} of {} output records differ",
                report.different, report.live.written
            ));
        } else {
            swap.tell();
            swap.step = Step::Ready(ahead);
        }
    }

    /// The old version goes on; nothing of the new one was in use. When the old one was to take over again, the new one
    /// goes on.
    fn refuse(&mut self, reason: String) {
        let Some(mut swap) = self.swap.take() else {
            return;
        };
        self.chain.shadow(&swap.request.stage, None);
        let records = self.process.records;
        match swap.handing_back.take() {
            Some(why) => {
                let reason = format!("{why}; but the old version cannot take over again: {reason}");
                swap.enter(SwapState::Done, records, Some(reason));
            }
            None => swap.enter(SwapState::Refused, records, Some(reason)),
        }
    }

    /// Sends the switch on its way when everything is ready and the source is here.
    pub(super) fn advance_swap(&mut self) {
        let is_free = self.intake.is_free() && !self.closed && self.ending.is_none();
        let Some(swap) = &mut self.swap else { return };
        let Step::Ready(ahead) = &mut swap.step else {
            return;
        };
        if !is_free {
            return;
        }
        let ahead = ahead.take();
        let started = Instant::now();
        let hold = swap.handing_back.is_none()
            && swap.request.rewindable
            && !swap.request.probation.time.is_zero();
        let stage = Arc::clone(&swap.request.stage);
        let switch = Switch::new(
            Arc::clone(&stage),
            swap.incoming.clone(),
            swap.request.open_time,
            hold,
        );
        let reading = reading(&self.meters, &stage);
        swap.step = Step::Switching(Arc::clone(&switch), reading, false);
        if swap.handing_back.is_none() {
            swap.enter(SwapState::Switch, self.process.records, None);
        }
        let is_source = matches!(swap.incoming, Candidate::Source(_));
        if let (Candidate::Transformer(opener), Some(instance)) = (&swap.incoming, ahead) {
            // The barrier is the last entry that passes the old version.
            self.chain
                .switch_pool(&stage, self.entries + 1, Arc::clone(opener), instance);
            switch.report(Ok(started.elapsed()));
        }
        self.push_barrier(false, Some(Arc::clone(&switch)));
        if is_source {
            self.intake.send(move |intake| intake.switch(switch));
        }
    }

    /// The source has tried to switch.
    pub(super) fn on_source_switched(&mut self) {
        if let Some(Step::Switching(switch, _, true)) = self.swap.as_ref().map(|s| &s.step) {
            let switch = Arc::clone(switch);
            self.on_switched(&switch);
        }
    }

    /// A barrier is committed; perhaps the one that carried the switch.
    pub(super) fn on_committed(&mut self, switch: Option<Arc<Switch>>) {
        match switch {
            Some(switch) => self.on_switched(&switch),
            // The last barrier of a run that ended during the probation.
            None if self.closed && self.is_on_probation() => self.trust(None),
            None => {}
        }
    }

    fn is_on_probation(&self) -> bool {
        let swap = self.swap.as_ref().filter(|s| s.breach.is_none());
        swap.is_some_and(|s| matches!(s.step, Step::Probation(..)))
    }

    fn on_switched(&mut self, switch: &Arc<Switch>) {
        let Some(swap) = &mut self.swap else { return };
        let Step::Switching(_, reading, committed) = &mut swap.step else {
            return;
        };
        match switch.outcome() {
            None => *committed = true,
            Some(Err(fault)) => {
                self.release = true;
                self.refuse(format!("it refused the state that it was given: {fault}"));
            }
            Some(Ok(pause)) => {
                let probation = swap.request.probation.time;
                let until = tokio::time::Instant::now() + probation;
                swap.step = Step::Probation(until, *reading);
                if swap.handing_back.is_some() {
                    return self.handed_back();
                }
                swap.status.pause_us = u64::try_from(pause.as_micros()).ok();
                if probation.is_zero() {
                    return self.trust(None);
                }
                swap.enter(SwapState::Probation, self.process.records, None);
                let readings = self.meters.iter();
                self.process.readings = readings
                    .map(|(name, _, meter)| (name.clone(), meter.reading()))
                    .collect();
            }
        }
    }

    /// A barrier was held. When too much waits for the next commit, the probation ends early.
    pub(super) fn on_held(&mut self, is_too_much: bool) {
        if is_too_much && self.is_on_probation() {
            self.judge(true);
            if self.is_on_probation() {
                self.trust(Some(
                    "the probation ended early: too much waited for its end".into(),
                ));
            }
        }
    }

    /// Looks at the share of records that the new version rejects.
    pub(super) fn judge(&mut self, at_the_end: bool) {
        let Some(swap) = &mut self.swap else { return };
        let Step::Probation(_, before) = swap.step else {
            return;
        };
        let now = reading(&self.meters, &swap.request.stage);
        let since = Reading {
            records: now.records.saturating_sub(before.records),
            rejected: now.rejected.saturating_sub(before.rejected),
        };
        swap.status.probation_records = since.records;
        swap.status.probation_rejected = since.rejected;
        let most = before.share() + swap.request.probation.max_fault_share;
        if since.share() > most && (at_the_end || since.records >= FEWEST_RECORDS) {
            swap.breach(format!(
                "it rejected {} of {} records; before, the share was {:.2} %",
                since.rejected,
                since.records,
                before.share() * 100.0
            ));
        }
    }

    /// The time of the probation may be over.
    pub(super) fn end_probation_if_over(&mut self, now: tokio::time::Instant) {
        let until = self.swap.as_ref().and_then(Swapping::timer);
        if until.is_some_and(|until| now >= until) {
            self.judge(true);
            if self.is_on_probation() {
                self.trust(None);
            }
        }
    }

    /// The new version has proved itself: it stays.
    fn trust(&mut self, remark: Option<String>) {
        let Some(mut swap) = self.swap.take() else {
            return;
        };
        swap.trial.end();
        self.release = true;
        let stage = Arc::clone(&swap.request.stage);
        self.process
            .pipeline
            .replace(&stage, &swap.request.candidate);
        swap.enter(SwapState::Done, self.process.records, remark);
        let chain = Arc::clone(&self.chain);
        tokio::spawn(async move { chain.retire(&stage).await });
    }

    fn handed_back(&mut self) {
        let Some(mut swap) = self.swap.take() else {
            return;
        };
        swap.trial.end();
        let why = swap.handing_back.take();
        swap.enter(SwapState::RolledBack, self.process.records, why);
    }

    /// The input has ended: may the run finish? A new version must have been judged before, and what it does at the
    /// end is part of its probation.
    pub(super) fn may_finish(&mut self) -> bool {
        let is_drained = self.lane.is_empty() && self.settler.is_free();
        match self.swap.as_ref().map(|s| &s.step) {
            Some(Step::Switching(..)) => false,
            Some(Step::Probation(..)) if !is_drained => false,
            Some(Step::Probation(..)) => {
                self.judge(true);
                self.release = true;
                !self.is_breached()
            }
            // Nothing of the new version was in use: whoever asked may begin the next run with it.
            Some(_) => {
                self.swap = None;
                true
            }
            None => true,
        }
    }

    /// Whether the new version must go.
    pub(super) fn is_breached(&self) -> bool {
        self.swap.as_ref().is_some_and(|s| s.breach.is_some())
    }

    /// Whether the checkpoint of the switch is there, and everything after it has to be undone.
    pub(super) fn must_wind_back(&mut self) -> bool {
        let Some(swap) = &mut self.swap else {
            return false;
        };
        if swap.breach.is_none() || !matches!(swap.step, Step::Probation(..)) {
            return false;
        }
        if swap.request.rewindable && !swap.request.probation.time.is_zero() {
            return true;
        }
        self.hand_back();
        false
    }

    /// What was read cannot be read again: the old version takes over from where the new one is.
    fn hand_back(&mut self) {
        let Some(swap) = &mut self.swap else { return };
        let Some(old) = self.process.pipeline.current(&swap.request.stage) else {
            return;
        };
        swap.handing_back = swap.breach.take();
        swap.trial = Arc::default();
        swap.step = first_step(&old, &swap.request);
        swap.incoming = old;
    }

    /// A stage failed for good. If a version on probation may be the reason, it goes; otherwise the run fails.
    pub(super) fn blame(&mut self, error: RunError) -> Result<(), RunError> {
        let RunError::Stage(failure) = error else {
            return Err(error);
        };
        match &mut self.swap {
            Some(swap) if matches!(swap.step, Step::Probation(..)) && swap.request.rewindable => {
                // What is committed cannot be undone: the last barrier of a run may fail after its commit.
                let flow = &self.process.pipeline.flow;
                let last = self.process.journal.checkpoint(flow)?;
                if last.is_none_or(|last| last.epoch != self.epochs_done) {
                    return Err(RunError::Stage(failure));
                }
                swap.breach(failure.to_string());
                Ok(())
            }
            _ => Err(RunError::Stage(failure)),
        }
    }

    /// The source failed for good. It may be the new version, whose switch is not committed yet.
    pub(super) fn blame_source(&mut self, failure: StageFailure) -> Result<(), RunError> {
        if let Some(swap) = &mut self.swap
            && let Step::Switching(switch, ..) = &swap.step
            && matches!(swap.incoming, Candidate::Source(_))
            && swap.request.rewindable
            && matches!(switch.outcome(), Some(Ok(_)))
        {
            swap.breach(failure.to_string());
            return Ok(());
        }
        self.blame(RunError::Stage(failure))
    }

    /// The run is to end. A version on probation is undone first: then this is `true`, and the run ends after it was
    /// wound back. A swap that has not switched yet is forgotten.
    pub(super) fn undo_swap(&mut self, end: &End) -> bool {
        let Some(swap) = &mut self.swap else {
            return false;
        };
        if swap.has_switched() && swap.request.rewindable && swap.handing_back.is_none() {
            swap.breach(match end {
                End::TooManyDeadLetters(reason) => reason.clone(),
                End::Stopped | End::Finished => "the flow was stopped in its probation".into(),
            });
            return true;
        }
        self.chain.shadow(&swap.request.stage, None);
        self.swap = None;
        false
    }

    /// Ends everything where it is and forgets what is not committed. The sinks are not closed: what they hold is
    /// discarded when they are opened again.
    pub(super) async fn wind_back(mut self) -> Process {
        self.halt.cancel();
        let longest = self.process.settings.drain;
        if tokio::time::timeout(longest, self.settler.done())
            .await
            .is_err()
            && !matches!(self.settler, Hand::Free(_))
        {
            self.settler.abort().await;
        }
        self.intake.abort().await;
        while let Some(entry) = self.lane.pop_front() {
            entry.abort().await;
        }
        self.process.overlay.clear();
        let undone = "a swap was undone, and the dead letters are as they were; give them again";
        for replay in self.replays {
            replay.undone(undone);
        }
        (self.process.records, self.process.letters) = self.durable;
        if let Some(swap) = self.swap.take() {
            swap.trial.end();
            let mut status = swap.status;
            status.reason = None;
            self.process.wound_back = Some(WoundBack {
                status,
                reason: swap.breach.unwrap_or_default(),
                to: swap.request.status,
            });
        }
        self.process
    }
}

fn first_step(incoming: &Candidate, request: &SwapRequest) -> Step {
    match incoming {
        Candidate::Transformer(opener) => {
            let (opener, longest) = (Arc::clone(opener), request.open_time);
            Step::Opening(AbortOnDropHandle::new(tokio::spawn(async move {
                open_in_time(&opener, None, longest).await
            })))
        }
        Candidate::Source(_) | Candidate::Sink(_) => Step::Ready(None),
    }
}

fn reading(meters: &[(String, String, Arc<super::chain::Meter>)], stage: &str) -> Reading {
    let meter = meters.iter().find(|(name, ..)| name == stage);
    let [records, _, rejected, ..] = meter.map_or([0; 5], |(.., meter)| meter.reading());
    Reading { records, rejected }
}
