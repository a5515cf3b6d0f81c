//! `crossdock swap`, `crossdock swaps`, `crossdock rollback`: another version of a stage while records flow.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use serde_json::{Value, json};

use super::{
    Failure,
    arguments::{duration, share},
    daemon::ProjectFolder,
    flow::path,
    output::{Output, table},
    style::{self, BAD, FAINT, GOOD, Paint, STRONG, WARN, count},
};
use crate::{api::client::Client, app::DeadLetterDocument};

/// How long a build of `plugin dev` proves itself: its author looks on, and wants to save again.
const OFFER_PROBATION_MS: u64 = 500;
/// How long one question waits for news.
const PATIENCE_MS: u64 = 100;

#[derive(Debug, Args)]
pub(super) struct SwapArguments {
    /// The flow's name
    flow: String,
    /// The stage's name
    stage: String,
    /// The new version: a `.wasm` file, a plugin's name, or `NAME@VERSION`. Left out, only the config changes
    #[arg(required_unless_present = "config")]
    plugin: Option<String>,
    /// YAML or JSON file with the new config of the stage [default: its config stays]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Compare the outputs of this many records first, without any effect outside. Transformers only
    #[arg(long, value_name = "RECORDS")]
    shadow: Option<u64>,
    /// With --shadow: refuse a version whose output differs in more than this share of the records, like `1%`
    #[arg(long, value_name = "SHARE", requires = "shadow", value_parser = share)]
    max_difference: Option<f64>,
    /// How long the new version proves itself before anything of it is committed; `0s` trusts it at once
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    probation: Duration,
    /// The share of records that it may reject beyond what the old version rejected
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = share)]
    max_faults: f64,
    #[command(flatten)]
    follow: Follow,
}

/// How a swap is watched.
#[derive(Debug, Args)]
pub(super) struct Follow {
    #[command(flatten)]
    project: ProjectFolder,
    /// Return as soon as the swap has begun; `crossdock swaps ID` says how it goes
    #[arg(long)]
    no_wait: bool,
    /// Print the swap as one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

impl SwapArguments {
    pub(super) fn wants_json(&self) -> bool {
        self.follow.json
    }
}

#[derive(Debug, Args)]
pub(super) struct RollbackArguments {
    /// The flow's name
    flow: String,
    /// The stage's name
    stage: String,
    /// Also when the last change of the stage was a rollback: this puts back what that took away
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    pub(super) follow: Follow,
}

#[derive(Debug, Args)]
pub(super) struct SwapsArguments {
    /// Show this one; without it, list all since the daemon started
    id: Option<u64>,
    /// Call it off: the old version stays, or comes back
    #[arg(long, requires = "id")]
    cancel: bool,
    #[command(flatten)]
    project: ProjectFolder,
    /// Print it as one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) async fn swap(arguments: SwapArguments, output: Output) -> Result<u8, Failure> {
    let config = arguments.config.as_deref().map(config).transpose()?;
    let plugin = arguments.plugin.map(absolute).transpose()?;
    let daemon = arguments.follow.project.daemon().await?;
    let mut body = json!({
        "stage": arguments.stage,
        "probation-ms": u64::try_from(arguments.probation.as_millis()).unwrap_or(u64::MAX),
        "max-fault-share": arguments.max_faults,
    });
    let optional = [
        ("plugin", json!(plugin)),
        ("config", json!(config)),
        ("shadow", json!(arguments.shadow)),
        ("max-difference", json!(arguments.max_difference)),
    ];
    if let Value::Object(body) = &mut body {
        let given = optional.into_iter().filter(|(_, value)| !value.is_null());
        body.extend(given.map(|(name, value)| (name.to_owned(), value)));
    }
    let begun = daemon.post(&path(&arguments.flow, "/swaps"), &body).await?;
    follow(&daemon, begun, &arguments.follow, output).await
}

/// A build for a stage of a running flow.
pub(super) struct Offer<'a> {
    pub(super) flow: &'a str,
    pub(super) stage: &'a str,
    pub(super) component: &'a Path,
    /// How many records are compared in the shadow first.
    pub(super) compared: Option<usize>,
    pub(super) project: &'a ProjectFolder,
}

