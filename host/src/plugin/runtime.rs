//! The front door: load a plugin, make openers of its kinds, check a config.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use sha2::{Digest, Sha256};
use wasmtime::{
    Engine,
    component::{Component, Instance, InstancePre, Linker},
};

use super::{
    cache::{Cache, Origin},
    compiler::{Compiler, Pace},
    engine::{self, Ticker},
    error::{PluginError, one_line},
    exports::{Kinds, whole},
    host_api::{
        files::{self, Quota},
        handles::Budget,
        http_client::HttpSend,
        log::Log,
        metrics::{Book, Metric},
        sockets, wasi_http,
    },
    instance::Sandbox,
    limits::Limits,
    open::Open,
    permission::{Denial, DenialWatcher, Grants, Watcher},
    sink::{self, SinkOpener},
    source::{self, SourceOpener},
    state::{Scope, State},
    tape::Recording,
    transformer::{self, TransformerOpener},
    wit,
};
use crate::{
    catalogue::{Inspection, Kind, Manifest, inspect, read_component},
    engine::{
        fault::{Fault, FaultKind},
        stage::{Identity, Opener, Sink, Source, Tables, Transformer},
    },
    names::Asker,
};

/// How a runtime is set up.
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// Where compiled plugins are kept; private to this user. `None`: every load compiles.
    pub cache_dir: Option<PathBuf>,
    /// Live instances at the same time, over all flows. Address space is reserved for each, memory is not.
    pub max_instances: u32,
    /// Whether backtraces of traps name files and lines where a component has debug information. Reading it takes time at
    /// every trap, as much as the component likes: not for hosts that run what strangers have built.
    pub lines: bool,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self {
            cache_dir: None,
            max_instances: 256,
            lines: false,
        }
    }
}

/// Loads plugins and runs them. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    engine: Engine,
    ticker: Ticker,
    linker: Linker<State>,
    cache: Cache,
    compiler: Arc<Compiler>,
    book: Arc<Book>,
    watcher: Arc<Watcher>,
    /// Files that plugins may have open.
    files: Arc<Budget>,
    /// Plugins in use, by digest.
    loaded: Mutex<HashMap<String, Weak<Plugin>>>,
}

/// A component that is not in use.
struct Unused {
    inspection: Inspection,
    /// `None`: it is to be compiled.
    code: Option<Component>,
}

/// Everything about a stage that its plugin does not bring along.
#[derive(Clone)]
pub struct StageContext {
    /// Name of the flow.
    pub flow: Arc<str>,
    /// Name of the stage.
    pub stage: Arc<str>,
    /// The plugin's config: one JSON object.
    pub config: serde_json::Value,
    /// What it may reach.
    pub grants: Grants,
    /// What it may use.
    pub limits: Limits,
    /// Where reads of granted tables go.
    pub tables: Arc<dyn Tables>,
    /// Where requests to granted connections go.
    pub http: Arc<dyn HttpSend>,
    /// Granted folders are relative to it.
    pub project_dir: PathBuf,
    /// What it imports is recorded or played back. `None`: it works for real, as in every flow.
    pub recording: Option<Recording>,
}

/// What a source can read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StreamInfo {
    /// The stream's name.
    pub name: String,
    /// JSON Schema of the payload, when it is known.
    pub schema: Option<serde_json::Value>,
    /// Fields that identify a record, in order.
    pub key: Vec<String>,
    /// Whether a later run reads only what has changed since.
    pub incremental: bool,
}

