//! `crossdock flow`: what the flows of a daemon do, and what they should.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Failure,
    daemon::ProjectFolder,
    diagnostic,
    output::{Output, table},
    style::{self, BAD, FAINT, GOOD, Paint, STRONG, WARN, count},
};
use crate::api::client::Client;

#[derive(Debug, Subcommand)]
pub(super) enum FlowCommand {
    /// List the flows of a project and what they do
    #[command(after_help = "\
Examples:
  crossdock flow list
  crossdock flow list --project shop --json")]
    List {
        #[command(flatten)]
        project: ProjectFolder,
        /// Print them as one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Show one flow: its stages and versions, counts, delivery label and why
    #[command(after_help = "\
Example:
  crossdock flow status prices")]
    Status(OneFlow),
    /// Start a run of a flow
    #[command(after_help = "\
Examples:
  crossdock flow start prices
  crossdock flow start prices --from-start")]
    Start {
        #[command(flatten)]
        of: OneFlow,
        /// Forget the last checkpoint and read everything again
        #[arg(long)]
        from_start: bool,
    },
    /// End the run of a flow in good order; it stays stopped until it is started
    #[command(after_help = "\
Example:
  crossdock flow stop prices")]
    Stop(OneFlow),
    /// Let a flow read nothing more; what was read is settled and checkpointed
    #[command(after_help = "\
Example:
  crossdock flow pause prices")]
    Pause(OneFlow),
    /// Let a paused flow read again
    #[command(after_help = "\
Example:
  crossdock flow resume prices")]
    Resume(OneFlow),
}

#[derive(Debug, Args)]
pub(super) struct OneFlow {
    /// The flow's name
    flow: String,
    #[command(flatten)]
    project: ProjectFolder,
    /// Print it as one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

impl FlowCommand {
    pub(super) fn wants_json(&self) -> bool {
        match self {
            Self::List { json, .. } => *json,
            Self::Start { of, .. }
            | Self::Status(of)
            | Self::Stop(of)
            | Self::Pause(of)
            | Self::Resume(of) => of.json,
        }
    }
}

pub(super) async fn flow(command: FlowCommand, output: Output) -> Result<u8, Failure> {
    let (of, status) = match command {
        FlowCommand::List { project, json } => return list(&project, json, output).await,
        FlowCommand::Status(of) => {
            let daemon = of.project.daemon().await?;
            let status = daemon.get(&path(&of.flow, "")).await?;
            return Ok(tell(&status, of.json, output));
        }
        FlowCommand::Start { of, from_start } => {
            let daemon = of.project.daemon().await?;
            let body = json!({ "from-start": from_start });
            let status = daemon.post(&path(&of.flow, "/start"), &body).await?;
            (of, status)
        }
        FlowCommand::Stop(of) => asked(of, "/stop").await?,
        FlowCommand::Pause(of) => asked(of, "/pause").await?,
        FlowCommand::Resume(of) => asked(of, "/resume").await?,
    };
    if of.json {
        return Ok(tell(&status, true, output));
    }
    output.print(&format!("{}\n", headline(&status, output.paint)));
    Ok(exit_code(&status))
}

async fn asked(of: OneFlow, what: &str) -> Result<(OneFlow, Value), Failure> {
    let daemon = of.project.daemon().await?;
    let status = daemon.post(&path(&of.flow, what), &json!({})).await?;
    Ok((of, status))
}

/// A path of the API. Names of flows need no escaping; what is none is not found.
pub(super) fn path(flow: &str, rest: &str) -> String {
    let usable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let flow: String = flow
        .chars()
        .map(|c| if usable(c) { c } else { '_' })
        .collect();
    format!("flows/{flow}{rest}")
}

/// The status of a flow as soon as it has left these states.
pub(super) async fn settled(
    daemon: &Client,
    flow: &str,
    states: &[&str],
) -> Result<Value, Failure> {
    loop {
        let asked = path(flow, &format!("?while-in={}", states.join(",")));
        let status: Value = daemon.get(&asked).await?;
        if !states.contains(&text(&status["state"])) {
            return Ok(status);
        }
    }
}

async fn list(project: &ProjectFolder, json: bool, output: Output) -> Result<u8, Failure> {
    let daemon = project.daemon().await?;
    let flows: Vec<Value> = daemon.get("flows").await?;
    if json {
        output.print_json(&json!({ "ok": true, "flows": flows }));
        return Ok(0);
    }
    if flows.is_empty() {
        output.print("the project has no flows: put one into its folder `flows`\n");
        return Ok(0);
    }
    let rows: Vec<Vec<String>> = flows
        .iter()
        .map(|flow| {
            let last = |name: &str| {
                let stages = flow["progress"]["stages"].as_array();
                let found = match name {
                    "read" => stages.and_then(|s| s.first()).map(|s| &s["records_out"]),
                    _ => stages.and_then(|s| s.last()).map(|s| &s["records_in"]),
                };
                found
                    .and_then(Value::as_u64)
                    .map_or_else(String::new, count)
            };
            vec![
                text(&flow["flow"]).to_owned(),
                text(&flow["state"]).to_owned(),
                text(&flow["delivery"]["label"]).to_owned(),
                style::cut(text(&flow["reason"]), 60),
                last("read"),
                last("written"),
                number(&flow["dead-letters"]),
            ]
        })
        .collect();
    let header = [
        "flow", "state", "delivery", "why", "read", "written", "dead",
    ];
    output.print(&table(&header, 4, &rows));
    Ok(0)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> String {
    value.as_u64().map_or_else(String::new, count)
}

/// 1 for a flow that has failed.
fn exit_code(status: &Value) -> u8 {
    u8::from(matches!(text(&status["state"]), "failed" | "retrying"))
}

fn tell(status: &Value, json: bool, output: Output) -> u8 {
    if json {
        let mut document = json!({ "ok": exit_code(status) == 0 });
        if let (Value::Object(document), Value::Object(fields)) = (&mut document, status) {
            document.extend(fields.clone());
        }
        output.print_json(&document);
    } else {
        output.print(&shown(status, output.paint));
        let findings = serde_json::from_value(status["findings"].clone()).unwrap_or_default();
        let findings: Vec<crate::flow::Finding> = findings;
        if !findings.is_empty() {
            output.tell(&diagnostic::render(&findings, output.paint_errors));
        }
    }
    exit_code(status)
}

fn headline(status: &Value, paint: Paint) -> String {
    let state = text(&status["state"]);
    let style = match state {
        "running" | "finished" => GOOD,
        "failed" | "retrying" => BAD,
        _ => WARN,
    };
    let flow = paint.with(STRONG, text(&status["flow"]));
    match text(&status["reason"]) {
        "" => format!("{flow} is {}", paint.with(style, state)),
        reason => format!("{flow} is {}: {reason}", paint.with(style, state)),
    }
}

fn shown(status: &Value, paint: Paint) -> String {
    let mut out = headline(status, paint);
    out.push_str("\n\n");
    out.push_str(&stages(status));
    out.push_str(&delivery(status, paint));
    out.push_str(&checkpoint(&status["checkpoint"]));
    // Writing to a String cannot fail.
    if status["dead-letters"].as_u64().unwrap_or(0) > 0 {
        let waiting = paint.with(WARN, number(&status["dead-letters"]));
        let _ = writeln!(
            out,
            " Dead letters  {waiting}: crossdock dlq list --flow {}",
            text(&status["flow"])
        );
    }
    if let Some(swap) = status["swap"].as_u64() {
        let _ = writeln!(
            out,
            " Swap          {swap} is under way: crossdock swaps {swap}"
        );
    }
    out
}

fn stages(status: &Value) -> String {
    let progress = status["progress"]["stages"].as_array();
    let rows: Vec<Vec<String>> = status["stages"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|stage| {
            let own =
                progress.and_then(|stages| stages.iter().find(|own| own["name"] == stage["name"]));
            let of = |name: &str| own.map_or_else(String::new, |own| number(&own[name]));
            let swapped = if stage["swapped"] == true {
                " (swapped in)"
            } else {
                ""
            };
            vec![
                text(&stage["name"]).to_owned(),
                text(&stage["kind"]).to_owned(),
                format!(
                    "{} {}{swapped}",
                    text(&stage["plugin"]),
                    text(&stage["version"])
                ),
                of("records_in"),
                of("records_out"),
                of("rejected"),
            ]
        })
        .collect();
    let header = ["stage", "kind", "plugin", "in", "out", "rejected"];
    table(&header, 3, &rows)
}

fn delivery(status: &Value, paint: Paint) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let label = text(&status["delivery"]["label"]);
    if !label.is_empty() {
        let _ = writeln!(out, "\n Delivery      {}", paint.with(STRONG, label));
        for reason in status["delivery"]["reasons"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let _ = writeln!(out, "               {}", paint.with(FAINT, text(reason)));
        }
    }
    out
}

fn checkpoint(checkpoint: &Value) -> String {
    if !checkpoint.is_object() {
        return String::new();
    }
    let sum = |name: &str| -> u64 {
        let streams = checkpoint["streams"].as_object().into_iter().flatten();
        streams
            .filter_map(|(_, counts)| counts[name].as_u64())
            .sum()
    };
    let balanced = if checkpoint["balanced"] == true {
        "balanced"
    } else {
        "NOT BALANCED"
    };
    let [read, written, filtered, dead] = ["read", "written", "filtered", "dead"].map(sum);
    format!(
        " Checkpoint    {}: {} read, {} written, {} filtered, {} dead ({balanced})\n",
        number(&checkpoint["epoch"]),
        count(read),
        count(written),
        count(filtered),
        count(dead),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_shown_with_everything_that_matters() {
        let status = json!({
            "flow": "prices", "state": "running", "reason": null, "dead-letters": 2, "swap": 3,
            "stages": [
                { "name": "csv", "kind": "source", "plugin": "csv", "version": "0.1.0", "swapped": false },
                { "name": "map", "kind": "transformer", "plugin": "mapper", "version": "0.2.0", "swapped": true },
            ],
            "progress": { "stages": [
                { "name": "csv", "records_in": 1200, "records_out": 1200, "rejected": 0 },
                { "name": "map", "records_in": 1100, "records_out": 1098, "rejected": 2 },
            ] },
            "delivery": { "label": "exactly-once", "reasons": ["sink `jsonl` discards what it wrote behind a checkpoint"] },
            "checkpoint": {
                "run": "r1", "epoch": 7, "balanced": true,
                "streams": { "prices": { "read": 1000, "written": 998, "filtered": 0, "dead": 2 } },
            },
        });
        insta::assert_snapshot!(shown(&status, Paint { on: false }));
        assert_eq!(exit_code(&status), 0);
        let failed =
            json!({ "flow": "prices", "state": "failed", "reason": "too many dead letters" });
        assert_eq!(
            headline(&failed, Paint { on: false }),
            "prices is failed: too many dead letters"
        );
        assert_eq!(exit_code(&failed), 1);
        assert_eq!(path("a/b c", "/stop"), "flows/a_b_c/stop");
    }
}
