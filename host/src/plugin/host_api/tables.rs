//! `tables`: keyed maps. Reads see the writes of the running call first, then the store through the engine.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use super::{
    super::{
        state::State,
        tape::{Blob, Given, Import},
    },
    contract::{
        plugin_types::Packed,
        tables::{self, TableError},
    },
};
use crate::engine::stage::{self, TableWrite, Tables};

/// Bytes of a key.
const KEY_BYTES: usize = 512;
/// Bytes of a value.
const VALUE_BYTES: usize = 64 << 10;
/// Keys of one `get-many`, entries of one `put`.
const MANY: usize = 100_000;
/// Entries of one `find`.
const FIND: usize = 1000;
/// Bytes of writes that wait for the engine. More than this in one call is refused.
const PENDING_BYTES: usize = 256 << 20;

/// Refuses every table: for stages without any, and for tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTables;

impl Tables for NoTables {
    fn get_many(&self, table: &str, _: &[&str]) -> Result<Vec<Option<Vec<u8>>>, stage::TableError> {
        Err(no_store(table))
    }

    fn find(
        &self,
        table: &str,
        _: &str,
        _: &str,
        _: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, stage::TableError> {
        Err(no_store(table))
    }
}

fn no_store(table: &str) -> stage::TableError {
    stage::TableError {
        table: table.to_owned(),
        message: "there is no store here".to_owned(),
    }
}

/// Writes since the engine last took them: in order for the engine, by key for reads. An empty value is a removal.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    list: Vec<TableWrite>,
    latest: BTreeMap<Arc<str>, BTreeMap<String, Vec<u8>>>,
    bytes: usize,
}

impl Writes {
    /// Hands them to the engine.
    pub(crate) fn take(&mut self) -> Vec<TableWrite> {
        self.latest.clear();
        self.bytes = 0;
        std::mem::take(&mut self.list)
    }

    fn put(&mut self, table: &str, entries: Vec<(String, Vec<u8>)>) {
        let name: Arc<str> = match self.latest.get_key_value(table) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(table),
        };
        let latest = self.latest.entry(Arc::clone(&name)).or_default();
        for (key, value) in entries {
            self.bytes += key.len() + value.len();
            latest.insert(key.clone(), value.clone());
            let value = Some(value).filter(|value| !value.is_empty());
            self.list.push(TableWrite {
                table: Arc::clone(&name),
                key,
                value,
            });
        }
    }

    fn get(&self, table: &str, key: &str) -> Option<&Vec<u8>> {
        self.latest.get(table)?.get(key)
    }
}

fn invalid(message: impl Into<String>) -> TableError {
    TableError::Invalid(message.into())
}

/// The items of a packed list.
fn unpack(packed: &Packed) -> Result<Vec<&[u8]>, TableError> {
    let mut start = 0_usize;
    let mut items = Vec::with_capacity(packed.ends.len());
    for (at, &end) in packed.ends.iter().enumerate() {
        let item = packed.data.get(start..end as usize).ok_or_else(|| {
            invalid(format!(
                "item {at} of the packed list ends at {end}, which is out of order or range"
            ))
        })?;
        items.push(item);
        start = end as usize;
    }
    if start == packed.data.len() {
        Ok(items)
    } else {
        Err(invalid(format!(
            "{} bytes follow the last item of the packed list",
            packed.data.len() - start
        )))
    }
}

fn pack<'a>(items: impl IntoIterator<Item = &'a [u8]>) -> Result<Packed, TableError> {
    let mut packed = Packed {
        ends: Vec::new(),
        data: Vec::new(),
    };
    for item in items {
        packed.data.extend_from_slice(item);
        let end = u32::try_from(packed.data.len()).map_err(|_| {
            invalid("the values are larger than 4 GiB together: ask for fewer keys")
        })?;
        packed.ends.push(end);
    }
    Ok(packed)
}

fn key(bytes: &[u8]) -> Result<&str, TableError> {
    if bytes.is_empty() || bytes.len() > KEY_BYTES {
        return Err(invalid(format!(
            "a key has {} bytes; 1 to {KEY_BYTES} are allowed",
            bytes.len()
        )));
    }
    std::str::from_utf8(bytes).map_err(|_| invalid("a key is not UTF-8"))
}

fn value(key: &str, bytes: &[u8]) -> Result<(), TableError> {
    if bytes.len() > VALUE_BYTES {
        let len = bytes.len();
        return Err(invalid(format!(
            "the value of `{key}` has {len} bytes; {VALUE_BYTES} are allowed"
        )));
    }
    if !bytes.is_empty()
        && let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(bytes)
    {
        return Err(invalid(format!("the value of `{key}` is no JSON: {error}")));
    }
    Ok(())
}

fn bounded(count: usize) -> Result<(), TableError> {
    if count > MANY {
        Err(invalid(format!(
            "{count} keys in one call; {MANY} are allowed"
        )))
    } else {
        Ok(())
    }
}

fn failed(error: &stage::TableError) -> TableError {
    TableError::Failed(error.message.clone())
}

/// The items of a list as they are recorded. One that is malformed has none.
fn blobs(packed: &Packed) -> Vec<Blob> {
    let items = unpack(packed).unwrap_or_default();
    items.into_iter().map(|item| Blob(item.to_vec())).collect()
}

fn refused(error: TableError) -> Given {
    match error {
        TableError::Denied(text) => Given::TableDenied(text),
        TableError::Invalid(text) => Given::TableInvalid(text),
        TableError::Failed(text) => Given::TableFailed(text),
    }
}

fn given(outcome: Result<Packed, TableError>) -> Given {
    match outcome {
        Ok(packed) => Given::Items(blobs(&packed)),
        Err(error) => refused(error),
    }
}

