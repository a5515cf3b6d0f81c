//! Checks that all kinds have.

use std::future::Future;

use serde_json::{Value, json};

use super::{
    api::Mood,
    check::{Found, Wrong, during, failed, open, skipped, told},
    place::Place,
    sink, source,
    subject::Subject,
    transformer,
};
use crate::{
    catalogue::{Kind, validate_config},
    engine::fault::{Fault, FaultKind},
    plugin::{Limits, StageContext},
};

/// What is no snapshot of anybody.
const FOREIGN: &[u8] = b"\xff\xfe\0no snapshot";
/// A field that no plugin has.
const UNKNOWN: &str = "no-such-field";
/// One page of a WebAssembly memory.
const PAGE: u64 = 64 << 10;

/// Opens it, and closes it again.
async fn opened(
    subject: &Subject,
    context: StageContext,
    snapshot: Option<&[u8]>,
) -> Result<(), Fault> {
    let wrong =
        |error: crate::plugin::PluginError| Fault::new(FaultKind::Config, error.to_string());
    match subject.kind {
        Kind::Source => {
            let opener = subject.plugin.source(context).map_err(wrong)?;
            opener.open(snapshot).await?.close().await;
        }
        Kind::Transformer => {
            let opener = subject.plugin.transformer(context).map_err(wrong)?;
            opener.open(snapshot).await?.close().await;
        }
        Kind::Sink => {
            let opener = subject.plugin.sink(context).map_err(wrong)?;
            opener.open(snapshot).await?.close().await;
        }
    }
    Ok(())
}

pub(super) async fn opens(subject: &Subject) -> Found {
    let findings = subject.plugin.inspection().findings();
    if !findings.is_empty() {
        return failed(format!(
            "its manifest does not fit it: {}",
            findings.join("; ")
        ));
    }
    if let Some(manifest) = subject.manifest() {
        let findings = validate_config(manifest, subject.kind, &subject.config);
        if let Some(finding) = findings.first() {
            return failed(format!(
                "the sample config does not fit the schema of plugin.json: {}: {} (conformance.yaml says which config \
                 it is tested with)",
                finding.pointer, finding.message
            ));
        }
    }
    let place = subject.place()?;
    let context = subject.context(&place, Subject::limits());
    let checked = subject.plugin.check(subject.kind, &context).await;
    checked.map_err(during("`check` refuses the sample config"))?;
    let outcome = opened(subject, context, None).await;
    outcome.map_err(during("`open` refuses the sample config"))
}

/// A config that must be refused, and the field that is wrong.
struct Bad {
    config: Value,
    field: String,
    /// Candidates: the first one that the schema refuses is enough; otherwise the plugin is asked about the first.
    what: String,
}

fn bad_configs(subject: &Subject) -> Vec<Vec<Bad>> {
    let good = subject.config.as_object().cloned().unwrap_or_default();
    let with = |name: &str, value: Value| {
        let mut config = good.clone();
        config.insert(name.to_owned(), value);
        Value::Object(config)
    };
    let mut all = vec![vec![Bad {
        config: with(UNKNOWN, json!(1)),
        field: format!("/{UNKNOWN}"),
        what: format!("an unknown field `{UNKNOWN}`"),
    }]];
    for (name, value) in &good {
        let others = [
            json!(-17.5),
            json!("\u{0}"),
            json!([{}]),
            json!({ UNKNOWN: 1 }),
            json!(true),
        ];
        let other_type =
            |other: &Value| std::mem::discriminant(other) != std::mem::discriminant(value);
        let candidates = others.into_iter().filter(other_type).map(|other| Bad {
            what: format!("`{name}: {other}`"),
            config: with(name, other),
            field: format!("/{name}"),
        });
        all.push(candidates.collect());
    }
    for refused in &subject.settings.refuses {
        all.push(vec![Bad {
            config: Value::Object(refused.config.clone()),
            field: refused.field.clone(),
            what: format!("the config {}", Value::Object(refused.config.clone())),
        }]);
    }
    all
}

pub(super) async fn refuses_bad_config(subject: &Subject) -> Found {
    let Some(manifest) = subject.manifest() else {
        return failed("it has no manifest, so nothing says which configs are good");
    };
    for candidates in bad_configs(subject) {
        let by_schema = candidates.iter().any(|bad| {
            let findings = validate_config(manifest, subject.kind, &bad.config);
            findings
                .iter()
                .any(|finding| names(&finding.pointer, &finding.message, &bad.field))
        });
        let (false, Some(bad)) = (by_schema, candidates.into_iter().next()) else {
            continue;
        };
        let place = subject.place()?;
        let context = StageContext {
            config: bad.config,
            ..subject.context(&place, Subject::limits())
        };
        match opened(subject, context, None).await {
            Ok(()) => {
                return failed(format!(
                    "{} is taken: neither the schema in plugin.json nor `open` refuses it",
                    bad.what
                ));
            }
            Err(fault) if fault.kind != FaultKind::Config => {
                return failed(format!(
                    "{} is refused, but not by a config fault: {}",
                    bad.what,
                    told(&fault)
                ));
            }
            Err(fault) if !names(&fault.field, &fault.message, &bad.field) => {
                return failed(format!(
                    "{} is refused, but the fault does not name the field `{}`: {}",
                    bad.what,
                    bad.field,
                    told(&fault)
                ));
            }
            Err(_) => {}
        }
    }
    Ok(())
}