impl Runtime {
    /// Starts the engine.
    ///
    /// # Errors
    /// When this machine cannot run it (address space, unsupported processor).
    pub fn new(options: &RuntimeOptions) -> Result<Self, PluginError> {
        let (engine, ticker) = engine::start(options.max_instances, options.lines)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)
            .and_then(|()| files::link(&mut linker))
            .and_then(|()| sockets::link(&mut linker))
            .and_then(|()| wasi_http::link(&mut linker))
            .and_then(|()| wit::link(&mut linker))
            .map_err(|error| PluginError::Engine(one_line(&error)))?;
        Ok(Self(Arc::new(Inner {
            engine,
            ticker,
            linker,
            cache: Cache::open(options.cache_dir.as_deref()),
            compiler: Arc::new(Compiler::new(options.lines)),
            book: Arc::default(),
            watcher: Arc::default(),
            files: Budget::of_process(),
            loaded: Mutex::default(),
        })))
    }

    /// Loads a plugin from a file. The same bytes give the same plugin as long as it is in use.
    ///
    /// # Errors
    /// See [`PluginError`]; each names the file and what to do.
    pub async fn load(&self, path: &Path) -> Result<Arc<Plugin>, PluginError> {
        self.load_file(path, Pace::Full).await
    }

    /// The same while flows run: when it has to be compiled, that takes longer and little from them.
    ///
    /// # Errors
    /// As [`Runtime::load`].
    pub async fn load_aside(&self, path: &Path) -> Result<Arc<Plugin>, PluginError> {
        self.load_file(path, Pace::Aside).await
    }

    async fn load_file(&self, path: &Path, pace: Pace) -> Result<Arc<Plugin>, PluginError> {
        let file = path.to_owned();
        let reading = tokio::task::spawn_blocking(move || read_component(&file));
        let bytes = reading
            .await
            .map_err(std::io::Error::other)
            .and_then(|bytes| bytes)
            .map_err(|source| PluginError::Read {
                path: path.to_owned(),
                source,
            })?;
        self.load_at(bytes, path.display().to_string(), pace).await
    }

    /// Loads a plugin from its bytes. `origin` names them in errors.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn load_bytes(
        &self,
        bytes: Vec<u8>,
        origin: &str,
    ) -> Result<Arc<Plugin>, PluginError> {
        self.load_at(bytes, origin.to_owned(), Pace::Full).await
    }

    async fn load_at(
        &self,
        bytes: Vec<u8>,
        origin: String,
        pace: Pace,
    ) -> Result<Arc<Plugin>, PluginError> {
        let bytes = Arc::new(bytes);
        let (runtime, given, name) = (self.clone(), Arc::clone(&bytes), origin.clone());
        let unused = match blocking(move || runtime.find(&given, &name)).await? {
            Ok(plugin) => return Ok(plugin),
            Err(unused) => unused,
        };
        let Unused { inspection, code } = unused;
        let (component, code) = if let Some(component) = code {
            (component, Origin::Cached)
        } else {
            let inner = &self.0;
            tracing::info!(target: "plugin", plugin = %origin, "compiling it: the next time it is there at once");
            let failed = |message: String| PluginError::Compile {
                origin: origin.clone(),
                message,
            };
            let code = inner.compiler.compile(&inner.engine, bytes, pace).await;
            let code = code.map_err(|error| failed(error.to_string()))?;
            let (runtime, digest) = (self.clone(), inspection.digest.clone());
            let kept = move || Ok(runtime.0.cache.keep(&runtime.0.engine, &digest, &code));
            let component = blocking(kept).await?;
            (
                component.map_err(|error| failed(one_line(&error)))?,
                Origin::Compiled,
            )
        };
        let runtime = self.clone();
        blocking(move || runtime.link(inspection, &component, code, &origin)).await
    }

    /// Numbers that plugins reported through `metrics`.
    pub fn metrics(&self) -> Vec<Metric> {
        self.0.book.metrics()
    }

    /// Tells somebody of every attempt without a grant. The first to ask is told.
    pub fn tell_denials(&self, watcher: Arc<dyn DenialWatcher>) {
        drop(self.0.watcher.set(watcher));
    }

    /// What plugins tried to reach without a grant.
    pub fn denials(&self) -> Vec<Denial> {
        self.0.book.denials()
    }

    /// A plugin that is in use, or what is to be made one.
    fn find(&self, bytes: &[u8], origin: &str) -> Result<Result<Arc<Plugin>, Unused>, PluginError> {
        let inspection = inspect(bytes).map_err(|source| PluginError::Inspect {
            origin: origin.to_owned(),
            source,
        })?;
        if let Some(plugin) = self.in_use(&inspection.digest) {
            return Ok(Ok(plugin));
        }
        admit(&inspection, origin)?;
        let code = self.0.cache.find(&self.0.engine, &inspection.digest);
        Ok(Err(Unused { inspection, code }))
    }

    fn link(
        &self,
        inspection: Inspection,
        component: &Component,
        code: Origin,
        origin: &str,
    ) -> Result<Arc<Plugin>, PluginError> {
        let inner = &self.0;
        let compile = |error: wasmtime::Error| PluginError::Compile {
            origin: origin.to_owned(),
            message: one_line(&error),
        };
        let pre = inner.linker.instantiate_pre(component).map_err(compile)?;
        whole(component, &inspection.kinds, origin)?;
        let kinds = Kinds::find(&pre, component, &inspection.kinds).map_err(compile)?;
        let name = match &inspection.manifest {
            Some(manifest) => manifest.name.clone(),
            None => stem(origin),
        };
        let plugin = Arc::new(Plugin {
            runtime: self.clone(),
            name,
            inspection,
            pre,
            kinds,
            code,
        });
        let mut loaded = inner.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|_, plugin| plugin.strong_count() > 0);
        // Two loads of the same bytes may race: the first one in is the one that is used.
        if let Some(first) = loaded.get(plugin.digest()).and_then(Weak::upgrade) {
            return Ok(first);
        }
        loaded.insert(plugin.digest().to_owned(), Arc::downgrade(&plugin));
        Ok(plugin)
    }

    fn in_use(&self, digest: &str) -> Option<Arc<Plugin>> {
        self.0
            .loaded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(digest)
            .and_then(Weak::upgrade)
    }
}

