//! Gives dead letters again to a flow that does not run: its stages are opened from its last checkpoint, its source is
//! not, so that its position stays where it is.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{DeadLetters, Pages, ReplaySummary};
use crate::{
    app::{AppError, Project, Resolved, audit, check::judge, run::Wiring},
    engine::{
        dead_letter::{Keep, Threshold},
        fault::Fault,
        run::{Control, Progress, Settings, run},
        stage::{Budget, Identity, Instance, Opener, Read, Snapshot, Source},
    },
    flow::{Finding, StageKind},
    plugin::Runtime,
    storage::{Audit, Checkpoint, DeadLetterFilter, Journal},
};

/// How dead letters are given again. Dropping the future aborts it; what a checkpoint has settled stays settled.
pub struct ReplayOptions {
    /// Which ones. They are those of the project's flow, whatever it says about flows.
    pub filter: DeadLetterFilter,
    /// Another version of the plugin of their stage: a path (`new.wasm`, `mapper@new.wasm`) or what a flow file can say.
    pub with: Option<String>,
    /// Who gives them, for the audit log.
    pub actor: String,
    /// Cancelled: what was given is settled, and the rest stays.
    pub stop: CancellationToken,
    /// Told how it goes.
    pub progress: watch::Sender<Progress>,
}

/// Why dead letters cannot be given again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// There is nothing to go on from.
    #[error(
        "flow `{0}` has no checkpoint in this state folder, so nobody knows where its stages are: run it first, then \
         give its dead letters again"
    )]
    NoCheckpoint(String),
    /// The sinks have not finished.
    #[error(
        "the last run of flow `{0}` was cut off while it put its output in place: run it first, then give its dead \
         letters again"
    )]
    CutOff(String),
    /// The run said no.
    #[error("the dead letters cannot be given again: {0}")]
    Refused(String),
    /// Another version is for one stage.
    #[error(
        "another version of a plugin is for the dead letters of one stage, and these are of the stages {}: choose with \
         --stage", list(.0)
    )]
    ManyStages(BTreeSet<String>),
    /// Their stage is gone, or has never been there.
    #[error("flow `{flow}` has no stage `{stage}`, so nothing can process its dead letters")]
    NoStage {
        /// The stage.
        stage: String,
        /// The flow.
        flow: String,
    },
    /// The named version is of another plugin.
    #[error("{file} holds the plugin `{found}`, not `{asked}`")]
    OtherPlugin {
        /// The file.
        file: String,
        /// What is in it.
        found: String,
        /// What was asked for.
        asked: String,
    },
    /// The flow's own version does not take what the other one has left.
    #[error(
        "the dead letters are settled, but stage `{stage}` keeps a state, and {own} of the flow refuses the one that \
         {other} has left ({fault}): put {other} into the flow file"
    )]
    LeftBehind {
        /// The stage.
        stage: String,
        /// The version in the flow file.
        own: String,
        /// The version that was named.
        other: String,
        /// What the flow's version said.
        fault: Box<Fault>,
    },
}

fn list(names: &BTreeSet<String>) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

