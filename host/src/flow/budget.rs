//! Bytes that several users share while all of them are at work.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Bytes that may still be held, by all users of one budget together. Clones are the same user; [`Budget::part`] makes
/// another one.
#[derive(Debug, Clone)]
pub struct Budget {
    total: u64,
    left: Arc<AtomicU64>,
    /// What this user holds.
    taken: Arc<AtomicU64>,
}

impl Budget {
    /// So many bytes.
    pub fn new(total: u64) -> Self {
        Self {
            total,
            left: Arc::new(AtomicU64::new(total)),
            taken: Arc::default(),
        }
    }

    /// Another user of the same bytes.
    #[must_use]
    pub fn part(&self) -> Self {
        Self {
            taken: Arc::default(),
            ..self.clone()
        }
    }

    /// Bytes for all users together.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Takes bytes, or nothing when there are not enough left.
    pub fn take(&self, bytes: u64) -> bool {
        let enough = |left: u64| left.checked_sub(bytes);
        // A counter orders nothing else.
        let taken = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, enough)
            .is_ok();
        if taken {
            self.taken.fetch_add(bytes, Ordering::Relaxed);
        }
        taken
    }

    /// Gives back all that this user holds, for it holds it no more.
    pub fn give_back(&self) {
        let taken = self.taken.swap(0, Ordering::Relaxed);
        self.left.fetch_add(taken, Ordering::Relaxed);
    }
}

impl Default for Budget {
    /// More than there is.
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

/// The same bytes, whoever holds how many of them.
impl PartialEq for Budget {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.left, &other.left)
    }
}

impl Eq for Budget {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_users_together_hold_no_more_than_there_is() {
        let all = Budget::new(10);
        let (one, other) = (all.part(), all.part());
        assert!(one.take(6) && other.take(4) && !one.take(1) && other.take(0));
        one.give_back();
        one.give_back();
        assert!(other.take(6) && !other.take(1));
        other.give_back();
        assert!(one.take(10) && !other.take(1));
        assert!(Budget::default().take(u64::MAX));
    }
}
