//! What one instance's store holds, and what all instances of a stage share.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use tempfile::TempDir;
use wasmtime::component::{Resource, ResourceTable, ResourceTableError};
use wasmtime_wasi::{
    FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView, filesystem::Descriptor,
};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView};

use super::{
    captured::Captured,
    host_api::{
        clock::Coarse,
        files::Quota,
        handles::{Budget, Full, Handles, Permits},
        http_client::HttpSend,
        log::{Level, Log},
        metrics::StageMetrics,
        outgoing::MAX_FIELDS,
        sockets::{self, Lookups},
        tables::Writes,
        wasi_http::Hooks,
    },
    limits::{Limiter, Limits},
    meter::Meter,
    open::{Open, Place},
    permission::{Denial, Denials, Grants, Watcher},
    senses::Senses,
    tape::{Given, Import, Recording},
};
use crate::{
    engine::{
        fault::{Fault, FaultKind},
        stage::Tables,
    },
    names::Asker,
};

/// Random bytes that a guest gets with one call.
const RANDOM_BYTES: u64 = 64 << 10;
/// Files, streams, sockets, requests and what belongs to them that an instance may hold at a time. How many of them may be
/// files of the host's process, of which there are few, is in `handles`.
pub(super) const HANDLES: usize = 512;

/// What the instances of one stage share.
pub(super) struct Scope {
    pub(super) quota: Quota,
    pub(super) open: Open,
    /// Who asks for the addresses of names, for raw connections.
    pub(super) asker: Asker,
    pub(super) files: Arc<Budget>,
    pub(super) process_files: Arc<Budget>,
    pub(super) digest: String,
    pub(super) watcher: Arc<Watcher>,
    pub(super) flow: Arc<str>,
    pub(super) stage: Arc<str>,
    pub(super) plugin: String,
    pub(super) version: String,
    pub(super) grants: Grants,
    pub(super) limits: Limits,
    pub(super) tables: Arc<dyn Tables>,
    pub(super) http: Arc<dyn HttpSend>,
    pub(super) project_dir: PathBuf,
    /// Whether folders that may be written are made where they are missing: a look at a config makes none.
    pub(super) makes_folders: bool,
    pub(super) recording: Option<Recording>,
    pub(super) metrics: Arc<StageMetrics>,
    pub(super) denials: Arc<Denials>,
    /// With its limits, which do not start anew with an instance.
    pub(super) log: Arc<Log>,
}

impl Scope {
    /// Counts and logs an attempt without a grant, and says what the operator would have to add.
    pub(super) fn deny(&self, what: &'static str, name: &str, add: &str) -> String {
        self.denied(what, name);
        let stage = &self.stage;
        format!("{what} `{name}` is not granted: add {add} to the grants of stage `{stage}`")
    }

    /// Counts and logs an attempt without a grant.
    pub(super) fn denied(&self, what: &'static str, name: &str) {
        let Self {
            flow,
            stage,
            plugin,
            ..
        } = self;
        let (name, is_first) = self.denials.note(what, name);
        if is_first {
            tracing::warn!(target: "plugin", %flow, %stage, %plugin, what, name, "denied: not granted");
        }
        if let Some(watcher) = self.watcher.get() {
            watcher.denied(&Denial {
                flow: flow.to_string(),
                stage: stage.to_string(),
                plugin: plugin.clone(),
                version: self.version.clone(),
                digest: self.digest.clone(),
                what,
                name,
                count: 1,
            });
        }
    }
}

/// Data of one store.
pub(super) struct State {
    wasi: WasiCtx,
    resources: ResourceTable,
    http: WasiHttpCtx,
    hooks: Hooks,
    pub(super) handles: Handles,
    pub(super) lookups: Lookups,
    /// The places of its raw connections, by their handles.
    pub(super) sockets_open: BTreeMap<u32, Place>,
    pub(super) limiter: Limiter,
    pub(super) meter: Meter,
    pub(super) scope: Arc<Scope>,
    pub(super) log: Arc<Log>,
    pub(super) stderr: Captured,
    /// The last error that it logged during the call under way: what a panic says before it becomes a trap.
    pub(super) last_error: Option<String>,
    pub(super) writes: Writes,
    /// `None`: those of the machine.
    pub(super) senses: Option<Senses>,
    /// Folders that stand for granted ones which are not there.
    _stand_ins: Vec<TempDir>,
}

