//! Instances as the engine's stages. What they give is believed.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use crossdock::engine::{
    batch::{Batch, Form},
    fault::{Fault, FaultKind},
    stage::{
        Applied, Budget, Identity, Instance, Mode, Opener, Output, Read, Sink, Snapshot, Source,
        TableWrite, Tally, Transformer, Written,
    },
};
use serde_json::Value;
use wasmtime::{
    Store,
    component::{ComponentType, Func, Lower},
};

use super::{
    Plugin, World,
    contract::{
        host::crossdock::plugin::plugin_types as wire,
        sink::{self, SinkPlugin},
        source::{self, SourcePlugin},
        transformer::{self, TransformerPlugin},
    },
    imports::State,
};

/// Makes instances.
pub(super) struct Stage {
    plugin: Plugin,
    config: String,
    world: Arc<World>,
    identity: Identity,
}

/// A batch on its way in, borrowed as the program does it.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
struct BatchRef<'a> {
    #[component(name = "stream")]
    stream: &'a str,
    #[component(name = "form")]
    form: wire::Form,
    #[component(name = "index")]
    index: &'a [u32],
    #[component(name = "data")]
    data: &'a [u8],
}

impl Stage {
    pub(super) fn new(plugin: &Plugin, config: &Value, world: World) -> Self {
        Self {
            plugin: plugin.clone(),
            config: config.to_string(),
            world: Arc::new(world),
            identity: Identity {
                plugin: String::new(),
                version: String::new(),
                digest: String::new(),
                config_digest: String::new(),
            },
        }
    }
}

/// A failure of the sandbox, as the engine knows them.
fn trap(error: impl std::fmt::Debug) -> Fault {
    Fault::new(FaultKind::Trap, format!("{error:?}"))
}

/// A failure that the plugin tells.
fn fault(wire: wire::Fault) -> Fault {
    match wire {
        wire::Fault::Transient(detail) => {
            let mut fault = Fault::new(FaultKind::Transient, detail.message);
            fault.retry_after = detail.retry_after_ms.map(Duration::from_millis);
            fault
        }
        wire::Fault::Permanent(detail) => Fault::new(FaultKind::Permanent, detail.message),
        wire::Fault::Config(detail) => Fault::new(FaultKind::Config, detail.message),
    }
}

impl<'a> From<&'a Batch> for BatchRef<'a> {
    fn from(batch: &'a Batch) -> Self {
        Self {
            stream: batch.stream(),
            form: match batch.form() {
                Form::Json => wire::Form::Json,
                Form::Bytes => wire::Form::Bytes,
            },
            index: batch.index(),
            data: batch.data(),
        }
    }
}

/// A batch on its way out, checked as the program does it.
fn batch(wire: wire::Batch) -> Result<Batch, Fault> {
    let form = match wire.form {
        wire::Form::Json => Form::Json,
        wire::Form::Bytes => Form::Bytes,
    };
    Batch::new(wire.stream, form, wire.index, wire.data).map_err(trap)
}

fn batches(wire: Vec<wire::Batch>) -> Result<Vec<Batch>, Fault> {
    let filled = wire.into_iter().filter(|batch| !batch.index.is_empty());
    filled.map(batch).collect()
}

/// What is measured has no such records, so nothing is lost by it.
fn rejected(wire: Vec<wire::Rejection>) -> Result<(), Fault> {
    match wire.into_iter().next() {
        Some(first) => Err(fault(first.fault)),
        None => Ok(()),
    }
}

type ApplyResult =
    (Result<transformer::exports::crossdock::plugin::transformer::Applied, wire::Fault>,);
type WriteResult = (Result<sink::exports::crossdock::plugin::sink::Written, wire::Fault>,);

/// An exported function, as it is found.
fn function(
    store: &mut Store<State>,
    instance: &wasmtime::component::Instance,
    interface: &str,
    name: &str,
) -> Result<Func, Fault> {
    let interface = format!("crossdock:plugin/{interface}@0.1.0");
    let interface = instance.get_export_index(&mut *store, None, &interface);
    interface
        .and_then(|interface| instance.get_export_index(&mut *store, Some(&interface), name))
        .and_then(|function| instance.get_func(&mut *store, function))
        .ok_or_else(|| trap(name))
}

