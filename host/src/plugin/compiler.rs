//! Where plugins are compiled: on threads of their own, at a low priority and never on all processors, so that a swap's
//! compiling takes nothing from flows that run.

use rayon::{ThreadPool, ThreadPoolBuilder};

/// How much less than the others a compiling thread gets, from 0 to 19.
const NICE: i32 = 5;

/// See the module's documentation.
pub(super) struct Compiler(Option<ThreadPool>);

impl Compiler {
    /// Starts its threads. Where that cannot be, compiling is done by whoever asks.
    pub(super) fn start() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = ThreadPoolBuilder::new()
            .num_threads(processors.saturating_sub(1).max(1))
            .thread_name(|at| format!("compile-{at}"))
            .start_handler(|_| lower_priority())
            .build();
        Self(
            pool.inspect_err(|error| tracing::warn!("no threads for compiling: {error}"))
                .ok(),
        )
    }

    /// Does something there, and what it does in parallel as well. Blocks until it is done.
    pub(super) fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.0 {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}

/// For this thread only: on Linux a thread has a priority of its own.
#[cfg(target_os = "linux")]
fn lower_priority() {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!("compiling keeps its priority: {error}");
    }
}

#[cfg(not(target_os = "linux"))]
fn lower_priority() {
    let _ = NICE;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_on_few_threads_of_low_priority() {
        let compiler = Compiler::start();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let (threads, name) = compiler.run(|| {
            let name = std::thread::current().name().map(str::to_owned);
            (rayon::current_num_threads(), name)
        });
        assert!(threads == 1 || threads < processors);
        assert_eq!(name.as_deref().map(|name| &name[..8]), Some("compile-"));
        #[cfg(target_os = "linux")]
        {
            let there = compiler.run(|| rustix::process::getpriority_process(None).unwrap());
            let here = rustix::process::getpriority_process(None).unwrap();
            assert!(there >= NICE.min(19) && here < there, "{here} {there}");
        }
    }
}
