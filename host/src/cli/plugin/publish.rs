//! `crossdock plugin publish`.

use serde_json::json;

use super::arguments::PublishArguments;
use crate::{
    app::PublishedPlugin,
    catalogue::registry::REPORT,
    cli::{
        Failure,
        key::key_if_any,
        output::Output,
        style::{self, FAINT, GOOD, STRONG},
    },
};

pub(in crate::cli) async fn publish(
    arguments: PublishArguments,
    output: Output,
) -> Result<u8, Failure> {
    let plugins = arguments.plugins()?;
    let key = key_if_any(arguments.key.as_deref())?;
    let done = plugins
        .publish(&arguments.repository, &arguments.file, key.as_ref())
        .await?;
    if arguments.json {
        output.print_json(&json!({ "ok": true, "published": done }));
        return Ok(0);
    }
    let paint = output.paint;
    let name = paint.with(STRONG, format!("{} {}", done.name, done.version));
    let verb = if done.was_there {
        "is there already, the same"
    } else {
        "is published"
    };
    let line = |name: &str| paint.with(FAINT, format!("{name:9}"));
    output.print(&format!(
        "{} {name} {verb}\n  {}  {}@{} ({})\n  {}  {}\n  {}  {}\n  {}  {}\n  {}  {}\n",
        paint.with(GOOD, "✓"),
        line("place"),
        done.repository,
        done.version,
        style::bytes(done.size),
        line("manifest"),
        done.manifest,
        line("component"),
        done.digest,
        line("signed"),
        match &done.signed_by {
            Some(key) => format!("with the key {}", key.short()),
            None => "no: `crossdock key new` makes a key".to_owned(),
        },
        line("attached"),
        attached(&done),
    ));
    Ok(0)
}

/// What belongs to it, in words.
fn attached(done: &PublishedPlugin) -> String {
    let has = |kind: &str| done.attached.iter().any(|one| one.kind == kind);
    let report = if has(REPORT) {
        "conformance report"
    } else {
        "no conformance report (`crossdock plugin test` makes one)"
    };
    format!("bill of material, {report}")
}
