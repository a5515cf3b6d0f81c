//! Everything that can be found out about a flow without running it.

use std::sync::Arc;

use super::{AppError, Project, Resolved, http::ConnectionHttp, run::grants};
use crate::{
    catalogue::{self, Kind},
    engine::{fault::FaultKind, run::RunError},
    flow::{Finding, PluginRef, StageKind, StagePlan, finding},
    plugin::{Limits, NoTables, StageContext},
};

impl Project {
    /// All findings. With `connect` the plugins may ask the remote systems whether they can be reached.
    pub async fn check(&self, connect: bool) -> Vec<Finding> {
        let mut findings = self.warnings.clone();
        let resolved = self.resolve(&mut findings);
        let connections = match self.connections() {
            Ok(connections) => Some(connections),
            Err(error) => {
                findings.extend(error.findings);
                None
            }
        };
        let runtime = match Self::runtime() {
            Ok(runtime) => runtime,
            Err(error) => {
                findings.push(Finding::error("plugin.engine", error.to_string()));
                return findings;
            }
        };
        let sound = !finding::has_errors(&findings);
        for resolved in &resolved {
            let stage = resolved.stage;
            let plugin = match runtime.load(&resolved.path).await {
                Ok(plugin) => plugin,
                Err(error) => {
                    let found = Finding::error("plugin.load", error.to_string());
                    findings.push(found.at(stage.locate_field("plugin")));
                    continue;
                }
            };
            // A source or sink is only asked when it may reach out; a transformer's check is about its config.
            let offline =
                stage.kind == StageKind::Transformer && stage.grants.connections.is_empty();
            let (true, Some(connections)) = (sound && (connect || offline), &connections) else {
                continue;
            };
            let context = StageContext {
                flow: self.plan.name.as_str().into(),
                stage: stage.name.as_str().into(),
                config: stage.config.clone(),
                grants: grants(stage),
                limits: Limits {
                    memory: stage.limits.memory,
                    ..Limits::default()
                },
                tables: Arc::new(NoTables),
                http: Arc::new(ConnectionHttp(Arc::clone(connections))),
                project_dir: self.folder.clone(),
            };
            if let Err(fault) = plugin.check(kind(stage.kind), &context).await {
                findings.push(if fault.kind == FaultKind::Config {
                    stage.config_finding(&fault.message, &fault.field, &fault.advice)
                } else {
                    Finding::error("plugin.check", format!("stage `{}`: {fault}", stage.name))
                        .at(stage.locate_field("plugin"))
                });
            }
        }
        finding::sort(&mut findings);
        findings
    }

    /// Finds the plugin of every stage and holds the stage against what it says of itself.
    pub(super) fn resolve(&self, findings: &mut Vec<Finding>) -> Vec<Resolved<'_>> {
        let mut resolved = Vec::new();
        for stage in self.plan.stages() {
            let reference = match &stage.plugin {
                PluginRef::Name(name) => name.clone(),
                // Joined with the flow's folder already.
                PluginRef::Path(path) => std::path::absolute(path)
                    .unwrap_or_else(|_| path.clone())
                    .display()
                    .to_string(),
            };
            match self.locator.open(&reference) {
                Ok((located, inspection)) => {
                    let found = Resolved {
                        stage,
                        path: located.path,
                        inspection,
                    };
                    judge(&found, findings);
                    resolved.push(found);
                }
                Err(error) => {
                    let code = match error {
                        catalogue::LocateError::Inspect { .. } => "plugin.not-a-plugin",
                        _ => "plugin.not-found",
                    };
                    findings.push(
                        Finding::error(code, error.to_string()).at(stage.locate_field("plugin")),
                    );
                }
            }
        }
        resolved
    }

    /// Shows a config fault of a stage at its line of the flow file.
    pub(super) fn locate(&self, error: RunError) -> AppError {
        if let RunError::Stage(failure) = &error
            && failure.fault.kind == FaultKind::Config
            && let Some(stage) = self.plan.stages().find(|stage| stage.name == failure.stage)
        {
            let fault = &failure.fault;
            let message = if fault.location.is_empty() {
                fault.message.clone()
            } else {
                format!("{}: {}", fault.location, fault.message)
            };
            return AppError::Findings(vec![stage.config_finding(
                &message,
                &fault.field,
                &fault.advice,
            )]);
        }
        AppError::Run(error)
    }
}

