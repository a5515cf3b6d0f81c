//! `tables`: keyed maps. Reads see the writes of the running call first, then the store through the engine.

use std::{borrow::Cow, collections::BTreeMap, ops::Bound, sync::Arc};

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
use crate::engine::{
    overlay::{Ask, lay_over},
    stage::{self, TableWrite, Tables},
};

/// Bytes of a key.
const KEY_BYTES: usize = 512;
/// Bytes of a value.
const VALUE_BYTES: usize = 64 << 10;
/// Keys of one `get-many`, entries of one `put`.
const MANY: usize = 100_000;
/// Entries of one `find`.
const FIND: usize = 1000;
/// What an entry that waits for the engine takes beside its key, which is kept twice, and its value.
const ENTRY_BYTES: usize = 192;
/// Keys that the store is asked for at a time, at least and at most.
const KEYS: (usize, usize) = (16, 1024);
/// Keys, entries and bytes of one call from which on it leaves the thread to other tasks.
const LONG: (usize, usize) = (1000, 1 << 20);

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

/// Writes since the engine last took them: in order for the engine, by key for reads.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    list: Vec<TableWrite>,
    /// Where in the list the last write of a key is.
    latest: BTreeMap<Arc<str>, BTreeMap<String, usize>>,
    bytes: usize,
}

impl Writes {
    /// Hands them to the engine.
    pub(crate) fn take(&mut self) -> Vec<TableWrite> {
        self.latest.clear();
        self.bytes = 0;
        std::mem::take(&mut self.list)
    }

    /// What an entry takes in memory.
    fn weight(key: &[u8], value: &[u8]) -> usize {
        2 * key.len() + value.len() + ENTRY_BYTES
    }

    fn put(&mut self, table: &str, entries: Vec<(String, Vec<u8>)>) {
        let name: Arc<str> = match self.latest.get_key_value(table) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(table),
        };
        let latest = self.latest.entry(Arc::clone(&name)).or_default();
        for (key, value) in entries {
            self.bytes += Self::weight(key.as_bytes(), &value);
            latest.insert(key.clone(), self.list.len());
            let value = Some(value).filter(|value| !value.is_empty());
            self.list.push(TableWrite {
                table: Arc::clone(&name),
                key,
                value,
            });
        }
    }

    /// The value that was written last; empty when the entry was removed. `None`: it was not written.
    fn get(&self, table: &str, key: &str) -> Option<&[u8]> {
        let at = *self.latest.get(table)?.get(key)?;
        Some(self.value(at).unwrap_or_default())
    }

    fn value(&self, at: usize) -> Option<&[u8]> {
        self.list.get(at)?.value.as_deref()
    }

    /// What was written to keys of this prefix behind another one, in order.
    fn range<'a>(
        &'a self,
        table: &str,
        prefix: &'a str,
        after: &'a str,
    ) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> {
        let from = if after > prefix {
            Bound::Excluded(after)
        } else {
            Bound::Included(prefix)
        };
        let entries = self.latest.get(table).into_iter();
        entries
            .flat_map(move |entries| entries.range::<str, _>((from, Bound::Unbounded)))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .filter(move |(key, _)| key.as_str() > after)
            .map(|(key, &at)| (key.as_str(), self.value(at)))
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

/// A packed list under construction, of no more bytes than it may have.
struct Answer {
    packed: Packed,
    most: usize,
}

impl Answer {
    fn new(most: usize) -> Self {
        Self {
            packed: Packed {
                ends: Vec::new(),
                data: Vec::new(),
            },
            most: most.min(u32::MAX as usize),
        }
    }

    /// Bytes that there is room for.
    fn room(&self) -> usize {
        let taken = self.packed.data.len() + 4 * self.packed.ends.len();
        self.most.saturating_sub(taken)
    }

    fn push(&mut self, item: &[u8]) -> Result<(), TableError> {
        if item.len() + 4 > self.room() {
            return Err(invalid(format!(
                "the answer has more than the {} bytes of the stage's output limit: ask for less at a time",
                self.most
            )));
        }
        self.packed.data.extend_from_slice(item);
        // It has no more than `most` bytes, which are no more than 4 GiB.
        self.packed
            .ends
            .push(u32::try_from(self.packed.data.len()).unwrap_or(u32::MAX));
        Ok(())
    }
}

/// A list that was recorded.
fn pack<'a>(items: impl IntoIterator<Item = &'a [u8]>) -> Result<Packed, TableError> {
    let mut answer = Answer::new(usize::MAX);
    for item in items {
        answer.push(item)?;
    }
    Ok(answer.packed)
}

