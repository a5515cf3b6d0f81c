//! What can be typed. Descriptions and examples are the help texts.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum, builder::PossibleValuesParser};
use clap_complete::Shell;
use jiff::Timestamp;
use tracing_subscriber::EnvFilter;

use super::{
    author::{BUILD_EXAMPLES, BuildArguments, NEW_EXAMPLES, NewArguments},
    bench::{BENCH_EXAMPLES, BenchArguments},
    cassette::{RECORD_EXAMPLES, RecordArguments},
    catalogue::CatalogueCommand,
    conformance::{TEST_EXAMPLES, TestArguments},
    dev::{DEV_EXAMPLES, DevArguments},
    dlq::arguments::DlqCommand,
    flow::FlowCommand,
    key::KeyCommand,
    metrics::MetricsArguments,
    plugin::arguments::{
        BUNDLE_EXAMPLES, BundleArguments, INFO_EXAMPLES, INSTALL_EXAMPLES, InfoArguments,
        InstallArguments, LIST_EXAMPLES, ListArguments, OUTDATED_EXAMPLES, OutdatedArguments,
        PIN_EXAMPLES, PUBLISH_EXAMPLES, PinArguments, PluginRollbackArguments, PublishArguments,
        REMOVE_EXAMPLES, ROLLBACK_EXAMPLES, RemoveArguments, SEARCH_EXAMPLES, SearchArguments,
        UPGRADE_EXAMPLES, UpgradeArguments, WHY_EXAMPLES, WhyArguments,
    },
    secret::SecretCommand,
    serve::ServeArguments,
    signature::{SIGN_EXAMPLES, SignArguments, VERIFY_EXAMPLES, VerifyArguments},
    swap::{RollbackArguments, SwapArguments, SwapsArguments},
};
use crate::{
    app::Action,
    flow::{document::SCHEMAS, quantity::Time},
};

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed
  2    usage or configuration error
  3    finished, but some records became dead letters
  130  aborted by a second Ctrl-C";

/// Moves records between systems through sandboxed, hot-swappable WebAssembly plugins
#[derive(Debug, Parser)]
#[command(name = "crossdock", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(super) struct Arguments {
    /// What is logged to stderr: error, warn, info, debug, trace, or per target (`warn,plugin=info`)
    #[arg(
        long, global = true, value_name = "LEVEL", env = "CROSSDOCK_LOG", hide_env_values = true,
        default_value = "warn", value_parser = log_filter
    )]
    pub(super) log: String,
    /// When to use colors
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(super) color: Color,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// When to use colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a flow once, from where its last run ended
    #[command(after_help = "\
Examples:
  crossdock run flows/prices.yaml
  crossdock run flows/prices.yaml --var SHOP=berlin --from-start
  crossdock run flows/prices.yaml --json > summary.json

Ctrl-C once drains what was read, makes a checkpoint and ends; the next run goes on from there.
Ctrl-C twice aborts; the next run goes on from the last checkpoint.

Exit codes: 0 done or stopped, 1 failed, 2 configuration error, 3 finished with dead letters")]
    Run(RunArguments),
    /// Run all flows of a project until told to end, with an API to steer them
    #[command(after_help = "\
Examples:
  crossdock serve
  crossdock serve shop --watch
  crossdock serve shop --listen 127.0.0.1:0 --drain 10s

Other commands find it by its state folder: flow, swap, swaps, rollback, dlq, run --follow.
Ctrl-C or SIGTERM drains every flow, makes a checkpoint and ends; twice aborts.
The API is described at /api/v1/openapi.json; its token is in .crossdock/daemon.json.

Exit codes: 0 ended in good order, 1 failed, 2 usage or configuration error, 130 aborted")]
    Serve(ServeArguments),
    /// Look at the flows of a running daemon, start, stop, pause and resume them
    #[command(subcommand)]
    Flow(FlowCommand),
    /// Put another version or config in the place of a stage while records flow
    #[command(after_help = "\
Examples:
  crossdock swap prices map mapper-2.wasm
  crossdock swap prices map mapper@0.2.0 --shadow 1000 --max-difference 1%
  crossdock swap prices csv --config csv.yaml --probation 10s

