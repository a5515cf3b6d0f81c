//! What a component exports: whether every function of its kinds is there, and where. Found and type-checked once per load,
//! so that a call only looks it up.

use wasmtime::component::{Component, ComponentExportIndex, Func, Instance, InstancePre};

use super::{
    error::{PluginError, one_line},
    state::State,
    wit::{
        self,
        since_v0_1::{
            self as v0_1, WireFault, sink::exports::crossdock::plugin::sink::Written,
            transformer::exports::crossdock::plugin::transformer::Applied,
        },
    },
};
use crate::{
    catalogue::Kind,
    engine::fault::{Fault, FaultKind},
};

/// What `apply` returns, as lifted.
pub(super) type ApplyResult = (Result<Applied, WireFault>,);

/// What `write` returns, as lifted.
pub(super) type WriteResult = (Result<Written, WireFault>,);

/// Where the functions of each kind are in the component, found and type-checked once per load.
pub(super) struct Kinds {
    source: Option<v0_1::source::SourcePluginIndices>,
    transformer: Option<(
        v0_1::transformer::TransformerPluginIndices,
        ComponentExportIndex,
    )>,
    sink: Option<(v0_1::sink::SinkPluginIndices, ComponentExportIndex)>,
}

impl Kinds {
    pub(super) fn find(
        pre: &InstancePre<State>,
        component: &Component,
        kinds: &[Kind],
    ) -> wasmtime::Result<Self> {
        let mut found = Self {
            source: None,
            transformer: None,
            sink: None,
        };
        for kind in kinds {
            match kind {
                Kind::Source => found.source = Some(v0_1::source::SourcePluginIndices::new(pre)?),
                Kind::Transformer => {
                    let apply = function(component, *kind, "apply")?;
                    found.transformer = Some((
                        v0_1::transformer::TransformerPluginIndices::new(pre)?,
                        apply,
                    ));
                }
                Kind::Sink => {
                    let write = function(component, *kind, "write")?;
                    found.sink = Some((v0_1::sink::SinkPluginIndices::new(pre)?, write));
                }
            }
        }
        Ok(found)
    }

    pub(super) fn source(
        &self,
        store: &mut wasmtime::Store<State>,
        instance: &Instance,
    ) -> Result<v0_1::source::SourcePlugin, Fault> {
        let indices = self.source.as_ref().ok_or_else(missing)?;
        indices
            .load(store, instance)
            .map_err(|error| mistyped(&error))
    }

    pub(super) fn transformer(
        &self,
        store: &mut wasmtime::Store<State>,
        instance: &Instance,
    ) -> Result<(v0_1::transformer::TransformerPlugin, Func), Fault> {
        let (indices, apply) = self.transformer.as_ref().ok_or_else(missing)?;
        let plugin = indices
            .load(&mut *store, instance)
            .map_err(|error| mistyped(&error))?;
        let apply = instance.get_func(&mut *store, apply).ok_or_else(missing)?;
        apply
            .typed::<(v0_1::BatchRef<'_>,), ApplyResult>(&*store)
            .map_err(|error| mistyped(&error))?;
        Ok((plugin, apply))
    }

    pub(super) fn sink(
        &self,
        store: &mut wasmtime::Store<State>,
        instance: &Instance,
    ) -> Result<(v0_1::sink::SinkPlugin, Func), Fault> {
        let (indices, write) = self.sink.as_ref().ok_or_else(missing)?;
        let plugin = indices
            .load(&mut *store, instance)
            .map_err(|error| mistyped(&error))?;
        let write = instance.get_func(&mut *store, write).ok_or_else(missing)?;
        write
            .typed::<(v0_1::BatchRef<'_>,), WriteResult>(&*store)
            .map_err(|error| mistyped(&error))?;
        Ok((plugin, write))
    }
}

/// What a kind of plugin has to export.
fn functions(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Source => &[
            "check",
            "streams",
            "open",
            "read",
            "snapshot",
            "committed",
            "close",
        ],
        Kind::Transformer => &["check", "open", "apply", "finish", "snapshot", "close"],
        Kind::Sink => &[
            "check", "open", "write", "finish", "snapshot", "commit", "close",
        ],
    }
}

/// Whether every function is there, said before the linker would say it of the first one only.
pub(super) fn whole(
    component: &Component,
    kinds: &[Kind],
    origin: &str,
) -> Result<(), PluginError> {
    for &kind in kinds {
        let names = functions(kind).iter();
        let missing: Vec<String> = names
            .filter(|name| function(component, kind, name).is_err())
            .map(|name| format!("`{name}`"))
            .collect();
        if !missing.is_empty() {
            return Err(PluginError::Lacks {
                origin: origin.to_owned(),
                kind,
                interface: wit::interface(kind.as_str(), &v0_1::VERSION),
                missing: missing.join(", "),
            });
        }
    }
    Ok(())
}

fn function(
    component: &Component,
    kind: Kind,
    name: &str,
) -> wasmtime::Result<ComponentExportIndex> {
    let interface = wit::interface(kind.as_str(), &v0_1::VERSION);
    component
        .get_export_index(None, &interface)
        .and_then(|instance| component.get_export_index(Some(&instance), name))
        .ok_or_else(|| wasmtime::Error::msg(format!("`{interface}` exports no function `{name}`")))
}

fn missing() -> Fault {
    Fault::new(
        FaultKind::Contract,
        "the plugin lacks a function that it had when it was loaded",
    )
}

fn mistyped(error: &wasmtime::Error) -> Fault {
    Fault::new(
        FaultKind::Contract,
        format!(
            "an export of the plugin is not of the contract's type: {}",
            one_line(error)
        ),
    )
}
