//! Children that are owned, freed behind a call: most nodes have none, and ask for that with one comparison.

use std::mem::{self, ManuallyDrop};
use std::ops::{Deref, DerefMut};

/// A vector whose drop is small enough to stand wherever a node ends. Written out there, with its loop over children
/// that may have children, it would be a call even for a number.
#[derive(Clone)]
pub(crate) struct Kept<T>(ManuallyDrop<Vec<T>>);

impl<T> Drop for Kept<T> {
    #[inline]
    fn drop(&mut self) {
        free(ManuallyDrop::into_inner(mem::take(&mut self.0)));
    }
}

#[inline(never)]
fn free<T>(items: Vec<T>) {
    drop(items);
}

impl<T> Kept<T> {
    pub(crate) fn into_vec(mut self) -> Vec<T> {
        mem::take(&mut *self)
    }
}

impl<T> From<Vec<T>> for Kept<T> {
    #[inline]
    fn from(items: Vec<T>) -> Self {
        Self(ManuallyDrop::new(items))
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl<T> FromIterator<T> for Kept<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Vec::from_iter(items).into()
    }
}

impl<T> Deref for Kept<T> {
    type Target = Vec<T>;

    #[inline]
    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T> DerefMut for Kept<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.0
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn what_is_kept_is_freed_once() {
        let item = Rc::new(());
        let kept: Kept<Rc<()>> = [item.clone(), item.clone()].into_iter().collect();
        let copy = kept.clone();
        assert_eq!(Rc::strong_count(&item), 5);
        drop(kept);
        assert_eq!(Rc::strong_count(&item), 3);
        let plain = copy.into_vec();
        assert_eq!((Rc::strong_count(&item), plain.len()), (3, 2));
        drop(plain);
        assert_eq!(Rc::strong_count(&item), 1);
    }
}