prepare:   the new version is found, checked against the stage and compiled
shadow:    it gets copies of records, its output is compared, nothing of it is seen outside
switch:    it takes over the state between two records
probation: nothing of it is committed yet; if it traps, lies or rejects too much, the flow goes
           back to the checkpoint of the switch and the old version, as if nothing had been
done:      it has taken over

Exit codes: 0 it has taken over, 1 the old version goes on, 2 usage or configuration error")]
    Swap(SwapArguments),
    /// Look at swaps, and call them off
    #[command(after_help = "\
Examples:
  crossdock swaps
  crossdock swaps 3
  crossdock swaps 3 --cancel")]
    Swaps(SwapsArguments),
    /// Put the version before a swap back in the place of a stage
    #[command(after_help = "\
Example:
  crossdock rollback prices map")]
    Rollback(RollbackArguments),
    /// Check a flow without running it
    #[command(after_help = "\
Examples:
  crossdock check flows/prices.yaml
  crossdock check flows/prices.yaml --connect   # also asks the remote systems

Exit codes: 0 fine (perhaps with warnings), 2 something is wrong")]
    Check(CheckArguments),
    /// Print the JSON Schema of a kind of file, for editors
    #[command(after_help = "\
Example:
  crossdock schema flow > flow.schema.json
  # first line of a flow file, for editors with the YAML language server:
  # yaml-language-server: $schema=../flow.schema.json")]
    Schema(SchemaArguments),
    /// Look at plugins, write them, publish and install them
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Look at what catalogues say of plugins, and make the index of one
    #[command(subcommand)]
    Catalogue(CatalogueCommand),
    /// Make and look at the keys with which plugins are signed
    #[command(subcommand)]
    Key(KeyCommand),
    /// Work on mappings
    #[command(subcommand)]
    Map(MapCommand),
    /// Work on dead letters: records that could not be processed
    #[command(subcommand, alias = "dead-letter")]
    Dlq(DlqCommand),
    /// Keep passwords, tokens and keys in the project, encrypted
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Show who did what: denials, grants, swaps, secrets, runs
    #[command(after_help = "\
Examples:
  crossdock audit
  crossdock audit --flow prices --since 2d
  crossdock audit --action denied --since 2026-01-31T08:00:00Z --json

It can be read while a host is running. A count says how often the same thing was denied since the
line about it before.")]
    Audit(AuditArguments),
    /// Show the numbers of a running daemon, as a monitoring system gets them
    #[command(after_help = "\
Examples:
  crossdock metrics
  crossdock metrics flow_records
  crossdock metrics dead_letters --json | jq '.metrics[] | select(.value > 0) | .labels.flow'

A monitoring system asks for /api/v1/metrics with the daemon's token, and gets the text format of
Prometheus. `crossdock serve --token-file FILE` gives it a token that stays the same.")]
    Metrics(MetricsArguments),
    /// Print a completion script for a shell
    #[command(after_help = "\
Example:
  crossdock completions bash > ~/.local/share/bash-completion/completions/crossdock")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Where plugins are and what variables are worth.
#[derive(Debug, Args)]
pub(super) struct FlowArguments {
    /// The flow file
    pub(super) flow: PathBuf,
    /// Set a variable of the flow file; may be repeated. Others come from the environment
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable)]
    pub(super) variables: Vec<(String, String)>,
    /// Folder for checkpoints and dead letters [default: .crossdock in the project's folder]
    #[arg(
        long,
        value_name = "DIR",
        env = "CROSSDOCK_STATE",
        hide_env_values = true
    )]
    pub(super) state: Option<PathBuf>,
    #[command(flatten)]
    pub(super) plugins: PluginFolders,
}

