//! `crossdock plugin list`, `info` and `remove`.

use std::fmt::Write as _;

use semver::Version;
use serde_json::{Value, json};

use super::{
    arguments::{InfoArguments, ListArguments, RemoveArguments},
    install::{advice, judged, notices, reference_of},
    shown,
};
use crate::{
    app::{InstalledPlugin, Look, catalogues::Advice},
    catalogue::{Wanted, reference},
    cli::{
        Failure,
        output::{Output, table},
        style::{BAD, GOOD, Paint, STRONG, WARN},
    },
};

pub(in crate::cli) async fn list(arguments: ListArguments, output: Output) -> Result<u8, Failure> {
    let plugins = arguments.project.plugins(None)?;
    notices(&plugins, Look::Kept, output).await?;
    let all = plugins.list()?;
    if arguments.project.json {
        output.print_json(&json!({ "ok": true, "plugins": all }));
    } else if all.is_empty() {
        output.print("no plugin is installed\n");
    } else {
        let rows: Vec<Vec<String>> = all.iter().map(row).collect();
        let header = ["plugin", "version", "wanted", "from", ""];
        let mut out = table(&header, header.len(), &rows);
        for one in &all {
            warnings(&one.name, &one.version, &one.advice, output.paint, &mut out);
        }
        output.print(&out);
    }
    Ok(0)
}

/// What the catalogues say of an installed version, under a table.
pub(super) fn warnings(
    name: &str,
    version: &Version,
    advice: &Advice,
    paint: Paint,
    out: &mut String,
) {
    for line in advice.lines() {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{} {name} {version}: {line}", paint.with(BAD, "!"));
    }
}

fn row(plugin: &InstalledPlugin) -> Vec<String> {
    let mut notes = Vec::new();
    let bad = !plugin.advice.advisories.is_empty();
    for (is, note) in [
        (plugin.advice.yanked.is_some(), "yanked"),
        (bad, "advisory"),
        (plugin.advice.deprecated.is_some(), "deprecated"),
    ] {
        notes.extend(is.then_some(note));
    }
    if plugin.pinned {
        notes.push("pinned");
    }
    if !plugin.here {
        notes.push("not here: `crossdock plugin install` fetches it");
    }
    vec![
        plugin.name.clone(),
        plugin.version.to_string(),
        plugin.wanted.to_string(),
        plugin.source.to_string(),
        notes.join(", "),
    ]
}

pub(in crate::cli) async fn info(arguments: InfoArguments, output: Output) -> Result<u8, Failure> {
    let plugins = arguments.project.plugins(Some(&arguments.registry))?;
    let json = arguments.project.json;
    let text = arguments.plugin.as_str();
    // A bare name is that of an installed plugin first.
    let is_installed = plugins.lock()?.plugins.contains_key(text);
    let by_place = reference::is_reference(text) || text.contains('@');
    let how = if is_installed {
        Look::Kept
    } else {
        Look::Refresh
    };
    notices(&plugins, how, output).await?;
    if by_place || !is_installed && !plugins.known().catalogues.is_empty() {
        let offer = plugins.offer(&reference_of(&plugins, text)?).await?;
        if json {
            let changes = offer.comparison();
            let manifest = &offer.pulled.manifest.digest;
            let mut document = json!({
                "ok": true, "source": offer.repository, "manifest_digest": manifest, "changes": changes,
                "signature": offer.trust, "advice": offer.advice, "conformance": offer.report,
            });
            add(&mut document, serde_json::to_value(&offer.inspection));
            output.print_json(&document);
        } else {
            output.print(&judged(&offer, output.paint));
        }
        return Ok(0);
    }
    let (view, inspection) = plugins.info(&arguments.plugin)?;
    if json {
        let mut document = json!({ "ok": true, "installed": view });
        add(&mut document, serde_json::to_value(&inspection));
        output.print_json(&document);
        return Ok(0);
    }
    let place = format!("{}@{}", view.source, view.version);
    let mut out = match &inspection {
        Some(inspection) => shown(("from", &place), inspection, output.paint),
        None => format!("{}\n", output.paint.with(STRONG, place)),
    };
    notes(&view, output.paint, &mut out);
    advice(&view.advice, output.paint, &mut out);
    output.print(&out);
    Ok(0)
}

fn add(document: &mut Value, more: Result<Value, serde_json::Error>) {
    if let (Value::Object(fields), Ok(Value::Object(more))) = (document, more) {
        fields.extend(more);
    }
}

/// What the lock file says about it.
fn notes(view: &InstalledPlugin, paint: Paint, out: &mut String) {
    let _ = writeln!(out, "\n{}", paint.with(STRONG, "installed"));
    // Writing to a String cannot fail, here and below.
    if view.wanted != Wanted::Newest {
        let _ = writeln!(out, "  upgrades within {}", view.wanted);
    }
    if let Some(key) = &view.signed_by {
        let _ = writeln!(out, "  signed with the key {}", key.short());
    }
    if view.pinned {
        out.push_str("  pinned: it stays as it is\n");
    }
    if !view.before.is_empty() {
        let before: Vec<String> = view.before.iter().map(ToString::to_string).collect();
        let _ = writeln!(out, "  a way back to {}", before.join(", "));
    }
    if !view.here {
        let mark = paint.with(WARN, "!");
        let _ = writeln!(
            out,
            "  {mark} its component is not here: `crossdock plugin install` fetches it"
        );
    }
    if view.here && view.before.is_empty() && !view.pinned && view.wanted == Wanted::Newest {
        out.push_str("  upgrades to the newest version\n");
    }
}

pub(in crate::cli) async fn remove(
    arguments: RemoveArguments,
    output: Output,
) -> Result<u8, Failure> {
    let plugins = arguments.project.plugins(None)?;
    let removed = plugins.remove(&arguments.name).await?;
    if arguments.project.json {
        output.print_json(&json!({ "ok": true, "removed": removed }));
    } else {
        let mark = output.paint.with(GOOD, "✓");
        let name = output
            .paint
            .with(STRONG, format!("{} {}", removed.name, removed.version));
        output.print(&format!("{mark} {name} is removed\n"));
    }
    Ok(0)
}
