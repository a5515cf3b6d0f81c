//! `crossdock plugin upgrade`, `outdated`, `pin`, `rollback`, `why` and `bundle`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{
    arguments::{
        BundleArguments, OutdatedArguments, PinArguments, PluginRollbackArguments,
        UpgradeArguments, WhyArguments,
    },
    install::{agreed, judged, notices},
    installed::warnings,
};
use crate::{
    app::{Consent, Look, Newer, Plugins, Upgrade, Use},
    catalogue::{Change, Verdict},
    cli::{
        Failure,
        output::{Output, table},
        style::{self, BAD, FAINT, GOOD, Paint, STRONG, WARN},
    },
};

/// What became of one plugin.
struct Done {
    name: String,
    line: String,
    document: Value,
    waits: bool,
}

pub(in crate::cli) async fn upgrade(
    arguments: UpgradeArguments,
    output: Output,
) -> Result<u8, Failure> {
    let plugins = arguments.project.plugins(Some(&arguments.registry))?;
    let json = arguments.project.json;
    if json && !arguments.yes && !arguments.dry_run {
        return Err(Failure::Usage(
            "with --json nobody can be asked: add --yes or --dry-run".into(),
        ));
    }
    notices(&plugins, Look::Refresh, output).await?;
    let all = plugins.newer(&arguments.names).await?;
    let mut done = Vec::new();
    for newer in &all {
        done.push(one(&plugins, newer, &arguments, output).await?);
    }
    let waits = done.iter().any(|one| one.waits);
    if json {
        let documents: Vec<&Value> = done.iter().map(|one| &one.document).collect();
        output.print_json(&json!({ "ok": !waits, "plugins": documents }));
    } else if done.is_empty() {
        output.print("no plugin is installed\n");
    } else {
        let width = done.iter().map(|one| one.name.len()).max().unwrap_or(0);
        let mut out = String::new();
        for one in &done {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{:width$}  {}", one.name, one.line);
        }
        output.print(&out);
    }
    Ok(u8::from(waits && !arguments.dry_run))
}

async fn one(
    plugins: &Plugins,
    newer: &Newer,
    arguments: &UpgradeArguments,
    output: Output,
) -> Result<Done, Failure> {
    let paint = output.paint;
    let done = |line: String, waits: bool, mut document: Value| {
        if let Value::Object(fields) = &mut document {
            fields.insert("name".to_owned(), json!(newer.name));
            fields.insert("installed".to_owned(), json!(newer.installed));
        }
        Done {
            name: newer.name.clone(),
            line,
            document,
            waits,
        }
    };
    let Some(upgrade) = plugins.upgrade(newer).await? else {
        let why = unchanged(newer);
        let line = format!("{} stays: {why}", newer.installed);
        return Ok(done(line, false, json!({ "state": "stays", "why": why })));
    };
    let version = upgrade.offer.version.clone();
    let judgement = upgrade.judgement.clone();
    let mut document = json!({ "version": version, "judgement": judgement });
    let mut state = |state: &str| {
        let mut document = document.take();
        document["state"] = json!(state);
        document
    };
    if !arguments.project.json {
        output.print(&shown(&upgrade, paint));
    }
    let from_to = format!("{} → {version}", newer.installed);
    let verdict = judgement
        .as_ref()
        .map_or("", |judgement| judgement.verdict.as_str());
    if arguments.dry_run {
        let consent = if upgrade.needs_consent() {
            ", needs consent"
        } else {
            ""
        };
        let line = format!("{from_to} would be installed ({verdict}{consent})");
        return Ok(done(line, false, state("would-upgrade")));
    }
    let question = format!("upgrade {} {from_to}?", newer.name);
    let Some(consent) = consent(&upgrade, arguments, &question, output).await? else {
        let line = format!("{} stays: nobody agreed to {version}", newer.installed);
        return Ok(done(line, true, state("declined")));
    };
    match plugins.take(upgrade, consent).await {
        Ok(_) => Ok(done(
            format!("{from_to} {}", paint.with(GOOD, "is installed")),
            false,
            state("upgraded"),
        )),
        Err(crate::app::PluginsError::NotGranted { missing, .. }) => {
            let line = format!(
                "{} stays: {version} asks to {}, which is not granted",
                newer.installed,
                missing.join(" and to ")
            );
            Ok(done(
                paint.with(WARN, line),
                true,
                state("waits-for-consent"),
            ))
        }
        Err(error) => Err(error.into()),
    }
}

