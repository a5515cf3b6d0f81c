//! Sources: the engine's trait over an instance.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    instance::Sandbox,
    runtime::{Stage, StreamInfo},
    verify,
    wit::since_v0_1::{
        self as wit, source::SourcePlugin, source::exports::crossdock::plugin::source::ReadOutcome,
    },
};
use crate::engine::{
    fault::Fault,
    stage::{
        Budget, Identity, Instance, Opener, Read, Snapshot, Source, TableWrite, Unreadable, Wear,
    },
};

/// Longest pause that a source may ask for.
const MAX_IDLE: Duration = Duration::from_hours(1);

/// Makes instances of a source.
pub(super) struct SourceOpener(pub(super) Stage);

struct SourceInstance {
    sandbox: Sandbox,
    plugin: SourcePlugin,
}

impl SourceOpener {
    async fn instance(&self) -> Result<SourceInstance, Fault> {
        let (mut sandbox, instance) = self.0.sandbox().await?;
        let plugin = self.0.plugin.kinds.source(&mut sandbox.store, &instance)?;
        Ok(SourceInstance { sandbox, plugin })
    }

    pub(super) async fn check(&self) -> Result<(), Fault> {
        let SourceInstance {
            mut sandbox,
            plugin,
        } = self.instance().await?;
        let running = sandbox.begin("check", self.0.limits().open)?;
        let call = plugin
            .crossdock_plugin_source()
            .call_check(&mut sandbox.store, &self.0.config);
        let outcome = running.watch(call).await;
        sandbox.settle(outcome)?.map_err(wit::fault)
    }

    pub(super) async fn streams(&self) -> Result<Vec<StreamInfo>, Fault> {
        let SourceInstance {
            mut sandbox,
            plugin,
        } = self.instance().await?;
        let running = sandbox.begin("streams", self.0.limits().open)?;
        let call = plugin
            .crossdock_plugin_source()
            .call_streams(&mut sandbox.store, &self.0.config);
        let outcome = running.watch(call).await;
        let streams = sandbox.settle(outcome)?.map_err(wit::fault)?;
        let mut infos = Vec::with_capacity(streams.len());
        for stream in streams {
            let schema = match stream.schema.as_str() {
                "" => None,
                text => Some(serde_json::from_str(text).map_err(|error| {
                    sandbox.condemn(format!(
                        "the schema of stream `{}` is no JSON: {error}",
                        stream.name
                    ))
                })?),
            };
            let (name, key, incremental) = (stream.name, stream.key, stream.incremental);
            infos.push(StreamInfo {
                name,
                schema,
                key,
                incremental,
            });
        }
        Ok(infos)
    }
}

#[async_trait]
impl Opener<dyn Source> for SourceOpener {
    async fn open(&self, snapshot: Option<&[u8]>) -> Result<Box<dyn Source>, Fault> {
        let mut instance = self.instance().await?;
        let SourceInstance { sandbox, plugin } = &mut instance;
        let running = sandbox.begin("open", self.0.limits().open)?;
        let call = plugin.crossdock_plugin_source().call_open(
            &mut sandbox.store,
            &self.0.config,
            snapshot,
        );
        let outcome = running.watch(call).await;
        sandbox.settle(outcome)?.map_err(wit::fault)?;
        Ok(Box::new(instance))
    }

    fn identity(&self) -> &Identity {
        &self.0.identity
    }
}

impl Instance for SourceInstance {
    fn take_table_writes(&mut self) -> Vec<TableWrite> {
        self.sandbox.take_table_writes()
    }

    fn wear(&self) -> Wear {
        self.sandbox.wear()
    }
}

#[async_trait]
impl Source for SourceInstance {
    async fn read(&mut self, budget: Budget) -> Result<Read, Fault> {
        let Self { sandbox, plugin } = self;
        let running = sandbox.begin("read", sandbox.limits().call)?;
        let call = plugin
            .crossdock_plugin_source()
            .call_read(&mut sandbox.store, wit::budget(budget));
        let outcome = running.watch(call).await;
        let page = match sandbox.settle(outcome)?.map_err(wit::fault)? {
            ReadOutcome::Page(page) => page,
            ReadOutcome::Idle(millis) => {
                return Ok(Read::Idle(
                    Duration::from_millis(u64::from(millis)).min(MAX_IDLE),
                ));
            }
            ReadOutcome::End => return Ok(Read::End),
        };
        let records = wit::batch(page.records).map_err(|error| {
            sandbox.condemn(format!("the plugin read a malformed batch: {error}"))
        })?;
        verify::ops(&records)
            .map_err(|what| sandbox.condemn(format!("the plugin broke the contract: {what}")))?;
        sandbox.sizes("read gave", records.len(), records.data().len());
        sandbox.count(records.len() + page.unreadable.len());
        let unreadable = page.unreadable.into_iter();
        let unreadable = unreadable
            .map(|one| Unreadable {
                data: one.data,
                fault: wit::fault(one.fault),
            })
            .collect();
        Ok(Read::Page {
            records,
            unreadable,
        })
    }

    async fn snapshot(&mut self) -> Result<Snapshot, Fault> {
        let Self { sandbox, plugin } = self;
        let running = sandbox.begin("snapshot", sandbox.limits().commit)?;
        let outcome = running
            .watch(
                plugin
                    .crossdock_plugin_source()
                    .call_snapshot(&mut sandbox.store),
            )
            .await;
        let snapshot = sandbox.settle(outcome)?.map_err(wit::fault)?;
        sandbox.bounded(snapshot)
    }

    async fn committed(&mut self, snapshot: &[u8]) -> Result<(), Fault> {
        let Self { sandbox, plugin } = self;
        let running = sandbox.begin("committed", sandbox.limits().commit)?;
        let call = plugin
            .crossdock_plugin_source()
            .call_committed(&mut sandbox.store, snapshot);
        let outcome = running.watch(call).await;
        sandbox.settle(outcome)?.map_err(wit::fault)
    }

    async fn close(&mut self) {
        let Self { sandbox, plugin } = self;
        // An instance that is gone has nothing to close.
        let Ok(running) = sandbox.begin("close", sandbox.limits().commit) else {
            return;
        };
        let outcome = running
            .watch(
                plugin
                    .crossdock_plugin_source()
                    .call_close(&mut sandbox.store),
            )
            .await;
        sandbox.closed(outcome);
    }
}

/// Keeps the opener's type in one place.
pub(super) fn opener(stage: Stage) -> Arc<dyn Opener<dyn Source>> {
    Arc::new(SourceOpener(stage))
}
