//! `crossdock plugin search`.

use std::fmt::Write as _;

use serde_json::json;

use super::{arguments::SearchArguments, install::notices};
use crate::{
    app::Look,
    catalogue::{index::search::Found, registry::settings},
    cli::{
        Failure,
        output::Output,
        style::{self, BAD, FAINT, GOOD, Paint, STRONG, WARN},
    },
};

/// A description is cut to this.
const MAX_DESCRIPTION: usize = 110;

pub(in crate::cli) async fn search(
    arguments: SearchArguments,
    output: Output,
) -> Result<u8, Failure> {
    let plugins = arguments.project.plugins(Some(&arguments.registry))?;
    notices(&plugins, Look::Refresh, output).await?;
    if !plugins.has_catalogues() {
        return Err(Failure::Usage(format!(
            "no catalogue is named: write `catalogues: [oci://HOST/NAMESPACE]` into {} of the project",
            settings::FILE
        )));
    }
    let mut found = plugins.known().search(&arguments.words);
    let all = found.len();
    found.truncate(arguments.limit);
    if arguments.project.json {
        output.print_json(&json!({ "ok": true, "found": all, "plugins": found }));
    } else if found.is_empty() {
        let words = arguments.words.join(" ");
        output.print(&format!("no catalogue has a plugin with `{words}`\n"));
    } else {
        output.print(&shown(&found, all, output.paint));
    }
    Ok(u8::from(all == 0))
}

fn shown(found: &[Found], all: usize, paint: Paint) -> String {
    let mut out = String::new();
    for one in found {
        let kinds: Vec<&str> = one.release.kinds.iter().map(|kind| kind.as_str()).collect();
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            out,
            "{} {}",
            paint.with(STRONG, format!("{} {}", one.name, one.version)),
            paint.with(FAINT, format!("({})", kinds.join(", ")))
        );
        if !one.release.description.is_empty() {
            let text = style::cut(&one.release.description, MAX_DESCRIPTION);
            let _ = writeln!(out, "  {text}");
        }
        let level = match (one.release.level(), one.release.attested) {
            (Some(level), true) => format!("claims {level}, signed"),
            (Some(level), false) => format!("claims {level}, not signed"),
            (None, _) => "claims nothing".to_owned(),
        };
        let publisher = match &one.publisher {
            Some(publisher) => paint.with(GOOD, format!("of {publisher}")),
            None => paint.with(WARN, "of nobody in trust.yaml"),
        };
        let _ = writeln!(
            out,
            "  {publisher} · {level} · {}",
            paint.with(FAINT, &one.source)
        );
        if !one.channels.is_empty() {
            let all: Vec<String> = one
                .channels
                .iter()
                .map(|(name, version)| format!("{name} {version}"))
                .collect();
            let _ = writeln!(
                out,
                "  {}",
                paint.with(FAINT, format!("channels: {}", all.join(", ")))
            );
        }
        for line in one.lines() {
            let _ = writeln!(out, "  {} {line}", paint.with(BAD, "!"));
        }
    }
    if all > found.len() {
        let more = format!(
            "{} more: --limit shows them, or another word",
            all - found.len()
        );
        let _ = writeln!(out, "{}", paint.with(FAINT, more));
    }
    out
}
