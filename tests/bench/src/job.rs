//! The main job, with its sandboxes and without them: a catalogue flows from Akeneo to Spryker, so there are requests
//! through a connection, transformers with tables, and files.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use crossdock::{
    app::{Options, Outcome, Project, RunOptions},
    engine::{
        chain::TransformerStage,
        intake::SourceStage,
        keeper::Recycle,
        overlay::Overlay,
        run::{Control, End, Pipeline, Progress, run},
        sink_lane::SinkStage,
    },
    flow::{PluginRef, StagePlan},
    storage::{Journal, Store},
};
use reqwest::Url;
use rustix::time::ClockId;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    Failure, Places, spent,
    unguarded::{Http, Plugin, Unguarded, World},
};

/// The stand-in of Akeneo, as it tells of itself.
#[derive(Deserialize)]
pub(crate) struct Akeneo {
    url: String,
    channel: String,
    client_id: String,
    secret: String,
    username: String,
    password: String,
}

/// What the bench keeps from one run to the next: compiling is not measured.
#[derive(Default)]
pub(crate) struct Kept {
    compiled: BTreeMap<(bool, String), Plugin>,
}

/// What of the sandbox there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sandbox {
    /// All of it: as the program runs.
    Whole,
    /// Only that code can be interrupted.
    Interruption,
    /// Nothing.
    None,
}

impl Kept {
    /// Runs the job once.
    pub(crate) async fn run(
        &mut self,
        places: &Places,
        flow: PathBuf,
        akeneo: &Akeneo,
        sandbox: Sandbox,
    ) -> Result<Value, Failure> {
        let folder = tempfile::tempdir_in(&places.folder)?;
        let out = folder.path().join("out");
        fs::create_dir(&out)?;
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let project = Project::open(&Options {
            flow_file: flow,
            state: Some(folder.path().join("state")),
            plugin_dirs: vec![places.plugins.clone()],
            variables: BTreeMap::from([
                variable("OUT", &out.display().to_string()),
                variable("AKENEO_CHANNEL", &akeneo.channel),
                variable("AKENEO_URL", &akeneo.url),
                variable("AKENEO_CLIENT_ID", &akeneo.client_id),
                variable("AKENEO_CLIENT_SECRET", &akeneo.secret),
                variable("AKENEO_USERNAME", &akeneo.username),
                variable("AKENEO_PASSWORD", &akeneo.password),
            ]),
        })?;
        let (records, nanos) = match sandbox {
            Sandbox::Whole => as_the_program(&project).await?,
            Sandbox::Interruption | Sandbox::None => {
                let epochs = sandbox == Sandbox::Interruption;
                self.compile(places, &project, epochs)?;
                self.unguarded(&project, akeneo, epochs).await?
            }
        };
        Ok(json!({ "records": records, "nanos": nanos, "written": digest(&out)?.to_string() }))
    }

    fn compile(&mut self, places: &Places, project: &Project, epochs: bool) -> Result<(), Failure> {
        if self.compiled.keys().all(|(other, _)| *other != epochs) {
            let unguarded = Unguarded::new(epochs)?;
            for stage in project.plan().stages() {
                let name = plugin_of(stage)?;
                if let Entry::Vacant(place) = self.compiled.entry((epochs, name.to_owned())) {
                    place.insert(unguarded.load(&fs::read(places.plugin(name))?)?);
                }
            }
        }
        Ok(())
    }

    async fn unguarded(
        &self,
        project: &Project,
        akeneo: &Akeneo,
        epochs: bool,
    ) -> Result<(u64, u64), Failure> {
        let http = Arc::new(akeneo.login().await?);
        let started = spent(ClockId::ProcessCPUTime);
        let journal: Arc<dyn Journal> = Arc::new(Store::open(project.state_dir())?);
        let overlay = Arc::new(Overlay::new(Arc::clone(&journal)));
        let pipeline = self.pipeline(project, &overlay, &http, epochs)?;
        let progress = watch::Sender::new(Progress::default());
        let control = Control::new(CancellationToken::new(), progress);
        let running = run(
            pipeline,
            project.settings(),
            journal,
            overlay,
            None,
            control,
        );
        let summary = Box::pin(running).await?;
        let nanos = spent(ClockId::ProcessCPUTime) - started;
        match summary.end {
            End::Finished if summary.dead_letters == 0 => Ok((summary.records, nanos)),
            end => Err(format!("{end:?} with {} dead letters", summary.dead_letters).into()),
        }
    }