/// Runs what may take some milliseconds, so that the other tasks of the thread go on elsewhere.
fn aside<T>(count: usize, bytes: usize, work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    let has_others = || {
        Handle::try_current()
            .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
    };
    if (count > LONG.0 || bytes > LONG.1) && has_others() {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
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
        bounded(keys.ends.len())?;
        let keys = unpack(keys)?
            .into_iter()
            .map(key)
            .collect::<Result<Vec<_>, _>>()?;
        let mut answer = Answer::new(self.scope.limits.output);
        answer.packed.ends.reserve(keys.len());
        let mut keys = keys.as_slice();
        while !keys.is_empty() {
            // As many as there is room for should all of them have the largest value, so that the store never gives
            // much more than the plugin gets.
            let most = (answer.room() / VALUE_BYTES).clamp(KEYS.0, KEYS.1);
            let (some, rest) = keys.split_at(most.min(keys.len()));
            self.get_some(table, some, &mut answer)?;
            keys = rest;
        }
        Ok(answer.packed)
    }

    fn get_some(&self, table: &str, keys: &[&str], answer: &mut Answer) -> Result<(), TableError> {
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
        own.into_iter().try_for_each(|own| {
            answer.push(match own {
                Some(value) => value,
                None => stored.next().and_then(Option::as_deref).unwrap_or_default(),
            })
        })
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
        let mut answer = Answer::new(self.scope.limits.output);
        let ask = Ask {
            after,
            limit: (limit as usize).min(FIND),
            page: (answer.room() / VALUE_BYTES).clamp(KEYS.0, FIND),
        };
        let page_of = |position: &str, limit: usize| {
            let page = self.scope.tables.find(table, prefix, position, limit);
            page.map_err(|error| failed(&error))
        };
        let give = |key: &str, value: Cow<'_, [u8]>| {
            answer.push(key.as_bytes())?;
            answer.push(&value)
        };
        lay_over(self.writes.range(table, prefix, after), &ask, page_of, give)?;
        Ok(answer.packed)
    }

    fn store(&mut self, table: &str, entries: &Packed) -> Result<(), TableError> {
        self.granted(table)?;
        bounded(entries.ends.len().div_ceil(2))?;
        let items = unpack(entries)?;
        if !items.len().is_multiple_of(2) {
            return Err(invalid(
                "keys and values must alternate, but the number of items is odd",
            ));
        }
        let most = self.scope.limits.output;
        let mut bytes = self.writes.bytes;
        let mut checked = Vec::with_capacity(items.len() / 2);
        for pair in items.chunks_exact(2) {
            if let [name, text] = *pair {
                bytes += Writes::weight(name, text);
                if bytes > most {
                    return Err(invalid(format!(
                        "more than the {most} bytes of the stage's output limit are written in one call, where an entry \
                         counts its key twice, its value and {ENTRY_BYTES} more"
                    )));
                }
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
            |state| {
                aside(keys.ends.len(), keys.data.len(), || {
                    state.get(&table, &keys)
                })
            },
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
            |state| {
                let count = state.writes.list.len().saturating_add(limit as usize);
                aside(count, 0, || state.search(&table, &prefix, &after, limit))
            },
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
            |state| {
                aside(entries.ends.len(), entries.data.len(), || {
                    state.store(&table, &entries)
                })
            },
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
