//! `crossdock plugin install`: shows what it is before anything of it runs, and asks.

use std::{
    fmt::Write as _,
    io::{self, BufRead as _, Write as _},
    path::Path,
};

use serde_json::json;

use super::{arguments::InstallArguments, differences, shown};
use crate::{
    app::{
        Allowed, Consent, Fetching, InstalledPlugin, Look, Offer, Plugins, PluginsError,
        catalogues::Advice,
    },
    catalogue::{Decision, Reference, ReferenceError, reference, registry::Attested, version},
    cli::{
        Failure,
        output::{Output, harmless},
        style::{self, BAD, FAINT, GOOD, Paint, STRONG, WARN},
    },
};

pub(in crate::cli) async fn install(
    arguments: InstallArguments,
    output: Output,
) -> Result<u8, Failure> {
    let plugins = arguments.project.plugins(Some(&arguments.registry))?;
    let json = arguments.project.json;
    let Some(plugin) = &arguments.plugin else {
        notices(&plugins, Look::Kept, output).await?;
        let fetched = plugins.restore().await?;
        if json {
            output.print_json(&json!({ "ok": true, "plugins": fetched }));
        } else {
            output.print(&restored(&fetched, output.paint));
        }
        return Ok(0);
    };
    if json && !arguments.yes {
        return Err(Failure::Usage(
            "with --json nobody can be asked: add --yes, and grants/NAME.yaml to the project"
                .into(),
        ));
    }
    let file = Path::new(plugin);
    if reference::is_reference(plugin) || !file.is_file() {
        notices(&plugins, Look::Refresh, output).await?;
        let offer = plugins.offer(&reference_of(&plugins, plugin)?).await?;
        let done = one(&plugins, offer, &arguments, output).await?;
        if json {
            output.print_json(&json!({ "ok": true, "installed": done }));
        }
        return Ok(0);
    }
    notices(&plugins, Look::Kept, output).await?;
    let mut all = Vec::new();
    for offer in plugins.bundled(file).await? {
        all.push(one(&plugins, offer, &arguments, output).await?);
    }
    if json {
        output.print_json(&json!({ "ok": true, "plugins": all }));
    }
    Ok(0)
}

/// Where a plugin is that was named by its place, or by the name that a catalogue has it under.
pub(super) fn reference_of(plugins: &Plugins, text: &str) -> Result<Reference, Failure> {
    if reference::is_reference(text) {
        return text
            .parse()
            .map_err(|error: ReferenceError| Failure::Usage(error.to_string()));
    }
    let usable = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let (name, _) = version::split(text);
    if name.is_empty() || !name.chars().all(usable) {
        return Err(Failure::Usage(format!(
            "`{text}` is neither a place in a registry, as in `oci://HOST/NAMESPACE/NAME`, nor the name of a plugin, nor a \
             bundle's file"
        )));
    }
    Ok(plugins.named(text)?)
}

/// Looks at the catalogues, and tells what is wrong with them: on stderr, so that it is seen beside `--json`, too.
pub(in crate::cli) async fn notices(
    plugins: &Plugins,
    how: Look,
    output: Output,
) -> Result<(), Failure> {
    for notice in plugins.look(how).await? {
        let mark = output.paint_errors.with(WARN, "!");
        output.tell(&format!("{mark} {notice}"));
    }
    Ok(())
}

/// Shows an offer, asks, and installs it.
async fn one(
    plugins: &Plugins,
    offer: Offer,
    arguments: &InstallArguments,
    output: Output,
) -> Result<InstalledPlugin, Failure> {
    let json = arguments.project.json;
    let current = offer.installed.as_ref();
    let same_range = current.is_some_and(|own| own.locked.wanted == offer.wanted);
    if offer.is_installed() && same_range {
        let (view, _) = plugins.info(&offer.name)?;
        tell(&view, "is installed already", json, output);
        return Ok(view);
    }
    let allowed = Allowed {
        downgrade: arguments.downgrade,
        yanked: arguments.yanked,
    };
    Plugins::may_replace(&offer, &plugins.lock()?, allowed)?;
    if json {
        for line in offer.advice.lines() {
            let mark = output.paint_errors.with(WARN, "!");
            output.tell(&format!("{mark} {} {}: {line}", offer.name, offer.version));
        }
    } else {
        output.print(&judged(&offer, output.paint));
    }
    let consent = if arguments.yes {
        Consent::Granted
    } else {
        Consent::Given
    };
    Plugins::is_trusted(&offer, consent)?;
    if consent == Consent::Given {
        let question = format!("install {} {}?", offer.name, offer.version);
        if !agreed(&question, output).await? {
            let what = format!("{} {}", offer.name, offer.version);
            return Err(PluginsError::Declined(what).into());
        }
    }
    let done = plugins.install(offer, consent, allowed).await?;
    tell(&done, "is installed", json, output);
    Ok(done)
}