/// An instance of a kind whose function takes batches.
struct Taking<P> {
    store: Store<State>,
    plugin: P,
    take: Func,
    mode: Mode,
}

/// An instance of a source.
struct Reading {
    store: Store<State>,
    plugin: SourcePlugin,
}

impl Stage {
    async fn instance(&self) -> Result<(Store<State>, wasmtime::component::Instance), Fault> {
        let mut store = self.plugin.store(&self.world).map_err(trap)?;
        let instance = self.plugin.pre.instantiate_async(&mut store).await;
        Ok((store, instance.map_err(trap)?))
    }
}

#[async_trait]
impl Opener<dyn Source> for Stage {
    async fn open(&self, snapshot: Option<&[u8]>) -> Result<Box<dyn Source>, Fault> {
        let (mut store, instance) = self.instance().await?;
        let plugin = SourcePlugin::new(&mut store, &instance).map_err(trap)?;
        plugin
            .crossdock_plugin_source()
            .call_open(&mut store, &self.config, snapshot)
            .await
            .map_err(trap)?
            .map_err(fault)?;
        Ok(Box::new(Reading { store, plugin }))
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }
}

#[async_trait]
impl Opener<dyn Transformer> for Stage {
    async fn open(&self, snapshot: Option<&[u8]>) -> Result<Box<dyn Transformer>, Fault> {
        let (mut store, instance) = self.instance().await?;
        let plugin = TransformerPlugin::new(&mut store, &instance).map_err(trap)?;
        let mode = plugin
            .crossdock_plugin_transformer()
            .call_open(&mut store, &self.config, snapshot)
            .await
            .map_err(trap)?
            .map_err(fault)?;
        let mode = match mode {
            transformer::exports::crossdock::plugin::transformer::Mode::Stateless => {
                Mode::Stateless
            }
            transformer::exports::crossdock::plugin::transformer::Mode::Stateful => Mode::Stateful,
        };
        Ok(Box::new(Taking {
            take: function(&mut store, &instance, "transformer", "apply")?,
            store,
            plugin,
            mode,
        }))
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }
}

#[async_trait]
impl Opener<dyn Sink> for Stage {
    async fn open(&self, snapshot: Option<&[u8]>) -> Result<Box<dyn Sink>, Fault> {
        let (mut store, instance) = self.instance().await?;
        let plugin = SinkPlugin::new(&mut store, &instance).map_err(trap)?;
        plugin
            .crossdock_plugin_sink()
            .call_open(&mut store, &self.config, snapshot)
            .await
            .map_err(trap)?
            .map_err(fault)?;
        Ok(Box::new(Taking {
            take: function(&mut store, &instance, "sink", "write")?,
            store,
            plugin,
            mode: Mode::Stateful,
        }))
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }
}

impl Instance for Reading {
    fn take_table_writes(&mut self) -> Vec<TableWrite> {
        self.store.data_mut().take_writes()
    }
}

impl<P: Send> Instance for Taking<P> {
    fn take_table_writes(&mut self) -> Vec<TableWrite> {
        self.store.data_mut().take_writes()
    }
}

#[async_trait]
impl Source for Reading {
    async fn read(&mut self, budget: Budget) -> Result<Read, Fault> {
        use source::exports::crossdock::plugin::source::{Budget as Wire, ReadOutcome};
        let budget = Wire {
            records: budget.records,
            bytes: budget.bytes,
            millis: u32::try_from(budget.time.as_millis()).unwrap_or(u32::MAX),
        };
        let guest = self.plugin.crossdock_plugin_source();
        let outcome = guest.call_read(&mut self.store, budget).await;
        match outcome.map_err(trap)?.map_err(fault)? {
            ReadOutcome::Page(page) => match page.unreadable.into_iter().next() {
                Some(first) => Err(fault(first.fault)),
                None => Ok(Read::Page {
                    records: batch(page.records)?,
                    unreadable: Vec::new(),
                }),
            },
            ReadOutcome::Idle(millis) => Ok(Read::Idle(Duration::from_millis(millis.into()))),
            ReadOutcome::End => Ok(Read::End),
        }
    }

