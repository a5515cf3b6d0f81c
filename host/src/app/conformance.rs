//! `crossdock plugin test`: the conformance kit on a built component.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{AppError, Project, http::StageHttp};
use crate::{
    catalogue::{Kind, conformance},
    conformance::{CheckReport, Report, Settings, examine},
    connection::{Connections, Secrets},
    flow::Variables,
    plugin::HttpSend,
};

/// What is tested, and with what.
#[derive(Debug, Clone, Default)]
pub struct TestOptions {
    /// The component.
    pub component: PathBuf,
    /// The settings. `None`: `conformance.yaml` of the project, or what the config schema says.
    pub settings: Option<PathBuf>,
    /// Only as this kind.
    pub kind: Option<Kind>,
}

/// What was found, and where it is stored.
#[derive(Debug, Clone)]
pub struct Tested {
    /// What was found.
    pub report: Report,
    /// The settings that were used.
    pub settings: Option<PathBuf>,
    /// Where it is stored: beside the component.
    pub stored: PathBuf,
}

/// Runs every check and stores what was found beside the component. `told` hears of each check as it ends.
///
/// # Errors
/// When the component or the settings cannot be used, or the report cannot be stored. That checks fail is no error.
pub async fn test_plugin(
    options: TestOptions,
    told: impl Fn(Kind, &CheckReport) + Send + Sync,
) -> Result<Tested, AppError> {
    let component = options.component;
    let file = options.settings.or_else(|| Settings::find(&component));
    let settings = match &file {
        Some(file) => Settings::load(file).map_err(AppError::Findings)?,
        None => Settings::default(),
    };
    let network = match &file {
        Some(file) => network(file)?,
        None => None,
    };
    let plugin = Project::runtime()?.load(&component).await?;
    let report = examine(&plugin, &settings, options.kind, network, &told).await;
    let (written, path) = (report.clone(), component.clone());
    let storing = tokio::task::spawn_blocking(move || conformance::store(&path, &written));
    let stored = storing
        .await
        .map_err(std::io::Error::other)
        .and_then(|stored| stored)
        .map_err(|source| AppError::Report {
            path: conformance::beside(&component),
            source,
        })?;
    Ok(Tested {
        report,
        settings: file,
        stored,
    })
}

/// The real systems that plugins are tested against: `connections` beside the settings, if there are any.
fn network(settings: &Path) -> Result<Option<Arc<dyn HttpSend>>, AppError> {
    let folder = settings.parent().unwrap_or(Path::new(""));
    let connections = folder.join("connections");
    if !connections.is_dir() {
        return Ok(None);
    }
    let secrets = Secrets::of_project(folder);
    let loaded = Connections::load(&connections, &Variables::new(BTreeMap::new()), &secrets)
        .map_err(|error| AppError::Findings(error.findings))?;
    Ok(Some(Arc::new(StageHttp {
        connections: Arc::new(loaded),
        direct: None,
        recorder: Arc::default(),
    })))
}
