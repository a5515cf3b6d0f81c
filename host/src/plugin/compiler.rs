//! Where plugins are compiled: in a process of its own, with limits on its time and memory, that ends when nobody waits for
//! it any more. A component of 90 KiB can keep the compiler busy for minutes, and a compiler that runs within this process
//! cannot be called off. While flows run, it is done at a low priority and never on all processors.
//!
//! That process is this very program, started with [`ARGUMENT`]: it reads a component and writes machine code. Programs that
//! only use the library (tests, benches) have none; they compile on threads of their own, without limits.

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    path::PathBuf,
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::Semaphore;
use wasmtime::Engine;

use super::{engine, error::one_line};

/// How much less than the others a compiling thread gets, from 0 to 19.
const NICE: i32 = 5;
/// What the program is started with to compile: then come the seconds that it may take, whether lines are kept, and
/// whether flows are running.
const ARGUMENT: &str = "--compile-a-plugin";
/// Processor time that compiling may take, and how much more for each MiB of the component. Code that is made by
/// compilers takes less than a tenth of it.
const TIME: (Duration, Duration) = (Duration::from_mins(1), Duration::from_secs(30));
/// Memory that compiling may take, and how much more for each byte of the component.
const MEMORY: (u64, u64) = (4 << 30, 64);
/// Most machine code that is taken of it.
const MAX_CODE: u64 = 2 << 30;
/// What is kept of what it says when it fails.
const TOLD: u64 = 8 << 10;
/// Plugins that are compiled at a time: one that takes long does not keep all others waiting.
const AT_A_TIME: usize = 4;

/// The program that compiles.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// How a plugin is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Somebody waits for it.
    Full,
    /// Flows are running.
    Aside,
}

/// Why there is no machine code.
#[derive(Debug, thiserror::Error)]
pub(super) enum CompileError {
    /// The component is not valid.
    #[error("{0}")]
    Invalid(String),
    /// It took too much time.
    #[error(
        "it takes more than {} s of processor time, and no plugin of its size has a reason to: it was stopped; tell its author",
        .0.as_secs()
    )]
    Time(Duration),
    /// It failed, for want of memory as a rule.
    #[error("the compiler ended early ({0}): it may have needed too much memory")]
    Ended(ExitStatus),
    /// It cannot be started or spoken to.
    #[error("the compiler cannot be started: {0}")]
    Start(#[from] io::Error),
}

/// See the module's documentation.
pub(super) struct Compiler {
    lines: bool,
    places: Semaphore,
    threads: Option<ThreadPool>,
}

/// For a program whose `main` begins with it: compiles when it was started for that, and gives its exit code. Otherwise it
/// says that this program compiles what its runtimes load.
pub fn compiles_here() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == ARGUMENT) {
        return Some(match compile(&arguments.collect::<Vec<_>>()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // Whoever started it may be gone.
                drop(write!(io::stderr(), "{error}"));
                ExitCode::FAILURE
            }
        });
    }
    if let Ok(program) = this_program() {
        // The first to say so is the program.
        drop(PROGRAM.set(program));
    }
    None
}

/// Also when its file was replaced meanwhile: an upgrade must not change who compiles.
fn this_program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") {
        return Ok("/proc/self/exe".into());
    }
    std::env::current_exe()
}

/// What the other process does.
fn compile(arguments: &[OsString]) -> Result<(), CompileError> {
    let argument = |at: usize| arguments.get(at).and_then(|argument| argument.to_str());
    let seconds = argument(0).and_then(|seconds| seconds.parse().ok());
    let (lines, aside) = (argument(1) == Some("lines"), argument(2) == Some("aside"));
    let mut component = Vec::new();
    limit_time(seconds.unwrap_or(TIME.0.as_secs()));
    io::stdin().read_to_end(&mut component)?;
    limit_memory(MEMORY.0 + MEMORY.1 * component.len() as u64);
    if aside {
        lower_priority();
    }
    let invalid = |error: wasmtime::Error| CompileError::Invalid(one_line(&error));
    let engine = Engine::new(&engine::config(1, lines)).map_err(invalid)?;
    let code = engine.precompile_component(&component).map_err(invalid)?;
    io::stdout().write_all(&code)?;
    Ok(io::stdout().flush()?)
}

#[cfg(target_os = "linux")]
fn limit_time(seconds: u64) {
    use rustix::process::{Resource, Rlimit, Signal, setrlimit};
    let limit = Rlimit {
        current: Some(seconds),
        // A signal that tells what it was comes first.
        maximum: Some(seconds + 1),
    };
    // What cannot be limited is still ended by whoever waits for it, and with it.
    let _ = setrlimit(Resource::Cpu, limit);
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
}

#[cfg(target_os = "linux")]
fn limit_memory(bytes: u64) {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    // The system's own limits hold in any case.
    let _ = setrlimit(Resource::Data, limit);
}

#[cfg(not(target_os = "linux"))]
fn limit_time(_: u64) {}

#[cfg(not(target_os = "linux"))]
fn limit_memory(_: u64) {}

/// The other process, as both who waits for it and who speaks to it have it.
#[derive(Default)]
struct Other {
    child: Option<Child>,
    called_off: bool,
}

/// Ends the other process when nobody waits for it any more.
struct Waiting(Arc<Mutex<Other>>);

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut other = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        other.called_off = true;
        if let Some(child) = &mut other.child {
            // It may have ended.
            drop(child.kill());
        }
    }
}

