//! A swap as an operator asks for it: found, judged, compiled off the data path, handed to the run, and remembered.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::{Shared, live::Live, memory::Version};
use crate::{
    app::{
        Label, Project, Resolved,
        check::{judge, kind},
        run::{grants, limits},
        shadow::ShadowHttp,
    },
    catalogue::Wanted,
    engine::swap::{Candidate, Probation, ShadowPlan, SwapRequest, SwapState, SwapStatus},
    flow::{Finding, PluginRef, Severity, StageKind, StagePlan},
    plugin::{Grants, Plugin, StageContext, growth},
};

/// Swaps that are remembered for `swaps`; the audit log has all of them.
const REMEMBERED: usize = 1000;
/// The longest that opening a candidate may take, when its limits allow more.
const OPEN_TIME: Duration = Duration::from_secs(30);
/// A shadow that sees too few records ends after this long.
const SHADOW_TIME: Duration = Duration::from_mins(10);

/// What a swap is asked with.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SwapOptions {
    /// The stage.
    pub stage: String,
    /// The new version: a path of a `.wasm` on the daemon's machine, a name, or `name@version`. Without it the plugin
    /// stays, and only its config changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// The new config. Without it, the one that is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
    /// Compare the outputs of this many records before the switch. Transformers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<u64>,
    /// With a shadow: the share of records, 0 to 1, that may come out otherwise. Without it every difference is only
    /// shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_difference: Option<f64>,
    /// How long the new version proves itself before anything of it is committed, in milliseconds.
    #[serde(default = "probation_ms")]
    pub probation_ms: u64,
    /// The share of records, 0 to 1, that it may reject beyond what the old version rejected.
    #[serde(default = "max_fault_share")]
    pub max_fault_share: f64,
}

fn probation_ms() -> u64 {
    u64::try_from(Probation::default().time.as_millis()).unwrap_or(u64::MAX)
}

fn max_fault_share() -> f64 {
    Probation::default().max_fault_share
}

impl SwapOptions {
    /// A swap of a stage with the usual probation.
    pub fn new(stage: impl Into<String>) -> Self {
        Self {
            stage: stage.into(),
            plugin: None,
            config: None,
            shadow: None,
            max_difference: None,
            probation_ms: probation_ms(),
            max_fault_share: max_fault_share(),
        }
    }
}

/// A version of a plugin, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct VersionView {
    /// The plugin's name.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// `sha256:…` of the component.
    pub digest: String,
    /// `sha256:…` of its config.
    pub config_digest: String,
}

impl From<&Version> for VersionView {
    fn from(version: &Version) -> Self {
        Self {
            plugin: version.plugin.clone(),
            version: version.version.clone(),
            digest: version.digest.clone(),
            config_digest: version.config_digest.clone(),
        }
    }
}

/// A swap, for people and programs.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SwapView {
    /// Its number.
    pub id: u64,
    /// The flow.
    pub flow: String,
    /// The stage.
    pub stage: String,
    /// Who asked for it.
    pub actor: String,
    /// What was in the stage's place when it began.
    pub from: VersionView,
    /// What is to take over, as soon as it was found.
    pub to: Option<VersionView>,
    /// What the new version asks for beyond the old one, in words.
    pub permissions: Option<String>,
    /// How it goes.
    #[serde(flatten)]
    pub status: SwapStatus,
}

/// A swap that is under way or over.
pub(super) struct Record {
    view: watch::Sender<SwapView>,
    /// Cancelled: it is called off.
    pub(super) cancel: CancellationToken,
}

impl Record {
    pub(super) fn view(&self) -> SwapView {
        self.view.borrow().clone()
    }

    pub(super) fn watch(&self) -> watch::Receiver<SwapView> {
        self.view.subscribe()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut SwapView)) {
        self.view.send_modify(change);
    }

    /// It ends here.
    pub(super) fn end(&self, state: SwapState, records: u64, reason: Option<String>) {
        self.change(|view| view.status.enter(state, records, reason));
    }
}

/// All swaps since the daemon started, the last ones of them.
#[derive(Default)]
pub(super) struct Swaps {
    last: AtomicU64,
    records: Mutex<VecDeque<Arc<Record>>>,
}

impl Swaps {
    pub(super) fn begin(
        &self,
        flow: &str,
        stage: &str,
        actor: &str,
        from: &Version,
    ) -> Arc<Record> {
        let mut status = SwapStatus::default();
        status.enter(SwapState::Prepare, 0, None);
        let view = SwapView {
            id: self.last.fetch_add(1, Ordering::Relaxed) + 1,
            flow: flow.to_owned(),
            stage: stage.to_owned(),
            actor: actor.to_owned(),
            from: from.into(),
            to: None,
            permissions: None,
            status,
        };
        let record = Arc::new(Record {
            view: watch::channel(view).0,
            cancel: CancellationToken::new(),
        });
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.push_back(Arc::clone(&record));
        if records.len() > REMEMBERED {
            records.pop_front();
        }
        record
    }

