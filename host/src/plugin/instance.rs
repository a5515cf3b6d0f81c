//! One sandbox: its store, its limits, and what a failed call means.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use wasmtime::{
    PoolConcurrencyLimitError, Store, Trap, UpdateDeadline,
    component::{Instance, InstancePre, ResourceTableError},
};

use super::{
    backtrace,
    engine::{Call, Ticker},
    host_api::handles::Full,
    limits::Limits,
    meter::{Meter, SLICE, TimeUp},
    state::{HANDLES, Scope, State},
};
use crate::engine::{
    fault::{Fault, FaultKind},
    stage::{TableWrite, Wear},
};

/// A store with one component instance in it. Calls go through `begin`, [`Running::watch`] and `settle`.
pub(super) struct Sandbox {
    pub(super) store: Store<State>,
    ticker: Ticker,
    life: Life,
    records: u64,
    /// When the call under way began.
    began: Instant,
}

#[derive(Debug)]
enum Life {
    /// No call is under way.
    Idle,
    /// A call is under way, or was dropped before it ended.
    Busy(&'static str),
    /// It failed in a way that leaves the store unusable.
    Dead(FaultKind, String),
}

/// A call under way.
pub(super) struct Running {
    meter: Meter,
    _call: Call,
}

impl Running {
    /// Runs the call until it ends or its time is over.
    pub(super) async fn watch<T>(
        self,
        call: impl Future<Output = wasmtime::Result<T>>,
    ) -> wasmtime::Result<T> {
        match self.meter.watch(call).await {
            Ok(outcome) => outcome,
            Err(up) => Err(up.into()),
        }
    }
}

impl Sandbox {
    /// Makes a store and instantiates the component in it.
    pub(super) async fn make(
        pre: &InstancePre<State>,
        scope: Arc<Scope>,
        ticker: Ticker,
    ) -> Result<(Self, Instance), Fault> {
        let limits = scope.limits;
        let grants = &scope.grants;
        let state = if grants.read.is_empty() && grants.write.is_empty() {
            State::new(scope)?
        } else {
            // Opening folders touches the file system.
            tokio::task::spawn_blocking(move || State::new(scope))
                .await
                .map_err(|error| {
                    Fault::new(
                        FaultKind::Transient,
                        format!("the sandbox could not be set up: {error}"),
                    )
                })??
        };
        let mut store = Store::new(pre.engine(), state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(limits.output);
        store.epoch_deadline_callback(|context| {
            let meter = context.data().meter.clone();
            meter.check()?;
            Ok(UpdateDeadline::YieldCustom(
                SLICE,
                Box::pin(meter.yield_now()),
            ))
        });
        let mut sandbox = Self {
            store,
            ticker,
            life: Life::Idle,
            records: 0,
            began: Instant::now(),
        };
        let running = sandbox.begin("instantiate", limits.open)?;
        let outcome = running
            .watch(pre.instantiate_async(&mut sandbox.store))
            .await;
        let instance = sandbox.settle(outcome)?;
        Ok((sandbox, instance))
    }

    /// A call starts. From here until `settle` the instance counts as unusable, so a call that is dropped on the way
    /// leaves no half-run instance behind.
    pub(super) fn begin(&mut self, step: &'static str, limit: Duration) -> Result<Running, Fault> {
        match &self.life {
            Life::Idle => {}
            Life::Busy(step) => {
                return Err(Fault::new(
                    FaultKind::Trap,
                    format!("the instance is gone: its call of `{step}` was cancelled"),
                ));
            }
            Life::Dead(kind, why) => {
                return Err(Fault::new(
                    *kind,
                    format!("the instance is gone since an earlier call failed: {why}"),
                ));
            }
        }
        self.life = Life::Busy(step);
        self.began = Instant::now();
        self.store.set_epoch_deadline(SLICE);
        let state = self.store.data_mut();
        state.limiter.reset();
        state.stderr.clear_tail();
        state.last_error = None;
        state.meter.start(limit);
        Ok(Running {
            meter: state.meter.clone(),
            _call: self.ticker.call(),
        })
    }

    /// A call ended: a failure of the sandbox becomes a fault, and the instance is not used again.
    pub(super) fn settle<T>(&mut self, outcome: wasmtime::Result<T>) -> Result<T, Fault> {
        self.trace(outcome.is_ok());
        self.store.data_mut().sweep();
        match outcome {
            Ok(value) => {
                self.life = Life::Idle;
                Ok(value)
            }
            Err(error) => {
                let step = match self.life {
                    Life::Busy(step) => step,
                    Life::Idle | Life::Dead(..) => "call",
                };
                let fault = self.explain(step, &error);
                self.life = Life::Dead(fault.kind, fault.message.clone());
                Err(fault)
            }
        }
    }

    /// Tells of a call that ended: `--log trace`, or `plugin::call=trace`.
    fn trace(&self, went_well: bool) {
        if !tracing::enabled!(target: "plugin::call", tracing::Level::TRACE) {
            return;
        }
        let Life::Busy(step) = self.life else {
            return;
        };
        let micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let memory = self.store.data().limiter.used();
        let Scope {
            flow,
            stage,
            plugin,
            ..
        } = &*self.store.data().scope;
        tracing::trace!(target: "plugin::call", %flow, %stage, %plugin, micros, memory, went_well, "{step}");
    }

    /// Tells what a call took or gave.
    pub(super) fn sizes(&self, what: &'static str, records: usize, bytes: usize) {
        let Scope {
            flow,
            stage,
            plugin,
            ..
        } = &*self.store.data().scope;
        tracing::trace!(target: "plugin::call", %flow, %stage, %plugin, records, bytes, "{what}");
    }

    /// The plugin broke the contract: what it returned cannot be used, and neither can it.
    pub(super) fn condemn(&mut self, message: impl Into<String>) -> Fault {
        let fault = Fault::new(FaultKind::Contract, message)
            .advice("this is a fault of the plugin: report it to its author");
        self.life = Life::Dead(fault.kind, fault.message.clone());
        fault
    }

    /// A snapshot within its limit.
    pub(super) fn bounded(&mut self, snapshot: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let allowed = self.limits().snapshot;
        if snapshot.len() <= allowed {
            return Ok(snapshot);
        }
        let len = snapshot.len();
        Err(self.condemn(format!(
            "the plugin's snapshot has {len} bytes; {allowed} are allowed"
        )))
    }

    /// The last call ended. What it says changes nothing any more, but is logged.
    pub(super) fn closed(&mut self, outcome: wasmtime::Result<()>) {
        if let Err(fault) = self.settle(outcome) {
            let Scope {
                flow,
                stage,
                plugin,
                ..
            } = &*self.store.data().scope;
            tracing::warn!(target: "plugin", %flow, %stage, %plugin, "closing the instance failed: {fault}");
        }
    }

    /// The limits of its stage.
    pub(super) fn limits(&self) -> Limits {
        self.store.data().scope.limits
    }

    /// Counts records that went through.
    pub(super) fn count(&mut self, records: usize) {
        self.records += records as u64;
    }

    pub(super) fn wear(&self) -> Wear {
        Wear {
            records: self.records,
            memory: self.store.data().limiter.used(),
        }
    }

    pub(super) fn take_table_writes(&mut self) -> Vec<TableWrite> {
        self.store.data_mut().writes.take()
    }

    /// What a failure of the sandbox was. Of the error only its types and its root are looked at, never its text: that is
    /// the guest's backtrace as wasmtime writes it, which has no bound.
    fn explain(&mut self, step: &str, error: &wasmtime::Error) -> Fault {
        let state = self.store.data_mut();
        let stderr = state.stderr.take_tail();
        let last_error = state.last_error.take();
        let (kind, message) = blame(state, step, error);
        let mut fault = Fault::new(kind, message);
        let said = match last_error {
            _ if !stderr.is_empty() => Some(tail(&stderr, 1000)),
            logged => logged.map(|line| tail(&line, 1000)),
        };
        if let Some(said) = said.filter(|_| kind == FaultKind::Trap) {
            fault.message = format!("{}; it said: {said}", fault.message);
        }
        advice(kind, step).clone_into(&mut fault.advice);
        fault.backtrace = backtrace::text(error, &stderr);
        fault
    }
}

/// What a failure in a step was, and what to say of it.
fn blame(state: &State, step: &str, error: &wasmtime::Error) -> (FaultKind, String) {
    let limiter = &state.limiter;
    let reason = error.root_cause().to_string();
    if let Some(up) = error.downcast_ref::<TimeUp>() {
        (FaultKind::Time, format!("{up} (in `{step}`)"))
    } else if let Some(wanted) = limiter.refused() {
        let (wanted, limit) = (mebibytes(wanted), mebibytes(limiter.limit()));
        (
            FaultKind::Memory,
            format!("the plugin wanted {wanted} of memory in `{step}`, its limit is {limit}"),
        )
    } else if error.is::<PoolConcurrencyLimitError>() {
        let text = format!("no sandbox is free: {reason}");
        (FaultKind::Transient, text)
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        (
            FaultKind::Trap,
            format!("the plugin trapped in `{step}`: {}", trapped(*trap)),
        )
    } else if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        (
            FaultKind::Trap,
            format!(
                "the plugin ended itself in `{step}` with exit code {}",
                exit.0
            ),
        )
    } else if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        (
            FaultKind::Contract,
            format!(
                "the plugin holds more than {HANDLES} files, streams and connections open in `{step}`"
            ),
        )
    } else if let Some(full) = error.downcast_ref::<Full>() {
        let kind = match full {
            Full::Stage(_) => FaultKind::Contract,
            Full::Process(_) => FaultKind::Transient,
        };
        (kind, format!("{full} in `{step}`"))
    } else if reason.contains("fuel allocated for hostcalls") {
        let limit = mebibytes(state.scope.limits.output as u64);
        (
            FaultKind::Contract,
            format!("the plugin handed over more than {limit} in one go in `{step}`"),
        )
    } else {
        // What is left are values that are not of their type: text that is no UTF-8, lists outside of the memory.
        (
            FaultKind::Contract,
            format!("the plugin handed over a malformed value in `{step}`: {reason}"),
        )
    }
}