fn tell(done: &InstalledPlugin, what: &str, json: bool, output: Output) {
    if json {
        return;
    }
    let paint = output.paint;
    let name = paint.with(STRONG, format!("{} {}", done.name, done.version));
    let hint = format!("flows use it with `plugin: {}`", done.name);
    output.print(&format!(
        "{} {name} {what}\n  {}\n",
        paint.with(GOOD, "✓"),
        paint.with(FAINT, hint)
    ));
}

/// Everything about an offer that can be known without running it.
pub(super) fn judged(offer: &Offer, paint: Paint) -> String {
    let from = format!("{}@{}", offer.repository, offer.version);
    let mut out = shown(("from", &from), &offer.inspection, paint);
    let mark = match &offer.trust {
        Decision::Trusted { .. } => paint.with(GOOD, "✓"),
        Decision::Unsigned { .. } => paint.with(WARN, "!"),
        Decision::Changed { .. } | Decision::Refused { .. } => paint.with(BAD, "×"),
    };
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(
        out,
        "\n{}\n  {mark} {}",
        paint.with(STRONG, "signature"),
        offer.trust.words()
    );
    let conformance = offer.report.as_ref().map(Attested::words);
    let conformance = conformance
        .unwrap_or_else(|| "no report: nobody says how far it keeps the contract".to_owned());
    let _ = writeln!(
        out,
        "\n{}\n  {conformance}",
        paint.with(STRONG, "conformance")
    );
    advice(&offer.advice, paint, &mut out);
    let Some(current) = &offer.installed else {
        return out;
    };
    match (&current.inspection, offer.comparison()) {
        (Some(old), Some(comparison)) => differences(old, &comparison, paint, &mut out),
        _ => {
            let _ = writeln!(
                out,
                "\n{} {} {} is installed, but its component is not here to be compared with",
                paint.with(WARN, "!"),
                offer.name,
                current.locked.version
            );
        }
    }
    out
}

/// What the catalogues say of a version, when they say something.
pub(super) fn advice(advice: &Advice, paint: Paint, out: &mut String) {
    if advice.is_empty() {
        return;
    }
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "\n{}", paint.with(STRONG, "catalogue"));
    for line in advice.lines() {
        let _ = writeln!(out, "  {} {line}", paint.with(BAD, "!"));
    }
}

fn restored(fetched: &[Fetching], paint: Paint) -> String {
    if fetched.is_empty() {
        return "plugins.lock names no plugin\n".to_owned();
    }
    let mut out = String::new();
    for one in fetched {
        let what = if one.fetched { "fetched" } else { "is here" };
        let name = paint.with(STRONG, format!("{} {}", one.name, one.version));
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{} {name} {what}", paint.with(GOOD, "✓"));
        for line in one.advice.lines() {
            let _ = writeln!(out, "  {} {line}", paint.with(BAD, "!"));
        }
    }
    out
}

/// Asks on stderr, reads from stdin. No answer is a no.
pub(super) async fn agreed(question: &str, output: Output) -> Result<bool, Failure> {
    let question = format!(
        "{} [y/N] ",
        output.paint_errors.with(style::STRONG, question)
    );
    let question = harmless(&question, output.paint_errors).into_owned();
    let ask = move || -> io::Result<bool> {
        let mut err = io::stderr().lock();
        err.write_all(question.as_bytes())?;
        err.flush()?;
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        if line.is_empty() {
            // Nobody pressed the return key.
            err.write_all(b"\n")?;
        }
        Ok(matches!(line.trim(), "y" | "Y" | "yes" | "Yes"))
    };
    let asked = tokio::task::spawn_blocking(ask).await;
    let failed = |source| Failure::Io {
        action: "nobody can be asked",
        source,
    };
    asked
        .map_err(|error| failed(io::Error::other(error)))?
        .map_err(failed)
}
