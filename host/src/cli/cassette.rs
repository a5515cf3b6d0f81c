//! `crossdock plugin record`, and `plugin test --cassette`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, builder::PossibleValuesParser};
use serde_json::json;

use super::{
    Failure, conformance,
    output::Output,
    style::{self, BAD, GOOD, STRONG, WARN},
};
use crate::{
    app::{self, TestOptions},
    catalogue::Kind,
    conformance::Length,
};

pub(super) const RECORD_EXAMPLES: &str = "\
Examples:
  crossdock plugin record                        # the component that was built of this project
  crossdock plugin record shop-items --records 50 --out tests/shop.cassette.json
  crossdock plugin test --cassette shop-items.cassette.json

The plugin works with the config of conformance.yaml on the real systems that `connections` beside that file names. A
source reads some records, a transformer and a sink get the sample records: a sink really writes them. All that the
plugin imports is kept with its answers (requests, tables, time, random numbers, the log, metrics), and what it made of
them. Values that stand under names like `authorization`, `cookie`, `password` or `access_token` are removed from
requests and answers; look through the file before you share it.

Exit codes: 0 done, 1 failed, 2 something is missing or wrong";

#[derive(Debug, Args)]
pub(super) struct RecordArguments {
    /// The component, or the folder of its project
    #[arg(value_name = "FILE|DIR", default_value = ".")]
    plugin: PathBuf,
    /// What it is given [default: conformance.yaml of the project, or beside the component]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// As this kind, when it has several
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::as_str)))]
    kind: Option<String>,
    /// How many records a source is asked for
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    records: usize,
    /// Where the cassette goes [default: NAME.cassette.json]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print what was recorded as one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) async fn record(arguments: RecordArguments, output: Output) -> Result<u8, Failure> {
    let component = conformance::component(&arguments.plugin)?;
    let name = component.file_stem().unwrap_or_default().to_string_lossy();
    let default = PathBuf::from(format!("{name}.cassette.json"));
    let out = arguments.out.unwrap_or(default);
    let options = TestOptions {
        component,
        settings: arguments.config,
        // Only names of kinds are taken.
        kind: arguments.kind.and_then(|kind| kind.parse().ok()),
    };
    let cassette = app::record_plugin(options, arguments.records).await?;
    let text = cassette.to_text().map_err(app::AppError::Cassette)?;
    fs::write(&out, text).map_err(|source| Failure::Io {
        action: "the cassette cannot be written",
        source,
    })?;
    let length = cassette.length();
    let fault = cassette.fault();
    if arguments.json {
        let kind = cassette.kind();
        output.print_json(&json!({
            "ok": true, "file": out, "kind": kind, "requests": length.requests, "imports": length.imports,
            "calls": length.calls, "fault": fault,
        }));
    } else {
        let paint = output.paint;
        output.print(&format!(
            "{} {}: {} of the {}, {}\n",
            paint.with(GOOD, "✓"),
            paint.with(STRONG, style::path(&out)),
            style::counted(length.calls as u64, "call"),
            cassette.kind(),
            imported(length),
        ));
        if let Some(fault) = fault {
            output.print(&format!(
                "{} it ends with a fault of {fault}\n",
                paint.with(WARN, "!")
            ));
        }
    }
    Ok(0)
}

/// What was imported, for people.
fn imported(length: Length) -> String {
    let requests = style::counted(length.requests as u64, "request");
    match length.imports {
        0 => "which imported nothing".to_owned(),
        imports => format!(
            "which called imports {} ({requests})",
            style::counted(imports as u64, "time")
        ),
    }
}

pub(super) async fn play(
    component: &Path,
    file: &Path,
    json: bool,
    output: Output,
) -> Result<u8, Failure> {
    let played = app::play_cassette(component, file).await?;
    let (same, length) = (played.differences.is_empty(), played.length);
    if json {
        output.print_json(&json!({
            "ok": same, "cassette": file, "calls": length.calls, "imports": length.imports,
            "requests": length.requests, "differences": played.differences,
        }));
    } else {
        let paint = output.paint;
        let shown = paint.with(STRONG, style::path(file));
        if same {
            output.print(&format!(
                "{} {shown}: {}, {}, all the same\n",
                paint.with(GOOD, "✓"),
                style::counted(length.calls as u64, "call"),
                imported(length),
            ));
        } else {
            let all = played.differences.iter().map(|one| format!("    {one}\n"));
            output.print(&format!(
                "{} {shown}\n{}",
                paint.with(BAD, "✗"),
                all.collect::<String>()
            ));
        }
    }
    Ok(u8::from(!same))
}
