//! `crossdock plugin test`: whether a component keeps the contract.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, builder::PossibleValuesParser};
use serde_json::{Value, json};

use super::{
    Failure, cassette,
    output::Output,
    style::{self, BAD, FAINT, GOOD, Paint, STRONG, WARN},
};
use crate::{
    app::{self, TestOptions, Tested},
    author,
    catalogue::Kind,
    conformance::{CheckReport, KindReport, Outcome, junit},
};

pub(super) const TEST_EXAMPLES: &str = "\
Examples:
  crossdock plugin test                          # the component that was built of this project
  crossdock plugin test dist/shop-items.wasm
  crossdock plugin test csv.wasm --config conformance.yaml --junit report.xml
  crossdock plugin test --cassette shop.cassette.json      # what a real system answered, played back offline

Every check has a name and says what a plugin has to do. conformance.yaml holds what the plugin is given: config,
records, files, an API in memory. Without it the config is made of the schema's defaults, and records are made up.

Levels: basic (it opens, refuses what is wrong, takes whatever comes), resumable (opened from its snapshot it goes on
and loses nothing), exactly-once (and nothing comes or is written twice). What was found is stored beside the
component, and the delivery label of flows relies on it.

Exit codes: 0 every check passed, 1 some failed, 2 something is missing or wrong";

#[derive(Debug, Args)]
pub(super) struct TestArguments {
    /// The component, or the folder of its project
    #[arg(value_name = "FILE|DIR", default_value = ".")]
    plugin: PathBuf,
    /// What it is given [default: conformance.yaml of the project, or beside the component]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only as this kind
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::as_str)))]
    kind: Option<String>,
    /// Instead play back what `plugin record` has kept: the plugin must ask and give the same, byte for byte
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "kind", "junit"])]
    cassette: Option<PathBuf>,
    /// Also write the report as XML for build servers (`JUnit`)
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Print the report as one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) async fn test(arguments: TestArguments, output: Output) -> Result<u8, Failure> {
    let component = component(&arguments.plugin)?;
    if let Some(file) = &arguments.cassette {
        return cassette::play(&component, file, arguments.json, output).await;
    }
    let options = TestOptions {
        component,
        settings: arguments.config,
        // Only names of kinds are taken.
        kind: arguments.kind.and_then(|kind| kind.parse().ok()),
    };
    let live = output.live && !arguments.json;
    let tested = app::test_plugin(options, |kind, check| {
        if live && check.millis > 1000 {
            output.tell(&format!("{kind}: {} took {} ms", check.name, check.millis));
        }
    })
    .await?;
    let sound = tested.report.is_sound();
    if let Some(file) = &arguments.junit {
        fs::write(file, junit(&tested.report)).map_err(|source| Failure::Io {
            action: "the JUnit report cannot be written",
            source,
        })?;
    }
    if arguments.json {
        let mut document = json!({ "ok": sound, "stored": tested.stored });
        if let (Value::Object(fields), Ok(Value::Object(more))) =
            (&mut document, serde_json::to_value(&tested.report))
        {
            fields.extend(more);
        }
        output.print_json(&document);
    } else {
        output.print(&shown(&tested, output.paint));
    }
    Ok(u8::from(!sound))
}

/// The component that is meant by a path.
pub(super) fn component(path: &Path) -> Result<PathBuf, Failure> {
    if path.is_dir() {
        Ok(author::component(path)?)
    } else {
        Ok(path.to_owned())
    }
}

fn shown(tested: &Tested, paint: Paint) -> String {
    let report = &tested.report;
    let mut out = String::new();
    for kind in &report.kinds {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            out,
            "{} as {}",
            paint.with(STRONG, format!("{} {}", report.plugin, report.version)),
            kind.kind
        );
        for check in &kind.checks {
            line(check, paint, &mut out);
        }
        verdict(kind, paint, &mut out);
    }
    if let Some(settings) = &tested.settings {
        let _ = writeln!(
            out,
            "{} {}",
            paint.with(FAINT, "given: "),
            style::path(settings)
        );
    } else {
        let _ = writeln!(
            out,
            "{} made up; conformance.yaml beside plugin.json would say what fits",
            paint.with(FAINT, "given: ")
        );
    }
    let _ = writeln!(
        out,
        "{} {}",
        paint.with(FAINT, "stored:"),
        style::path(&tested.stored)
    );
    out
}

fn line(check: &CheckReport, paint: Paint, out: &mut String) {
    let (mark, why) = match &check.outcome {
        Outcome::Passed => (paint.with(GOOD, "✓"), None),
        Outcome::Failed(why) => (paint.with(BAD, "✗"), Some(why)),
        Outcome::Skipped(why) => (paint.with(FAINT, "·"), Some(why)),
        Outcome::Open(why) => (paint.with(WARN, "?"), Some(why)),
    };
    let _ = write!(out, "  {mark} {}", check.name);
    match (&check.outcome, why) {
        (Outcome::Failed(_), Some(why)) => {
            let _ = writeln!(out, ": {}", paint.with(FAINT, check.about));
            for line in why.lines() {
                let _ = writeln!(out, "      {line}");
            }
        }
        (_, Some(why)) => {
            let _ = writeln!(out, " {}", paint.with(FAINT, format!("({why})")));
        }
        (_, None) => out.push('\n'),
    }
}

fn verdict(kind: &KindReport, paint: Paint, out: &mut String) {
    let failures = kind.failures().count();
    let mark = if failures == 0 {
        paint.with(GOOD, "✓")
    } else {
        paint.with(BAD, "✗")
    };
    let promise = match (kind.declared, kind.found) {
        (None, None) => "promises nothing".to_owned(),
        (None, Some(found)) => format!("found: {found}, promises nothing"),
        (Some(declared), None) => format!("declares {declared}, which could not be seen"),
        (Some(declared), Some(found)) if found.is_weaker_than(declared) => {
            format!("declares {declared}, found: {found}")
        }
        (Some(declared), Some(_)) => format!("{declared}, as it declares"),
    };
    let passed = kind
        .checks
        .iter()
        .filter(|check| check.outcome == Outcome::Passed);
    let _ = writeln!(
        out,
        "{mark} level {} ({promise}): {} passed, {failures} failed, {} ms\n",
        paint.with(STRONG, kind.level),
        passed.count(),
        kind.checks.iter().map(|check| check.millis).sum::<u64>(),
    );
}