/// Whether a finding is about a field: at it, in it, or its name is in the message.
fn names(pointer: &str, message: &str, field: &str) -> bool {
    let name = field.rsplit('/').next().unwrap_or(field);
    pointer.starts_with(field) || message.contains(&format!("`{name}`"))
}

pub(super) async fn refuses_a_foreign_snapshot(subject: &Subject) -> Found {
    let place = subject.place()?;
    let context = subject.context(&place, Subject::limits());
    let Err(fault) = opened(subject, context, Some(FOREIGN)).await else {
        let own = match subject.kind {
            Kind::Source => source::own_snapshot(subject).await?,
            Kind::Transformer => transformer::own_snapshot(subject).await?,
            Kind::Sink => sink::own_snapshot(subject).await?,
        };
        if own.is_empty() {
            return Ok(());
        }
        return failed(
            "opened with bytes that are no snapshot of it, it goes on as if they were: it would go on from a wrong \
             place, and nobody would know",
        );
    };
    if fault.kind == FaultKind::Config {
        return Ok(());
    }
    failed(format!(
        "bytes that are no snapshot of it are to be a config fault, so that the host keeps what it had, but are: {}",
        told(&fault)
    ))
}

pub(super) async fn check_has_no_side_effects(subject: &Subject) -> Found {
    let place = subject.place()?;
    let look = || place.all().map_err(unreadable);
    let before = look()?;
    let context = subject.context(&place, Subject::limits());
    subject.plugin.check(subject.kind, &context).await?;
    if subject.kind == Kind::Source {
        subject.plugin.streams(&context).await?;
    }
    let after = look()?;
    if let Some(name) = after
        .keys()
        .find(|name| before.get(*name) != after.get(*name))
    {
        return failed(format!("`check` has written {name}"));
    }
    if let Some(name) = before.keys().find(|name| !after.contains_key(*name)) {
        return failed(format!("`check` has removed {name}"));
    }
    let changes = place.api.as_ref().map_or(0, |api| api.changes());
    if changes > 0 {
        return failed(format!(
            "`check` has sent {changes} requests that change something"
        ));
    }
    Ok(())
}

#[allow(clippy::needless_pass_by_value, reason = "what `map_err` calls")]
pub(super) fn unreadable(error: std::io::Error) -> Wrong {
    Wrong::Failed(format!("what it has written cannot be read: {error}"))
}

/// Runs something with less and less memory: `used` is what it takes.
pub(super) async fn with_little_memory<F>(used: u64, run: impl Fn(Limits, String) -> F) -> Found
where
    F: Future<Output = Found>,
{
    for memory in [used.saturating_sub(PAGE), used / 2] {
        let limits = Limits {
            memory,
            ..Subject::limits()
        };
        run(limits, format!("with {} KiB of memory", memory >> 10)).await?;
    }
    Ok(())
}

/// Runs something with little time for a call.
pub(super) async fn with_little_time<F>(run: impl Fn(Limits, String) -> F) -> Found
where
    F: Future<Output = Found>,
{
    let call = std::time::Duration::from_millis(1);
    let limits = Limits {
        call,
        ..Subject::limits()
    };
    run(limits, "with 1 ms for a call".to_owned()).await
}

/// Lets `act` run against APIs that are out of order, and judges the fault that it tells.
pub(super) async fn tells_faults_apart<F>(
    subject: &Subject,
    silence_is_wrong: bool,
    act: impl Fn(Place) -> F,
) -> Found
where
    F: Future<Output = Option<Fault>>,
{
    let moods = [
        (
            Mood::Unreachable,
            "nobody can connect",
            Some(FaultKind::Transient),
        ),
        (
            Mood::Unavailable,
            "every answer is 503",
            Some(FaultKind::Transient),
        ),
        (
            Mood::Unauthenticated,
            "the client is refused",
            Some(FaultKind::Config),
        ),
        (Mood::Nonsense, "every answer is a page for people", None),
    ];
    for (mood, what, wanted) in moods {
        let mut place = subject.place()?;
        let api = place.moody(mood);
        let fault = act(place).await;
        if api.calls() == 0 {
            return skipped("it sends no requests");
        }
        match (fault, wanted) {
            // Who only writes need not look at what a success is told with.
            (None, None) if subject.kind != Kind::Source => {}
            (None, _) if silence_is_wrong => {
                return failed(format!(
                    "while {what}, it goes on as if nothing had happened"
                ));
            }
            (Some(fault), _) if fault.kind.is_lethal() => {
                return failed(format!("while {what}, it dies: {}", told(&fault)));
            }
            (Some(fault), Some(wanted)) if fault.kind != wanted => {
                return failed(format!(
                    "while {what}, a {wanted} fault is due, but it tells: {}",
                    told(&fault)
                ));
            }
            (None | Some(_), _) => {}
        }
    }
    Ok(())
}

/// For results that differ though nothing was promised.
pub(super) fn unless_promised(promised: bool, declared: &str, what: String) -> Found {
    if promised {
        failed(what)
    } else {
        open(format!(
            "{what} (its manifest does not promise `{declared}`)"
        ))
    }
}

/// Positions in `0..=count`, at most this many, with both ends.
pub(super) fn positions(count: usize, most: usize) -> Vec<usize> {
    let most = most.max(2);
    if count < most {
        return (0..=count).collect();
    }
    let mut all: Vec<usize> = (0..most).map(|at| at * count / (most - 1)).collect();
    all.dedup();
    all
}