    /// All of them, oldest first.
    pub(super) fn all(&self) -> Vec<Arc<Record>> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().cloned().collect()
    }

    pub(super) fn get(&self, id: u64) -> Option<Arc<Record>> {
        self.all().into_iter().find(|record| record.view().id == id)
    }
}

/// A version that was found, judged and compiled.
pub(super) struct Prepared {
    pub(super) version: Version,
    pub(super) stage: StagePlan,
    candidate: Candidate,
    shadow: Option<ShadowPlan>,
    probation: Probation,
    rewindable: bool,
    open_time: Duration,
}

impl Prepared {
    /// What the run is asked.
    pub(super) fn request(
        self,
        cancel: CancellationToken,
        status: watch::Sender<SwapStatus>,
    ) -> SwapRequest {
        SwapRequest {
            stage: self.stage.name.as_str().into(),
            candidate: self.candidate,
            shadow: self.shadow,
            probation: self.probation,
            open_time: self.open_time,
            rewindable: self.rewindable,
            cancel,
            status,
        }
    }
}

/// What a swap is prepared against: the run, or what would run.
pub(super) struct Place {
    pub(super) project: Arc<Project>,
    pub(super) wiring: Arc<crate::app::run::Wiring>,
    pub(super) label: Label,
    pub(super) from: Version,
}

impl Place {
    pub(super) fn of(live: &Live, from: Version) -> Self {
        Self {
            project: Arc::clone(&live.project),
            wiring: Arc::clone(&live.wiring),
            label: live.delivery.label,
            from,
        }
    }
}

/// Finds the new version, holds it against the stage and compiles it. The reason when it is refused.
pub(super) async fn prepare(
    shared: &Shared,
    place: &Place,
    options: &SwapOptions,
    record: &Record,
) -> Result<Prepared, String> {
    let project = &place.project;
    let Some(current) = project.plan.stages().find(|s| s.name == options.stage) else {
        let names: Vec<&str> = project.plan.stages().map(|s| s.name.as_str()).collect();
        return Err(format!(
            "the flow has no stage `{}`; it has `{}`",
            options.stage,
            names.join("`, `")
        ));
    };
    let admitted = tokio::task::block_in_place(|| admit(shared, place, current, options, record));
    let (stage, path) = admitted?;
    let plugin = shared
        .runtime
        .load_aside(&path)
        .await
        .map_err(|error| error.to_string())?;
    if plugin.name() != place.from.plugin {
        return Err(format!(
            "stage `{}` is plugin `{}`, and this is `{}`: a swap changes the version or the config; to put another \
             plugin there, stop the flow and edit its file",
            stage.name,
            place.from.plugin,
            plugin.name()
        ));
    }
    let version = Version {
        plugin: plugin.name().to_owned(),
        version: plugin.version().to_owned(),
        digest: plugin.digest().to_owned(),
        config: stage.config.clone(),
        config_digest: crate::plugin::config_digest(&stage.config),
        plan_digest: stage.config_digest().to_owned(),
    };
    record.change(|view| view.to = Some((&version).into()));
    let context = project.context(&stage, &place.wiring);
    let candidate = candidate(&plugin, stage.kind, context.clone()).map_err(|e| e.to_string())?;
    let shadow = shadow(&plugin, context, place, &stage, options)?;
    Ok(Prepared {
        version,
        open_time: stage.limits.open_time.min(OPEN_TIME),
        stage,
        candidate,
        shadow,
        probation: Probation {
            time: Duration::from_millis(options.probation_ms),
            max_fault_share: options.max_fault_share,
        },
        // A flow that may lose records in a failure has a source that cannot give them again.
        rewindable: place.label != Label::AtMostOnce,
    })
}

/// The comparison that was asked for, if one was; the reason when the stage cannot be compared.
fn shadow(
    plugin: &Arc<Plugin>,
    context: StageContext,
    place: &Place,
    stage: &StagePlan,
    options: &SwapOptions,
) -> Result<Option<ShadowPlan>, String> {
    let Some(records) = options.shadow else {
        return Ok(None);
    };
    if stage.kind != StageKind::Transformer {
        return Err(format!(
            "stage `{}` is a {}, and only a transformer can be compared in the shadow: a source would read twice, and \
             a sink would write twice",
            stage.name, stage.kind
        ));
    }
    let opener = plugin
        .transformer(cut_off(context, place, stage))
        .map_err(|error| error.to_string())?;
    Ok(Some(ShadowPlan {
        opener,
        records,
        time: SHADOW_TIME,
        max_difference: options.max_difference,
    }))
}

fn candidate(
    plugin: &Arc<Plugin>,
    kind: StageKind,
    context: StageContext,
) -> Result<Candidate, crate::plugin::PluginError> {
    Ok(match kind {
        StageKind::Source => Candidate::Source(plugin.source(context)?),
        StageKind::Transformer => Candidate::Transformer(plugin.transformer(context)?),
        StageKind::Sink => Candidate::Sink(plugin.sink(context)?),
    })
}

