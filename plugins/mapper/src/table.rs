//! Tables during a batch: what was read and written, and what still has to be fetched.

use bumpalo::Bump;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use crate::node::Node;
use crate::syntax::{Content, Table};

/// Keys of tables are limited by the contract.
const MAX_KEY: usize = 512;
/// Values of tables are limited by the contract.
const MAX_VALUE: usize = 64 * 1024;

/// The tables of the host, by their real names.
pub(crate) trait Lookup {
    type Error;
    /// Values by key, in the order of the keys.
    fn get_many(&mut self, table: &str, keys: &[&str])
    -> Result<Vec<Option<Vec<u8>>>, Self::Error>;
    /// Stores entries; `None` removes one.
    fn write(&mut self, table: &str, entries: &[(&str, Option<&str>)]) -> Result<(), Self::Error>;
}

/// A write that takes effect when its record does.
#[derive(Clone, Debug)]
pub(crate) struct Put<'a> {
    pub(crate) table: usize,
    pub(crate) key: &'a str,
    /// `None` removes the entry.
    pub(crate) value: Option<&'a str>,
}

/// What a lookup found.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    Entry(Node<'a>),
    Nothing,
    /// The key has not been fetched yet.
    Unknown,
}

/// The tables of a mapping during one batch.
#[derive(Debug)]
pub(crate) struct Tables<'a> {
    declared: &'a [Table],
    bump: &'a Bump,
    known: RefCell<HashMap<(usize, &'a str), Option<&'a str>>>,
    wanted: RefCell<HashSet<(usize, &'a str)>>,
    written: Vec<(usize, &'a str)>,
}

impl<'a> Tables<'a> {
    pub(crate) fn new(tables: &'a [Table], bump: &'a Bump) -> Self {
        Self {
            declared: tables,
            bump,
            known: RefCell::default(),
            wanted: RefCell::default(),
            written: Vec::new(),
        }
    }

    /// The key of an entry as the table stores it.
    pub(crate) fn key(&self, table: usize, key: &'a str) -> Result<&'a str, String> {
        if key.is_empty() || key.len() > MAX_KEY {
            return Err(format!(
                "a key has 1 to {MAX_KEY} bytes, this one has {}",
                key.len()
            ));
        }
        let fold = self
            .declared
            .get(table)
            .is_some_and(|table| table.fold_case);
        Ok(if fold && key.chars().any(char::is_uppercase) {
            self.bump.alloc_str(&key.to_lowercase())
        } else {
            key
        })
    }

    /// Looks an entry up: in what this record wrote, in what records before it wrote, in what was fetched.
    pub(crate) fn find(
        &self,
        table: usize,
        key: &'a str,
        own: &[Put<'a>],
    ) -> Result<Found<'a>, String> {
        let Some(definition) = self.declared.get(table) else {
            return Ok(Found::Nothing);
        };
        let text = match &definition.content {
            Content::Fixed(entries) => entries.get(key).map(String::as_str),
            Content::Host(_) => {
                let mine = own
                    .iter()
                    .rev()
                    .find(|put| put.table == table && put.key == key);
                match (mine, self.known.borrow().get(&(table, key))) {
                    (Some(put), _) => put.value,
                    (None, Some(value)) => *value,
                    (None, None) => {
                        self.wanted.borrow_mut().insert((table, key));
                        return Ok(Found::Unknown);
                    }
                }
            }
        };
        text.map_or(Ok(Found::Nothing), |text| {
            let node = Node::parse(text, self.bump);
            node.map(Found::Entry).map_err(|_| {
                format!(
                    "the entry `{key}` of table `{}` is not JSON",
                    definition.alias
                )
            })
        })
    }

    /// What a put stores.
    pub(crate) fn value(&self, node: &Node<'a>) -> Result<&'a str, String> {
        let json = node.to_json();
        if json.len() > MAX_VALUE {
            return Err(format!(
                "an entry of a table has up to {MAX_VALUE} bytes, this one has {}",
                json.len()
            ));
        }
        Ok(self.bump.alloc_str(&json))
    }

    /// Makes the writes of a record visible to the records after it.
    pub(crate) fn commit(&mut self, puts: Vec<Put<'a>>) {
        let known = self.known.get_mut();
        for put in puts {
            known.insert((put.table, put.key), put.value);
            self.written.push((put.table, put.key));
        }
    }

    /// Fetches everything that was missing: one call for each table.
    pub(crate) fn fetch<L: Lookup>(&mut self, lookup: &mut L) -> Result<(), L::Error> {
        let wanted = std::mem::take(self.wanted.get_mut());
        let known = self.known.get_mut();
        for (index, table) in self.declared.iter().enumerate() {
            let Content::Host(name) = &table.content else {
                continue;
            };
            let mut keys: Vec<&'a str> = wanted
                .iter()
                .filter(|(table, _)| *table == index)
                .map(|(_, key)| *key)
                .collect();
            if keys.is_empty() {
                continue;
            }
            keys.sort_unstable();
            let values = lookup.get_many(name, &keys)?;
            let mut values = values.into_iter();
            for key in keys {
                let value = values.next().flatten().map(|bytes| -> &'a str {
                    self.bump.alloc_str(&String::from_utf8_lossy(&bytes))
                });
                known.entry((index, key)).or_insert(value);
            }
        }
        Ok(())
    }

    /// Hands all writes of the batch to the host: one call for each table, the last value of each key.
    pub(crate) fn flush<L: Lookup>(mut self, lookup: &mut L) -> Result<(), L::Error> {
        let known = self.known.get_mut();
        for (index, table) in self.declared.iter().enumerate() {
            let Content::Host(name) = &table.content else {
                continue;
            };
            let mut seen = HashSet::new();
            let entries: Vec<(&str, Option<&str>)> = self
                .written
                .iter()
                .filter(|(table, key)| *table == index && seen.insert(*key))
                .map(|(table, key)| (*key, known.get(&(*table, *key)).copied().flatten()))
                .collect();
            if !entries.is_empty() {
                lookup.write(name, &entries)?;
            }
        }
        Ok(())
    }
}
