//! `crossdock plugin new` and `build`: for authors of plugins.

use std::{fmt::Write as _, path::PathBuf};

use clap::{Args, builder::PossibleValuesParser};
use serde_json::{Value, json};

use super::{
    Failure,
    output::Output,
    plugin,
    style::{self, FAINT, GOOD, STRONG},
};
use crate::{
    author::{self, Built, Order, language},
    catalogue::Kind,
};

pub(super) const NEW_EXAMPLES: &str = "\
Examples:
  crossdock plugin new shop-items --kind source --lang rust
  crossdock plugin new tidy-price --kind transformer --lang rust

A source reads records, a transformer changes them, a sink writes them. The project is complete: it
builds, its tests pass, and it does something. Change what it does.

Exit codes: 0 done, 1 failed, 2 the name is taken or no name";

pub(super) const BUILD_EXAMPLES: &str = "\
Examples:
  crossdock plugin build
  crossdock plugin build shop-items --release

It runs the language's own tools, makes a component of what they give, puts plugin.json into it, and checks
that the component is what plugin.json says. What the tools print goes to stderr.

Exit codes: 0 done, 1 a tool failed, 2 something is missing or wrong";

#[derive(Debug, Args)]
pub(super) struct NewArguments {
    /// Its name: a-z, 0-9 and `-`. Also the name of the folder
    name: String,
    /// What it is in a flow
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::as_str)))]
    kind: String,
    /// What it is written in
    #[arg(long, value_name = "LANGUAGE", value_parser = PossibleValuesParser::new(languages()))]
    lang: String,
    /// Print what was made as one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

fn languages() -> impl Iterator<Item = &'static str> {
    language::ALL.into_iter().map(language::Language::id)
}

#[derive(Debug, Args)]
pub(super) struct BuildArguments {
    /// The project's folder
    #[arg(value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// Small and fast, without names: what is handed to others. Otherwise built quickly and good to debug
    #[arg(long)]
    release: bool,
    /// Where the component goes [default: dist/NAME.wasm in the project]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print what was built as one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn new(arguments: &NewArguments, output: Output) -> Result<u8, Failure> {
    let unknown = |what: &str| Failure::Usage(format!("`{what}` is not known"));
    let kind: Kind = arguments
        .kind
        .parse()
        .map_err(|_| unknown(&arguments.kind))?;
    let language = language::find(&arguments.lang).ok_or_else(|| unknown(&arguments.lang))?;
    let here = PathBuf::new();
    let created = author::create(&here, &arguments.name, kind, language)?;
    if arguments.json {
        let mut document = json!({ "ok": true });
        if let (Value::Object(fields), Ok(Value::Object(more))) =
            (&mut document, serde_json::to_value(&created))
        {
            fields.extend(more);
        }
        output.print_json(&document);
        return Ok(0);
    }
    let paint = output.paint;
    let mut out = format!(
        "{} {}: a {kind} in {}\n",
        paint.with(GOOD, "✓"),
        paint.with(STRONG, style::path(&created.folder)),
        created.language
    );
    let library = created.files.iter().filter(|file| file.starts_with("sdk/"));
    let library = library.count();
    for file in created
        .files
        .iter()
        .filter(|file| !file.starts_with("sdk/"))
    {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "  {file}");
    }
    if library > 0 {
        let _ = writeln!(
            out,
            "  sdk/ {}",
            paint.with(FAINT, format!("({library} files)"))
        );
    }
    out.push_str("\nnext:\n");
    for command in &created.next {
        let _ = writeln!(out, "  {command}");
    }
    output.print(&out);
    Ok(0)
}

pub(super) fn build(arguments: &BuildArguments, output: Output) -> Result<u8, Failure> {
    let order = Order {
        project: arguments.project.clone(),
        release: arguments.release,
        out: arguments.out.clone(),
    };
    let built = author::build(&order)?;
    if arguments.json {
        let mut document = json!({
            "ok": true,
            "file": built.file,
            "language": built.language,
            "release": order.release,
            "millis": u64::try_from(built.took.as_millis()).unwrap_or(u64::MAX),
        });
        if let (Value::Object(fields), Ok(Value::Object(more))) =
            (&mut document, serde_json::to_value(&built.inspection))
        {
            fields.extend(more);
        }
        output.print_json(&document);
    } else {
        output.print(&shown(&built, order.release, output));
    }
    Ok(0)
}

fn shown(built: &Built, release: bool, output: Output) -> String {
    let (paint, inspection) = (output.paint, &built.inspection);
    let kinds: Vec<String> = inspection
        .kinds
        .iter()
        .map(|kind| format!("a {kind}"))
        .collect();
    let manifest = inspection.manifest.as_ref();
    let name = manifest.map_or_else(String::new, |manifest| {
        format!("{} {}", manifest.name, manifest.version)
    });
    let contract = inspection
        .contract()
        .map(ToString::to_string)
        .unwrap_or_default();
    let mut out = format!(
        "{} {}: {}, {} for contract {contract}, {}{} ({:.1} s)\n",
        paint.with(GOOD, "✓"),
        paint.with(STRONG, style::path(&built.file)),
        name,
        kinds.join(" and "),
        style::bytes(inspection.size),
        if release { "" } else { ", for development" },
        built.took.as_secs_f64(),
    );
    if let Some(manifest) = manifest {
        plugin::permissions(manifest, paint, &mut out);
    }
    plugin::imports(inspection, paint, &mut out);
    out
}
