//! What waits for the disk. The same thing that is denied again and again is counted here, so that it costs neither
//! disk nor time.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{Action, AuditEntry, files::Files};

/// Entries that may wait for the disk.
const QUEUE: usize = 4096;
/// Different things of one stage that are told apart; others are counted together.
const DIFFERENT_PER_STAGE: usize = 256;
/// Different things of all stages that are told apart.
const DIFFERENT: usize = 4096;
/// The target of those that are counted together.
const MORE: &str = "(more)";
/// When counts are written first; then after twice as long each time, up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_mins(1);
const LONGEST: Duration = Duration::from_hours(1);
/// How long a disk that refused is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// What the handles and the writing thread share.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    written: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<AuditEntry>,
    repeats: Repeats,
    /// Entries that were not taken.
    lost: u64,
    /// How many were put into the queue, and how many of them were written.
    taken: u64,
    done: u64,
    failure: Option<(io::ErrorKind, String)>,
    closing: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn record(&self, mut entry: AuditEntry) {
        entry.tidy();
        let mut state = self.state();
        if entry.action.may_flood() {
            let Some(first) = state.repeats.note(entry, Instant::now()) else {
                return;
            };
            entry = first;
        }
        if state.queue.len() >= QUEUE {
            state.lost += entry.count;
            return;
        }
        state.queue.push_back(entry);
        state.taken += 1;
        drop(state);
        self.wake.notify_one();
    }

    pub(super) fn close(&self) {
        self.state().closing = true;
        self.wake.notify_one();
    }

    pub(super) fn wait_until_written(&self) -> io::Result<()> {
        let mut state = self.state();
        let all = state.taken;
        loop {
            if state.done >= all {
                return Ok(());
            }
            if let Some((kind, text)) = &state.failure {
                return Err(io::Error::new(*kind, text.clone()));
            }
            state = self
                .written
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The writing thread.
    pub(super) fn write_until_closed(&self, files: &Files) {
        loop {
            let (mut batch, closing) = self.next();
            let count = batch.len();
            let outcome = files.append(&mut batch);
            let mut state = self.state();
            state.done += (count - batch.len()) as u64;
            match outcome {
                Ok(()) => state.failure = None,
                Err(error) => {
                    let dir = files.dir().display();
                    if state.failure.is_none() {
                        tracing::error!(%dir, %error, "the audit log cannot be written");
                    }
                    state.failure = Some((error.kind(), error.to_string()));
                    if closing {
                        let lost = batch.len();
                        tracing::error!(%dir, lost, "entries of the audit log are lost");
                    }
                    // What came meanwhile is later.
                    while let Some(entry) = batch.pop_back() {
                        state.queue.push_front(entry);
                    }
                }
            }
            self.written.notify_all();
            if closing {
                return;
            }
            if state.failure.is_some() && !state.closing {
                // Woken for the end only; new entries wait with the others.
                drop(
                    self.wake
                        .wait_timeout_while(state, PAUSE, |state| !state.closing),
                );
            }
        }
    }

    /// Waits for something to write.
    fn next(&self) -> (VecDeque<AuditEntry>, bool) {
        let mut state = self.state();
        while state.queue.is_empty() && !state.closing {
            let now = Instant::now();
            state = match state.repeats.due {
                None => self
                    .wake
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(due) if due <= now => break,
                Some(due) => {
                    let waited = self.wake.wait_timeout(state, due - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        let now = Instant::now();
        if state.closing || state.repeats.due.is_some_and(|due| due <= now) {
            let counts = state.repeats.sum_up(now);
            state.taken += counts.len() as u64;
            state.queue.extend(counts);
        }
        if state.lost > 0 {
            let mut lost = AuditEntry::new(Action::EntriesLost, "host");
            lost.count = std::mem::take(&mut state.lost);
            state.queue.push_back(lost);
            state.taken += 1;
        }
        (std::mem::take(&mut state.queue), state.closing)
    }
}

/// What was written already and is counted until the next sum.
#[derive(Default)]
pub(super) struct Repeats {
    counts: HashMap<Thing, Repeat>,
    per_stage: HashMap<Place, usize>,
    /// When the next sum is due.
    due: Option<Instant>,
    pause: Duration,
}

type Place = (Action, String, String);
type Thing = (Place, String, String, String);

struct Repeat {
    /// The first one since the last line about it.
    first: AuditEntry,
    /// How many there were since.
    count: u64,
}

fn place(entry: &AuditEntry) -> Place {
    (entry.action, entry.flow.clone(), entry.stage.clone())
}

fn thing(entry: &AuditEntry) -> Thing {
    let AuditEntry {
        actor,
        digest,
        target,
        ..
    } = entry;
    (place(entry), actor.clone(), digest.clone(), target.clone())
}

impl Repeats {
    /// Counts one. Gives it back when there is no line about the same thing yet.
    pub(super) fn note(&mut self, mut entry: AuditEntry, now: Instant) -> Option<AuditEntry> {
        let mut key = thing(&entry);
        if !self.counts.contains_key(&key) {
            let different = self.per_stage.entry(key.0.clone()).or_insert(0);
            if *different >= DIFFERENT_PER_STAGE || self.counts.len() >= DIFFERENT {
                MORE.clone_into(&mut entry.target);
                entry.detail.clear();
                // One for each stage, whatever is in it.
                entry.digest.clear();
                key = thing(&entry);
            } else {
                *different += 1;
            }
        }
        if self.due.is_none() {
            self.pause = SHORTEST;
            self.due = Some(now + self.pause);
        }
        if let Some(known) = self.counts.get_mut(&key) {
            if known.count == 0 {
                known.first = entry.clone();
            }
            known.count = known.count.saturating_add(entry.count);
            return None;
        }
        let first = entry.clone();
        self.counts.insert(key, Repeat { first, count: 0 });
        Some(entry)
    }

    /// The counts since the last sum. What did not happen again is forgotten.
    pub(super) fn sum_up(&mut self, now: Instant) -> Vec<AuditEntry> {
        let mut sums = Vec::new();
        self.counts.retain(|_, repeat| {
            let again = repeat.count > 0;
            if again {
                let mut sum = repeat.first.clone();
                sum.count = std::mem::take(&mut repeat.count);
                sums.push(sum);
            }
            again
        });
        self.per_stage.clear();
        for (place, ..) in self.counts.keys() {
            *self.per_stage.entry(place.clone()).or_insert(0) += 1;
        }
        sums.sort_by_key(|sum| sum.at_ms);
        self.pause = (self.pause * 2).min(LONGEST);
        self.due = (!self.counts.is_empty()).then(|| now + self.pause);
        sums
    }
}
