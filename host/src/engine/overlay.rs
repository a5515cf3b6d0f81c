//! Tables as the running epochs see them: what was written since the last checkpoint, over the store.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, PoisonError, RwLock},
};

use super::stage::{TableError, TableWrite, Tables};
use crate::storage::Journal;

/// Writes that are not durable yet, over the journal's tables.
pub struct Overlay {
    journal: Arc<dyn Journal>,
    pending: RwLock<BTreeMap<(Arc<str>, String), Pending>>,
}

struct Pending {
    epoch: u64,
    value: Option<Vec<u8>>,
}

impl Overlay {
    /// Starts without pending writes.
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        Self {
            journal,
            pending: RwLock::default(),
        }
    }

    /// Makes the writes of a successful call visible to later reads of the run.
    pub fn add(&self, epoch: u64, writes: &[TableWrite]) {
        let mut pending = self.pending.write().unwrap_or_else(PoisonError::into_inner);
        for write in writes {
            pending.insert(
                (Arc::clone(&write.table), write.key.clone()),
                Pending {
                    epoch,
                    value: write.value.clone(),
                },
            );
        }
    }

    /// Forgets what is durable: writes of this epoch and of earlier ones.
    pub fn durable(&self, epoch: u64) {
        let mut pending = self.pending.write().unwrap_or_else(PoisonError::into_inner);
        pending.retain(|_, entry| entry.epoch > epoch);
    }

    /// Forgets everything that is not durable: the run is wound back.
    pub fn clear(&self) {
        self.pending
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

impl Tables for Overlay {
    fn get_many(&self, table: &str, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>, TableError> {
        let name: Arc<str> = table.into();
        let mut found = vec![None; keys.len()];
        let mut missing = Vec::new();
        {
            let pending = self.pending.read().unwrap_or_else(PoisonError::into_inner);
            for (at, key) in keys.iter().enumerate() {
                match pending.get(&(Arc::clone(&name), (*key).to_owned())) {
                    Some(entry) => {
                        if let Some(slot) = found.get_mut(at) {
                            slot.clone_from(&entry.value);
                        }
                    }
                    None => missing.push((at, *key)),
                }
            }
        }
        // Between the two reads an entry can only move from pending into the store, where the second read finds it:
        // `durable` is called after the commit.
        let keys: Vec<&str> = missing.iter().map(|(_, key)| *key).collect();
        let stored = self
            .journal
            .table_get_many(table, &keys)
            .map_err(|e| failed(table, &e))?;
        for ((at, _), value) in missing.iter().zip(stored) {
            if let Some(slot) = found.get_mut(*at) {
                *slot = value;
            }
        }
        Ok(found)
    }

    fn find(
        &self,
        table: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, TableError> {
        let name: Arc<str> = table.into();
        let from = if after > prefix {
            Bound::Excluded((Arc::clone(&name), after.to_owned()))
        } else {
            Bound::Included((Arc::clone(&name), prefix.to_owned()))
        };
        // It is held until the store has answered: an entry that becomes durable meanwhile would be in neither.
        let pending = self.pending.read().unwrap_or_else(PoisonError::into_inner);
        let changes = pending
            .range((from, Bound::Unbounded))
            .take_while(|((table, key), _)| *table == name && key.starts_with(prefix))
            .filter(|((_, key), _)| key.as_str() > after)
            .map(|((_, key), entry)| (key.as_str(), entry.value.as_deref()));
        let mut found = Vec::new();
        let ask = Ask {
            after,
            limit,
            page: limit.max(PAGE),
        };
        lay_over(
            changes,
            &ask,
            |position, limit| self.journal.table_find(table, prefix, position, limit),
            |key, value| {
                found.push((key.to_owned(), value.into_owned()));
                Ok(())
            },
        )
        .map_err(|error| failed(table, &error))?;
        Ok(found)
    }
}

/// Most entries of one page that is asked of a store when fewer are wanted, since changes hide the others.
const PAGE: usize = 256;

/// What is looked for.
pub(crate) struct Ask<'a> {
    /// Entries behind this key.
    pub(crate) after: &'a str,
    /// So many.
    pub(crate) limit: usize,
    /// Most that the store is asked for at a time.
    pub(crate) page: usize,
}

/// Lays changes that the store does not have over what it has, and gives the entries in order. The changes are in order
/// too, all of them behind `after` and with the prefix that the pages have; `None` is a removal.
///
/// Only what is given is held, and one page: whoever has a hundred thousand changes and asks for one entry gets one.
pub(crate) fn lay_over<'a, E>(
    changes: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
    ask: &Ask<'_>,
    mut page_of: impl FnMut(&str, usize) -> Result<Vec<(String, Vec<u8>)>, E>,
    mut give: impl FnMut(&str, Cow<'_, [u8]>) -> Result<(), E>,
) -> Result<(), E> {
    let most = ask.page.max(1);
    let mut changes = changes.peekable();
    let mut size = ask.limit.clamp(1, most);
    let mut position = ask.after.to_owned();
    let mut left = ask.limit;
    while left > 0 {
        let page = page_of(&position, size)?;
        // Changes up to where this page ends belong to it, to the last page all that are left.
        let upto = page
            .last()
            .map(|(key, _)| key.clone())
            .filter(|last| page.len() >= size && *last > position);
        let mut stored = page.into_iter().peekable();
        while left > 0 {
            let change = changes
                .peek()
                .filter(|(key, _)| upto.as_deref().is_none_or(|upto| *key <= upto))
                .copied();
            if let Some((key, value)) = change
                && stored
                    .peek()
                    .is_none_or(|(stored, _)| key <= stored.as_str())
            {
                stored.next_if(|(stored, _)| stored == key);
                changes.next();
                if let Some(value) = value {
                    give(key, Cow::Borrowed(value))?;
                    left -= 1;
                }
            } else if let Some((key, value)) = stored.next() {
                give(&key, Cow::Owned(value))?;
                left -= 1;
            } else {
                break;
            }
        }
        match upto {
            Some(last) => position = last,
            None => break,
        }
        size = size.saturating_mul(2).min(most);
    }
    Ok(())
}

fn failed(table: &str, error: &crate::storage::StorageError) -> TableError {
    TableError {
        table: table.to_owned(),
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Entries = Vec<(String, Vec<u8>)>;

    fn entries(keys: impl IntoIterator<Item = usize>) -> Entries {
        let entry = |key: usize| (format!("{key:04}"), b"stored".to_vec());
        keys.into_iter().map(entry).collect()
    }

    /// What is found, and how many entries the store was asked for.
    fn find(stored: &Entries, changes: &[(&str, Option<&[u8]>)], limit: usize) -> (Entries, usize) {
        let (mut found, mut asked) = (Entries::new(), 0);
        let ask = Ask {
            after: "",
            limit,
            page: 8,
        };
        let done: Result<(), ()> = lay_over(
            changes.iter().copied(),
            &ask,
            |after, limit| {
                asked += limit;
                let behind = stored.iter().filter(|(key, _)| key.as_str() > after);
                Ok(behind.take(limit).cloned().collect())
            },
            |key, value| {
                found.push((key.to_owned(), value.into_owned()));
                Ok(())
            },
        );
        done.unwrap();
        (found, asked)
    }

    #[test]
    fn changes_lie_over_the_store_in_order() {
        let stored = entries([1, 3, 5, 7, 9]);
        let changes: [(&str, Option<&[u8]>); 4] = [
            ("0000", Some(b"new")),
            ("0003", None),
            ("0005", Some(b"changed")),
            ("0011", Some(b"new")),
        ];
        let all = ["0000", "0001", "0005", "0007", "0009", "0011"];
        for limit in 0..10 {
            let (found, _) = find(&stored, &changes, limit);
            let keys: Vec<_> = found.iter().map(|(key, _)| key.as_str()).collect();
            assert_eq!(keys, all[..limit.min(all.len())], "limit {limit}");
            let changed = found.iter().find(|(key, _)| key == "0005");
            assert!(changed.is_none_or(|(_, value)| value == b"changed"));
        }
    }

    #[test]
    fn the_store_is_asked_for_little_more_than_is_wanted() {
        let stored = entries(0..1000);
        assert_eq!(find(&stored, &[], 1), (entries([0]), 1));
        let names: Vec<String> = (0..500).map(|key| format!("{key:04}")).collect();
        let gone: Vec<_> = names.iter().map(|name| (name.as_str(), None)).collect();
        let (found, asked) = find(&stored, &gone, 1);
        assert_eq!(found, entries([500]));
        assert!(asked < 520, "{asked}");
    }
}
