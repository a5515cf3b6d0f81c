//! The command line: one file per command.
//!
//! Results go to stdout, everything else to stderr. With `--json` exactly one JSON document is on stdout, whatever
//! happens: an object with `ok`, and `error` with `findings` when it is `false`.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

mod arguments;
mod audit;
mod author;
mod bench;
mod cassette;
mod catalogue;
mod check;
mod conformance;
mod daemon;
mod dev;
mod diagnostic;
mod dlq;
mod flow;
mod folders;
mod follow;
mod key;
mod map;
mod metrics;
mod output;
mod plugin;
mod progress;
mod run;
mod schema;
mod secret;
mod serve;
mod signature;
mod style;
mod summary;
mod swap;

#[cfg(test)]
mod tests;

use std::{future::Future, io, process::ExitCode};

use clap::{CommandFactory as _, Parser as _};
use serde_json::json;
use tracing_subscriber::EnvFilter;

use crate::{
    app::{AppError, PluginsError},
    author::AuthorError,
    catalogue::KeyError,
    flow::{Finding, Severity},
};
use arguments::{Arguments, Command, MapCommand, PluginCommand};
use output::Output;

/// Runs the command line and gives the exit code: 0 done, 1 failed, 2 usage or configuration error, 3 finished with
/// dead letters, 130 aborted.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output::new(arguments.color);
    log_to_stderr(&arguments.command.log_filter(&arguments.log), output);
    let json = arguments.command.wants_json();
    let code =
        dispatch(arguments.command, output).unwrap_or_else(|failure| failure.report(json, output));
    ExitCode::from(output.exit_code(code))
}

fn dispatch(command: Command, output: Output) -> Result<u8, Failure> {
    match command {
        Command::Run(arguments) => block_on(run::run(arguments, output)),
        Command::Check(arguments) => block_on(check::check(arguments, output)),
        Command::Schema(arguments) => Ok(schema::schema(&arguments, output)),
        Command::Plugin(PluginCommand::Inspect {
            file,
            compare,
            json,
        }) => plugin::inspect(&file, compare.as_deref(), json, output),
        Command::Plugin(PluginCommand::Sign(arguments)) => {
            block_on(signature::sign(arguments, output))
        }
        Command::Plugin(PluginCommand::Verify(arguments)) => {
            block_on(signature::verify(arguments, output))
        }
        Command::Key(command) => key::key(&command, output),
        Command::Plugin(PluginCommand::New(arguments)) => author::new(&arguments, output),
        Command::Plugin(PluginCommand::Build(arguments)) => author::build(&arguments, output),
        Command::Plugin(PluginCommand::Test(arguments)) => {
            block_on(conformance::test(arguments, output))
        }
        Command::Plugin(PluginCommand::Record(arguments)) => {
            block_on(cassette::record(arguments, output))
        }
        Command::Plugin(PluginCommand::Bench(arguments)) => {
            block_on(bench::bench(arguments, output))
        }
        Command::Plugin(PluginCommand::Dev(arguments)) => block_on(dev::dev(arguments, output)),
        Command::Plugin(PluginCommand::Publish(arguments)) => {
            block_on(plugin::publish(arguments, output))
        }
        Command::Plugin(PluginCommand::Install(arguments)) => {
            block_on(plugin::install(arguments, output))
        }
        Command::Plugin(PluginCommand::List(arguments)) => {
            block_on(plugin::list(arguments, output))
        }
        Command::Plugin(PluginCommand::Search(arguments)) => {
            block_on(plugin::search(arguments, output))
        }
        Command::Plugin(PluginCommand::Info(arguments)) => {
            block_on(plugin::info(arguments, output))
        }
        Command::Plugin(PluginCommand::Upgrade(arguments)) => {
            block_on(plugin::upgrade(arguments, output))
        }
        Command::Plugin(PluginCommand::Outdated(arguments)) => {
            block_on(plugin::outdated(arguments, output))
        }
        Command::Plugin(PluginCommand::Pin(arguments)) => block_on(plugin::pin(arguments, output)),
        Command::Plugin(PluginCommand::Rollback(arguments)) => {
            block_on(plugin::rollback(arguments, output))
        }
        Command::Plugin(PluginCommand::Why(arguments)) => plugin::why(&arguments, output),
        Command::Plugin(PluginCommand::Bundle(arguments)) => {
            block_on(plugin::bundle(arguments, output))
        }
        Command::Plugin(PluginCommand::Remove(arguments)) => {
            block_on(plugin::remove(arguments, output))
        }
        Command::Catalogue(command) => block_on(catalogue::catalogue(command, output)),
        Command::Map(MapCommand::Test(arguments)) => block_on(map::test(arguments, output)),
        Command::Secret(command) => secret::secret(command, output),
        Command::Dlq(command) => block_on(dlq::dlq(command, output)),
        Command::Serve(arguments) => block_on(serve::serve(arguments, output)),
        Command::Flow(command) => block_on(flow::flow(command, output)),
        Command::Swap(arguments) => block_on(swap::swap(arguments, output)),
        Command::Swaps(arguments) => block_on(swap::swaps(arguments, output)),
        Command::Rollback(arguments) => block_on(swap::rollback(arguments, output)),
        Command::Audit(arguments) => audit::show(arguments, output),
        Command::Metrics(arguments) => block_on(metrics::metrics(arguments, output)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "crossdock", &mut script);
            output.print(&String::from_utf8_lossy(&script));
            Ok(0)
        }
    }
}

impl Command {
    /// What is logged. A plugin that is tested is made to fail: what it says then is no news.
    fn log_filter(&self, asked: &str) -> String {
        match self {
            Self::Plugin(PluginCommand::Test(_)) if asked == "warn" => "warn,plugin=off".to_owned(),
            // Its author looks on.
            Self::Plugin(PluginCommand::Dev(_)) if asked == "warn" => "warn,plugin=info".to_owned(),
            _ => asked.to_owned(),
        }
    }

