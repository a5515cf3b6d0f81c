//! What a plugin sees around it: a folder, tables and an API of its own. A fresh one for every run that is compared.

use std::{collections::BTreeMap, fs, io, path::Path, sync::Arc};

use tempfile::TempDir;

use super::{
    api::{Api, Mood},
    settings::KindSettings,
};
use crate::{
    engine::{stage::Instance, tables::MemoryTables},
    plugin::{HttpSend, NoHttp},
};

/// What it has written, by name: files, items of the API, entries of tables.
pub(super) type Content = BTreeMap<String, Vec<u8>>;

pub(super) struct Place {
    folder: TempDir,
    pub(super) tables: Arc<MemoryTables>,
    pub(super) api: Option<Arc<Api>>,
    network: Arc<dyn HttpSend>,
}

impl Place {
    pub(super) fn new(
        settings: &KindSettings,
        network: Option<Arc<dyn HttpSend>>,
    ) -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("crossdock-test-")
            .tempdir()?;
        for name in &settings.folders {
            fs::create_dir_all(folder.path().join(name))?;
        }
        for (name, text) in &settings.files {
            let path = folder.path().join(name);
            if let Some(above) = path.parent() {
                fs::create_dir_all(above)?;
            }
            fs::write(path, text)?;
        }
        let api = settings.api.as_ref().map(|api| Arc::new(Api::new(api)));
        let network: Arc<dyn HttpSend> = match (&api, network) {
            (Some(api), _) => Arc::clone(api) as _,
            (None, Some(network)) => network,
            (None, None) => Arc::new(NoHttp),
        };
        let tables = settings.tables.iter().map(|(table, entries)| {
            let entries = entries
                .iter()
                .map(|(key, value)| (key.clone(), value.to_string().into_bytes()));
            (table.clone(), entries.collect())
        });
        let tables = MemoryTables::new(tables.collect());
        Ok(Self {
            folder,
            tables: Arc::new(tables),
            api,
            network,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn network(&self) -> Arc<dyn HttpSend> {
        Arc::clone(&self.network)
    }

    /// Sends every request to an API in this mood instead. Gives it, to be asked how often it was called.
    pub(super) fn moody(&mut self, mood: Mood) -> Arc<Api> {
        let api = Arc::new(Api::moody(mood));
        self.network = Arc::clone(&api) as _;
        api
    }

    /// Keeps the table writes of a call that went well.
    pub(super) fn keep<I: Instance + ?Sized>(&self, instance: &mut I) {
        self.tables.write(instance.take_table_writes());
    }

    /// Everything that is there, without the plugin's own files.
    pub(super) fn content(&self) -> io::Result<Content> {
        let mut content = Content::new();
        files(self.folder(), self.folder(), false, &mut content)?;
        self.beyond_files(&mut content);
        Ok(content)
    }

    /// Everything that is there, with the plugin's own files.
    pub(super) fn all(&self) -> io::Result<Content> {
        let mut content = Content::new();
        files(self.folder(), self.folder(), true, &mut content)?;
        self.beyond_files(&mut content);
        Ok(content)
    }

    fn beyond_files(&self, content: &mut Content) {
        for (table, entries) in self.tables.checkpoint() {
            for (key, value) in entries {
                content.insert(format!("table {table}: {key}"), value);
            }
        }
        if let Some(api) = &self.api {
            content.extend(api.content());
        }
    }
}

fn files(folder: &Path, root: &Path, own: bool, content: &mut Content) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden && !own {
            continue;
        }
        if path.is_dir() {
            files(&path, root, own, content)?;
        } else {
            let name = path.strip_prefix(root).unwrap_or(&path);
            content.insert(name.display().to_string(), fs::read(&path)?);
        }
    }
    Ok(())
}
