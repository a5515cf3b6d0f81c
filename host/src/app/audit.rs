//! What goes into the audit log, and how it is read.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use super::{AppError, Edit, Project, Resolved, RunSummary, run::Outcome};
use crate::{
    flow::{Grants, Plan, StagePlan},
    plugin::{Denial, DenialWatcher},
    storage::{
        Action, Audit, AuditEntry, AuditFilter, AuditPage, DeadLetter, Granted, Store, audit,
    },
};

/// Who is meant when the host itself does something.
pub(super) const HOST: &str = "host";
/// Who is meant when a plugin does something.
const PLUGIN: &str = "plugin";

/// Who is meant when somebody uses the command line: `cli:USER`, as the environment names them.
pub fn cli_actor() -> String {
    let user = ["USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    match user.filter(|user| !user.is_empty()) {
        Some(user) => format!("cli:{user}"),
        None => "cli".to_owned(),
    }
}

/// Puts one entry into the audit log of a state folder, and waits until it is on the disk. Blocks.
///
/// # Errors
/// When the log cannot be written.
pub fn note(state: &Path, entry: AuditEntry) -> Result<(), AppError> {
    let audit = Audit::open(state)?;
    audit.record(entry);
    Ok(audit.flush()?)
}

/// That somebody has changed a dead letter: where it came from and what of it was given anew, not what it says now.
pub fn edited(letter: &DeadLetter, edit: &Edit, actor: &str) -> AuditEntry {
    let parts = [
        ("key", edit.key.is_some()),
        ("headers", edit.headers.is_some()),
        ("payload", edit.payload.is_some()),
        ("form", edit.form.is_some()),
    ];
    let parts = parts.iter().filter(|(_, given)| *given);
    let parts: Vec<&str> = parts.map(|(name, _)| *name).collect();
    AuditEntry::new(Action::DeadLetterEdited, actor)
        .flow(&letter.flow)
        .stage(&letter.stage)
        .plugin(&letter.plugin, &letter.version, &letter.digest)
        .target(format!("dead letter {}", letter.id))
        .detail(parts.join(", "))
}

/// The audit log of a state folder, whether or not a host runs on it.
pub fn audit_log(state: &Path, filter: &AuditFilter) -> Result<AuditPage, AppError> {
    Ok(audit::read(state, filter)?)
}

/// Puts every attempt without a grant into the audit log: for [`Runtime::tell_denials`](crate::plugin::Runtime).
pub(super) fn denials(audit: &Audit) -> Arc<dyn DenialWatcher> {
    Arc::new(Denials(audit.clone()))
}

struct Denials(Audit);

impl DenialWatcher for Denials {
    fn denied(&self, denial: &Denial) {
        self.0.record(entry(denial));
    }
}

/// A log that is opened when there is something to put into it: a flow that is only checked needs no state folder.
#[derive(Clone)]
pub(super) struct WhenNeeded(Arc<(PathBuf, OnceLock<Audit>)>);

impl WhenNeeded {
    /// That of a state folder.
    pub(super) fn of(state: &Path) -> Self {
        Self(Arc::new((state.to_owned(), OnceLock::new())))
    }

    /// For [`Runtime::tell_denials`](crate::plugin::Runtime).
    pub(super) fn watcher(&self) -> Arc<dyn DenialWatcher> {
        Arc::new(self.clone())
    }

    /// Waits until everything is on the disk. Blocks.
    pub(super) fn flush(&self) -> Result<(), AppError> {
        match self.0.1.get() {
            Some(audit) => Ok(audit.flush()?),
            None => Ok(()),
        }
    }
}

impl DenialWatcher for WhenNeeded {
    fn denied(&self, denial: &Denial) {
        let (state, log) = &*self.0;
        // Makes a folder, once; what is written waits for a thread of its own.
        let log = log.get_or_init(|| {
            Audit::open(state).unwrap_or_else(|error| {
                tracing::error!(%error, "denials are in no audit log");
                Audit::off()
            })
        });
        log.record(entry(denial));
    }
}

fn entry(denial: &Denial) -> AuditEntry {
    let Denial {
        flow,
        stage,
        plugin,
        version,
        digest,
        what,
        name,
        count,
    } = denial;
    let mut entry = AuditEntry::new(Action::Denied, PLUGIN)
        .flow(flow)
        .stage(stage)
        .plugin(plugin, version, digest)
        .target(format!("{what} {name}"));
    entry.count = *count;
    entry
}

