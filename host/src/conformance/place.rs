//! What a plugin sees around it: a folder, tables and an API of its own. A fresh one for every run that is compared.

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use tempfile::TempDir;

use super::{
    api::{Api, Mood},
    settings::KindSettings,
};
use crate::{
    engine::stage::{Instance, TableError, TableWrite, Tables},
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
        let tables = MemoryTables::default();
        for (table, entries) in &settings.tables {
            let entries = entries
                .iter()
                .map(|(key, value)| (key.clone(), value.to_string().into_bytes()));
            tables.lock().insert(table.clone(), entries.collect());
        }
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
        for (table, entries) in &*self.tables.lock() {
            for (key, value) in entries {
                content.insert(format!("table {table}: {key}"), value.clone());
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

/// Tables in memory.
#[derive(Default)]
pub(super) struct MemoryTables(Mutex<BTreeMap<String, BTreeMap<String, Vec<u8>>>>);

impl MemoryTables {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, BTreeMap<String, Vec<u8>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is in them, to go back to: table writes are committed with the checkpoint.
    pub(super) fn checkpoint(&self) -> BTreeMap<String, BTreeMap<String, Vec<u8>>> {
        self.lock().clone()
    }

    /// Goes back to a checkpoint.
    pub(super) fn restore(&self, tables: BTreeMap<String, BTreeMap<String, Vec<u8>>>) {
        *self.lock() = tables;
    }

    fn write(&self, writes: Vec<TableWrite>) {
        let mut tables = self.lock();
        for write in writes {
            let table = tables.entry(write.table.to_string()).or_default();
            match write.value {
                Some(value) => drop(table.insert(write.key, value)),
                None => drop(table.remove(&write.key)),
            }
        }
    }
}

impl Tables for MemoryTables {
    fn get_many(&self, table: &str, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>, TableError> {
        let tables = self.lock();
        let table = tables.get(table);
        let value = |key: &&str| table.and_then(|table| table.get(*key)).cloned();
        Ok(keys.iter().map(value).collect())
    }

    fn find(
        &self,
        table: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, TableError> {
        let tables = self.lock();
        let entries = tables.get(table).into_iter().flatten();
        Ok(entries
            .filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after)
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }
}
