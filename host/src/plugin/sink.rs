//! Sinks: the engine's trait over an instance.

use std::sync::Arc;

use async_trait::async_trait;
use wasmtime::component::Func;

use super::{
    exports::WriteResult,
    instance::Sandbox,
    runtime::Stage,
    verify,
    wit::since_v0_1::{self as wit, BatchRef, sink::SinkPlugin},
};
use crate::engine::{
    batch::Batch,
    fault::Fault,
    stage::{Identity, Instance, Opener, Sink, Snapshot, TableWrite, Wear, Written},
};

/// Makes instances of a sink.
pub(super) struct SinkOpener(pub(super) Stage);

struct SinkInstance {
    sandbox: Sandbox,
    plugin: SinkPlugin,
    write: Func,
}

impl SinkOpener {
    async fn instance(&self) -> Result<SinkInstance, Fault> {
        let (mut sandbox, instance) = self.0.sandbox().await?;
        let (plugin, write) = self.0.plugin.kinds.sink(&mut sandbox.store, &instance)?;
        Ok(SinkInstance {
            sandbox,
            plugin,
            write,
        })
    }

    pub(super) async fn check(&self) -> Result<(), Fault> {
        let SinkInstance {
            mut sandbox,
            plugin,
            ..
        } = self.instance().await?;
        let running = sandbox.begin("check", self.0.limits().open)?;
        let call = plugin
            .crossdock_plugin_sink()
            .call_check(&mut sandbox.store, &self.0.config);
        let outcome = running.watch(call).await;
        sandbox.settle(outcome)?.map_err(wit::fault)
    }
}

#[async_trait]
impl Opener<dyn Sink> for SinkOpener {
    async fn open(&self, snapshot: Option<&[u8]>) -> Result<Box<dyn Sink>, Fault> {
        let mut instance = self.instance().await?;
        let SinkInstance {
            sandbox, plugin, ..
        } = &mut instance;
        let running = sandbox.begin("open", self.0.limits().open)?;
        let call =
            plugin
                .crossdock_plugin_sink()
                .call_open(&mut sandbox.store, &self.0.config, snapshot);
        let outcome = running.watch(call).await;
        sandbox.settle(outcome)?.map_err(wit::fault)?;
        Ok(Box::new(instance))
    }

    fn identity(&self) -> &Identity {
        &self.0.identity
    }
}

impl Instance for SinkInstance {
    fn take_table_writes(&mut self) -> Vec<TableWrite> {
        self.sandbox.take_table_writes()
    }

    fn wear(&self) -> Wear {
        self.sandbox.wear()
    }
}

#[async_trait]
impl Sink for SinkInstance {
    async fn write(&mut self, batch: &Batch) -> Result<Written, Fault> {
        let Self { sandbox, write, .. } = self;
        sandbox.sizes("write takes", batch.len(), batch.data().len());
        let running = sandbox.begin("write", sandbox.limits().call)?;
        let typed = write.typed::<(BatchRef<'_>,), WriteResult>(&sandbox.store);
        let store = &mut sandbox.store;
        let outcome = running
            .watch(async move { typed?.call_async(store, (BatchRef::from(batch),)).await })
            .await;
        let (written,) = sandbox.settle(outcome)?;
        let written = written.map_err(wit::fault)?;
        let rejected = wit::rejections(written.rejected);
        verify::rejections(&rejected, batch.len())
            .map_err(|what| sandbox.condemn(format!("the plugin broke the contract: {what}")))?;
        let receipts = match written.receipts.map(wit::batch).transpose() {
            Ok(receipts) => receipts,
            Err(error) => {
                return Err(sandbox.condemn(format!("the plugin gave malformed receipts: {error}")));
            }
        };
        if let Some(receipts) = &receipts {
            verify::receipts(receipts, batch.len()).map_err(|what| {
                sandbox.condemn(format!("the plugin broke the contract: {what}"))
            })?;
        }
        sandbox.count(batch.len());
        Ok(Written { rejected, receipts })
    }

    async fn finish(&mut self) -> Result<(), Fault> {
        let Self {
            sandbox, plugin, ..
        } = self;
        let running = sandbox.begin("finish", sandbox.limits().commit)?;
        let outcome = running
            .watch(
                plugin
                    .crossdock_plugin_sink()
                    .call_finish(&mut sandbox.store),
            )
            .await;
        sandbox.settle(outcome)?.map_err(wit::fault)
    }

    async fn snapshot(&mut self) -> Result<Snapshot, Fault> {
        let Self {
            sandbox, plugin, ..
        } = self;
        let running = sandbox.begin("snapshot", sandbox.limits().commit)?;
        let outcome = running
            .watch(
                plugin
                    .crossdock_plugin_sink()
                    .call_snapshot(&mut sandbox.store),
            )
            .await;
        let snapshot = sandbox.settle(outcome)?.map_err(wit::fault)?;
        sandbox.bounded(snapshot)
    }

    async fn commit(&mut self, snapshot: &[u8]) -> Result<(), Fault> {
        let Self {
            sandbox, plugin, ..
        } = self;
        let running = sandbox.begin("commit", sandbox.limits().commit)?;
        let call = plugin
            .crossdock_plugin_sink()
            .call_commit(&mut sandbox.store, snapshot);
        let outcome = running.watch(call).await;
        sandbox.settle(outcome)?.map_err(wit::fault)
    }

    async fn close(&mut self) {
        let Self {
            sandbox, plugin, ..
        } = self;
        let Ok(running) = sandbox.begin("close", sandbox.limits().commit) else {
            return;
        };
        let outcome = running
            .watch(
                plugin
                    .crossdock_plugin_sink()
                    .call_close(&mut sandbox.store),
            )
            .await;
        sandbox.closed(outcome);
    }
}

/// Keeps the opener's type in one place.
pub(super) fn opener(stage: Stage) -> Arc<dyn Opener<dyn Sink>> {
    Arc::new(SinkOpener(stage))
}
