//! What `cargo xtask bench` measures inside of a process: a worker that reads one request per line and answers each
//! with one line, both JSON. `xtask` asks for a few milliseconds of one candidate at a time, in turns, so that what
//! disturbs the machine disturbs all of them alike.

mod by_value;
mod job;
mod languages;
mod load;
mod products;
/// The code of the plugin, compiled natively. The plugin itself is no library: cargo optimises a component as a whole only
/// when its crate is nothing else.
#[path = "../../plugins/reshape/src/lib.rs"]
#[allow(unreachable_pub, reason = "public for whom it is a crate")]
mod reshape;
mod swap;
mod transform;
mod unguarded;

use std::{
    io::{BufRead, Write},
    path::PathBuf,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use serde_json::{Value, json};

/// Anything that went wrong: it is told to `xtask`, which ends.
type Failure = Box<dyn std::error::Error>;

/// Where things are: the arguments, in this order.
struct Places {
    /// Components that are there for tests and benches.
    test_plugins: PathBuf,
    /// Components of the repository.
    plugins: PathBuf,
    /// For all that is written.
    folder: PathBuf,
    /// Compiled plugins: in that folder.
    cache: PathBuf,
}

impl Places {
    fn plugin(&self, name: &str) -> PathBuf {
        let own = self.plugins.join(format!("{name}.wasm"));
        if own.is_file() {
            own
        } else {
            self.test_plugins.join(format!("{name}.wasm"))
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "case", rename_all = "kebab-case", deny_unknown_fields)]
enum Request {
    /// Transforms so many batches.
    Transform {
        by: transform::By,
        bytes: usize,
        batches: usize,
    },
    /// What comes out of one batch.
    TransformOutput { by: transform::By, bytes: usize },
    /// Loads a plugin so many times from the compile cache.
    Load { plugin: String, times: usize },
    /// Opens an instance so many times and lets it go.
    Open {
        plugin: String,
        config: Value,
        times: usize,
    },
    /// Opens so many instances and tells what they take.
    Idle {
        plugin: String,
        config: Value,
        instances: u32,
    },
    /// Loads each of these plugins and opens it, and tells what that took.
    Many {
        plugins: Vec<PathBuf>,
        config: Value,
    },
    /// Applies so many batches of so many records to any plugin.
    Apply {
        plugin: PathBuf,
        config: Value,
        records: usize,
        batches: usize,
    },
    /// How long a plugin takes to be there.
    Start { plugin: PathBuf, config: Value },
    /// Runs the main job, with its sandboxes or without them.
    Job {
        flow: PathBuf,
        akeneo: job::Akeneo,
        sandbox: job::Sandbox,
    },
    /// Runs so many records through a flow while one of its stages is swapped.
    Swap {
        stage: Option<swap::Stage>,
        every_ms: u64,
        records: u64,
    },
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(test_plugins), Some(plugins), Some(folder)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("this is for `cargo xtask bench`".into());
    };
    let places = Places {
        test_plugins,
        plugins,
        cache: folder.join("cache"),
        folder,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut kept = Kept::default();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let request = serde_json::from_str(&line?)?;
        let answer = runtime
            .block_on(answer(request, &places, &mut kept))
            .unwrap_or_else(|error| json!({ "error": error.to_string() }));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

/// What is open from one request to the next.
#[derive(Default)]
struct Kept {
    transform: Option<transform::Bench>,
    language: Option<languages::Open>,
    job: job::Kept,
}

async fn answer(request: Request, places: &Places, kept: &mut Kept) -> Result<Value, Failure> {
    match request {
        Request::Transform { by, bytes, batches } => {
            let bench = transform::Bench::get(&mut kept.transform, places, bytes).await?;
            bench.run(by, batches).await
        }
        Request::TransformOutput { by, bytes } => {
            let bench = transform::Bench::get(&mut kept.transform, places, bytes).await?;
            bench.output(by).await
        }
        Request::Load { plugin, times } => load::load(places, &plugin, times).await,
        Request::Open {
            plugin,
            config,
            times,
        } => load::open(places, &plugin, config, times).await,
        Request::Idle {
            plugin,
            config,
            instances,
        } => load::idle(places, &plugin, config, instances).await,
        Request::Many { plugins, config } => load::many(places, &plugins, config).await,
        Request::Apply {
            plugin,
            config,
            records,
            batches,
        } => {
            let open = &mut kept.language;
            languages::apply(open, places, &plugin, config, (records, batches)).await
        }
        Request::Start { plugin, config } => languages::start(places, &plugin, config).await,
        Request::Job {
            flow,
            akeneo,
            sandbox,
        } => kept.job.run(places, flow, &akeneo, sandbox).await,
        Request::Swap {
            stage,
            every_ms,
            records,
        } => swap::load(places, stage, Duration::from_millis(every_ms), records).await,
    }
}

/// Nanoseconds that this thread was on a processor: what others do on the machine does not count.
fn cpu() -> u64 {
    spent(ClockId::ThreadCPUTime)
}

/// Nanoseconds of one of the processor's clocks.
fn spent(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds: u64 = time.tv_sec.try_into().unwrap_or_default();
    let nanos: u64 = time.tv_nsec.try_into().unwrap_or_default();
    seconds * 1_000_000_000 + nanos
}

/// Nanoseconds, as JSON has them.
#[allow(
    clippy::cast_possible_truncation,
    reason = "a bench of five hundred years"
)]
fn nanos(time: Duration) -> u64 {
    time.as_nanos() as u64
}
