//! `crossdock run`: one run of a flow in the foreground.

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Failure, arguments::RunArguments, diagnostic, folders, follow, output::Output, progress, style,
    summary,
};
use crate::{
    api::client::Client,
    app::{self, Progress, Project, RunOptions, RunSummary},
};

/// The run was aborted: what a shell gives for a program that Ctrl-C ended.
pub(super) const ABORTED: u8 = 130;

pub(super) async fn run(arguments: RunArguments, output: Output) -> Result<u8, Failure> {
    let how = follow::How::of(&arguments);
    let project = Project::open(&folders::options(arguments.flow))?;
    let flow = project.plan().name.clone();
    if let Some(daemon) = Client::find(project.state_dir()).await? {
        return follow::run(&daemon, &flow, how, output).await;
    }
    if !project.warnings().is_empty() && !arguments.quiet && !arguments.json {
        output.tell(&diagnostic::render(project.warnings(), output.paint_errors));
    }
    let stop = CancellationToken::new();
    let (sender, receiver) = watch::channel(Progress::default());
    let shown = (!arguments.quiet && (!arguments.json || arguments.progress)).then(|| {
        let flow = flow.clone();
        tokio::spawn(async move { progress::show(receiver, &flow, output).await })
    });
    let options = RunOptions {
        from_start: arguments.from_start,
        actor: app::cli_actor(),
        stop: stop.clone(),
        progress: sender,
    };
    let ended = until_aborted(Box::pin(project.run(options)), &stop, output).await?;
    if let Some(shown) = shown {
        // It ends with the sender, which is gone with the run; that it panicked changes nothing about the run.
        let _ = shown.await;
    }
    let Some(result) = ended else {
        if arguments.json {
            output.print_json(&aborted(&flow));
        }
        output.tell(&format!(
            "{} {flow} aborted; the next run goes on from the last checkpoint",
            output.paint_errors.with(style::BAD, "×")
        ));
        return Ok(ABORTED);
    };
    let summary = result?;
    if arguments.json {
        output.print_json(&document(&summary));
    } else if !arguments.quiet {
        output.print(&summary::render(&summary, output.paint));
    }
    Ok(summary::exit_code(&summary))
}

/// What is left to say of a run that was dropped.
pub(super) fn aborted(flow: &str) -> Value {
    json!({
        "ok": false,
        "flow": flow,
        "outcome": "aborted",
        "error": "aborted by a second signal",
        "findings": [],
    })
}

/// The summary with `ok`.
pub(super) fn document(summary: &RunSummary) -> Value {
    let mut document = json!({ "ok": summary::exit_code(summary) != 1 });
    if let (Value::Object(fields), Ok(Value::Object(more))) =
        (&mut document, serde_json::to_value(summary))
    {
        fields.extend(more);
    }
    document
}

/// Waits for a run. The first signal stops it in good order, the second drops it: `None`.
pub(super) async fn until_aborted<T>(
    run: impl Future<Output = T>,
    stop: &CancellationToken,
    output: Output,
) -> Result<Option<T>, Failure> {
    let mut signals = Signals::new()?;
    let mut run = std::pin::pin!(run);
    loop {
        tokio::select! {
            biased;
            result = &mut run => return Ok(Some(result)),
            () = signals.next() => {
                if stop.is_cancelled() {
                    return Ok(None);
                }
                stop.cancel();
                output.tell("stopping: what was read is brought to its end; once more aborts");
            }
        }
    }
}

/// Ctrl-C, what service managers send, and that the terminal has gone.
pub(super) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// `None` where it is ignored.
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| {
            signal(kind).map_err(|source| Failure::Io {
                action: "signals cannot be listened to",
                source,
            })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            // Who started this with `nohup` wants it to live on.
            hangup: if hangup_is_ignored() {
                None
            } else {
                Some(listen(SignalKind::hangup())?)
            },
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = hung_up(&mut self.hangup) => {}
        }
    }
}

async fn hung_up(hangup: &mut Option<tokio::signal::unix::Signal>) {
    match hangup {
        Some(hangup) => drop(hangup.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether this process was started with the first signal, `SIGHUP`, ignored. Only Linux says so.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{app::Outcome, cli::summary::tests::summary};

    #[test]
    fn the_json_document_of_a_run_is_stable() {
        let document = document(&summary(
            Outcome::Failed("too many dead letters".to_owned()),
            3,
        ));
        assert_eq!(document["ok"], json!(false));
        insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap());
    }
}