impl Project {
    /// Gives dead letters of the flow again, from the stage that could not process them, with the sinks as the last run
    /// left them. The source is not asked, and its position does not change.
    ///
    /// # Errors
    /// When the flow is not right, has never run, or a stage cannot go on: what a checkpoint has settled stays settled.
    pub async fn replay(
        &self,
        letters: &DeadLetters,
        options: ReplayOptions,
    ) -> Result<ReplaySummary, AppError> {
        let flow = &self.plan.name;
        let filter = DeadLetterFilter {
            flow: Some(flow.clone()),
            ..options.filter
        };
        self.has_stage(&filter)?;
        letters.are_there(&filter)?;
        let store = letters.store();
        let checkpoint = match store.checkpoint(flow)? {
            None => return Err(ReplayError::NoCheckpoint(flow.clone()).into()),
            Some(checkpoint) if checkpoint.finished && !checkpoint.settled => {
                return Err(ReplayError::CutOff(flow.clone()).into());
            }
            Some(checkpoint) => checkpoint,
        };
        let mut findings = Vec::new();
        let mut resolved = self.resolve(&mut findings);
        let own = match &options.with {
            Some(reference) => {
                let stage = self.stage_of(letters, &filter).await?;
                Some(self.put(reference, &stage, &mut resolved, &mut findings)?)
            }
            None => None,
        };
        let connections = self.sound(findings)?;
        let journal = Arc::clone(store) as Arc<dyn Journal>;
        let wiring = Wiring::new(Arc::clone(&journal), connections);
        let runtime = Self::runtime()?;
        let audit = Audit::open(&self.state)?;
        runtime.tell_denials(audit::denials(&audit));
        // The flow file may have changed since the last run.
        audit::grants_changed(&self.plan, &resolved, store, &audit, &options.actor).await?;
        let mut pipeline = self.pipeline(&runtime, &resolved, &wiring).await?;
        pipeline.source.opener = Arc::new(AtItsEnd(pipeline.source.opener.identity().clone()));
        let (commands, receiver) = mpsc::channel(1);
        let control = Control {
            commands: receiver,
            ..Control::new(options.stop.clone(), options.progress)
        };
        let settings = Settings {
            // Records that fail again are no flood, and those that wait for their turn must not go.
            threshold: Threshold::default(),
            keep: Keep::default(),
            ..self.settings()
        };
        let overlay = Arc::clone(&wiring.overlay);
        let running = run(
            pipeline,
            settings,
            journal,
            overlay,
            Some(checkpoint),
            control,
        );
        let giving = async {
            let given = letters.replay(flow, &filter, &commands).await;
            options.stop.cancel();
            given
        };
        let (ended, given) = tokio::join!(Box::pin(running), giving);
        ended.map_err(|error| self.locate(error))?;
        let summary = given?;
        let tried = match own {
            Some(own) => {
                let checkpoint = store.checkpoint(flow)?;
                self.try_own(&runtime, &own, checkpoint, &wiring).await
            }
            None => Ok(()),
        };
        // Writing what waits takes a moment of the disk.
        let _closed = tokio::task::spawn_blocking(move || drop(audit)).await;
        tried.map(|()| summary)
    }