/// When more than before is asked for, somebody must say yes, or have written the grants down.
async fn consent(
    upgrade: &Upgrade,
    arguments: &UpgradeArguments,
    question: &str,
    output: Output,
) -> Result<Option<Consent>, Failure> {
    if arguments.yes && upgrade.needs_consent() {
        Ok(Some(Consent::Granted))
    } else if arguments.yes || agreed(question, output).await? {
        Ok(Some(Consent::Given))
    } else {
        Ok(None)
    }
}

/// Why there is nothing to do.
fn unchanged(newer: &Newer) -> String {
    let beyond = newer
        .newest
        .as_ref()
        .filter(|newest| **newest > newer.installed);
    match beyond {
        _ if newer.pinned => "it is pinned".to_owned(),
        Some(newest) => format!("{} allows no newer one; there is {newest}", newer.wanted),
        None => "it is the newest".to_owned(),
    }
}

/// What the new version is, and what is different.
fn shown(upgrade: &Upgrade, paint: Paint) -> String {
    let mut out = judged(&upgrade.offer, paint);
    let Some(judgement) = &upgrade.judgement else {
        return out;
    };
    out.push('\n');
    changes(&judgement.changes, judgement.verdict, paint, &mut out);
    if upgrade.is_understated() {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            out,
            "{} its number promises less than that",
            paint.with(WARN, "!")
        );
    }
    out
}

fn changes(changes: &[Change], verdict: Verdict, paint: Paint, out: &mut String) {
    let (style, words) = match verdict {
        Verdict::Patch => (
            GOOD,
            "patch: nothing that could be seen from outside is different",
        ),
        Verdict::Minor => (GOOD, "minor: what worked goes on working"),
        Verdict::Breaking => (BAD, "breaking: a flow that worked may not work with it"),
    };
    let _ = writeln!(out, "{}", paint.with(style, words));
    for change in changes {
        let mark = if change.breaking {
            paint.with(BAD, "!")
        } else {
            paint.with(FAINT, "+")
        };
        let _ = writeln!(out, "  {mark} {} {}", change.place, change.what);
    }
}

pub(in crate::cli) async fn outdated(
    arguments: OutdatedArguments,
    output: Output,
) -> Result<u8, Failure> {
    let plugins = arguments.project.plugins(Some(&arguments.registry))?;
    notices(&plugins, Look::Refresh, output).await?;
    let all = plugins.newer(&[]).await?;
    if arguments.project.json {
        output.print_json(&json!({ "ok": true, "plugins": all }));
        return Ok(0);
    }
    let old: Vec<&Newer> = all
        .iter()
        .filter(|one| one.upgrade.is_some() || one.newest.as_ref() > Some(&one.installed))
        .collect();
    let mut out = String::new();
    for one in &all {
        warnings(
            &one.name,
            &one.installed,
            &one.advice,
            output.paint,
            &mut out,
        );
    }
    if old.is_empty() {
        output.print(&format!("everything is the newest\n{out}"));
        return Ok(0);
    }
    let text =
        |version: Option<&semver::Version>| version.map_or("-".to_owned(), ToString::to_string);
    let rows: Vec<Vec<String>> = old
        .iter()
        .map(|one| {
            let note = if one.pinned { "pinned" } else { "" };
            vec![
                one.name.clone(),
                one.installed.to_string(),
                text(one.upgrade.as_ref()),
                text(one.newest.as_ref()),
                one.wanted.to_string(),
                note.to_owned(),
            ]
        })
        .collect();
    let header = ["plugin", "installed", "upgrade", "newest", "wanted", ""];
    output.print(&format!("{}{out}", table(&header, header.len(), &rows)));
    Ok(0)
}

