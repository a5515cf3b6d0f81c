//! What goes into the audit log, and how it is read.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use super::{AppError, Project, RunSummary, run::Outcome};
use crate::{
    flow::{Grants, Plan, StagePlan},
    plugin::{Denial, DenialWatcher},
    storage::{Action, Audit, AuditEntry, AuditFilter, AuditPage, Granted, Store, audit},
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
        self.0.record(entry);
    }
}

/// Notes what the flow's stages are granted now and were not in its last run, or were and are not, and remembers it.
///
/// # Errors
/// When the store fails: a run must not begin with grants that nobody can look up.
pub(super) async fn grants_changed(
    plan: &Plan,
    store: &Store,
    audit: &Audit,
    actor: &str,
) -> Result<(), AppError> {
    let granted = granted(plan);
    let before = store.granted(&plan.name)?;
    if granted == before {
        return Ok(());
    }
    for (stage, detail) in difference(&before, &granted) {
        let entry = AuditEntry::new(Action::GrantChanged, actor)
            .flow(&plan.name)
            .stage(stage)
            .detail(detail);
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

/// By stage, what was added and removed: `+ http: https://a/, - tables: *`.
fn difference(before: &Granted, now: &Granted) -> Vec<(String, String)> {
    let nothing = BTreeSet::new();
    let stages: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let changed = stages.into_iter().filter_map(|stage| {
        let [old, new] = [before, now].map(|all| all.get(stage).unwrap_or(&nothing));
        let added = new.difference(old).map(|line| format!("+ {line}"));
        let removed = old.difference(new).map(|line| format!("- {line}"));
        let all: Vec<String> = added.chain(removed).collect();
        (!all.is_empty()).then(|| (stage.clone(), all.join(", ")))
    });
    changed.collect()
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
        let told: Vec<_> = difference(&before, &now);
        let expected = [
            ("a", "+ tables: x, - tables: *"),
            ("b", "+ tcp: d:1"),
            ("c", "- tables: t"),
        ];
        assert_eq!(
            told,
            expected.map(|(stage, text)| (stage.to_owned(), text.to_owned()))
        );
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
