//! wasmtime's configuration, and the ticker that lets long calls be interrupted.
//!
//! The choices are measured. Interruption by epochs costs least of the ways to stop a guest; a 4 GiB reservation with
//! guard pages makes bounds checks free; the pool with resident pages makes an instance in microseconds.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::Thread,
    time::Duration,
};

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
};

use super::error::{PluginError, one_line};

/// One epoch. A call is interrupted at most one of these (and a scheduler's delay) after its deadline. Shorter ones would
/// wake the processor more often for nothing: guests are asked to yield after two.
const TICK: Duration = Duration::from_millis(5);
/// Ticks without any call after which the ticker sleeps until the next call.
const LINGER: u32 = 40;
/// Stack of a guest. Deep recursion beyond it is a trap.
const WASM_STACK: usize = 1 << 20;
/// Stack of a call: the guest's and room for host functions.
const CALL_STACK: usize = 2 << 20;
/// Address space per memory: no bounds checks are compiled in, and any limit up to it can be set per instance.
const RESERVATION: usize = 4 << 30;

/// Components may have several core instances, memories and tables each (adapters, language runtimes).
#[allow(clippy::cast_possible_truncation, reason = "32")]
const CORE_PER_COMPONENT: u32 = super::limits::MODULES as u32;
const MEMORIES_PER_COMPONENT: u32 = 4;
const TABLES_PER_COMPONENT: u32 = 16;

/// Code that is compiled with the same `lines` is good for all engines of it.
pub(super) fn config(max_instances: u32, lines: bool) -> Config {
    let mut config = Config::new();
    config.wasm_component_model(true);
    // Guests are synchronous (the contract says so); without this an empty call costs three times as much.
    config.concurrency_support(false);
    config.epoch_interruption(true);
    config.cranelift_opt_level(OptLevel::Speed);
    config.max_wasm_stack(WASM_STACK);
    config.async_stack_size(CALL_STACK);
    config.memory_reservation(RESERVATION as u64);
    // Names in backtraces come from the name section, files and lines from DWARF, which is read again at every trap.
    config.wasm_backtrace_details(if lines {
        wasmtime::WasmBacktraceDetails::Enable
    } else {
        wasmtime::WasmBacktraceDetails::Disable
    });

    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(max_instances);
    pool.total_core_instances(max_instances.saturating_mul(8));
    pool.total_memories(max_instances.saturating_mul(2));
    pool.total_tables(max_instances.saturating_mul(4));
    pool.total_stacks(max_instances);
    pool.max_core_instances_per_component(CORE_PER_COMPONENT);
    pool.max_memories_per_component(MEMORIES_PER_COMPONENT);
    pool.max_tables_per_component(TABLES_PER_COMPONENT);
    pool.max_component_instance_size(4 << 20);
    pool.max_core_instance_size(4 << 20);
    pool.table_elements(super::limits::TABLE_ELEMENTS);
    pool.max_memory_size(RESERVATION);
    pool.linear_memory_keep_resident(4 << 20);
    pool.table_keep_resident(64 << 10);
    pool.pagemap_scan(Enabled::Auto);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Makes the engine for at most this many live instances, and starts its ticker. `lines`: files and lines in backtraces.
pub(super) fn start(max_instances: u32, lines: bool) -> Result<(Engine, Ticker), PluginError> {
    let failed = |error: wasmtime::Error| PluginError::Engine(one_line(&error));
    let engine = Engine::new(&config(max_instances.max(1), lines)).map_err(failed)?;
    let ticker = Ticker::start(&engine).map_err(|error| PluginError::Engine(error.to_string()))?;
    Ok((engine, ticker))
}

/// Counts the calls under way, so that the epoch advances only while there are some. The thread ends with the engine.
#[derive(Debug, Clone)]
pub(super) struct Ticker(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    calls: AtomicUsize,
    asleep: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

impl Ticker {
    fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let engine = engine.weak();
        let mine = Arc::clone(&shared);
        let handle = std::thread::Builder::new()
            .name("wasm-epoch".to_owned())
            .spawn(move || {
                let mut idle = 0;
                // The engine is gone as soon as nobody else holds it.
                while let Some(engine) = engine.upgrade() {
                    engine.increment_epoch();
                    drop(engine);
                    std::thread::sleep(TICK);
                    idle = if mine.calls.load(Ordering::SeqCst) == 0 {
                        idle + 1
                    } else {
                        0
                    };
                    if idle > LINGER {
                        mine.sleep_until_called();
                        idle = 0;
                    }
                }
            })?;
        *shared.thread.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(handle.thread().clone());
        Ok(Self(shared))
    }

    /// A call starts. It ends when the guard is dropped.
    pub(super) fn call(&self) -> Call {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        if self.0.asleep.load(Ordering::SeqCst)
            && let Some(thread) = &*self.0.thread.lock().unwrap_or_else(PoisonError::into_inner)
        {
            thread.unpark();
        }
        Call(Arc::clone(&self.0))
    }
}

impl Shared {
    /// A wake-up cannot be missed: `asleep` is set before `calls` is read, and a call counts itself before it reads
    /// `asleep`. Every second it looks whether the engine is still there.
    fn sleep_until_called(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        if self.calls.load(Ordering::SeqCst) == 0 {
            std::thread::park_timeout(Duration::from_secs(1));
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Call(Arc<Shared>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticker_ends_with_the_engine() {
        let (engine, ticker) = start(1, false).unwrap();
        let weak = engine.weak();
        drop(engine);
        drop(ticker);
        // The ticker holds the engine only for the moment of a tick.
        let gone = (0..1000).any(|_| {
            std::thread::yield_now();
            weak.upgrade().is_none() || {
                std::thread::sleep(Duration::from_millis(1));
                false
            }
        });
        assert!(gone);
    }
}