fn seen(given: Given) -> Result<Packed, TableError> {
    match given {
        Given::Items(items) => pack(items.iter().map(|item| item.0.as_slice())),
        Given::TableDenied(text) => Err(TableError::Denied(text)),
        Given::TableInvalid(text) => Err(TableError::Invalid(text)),
        Given::TableFailed(text) => Err(TableError::Failed(text)),
        Given::Done => pack([]),
        Given::Number(_) | Given::Answers(_) => Err(TableError::Failed(
            "the recording has no answer to this".to_owned(),
        )),
    }
}

impl State {
    fn granted(&self, table: &str) -> Result<(), TableError> {
        if self.scope.grants.table(table) {
            return Ok(());
        }
        let add = format!("`tables: [{table}]`");
        Err(TableError::Denied(self.scope.deny("table", table, &add)))
    }

    fn get(&self, table: &str, keys: &Packed) -> Result<Packed, TableError> {
        self.granted(table)?;
        let keys = unpack(keys)?
            .into_iter()
            .map(key)
            .collect::<Result<Vec<_>, _>>()?;
        bounded(keys.len())?;
        let own: Vec<_> = keys.iter().map(|key| self.writes.get(table, key)).collect();
        let asked: Vec<_> = keys
            .iter()
            .zip(&own)
            .filter(|(_, own)| own.is_none())
            .map(|(key, _)| *key)
            .collect();
        let stored = if asked.is_empty() {
            Vec::new()
        } else {
            self.scope
                .tables
                .get_many(table, &asked)
                .map_err(|error| failed(&error))?
        };
        if stored.len() != asked.len() {
            return Err(TableError::Failed(
                "the store answered another number of values".to_owned(),
            ));
        }
        let mut stored = stored.iter();
        pack(own.into_iter().map(|own| match own {
            Some(value) => value.as_slice(),
            None => stored.next().and_then(Option::as_deref).unwrap_or_default(),
        }))
    }

    /// Own writes are laid over pages of the store until enough entries are found or the store has no more.
    fn search(
        &self,
        table: &str,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Packed, TableError> {
        self.granted(table)?;
        if prefix.len() > KEY_BYTES || after.len() > KEY_BYTES {
            return Err(invalid(format!(
                "prefix and `after` may have up to {KEY_BYTES} bytes"
            )));
        }
        let limit = (limit as usize).min(FIND);
        let empty = BTreeMap::new();
        let own = self.writes.latest.get(table).unwrap_or(&empty);
        let mut found: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut position = after.to_owned();
        while found.len() < limit {
            let page = self
                .scope
                .tables
                .find(table, prefix, &position, limit)
                .map_err(|error| failed(&error))?;
            let end = page.len() < limit;
            // Own entries up to where this page ends; all of them behind the last page.
            let upto = page.last().map(|(key, _)| key.clone()).filter(|_| !end);
            let range = (
                Bound::Excluded(position.clone()),
                upto.clone().map_or(Bound::Unbounded, Bound::Included),
            );
            let mut merged: BTreeMap<String, Vec<u8>> = page.into_iter().collect();
            let mine = own.range(range).filter(|(key, _)| key.starts_with(prefix));
            merged.extend(mine.map(|(key, value)| (key.clone(), value.clone())));
            merged.retain(|_, value| !value.is_empty());
            found.append(&mut merged);
            match upto {
                Some(last) => position = last,
                None => break,
            }
        }
        pack(
            found
                .iter()
                .take(limit)
                .flat_map(|(key, value)| [key.as_bytes(), value.as_slice()]),
        )
    }

    fn store(&mut self, table: &str, entries: &Packed) -> Result<(), TableError> {
        self.granted(table)?;
        let items = unpack(entries)?;
        if !items.len().is_multiple_of(2) {
            return Err(invalid(
                "keys and values must alternate, but the number of items is odd",
            ));
        }
        bounded(items.len() / 2)?;
        if self.writes.bytes + entries.data.len() > PENDING_BYTES {
            return Err(invalid(format!(
                "more than {PENDING_BYTES} bytes of writes in one call"
            )));
        }
        let mut checked = Vec::with_capacity(items.len() / 2);
        for pair in items.chunks_exact(2) {
            if let [name, text] = *pair {
                let name = key(name)?;
                value(name, text)?;
                checked.push((name.to_owned(), text.to_vec()));
            }
        }
        self.writes.put(table, checked);
        Ok(())
    }
}

impl tables::Host for State {
    fn get_many(
        &mut self,
        table: String,
        keys: Packed,
    ) -> wasmtime::Result<Result<Packed, TableError>> {
        Ok(self.asked(
            || Import::GetMany {
                table: table.clone(),
                keys: blobs(&keys),
            },
            |state| state.get(&table, &keys),
            given,
            seen,
        ))
    }

    fn find(
        &mut self,
        table: String,
        prefix: String,
        after: String,
        limit: u32,
    ) -> wasmtime::Result<Result<Packed, TableError>> {
        Ok(self.asked(
            || Import::Find {
                table: table.clone(),
                prefix: prefix.clone(),
                after: after.clone(),
                limit,
            },
            |state| state.search(&table, &prefix, &after, limit),
            given,
            seen,
        ))
    }

    fn put(&mut self, table: String, entries: Packed) -> wasmtime::Result<Result<(), TableError>> {
        Ok(self.told(
            || Import::Put {
                table: table.clone(),
                entries: blobs(&entries),
            },
            |state| state.store(&table, &entries),
            |outcome| match outcome {
                Ok(()) => Given::Done,
                Err(error) => refused(error),
            },
            |given| match seen(given) {
                Err(error) => Err(error),
                Ok(_) => Ok(()),
            },
        ))
    }
}