#[derive(Debug, Args)]
pub(super) struct PluginFolders {
    /// Folder with plugins; may be repeated. Then come `CROSSDOCK_PLUGINS`, `plugins` in the project's folder, and
    /// `plugins` beside the program
    #[arg(long = "plugins", value_name = "DIR")]
    pub(super) folders: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    pub(super) flow: FlowArguments,
    /// Forget the last checkpoint and read everything again
    #[arg(long)]
    pub(super) from_start: bool,
    /// Print the summary as one JSON document, and no progress
    #[arg(long)]
    pub(super) json: bool,
    /// Show progress on standard error beside `--json`
    #[arg(long, requires = "json")]
    pub(super) progress: bool,
    /// With a daemon: watch the run until it ends, instead of returning as soon as it has started
    #[arg(long)]
    pub(super) follow: bool,
    /// Print no progress and no summary
    #[arg(long, short, conflicts_with = "progress")]
    pub(super) quiet: bool,
}

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    pub(super) flow: FlowArguments,
    /// Also let every plugin check what it connects to
    #[arg(long)]
    pub(super) connect: bool,
    /// Print the findings as one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct SchemaArguments {
    /// The kind of file
    #[arg(value_name = "KIND", value_parser = PossibleValuesParser::new(SCHEMAS))]
    pub(super) kind: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Show what a component is, without running it
    #[command(after_help = "\
Examples:
  crossdock plugin inspect plugins/csv.wasm
  crossdock plugin inspect csv-2.wasm --compare plugins/csv.wasm   # what it asks for beyond the old one")]
    Inspect {
        /// The component
        file: PathBuf,
        /// The version that it would replace: also show what this one asks for beyond it
        #[arg(long, value_name = "OLD")]
        compare: Option<PathBuf>,
        /// Print it as one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Start a plugin: a complete project, to be changed
    #[command(after_help = NEW_EXAMPLES)]
    New(NewArguments),
    /// Check whether a component keeps the contract
    #[command(after_help = TEST_EXAMPLES)]
    Test(TestArguments),
    /// Record what a connector asks a real system and makes of the answers
    #[command(after_help = RECORD_EXAMPLES)]
    Record(RecordArguments),
    /// Measure how fast a component is, also beside another version
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(BenchArguments),
    /// Build and show what the sample records become, whenever a file changes
    #[command(after_help = DEV_EXAMPLES)]
    Dev(DevArguments),
    /// Build a plugin's project into one component that describes itself
    #[command(after_help = BUILD_EXAMPLES)]
    Build(BuildArguments),
    /// Sign a plugin, so that others can tell that it is yours
    #[command(after_help = SIGN_EXAMPLES)]
    Sign(SignArguments),
    /// Tell who signed a plugin, and whether that is enough here
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArguments),
    /// Put a plugin into a registry, as the version that it says it is
    #[command(after_help = PUBLISH_EXAMPLES)]
    Publish(PublishArguments),
    /// Get a plugin from a registry, look at what it is, and let the project's flows use it
    #[command(after_help = INSTALL_EXAMPLES)]
    Install(InstallArguments),
    /// List the installed plugins
    #[command(after_help = LIST_EXAMPLES)]
    List(ListArguments),
    /// Find plugins in the catalogues that the project looks at
    #[command(after_help = SEARCH_EXAMPLES)]
    Search(SearchArguments),
    /// Show everything about an installed plugin, or one in a registry
    #[command(after_help = INFO_EXAMPLES)]
    Info(InfoArguments),
    /// Take newer versions of installed plugins, after a look at what is different
    #[command(after_help = UPGRADE_EXAMPLES)]
    Upgrade(UpgradeArguments),
    /// List the installed plugins of which there are newer versions
    #[command(after_help = OUTDATED_EXAMPLES)]
    Outdated(OutdatedArguments),
    /// Let an installed plugin stay as it is
    #[command(after_help = PIN_EXAMPLES)]
    Pin(PinArguments),
    /// Put the version that was installed before back into its place
    #[command(after_help = ROLLBACK_EXAMPLES)]
    Rollback(PluginRollbackArguments),
    /// Show which flows use a plugin
    #[command(after_help = WHY_EXAMPLES)]
    Why(WhyArguments),
    /// Write installed plugins into one file, for a site that reaches no registry
    #[command(after_help = BUNDLE_EXAMPLES)]
    Bundle(BundleArguments),
    /// Remove an installed plugin
    #[command(after_help = REMOVE_EXAMPLES)]
    Remove(RemoveArguments),
}

