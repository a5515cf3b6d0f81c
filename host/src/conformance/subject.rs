//! One kind of a plugin with what it is tested with.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tokio::sync::OnceCell;

use super::{
    check::Wrong,
    place::Place,
    record,
    settings::{Compare, KindSettings, sample_config},
    sink, source,
};
use crate::{
    catalogue::{
        Kind,
        manifest::{Access, Delivery, Manifest},
    },
    engine::{
        batch::Batch,
        stage::{Opener, Sink, Source, Transformer},
    },
    flow::Egress,
    plugin::{Grants, HttpSend, Limits, Plugin, Recording, StageContext},
};

/// How long one call of a plugin may run: much more than it needs, much less than the patience of a person.
const CALL: Duration = Duration::from_secs(10);

pub(super) struct Subject {
    pub(super) plugin: Arc<Plugin>,
    pub(super) kind: Kind,
    pub(super) settings: KindSettings,
    pub(super) config: Value,
    network: Option<Arc<dyn HttpSend>>,
    /// What it imports is written down or played back.
    pub(super) recording: Option<Recording>,
    /// What interrupting it has shown: two checks look at it.
    pub(super) resumed: OnceCell<source::Resumed>,
    pub(super) crashed: OnceCell<sink::Crashed>,
}

impl Subject {
    pub(super) fn new(
        plugin: Arc<Plugin>,
        kind: Kind,
        settings: KindSettings,
        network: Option<Arc<dyn HttpSend>>,
    ) -> Self {
        let spec = plugin.manifest().and_then(|manifest| manifest.kind(kind));
        let config = settings.config.clone().unwrap_or_else(|| {
            spec.map(|spec| sample_config(&spec.config))
                .unwrap_or_default()
        });
        Self {
            plugin,
            kind,
            settings,
            config: Value::Object(config),
            network,
            recording: None,
            resumed: OnceCell::new(),
            crashed: OnceCell::new(),
        }
    }

    pub(super) fn manifest(&self) -> Option<&Manifest> {
        self.plugin.manifest()
    }

    /// What it declares.
    pub(super) fn declared(&self) -> Option<Delivery> {
        self.manifest()?.kind(self.kind)?.delivery
    }

    /// Whether what a sink has written can be looked at: files, tables and an API in memory can.
    pub(super) fn unseen(&self) -> Option<&'static str> {
        if self.settings.compare == Compare::Nothing {
            return Some("the settings say that results cannot be compared");
        }
        let reaches = self.manifest().is_some_and(|manifest| {
            let asked = &manifest.permissions;
            !asked.tcp.is_empty() || !asked.http.is_empty() || !asked.connections.is_empty()
        });
        (reaches && self.settings.api.is_none())
            .then_some("what is written to a remote system cannot be seen: give it an `api` in conformance.yaml")
    }

    pub(super) fn place(&self) -> Result<Place, Wrong> {
        Place::new(&self.settings, self.network.clone())
            .map_err(|error| Wrong::Failed(format!("the kit cannot make a folder: {error}")))
    }

    pub(super) fn limits() -> Limits {
        Limits {
            call: CALL,
            open: CALL,
            commit: CALL,
            ..Limits::default()
        }
    }

    pub(super) fn context(&self, place: &Place, limits: Limits) -> StageContext {
        StageContext {
            flow: "conformance".into(),
            stage: self.kind.as_str().into(),
            config: self.config.clone(),
            grants: self.grants(),
            limits,
            tables: Arc::clone(&place.tables) as _,
            http: place.network(),
            project_dir: place.folder().to_owned(),
            recording: self.recording.clone(),
        }
    }

    /// What it asks for, and no more: its folder, the connections that its config names, every table, the URLs that its manifest
    /// names. No raw TCP: nothing of the kit could answer there.
    fn grants(&self) -> Grants {
        let Some(manifest) = self.manifest() else {
            return Grants::default();
        };
        let asked = &manifest.permissions;
        let here = vec![".".to_owned()];
        let files = |access: Access| {
            let mut wishes = asked.files.iter();
            wishes.any(|file| file.access == access && file.wish.is_for(self.kind))
        };
        let mut grants = Grants::default();
        if files(Access::Write) {
            grants.write = here;
        } else if files(Access::Read) {
            grants.read = here;
        }
        if asked.connections.iter().any(|wish| wish.is_for(self.kind)) {
            texts(&self.config, &mut grants.connections);
        }
        if asked.tables.iter().any(|wish| wish.is_for(self.kind)) {
            grants.tables.push("*".to_owned());
        }
        let urls = asked.http.iter().filter(|http| http.wish.is_for(self.kind));
        let urls: Vec<String> = urls.map(|http| http.url.clone()).collect();
        // What is no URL grants nothing: the requests are denied then.
        grants.egress = Egress::parse(&urls, &[], false).unwrap_or_default();
        grants.precise_clock = asked
            .precise_clock
            .iter()
            .any(|wish| wish.is_for(self.kind));
        grants
    }

    pub(super) fn source(
        &self,
        place: &Place,
        limits: Limits,
    ) -> Result<Arc<dyn Opener<dyn Source>>, Wrong> {
        self.plugin
            .source(self.context(place, limits))
            .map_err(|error| Wrong::Failed(error.to_string()))
    }

    pub(super) fn transformer(
        &self,
        place: &Place,
        limits: Limits,
    ) -> Result<Arc<dyn Opener<dyn Transformer>>, Wrong> {
        self.plugin
            .transformer(self.context(place, limits))
            .map_err(|error| Wrong::Failed(error.to_string()))
    }

    pub(super) fn sink(
        &self,
        place: &Place,
        limits: Limits,
    ) -> Result<Arc<dyn Opener<dyn Sink>>, Wrong> {
        self.plugin
            .sink(self.context(place, limits))
            .map_err(|error| Wrong::Failed(error.to_string()))
    }

    /// The sample records in batches of this many, each batch of one stream.
    pub(super) fn batches(&self, size: usize) -> Vec<Batch> {
        record::batches(&self.settings, size)
    }
}

/// Every text in a value: what could be the name of a connection.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| texts(field, found)),
        _ => {}
    }
}