/// Swaps a build in and tells what comes of it, unless `called_off` comes first.
pub(super) async fn offered(
    offer: Offer<'_>,
    called_off: impl Future<Output = ()>,
    output: Output,
) -> Result<(), Failure> {
    let plugin = absolute(offer.component.display().to_string())?;
    let daemon = offer.project.daemon().await?;
    let mut body =
        json!({ "stage": offer.stage, "plugin": plugin, "probation-ms": OFFER_PROBATION_MS });
    if let Some(records) = offer.compared.filter(|records| *records > 0) {
        body["shadow"] = json!(records);
    }
    let begun: Value = daemon.post(&path(offer.flow, "/swaps"), &body).await?;
    let id = begun["id"].as_u64().unwrap_or_default();
    let how = Follow {
        project: offer.project.clone(),
        no_wait: false,
        json: false,
    };
    tokio::select! {
        followed = follow(&daemon, begun, &how, output) => followed.map(drop),
        () = called_off => {
            // It may be done by now, and then there is nothing to call off.
            let _: Result<Value, _> = daemon.delete(&format!("swaps/{id}")).await;
            output.tell(&format!("swap {id} was called off: a file was saved meanwhile"));
            Ok(())
        }
    }
}

pub(super) async fn rollback(arguments: RollbackArguments, output: Output) -> Result<u8, Failure> {
    let daemon = arguments.follow.project.daemon().await?;
    let body = json!({ "stage": arguments.stage, "again": arguments.again });
    let begun = daemon
        .post(&path(&arguments.flow, "/rollback"), &body)
        .await?;
    follow(&daemon, begun, &arguments.follow, output).await
}

pub(super) async fn swaps(arguments: SwapsArguments, output: Output) -> Result<u8, Failure> {
    let daemon = arguments.project.daemon().await?;
    let Some(id) = arguments.id else {
        let swaps: Vec<Value> = daemon.get("swaps").await?;
        if arguments.json {
            output.print_json(&json!({ "ok": true, "swaps": swaps }));
        } else {
            output.print(&listed(&swaps));
        }
        return Ok(0);
    };
    let swap = if arguments.cancel {
        daemon.delete(&format!("swaps/{id}")).await?
    } else {
        daemon.get(&format!("swaps/{id}")).await?
    };
    if arguments.json {
        output.print_json(&document(&swap));
    } else {
        output.print(&shown(&swap, output.paint));
    }
    Ok(0)
}

/// A path is one of the folder that this command runs in, not of the daemon's.
fn absolute(plugin: String) -> Result<String, Failure> {
    let is_path = plugin.contains('/')
        || Path::new(&plugin)
            .extension()
            .is_some_and(|own| own == "wasm");
    if !is_path {
        return Ok(plugin);
    }
    let path = std::path::absolute(&plugin).map_err(|source| Failure::Io {
        action: "the plugin's path",
        source,
    })?;
    Ok(path.display().to_string())
}