    /// Makes sure that the stage that is asked for is one of the flow.
    pub(in crate::app) fn has_stage(&self, filter: &DeadLetterFilter) -> Result<(), ReplayError> {
        match &filter.stage {
            Some(stage) if self.plan.stages().all(|own| own.name != *stage) => {
                Err(ReplayError::NoStage {
                    stage: stage.clone(),
                    flow: self.plan.name.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    /// The one stage that the dead letters are of.
    async fn stage_of(
        &self,
        letters: &DeadLetters,
        filter: &DeadLetterFilter,
    ) -> Result<String, AppError> {
        if let Some(stage) = &filter.stage {
            return Ok(stage.clone());
        }
        let mut stages = BTreeSet::new();
        let mut pages = Pages::new(letters.store(), filter)?;
        while let Some(letters) = pages.next().await? {
            stages.extend(letters.into_iter().map(|letter| letter.stage));
        }
        match stages.pop_first() {
            Some(stage) if stages.is_empty() => Ok(stage),
            // None at all: any stage will do.
            None => Ok(self.plan.source.name.clone()),
            Some(stage) => {
                stages.insert(stage);
                Err(ReplayError::ManyStages(stages).into())
            }
        }
    }

    /// Puts another version in the place of a stage's plugin, and gives the one that was there.
    fn put<'a>(
        &self,
        reference: &str,
        stage: &str,
        resolved: &mut [Resolved<'a>],
        findings: &mut Vec<Finding>,
    ) -> Result<Replaced<'a>, AppError> {
        let (asked, reference) = match reference.split_once('@') {
            Some((name, file)) if is_path(file) => (Some(name), file),
            _ => (None, reference),
        };
        // Typed on a command line, so from the current folder, not from that of the flow.
        let reference = if is_path(reference) {
            let path = std::path::absolute(reference).unwrap_or_else(|_| reference.into());
            path.display().to_string()
        } else {
            reference.to_owned()
        };
        let (located, inspection) = self.locator.open(&reference)?;
        let found = inspection.manifest.as_ref().map(|m| m.name.clone());
        if let (Some(asked), Some(found)) = (asked, found)
            && asked != found
        {
            return Err(ReplayError::OtherPlugin {
                file: located.path.display().to_string(),
                found,
                asked: asked.to_owned(),
            }
            .into());
        }
        let Some(place) = resolved.iter_mut().find(|r| r.stage.name == stage) else {
            return Err(ReplayError::NoStage {
                stage: stage.to_owned(),
                flow: self.plan.name.clone(),
            }
            .into());
        };
        let other = Resolved {
            stage: place.stage,
            path: located.path,
            inspection,
        };
        judge(&other, findings);
        let own = std::mem::replace(place, other);
        Ok(Replaced {
            other: version(place),
            own,
        })
    }

    /// Opens the flow's own version of a stage from what the other one has left, while somebody is there to be told.
    async fn try_own(
        &self,
        runtime: &Runtime,
        replaced: &Replaced<'_>,
        checkpoint: Option<Checkpoint>,
        wiring: &Wiring,
    ) -> Result<(), AppError> {
        let stage = replaced.own.stage;
        let state = checkpoint.and_then(|mut c| c.stages.remove(&stage.name));
        let Some(state) = state.filter(|state| !state.snapshot.is_empty()) else {
            return Ok(());
        };
        let plugin = runtime.load(&replaced.own.path).await?;
        let context = self.context(stage, wiring);
        let snapshot = Some(&*state.snapshot);
        let opened = match stage.kind {
            StageKind::Source => return Ok(()),
            StageKind::Transformer => match plugin.transformer(context)?.open(snapshot).await {
                Ok(mut instance) => {
                    instance.close().await;
                    Ok(())
                }
                Err(fault) => Err(fault),
            },
            StageKind::Sink => match plugin.sink(context)?.open(snapshot).await {
                Ok(mut instance) => {
                    instance.close().await;
                    Ok(())
                }
                Err(fault) => Err(fault),
            },
        };
        opened.map_err(|fault| {
            ReplayError::LeftBehind {
                stage: stage.name.clone(),
                own: version(&replaced.own),
                other: replaced.other.clone(),
                fault: Box::new(fault),
            }
            .into()
        })
    }
}

/// A stage's plugin that another version has taken the place of.
struct Replaced<'a> {
    own: Resolved<'a>,
    /// The other version, for people.
    other: String,
}

fn version(resolved: &Resolved<'_>) -> String {
    match &resolved.inspection.manifest {
        Some(manifest) => format!("{} {}", manifest.name, manifest.version),
        None => resolved.path.display().to_string(),
    }
}

fn is_path(reference: &str) -> bool {
    reference.contains(['/', '\\'])
        || Path::new(reference)
            .extension()
            .is_some_and(|extension| extension == "wasm")
}

/// Stands in for a source that must not be read: it has nothing, and is always where it was.
struct AtItsEnd(Identity);

/// Its one instance.
struct Quiet(Snapshot);

/// Nothing asks it in vain: a replay ends when it has been answered.
const ASK_AGAIN: Duration = Duration::from_mins(1);

#[async_trait]
impl Opener<dyn Source> for AtItsEnd {
    async fn open(&self, snapshot: Option<&[u8]>) -> Result<Box<dyn Source>, Fault> {
        Ok(Box::new(Quiet(snapshot.unwrap_or_default().to_vec())))
    }

    fn identity(&self) -> &Identity {
        &self.0
    }
}

impl Instance for Quiet {}

#[async_trait]
impl Source for Quiet {
    async fn read(&mut self, _: Budget) -> Result<Read, Fault> {
        Ok(Read::Idle(ASK_AGAIN))
    }

    async fn snapshot(&mut self) -> Result<Snapshot, Fault> {
        Ok(self.0.clone())
    }

    async fn committed(&mut self, _: &[u8]) -> Result<(), Fault> {
        // The real source is told by the flow's next run.
        Ok(())
    }

    async fn close(&mut self) {}
}