/// The candidate's stage in the shadow: it reads what it may read, and nothing that it does is seen outside.
fn cut_off(context: StageContext, place: &Place, stage: &StagePlan) -> StageContext {
    let Grants {
        read,
        connections,
        tables,
        precise_clock,
        ..
    } = context.grants;
    // URLs stay granted, so that a candidate is answered what the running version was; nothing is sent.
    let mut egress = context.grants.egress;
    egress.tcp.clear();
    StageContext {
        grants: Grants {
            read,
            connections,
            tables,
            egress,
            precise_clock,
            ..Grants::default()
        },
        http: Arc::new(ShadowHttp::new(place.wiring.recorder(&stage.name))),
        ..context
    }
}

/// The stage with the candidate in its place, kept, and its file; the reason when it may not be there.
fn admit(
    shared: &Shared,
    place: &Place,
    current: &StagePlan,
    options: &SwapOptions,
    record: &Record,
) -> Result<(StagePlan, PathBuf), String> {
    let config = options.config.as_ref().unwrap_or(&current.config);
    if !config.is_object() {
        return Err("the config must be an object: names with values".to_owned());
    }
    let reference = match (&options.plugin, &current.plugin) {
        (Some(asked), _) => asked.clone(),
        (None, PluginRef::Path(path)) => path.display().to_string(),
        (None, PluginRef::Name(name)) => name.clone(),
    };
    let (path, inspection) = find(shared, &place.project, &reference)?;
    let path = shared
        .kept
        .keep(&path, &inspection.digest)
        .map_err(|error| error.to_string())?;
    // People are told of it by the name under which it was asked for.
    let asked = current.replaced(PluginRef::Name(reference), config.clone());
    let resolved = Resolved {
        stage: &asked,
        path,
        inspection,
    };
    permissions(shared, &resolved, place, record)?;
    let mut findings = Vec::new();
    judge(&resolved, &mut findings);
    let outputs = place.project.outputs(std::slice::from_ref(&resolved));
    let flow = &place.project.plan.name;
    if let Err(taken) = shared.writers.claim_more(flow, outputs) {
        findings.extend(taken);
    }
    refused(&findings)?;
    let stage = current.replaced(PluginRef::Path(resolved.path.clone()), config.clone());
    Ok((stage, resolved.path))
}

/// The component that is meant: beside the flow, in the plugin folders, or among those that ran before.
fn find(
    shared: &Shared,
    project: &Project,
    reference: &str,
) -> Result<(PathBuf, crate::catalogue::Inspection), String> {
    let (name, version) = match reference.split_once('@') {
        Some((name, version)) if !name.contains('/') => (name, Some(version)),
        _ => (reference, None),
    };
    let located = project
        .locator
        .open(name)
        .map_err(|error| error.to_string());
    let Some(wanted) = version else {
        return located.map(|(located, inspection)| (located.path, inspection));
    };
    let found = match located {
        Err(error) => error,
        Ok((located, inspection)) => {
            let manifest = inspection.manifest.as_ref();
            let version = manifest.map_or("0.0.0", |manifest| &manifest.version);
            let asked: Wanted = wanted.parse().map_err(|error| format!("{error}"))?;
            if semver::Version::parse(version).is_ok_and(|version| asked.takes(&version)) {
                return Ok((located.path, inspection));
            }
            let place = located.path.display();
            format!("there is no version {wanted} of `{name}`: {place} is {version}")
        }
    };
    let path = shared.kept.find(name, wanted).ok_or(found)?;
    let inspection = inspect(&path)?;
    Ok((path, inspection))
}

fn inspect(path: &Path) -> Result<crate::catalogue::Inspection, String> {
    crate::app::inspect(path).map_err(|error| error.to_string())
}

/// A version that asks for more waits until it is granted.
fn permissions(
    shared: &Shared,
    resolved: &Resolved<'_>,
    place: &Place,
    record: &Record,
) -> Result<(), String> {
    let Some(manifest) = &resolved.inspection.manifest else {
        return Ok(());
    };
    let old = inspect(&shared.kept.path(&place.from.digest));
    let old = old.ok().and_then(|inspection| inspection.manifest);
    let stage = resolved.stage;
    let growth = growth(
        old.as_ref(),
        manifest,
        kind(stage.kind),
        &grants(stage),
        &limits(stage),
    );
    if growth.needs.is_empty() {
        return Ok(());
    }
    record.change(|view| view.permissions = Some(growth.to_string()));
    if growth.blocks() {
        return Err(format!(
            "it asks for more than the version that runs, and that is not granted: {growth}"
        ));
    }
    Ok(())
}

/// All errors on one line each.
fn refused(findings: &[Finding]) -> Result<(), String> {
    let errors: Vec<String> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| match &finding.advice {
            None => finding.message.clone(),
            Some(advice) => format!("{} ({advice})", finding.message),
        })
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors.join("; "))
    }
}
