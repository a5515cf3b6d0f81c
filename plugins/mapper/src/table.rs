//! Tables during a batch: what was read and written.

use bumpalo::Bump;
use crossdock_sdk::Fault;
use crossdock_sdk::bytes::{same, text};
use foldhash::fast::RandomState;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use crate::node::Node;
use crate::syntax::{Content, Table};

/// Keys of tables are limited by the contract.
const MAX_KEY: usize = 512;
/// Values of tables are limited by the contract.
const MAX_VALUE: usize = 64 * 1024;

/// The tables of the host, by their real names.
pub(crate) trait Store {
    /// The value of a key.
    fn get(&mut self, table: &str, key: &str) -> Result<Option<Vec<u8>>, Fault>;
    /// Stores entries; `None` removes one.
    fn write(&mut self, table: &str, entries: &[(&str, Option<&str>)]) -> Result<(), Fault>;
}

/// A write that takes effect when its record does.
#[derive(Clone, Debug)]
pub(crate) struct Put<'a> {
    pub(crate) table: usize,
    pub(crate) key: &'a str,
    /// `None` removes the entry.
    pub(crate) value: Option<&'a str>,
}

/// The tables of a mapping during one batch. An entry is asked for when a rule looks it up, and once.
pub(crate) struct Tables<'a> {
    declared: &'a [Table],
    bump: &'a Bump,
    store: RefCell<&'a mut dyn Store>,
    /// Their keys are short and looked up often: the standard hash costs more than what is done with them. Somebody who
    /// makes keys that collide slows down the batch that they are in, which has its limit of time.
    known: RefCell<HashMap<(usize, &'a str), Option<&'a str>, RandomState>>,
    written: Vec<(usize, &'a str)>,
    /// Why the host did not answer: no fault of a record, but of the batch.
    failed: RefCell<Option<Fault>>,
}

/// Whether one of these bytes is such a one. Sixteen are looked at in one turn of the loop, and fewer without one.
fn any(bytes: &[u8], is_one: impl Fn(&u8) -> bool) -> bool {
    let all = |bytes: &[u8]| bytes.iter().fold(false, |found, byte| found | is_one(byte));
    if let Some(last) = bytes.last_chunk::<16>() {
        return bytes.as_chunks::<16>().0.iter().any(|block| all(block)) || all(last);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        return all(first) | all(last);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return all(first) | all(last);
    }
    [bytes.first(), bytes.get(1), bytes.last()]
        .iter()
        .any(|byte| byte.is_some_and(&is_one))
}

impl<'a> Tables<'a> {
    pub(crate) fn new(tables: &'a [Table], store: &'a mut dyn Store, bump: &'a Bump) -> Self {
        Self {
            declared: tables,
            bump,
            store: RefCell::new(store),
            known: RefCell::default(),
            written: Vec::new(),
            failed: RefCell::default(),
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
        // Seen at once for most keys, which are ASCII.
        let may_change = |byte: &u8| byte.is_ascii_uppercase() | !byte.is_ascii();
        let candidate = fold && any(key.as_bytes(), may_change);
        Ok(if candidate && key.chars().any(char::is_uppercase) {
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
    ) -> Result<Option<Node<'a>>, String> {
        let Some(definition) = self.declared.get(table) else {
            return Ok(None);
        };
        let text = match &definition.content {
            Content::Fixed(entries) => entries.get(key).map(String::as_str),
            Content::Host(name) => {
                let mine = own
                    .iter()
                    .rev()
                    .find(|put| put.table == table && same(put.key.as_bytes(), key.as_bytes()));
                match mine {
                    Some(put) => put.value,
                    None => self.get(table, name, key)?,
                }
            }
        };
        text.map_or(Ok(None), |text| {
            let node = Node::parse(text, self.bump);
            node.map(Some).map_err(|_| {
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

    /// An entry of a table of the host, as this batch knows it or the host has it.
    fn get(&self, table: usize, name: &str, key: &'a str) -> Result<Option<&'a str>, String> {
        if let Some(value) = self.known.borrow().get(&(table, key)) {
            return Ok(*value);
        }
        let value = match self.store.borrow_mut().get(name, key) {
            Ok(value) => value,
            Err(fault) => {
                *self.failed.borrow_mut() = Some(fault);
                return Err(format!("table `{name}` gave no answer"));
            }
        };
        let value = value.map(|bytes| -> &'a str {
            match text(&bytes) {
                Some(text) => self.bump.alloc_str(text),
                None => self.bump.alloc_str(&String::from_utf8_lossy(&bytes)),
            }
        });
        self.known.borrow_mut().insert((table, key), value);
        Ok(value)
    }

    /// Fails when the host did not answer.
    pub(crate) fn check(&mut self) -> Result<(), Fault> {
        self.failed.get_mut().take().map_or(Ok(()), Err)
    }

    /// Hands all writes of the batch to the host: one call for each table, the last value of each key.
    pub(crate) fn flush(mut self) -> Result<(), Fault> {
        let known = self.known.get_mut();
        for (index, table) in self.declared.iter().enumerate() {
            let Content::Host(name) = &table.content else {
                continue;
            };
            let mut seen = HashSet::with_hasher(RandomState::default());
            let entries: Vec<(&str, Option<&str>)> = self
                .written
                .iter()
                .filter(|(table, key)| *table == index && seen.insert(*key))
                .map(|(table, key)| (*key, known.get(&(*table, *key)).copied().flatten()))
                .collect();
            if !entries.is_empty() {
                self.store.get_mut().write(name, &entries)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts, and fails for one key.
    struct Counting(usize);

    impl Store for Counting {
        fn get(&mut self, _: &str, key: &str) -> Result<Option<Vec<u8>>, Fault> {
            self.0 += 1;
            match key {
                "bad" => Err(Fault::transient("the disk is gone")),
                "none" => Ok(None),
                _ => Ok(Some(b"1".to_vec())),
            }
        }

        fn write(&mut self, _: &str, _: &[(&str, Option<&str>)]) -> Result<(), Fault> {
            Ok(())
        }
    }

    #[test]
    fn an_entry_is_asked_for_once_and_a_failure_is_kept() {
        let declared = [Table {
            alias: "t".into(),
            fold_case: false,
            content: Content::Host("t".into()),
        }];
        let (bump, mut store) = (Bump::new(), Counting(0));
        let mut tables = Tables::new(&declared, &mut store, &bump);
        for _ in 0..3 {
            assert!(tables.find(0, "one", &[]).unwrap().is_some());
            assert!(tables.find(0, "none", &[]).unwrap().is_none());
        }
        assert!(tables.check().is_ok());
        assert!(tables.find(0, "bad", &[]).is_err());
        assert!(tables.check().is_err());
        drop(tables);
        assert_eq!(store.0, 3);
    }

    #[test]
    fn any_byte_of_a_key_is_seen() {
        for length in 0..40 {
            for at in 0..length {
                let mut key = vec![b'a'; length];
                assert!(!any(&key, u8::is_ascii_uppercase));
                key[at] = b'A';
                assert!(any(&key, u8::is_ascii_uppercase), "{at} of {length}");
            }
        }
    }
}