    fn wants_json(&self) -> bool {
        match self {
            Self::Run(arguments) => arguments.json,
            Self::Check(arguments) => arguments.json,
            Self::Map(MapCommand::Test(arguments)) => arguments.json,
            Self::Flow(command) => command.wants_json(),
            Self::Swap(arguments) => arguments.wants_json(),
            Self::Swaps(arguments) => arguments.json,
            Self::Rollback(arguments) => arguments.follow.json,
            Self::Audit(arguments) => arguments.json,
            Self::Secret(command) => command.wants_json(),
            Self::Dlq(command) => command.wants_json(),
            Self::Plugin(PluginCommand::Inspect { json, .. }) => *json,
            Self::Plugin(PluginCommand::Sign(arguments)) => arguments.json,
            Self::Plugin(PluginCommand::Verify(arguments)) => arguments.json,
            Self::Key(command) => command.wants_json(),
            Self::Catalogue(command) => command.wants_json(),
            Self::Plugin(PluginCommand::Search(arguments)) => arguments.project.json,
            Self::Plugin(PluginCommand::New(arguments)) => arguments.json,
            Self::Plugin(PluginCommand::Build(arguments)) => arguments.json,
            Self::Plugin(PluginCommand::Test(arguments)) => arguments.json,
            Self::Plugin(PluginCommand::Record(arguments)) => arguments.json,
            Self::Plugin(PluginCommand::Bench(arguments)) => arguments.json,
            Self::Plugin(PluginCommand::Publish(arguments)) => arguments.json,
            Self::Plugin(PluginCommand::Install(arguments)) => arguments.project.json,
            Self::Plugin(PluginCommand::List(arguments)) => arguments.project.json,
            Self::Plugin(PluginCommand::Info(arguments)) => arguments.project.json,
            Self::Plugin(PluginCommand::Remove(arguments)) => arguments.project.json,
            Self::Plugin(PluginCommand::Upgrade(arguments)) => arguments.project.json,
            Self::Plugin(PluginCommand::Outdated(arguments)) => arguments.project.json,
            Self::Plugin(PluginCommand::Pin(arguments)) => arguments.project.json,
            Self::Plugin(PluginCommand::Rollback(arguments)) => arguments.project.json,
            Self::Plugin(PluginCommand::Why(arguments)) => arguments.project.json,
            Self::Plugin(PluginCommand::Bundle(arguments)) => arguments.project.json,
            Self::Metrics(arguments) => arguments.json,
            Self::Plugin(PluginCommand::Dev(_))
            | Self::Serve(_)
            | Self::Schema(_)
            | Self::Completions { .. } => false,
        }
    }
}

fn block_on(work: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|source| Failure::Io {
        action: "the runtime cannot be started",
        source,
    })?;
    let result = runtime.block_on(work);
    // An aborted run may leave work behind that nobody waits for any more. It ends with the process: shut down, the runtime
    // would cancel what that work itself is waiting for, which wasmtime's file system takes for a panic and says so.
    std::mem::forget(runtime);
    result
}

fn log_to_stderr(filter: &str, output: Output) {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(progress::LogWriter)
        .with_ansi(output.paint_errors.on)
        .finish();
    // Fails only when there is one already, as in a test that calls `main` twice.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Why a command did not end well.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The application said so.
    #[error(transparent)]
    App(#[from] AppError),
    /// A plugin cannot be published, judged or installed.
    #[error(transparent)]
    Plugins(#[from] PluginsError),
    /// A project cannot be made or built.
    #[error(transparent)]
    Author(#[from] AuthorError),
    /// A key cannot be made or used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What was typed or a file that it names is wrong.
    #[error("{0}")]
    Usage(String),
    /// The daemon said so.
    #[error("{error}")]
    Daemon {
        /// Whether what was asked has to be changed.
        usage: bool,
        /// What it said.
        error: String,
        /// What is wrong where.
        findings: Vec<Finding>,
    },
    /// The operating system said no.
    #[error("{action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Failure {
    /// Tells it and gives the exit code.
    fn report(&self, json: bool, output: Output) -> u8 {
        let findings = match self {
            Self::App(error) => error.findings(),
            Self::Plugins(error) => error.findings(),
            Self::Daemon { findings, .. } => findings,
            Self::Usage(_) | Self::Author(_) | Self::Key(_) | Self::Io { .. } => &[],
        };
        let code = match self {
            Self::App(error) => error.exit_code(),
            Self::Author(error) => error.exit_code(),
            Self::Key(error) => error.exit_code(),
            Self::Plugins(error) => error.exit_code(),
            Self::Usage(_) | Self::Daemon { usage: true, .. } => 2,
            Self::Io { .. } | Self::Daemon { .. } => 1,
        };
        if json {
            output.print_json(&failed(&self.message(findings), findings));
        } else if findings.is_empty() {
            let head = output.paint_errors.with(style::BAD, "error:");
            output.tell(&format!("{head} {}", self.message(findings)));
        } else {
            output.tell(&diagnostic::render(findings, output.paint_errors));
        }
        code
    }

    /// One sentence with its causes, each said once.
    fn message(&self, findings: &[Finding]) -> String {
        let errors = findings
            .iter()
            .filter(|one| one.severity == Severity::Error)
            .count();
        if errors > 0 {
            return format!(
                "the configuration has {}",
                style::counted(errors as u64, "error")
            );
        }
        let mut message = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        message
    }
}

/// The JSON document of a command that failed.
fn failed(message: &str, findings: &[Finding]) -> serde_json::Value {
    json!({ "ok": false, "error": message, "findings": findings })
}