/// What somebody can do about a failure.
fn advice(kind: FaultKind, step: &str) -> &'static str {
    match kind {
        FaultKind::Memory => "raise the stage's memory limit, or make its batches smaller",
        FaultKind::Time => "raise the stage's time limit, or make its batches smaller",
        FaultKind::Trap if step == "open" => {
            "a config that a plugin cannot use has to be a config fault that names the field: report it to the plugin's \
             author"
        }
        _ => "",
    }
}

fn mebibytes(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    if bytes.is_multiple_of(MIB) {
        format!("{} MiB", bytes / MIB)
    } else {
        let tenths = bytes / (MIB / 10);
        format!("{}.{} MiB", tenths / 10, tenths % 10)
    }
}

/// A panic of most languages ends in `unreachable`, so that is said as well.
fn trapped(trap: Trap) -> String {
    match trap {
        Trap::UnreachableCodeReached => {
            "it panicked or aborted (`unreachable` was reached)".to_owned()
        }
        Trap::StackOverflow => "its stack overflowed (recursion too deep)".to_owned(),
        other => other.to_string(),
    }
}

/// The last bytes of a text, from the start of a line or character, on one line.
fn tail(text: &str, bytes: usize) -> String {
    let from = text.len().saturating_sub(bytes);
    let from = (from..=text.len())
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0);
    text[from..]
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_for_people() {
        assert_eq!(mebibytes(256 << 20), "256 MiB");
        assert_eq!(mebibytes((1 << 20) + (1 << 19)), "1.5 MiB");
        assert_eq!(
            tail("thread panicked at x.rs:1:2:\n  index out of range\n", 1000),
            "thread panicked at x.rs:1:2: / index out of range"
        );
        assert_eq!(tail("ééé", 3), "é");
    }
}