/// Does on a thread for it what takes a moment of the disk or the processor.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PluginError> + Send + 'static,
) -> Result<T, PluginError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| PluginError::Engine(format!("loading was cut off: {error}")))?
}

/// `sha256:…` of a config as checkpoints and dead letters have it.
pub fn config_digest(config: &serde_json::Value) -> String {
    let text = config.to_string();
    format!("sha256:{}", hex::encode(Sha256::digest(text)))
}

/// The file's name without folder and extension, for a plugin without a manifest.
fn stem(origin: &str) -> String {
    Path::new(origin).file_stem().map_or_else(
        || origin.to_owned(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}

/// Whether this host can run it at all, said before the compiler would say it less clearly. `origin` names it in errors.
///
/// # Errors
/// When it is no plugin, is built for another contract, or imports what no host has.
pub fn admit(inspection: &Inspection, origin: &str) -> Result<(), PluginError> {
    let origin = origin.to_owned();
    if inspection.kinds.is_empty() {
        let exports = match inspection.exports.as_slice() {
            [] => "nothing".to_owned(),
            exports => exports.join(", "),
        };
        return Err(PluginError::NoPlugin { origin, exports });
    }
    let unknown = inspection
        .contracts
        .iter()
        .find(|version| !wit::OFFERED.contains(version));
    if let Some(wanted) = unknown {
        let advice = if wit::OFFERED.iter().all(|offered| wanted > offered) {
            "use a newer crossdock, or build the plugin with an older SDK"
        } else {
            "build the plugin with a current SDK"
        };
        let wanted = wanted.to_string();
        return Err(PluginError::Contract {
            origin,
            wanted,
            offered: wit::offered(),
            advice,
        });
    }
    if let Some(import) = inspection.unknown_imports().next() {
        return Err(PluginError::Import {
            origin,
            import: import.to_owned(),
            advice: "it can import the crossdock contract and WASI 0.2",
        });
    }
    Ok(())
}

/// A loaded plugin: compiled, linked, ready to be instantiated.
pub struct Plugin {
    runtime: Runtime,
    name: String,
    inspection: Inspection,
    pre: InstancePre<State>,
    pub(super) kinds: Kinds,
    code: Origin,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.name)
            .field("digest", &self.digest())
            .finish_non_exhaustive()
    }
}

impl Plugin {
    /// The manifest's name, or the file's when there is none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The manifest's version, or `0.0.0`.
    pub fn version(&self) -> &str {
        self.manifest()
            .map_or("0.0.0", |manifest| &manifest.version)
    }

    /// Name, version and digest.
    fn place(&self) -> [&str; 3] {
        [&self.name, self.version(), self.digest()]
    }

