//! Which rows of a spool go into the file: the last one of each key.
//!
//! Bounded memory: 8 bytes for each row, a hash of its key. Keys themselves are kept only for those that occur more than
//! once, so a clash of hashes cannot lose a row.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::io;

use crate::row::Row;
use crate::spool::Spool;

/// A set of keys as sorted hashes. Right in all but one of 10^19 questions a key.
#[derive(Debug, Default, Clone)]
pub(crate) struct Keys(Vec<u64>);

impl Keys {
    /// Whether the key is in the set.
    pub(crate) fn contains(&self, key: &str) -> bool {
        self.0.binary_search(&hash(key)).is_ok()
    }

    /// Whether there is none at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What is known of a spool after its first reading.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// All keys.
    pub(crate) keys: Keys,
    /// Keys that occur more than once, and how often.
    repeated: HashMap<String, u32>,
    /// Rows that go into the file.
    pub(crate) rows: u64,
    /// The largest number of pairs without locale of those rows.
    pub(crate) plain_pairs: u32,
    /// The largest number of localised pairs of those rows.
    pub(crate) localised_pairs: u32,
}

/// The same hash in every process.
pub(crate) fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key.as_bytes());
    hasher.finish()
}

/// Reads a spool for the first time.
pub(crate) fn survey(spool: &mut Spool) -> io::Result<Survey> {
    let mut survey = Survey::default();
    let mut hashes = Vec::new();
    let mut row = Row::default();
    let mut rows = spool.rows()?;
    while rows.next_key(&mut row)? {
        hashes.push(hash(&row.key));
        survey.widen(&row);
    }
    hashes.sort_unstable();
    let mut suspects: Vec<u64> = hashes
        .windows(2)
        .filter(|pair| pair.first() == pair.last())
        .filter_map(|pair| pair.first().copied())
        .collect();
    suspects.dedup();
    hashes.dedup();
    survey.keys = Keys(hashes);
    if !suspects.is_empty() {
        survey.count_repeated(spool, &suspects)?;
    }
    Ok(survey)
}

impl Survey {
    fn widen(&mut self, row: &Row) {
        self.rows += 1;
        self.plain_pairs = self.plain_pairs.max(row.plain_pairs);
        self.localised_pairs = self.localised_pairs.max(row.localised_pairs);
    }

    /// Looks closer at keys whose hash occurs more than once, and counts again without the rows that are replaced.
    fn count_repeated(&mut self, spool: &mut Spool, suspects: &[u64]) -> io::Result<()> {
        let mut row = Row::default();
        let mut rows = spool.rows()?;
        while rows.next_key(&mut row)? {
            if suspects.binary_search(&hash(&row.key)).is_ok() {
                *self.repeated.entry(row.key.clone()).or_default() += 1;
            }
        }
        self.repeated.retain(|_, count| *count > 1);
        (self.rows, self.plain_pairs, self.localised_pairs) = (0, 0, 0);
        let mut survivors = self.survivors();
        let mut rows = spool.rows()?;
        while rows.next_key(&mut row)? {
            if survivors.keeps(&row.key) {
                self.widen(&row);
            }
        }
        Ok(())
    }

    /// Rows that were replaced by a later one with the same key.
    pub(crate) fn replaced(&self) -> u64 {
        self.repeated
            .values()
            .map(|count| u64::from(*count) - 1)
            .sum()
    }

    /// Judges the rows of another reading, in order.
    pub(crate) fn survivors(&self) -> Survivors {
        Survivors {
            left: self.repeated.clone(),
        }
    }
}

/// Says of each row, in order, whether it is the last one of its key.
#[derive(Debug)]
pub(crate) struct Survivors {
    left: HashMap<String, u32>,
}

impl Survivors {
    /// Whether this row goes into the file.
    pub(crate) fn keeps(&mut self, key: &str) -> bool {
        if self.left.is_empty() {
            return true;
        }
        match self.left.get_mut(key) {
            Some(count) => {
                *count -= 1;
                *count == 0
            }
            None => true,
        }
    }
}
