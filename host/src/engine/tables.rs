//! Tables in memory, for what runs without a store: a plugin that is examined, a mapping that is tried.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::stage::{TableError, TableWrite, Tables};

/// Tables by name, with the values of each by key.
pub(crate) type Contents = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// Tables in memory. Who runs the stage keeps the writes of a call that went well with [`MemoryTables::write`], as a flow does.
#[derive(Default)]
pub(crate) struct MemoryTables(Mutex<Contents>);

impl MemoryTables {
    /// With this in them.
    pub(crate) fn new(contents: Contents) -> Self {
        Self(Mutex::new(contents))
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is in them, to go back to: table writes are committed with the checkpoint.
    pub(crate) fn checkpoint(&self) -> Contents {
        self.lock().clone()
    }

    /// Goes back to a checkpoint.
    pub(crate) fn restore(&self, contents: Contents) {
        *self.lock() = contents;
    }

    /// Keeps the writes of a call that went well.
    pub(crate) fn write(&self, writes: Vec<TableWrite>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn write(table: &str, key: &str, value: Option<&str>) -> TableWrite {
        TableWrite {
            table: table.into(),
            key: key.to_owned(),
            value: value.map(|value| value.as_bytes().to_vec()),
        }
    }

    fn found(tables: &MemoryTables, prefix: &str, after: &str, limit: usize) -> Vec<String> {
        let entries = tables.find("ids", prefix, after, limit).unwrap();
        entries.into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn what_was_written_is_read_in_the_order_asked_and_the_last_write_counts() {
        let one = BTreeMap::from([("a".to_owned(), b"1".to_vec())]);
        let tables = MemoryTables::new(BTreeMap::from([("ids".to_owned(), one)]));
        tables.write(vec![
            write("ids", "b", Some("2")),
            write("ids", "b", Some("3")),
            write("ids", "c", Some("4")),
            write("ids", "c", None),
            write("other", "a", Some("5")),
        ]);
        let values = tables.get_many("ids", &["c", "b", "a", "b"]).unwrap();
        let value = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(values, [None, value("3"), value("1"), value("3")]);
        assert_eq!(tables.get_many("other", &["a"]).unwrap(), [value("5")]);
        assert_eq!(tables.get_many("none", &["a"]).unwrap(), [None]);
    }

    #[test]
    fn entries_are_found_in_the_order_of_their_keys_behind_a_key_and_up_to_a_limit() {
        let tables = MemoryTables::default();
        for key in ["sku-2", "sku-10", "other", "sku-1"] {
            tables.write(vec![write("ids", key, Some(key))]);
        }
        assert_eq!(found(&tables, "sku-", "", 9), ["sku-1", "sku-10", "sku-2"]);
        assert_eq!(found(&tables, "sku-", "sku-1", 9), ["sku-10", "sku-2"]);
        assert_eq!(found(&tables, "", "", 2), ["other", "sku-1"]);
        assert!(tables.find("none", "", "", 9).unwrap().is_empty());
    }

    #[test]
    fn they_go_back_to_a_checkpoint() {
        let tables = MemoryTables::default();
        tables.write(vec![write("ids", "a", Some("1"))]);
        let checkpoint = tables.checkpoint();
        tables.write(vec![write("ids", "a", None), write("more", "b", Some("2"))]);
        assert!(found(&tables, "", "", 9).is_empty());
        tables.restore(checkpoint.clone());
        assert_eq!(found(&tables, "", "", 9), ["a"]);
        assert_eq!(tables.checkpoint(), checkpoint);
    }
}