#[derive(Debug, Subcommand)]
pub(super) enum MapCommand {
    /// Run a mapping on sample records and show each before and after
    #[command(after_help = "\
Examples:
  crossdock map test mappings/products.yaml --input samples.jsonl
  crossdock map test mappings/products.yaml --input samples.jsonl --stream products --table brands=brands.jsonl

Samples are JSON records, one a line. A table's file has one {\"key\": ..., \"value\": ...} a line.

Exit codes: 0 all mapped, 1 the mapper failed, 2 the mapping is wrong, 3 some records were rejected")]
    Test(MapTestArguments),
}

#[derive(Debug, Args)]
pub(super) struct MapTestArguments {
    /// The mapping
    pub(super) mapping: PathBuf,
    /// Sample records, one JSON text a line; `-` for stdin
    #[arg(long, short, value_name = "FILE")]
    pub(super) input: PathBuf,
    /// The stream that the samples are in
    #[arg(long, value_name = "NAME", default_value = "records")]
    pub(super) stream: String,
    /// Content of a table that the mapping reads; may be repeated
    #[arg(long = "table", value_name = "NAME=FILE", value_parser = table)]
    pub(super) tables: Vec<(String, PathBuf)>,
    /// The plugin that maps: its name or a path
    #[arg(long, value_name = "PLUGIN", default_value = "mapper")]
    pub(super) plugin: String,
    #[command(flatten)]
    pub(super) plugins: PluginFolders,
    /// Print the results as one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct AuditArguments {
    /// Only what concerns this flow
    #[arg(long, value_name = "NAME")]
    pub(super) flow: Option<String>,
    /// Only what concerns this plugin
    #[arg(long, value_name = "NAME")]
    pub(super) plugin: Option<String>,
    /// Only this action (`denied`, `grant-changed`, ...); may be repeated
    #[arg(long = "action", value_name = "ACTION")]
    pub(super) actions: Vec<Action>,
    /// Only from this time on: an age such as `30m` or `2d`, or a time such as `2026-01-31T08:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(super) since: Option<Timestamp>,
    /// At most this many, the latest
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(super) limit: usize,
    #[command(flatten)]
    pub(super) state: StateFolder,
    /// Print them as one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct StateFolder {
    /// Folder with checkpoints and dead letters [default: .crossdock in the project's folder]
    #[arg(
        long,
        value_name = "DIR",
        env = "CROSSDOCK_STATE",
        hide_env_values = true
    )]
    pub(super) state: Option<PathBuf>,
}

/// An age or a time.
fn since(text: &str) -> Result<Timestamp, String> {
    let day = |text: &str| format!("{text}T00:00:00Z").parse::<Timestamp>().ok();
    if let Some(time) = text.parse().ok().or_else(|| day(text)) {
        return Ok(time);
    }
    let age: Time = text.parse().map_err(|_| {
        "expected an age such as `30m` or `2d`, or a time such as `2026-01-31T08:00:00Z`".to_owned()
    })?;
    // What is older than time itself is everything.
    Ok(Timestamp::now()
        .checked_sub(age.0)
        .unwrap_or(Timestamp::MIN))
}

fn log_filter(text: &str) -> Result<String, String> {
    let filter = EnvFilter::builder().parse(text);
    filter
        .map(|_| text.to_owned())
        .map_err(|error| format!("{error}; try `info` or `warn,plugin=debug`"))
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<Time>()
        .map(|time| time.0)
        .map_err(|error| error.to_string())
}

/// `1%` or `0.01`.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let wrong = || format!("`{text}` is no share; write `1%` or `0.01`");
    let share: f64 = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map_err(|_| wrong())? / 100.0,
        None => text.parse().map_err(|_| wrong())?,
    };
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err(wrong())
    }
}

pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!(
            "`{name}` is no name: it has letters, digits and `_`"
        ));
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn table(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok((name.to_owned(), file.into()))
        }
        _ => Err("expected NAME=FILE".to_owned()),
    }
}
