//! Everything that can be found out about a flow without running it.

use std::sync::Arc;

use super::{
    AppError, Project, Resolved, audit,
    catalogues::Catalogues,
    run::{grants, limits, network},
    writers,
};
use crate::{
    catalogue::{self, Installed, Kind, Manifest, Settings, Trust},
    engine::{fault::FaultKind, run::RunError},
    flow::{Finding, PluginRef, StageKind, StagePlan, finding},
    plugin::{Hints, NoTables, StageContext, admit, missing},
};

impl Project {
    /// All findings. With `connect` the plugins may ask the remote systems whether they can be reached.
    pub async fn check(&self, connect: bool) -> Vec<Finding> {
        let mut findings = self.warnings.clone();
        let resolved = self.resolve(&mut findings);
        findings.extend(self.other_writers(&resolved));
        self.advised(&mut findings);
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
        // What is asked below runs the plugins' code.
        let log = audit::WhenNeeded::of(&self.state);
        runtime.tell_denials(log.watcher());
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
            let offline = stage.kind == StageKind::Transformer && reaches_nothing(stage);
            let (true, Some(connections)) = (sound && (connect || offline), &connections) else {
                continue;
            };
            let context = StageContext {
                flow: self.plan.name.as_str().into(),
                stage: stage.name.as_str().into(),
                config: stage.config.clone(),
                grants: grants(stage),
                limits: limits(stage),
                tables: Arc::new(NoTables),
                http: network(stage, connections, Arc::default()),
                project_dir: self.folder.clone(),
                recording: None,
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
        let written = tokio::task::spawn_blocking(move || log.flush()).await;
        if let Ok(Err(error)) = written {
            findings.push(Finding::error("audit.unwritten", error.to_string()));
        }
        finding::sort(&mut findings);
        findings
    }

    /// Finds the plugin of every stage and holds the stage against what it says of itself.
    pub(super) fn resolve(&self, findings: &mut Vec<Finding>) -> Vec<Resolved<'_>> {
        let mut resolved = Vec::new();
        let own = self.own_files();
        for stage in self.plan.stages() {
            self.keep_own(&own, stage, findings);
            match self.locator.open(&reference(stage)) {
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
        findings.extend(writers::among(&self.outputs(&resolved)));
        resolved
    }

    /// What catalogues say of the installed plugins that the flow uses. Nobody is asked, and a run goes by the lock file
    /// whatever it is.
    fn advised(&self, findings: &mut Vec<Finding>) {
        // What is wrong with these files is told by the commands that go by them.
        let Ok(settings) = Settings::of_project(&self.folder) else {
            return;
        };
        let catalogues = Catalogues::of(&self.state, &settings);
        let lock = Installed::of(&self.folder, &self.state).read();
        let trust = Trust::of_project(&self.folder, &self.variables);
        let (false, Ok(lock), Ok(trust)) = (catalogues.is_empty(), lock, trust) else {
            return;
        };
        let known = catalogues.known(&trust);
        for stage in self.plan.stages() {
            let name = match &stage.plugin {
                PluginRef::Name(_) => stage.plugin.name(),
                PluginRef::Path(_) => None,
            };
            let Some((name, locked)) = name.and_then(|name| Some((name, lock.plugins.get(name)?)))
            else {
                continue;
            };
            for line in known.advice(&locked.source, &locked.version).lines() {
                let message = format!("{name} {}: {line}", locked.version);
                let advice =
                    "`crossdock plugin upgrade --dry-run` shows what a newer version would change";
                findings.push(
                    Finding::warning("plugin.advised", message)
                        .at(stage.locate_field("plugin"))
                        .advice(advice),
                );
            }
        }
        for notice in known.notices {
            findings.push(Finding::warning("plugin.catalogue", notice));
        }
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

/// What the plugin of a stage is looked up by.
pub(super) fn reference(stage: &StagePlan) -> String {
    match &stage.plugin {
        PluginRef::Name(name) => name.clone(),
        // Joined with the flow's folder already.
        PluginRef::Path(path) => std::path::absolute(path)
            .unwrap_or_else(|_| path.clone())
            .display()
            .to_string(),
    }
}

/// Whether the stage has no way to ask anything outside of this machine.
fn reaches_nothing(stage: &StagePlan) -> bool {
    let granted = &stage.grants;
    granted.connections.is_empty() && granted.http.is_empty() && granted.tcp.is_empty()
}

pub(super) fn judge(resolved: &Resolved<'_>, findings: &mut Vec<Finding>) {
    let Resolved {
        stage, inspection, ..
    } = resolved;
    let kind = kind(stage.kind);
    let here = || stage.locate_field("plugin");
    if !inspection.is(kind) {
        let kinds: Vec<&str> = inspection.kinds.iter().map(|kind| kind.as_str()).collect();
        let message = match admit(inspection, &stage.plugin.to_string()) {
            Err(refused) if kinds.is_empty() => refused.to_string(),
            _ => format!(
                "`{}` is no {kind}: it is a {}",
                stage.plugin,
                kinds.join(" and a ")
            ),
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
    permissions(stage, manifest, findings);
}

/// What a plugin asks for against what the stage is granted.
fn permissions(stage: &StagePlan, manifest: &Manifest, findings: &mut Vec<Finding>) {
    let as_kind = kind(stage.kind);
    for need in missing(
        manifest,
        as_kind,
        &grants(stage),
        &limits(stage),
        &hints(stage),
    ) {
        // What some configs do without is asked for when it is used, by a denial that says what to add.
        if need.optional {
            continue;
        }
        let message = format!(
            "plugin `{}` asks to {need}; stage `{}` does not allow it",
            stage.plugin, stage.name
        );
        let advice = format!("add to the stage:\n{}:\n  {}", need.section, need.line);
        let place = stage.locate_field("plugin");
        let found = Finding::error("grant.missing", message);
        findings.push(found.at(place).advice(advice));
    }
    unused(stage, manifest, findings);
}

/// Grants that the plugin does not ask for.
fn unused(stage: &StagePlan, manifest: &Manifest, findings: &mut Vec<Finding>) {
    let (granted, asked) = (&stage.grants, &manifest.permissions);
    let files = !granted.files.read.is_empty() || !granted.files.write.is_empty();
    let lists = [
        ("files", files, asked.files.is_empty()),
        (
            "connections",
            !granted.connections.is_empty(),
            asked.connections.is_empty(),
        ),
        (
            "tables",
            !granted.tables.is_empty(),
            asked.tables.is_empty(),
        ),
        ("http", !granted.http.is_empty(), asked.http.is_empty()),
        ("tcp", !granted.tcp.is_empty(), asked.tcp.is_empty()),
        (
            "precise-clock",
            granted.precise_clock,
            asked.precise_clock.is_empty(),
        ),
    ];
    for (what, _, _) in lists
        .into_iter()
        .filter(|(_, has, unasked)| *has && *unasked)
    {
        let field = format!("grants/{what}");
        let finding = if stage.writes(&field) {
            let message = format!(
                "stage `{}` grants {what}, and plugin `{}` asks for none",
                stage.name, stage.plugin
            );
            Finding::warning("grant.unused", message)
                .at(stage.locate_field(&field))
                .advice("grant only what is needed")
        } else {
            let message = format!(
                "the project's grants/ folder grants {what} to plugin `{}` of stage `{}`, and it asks for none",
                stage.plugin, stage.name
            );
            let advice = "grant only what is needed: take it out of the file in grants/";
            Finding::warning("grant.unused", message)
                .at(stage.locate_field("plugin"))
                .advice(advice)
        };
        findings.push(finding);
    }
}

/// The names that the stage's config has for what it would be granted, so that the lines to add can be pasted: most
/// plugins call them like this.
fn hints(stage: &StagePlan) -> Hints {
    let text = |field: &str| {
        let value = stage.config.get(field)?;
        let first = value.as_array().map_or(Some(value), |list| list.first())?;
        first.as_str().filter(|text| !text.is_empty())
    };
    let folder_of = |path: &str| {
        let fixed: Vec<&str> = path
            .split('/')
            .take_while(|part| !part.contains(['*', '?', '[', '{']))
            .collect();
        let file_at_end = fixed.len() == path.split('/').count();
        let folder = if file_at_end {
            &fixed[..fixed.len() - 1]
        } else {
            &fixed[..]
        };
        match folder.join("/") {
            folder if folder.is_empty() && path.starts_with('/') => "/".to_owned(),
            folder if folder.is_empty() => ".".to_owned(),
            folder => folder,
        }
    };
    let default = Hints::default();
    let own = ["directory", "folder"]
        .into_iter()
        .find_map(text)
        .map(str::to_owned);
    Hints {
        read: own
            .clone()
            .or_else(|| text("files").map(folder_of))
            .unwrap_or(default.read),
        write: own
            .or_else(|| text("file").map(folder_of))
            .unwrap_or(default.write),
        connection: text("connection").map_or(default.connection, str::to_owned),
        table: text("table").map_or(default.table, str::to_owned),
    }
}
