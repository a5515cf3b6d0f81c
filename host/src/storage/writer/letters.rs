//! Dead letters in a write: their index, their retention, what a person changes of them.

use super::{
    super::{DeadLetter, DeadLetterEdit, Retention, StorageError, dead_letter},
    Stage, damaged, key, to_json,
};

/// One write drops at most about this many dead letters that are over their flow's retention, or else twice the bytes
/// that it adds: so what is added never outruns what is dropped.
const MAX_EXPIRED: usize = 1_000;

impl Stage<'_, '_> {
    /// Writes a dead letter under its id, in the place of the one that is there.
    pub(super) fn put_dead_letter(&mut self, letter: &DeadLetter) -> Result<(), StorageError> {
        let (id, weight) = (letter.id, letter.weight());
        let what = || format!("dead letter {id}");
        self.put(key::dead_letter(id), &to_json(letter, what)?)?;
        self.changes.insert(
            key::dead_letter_of_flow(&letter.flow, id),
            Some(key::dead_letter_note(letter.at_ms, weight)),
        );
        self.gained.entry(letter.flow.clone()).or_default().0 += weight;
        Ok(())
    }

    /// The dead letter as it will be after everything prepared so far.
    fn find_dead_letter(&self, id: u64) -> Result<Option<DeadLetter>, StorageError> {
        let key = key::dead_letter(id);
        let Some(stored) = self.stored(&key)? else {
            return Ok(None);
        };
        let json = self.group.shelf.resolve(&key, stored)?.unwrap_or_default();
        dead_letter::parse(id, &json).map(Some)
    }

    pub(super) fn remove_dead_letters(&mut self, ids: &[u64]) -> Result<u64, StorageError> {
        let mut removed = 0;
        for &id in ids {
            if let Some(letter) = self.find_dead_letter(id)? {
                let weight = self.noted(&letter)?;
                self.remove_dead_letter(&letter.flow, id, weight)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// What a stored dead letter was counted with.
    fn noted(&self, letter: &DeadLetter) -> Result<u64, StorageError> {
        let note = self.stored(&key::dead_letter_of_flow(&letter.flow, letter.id))?;
        let noted = note.and_then(|note| key::note_of_dead_letter(&note));
        Ok(noted.map_or_else(|| letter.weight(), |(_, weight)| weight))
    }

    fn remove_dead_letter(&mut self, flow: &str, id: u64, weight: u64) -> Result<(), StorageError> {
        self.remove(key::dead_letter(id))?;
        self.changes
            .insert(key::dead_letter_of_flow(flow, id), None);
        self.gained.entry(flow.to_owned()).or_default().1 += weight;
        Ok(())
    }

    pub(super) fn edit_dead_letter(
        &mut self,
        id: u64,
        edit: DeadLetterEdit,
    ) -> Result<u64, StorageError> {
        let Some(mut letter) = self.find_dead_letter(id)? else {
            return Ok(0);
        };
        self.gained.entry(letter.flow.clone()).or_default().1 += self.noted(&letter)?;
        edit.apply(&mut letter);
        self.put_dead_letter(&letter)?;
        Ok(1)
    }

    /// Drops the oldest dead letters of a flow as long as they are too old or all of them are too much, a limited number
    /// at a time. Those that were prepared just now stay until the next time.
    pub(super) fn retain(&mut self, flow: &str, retention: Retention) -> Result<u64, StorageError> {
        let Retention {
            not_before_ms,
            max_bytes,
        } = retention;
        if not_before_ms.is_none() && max_bytes.is_none() {
            return Ok(0);
        }
        let mut weight = if max_bytes.is_some() {
            self.weight(flow)?
        } else {
            0
        };
        let index = key::dead_letters_of_flow(flow);
        let added = self.gained.get(flow).map_or(0, |(more, _)| *more);
        let (mut too_old, mut too_much) = (0_u64, 0_u64);
        let (mut freed, mut after) = (0_u64, Vec::new());
        'pages: loop {
            let page = self.group.shelf.kv.scan(&index, &after, MAX_EXPIRED)?;
            let is_last = page.len() < MAX_EXPIRED;
            for (key, _) in page {
                after.clone_from(&key);
                let (Some(id), Some(note)) = (key::id_in(&key), self.stored(&key)?) else {
                    // It goes with this write anyway.
                    continue;
                };
                let (at_ms, own) = key::note_of_dead_letter(&note)
                    .ok_or_else(|| damaged(&key, "no note of a dead letter"))?;
                if not_before_ms.is_some_and(|limit| at_ms < limit) {
                    too_old += 1;
                } else if max_bytes.is_some_and(|limit| weight > limit) {
                    too_much += 1;
                } else {
                    break 'pages;
                }
                weight = weight.saturating_sub(own);
                freed += own;
                self.remove_dead_letter(flow, id, own)?;
            }
            if is_last || freed >= added.saturating_mul(2) {
                break;
            }
        }
        if too_old + too_much > 0 {
            tracing::warn!(
                flow,
                too_old,
                too_much,
                "Dropped the oldest dead letters, as `dead-letters.keep` and `max-size` say"
            );
        }
        Ok(too_old + too_much)
    }

    /// Bytes of all dead letters of a flow after everything prepared so far.
    fn weight(&mut self, flow: &str) -> Result<u64, StorageError> {
        if !self.group.weights.contains_key(flow) {
            let weight = self.count(&key::dead_letters_of_flow(flow))?;
            self.group.weights.insert(flow.to_owned(), weight);
        }
        let (more, less) = self.gained.get(flow).copied().unwrap_or_default();
        let counted = self.group.weights.get(flow).copied().unwrap_or(0);
        Ok(counted.saturating_add(more).saturating_sub(less))
    }

    /// Bytes of the dead letters below an index, with what jobs before this one have prepared.
    fn count(&self, index: &[u8]) -> Result<u64, StorageError> {
        let weight = |note: &[u8]| key::note_of_dead_letter(note).map_or(0, |(_, weight)| weight);
        let (mut total, mut after) = (0_u64, Vec::new());
        loop {
            let page = self.group.shelf.kv.scan(index, &after, MAX_EXPIRED)?;
            let is_last = page.len() < MAX_EXPIRED;
            for (key, note) in page {
                total += weight(&note);
                after = key;
            }
            if is_last {
                break;
            }
        }
        let prepared = self.group.changes.range(index.to_vec()..);
        for (key, change) in prepared.take_while(|(key, _)| key.starts_with(index)) {
            let before = self.group.shelf.kv.get(key)?;
            total += change.as_deref().map_or(0, weight);
            total = total.saturating_sub(before.as_deref().map_or(0, weight));
        }
        Ok(total)
    }
}
