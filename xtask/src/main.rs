//! The project's own commands. `cargo xtask demo` and `cargo xtask test` are all that a newcomer needs.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use clap::{Parser, Subcommand};

mod bench;
mod chaos;
mod ci;
mod demo;
mod foreign;
mod fuzz;
mod guests;
mod nested;
mod tools;
// A wasm file with another manifest is made for tests as well.
#[allow(
    dead_code,
    unreachable_pub,
    reason = "it is public there, and the tests use all of it"
)]
#[path = "../../tests/src/variant.rs"]
mod variant;

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs the main job: a catalogue flows from Akeneo to Spryker through sandboxed plugins.
    Demo(demo::Options),
    /// Runs every test. Arguments are given to the test runner.
    Test {
        /// For `cargo nextest run` (or `cargo test` where nextest is not installed).
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Builds the host and the plugins into `target/`.
    Build {
        /// Builds the host as it is shipped.
        #[arg(long)]
        release: bool,
    },
    /// Installs the pinned tool chains of JavaScript, Python and so on into the target folder, for the plugins written in them.
    Tools,
    /// Measures speed and size, each beside something else or against an aim.
    Bench(bench::Options),
    /// Kills runs with SIGKILL at random moments and compares what they leave with undisturbed runs.
    Chaos(chaos::Options),
    /// Explores every interleaving of a small run: barriers, crashes, traps, a swap; says how many states there are.
    Model,
    /// Feeds mutated inputs to what reads what strangers write: manifests, flows, mappings, batches, CSV, snapshots.
    Fuzz(fuzz::Options),
    /// What has to pass before a change lands: format, build, lints, docs, dependencies, model, tests.
    Ci,
}

fn main() -> ExitCode {
    if let Some(code) = fuzz::compile_instead() {
        return code;
    }
    let task = Arguments::parse().command;
    let done = match task {
        Task::Demo(options) => demo::run(&options),
        Task::Test { arguments } => ci::test(&arguments).map(|()| ExitCode::SUCCESS),
        Task::Build { release } => build(release).map(|_| ExitCode::SUCCESS),
        Task::Tools => install_tools().map(|()| ExitCode::SUCCESS),
        Task::Bench(options) => bench::run(&options).map(|()| ExitCode::SUCCESS),
        Task::Chaos(options) => chaos::run(&options).map(|()| ExitCode::SUCCESS),
        Task::Model => ci::model().map(|()| ExitCode::SUCCESS),
        Task::Fuzz(options) => fuzz::run(&options).map(|()| ExitCode::SUCCESS),
        Task::Ci => ci::run().map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
        Err(message) => {
            say(&format!("error: {message}"));
            ExitCode::FAILURE
        }
    }
}

/// What was built, and where.
struct Built {
    /// The host.
    crossdock: PathBuf,
    /// The stand-in of Akeneo's API.
    standin: PathBuf,
    /// The folder of plugins.
    plugins: PathBuf,
}

/// Builds the plugins, the host and the stand-in.
fn build(release: bool) -> Result<Built, String> {
    let root = workspace();
    guests::build(&root, &[guests::PLUGINS])?;
    let mut cargo = cargo();
    // Always the whole workspace: with fewer packages some libraries have fewer features, and are built once more.
    cargo.args(["build", "--workspace", "--bins"]);
    if release {
        cargo.arg("--release");
    }
    execute(&mut cargo)?;
    let target = guests::target_dir(&root);
    let bins = target.join(if release { "release" } else { "debug" });
    let crossdock = bins.join("crossdock");
    build_foreign(&crossdock)?;
    Ok(Built {
        crossdock,
        standin: bins.join("akeneo-standin"),
        plugins: target.join("plugins"),
    })
}

/// Installs the tool chains that are not there yet, and says what is where and what is left out.
fn install_tools() -> Result<(), String> {
    for (tools, state) in tools::ensure(&guests::target_dir(&workspace()))? {
        match state {
            tools::State::Ready => say(&format!("{tools}: ready")),
            tools::State::Missing(why) => say(&left_out(&tools, &why)),
        }
    }
    Ok(())
}

fn left_out(tools: &tools::Tools, why: &str) -> String {
    format!("{tools}: left out, and the plugins that need it: {why}")
}

/// Builds the plugins that are not in Rust. Where a tool chain is missing its plugins are left out.
fn build_foreign(crossdock: &Path) -> Result<(), String> {
    let root = workspace();
    let target = guests::target_dir(&root);
    let states = tools::ensure(&target)?;
    for (tools, state) in &states {
        if let tools::State::Missing(why) = state {
            say(&left_out(tools, why));
        }
    }
    for plugin in foreign::find(&root)? {
        if plugin.1.is_ready(&target) {
            foreign::build(&root, &target, crossdock, &plugin)?;
        }
    }
    Ok(())
}

/// The root of the repository.
fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

fn cargo() -> Command {
    nested::cargo(&workspace())
}

/// Runs a command to its end; a failure names it.
fn execute(command: &mut Command) -> Result<(), String> {
    let status = command.status();
    let name = format!("{command:?}").replace('"', "");
    let status = status.map_err(|e| format!("{name}: {e}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{name}` failed ({status})"))
    }
}

/// Progress goes to standard error; results to standard output.
#[allow(clippy::print_stderr, reason = "this is a command line tool")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// A result.
#[allow(clippy::print_stdout, reason = "this is a command line tool")]
fn print(text: &str) {
    println!("{text}");
}
