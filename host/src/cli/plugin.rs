//! `crossdock plugin`: what a component is, read from its bytes; the files beside are about registries.

pub(super) mod arguments;
mod install;
mod installed;
mod publish;
mod search;
mod upgrade;

pub(super) use install::{install, notices};
pub(super) use installed::{info, list, remove};
pub(super) use publish::publish;
pub(super) use search::search;
pub(super) use upgrade::{bundle, outdated, pin, rollback, upgrade, why};

use std::{fmt::Write as _, path::Path};

use serde_json::{Value, json};

use super::{
    Failure,
    output::{Output, table},
    style::{self, FAINT, Paint, STRONG, WARN},
};
use crate::{
    app,
    catalogue::{Comparison, ImportGroup, Inspection, Kind, Manifest, compare},
    flow::visible,
};

/// A description is cut to this in the table of fields; the JSON Schema has it whole.
const MAX_DESCRIPTION: usize = 60;

pub(super) fn inspect(
    file: &Path,
    old: Option<&Path>,
    json: bool,
    output: Output,
) -> Result<u8, Failure> {
    let inspection = app::inspect(file)?;
    let old = old.map(app::inspect).transpose()?;
    let compared = old.as_ref().map(|old| (old, compare(old, &inspection)));
    if json {
        let mut document = json!({ "ok": true, "findings": inspection.findings() });
        if let (Value::Object(fields), Ok(Value::Object(more))) =
            (&mut document, serde_json::to_value(&inspection))
        {
            fields.extend(more);
            if let Some((old, comparison)) = &compared {
                let with = json!({ "digest": old.digest, "version": version(old) });
                fields.insert(
                    "compared".to_owned(),
                    json!({ "with": with, "changes": comparison }),
                );
            }
        }
        output.print_json(&document);
    } else {
        let mut out = shown(("file", &style::path(file)), &inspection, output.paint);
        if let Some((old, comparison)) = &compared {
            differences(old, comparison, output.paint, &mut out);
        }
        output.print(&out);
    }
    // A component that is no plugin can be looked at, but not used.
    Ok(u8::from(inspection.kinds.is_empty()))
}

/// Everything that a component says of itself. `from` is where it was found, as (word, place).
fn shown(from: (&str, &str), inspection: &Inspection, paint: Paint) -> String {
    let mut out = head(from, inspection, paint);
    if let Some(manifest) = &inspection.manifest {
        for kind in Kind::ALL {
            config(manifest, kind, paint, &mut out);
        }
        permissions(manifest, paint, &mut out);
    }
    imports(inspection, paint, &mut out);
    for finding in inspection.findings() {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "\n{} {finding}", paint.with(WARN, "!"));
    }
    out
}

fn head((word, place): (&str, &str), inspection: &Inspection, paint: Paint) -> String {
    let mut out = match &inspection.manifest {
        Some(manifest) => {
            let mut line = paint.with(STRONG, format!("{} {}", manifest.name, manifest.version));
            if !manifest.description.is_empty() {
                let _ = write!(line, ": {}", visible(&manifest.description));
            }
            line
        }
        None => paint.with(STRONG, place),
    };
    out.push('\n');
    let mut line = |name: &str, text: &str| {
        if !text.is_empty() {
            let (name, text) = (visible(name), visible(text));
            let _ = writeln!(out, "  {}  {text}", paint.with(FAINT, format!("{name:9}")));
        }
    };
    let join = |parts: Vec<String>| parts.join(", ");
    line(
        word,
        &format!("{place} ({})", style::bytes(inspection.size)),
    );
    line("digest", &inspection.digest);
    line(
        "kinds",
        &join(inspection.kinds.iter().map(ToString::to_string).collect()),
    );
    line(
        "contract",
        &join(
            inspection
                .contracts
                .iter()
                .map(ToString::to_string)
                .collect(),
        ),
    );
    if let Some(manifest) = &inspection.manifest {
        line("licence", &manifest.license);
        for (name, link) in &manifest.links {
            line(name, link);
        }
    }
    line("made with", &inspection.producers.join(", "));
    out
}

/// The fields of a kind's config, and what it promises.
fn config(manifest: &Manifest, kind: Kind, paint: Paint, out: &mut String) {
    let Some(spec) = manifest.kind(kind) else {
        return;
    };
    let delivery = spec
        .delivery
        .map(|delivery| format!(" ({delivery})"))
        .unwrap_or_default();
    let _ = writeln!(
        out,
        "\n{}{delivery}",
        paint.with(STRONG, format!("config as {kind}"))
    );
    let required: Vec<&str> = spec
        .config
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let fields = spec.config.get("properties").and_then(Value::as_object);
    let rows: Vec<Vec<String>> = fields
        .into_iter()
        .flatten()
        .map(|(name, field)| {
            let default = match field.get("default") {
                _ if required.contains(&name.as_str()) => "required".to_owned(),
                Some(default) => default.to_string(),
                None => String::new(),
            };
            vec![
                name.clone(),
                type_of(field, &spec.config),
                default,
                description(field, &spec.config),
            ]
        })
        .collect();
    if rows.is_empty() {
        out.push_str("  no fields\n");
    } else {
        out.push_str(&table(
            &["field", "type", "default", "description"],
            4,
            &rows,
        ));
    }
}

