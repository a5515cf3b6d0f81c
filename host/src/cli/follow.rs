//! `crossdock run` while a daemon serves the project: the run is the daemon's, and is watched from here.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    Failure,
    arguments::RunArguments,
    flow::{path, settled},
    output::Output,
    progress,
    run::document,
    style::{BAD, GOOD},
    summary,
};
use crate::{
    api::client::Client,
    app::{Progress, RunSummary},
};

/// Between two looks at a run.
const EVERY: Duration = Duration::from_millis(200);
/// What a flow is in while a run is under way.
const LIVE: [&str; 4] = ["starting", "running", "paused", "stopping"];

/// What is shown of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    from_start: bool,
    follow: bool,
    json: bool,
    quiet: bool,
    progress: bool,
}

impl How {
    pub(super) fn of(arguments: &RunArguments) -> Self {
        Self {
            from_start: arguments.from_start,
            follow: arguments.follow,
            json: arguments.json,
            quiet: arguments.quiet,
            progress: !arguments.quiet && (!arguments.json || arguments.progress),
        }
    }
}

/// Starts a run of the flow in the daemon; with `--follow` watches it until it ends.
pub(super) async fn run(
    daemon: &Client,
    flow: &str,
    how: How,
    output: Output,
) -> Result<u8, Failure> {
    let body = json!({ "from-start": how.from_start });
    let status: Value = daemon.post(&path(flow, "/start"), &body).await?;
    if !how.follow {
        if how.json {
            output.print_json(&json!({ "ok": true, "flow": flow, "state": status["state"] }));
        } else if !how.quiet {
            output.print(&format!(
                "{} {flow} runs in the daemon at {}; `crossdock flow status {flow}` says how it goes\n",
                output.paint.with(GOOD, "✓"),
                daemon.url()
            ));
        }
        return Ok(0);
    }
    let ended = watched(daemon, flow, how, output);
    let ended = tokio::select! {
        ended = ended => ended?,
        _ = tokio::signal::ctrl_c() => {
            let goes_on = format!("{flow} runs on in the daemon; `crossdock flow stop {flow}` ends it");
            if how.json {
                output.print_json(&super::failed(&goes_on, &[]));
            }
            output.tell(&goes_on);
            return Ok(super::run::ABORTED);
        }
    };
    let Ok(last) = serde_json::from_value::<RunSummary>(ended["last"].clone()) else {
        let reason = ended["reason"].as_str().unwrap_or("it has not run");
        if how.json {
            output.print_json(&super::failed(reason, &[]));
        } else {
            output.tell(&format!(
                "{} {flow}: {reason}",
                output.paint_errors.with(BAD, "×")
            ));
        }
        return Ok(1);
    };
    if how.json {
        output.print_json(&document(&last));
    } else if !how.quiet {
        output.print(&summary::render(&last, output.paint));
    }
    Ok(summary::exit_code(&last))
}

/// The flow's status after the end of its run.
async fn watched(daemon: &Client, flow: &str, how: How, output: Output) -> Result<Value, Failure> {
    if !how.progress {
        return settled(daemon, flow, &LIVE).await;
    }
    let (sender, receiver) = watch::channel(Progress::default());
    let looking = async {
        let mut looks = tokio::time::interval(EVERY);
        loop {
            looks.tick().await;
            let status: Value = daemon.get(&path(flow, "")).await?;
            if let Ok(progress) = serde_json::from_value(status["progress"].clone()) {
                sender.send_replace(progress);
            }
            let state = status["state"].as_str().unwrap_or_default();
            if !LIVE.contains(&state) {
                return Ok::<_, Failure>(status);
            }
        }
    };
    tokio::select! {
        status = looking => status,
        () = progress::show(receiver, flow, output) => settled(daemon, flow, &LIVE).await,
    }
}
