//! Transformers: the engine's trait over an instance.

use std::sync::Arc;

use async_trait::async_trait;
use wasmtime::component::Func;

use super::{
    exports::ApplyResult,
    instance::Sandbox,
    runtime::Stage,
    verify,
    wit::since_v0_1::{
        self as wit, BatchRef,
        transformer::{TransformerPlugin, exports::crossdock::plugin::transformer as wire},
    },
};
use crate::{
    catalogue::{Kind, manifest::Delivery as Declared},
    engine::{
        batch::Batch,
        fault::Fault,
        stage::{
            Applied, Identity, Instance, Mode, Opener, Output, Snapshot, TableWrite, Transformer,
            Wear,
        },
    },
};

/// Makes instances of a transformer.
pub(super) struct TransformerOpener(pub(super) Stage);

struct TransformerInstance {
    sandbox: Sandbox,
    plugin: TransformerPlugin,
    apply: Func,
    mode: Mode,
    repeats: bool,
}

impl TransformerOpener {
    /// Whether the same input gives the same output: as its manifest declares, and otherwise when it can see nothing else.
    fn repeats(&self) -> bool {
        let manifest = self.0.plugin.manifest();
        let declared = manifest
            .and_then(|manifest| manifest.kind(Kind::Transformer))
            .and_then(|kind| kind.delivery);
        match declared {
            Some(declared) => declared == Declared::Deterministic,
            None => self.0.plugin.inspection().sees_only_its_input(),
        }
    }

    async fn instance(&self) -> Result<TransformerInstance, Fault> {
        let (mut sandbox, instance) = self.0.sandbox().await?;
        let (plugin, apply) = self
            .0
            .plugin
            .kinds
            .transformer(&mut sandbox.store, &instance)?;
        Ok(TransformerInstance {
            sandbox,
            plugin,
            apply,
            mode: Mode::Stateful,
            repeats: self.repeats(),
        })
    }

    pub(super) async fn check(&self) -> Result<(), Fault> {
        let TransformerInstance {
            mut sandbox,
            plugin,
            ..
        } = self.instance().await?;
        let running = sandbox.begin("check", self.0.limits().open)?;
        let call = plugin
            .crossdock_plugin_transformer()
            .call_check(&mut sandbox.store, &self.0.config);
        let outcome = running.watch(call).await;
        sandbox.settle(outcome)?.map_err(wit::fault)
    }
}

#[async_trait]
impl Opener<dyn Transformer> for TransformerOpener {
    async fn open(&self, snapshot: Option<&[u8]>) -> Result<Box<dyn Transformer>, Fault> {
        let mut instance = self.instance().await?;
        let TransformerInstance {
            sandbox,
            plugin,
            mode,
            ..
        } = &mut instance;
        let running = sandbox.begin("open", self.0.limits().open)?;
        let call = plugin.crossdock_plugin_transformer().call_open(
            &mut sandbox.store,
            &self.0.config,
            snapshot,
        );
        let outcome = running.watch(call).await;
        *mode = match sandbox.settle(outcome)?.map_err(wit::fault)? {
            wire::Mode::Stateless => Mode::Stateless,
            wire::Mode::Stateful => Mode::Stateful,
        };
        Ok(Box::new(instance))
    }

    fn identity(&self) -> &Identity {
        &self.0.identity
    }
}

impl Instance for TransformerInstance {
    fn take_table_writes(&mut self) -> Vec<TableWrite> {
        self.sandbox.take_table_writes()
    }

    fn wear(&self) -> Wear {
        self.sandbox.wear()
    }

    fn repeats(&self) -> bool {
        self.repeats
    }
}

/// Batches that came out; empty ones are dropped.
fn batches(sandbox: &mut Sandbox, wire: Vec<wit::WireBatch>) -> Result<Vec<Batch>, Fault> {
    let mut batches = Vec::with_capacity(wire.len());
    for (at, one) in wire.into_iter().enumerate() {
        let batch = wit::batch(one).map_err(|error| {
            sandbox.condemn(format!("the plugin gave a malformed batch ({at}): {error}"))
        })?;
        if !batch.is_empty() {
            batches.push(batch);
        }
    }
    Ok(batches)
}

#[async_trait]
impl Transformer for TransformerInstance {
    fn mode(&self) -> Mode {
        self.mode
    }

    async fn apply(&mut self, batch: &Batch) -> Result<Applied, Fault> {
        let Self { sandbox, apply, .. } = self;
        sandbox.sizes("apply takes", batch.len(), batch.data().len());
        let running = sandbox.begin("apply", sandbox.limits().call)?;
        let typed = apply.typed::<(BatchRef<'_>,), ApplyResult>(&sandbox.store);
        let store = &mut sandbox.store;
        let outcome = running
            .watch(async move { typed?.call_async(store, (BatchRef::from(batch),)).await })
            .await;
        let (applied,) = sandbox.settle(outcome)?;
        let applied = applied.map_err(wit::fault)?;
        let output = match applied.output {
            wire::Output::Pass => Output::Pass,
            wire::Output::Select(kept) => Output::Select(kept),
            wire::Output::Replace(wire) => Output::Replace(batches(sandbox, wire)?),
        };
        let rejected = wit::rejections(applied.rejected);
        let filtered = wit::tallies(applied.filtered);
        verify::applied(&output, &rejected, &filtered, batch.len())
            .map_err(|what| sandbox.condemn(format!("the plugin broke the contract: {what}")))?;
        if let Output::Replace(batches) = &output {
            let records = batches.iter().map(Batch::len).sum();
            let bytes = batches.iter().map(|batch| batch.data().len()).sum();
            sandbox.sizes("apply gave", records, bytes);
        }
        sandbox.count(batch.len());
        Ok(Applied {
            output,
            rejected,
            filtered,
        })
    }

    async fn finish(&mut self) -> Result<Vec<Batch>, Fault> {
        let Self {
            sandbox, plugin, ..
        } = self;
        let running = sandbox.begin("finish", sandbox.limits().commit)?;
        let outcome = running
            .watch(
                plugin
                    .crossdock_plugin_transformer()
                    .call_finish(&mut sandbox.store),
            )
            .await;
        let held = sandbox.settle(outcome)?.map_err(wit::fault)?;
        let held = batches(sandbox, held)?;
        for batch in &held {
            verify::ops(batch).map_err(|what| {
                sandbox.condemn(format!("the plugin broke the contract: {what}"))
            })?;
        }
        Ok(held)
    }

    async fn snapshot(&mut self) -> Result<Snapshot, Fault> {
        let Self {
            sandbox, plugin, ..
        } = self;
        let running = sandbox.begin("snapshot", sandbox.limits().commit)?;
        let outcome = running
            .watch(
                plugin
                    .crossdock_plugin_transformer()
                    .call_snapshot(&mut sandbox.store),
            )
            .await;
        let snapshot = sandbox.settle(outcome)?.map_err(wit::fault)?;
        sandbox.bounded(snapshot)
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
                    .crossdock_plugin_transformer()
                    .call_close(&mut sandbox.store),
            )
            .await;
        sandbox.closed(outcome);
    }
}

/// Keeps the opener's type in one place.
pub(super) fn opener(stage: Stage) -> Arc<dyn Opener<dyn Transformer>> {
    Arc::new(TransformerOpener(stage))
}