/// What a field refers to, one step: schemas of plugins define a type once and use it here.
fn resolved<'a>(field: &'a Value, schema: &'a Value) -> &'a Value {
    let reference = field
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|text| text.strip_prefix('#'));
    reference
        .and_then(|pointer| schema.pointer(pointer))
        .unwrap_or(field)
}

fn type_of(field: &Value, schema: &Value) -> String {
    let field = resolved(field, schema);
    if let Some(options) = field.get("enum").and_then(Value::as_array) {
        let options: Vec<&str> = options.iter().filter_map(Value::as_str).collect();
        return options.join("|");
    }
    let names: Vec<&str> = match field.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .filter(|name| *name != "null")
            .collect(),
        _ => match field
            .get("oneOf")
            .or_else(|| field.get("anyOf"))
            .and_then(Value::as_array)
        {
            Some(shapes) => {
                return shapes
                    .iter()
                    .map(|one| type_of(one, schema))
                    .collect::<Vec<_>>()
                    .join("|");
            }
            None => vec!["any"],
        },
    };
    match (names.as_slice(), field.get("items")) {
        (["array"], Some(items)) => format!("list of {}", type_of(items, schema)),
        _ => names.join("|"),
    }
}

/// The first sentence of a field's description.
fn description(field: &Value, schema: &Value) -> String {
    let own = field
        .get("description")
        .or_else(|| resolved(field, schema).get("description"));
    let text = own
        .and_then(Value::as_str)
        .unwrap_or_default()
        .replace('\n', " ");
    let sentence = text
        .split(". ")
        .next()
        .unwrap_or_default()
        .trim_end_matches('.');
    style::cut(sentence, MAX_DESCRIPTION)
}

pub(super) fn permissions(manifest: &Manifest, paint: Paint, out: &mut String) {
    let _ = writeln!(out, "\n{}", paint.with(STRONG, "asks for"));
    let wishes = &manifest.permissions;
    if wishes.is_empty() {
        out.push_str("  nothing\n");
    }
    let asked = wishes.in_words();
    let width = asked
        .iter()
        .map(|(what, _)| what.chars().count())
        .max()
        .unwrap_or(0);
    for (what, wish) in asked {
        let mut notes = Vec::new();
        if !wish.kinds.is_empty() {
            let kinds: Vec<&str> = wish.kinds.iter().map(|kind| kind.as_str()).collect();
            notes.push(format!("as {}", kinds.join(" and ")));
        }
        if wish.optional {
            notes.push("optional".to_owned());
        }
        let mut reason = match wish.reason.as_str() {
            "" => "no reason given".to_owned(),
            reason => visible(reason).into_owned(),
        };
        if !notes.is_empty() {
            reason = format!("({}) {reason}", notes.join(", "));
        }
        let what = visible(&what);
        let _ = writeln!(out, "  to {what:width$}  {}", paint.with(FAINT, reason));
    }
}

fn version(inspection: &Inspection) -> Option<&str> {
    let manifest = inspection.manifest.as_ref();
    manifest.map(|manifest| manifest.version.as_str())
}

/// What it asks for beyond the version that it would replace.
fn differences(old: &Inspection, comparison: &Comparison, paint: Paint, out: &mut String) {
    let name = old.manifest.as_ref().map_or_else(
        || old.digest.clone(),
        |manifest| format!("{} {}", manifest.name, manifest.version),
    );
    let _ = writeln!(
        out,
        "\n{}",
        paint.with(STRONG, format!("compared with {name}"))
    );
    let kinds = |kinds: &[Kind]| {
        let names: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
        names.join(" and ")
    };
    for asked in &comparison.added {
        let mut notes = vec![format!("as {}", kinds(&asked.kinds))];
        match (asked.optional, asked.was_optional) {
            (true, _) => notes.push("optional".to_owned()),
            (false, true) => notes.push("was optional".to_owned()),
            (false, false) => {}
        }
        let mark = paint.with(if asked.optional { FAINT } else { WARN }, "+");
        let notes = paint.with(
            FAINT,
            format!("({}) {}", notes.join(", "), visible(&asked.reason)),
        );
        let what = visible(&asked.what);
        let _ = writeln!(out, "  {mark} asks to {what}  {}", notes.trim_end());
    }
    for asked in &comparison.removed {
        let _ = writeln!(
            out,
            "  - asks no more to {} (as {})",
            asked.what,
            kinds(&asked.kinds)
        );
    }
    for words in &comparison.reaches {
        let _ = writeln!(out, "  + imports {words}");
    }
    if !comparison.lost_kinds.is_empty() {
        let kinds = kinds(&comparison.lost_kinds);
        let _ = writeln!(out, "  {} is no {kinds} any more", paint.with(WARN, "!"));
    }
    if *comparison == Comparison::default() {
        out.push_str("  asks for nothing else\n");
    } else if comparison.asks_for_more() {
        out.push_str("  a flow that does not grant it keeps the old version: `crossdock check` prints the lines to add\n");
    }
}

