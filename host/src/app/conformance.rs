//! `crossdock plugin test`, `record` and `bench`: the conformance kit on a built component.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{AppError, Project, http::StageHttp};
use crate::{
    catalogue::{Kind, conformance, manifest::Wish},
    conformance::{
        BenchOptions, Cassette, CassetteError, CheckReport, Measured, Played, Report, Settings,
        Shown, bench, examine, sample,
    },
    connection::{Connections, Direct, Secrets},
    flow::{Egress, Variables},
    plugin::{HttpSend, Limits},
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
    let (file, settings, network) = given(&component, options.settings)?;
    let plugin = Project::authors_runtime()?.load(&component).await?;
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

/// What a component is given: the file, its settings, and the real systems beside it.
type Given = (Option<PathBuf>, Settings, Option<Arc<dyn HttpSend>>);

fn given(component: &Path, settings: Option<PathBuf>) -> Result<Given, AppError> {
    let file = settings.or_else(|| Settings::find(component));
    let Some(file) = file else {
        return Ok((None, Settings::default(), None));
    };
    let settings = Settings::load(&file).map_err(AppError::Findings)?;
    let network = network(&file)?;
    Ok((Some(file), settings, network))
}

/// Lets a plugin work against the real systems that `connections` beside its settings names, and keeps what it asked, was
/// answered and gave.
///
/// # Errors
/// When the component, the settings or the connections cannot be used.
pub async fn record_plugin(options: TestOptions, records: usize) -> Result<Cassette, AppError> {
    let file = options
        .settings
        .or_else(|| Settings::find(&options.component));
    let settings = match &file {
        Some(file) => Settings::load(file).map_err(AppError::Findings)?,
        None => Settings::default(),
    };
    let plugin = Project::authors_runtime()?.load(&options.component).await?;
    let kinds = &plugin.inspection().kinds;
    let kind = match (options.kind, kinds.as_slice()) {
        (Some(kind), _) => kind,
        (None, [kind]) => *kind,
        (None, _) => {
            let several = "it is of several kinds: say with --kind which one is recorded";
            return Err(AppError::Cassette(CassetteError::Nothing(
                several.to_owned(),
            )));
        }
    };
    let wishes = plugin.manifest().map(|manifest| &manifest.permissions);
    let uses = |wishes: &[Wish]| {
        wishes
            .iter()
            .any(|wish| wish.is_for(kind) && !wish.optional)
    };
    let connections = match &file {
        Some(file) => connections(file)?,
        None => None,
    };
    if connections.is_none() && wishes.is_some_and(|wishes| uses(&wishes.connections)) {
        let beside = file.unwrap_or_else(|| Settings::FILE.into());
        return Err(AppError::Cassette(CassetteError::Nothing(format!(
            "nothing says where the real system is: put a folder `connections` beside {}, with a file per connection as in \
             a project of flows",
            beside.display()
        ))));
    }
    let urls: Vec<String> = wishes
        .iter()
        .flat_map(|wishes| &wishes.http)
        .filter(|http| http.wish.is_for(kind) && !http.url.is_empty())
        .map(|http| http.url.clone())
        .collect();
    let network = StageHttp {
        connections: Arc::new(connections.unwrap_or_default()),
        direct: match Egress::parse(&urls, &[], false) {
            Ok(egress) if !egress.is_empty() => {
                Some(Direct::new(egress, Limits::default().open_requests))
            }
            // What is no URL is told when the plugin asks for it: nothing is granted.
            _ => None,
        },
        recorder: Arc::default(),
    };
    Ok(Cassette::record(&plugin, kind, &settings, Arc::new(network), records).await?)
}

/// Plays a cassette back to a plugin, offline.
///
/// # Errors
/// When the component or the cassette cannot be used, or they are not of the same plugin. Differences are no error.
pub async fn play_cassette(component: &Path, cassette: &Path) -> Result<Played, AppError> {
    let plugin = Project::authors_runtime()?.load(component).await?;
    Ok(Cassette::load(cassette)?.play(&plugin).await?)
}

/// Measures a component.
///
/// # Errors
/// When it or its settings cannot be used, or it fails meanwhile.
pub async fn bench_plugin(
    options: TestOptions,
    bench_options: BenchOptions,
) -> Result<Vec<Measured>, AppError> {
    let (_, settings, network) = given(&options.component, options.settings)?;
    let plugin = Project::authors_runtime()?.load(&options.component).await?;
    let measured = bench(&plugin, &settings, options.kind, network, bench_options).await;
    measured.map_err(AppError::Bench)
}

/// What a component, as each of its kinds, makes of the first sample records; or what it fails with.
///
/// # Errors
/// When it or its settings cannot be used.
pub async fn sample_plugin(
    options: TestOptions,
    most: usize,
) -> Result<Vec<(Kind, Result<Vec<Shown>, String>)>, AppError> {
    let (_, settings, network) = given(&options.component, options.settings)?;
    let plugin = Project::authors_runtime()?.load(&options.component).await?;
    let mut samples = Vec::new();
    for &kind in &plugin.inspection().kinds {
        let shown = sample(&plugin, kind, &settings, network.clone(), most).await;
        samples.push((kind, shown));
    }
    Ok(samples)
}

/// The real systems that plugins are tested against: `connections` beside the settings, if there are any.
fn network(settings: &Path) -> Result<Option<Arc<dyn HttpSend>>, AppError> {
    let connections = connections(settings)?;
    Ok(connections.map(|connections| {
        Arc::new(StageHttp {
            connections: Arc::new(connections),
            direct: None,
            recorder: Arc::default(),
        }) as _
    }))
}

fn connections(settings: &Path) -> Result<Option<Connections>, AppError> {
    let folder = settings.parent().unwrap_or(Path::new(""));
    let connections = folder.join("connections");
    let is_file = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.map(|entry| entry.path()).unwrap_or_default();
        path.extension()
            .is_some_and(|end| end == "yaml" || end == "yml")
    };
    // A folder that is not there has none, as an empty one.
    if !std::fs::read_dir(&connections).is_ok_and(|mut entries| entries.any(is_file)) {
        return Ok(None);
    }
    let secrets = Secrets::of_project(folder);
    let loaded = Connections::load(&connections, &Variables::new(BTreeMap::new()), &secrets)
        .map_err(|error| AppError::Findings(error.findings))?;
    Ok(Some(loaded))
}