    /// What it says of itself.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.inspection.manifest.as_ref()
    }

    /// What it shows from the outside.
    pub fn inspection(&self) -> &Inspection {
        &self.inspection
    }

    /// `sha256:…` of the component.
    pub fn digest(&self) -> &str {
        &self.inspection.digest
    }

    /// Whether its machine code came from the cache.
    pub fn from_cache(&self) -> bool {
        self.code == Origin::Cached
    }

    /// Makes sources.
    ///
    /// # Errors
    /// When it is none.
    pub fn source(
        self: &Arc<Self>,
        context: StageContext,
    ) -> Result<Arc<dyn Opener<dyn Source>>, PluginError> {
        Ok(source::opener(self.stage(Kind::Source, context, true)?))
    }

    /// Makes transformers.
    ///
    /// # Errors
    /// When it is none.
    pub fn transformer(
        self: &Arc<Self>,
        context: StageContext,
    ) -> Result<Arc<dyn Opener<dyn Transformer>>, PluginError> {
        Ok(transformer::opener(self.stage(
            Kind::Transformer,
            context,
            true,
        )?))
    }

    /// Makes sinks.
    ///
    /// # Errors
    /// When it is none.
    pub fn sink(
        self: &Arc<Self>,
        context: StageContext,
    ) -> Result<Arc<dyn Opener<dyn Sink>>, PluginError> {
        Ok(sink::opener(self.stage(Kind::Sink, context, true)?))
    }

    /// Asks the plugin whether its config is usable and what it names reachable. It may use its grants for that.
    ///
    /// # Errors
    /// What the plugin found, or a fault of the call.
    pub async fn check(self: &Arc<Self>, kind: Kind, context: &StageContext) -> Result<(), Fault> {
        let stage = self
            .stage(kind, context.clone(), false)
            .map_err(|error| config_fault(&error))?;
        match kind {
            Kind::Source => SourceOpener(stage).check().await,
            Kind::Transformer => TransformerOpener(stage).check().await,
            Kind::Sink => SinkOpener(stage).check().await,
        }
    }

    /// Asks a source what it can read.
    ///
    /// # Errors
    /// What the plugin found, or a fault of the call.
    pub async fn streams(
        self: &Arc<Self>,
        context: &StageContext,
    ) -> Result<Vec<StreamInfo>, Fault> {
        let stage = self
            .stage(Kind::Source, context.clone(), false)
            .map_err(|error| config_fault(&error))?;
        SourceOpener(stage).streams().await
    }

    fn stage(
        self: &Arc<Self>,
        kind: Kind,
        context: StageContext,
        makes_folders: bool,
    ) -> Result<Stage, PluginError> {
        if !self.inspection.is(kind) {
            let kinds: Vec<_> = self
                .inspection
                .kinds
                .iter()
                .map(|kind| kind.as_str())
                .collect();
            let kinds = format!("a {}", kinds.join(" and a "));
            return Err(PluginError::NotA {
                plugin: self.name.clone(),
                kind,
                kinds,
            });
        }
        let page = self
            .runtime
            .0
            .book
            .page(&context.flow, &context.stage, self.place());
        let config = context.config.to_string();
        let identity = Identity {
            plugin: self.name.clone(),
            version: self.version().to_owned(),
            digest: self.digest().to_owned(),
            config_digest: config_digest(&context.config),
        };
        let limits = context.limits;
        let log = Log::new(
            &context.flow,
            &context.stage,
            &self.name,
            limits.log_lines,
            limits.log_bytes,
        );
        let scope = Arc::new(Scope {
            log: Arc::new(log),
            quota: Quota::new(context.grants.quota),
            open: Open::new(limits.open_requests),
            asker: Asker::new(),
            files: Budget::of_stage(&self.runtime.0.files),
            process_files: Arc::clone(&self.runtime.0.files),
            digest: self.digest().to_owned(),
            watcher: Arc::clone(&self.runtime.0.watcher),
            flow: context.flow,
            stage: context.stage,
            plugin: self.name.clone(),
            version: self.version().to_owned(),
            grants: context.grants,
            limits,
            tables: context.tables,
            http: context.http,
            project_dir: context.project_dir,
            makes_folders,
            recording: context.recording,
            metrics: page.metrics,
            denials: page.denials,
        });
        Ok(Stage {
            plugin: Arc::clone(self),
            scope,
            config,
            identity,
        })
    }
}

fn config_fault(error: &PluginError) -> Fault {
    Fault::new(FaultKind::Config, error.to_string())
}

/// A plugin in its place in a flow: what the three openers share.
pub(super) struct Stage {
    pub(super) plugin: Arc<Plugin>,
    scope: Arc<Scope>,
    pub(super) config: String,
    pub(super) identity: Identity,
}

impl Stage {
    pub(super) fn limits(&self) -> Limits {
        self.scope.limits
    }

    /// A new sandbox with the component in it.
    pub(super) async fn sandbox(&self) -> Result<(Sandbox, Instance), Fault> {
        let ticker = self.plugin.runtime.0.ticker.clone();
        Sandbox::make(&self.plugin.pre, Arc::clone(&self.scope), ticker).await
    }
}