    fn pipeline(
        &self,
        project: &Project,
        overlay: &Arc<Overlay>,
        http: &Arc<Http>,
        epochs: bool,
    ) -> Result<Pipeline, Failure> {
        let plan = project.plan();
        let world = |stage: &StagePlan| World {
            tables: Arc::clone(overlay) as _,
            http: Some(Arc::clone(http)),
            folders: stage
                .grants
                .files
                .write
                .iter()
                .map(|folder| (folder.into(), folder.clone()))
                .collect(),
        };
        let plugin = |stage: &StagePlan| {
            let plugin = self.compiled.get(&(epochs, plugin_of(stage)?.to_owned()));
            plugin.ok_or_else(|| Failure::from("it was not compiled"))
        };
        let recycle = |stage: &StagePlan| Recycle {
            records: stage.limits.recycle_after_records,
            memory: stage.limits.recycle_after_memory,
        };
        let transformer = |stage: &StagePlan| {
            Ok(TransformerStage {
                name: stage.name.as_str().into(),
                opener: plugin(stage)?.transformer(&stage.config, world(stage)),
                workers: stage.workers,
                recycle: recycle(stage),
            })
        };
        let sink = |stage: &StagePlan| {
            Ok(SinkStage {
                name: stage.name.as_str().into(),
                opener: plugin(stage)?.sink(&stage.config, world(stage)),
                streams: stage.streams.clone(),
                receipts: stage.receipts.as_deref().map(Into::into),
                recycle: recycle(stage),
            })
        };
        let transformers: Result<_, Failure> = plan.transformers.iter().map(transformer).collect();
        let sinks: Result<_, Failure> = plan.sinks.iter().map(sink).collect();
        Ok(Pipeline {
            flow: plan.name.as_str().into(),
            source: SourceStage {
                name: plan.source.name.as_str().into(),
                opener: plugin(&plan.source)?.source(&plan.source.config, world(&plan.source)),
                recycle: recycle(&plan.source),
            },
            transformers: transformers?,
            sinks: sinks?,
        })
    }
}

/// From the moment at which the flow file is read.
async fn as_the_program(project: &Project) -> Result<(u64, u64), Failure> {
    let started = spent(ClockId::ProcessCPUTime);
    let running = project.run(RunOptions {
        from_start: false,
        actor: "bench".to_owned(),
        stop: CancellationToken::new(),
        progress: watch::Sender::new(Progress::default()),
    });
    let summary = Box::pin(running).await?;
    let nanos = spent(ClockId::ProcessCPUTime) - started;
    match summary.outcome {
        Outcome::Finished if summary.dead_letters == 0 => Ok((summary.records, nanos)),
        outcome => Err(format!("{outcome:?} with {} dead letters", summary.dead_letters).into()),
    }
}

fn plugin_of(stage: &StagePlan) -> Result<&str, Failure> {
    match &stage.plugin {
        PluginRef::Name(name) => Ok(name),
        PluginRef::Path(path) => Err(format!("{} is no name", path.display()).into()),
    }
}

impl Akeneo {
    /// Asks for a token, which is as long as a run.
    async fn login(&self) -> Result<Http, Failure> {
        let client = Http::client()?;
        let base = Url::parse(&self.url)?;
        let login = json!({
            "grant_type": "password", "username": self.username, "password": self.password,
        });
        let answer = client
            .post(base.join("/api/oauth/v1/token")?)
            .basic_auth(&self.client_id, Some(&self.secret))
            .header("content-type", "application/json")
            .body(login.to_string())
            .send()
            .await?
            .error_for_status()?;
        let answer: Value = serde_json::from_slice(&answer.bytes().await?)?;
        let token = answer["access_token"].as_str().ok_or("there is no token")?;
        Ok(Http {
            client,
            base,
            token: token.to_owned(),
        })
    }
}

/// Of names and contents of all files: both ways have to write the same.
fn digest(folder: &Path) -> Result<u64, Failure> {
    let entries: Result<Vec<_>, _> = fs::read_dir(folder)?.collect();
    let mut files: Vec<PathBuf> = entries?.iter().map(fs::DirEntry::path).collect();
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files.iter().filter(|file| file.is_file()) {
        file.file_name().hash(&mut hasher);
        fs::read(file)?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}