/// The catalogue's word for a stage's kind.
pub(super) fn kind(kind: StageKind) -> Kind {
    match kind {
        StageKind::Source => Kind::Source,
        StageKind::Transformer => Kind::Transformer,
        StageKind::Sink => Kind::Sink,
    }
}

fn judge(resolved: &Resolved<'_>, findings: &mut Vec<Finding>) {
    let Resolved {
        stage, inspection, ..
    } = resolved;
    let kind = kind(stage.kind);
    let here = || stage.locate_field("plugin");
    if !inspection.is(kind) {
        let kinds: Vec<&str> = inspection.kinds.iter().map(|kind| kind.as_str()).collect();
        let message = if kinds.is_empty() {
            format!(
                "`{}` is a component, but exports nothing that crossdock knows",
                stage.plugin
            )
        } else {
            format!(
                "`{}` is no {kind}: it is a {}",
                stage.plugin,
                kinds.join(" and a ")
            )
        };
        let advice = "`crossdock plugin inspect` shows what a component is";
        findings.push(
            Finding::error("plugin.kind", message)
                .at(here())
                .advice(advice),
        );
        return;
    }
    if let Some(error) = &inspection.manifest_error {
        let message = format!("the manifest of `{}` cannot be read: {error}", stage.plugin);
        findings.push(Finding::error("plugin.manifest", message).at(here()));
        return;
    }
    let Some(manifest) = &inspection.manifest else {
        let message = format!(
            "`{}` has no manifest: its config and permissions cannot be checked",
            stage.plugin
        );
        findings.push(Finding::warning("plugin.manifest", message).at(here()));
        return;
    };
    if let Some(spec) = manifest.kind(kind) {
        findings.extend(stage.config_findings(&spec.config));
    }
    permissions(stage, &manifest.permissions, findings);
}

/// What a plugin asks for against what the stage is granted.
fn permissions(
    stage: &StagePlan,
    asked: &catalogue::manifest::Permissions,
    findings: &mut Vec<Finding>,
) {
    let granted = &stage.grants;
    let files = !granted.files.read.is_empty() || !granted.files.write.is_empty();
    let lines = [
        (
            "files",
            !asked.files.is_empty(),
            files,
            "files: { read: [FOLDER] }",
        ),
        (
            "connections",
            !asked.connections.is_empty(),
            !granted.connections.is_empty(),
            "connections: [NAME]",
        ),
        (
            "tables",
            !asked.tables.is_empty(),
            !granted.tables.is_empty(),
            "tables: [NAME]",
        ),
    ];
    for (what, asks, has, line) in lines {
        // A table is only needed by some configs, so its absence shows when the plugin asks for it.
        if asks && !has && what != "tables" {
            let message = format!(
                "plugin `{}` asks for {what}, and stage `{}` grants none",
                stage.plugin, stage.name
            );
            let found = Finding::warning("grant.missing", message).at(stage.locate_field("plugin"));
            findings.push(found.advice(format!(
                "add `grants: {{ {line} }}` to the stage if it needs them"
            )));
        }
        if has && !asks {
            let message = format!(
                "stage `{}` grants {what}, and plugin `{}` asks for none",
                stage.name, stage.plugin
            );
            let place = stage.locate_field(&format!("grants/{what}"));
            findings.push(
                Finding::warning("grant.unused", message)
                    .at(place)
                    .advice("grant only what is needed"),
            );
        }
    }
}
