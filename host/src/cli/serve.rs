//! `crossdock serve`: all flows of a project, until told to end.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{
    Failure,
    arguments::{PluginFolders, duration, variable},
    folders,
    output::Output,
    run::Signals,
    style::{self, GOOD, STRONG, counted},
};
use crate::{
    api::{Api, Token},
    app::{Daemon, ServeOptions, cli_actor},
};

/// What a shell gives for a program that Ctrl-C ended.
const ABORTED: u8 = 130;

/// How long open answers may take when everything has ended.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    /// The project's folder: it holds `flows/`
    #[arg(default_value = ".")]
    project: PathBuf,
    /// Where the admin API listens: an address of this machine. Port 0 takes any that is free
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "CROSSDOCK_LISTEN",
        hide_env_values = true,
        default_value = "127.0.0.1:7070"
    )]
    listen: SocketAddr,
    /// Take changed flow files, files that they name, and plugins over while flows run
    #[arg(long)]
    watch: bool,
    /// The longest that flows may take to drain and checkpoint at the end
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    drain: Duration,
    /// File with the token that API requests must carry [default: a new one at every start]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Set a variable of the flow files; may be repeated. Others come from the environment
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,
    /// Folder for checkpoints and dead letters [default: .crossdock in the project's folder]
    #[arg(
        long,
        value_name = "DIR",
        env = "CROSSDOCK_STATE",
        hide_env_values = true
    )]
    state: Option<PathBuf>,
    #[command(flatten)]
    plugins: PluginFolders,
}

pub(super) async fn serve(arguments: ServeArguments, output: Output) -> Result<u8, Failure> {
    if !arguments.listen.ip().is_loopback() {
        return Err(Failure::Usage(format!(
            "the admin API listens on this machine only, and {} is reached from others: use 127.0.0.1 or [::1], and \
             put a proxy that authenticates people before it where others must reach it",
            arguments.listen
        )));
    }
    let token = token(arguments.token_file)?;
    let signals = Signals::new()?;
    let daemon = Daemon::start(ServeOptions {
        plugin_dirs: folders::plugins(arguments.plugins.folders, Some(&arguments.project)),
        project: arguments.project,
        state: arguments.state,
        variables: arguments.variables.into_iter().collect(),
        watch: arguments.watch,
        drain: arguments.drain,
        actor: cli_actor(),
    })?;
    let api = match Api::bind(daemon.clone(), arguments.listen, token).await {
        Ok(api) => api,
        Err(source) => {
            daemon.shutdown().await;
            return Err(Failure::Usage(format!(
                "the admin API cannot listen on {}: {source}; name another address with --listen, 127.0.0.1:0 takes any \
                 free port",
                arguments.listen
            )));
        }
    };
    output.tell(&format!(
        "{} serving {}: {}, API on {}\n  what goes on: crossdock flow list --project {}",
        output.paint_errors.with(GOOD, "✓"),
        output
            .paint_errors
            .with(STRONG, style::path(daemon.project())),
        counted(daemon.flows().len() as u64, "flow"),
        api.url,
        style::path(daemon.project()),
    ));
    until_stopped(&daemon, api, signals, output).await
}

/// Serves until somebody stops it, and then until the flows have come to their end or the next signal.
async fn until_stopped(
    daemon: &Daemon,
    api: Api,
    mut signals: Signals,
    output: Output,
) -> Result<u8, Failure> {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let served = tokio::spawn(api.serve(async move { stopped.cancelled().await }));
    signals.next().await;
    output.tell("stopping: what was read is brought to its end; once more aborts");
    let ended = tokio::select! {
        () = daemon.shutdown() => true,
        () = signals.next() => false,
    };
    stop.cancel();
    if !ended {
        output.tell("aborted; flows go on from their last checkpoint");
        return Ok(ABORTED);
    }
    let served = tokio::select! {
        served = served => served,
        // Whoever still asks something has waited long enough.
        () = tokio::time::sleep(LAST_ANSWERS) => return Ok(0),
        () = signals.next() => return Ok(ABORTED),
    };
    match served {
        Ok(Ok(())) => Ok(0),
        Ok(Err(source)) => Err(Failure::Io {
            action: "the admin API failed",
            source,
        }),
        Err(error) => Err(Failure::Usage(format!("the admin API failed: {error}"))),
    }
}

fn token(file: Option<PathBuf>) -> Result<Token, Failure> {
    let Some(file) = file else {
        return Token::random().map_err(|source| Failure::Io {
            action: "no token can be made",
            source,
        });
    };
    let named = |why: String| Failure::Usage(format!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(&file).map_err(|error| named(error.to_string()))?;
    Token::chosen(&text).map_err(named)
}