    async fn snapshot(&mut self) -> Result<Snapshot, Fault> {
        let guest = self.plugin.crossdock_plugin_source();
        let snapshot = guest.call_snapshot(&mut self.store).await;
        snapshot.map_err(trap)?.map_err(fault)
    }

    async fn committed(&mut self, snapshot: &[u8]) -> Result<(), Fault> {
        let guest = self.plugin.crossdock_plugin_source();
        let told = guest.call_committed(&mut self.store, snapshot).await;
        told.map_err(trap)?.map_err(fault)
    }

    async fn close(&mut self) {
        let guest = self.plugin.crossdock_plugin_source();
        // It goes in any case.
        drop(guest.call_close(&mut self.store).await);
    }
}

#[async_trait]
impl Transformer for Taking<TransformerPlugin> {
    fn mode(&self) -> Mode {
        self.mode
    }

    async fn apply(&mut self, input: &Batch) -> Result<Applied, Fault> {
        use transformer::exports::crossdock::plugin::transformer::Output as Wire;
        let apply = self.take.typed::<(BatchRef<'_>,), ApplyResult>(&self.store);
        let apply = apply.map_err(trap)?;
        let applied = apply.call_async(&mut self.store, (input.into(),)).await;
        let applied = applied.map_err(trap)?.0.map_err(fault)?;
        rejected(applied.rejected)?;
        Ok(Applied {
            output: match applied.output {
                Wire::Pass => Output::Pass,
                Wire::Select(kept) => Output::Select(kept),
                Wire::Replace(wire) => Output::Replace(batches(wire)?),
            },
            rejected: Vec::new(),
            filtered: applied
                .filtered
                .into_iter()
                .map(|tally| Tally {
                    reason: tally.reason,
                    count: tally.count,
                })
                .collect(),
        })
    }

    async fn finish(&mut self) -> Result<Vec<Batch>, Fault> {
        let guest = self.plugin.crossdock_plugin_transformer();
        let held = guest.call_finish(&mut self.store).await;
        batches(held.map_err(trap)?.map_err(fault)?)
    }

    async fn snapshot(&mut self) -> Result<Snapshot, Fault> {
        let guest = self.plugin.crossdock_plugin_transformer();
        let snapshot = guest.call_snapshot(&mut self.store).await;
        snapshot.map_err(trap)?.map_err(fault)
    }

    async fn close(&mut self) {
        let guest = self.plugin.crossdock_plugin_transformer();
        // It goes in any case.
        drop(guest.call_close(&mut self.store).await);
    }
}

#[async_trait]
impl Sink for Taking<SinkPlugin> {
    async fn write(&mut self, input: &Batch) -> Result<Written, Fault> {
        let write = self.take.typed::<(BatchRef<'_>,), WriteResult>(&self.store);
        let write = write.map_err(trap)?;
        let written = write.call_async(&mut self.store, (input.into(),)).await;
        let written = written.map_err(trap)?.0.map_err(fault)?;
        rejected(written.rejected)?;
        Ok(Written {
            rejected: Vec::new(),
            receipts: written.receipts.map(batch).transpose()?,
        })
    }

    async fn finish(&mut self) -> Result<(), Fault> {
        let guest = self.plugin.crossdock_plugin_sink();
        let done = guest.call_finish(&mut self.store).await;
        done.map_err(trap)?.map_err(fault)
    }

    async fn snapshot(&mut self) -> Result<Snapshot, Fault> {
        let guest = self.plugin.crossdock_plugin_sink();
        let snapshot = guest.call_snapshot(&mut self.store).await;
        snapshot.map_err(trap)?.map_err(fault)
    }

    async fn commit(&mut self, snapshot: &[u8]) -> Result<(), Fault> {
        let guest = self.plugin.crossdock_plugin_sink();
        let done = guest.call_commit(&mut self.store, snapshot).await;
        done.map_err(trap)?.map_err(fault)
    }

    async fn close(&mut self) {
        let guest = self.plugin.crossdock_plugin_sink();
        // It goes in any case.
        drop(guest.call_close(&mut self.store).await);
    }
}