pub(in crate::cli) async fn pin(arguments: PinArguments, output: Output) -> Result<u8, Failure> {
    let plugins = arguments.project.plugins(None)?;
    let done = plugins.pin(&arguments.name, !arguments.off).await?;
    if arguments.project.json {
        output.print_json(&json!({ "ok": true, "installed": done }));
        return Ok(0);
    }
    let name = output
        .paint
        .with(STRONG, format!("{} {}", done.name, done.version));
    let what = if done.pinned {
        "stays as it is"
    } else {
        "may change again"
    };
    output.print(&format!("{} {name} {what}\n", output.paint.with(GOOD, "✓")));
    Ok(0)
}

pub(in crate::cli) async fn rollback(
    arguments: PluginRollbackArguments,
    output: Output,
) -> Result<u8, Failure> {
    let plugins = arguments.project.plugins(None)?;
    notices(&plugins, Look::Kept, output).await?;
    let done = plugins
        .roll_back(&arguments.name, arguments.to.as_ref())
        .await?;
    if arguments.project.json {
        output.print_json(&json!({ "ok": true, "installed": done }));
        return Ok(0);
    }
    let paint = output.paint;
    let name = paint.with(STRONG, format!("{} {}", done.name, done.version));
    let mut out = format!(
        "{} {name} is back\n  {}\n",
        paint.with(GOOD, "✓"),
        paint.with(
            FAINT,
            "the next run takes it; `crossdock swap` puts it into a flow that runs"
        )
    );
    warnings(&done.name, &done.version, &done.advice, paint, &mut out);
    output.print(&out);
    Ok(0)
}

pub(in crate::cli) fn why(arguments: &WhyArguments, output: Output) -> Result<u8, Failure> {
    let plugins = arguments.project.plugins(None)?;
    let name = &arguments.name;
    let installed = plugins.list()?.into_iter().find(|one| one.name == *name);
    let (uses, unread) = plugins.uses(name);
    if arguments.project.json {
        output.print_json(&json!({
            "ok": true, "installed": installed, "uses": uses, "unread": unread,
        }));
        return Ok(0);
    }
    let paint = output.paint;
    let mut out = match &installed {
        Some(one) => format!(
            "{} from {}\n",
            paint.with(STRONG, format!("{} {}", one.name, one.version)),
            one.source
        ),
        None => format!("{} is not installed\n", paint.with(STRONG, name)),
    };
    if uses.is_empty() {
        out.push_str("no flow uses it\n");
    } else {
        out.push_str(&table(
            &["flow", "stage", "as", "wants", "file"],
            5,
            &rows(&uses),
        ));
    }
    for file in &unread {
        let mark = paint.with(WARN, "!");
        let file = style::path(file);
        let _ = writeln!(
            out,
            "{mark} {file} cannot be read, so it may use it: `crossdock check {file}`"
        );
    }
    output.print(&out);
    Ok(0)
}

fn rows(uses: &[Use]) -> Vec<Vec<String>> {
    let row = |one: &Use| {
        vec![
            one.flow.clone(),
            one.stage.clone(),
            one.kind.clone(),
            one.plugin.clone(),
            style::path(&one.file),
        ]
    };
    uses.iter().map(row).collect()
}

pub(in crate::cli) async fn bundle(
    arguments: BundleArguments,
    output: Output,
) -> Result<u8, Failure> {
    let plugins = arguments.project.plugins(Some(&arguments.registry))?;
    let done = plugins.bundle(&arguments.file, &arguments.names).await?;
    if arguments.project.json {
        output.print_json(&json!({ "ok": true, "bundle": done }));
        return Ok(0);
    }
    let paint = output.paint;
    let mut out = format!(
        "{} {} ({})\n",
        paint.with(GOOD, "✓"),
        paint.with(STRONG, style::path(&done.file)),
        style::bytes(done.size)
    );
    for plugin in &done.plugins {
        let _ = writeln!(out, "  {plugin}");
    }
    let hint = format!(
        "elsewhere: crossdock plugin install {}",
        done.file.file_name().unwrap_or_default().to_string_lossy()
    );
    let _ = writeln!(out, "  {}", paint.with(FAINT, hint));
    output.print(&out);
    Ok(0)
}