impl State {
    /// A sandbox with nothing in it but the granted folders.
    ///
    /// # Errors
    /// When a granted folder cannot be opened, or no more may be open. It blocks for a moment when there are any.
    pub(super) fn new(scope: Arc<Scope>) -> Result<Self, Fault> {
        let log = Arc::clone(&scope.log);
        let stderr = Captured::new(Arc::clone(&log), Level::Warn);
        // Invariant 7: arguments, environment and standard input stay empty; the network is what was granted.
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(Captured::new(Arc::clone(&log), Level::Info));
        wasi.stderr(stderr.clone());
        let lookups = Lookups::default();
        sockets::allow(&mut wasi, &scope, &lookups);
        let recording = scope.recording.as_ref();
        let senses = recording.map(|recording| Senses::new(recording.senses));
        if let Some(senses) = &senses {
            wasi.wall_clock(senses.clone())
                .monotonic_clock(senses.clone())
                .secure_random(senses.stream())
                .insecure_random(senses.stream())
                .insecure_random_seed(u128::from(senses.random()));
        } else if !scope.grants.precise_clock {
            wasi.wall_clock(Coarse::new())
                .monotonic_clock(Coarse::new());
        }
        wasi.max_random_size(RANDOM_BYTES);
        let mut handles = Handles::new(&scope.files, &scope.process_files);
        let mut stand_ins = Vec::new();
        for folder in &scope.grants.write {
            let opened = preopen(&mut wasi, &mut handles, &scope, folder, FsPerms::ReadWrite)?;
            stand_ins.extend(opened);
        }
        for folder in scope
            .grants
            .read
            .iter()
            .filter(|folder| !scope.grants.write.contains(folder))
        {
            preopen(&mut wasi, &mut handles, &scope, folder, FsPerms::ReadOnly)?;
        }
        scope.quota.begin(&scope.project_dir, &scope.grants.write);
        let mut resources = ResourceTable::new();
        resources.set_max_capacity(HANDLES);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_FIELDS);
        Ok(Self {
            wasi: wasi.build(),
            resources,
            http,
            hooks: Hooks(Arc::clone(&scope)),
            handles,
            lookups,
            sockets_open: BTreeMap::new(),
            limiter: Limiter::new(&scope.limits),
            meter: Meter::new(scope.limits.host_wait),
            log,
            stderr,
            last_error: None,
            writes: Writes::default(),
            senses,
            scope,
            _stand_ins: stand_ins,
        })
    }
}

/// Whether a path has `..` behind something that is not there.
fn turns_back(path: &Path) -> bool {
    let mut above = PathBuf::new();
    path.components().any(|part| {
        let turns = part == Component::ParentDir && !above.exists();
        above.push(part);
        turns
    })
}