/// What it could reach, in words; by name what no host offers.
pub(super) fn imports(inspection: &Inspection, paint: Paint, out: &mut String) {
    let _ = writeln!(out, "\n{}", paint.with(STRONG, "imports"));
    for group in inspection.reach() {
        let names = inspection
            .imports
            .iter()
            .filter(|import| import.group == group)
            .map(|import| import.name.as_str());
        let names: Vec<&str> = names.collect();
        let shown = match group {
            ImportGroup::Contract => {
                let short = |name: &&str| {
                    name.rsplit('/')
                        .next()
                        .unwrap_or(name)
                        .split('@')
                        .next()
                        .unwrap_or_default()
                        .to_owned()
                };
                format!(
                    "{}: {}",
                    group.words(),
                    names.iter().map(short).collect::<Vec<_>>().join(", ")
                )
            }
            ImportGroup::Unknown => {
                format!("{}: {}", group.words(), names.join(", "))
            }
            _ => group.words().to_owned(),
        };
        let _ = writeln!(out, "  {shown}");
    }
    if inspection.imports.is_empty() {
        out.push_str("  nothing\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Import;

    fn inspection() -> Inspection {
        let manifest = json!({
            "name": "csv", "version": "0.1.0", "description": "Reads and writes CSV files", "license": "Apache-2.0",
            "links": {"docs": "https://example.org/csv"},
            "kinds": {"source": {"delivery": "replayable", "config": {
                "type": "object", "required": ["files"], "additionalProperties": false,
                "properties": {
                    "files": {"type": "array", "items": {"type": "string"}, "description": "Files and globs. More."},
                    "delimiter": {"type": "string", "default": ",", "description": "One character"},
                    "encoding": {"enum": ["utf-8", "latin-1"], "default": "utf-8"},
                    "columns": {"$ref": "#/$defs/columns"},
                    "rows": {"type": ["integer", "null"]},
                    "mapping": {"oneOf": [{"type": "string"}, {"type": "object"}]},
                },
                "$defs": {"columns": {"type": "object", "description": "Types by column"}},
            }}},
            "permissions": {
                "files": [{"access": "read", "reason": "reads the files that `files` names"}], "tables": [{}],
            },
        });
        let import = |name: &str, group| Import {
            name: name.to_owned(),
            group,
        };
        Inspection {
            digest: "sha256:abc".to_owned(),
            size: 345_678,
            contracts: vec!["0.1.0".parse().unwrap()],
            kinds: vec![Kind::Source],
            manifest: Some(serde_json::from_value(manifest).unwrap()),
            manifest_error: None,
            exports: vec!["crossdock:plugin/source@0.1.0".to_owned()],
            imports: vec![
                import("crossdock:plugin/log@0.1.0", ImportGroup::Contract),
                import("crossdock:plugin/tables@0.1.0", ImportGroup::Contract),
                import("wasi:cli/environment@0.2.6", ImportGroup::Baseline),
                import("acme:gpu/draw@1.0.0", ImportGroup::Unknown),
            ],
            producers: vec!["Rust 1.95".to_owned()],
        }
    }

    #[test]
    fn what_another_version_asks_for_is_shown() {
        let old = inspection();
        let mut new = inspection();
        if let Some(manifest) = &mut new.manifest {
            manifest.version = "0.2.0".to_owned();
            manifest.permissions = serde_json::from_value(json!({
                "files": [{ "access": "write", "reason": "keeps an index" }, { "access": "read" }],
                "http": [{ "url": "https://api.example.com/", "optional": true }],
            }))
            .unwrap();
        }
        let paint = Paint { on: false };
        let mut out = String::new();
        differences(&old, &compare(&old, &new), paint, &mut out);
        differences(&new, &compare(&new, &new), paint, &mut out);
        insta::assert_snapshot!(out);
    }

    #[test]
    fn a_plugin_is_shown_whole() {
        insta::assert_snapshot!(shown(
            ("file", "/p/csv.wasm"),
            &inspection(),
            Paint { on: false }
        ));
        let bare = Inspection {
            manifest: None,
            kinds: vec![],
            contracts: vec![],
            imports: vec![],
            ..inspection()
        };
        insta::assert_snapshot!(shown(("file", "/p/x.wasm"), &bare, Paint { on: false }));
    }
}
