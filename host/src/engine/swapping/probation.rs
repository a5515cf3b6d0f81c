//! A new version proves itself, or goes: the share of records that it rejects, what it is blamed for, and how everything
//! that it did is undone.

use std::sync::Arc;

use super::{
    Candidate, Conductor, FEWEST_RECORDS, Reading, Step, Swapping, WoundBack, first_step, reading,
};
use crate::engine::{
    process::Process,
    run::{End, RunError, StageFailure},
    swap::SwapState,
};

impl Conductor {
    /// A barrier was held. When too much waits for the next commit, the probation ends early.
    pub(in crate::engine) fn on_held(&mut self, is_too_much: bool) {
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
    pub(in crate::engine) fn judge(&mut self, at_the_end: bool) {
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
    pub(in crate::engine) fn end_probation_if_over(&mut self, now: tokio::time::Instant) {
        let until = self.swap.as_ref().and_then(Swapping::timer);
        if until.is_some_and(|until| now >= until) {
            self.judge(true);
            if self.is_on_probation() {
                self.trust(None);
            }
        }
    }

    /// The new version has proved itself: it stays.
    pub(super) fn trust(&mut self, remark: Option<String>) {
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
    }

    /// The output of the whole run is committed, and nothing of it can be undone.
    pub(super) fn trust_at_the_end(&mut self) {
        let swap = self.swap.as_mut();
        let Some(swap) = swap.filter(|s| matches!(s.step, Step::Probation(..))) else {
            return;
        };
        let remark = swap.breach.take();
        self.trust(remark.map(|r| format!("the run had ended before this was known: {r}")));
    }

    pub(super) fn handed_back(&mut self) {
        let Some(mut swap) = self.swap.take() else {
            return;
        };
        swap.trial.end();
        let why = swap.handing_back.take();
        swap.enter(SwapState::RolledBack, self.process.records, why);
    }

    /// The input has ended: may the run finish? A new version must have been judged before, and what it does at the
    /// end is part of its probation.
    pub(in crate::engine) fn may_finish(&mut self) -> bool {
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

    /// Hears what the trial has heard, before anything more is settled.
    pub(in crate::engine) fn notice_fault(&mut self) {
        if let Some(swap) = &mut self.swap {
            swap.notice_fault();
        }
    }

    /// Whether the new version must go.
    pub(in crate::engine) fn is_breached(&self) -> bool {
        self.swap.as_ref().is_some_and(|s| s.breach.is_some())
    }

    /// Whether the checkpoint of the switch is there, and everything after it has to be undone.
    pub(in crate::engine) fn must_wind_back(&mut self) -> bool {
        let Some(swap) = &mut self.swap else {
            return false;
        };
        let is_finishing = self.finishing && !self.settler.is_free();
        if swap.breach.is_none() || !matches!(swap.step, Step::Probation(..)) || is_finishing {
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
        swap.step = first_step(&old, &swap.request, &self.chain);
        swap.incoming = old;
    }

    /// A stage failed for good. If a version on probation may be the reason, it goes; otherwise the run fails.
    pub(in crate::engine) fn blame(&mut self, error: RunError) -> Result<(), RunError> {
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
    pub(in crate::engine) fn blame_source(
        &mut self,
        failure: StageFailure,
    ) -> Result<(), RunError> {
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
    pub(in crate::engine) fn undo_swap(&mut self, end: &End) -> bool {
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
    pub(in crate::engine) async fn wind_back(mut self) -> Process {
        self.halt.cancel();
        if !self.settler.is_free() {
            let longest = self.process.settings.drain;
            let done = tokio::time::timeout(longest, self.settler.done()).await;
            if done.is_err() {
                self.settler.abort().await;
            }
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