fn config(file: &Path) -> Result<Value, Failure> {
    let wrong = |why: String| Failure::Usage(format!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let config: Value = serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if config.is_object() {
        Ok(config)
    } else {
        Err(wrong("a config is an object: names with values".to_owned()))
    }
}

/// Tells each state as it comes. Ctrl-C leaves the swap to itself.
async fn follow(
    daemon: &Client,
    begun: Value,
    how: &Follow,
    output: Output,
) -> Result<u8, Failure> {
    let id = begun["id"].as_u64().unwrap_or_default();
    let mut swap = begun;
    let mut told = 0;
    loop {
        if !how.json {
            told += tell_steps(&swap, told, output);
        }
        if how.no_wait || is_final(&swap) {
            break;
        }
        let asked = format!("swaps/{id}?wait-ms={PATIENCE_MS}");
        swap = tokio::select! {
            news = daemon.get(&asked) => news?,
            _ = tokio::signal::ctrl_c() => {
                output.tell(&format!("the swap goes on: `crossdock swaps {id}` says how, --cancel calls it off"));
                return Ok(130);
            }
        };
    }
    if how.json {
        output.print_json(&document(&swap));
    } else {
        output.print(&result(&swap, output.paint));
    }
    Ok(exit_code(&swap))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn is_final(swap: &Value) -> bool {
    matches!(text(&swap["state"]), "done" | "rolled-back" | "refused")
}

/// 1 when the old version goes on.
fn exit_code(swap: &Value) -> u8 {
    u8::from(matches!(text(&swap["state"]), "rolled-back" | "refused"))
}

fn document(swap: &Value) -> Value {
    let mut document = json!({ "ok": exit_code(swap) == 0 });
    if let (Value::Object(document), Value::Object(fields)) = (&mut document, swap) {
        document.extend(fields.clone());
    }
    document
}

/// Tells the states that were not told yet, and says how many they were.
fn tell_steps(swap: &Value, told: usize, output: Output) -> usize {
    let steps = swap["steps"].as_array().map_or(&[][..], Vec::as_slice);
    let fresh = steps.get(told..).unwrap_or_default();
    for step in fresh {
        let records = step["records"].as_u64().unwrap_or(0);
        let after = if records > 0 {
            format!(" at record {}", count(records))
        } else {
            String::new()
        };
        output.tell(&format!("  {}{after}", text(&step["state"])));
    }
    fresh.len()
}

fn version(view: &Value) -> String {
    format!("{} {}", text(&view["plugin"]), text(&view["version"]))
}

/// One line for people, and what explains it.
fn result(swap: &Value, paint: Paint) -> String {
    let place = format!("{} of {}", text(&swap["stage"]), text(&swap["flow"]));
    let place = paint.with(STRONG, place);
    let (from, to) = (&swap["from"], &swap["to"]);
    let to_version = if to.is_object() {
        version(to)
    } else {
        "the new version".to_owned()
    };
    let reason = text(&swap["reason"]);
    let because = if reason.is_empty() {
        String::new()
    } else {
        format!("\n  {reason}")
    };
    let mut out = match text(&swap["state"]) {
        "done" => {
            let what = if from["digest"] == to["digest"] {
                format!("{to_version} with another config")
            } else {
                to_version
            };
            format!("{} {place} is now {what}{because}\n", paint.with(GOOD, "✓"))
        }
        "rolled-back" => format!(
            "{} {place} is {} again, and {to_version} has left no trace{because}\n",
            paint.with(WARN, "↶"),
            version(from)
        ),
        "refused" => format!(
            "{} {place} stays {}{because}\n",
            paint.with(BAD, "×"),
            version(from)
        ),
        state => format!(
            "… swap {} of {place} to {to_version}: {state}; crossdock swaps {} says how it goes\n",
            swap["id"], swap["id"]
        ),
    };
    details(swap, paint, &mut out);
    out
}

fn details(swap: &Value, paint: Paint, out: &mut String) {
    // Writing to a String cannot fail.
    if let Some(pause) = swap["pause_us"].as_u64() {
        #[allow(clippy::cast_precision_loss, reason = "shown with three digits")]
        let pause = pause as f64 / 1000.0;
        let _ = writeln!(out, "  pause of the stage: {pause:.3} ms");
    }
    let probation = swap["probation_records"].as_u64().unwrap_or(0);
    if probation > 0 {
        let rejected = swap["probation_rejected"].as_u64().unwrap_or(0);
        let _ = writeln!(
            out,
            "  on probation: {} records, {} rejected",
            count(probation),
            count(rejected)
        );
    }
    if !text(&swap["permissions"]).is_empty() {
        let _ = writeln!(out, "  permissions: {}", text(&swap["permissions"]));
    }
    let shadow = &swap["shadow"];
    if shadow.is_object() {
        let number = |value: &Value| value.as_u64().map_or_else(String::new, count);
        let _ = writeln!(
            out,
            "  in the shadow: {} records compared, {} of {} output records differ{}",
            number(&shadow["records"]),
            number(&shadow["different"]),
            number(&shadow["live"]["written"]),
            shadow["latency_ratio"]
                .as_f64()
                .map_or_else(String::new, |ratio| format!(", {ratio:.2}x the time")),
        );
        for difference in shadow["differences"].as_array().into_iter().flatten() {
            let side = |name: &str| match difference[name].as_str() {
                Some(text) => style::cut(text, 160),
                None => "nothing".to_owned(),
            };
            let _ = writeln!(
                out,
                "    {} {}\n      {} {}\n      {} {}",
                text(&difference["stream"]),
                text(&difference["key"]),
                paint.with(BAD, "-"),
                side("live"),
                paint.with(GOOD, "+"),
                side("candidate")
            );
        }
    }
}

fn shown(swap: &Value, paint: Paint) -> String {
    let mut out = result(swap, paint);
    let steps = swap["steps"].as_array().into_iter().flatten();
    let rows: Vec<Vec<String>> = steps
        .map(|step| {
            let at = step["at_ms"].as_u64().unwrap_or(0);
            vec![
                text(&step["state"]).to_owned(),
                DeadLetterDocument::time(at),
                count(step["records"].as_u64().unwrap_or(0)),
            ]
        })
        .collect();
    out.push('\n');
    out.push_str(&table(&["state", "since", "at record"], 2, &rows));
    let _ = writeln!(
        out,
        "\n {}",
        paint.with(FAINT, format!("asked for by {}", text(&swap["actor"])))
    );
    out
}

fn listed(swaps: &[Value]) -> String {
    if swaps.is_empty() {
        return "no swaps since the daemon started\n".to_owned();
    }
    let rows: Vec<Vec<String>> = swaps
        .iter()
        .map(|swap| {
            let to = &swap["to"];
            vec![
                swap["id"].to_string(),
                text(&swap["flow"]).to_owned(),
                text(&swap["stage"]).to_owned(),
                version(&swap["from"]),
                if to.is_object() {
                    version(to)
                } else {
                    String::new()
                },
                text(&swap["state"]).to_owned(),
                style::cut(text(&swap["reason"]), 60),
            ]
        })
        .collect();
    let header = ["id", "flow", "stage", "from", "to", "state", "why"];
    table(&header, header.len(), &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swap(state: &str, reason: Option<&str>) -> Value {
        json!({
            "id": 3, "flow": "prices", "stage": "map", "actor": "api", "state": state, "reason": reason,
            "from": { "plugin": "mapper", "version": "0.1.0", "digest": "sha256:a" },
            "to": { "plugin": "mapper", "version": "0.2.0", "digest": "sha256:b" },
            "steps": [{ "state": "prepare", "at_ms": 1_700_000_000_000_u64, "records": 0 },
                      { "state": state, "at_ms": 1_700_000_001_000_u64, "records": 12000 }],
            "pause_us": 412, "probation_records": 5000, "probation_rejected": 2, "permissions": null,
            "shadow": {
                "records": 1000, "different": 1, "live": { "written": 1000 }, "latency_ratio": 1.25,
                "differences": [{ "stream": "prices", "key": "1", "live": "{\"a\":1}", "candidate": null }],
            },
        })
    }

    #[test]
    fn the_ways_a_swap_ends_are_told() {
        let plain = Paint { on: false };
        let all = [
            result(&swap("done", None), plain),
            result(&swap("rolled-back", Some("trap fault: it trapped")), plain),
            result(&swap("refused", Some("it cannot be opened")), plain),
            result(&swap("probation", None), plain),
            shown(&swap("done", None), plain),
            listed(&[swap("done", None)]),
        ];
        insta::assert_snapshot!(all.join("\n"));
        let codes = ["done", "rolled-back", "refused"].map(|state| exit_code(&swap(state, None)));
        assert_eq!(codes, [0, 1, 1]);
    }
}
