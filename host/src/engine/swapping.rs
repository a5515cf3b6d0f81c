//! A swap on its way through a run: what the conductor does at each of its steps (see [`super::swap`]).

mod probation;

use std::{sync::Arc, time::Instant};

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{
    chain::Chain,
    conductor::Conductor,
    fault::Fault,
    meter::Meter,
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

    /// What the trial has heard.
    fn notice_fault(&mut self) {
        if self.has_switched()
            && let Some(fault) = self.trial.fault()
        {
            self.breach(format!("{} fault: {fault}", fault.kind));
        }
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
        let step = first_step(&incoming, &request, &self.chain);
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
            SwapEvent::Faulted => swap.notice_fault(),
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
            Arc::clone(&swap.trial),
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
            None if self.closed => self.trust_at_the_end(),
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
                // Everything before the barrier is settled.
                self.chain.retire(&switch.stage);
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
}

/// A transformer is opened ahead: one without state to be used, one with state to see whether it takes the last snapshot
/// of the old version, so that a refusal or a loop costs the flow nothing.
fn first_step(incoming: &Candidate, request: &SwapRequest, chain: &Arc<Chain>) -> Step {
    match incoming {
        Candidate::Transformer(opener) => {
            let (opener, longest) = (Arc::clone(opener), request.open_time);
            let (chain, stage) = (Arc::clone(chain), Arc::clone(&request.stage));
            Step::Opening(AbortOnDropHandle::new(tokio::spawn(async move {
                let snapshot = chain.last_snapshot(&stage).await;
                open_in_time(&opener, snapshot.as_deref(), longest).await
            })))
        }
        Candidate::Source(_) | Candidate::Sink(_) => Step::Ready(None),
    }
}

fn reading(meters: &[(String, String, Arc<Meter>)], stage: &str) -> Reading {
    let meter = meters.iter().find(|(name, ..)| name == stage);
    let [records, _, rejected, ..] = meter.map_or([0; 5], |(.., meter)| meter.reading());
    Reading { records, rejected }
}