impl Compiler {
    /// `lines`: files and lines of the source stay in the code.
    pub(super) fn new(lines: bool) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = PROGRAM.get().is_none().then(|| {
            ThreadPoolBuilder::new()
                .num_threads(aside(processors))
                .thread_name(|at| format!("compile-{at}"))
                .start_handler(|_| lower_priority())
                .build()
        });
        let threads = threads.and_then(|pool| {
            pool.inspect_err(|error| tracing::warn!("no threads for compiling: {error}"))
                .ok()
        });
        Self {
            lines,
            places: Semaphore::new(AT_A_TIME),
            threads,
        }
    }

    /// Machine code for this engine. It is called off when it is not waited for.
    pub(super) async fn compile(
        self: &Arc<Self>,
        engine: &Engine,
        component: Arc<Vec<u8>>,
        pace: Pace,
    ) -> Result<Vec<u8>, CompileError> {
        let Some(program) = PROGRAM.get() else {
            let (compiler, engine) = (Arc::clone(self), engine.clone());
            let here = move || compiler.here(&engine, &component, pace);
            return tokio::task::spawn_blocking(here)
                .await
                .map_err(io::Error::other)?;
        };
        // It is never closed.
        let _place = self.places.acquire().await.map_err(io::Error::other)?;
        let mut command = Command::new(program);
        let time = TIME.0 + TIME.1 * u32::try_from(component.len() >> 20).unwrap_or(u32::MAX);
        command
            .arg(ARGUMENT)
            .arg(time.as_secs().to_string())
            .arg(if self.lines { "lines" } else { "no-lines" })
            .arg(if pace == Pace::Aside {
                "aside"
            } else {
                "at-once"
            })
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if pace == Pace::Aside {
            let processors = std::thread::available_parallelism().map_or(1, usize::from);
            command.env("RAYON_NUM_THREADS", aside(processors).to_string());
        }
        // What a terminal sends (Ctrl-C) is for this process: it ends the other one when that is due.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let other = Arc::new(Mutex::new(Other::default()));
        let waiting = Waiting(Arc::clone(&other));
        let spoken = tokio::task::spawn_blocking(move || speak(command, &component, &other));
        let (code, told, status) = spoken.await.map_err(io::Error::other)??;
        drop(waiting);
        match status.code() {
            Some(0) => Ok(code),
            Some(_) => Err(CompileError::Invalid(told.replace('\n', " "))),
            None if ended_by_time(status) => Err(CompileError::Time(time)),
            None => Err(CompileError::Ended(status)),
        }
    }

    /// In this process.
    fn here(&self, engine: &Engine, component: &[u8], pace: Pace) -> Result<Vec<u8>, CompileError> {
        let work = || engine.precompile_component(component);
        let code = match pace {
            Pace::Full => work(),
            Pace::Aside => self.aside(work),
        };
        code.map_err(|error| CompileError::Invalid(one_line(&error)))
    }

    /// Does something on the threads for it, and what it does in parallel as well. Blocks until it is done.
    fn aside<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.threads {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}

/// How many processors compiling takes while flows run.
fn aside(processors: usize) -> usize {
    processors.saturating_sub(1).max(1)
}

/// Starts the other process, gives it the component, and takes the code, what it says and how it ended. Blocks.
fn speak(
    mut command: Command,
    component: &[u8],
    other: &Mutex<Other>,
) -> io::Result<(Vec<u8>, String, ExitStatus)> {
    let lock = || other.lock().unwrap_or_else(PoisonError::into_inner);
    let (input, output, errors) = {
        let mut other = lock();
        if other.called_off {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let child = other.child.insert(command.spawn()?);
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    };
    if let Some(mut input) = input {
        // One that ends early tells why by how it ends.
        drop(input.write_all(component));
    }
    let (mut code, mut told) = (Vec::new(), Vec::new());
    if let Some(output) = output {
        output.take(MAX_CODE).read_to_end(&mut code)?;
    }
    if let Some(errors) = errors {
        errors.take(TOLD).read_to_end(&mut told)?;
    }
    let mut other = lock();
    let child = other.child.as_mut().ok_or(io::ErrorKind::NotFound)?;
    // It has closed its output, so this is the moment of its end. One that goes on without it is ended.
    if code.len() as u64 == MAX_CODE {
        child.kill()?;
    }
    let status = child.wait()?;
    other.child = None;
    Ok((code, String::from_utf8_lossy(&told).into_owned(), status))
}

#[cfg(unix)]
fn ended_by_time(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt as _;
    status.signal() == Some(rustix::process::Signal::XCPU.as_raw())
}

#[cfg(not(unix))]
fn ended_by_time(_: ExitStatus) -> bool {
    false
}

/// For this thread and those that it starts: on Linux a thread has a priority of its own.
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
        let compiler = Compiler::new(false);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let (threads, name) = compiler.aside(|| {
            let name = std::thread::current().name().map(str::to_owned);
            (rayon::current_num_threads(), name)
        });
        assert!(threads == 1 || threads < processors);
        assert_eq!(name.as_deref().map(|name| &name[..8]), Some("compile-"));
        #[cfg(target_os = "linux")]
        {
            let there = compiler.aside(|| rustix::process::getpriority_process(None).unwrap());
            let here = rustix::process::getpriority_process(None).unwrap();
            assert!(there >= NICE.min(19) && here < there, "{here} {there}");
        }
    }
}
