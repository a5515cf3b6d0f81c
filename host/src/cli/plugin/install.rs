//! `crossdock plugin install`: shows what it is before anything of it runs, and asks.

use std::{
    fmt::Write as _,
    io::{self, BufRead as _, Write as _},
    path::Path,
};

use serde_json::json;

use super::{arguments::InstallArguments, differences, shown};
use crate::{
    app::{Consent, Fetching, InstalledPlugin, Offer, Plugins, PluginsError},
    catalogue::{Decision, reference},
    cli::{
        Failure,
        output::Output,
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
    if reference::is_reference(plugin) {
        let reference = plugin.parse();
        let reference = reference.map_err(|error| Failure::Usage(format!("{error}")))?;
        let offer = plugins.offer(&reference).await?;
        let done = one(&plugins, offer, &arguments, output).await?;
        if json {
            output.print_json(&json!({ "ok": true, "installed": done }));
        }
        return Ok(0);
    }
    let file = Path::new(plugin);
    if !file.is_file() {
        return Err(Failure::Usage(format!(
            "`{plugin}` is neither a place in a registry, as in `oci://HOST/NAMESPACE/NAME`, nor a bundle's file"
        )));
    }
    let mut all = Vec::new();
    for offer in plugins.bundled(file).await? {
        all.push(one(&plugins, offer, &arguments, output).await?);
    }
    if json {
        output.print_json(&json!({ "ok": true, "plugins": all }));
    }
    Ok(0)
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
    Plugins::may_replace(&offer, &plugins.lock()?, arguments.downgrade)?;
    if !json {
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
    let done = plugins.install(offer, consent, arguments.downgrade).await?;
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
    }
    out
}

/// Asks on stderr, reads from stdin. No answer is a no.
pub(super) async fn agreed(question: &str, output: Output) -> Result<bool, Failure> {
    let question = format!(
        "{} [y/N] ",
        output.paint_errors.with(style::STRONG, question)
    );
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
