//! What enters the lane, and when: reads while there is room, dead letters that are given again, and barriers.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio_util::task::AbortOnDropHandle;

use super::{Conductor, WAITING_BYTES};
use crate::engine::{
    batch::{Batch, Form},
    lane::{Arriving, Entry, Hand},
    ledger::Ledger,
    outcome::Outcome,
    replay::{self, Replay, UnderWay},
    run::End,
    stage::{Read, TableWrite, Unreadable},
    swap::Switch,
};
use crate::storage::DeadLetter;

/// A source that has nothing now is asked again after at most this long.
const LONGEST_IDLE: Duration = Duration::from_mins(1);

impl Conductor {
    pub(super) fn start_reading(&mut self) {
        if self.closed || self.is_breached() || !self.intake.is_free() {
            return;
        }
        if let Hand::Free(intake) = &mut self.intake
            && let Some(position) = self.acknowledge.take()
        {
            intake.acknowledge(position);
        }
        if self.ending.is_none()
            && let Some(replay) = self.asked.pop_front()
        {
            self.give_again(replay);
        }
        #[allow(
            clippy::collapsible_match,
            reason = "asking whether it may finish changes the swap, and a guard must change nothing"
        )]
        match &self.ending {
            Some(End::Finished) => {
                if self.may_finish() {
                    self.push_finish();
                    self.push_barrier(true, None);
                    self.closed = true;
                }
            }
            Some(_) => {
                if self.dirty {
                    self.push_barrier(false, None);
                }
                self.closed = true;
            }
            None if self.barrier_is_due() => {
                self.push_barrier(false, None);
                self.start_reading();
            }
            None if self.is_paused() => {
                if self.dirty && self.lane.is_empty() {
                    self.push_barrier(false, None);
                }
            }
            None if self.idle_until.is_none() && self.has_room() => {
                let budget = self.process.settings.batch;
                self.intake.send(move |intake| intake.read(budget));
            }
            None => {}
        }
    }

    // Invariant 6.
    fn has_room(&self) -> bool {
        let batches = self.lane.len() + usize::from(!self.settler.is_free());
        batches == 0
            || (batches < self.process.settings.in_flight_batches
                && self.in_flight.load(Ordering::Relaxed) < self.process.settings.in_flight_bytes)
    }

    fn barrier_is_due(&self) -> bool {
        self.dirty
            && (self.records_in_epoch >= self.process.settings.checkpoint_records
                || self.epoch_started.elapsed() >= self.process.settings.checkpoint_every
                || (self.waiting_bytes >= WAITING_BYTES && !self.barrier_under_way))
    }

    /// Sends a barrier behind everything read so far. The source is here.
    pub(in crate::engine) fn push_barrier(&mut self, finished: bool, switch: Option<Arc<Switch>>) {
        let Hand::Free(intake) = &self.intake else {
            return;
        };
        let source = (self.source.0.clone(), intake.state());
        let (chain, entry, carried) = (Arc::clone(&self.chain), self.entries, switch.clone());
        let passing = AbortOnDropHandle::new(tokio::spawn(async move {
            chain.barrier(entry, carried.as_deref()).await
        }));
        self.lane.push_back(Entry::Barrier(Box::new(Arriving {
            epoch: self.epoch,
            source,
            finished,
            records: self.process.records,
            switch,
            passing,
        })));
        self.entries += 1;
        self.epoch += 1;
        self.records_in_epoch = 0;
        self.epoch_started = Instant::now();
        self.dirty = false;
        self.barrier_under_way = true;
    }

    fn push_finish(&mut self) {
        let (chain, entry, epoch) = (Arc::clone(&self.chain), self.entries, self.epoch);
        let in_flight = Arc::clone(&self.in_flight);
        let passing = AbortOnDropHandle::new(tokio::spawn(async move {
            let outcome = chain.finish(entry, epoch).await?;
            in_flight.fetch_add(outcome.weight(), Ordering::Relaxed);
            Ok(outcome)
        }));
        self.entries += 1;
        self.lane.push_back(Entry::Batch { epoch, passing });
    }

    pub(super) fn on_read(&mut self, read: Read, writes: &[TableWrite]) {
        self.process.overlay.add(self.epoch, writes);
        self.waiting = matches!(read, Read::Idle(_));
        let (records, unreadable) = match read {
            Read::Page {
                records,
                unreadable,
            } => (records, unreadable),
            Read::Idle(wait) => {
                self.idle_until = Some(
                    tokio::time::Instant::now()
                        + wait.clamp(Duration::from_millis(1), LONGEST_IDLE),
                );
                let name: Arc<str> = "idle".into();
                (Batch::empty(name, Form::Json), Vec::new())
            }
            Read::End => {
                self.ending.get_or_insert(End::Finished);
                (Batch::empty("end", Form::Json), Vec::new())
            }
        };
        if !records.is_empty() || !unreadable.is_empty() || !writes.is_empty() {
            self.push_read(records, &unreadable, writes.to_vec());
        }
    }

    fn push_read(&mut self, records: Batch, unreadable: &[Unreadable], writes: Vec<TableWrite>) {
        let mut ledger = Ledger::default();
        let read = (records.len() + unreadable.len()) as u64;
        if read > 0 {
            let counts = ledger.stream(records.stream());
            counts.read = read;
            counts.dead = unreadable.len() as u64;
        }
        let dead = unreadable
            .iter()
            .map(|u| self.source.1.unreadable(records.stream(), u))
            .collect();
        let own = Outcome {
            ledger,
            dead,
            writes,
            ..Outcome::default()
        };
        self.records_in_epoch += read;
        self.process.records += read;
        self.push_batch(records, own, 0);
    }

    /// Sends a batch through the transformers from position `first` on; `own` is what is known of it already.
    fn push_batch(&mut self, records: Batch, own: Outcome, first: usize) {
        self.dirty = true;
        // What the source could not read, and what it wrote, waits with the records.
        let weight = records.weight() + own.weight();
        self.in_flight.fetch_add(weight, Ordering::Relaxed);
        let (chain, entry, epoch) = (Arc::clone(&self.chain), self.entries, self.epoch);
        let in_flight = Arc::clone(&self.in_flight);
        let passing = AbortOnDropHandle::new(tokio::spawn(async move {
            let outcome = chain.pass(entry, epoch, records, first).await?.behind(own);
            in_flight.fetch_add(outcome.weight(), Ordering::Relaxed);
            in_flight.fetch_sub(weight, Ordering::Relaxed);
            Ok(outcome)
        }));
        self.entries += 1;
        self.lane.push_back(Entry::Batch { epoch, passing });
    }

    /// Why dead letters are none of this run, if so.
    fn cannot_give(&self, letters: &[DeadLetter]) -> Option<String> {
        let pipeline = &self.process.pipeline;
        let foreign = letters.iter().find(|letter| letter.flow != *pipeline.flow);
        if let Some(letter) = foreign {
            let (id, flow) = (letter.id, &letter.flow);
            return Some(format!("dead letter {id} is of flow `{flow}`"));
        }
        let gone = letters.iter().find(|letter| {
            letter.stage != self.source.0
                && self.chain.position(&letter.stage).is_none()
                && !pipeline.sinks.iter().any(|s| *s.name == *letter.stage)
        })?;
        let (id, stage) = (gone.id, &gone.stage);
        Some(format!(
            "dead letter {id} is of stage `{stage}`, which the flow has no more: discard it, or give the stage its name back"
        ))
    }

    /// Sends dead letters through the flow from the stage that could not process them, and a barrier behind them.
    fn give_again(&mut self, replay: Replay) {
        if let Some(why) = self.cannot_give(&replay.letters) {
            // Whoever asked may be gone.
            let _ = replay.answer.send(Err(why));
            return;
        }
        let limit = self.process.settings.batch.records as usize;
        let mut records = 0;
        for again in replay::batches(&replay.letters, limit) {
            let sinks = &self.process.pipeline.sinks;
            let only = sinks.iter().find(|s| *s.name == *again.stage);
            let only = only.map(|sink| Arc::clone(&sink.name));
            let first = match (&only, self.chain.position(&again.stage)) {
                (Some(_), _) => self.chain.end(),
                (None, Some(at)) => at,
                // Input that the source could not read, and that a person has mended.
                (None, None) => 0,
            };
            let mut ledger = Ledger::default();
            ledger.stream(again.batch.stream()).replayed = again.batch.len() as u64;
            records += again.batch.len() as u64;
            let own = Outcome {
                ledger,
                replayed: again.ids,
                only,
                ..Outcome::default()
            };
            self.push_batch(again.batch, own, first);
        }
        self.replays.push(UnderWay {
            epoch: self.epoch,
            records,
            letters: self.durable.1,
            answer: replay.answer,
        });
        self.push_barrier(false, None);
    }
}