/// Notes what the flow's stages are granted now and were not in its last run, or were and are not, and remembers it:
/// one entry for each grant, so that none is cut off, with the plugin that has it now.
///
/// # Errors
/// When the store fails: a run must not begin with grants that nobody can look up.
pub(super) async fn grants_changed(
    plan: &Plan,
    resolved: &[Resolved<'_>],
    store: &Store,
    audit: &Audit,
    actor: &str,
) -> Result<(), AppError> {
    let granted = granted(plan);
    let before = store.granted(&plan.name)?;
    if granted == before {
        return Ok(());
    }
    for Change { stage, line, given } in difference(&before, &granted) {
        let mut entry = AuditEntry::new(Action::GrantChanged, actor)
            .flow(&plan.name)
            .stage(stage)
            .target(line)
            .detail(if given { "granted" } else { "taken away" });
        if let Some(holder) = resolved.iter().find(|one| one.stage.name == *stage) {
            let [plugin, version, digest] = holder.plugin();
            entry = entry.plugin(plugin, version, digest);
        }
        audit.record(entry);
    }
    store.set_granted(&plan.name, &granted).await?;
    Ok(())
}

/// What every stage is granted, as lines that can be compared.
fn granted(plan: &Plan) -> Granted {
    let of = |stage: &StagePlan| (stage.name.clone(), lines(&stage.grants));
    plan.stages()
        .map(of)
        .filter(|(_, lines)| !lines.is_empty())
        .collect()
}

fn lines(grants: &Grants) -> BTreeSet<String> {
    let lists = [
        ("files.read", &grants.files.read),
        ("files.write", &grants.files.write),
        ("connections", &grants.connections),
        ("tables", &grants.tables),
        ("http", &grants.http),
        ("tcp", &grants.tcp),
        ("allow-private", &grants.allow_private),
    ];
    let mut lines: BTreeSet<String> = lists
        .into_iter()
        .flat_map(|(name, items)| items.iter().map(move |item| format!("{name}: {item}")))
        .collect();
    lines.extend(
        grants
            .files
            .quota
            .map(|quota| format!("files.quota: {quota}")),
    );
    if grants.precise_clock {
        lines.insert("precise-clock: true".to_owned());
    }
    lines
}

/// One line of what a stage is granted is new, or gone.
#[derive(Debug, PartialEq, Eq)]
struct Change<'a> {
    stage: &'a str,
    line: &'a str,
    given: bool,
}

/// What was added and removed, by stage.
fn difference<'a>(before: &'a Granted, now: &'a Granted) -> Vec<Change<'a>> {
    static NOTHING: BTreeSet<String> = BTreeSet::new();
    let stages: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let changes = stages.into_iter().flat_map(|stage| {
        let [old, new] = [before, now].map(|all| all.get(stage).unwrap_or(&NOTHING));
        let change = move |given| move |line: &'a String| Change { stage, line, given };
        let added = new.difference(old).map(change(true));
        added.chain(old.difference(new).map(change(false)))
    });
    changes.collect()
}

impl Project {
    /// Notes that a run begins.
    pub(super) fn audit_start(&self, audit: &Audit, actor: &str, from_start: bool) {
        if from_start {
            let entry = AuditEntry::new(Action::CheckpointForgotten, actor).flow(&self.plan.name);
            audit.record(entry);
        }
        audit.record(AuditEntry::new(Action::FlowStarted, actor).flow(&self.plan.name));
    }

    /// Notes how a run ended.
    pub(super) fn audit_end(&self, audit: &Audit, ended: &Result<RunSummary, AppError>) {
        let (run, detail) = match ended {
            Ok(summary) => {
                let detail = match &summary.outcome {
                    Outcome::Finished => "finished".to_owned(),
                    Outcome::Stopped => "stopped".to_owned(),
                    Outcome::Failed(reason) => format!("failed: {reason}"),
                };
                (summary.run.as_str(), detail)
            }
            Err(error) => ("", format!("failed: {error}")),
        };
        let entry = AuditEntry::new(Action::FlowStopped, HOST)
            .flow(&self.plan.name)
            .target(run)
            .detail(detail);
        audit.record(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_of_grants_are_told_by_stage() {
        let of = |pairs: &[(&str, &[&str])]| -> Granted {
            let owned = |(stage, lines): &(&str, &[&str])| {
                let lines = lines.iter().map(|line| (*line).to_owned()).collect();
                ((*stage).to_owned(), lines)
            };
            pairs.iter().map(owned).collect()
        };
        let before = of(&[
            ("a", &["tables: *", "http: https://a/"]),
            ("c", &["tables: t"]),
        ]);
        let now = of(&[
            ("a", &["http: https://a/", "tables: x"]),
            ("b", &["tcp: d:1"]),
        ]);
        let told: Vec<_> = difference(&before, &now)
            .into_iter()
            .map(|Change { stage, line, given }| (stage, line, given))
            .collect();
        let expected = [
            ("a", "tables: x", true),
            ("a", "tables: *", false),
            ("b", "tcp: d:1", true),
            ("c", "tables: t", false),
        ];
        assert_eq!(told, expected);
        assert!(difference(&now, &now).is_empty());
    }

    #[test]
    fn every_grant_is_a_line() {
        let all = serde_json::json!({
            "files": { "read": ["in"], "write": ["out"], "quota": "1MiB" }, "connections": ["c"], "tables": ["*"],
            "http": ["https://a/"], "tcp": ["d:1"], "allow-private": true, "precise-clock": true,
        });
        let spec: crate::flow::spec::GrantsSpec = serde_json::from_value(all).unwrap();
        let grants = Grants::from(spec);
        // Of each URL and host it is told whether its name may lead inside.
        assert_eq!(lines(&grants).len(), 10);
        // A field that is added to the grants must become a line here.
        assert_eq!(
            serde_json::to_value(&grants)
                .unwrap()
                .as_object()
                .map(serde_json::Map::len),
            Some(7)
        );
        assert!(lines(&Grants::default()).is_empty());
    }
}