/// The guest sees the folder under the text of the grant, so paths in a config work as written. Where nothing may be made,
/// an empty folder stands for one that is not there.
fn preopen(
    wasi: &mut WasiCtxBuilder,
    handles: &mut Handles,
    scope: &Scope,
    folder: &str,
    perms: FsPerms,
) -> Result<Option<TempDir>, Fault> {
    let mut path = scope.project_dir.join(folder);
    let stage = &scope.stage;
    let verb = if perms == FsPerms::ReadWrite {
        "write to"
    } else {
        "read"
    };
    let place = path.display().to_string();
    let failed = |reason: &dyn std::fmt::Display| {
        Fault::new(
            FaultKind::Config,
            format!("stage `{stage}` may {verb} the folder `{folder}`, but it cannot be opened: {reason}"),
        )
        .at(place.clone())
        .advice("create the folder, or correct the grant")
    };
    let mut stand_in = None;
    if perms == FsPerms::ReadWrite && !path.exists() {
        // What the grant was held against is the folder that it names now, not one that `..` leads to once its parts are
        // made.
        if turns_back(&path) {
            return Err(failed(
                &"its path has `..` behind a folder that is not there",
            ));
        }
        if scope.makes_folders {
            std::fs::create_dir_all(&path).map_err(|error| failed(&error))?;
        } else {
            let above = path.ancestors().find(|above| above.exists());
            if above.is_some_and(|above| !above.is_dir()) {
                return Err(failed(&"what is above it is no folder"));
            }
            let made = tempfile::tempdir().map_err(|error| failed(&error))?;
            made.path().clone_into(&mut path);
            stand_in = Some(made);
        }
    }
    if std::fs::metadata(&path)
        .map_err(|error| failed(&error))?
        .is_file()
    {
        return Err(failed(&"it is a file; grant the folder that holds it"));
    }
    let permits = handles
        .folder()
        .map_err(|full| crowded(scope, folder, full))?;
    wasi.preopened_dir(&path, folder, perms)
        .map_err(|error| failed(&error.root_cause()))?;
    handles.keeps(permits);
    Ok(stand_in)
}

/// No more files may be open.
fn crowded(scope: &Scope, folder: &str, full: Full) -> Fault {
    let (stage, grants) = (&scope.stage, &scope.grants);
    let folders = grants.read.len() + grants.write.len();
    let (kind, why) = match full {
        // Not even the first instance can be made.
        Full::Stage(most) if folders > most => (
            FaultKind::Config,
            format!(
                "the stage is granted {folders} folders and may have {most} files and folders open"
            ),
        ),
        Full::Stage(most) => (
            FaultKind::Transient,
            format!("all instances of the stage may have {most} files and folders open, and have"),
        ),
        Full::Process(most) => (
            FaultKind::Transient,
            format!("all plugins together may have {most} files and folders open, and have"),
        ),
    };
    Fault::new(
        kind,
        format!("the folder `{folder}` of stage `{stage}` cannot be opened: {why}"),
    )
    .advice("grant a folder that holds the others instead of each of them, or let the host have more open files (`ulimit -n`)")
}

impl State {
    /// Calls an import that nobody outside answers. With a recording it is written down, or compared with what was.
    pub(super) fn told<T>(
        &mut self,
        call: impl FnOnce() -> Import,
        real: impl FnOnce(&mut Self) -> T,
        given: impl FnOnce(T) -> Given,
        seen: impl FnOnce(Given) -> T,
    ) -> T {
        let outcome = real(self);
        match &self.scope.recording {
            None => outcome,
            Some(recording) => seen(recording.tape.note(call(), given(outcome))),
        }
    }

    /// Calls an import that a tape can answer.
    pub(super) fn asked<T>(
        &mut self,
        call: impl FnOnce() -> Import,
        real: impl FnOnce(&mut Self) -> T,
        given: impl FnOnce(T) -> Given,
        seen: impl FnOnce(Given) -> T,
    ) -> T {
        let Some(recording) = &self.scope.recording else {
            return real(self);
        };
        let tape = Arc::clone(&recording.tape);
        let call = call();
        if let Some(known) = tape.answer(&call) {
            return seen(known);
        }
        let outcome = given(real(self));
        seen(tape.note(call, outcome))
    }

    /// Room for one more open file or socket.
    pub(super) fn room(&mut self) -> Result<Permits, Full> {
        self.handles.room(&self.resources)
    }

    /// A file or folder was opened.
    pub(super) fn opened(
        &mut self,
        file: &Resource<Descriptor>,
        permits: Permits,
    ) -> Result<(), ResourceTableError> {
        let file = self.resources.get(file)?;
        self.handles.opened(file, permits);
        Ok(())
    }

    /// A call ended: what it closed may be opened by others.
    pub(super) fn sweep(&mut self) {
        self.handles.sweep(&self.resources);
    }

    /// What `wasi:http` works on.
    pub(super) fn http_view(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.resources,
            hooks: &mut self.hooks,
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.resources,
        }
    }
}
