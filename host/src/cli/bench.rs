//! `crossdock plugin bench`: how fast a component is.

use std::{path::PathBuf, time::Duration};

use clap::{Args, builder::PossibleValuesParser};
use serde_json::json;

use super::{
    Failure,
    arguments::duration,
    conformance,
    output::{Output, table},
    style,
};
use crate::{
    app::{self, TestOptions},
    catalogue::Kind,
    conformance::{BenchOptions, Measured},
};

pub(super) const BENCH_EXAMPLES: &str = "\
Examples:
  crossdock plugin bench                              # the component that was built of this project
  crossdock plugin bench dist/tidy.wasm --against tidy-0.1.0.wasm
  crossdock plugin bench tidy.wasm --batch 1 --time 10s

It is given the sample records of conformance.yaml, as often as needed. Build with --release first. Numbers are those of
this machine, now: only comparisons mean anything.

Exit codes: 0 done, 1 it failed, 2 something is missing or wrong";

#[derive(Debug, Args)]
pub(super) struct BenchArguments {
    /// The component, or the folder of its project
    #[arg(value_name = "FILE|DIR", default_value = ".")]
    plugin: PathBuf,
    /// What it is given [default: conformance.yaml of the project, or beside the component]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only as this kind
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::as_str)))]
    kind: Option<String>,
    /// Another version, measured in the same way
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Records of one call
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    batch: usize,
    /// How long each is measured
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    time: Duration,
    /// Print the numbers as one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) async fn bench(arguments: BenchArguments, output: Output) -> Result<u8, Failure> {
    let component = conformance::component(&arguments.plugin)?;
    let settings = arguments
        .config
        .or_else(|| crate::conformance::Settings::find(&component));
    // Only names of kinds are taken.
    let kind: Option<Kind> = arguments.kind.and_then(|kind| kind.parse().ok());
    let options = BenchOptions {
        batch: arguments.batch,
        time: arguments.time,
    };
    let measure = |component: PathBuf| {
        let options_of_it = TestOptions {
            component,
            settings: settings.clone(),
            kind,
        };
        app::bench_plugin(options_of_it, options)
    };
    let measured = measure(component).await?;
    let against = match arguments.against {
        Some(other) => Some(measure(other).await?),
        None => None,
    };
    if arguments.json {
        output.print_json(&json!({
            "ok": true, "batch": options.batch, "measured": measured, "against": against,
        }));
    } else {
        output.print(&shown(&measured, against.as_deref()));
    }
    Ok(0)
}

fn shown(measured: &[Measured], against: Option<&[Measured]>) -> String {
    let micros = |micros: u64| {
        #[allow(clippy::cast_precision_loss, reason = "a time for people")]
        let millis = micros as f64 / 1000.0;
        format!("{millis:.3} ms")
    };
    let row = |one: &Measured, change: String| {
        vec![
            one.kind.to_string(),
            one.version.clone(),
            style::rate(one.records_per_second),
            change,
            micros(one.p50_micros),
            micros(one.p99_micros),
            style::bytes(one.memory),
            format!("{} ms", one.open_millis),
        ]
    };
    let mut rows = Vec::new();
    for one in measured {
        let before = against
            .into_iter()
            .flatten()
            .find(|other| other.kind == one.kind);
        let change = before.map_or_else(String::new, |before| {
            let times = one.records_per_second / before.records_per_second.max(1e-9);
            format!("{:+.1} %", (times - 1.0) * 100.0)
        });
        rows.push(row(one, change));
        rows.extend(before.map(|before| row(before, String::new())));
    }
    let header = [
        "kind", "version", "records", "change", "call p50", "call p99", "memory", "open",
    ];
    table(&header, 2, &rows)
}
